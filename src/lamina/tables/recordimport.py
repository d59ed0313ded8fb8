"""Records out of a folder or tar archive that `recordexport.py`, or anybody else, made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from lamina.engine.records.arguments import NewRecord
from lamina.errors import AlreadyExists, InvalidArgument, LaminaError
from lamina.tables.recordfiles import (
    BUCKET_FILE,
    CHUNK,
    PART_BYTES,
    Described,
    is_part,
    read_bucket,
    read_line,
    sources_of,
)

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.bucket import Bucket

Progress = Callable[[int, int], object]
"""(bytes of contents read, bytes in all; 0: not known)"""

TOGETHER, TOGETHER_BYTES = 500, 4 << 20
"""Short contents of an entry that share a commit: one sync for all of them."""

SHORT = 65_536
"""Longer contents go to the disk piece by piece."""


class Imported(NamedTuple):
    records: int  # written
    skipped: int  # their times were taken
    bytes: int  # of contents that were written


def import_records(
    db: Database,
    name: str,
    source: str | PathLike[str],
    *,
    skip_existing: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Write what a folder or archive holds into a bucket, which is made with the settings in there if it is absent.

    What was written before an error stays. With `skip_existing` records whose time is taken in their entry are passed
    over, so an import that broke off can be repeated. Names are checked before anything is opened; links and devices
    are refused. Raises InvalidArgument, AlreadyExists, QuotaExceeded, NoSpace, OSError.
    """
    path = Path(source)
    if not path.exists():
        raise InvalidArgument(f"{path} does not exist")
    return _Import(db, name, path, skip_existing, progress).run()


class _Import:
    def __init__(self, db: Database, name: str, path: Path, skip_existing: bool, progress: Progress | None) -> None:
        self._db = db
        self._name = name
        self._path = path
        self._skip = skip_existing
        self._progress = progress
        self._bucket: Bucket | None = None
        self._expected: dict[str, Described] = {}  # file -> what the part says of it
        self._waiting: list[tuple[Described, bytes]] = []  # of one entry
        self._waiting_bytes = self._written = self._written_bytes = self._skipped = self._bytes = 0

    def run(self) -> Imported:
        for name, size, content in sources_of(self._path):
            if name == BUCKET_FILE:
                self._open(read_bucket(self._read(content, size, name), f"{self._path}: {name}"))
            elif is_part(name):
                self._describe(name, self._read(content, size, name))
            else:
                self._take(name, size, content)
        self._flush()
        self._complete()
        return Imported(self._written, self._skipped, self._written_bytes)

    def _read(self, content: IO[bytes], size: int, name: str) -> bytes:
        if size > PART_BYTES:
            raise InvalidArgument(f"{self._path}: {name} has {size} bytes: at most {PART_BYTES} are read")
        return content.read(size)

    def _open(self, settings: dict[str, object]) -> Bucket:
        self._bucket = self._db.buckets.find(self._name) or self._db.buckets.create(self._name, settings)
        return self._bucket

    def _complete(self) -> None:
        if self._expected:
            missing = next(iter(self._expected))
            raise InvalidArgument(f"{self._path}: {len(self._expected)} described files are missing: {missing!r}, ...")

    def _describe(self, name: str, data: bytes) -> None:
        self._complete()
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            described, file = read_line(line, f"{self._path}: {name}:{number}")
            self._expected[file] = described

    def _take(self, name: str, size: int, content: IO[bytes]) -> None:
        described = self._expected.pop(name, None)
        if described is None:
            raise InvalidArgument(f"{self._path}: {name!r} is described by no part before it")
        if described.size != size:
            raise InvalidArgument(f"{self._path}: {name!r} has {size} bytes, described with {described.size}")
        if size <= SHORT:
            self._gather(described, content.read(size))
        else:
            self._flush()
            self._write(described, content)
        self._bytes += size
        if self._progress is not None:
            self._progress(self._bytes, 0)

    def _target(self) -> Bucket:
        return self._bucket or self._open({})

    def _gather(self, described: Described, data: bytes) -> None:
        full = len(self._waiting) >= TOGETHER or self._waiting_bytes >= TOGETHER_BYTES
        if self._waiting and (full or self._waiting[0][0].entry != described.entry):
            self._flush()
        self._waiting.append((described, data))
        self._waiting_bytes += len(data)

    def _flush(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not waiting:
            return
        entry = self._target().entry(waiting[0][0].entry)
        results = entry.write_many(
            NewRecord(described.time_us, data, dict(described.labels), described.content_type)
            for described, data in waiting
        )
        for (described, _), error in zip(waiting, results, strict=True):
            self._count(described, error)

    def _write(self, described: Described, content: IO[bytes]) -> None:
        entry = self._target().entry(described.entry)
        error: LaminaError | None = None
        try:
            entry.write(
                _pieces(content),
                described.time_us,
                labels=dict(described.labels),
                content_type=described.content_type,
                size=described.size,
            )
        except AlreadyExists as taken:
            error = taken
        self._count(described, error)

    def _count(self, described: Described, error: LaminaError | None) -> None:
        if error is None:
            self._written += 1
            self._written_bytes += described.size
        elif self._skip and isinstance(error, AlreadyExists):
            self._skipped += 1
        else:
            raise error


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(CHUNK):
        yield piece

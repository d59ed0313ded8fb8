"""How exported records lie in a folder or tar archive: a file each, described before it comes by lines of JSON.

    bucket.json                            the bucket's name and settings
    records-000001.jsonl                   up to PART_RECORDS descriptions
    line-1/camera/1700000000000000.png     their contents, in the same order, and so on

Names of files follow from entry and time, whose characters are checked both ways: nothing that is read says where
to write. Links, devices and folders in the place of files are refused.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from lamina.errors import AlreadyExists, InvalidArgument
from lamina.records.labels import LabelSet
from lamina.records.names import check_entry_name
from lamina.records.source import LAST_TIME

FORMAT = 1
BUCKET_FILE = "bucket.json"
PART_RECORDS = 1000
"""Descriptions of one part: what a reader holds while it reads the contents."""

PART_BYTES = 128 << 20
"""Longest part that is read: labels of a record have at most 64 KiB."""

CHUNK = 1 << 20

ARCHIVES = {".tar": "", ".tgz": "gz", ".tar.gz": "gz", ".tar.xz": "xz"}
"""Ending of a name -> compression, as tarfile calls it."""

_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "application/json": ".json",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "application/pdf": ".pdf",
    "video/mp4": ".mp4",
    "audio/wav": ".wav",
}
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z")
_PART = re.compile(r"records-[0-9]{6,9}\.jsonl\Z")


class Described(NamedTuple):
    """What one line says of a record."""

    entry: str
    time_us: int
    size: int
    content_type: str
    labels: LabelSet

    @property
    def file(self) -> str:
        kind = self.content_type.partition(";")[0].strip().lower()
        return f"{self.entry}/{self.time_us}{_SUFFIXES.get(kind, '.bin')}"

    def line(self) -> str:
        members = {
            "entry": self.entry,
            "time": self.time_us,
            "size": self.size,
            "content_type": self.content_type,
            "labels": dict(self.labels),
            "file": self.file,
        }
        return json.dumps(members, separators=(",", ":"))


def part_name(number: int) -> str:
    return f"records-{number:06d}.jsonl"


def read_line(line: str, place: str) -> tuple[Described, str]:
    """A record and the file its content is in. Raises InvalidArgument, naming `place`."""
    try:
        members = json.loads(line)
        labels = {str(name): str(value) for name, value in members["labels"].items()}
        found = Described(
            check_entry_name(members["entry"]),
            int(members["time"]),
            int(members["size"]),
            str(members["content_type"]),
            tuple(sorted(labels.items())),
        )
        file = str(members["file"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"{place}: expected entry, time, size, content_type, labels and file: {error!r}"
        ) from None
    if not 0 <= found.time_us <= LAST_TIME or found.size < 0:
        raise InvalidArgument(f"{place}: time {found.time_us} and size {found.size}: expected unsigned numbers")
    head, tail = f"{found.entry}/{found.time_us}", file[len(f"{found.entry}/{found.time_us}") :]
    if not file.startswith(head) or not _SUFFIX.match(tail):
        raise InvalidArgument(f"{place}: file {file!r}: expected {head}.SUFFIX")
    return found, file


class Target(Protocol):
    """Where files go."""

    def add(self, name: str, size: int, pieces: Iterable[bytes | memoryview]) -> None: ...

    def close(self, complete: bool) -> None:
        """Unless it is complete, nothing that looks like an archive stays."""
        ...


class FolderTarget:
    """A new or empty folder."""

    def __init__(self, root: Path) -> None:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise AlreadyExists(f"{root} is not an empty folder: records are exported into one of their own")
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        place = self._root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            for piece in pieces:
                file.write(piece)

    def close(self, complete: bool) -> None:
        """What was written stays: it says itself what it is."""


class TarTarget:
    """A tar archive, which appears under its name when it is complete."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise AlreadyExists(f"{path} exists")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        mode: Any = f"w:{_compression(path)}"
        self._tar = tarfile.open(self._partial, mode, format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o644
        source: Any = _Pieces(pieces)
        self._tar.addfile(member, source)

    def close(self, complete: bool) -> None:
        self._tar.close()
        if complete:
            self._partial.rename(self._path)
        else:
            with suppress(FileNotFoundError):
                self._partial.unlink()


class _Pieces:
    """An iterable of bytes, read like a file."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            if not len(self._rest):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
            parts.append(bytes(self._rest[:size]))
            self._rest = self._rest[len(parts[-1]) :]
            size -= len(parts[-1])
        return b"".join(parts)


def is_archive(path: Path) -> bool:
    return any(path.name.lower().endswith(ending) for ending in ARCHIVES)


def _compression(path: Path) -> str:
    """The longest ending counts."""
    return next(kind for ending, kind in sorted(ARCHIVES.items(), reverse=True) if path.name.lower().endswith(ending))


def target_of(path: Path) -> FolderTarget | TarTarget:
    """Raises AlreadyExists."""
    return TarTarget(path) if is_archive(path) else FolderTarget(path)


def sources_of(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size, content) of bucket.json, of each part, and behind it of the files it describes, each to be read
    before the next. Raises InvalidArgument for what is no plain file, NotFound never: what lacks is told by name."""
    return _of_archive(path) if path.is_file() else _of_folder(path)


def _of_archive(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.isdir():
                    continue
                if not member.isreg():
                    raise InvalidArgument(f"{path}: {member.name!r} is a link or a device: only plain files are read")
                content = tar.extractfile(member)
                assert content is not None, "a regular file has a content"
                yield member.name, member.size, content
    except tarfile.TarError as error:
        raise InvalidArgument(f"{path}: no tar archive, or damaged: {error}") from None


def _of_folder(root: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    parts = sorted(name for name in os.listdir(root) if _PART.match(name))
    for name in [BUCKET_FILE, *parts]:
        with _plain(root, name) as file:
            yield name, os.fstat(file.fileno()).st_size, file
        if name != BUCKET_FILE:
            with _plain(root, name) as part:
                for number, line in enumerate(part, 1):
                    _, place = read_line(line.decode(), f"{name}:{number}")
                    with _plain(root, place) as file:
                        yield place, os.fstat(file.fileno()).st_size, file


def _plain(root: Path, name: str) -> IO[bytes]:
    """A file below a folder, by a name whose characters were checked; no link on the way to it. Raises
    InvalidArgument."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        segments = name.split("/")
        for i, segment in enumerate(segments):
            last = i == len(segments) - 1
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_NONBLOCK if last else os.O_DIRECTORY)
            try:
                below = os.open(segment, flags, dir_fd=handle)
            except OSError as error:
                raise InvalidArgument(f"{root / name}: missing, or a link: {error.strerror}") from None
            os.close(handle)
            handle = below
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InvalidArgument(f"{root / name}: only plain files are read")
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def is_part(name: str) -> bool:
    return bool(_PART.match(name))


def bucket_text(name: str, settings: dict[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, "bucket": name, "settings": settings}, indent=1).encode() + b"\n"


def read_bucket(data: bytes, place: str) -> dict[str, Any]:
    """The settings in bucket.json. Raises InvalidArgument."""
    try:
        members = json.loads(data)
        version, settings = int(members["format"]), dict(members["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(f"{place}: expected format, bucket and settings: {error!r}") from None
    if version > FORMAT:
        raise InvalidArgument(f"{place}: format {version}: this Lamina reads up to {FORMAT}")
    return settings

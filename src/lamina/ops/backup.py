"""Online backup and restore of a database directory, whoever has it open.

A backup is consistent without stopping anybody: everything is copied as it lies there, which may take long, and then
what changed since is copied in an order that makes it consistent, which is quick. The log files are opened first, then
the catalog is copied by SQLite, then segments and log. Segments are immutable and named once; the log only grows at
its end and loses whole files at its front. If its files have all gone meanwhile, or a segment of the copied catalog,
that is done anew. The log in the backup therefore holds everything that the copied catalog does not, and recovery
makes one of the two when the backup is opened.

Payload files grow, are punched and deleted. Those that the catalog needs are opened before they are copied, so
deletion does not take them; what a punch takes was evicted by an op that the log copied later holds. After the log,
what was appended meanwhile is copied, which its ops may refer to (`ops/copying.py`).
"""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

from lamina.catalog.sqlite import SqliteCatalog
from lamina.engine.database import Database
from lamina.engine.open import CATALOG, IDENTITY
from lamina.errors import AlreadyExists, InvalidArgument, Unavailable
from lamina.ops.copying import Copying, Moved, Progress, copy_sparse, sync
from lamina.ops.directory import Directory

ATTEMPTS = 20
"""Trimming or compaction in the middle of the second part is rare; so often in a row means something else is wrong."""


def backup(
    source: Database | str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress | None = None
) -> int:
    """Copy a database, open or not, into a new directory; bytes copied. Segments are hard-linked where they can be.

    The target holds everything acknowledged when the call began, and no LAMINA file until it is complete and durable.
    Given the `Database` instead of its path, nothing is given back to the disk meanwhile. Else a record that is written
    while the backup runs, and evicted again before it ends, may be in it with a content that is Corrupt.
    Raises NotFound (no database there), UnknownFormat, AlreadyExists (target not empty), InvalidArgument (target inside
    of the source), Unavailable, OSError.
    """
    root = Path(source.path if isinstance(source, Database) else source)
    place = Path(target)
    Directory(root).identity()
    _require_apart(place, root)
    _require_empty(place, "a backup goes into a directory of its own")
    looking = source.records.reader() if isinstance(source, Database) else nullcontext()
    with looking, Copying(root, place, progress) as copying:
        files = _segments(root)
        copying.expect(sum(files.values()))
        for name in files:
            _copy_segment(copying, name, needed=False)
        for _ in range(ATTEMPTS):
            try:
                _copy_consistently(root, place, copying)
            except Moved:
                continue
            _finish(root, place)
            return copying.done
    raise Unavailable(f"{root} changed too fast to be copied, {ATTEMPTS} times in a row")


def restore(source: str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress | None = None) -> int:
    """Make a database of a backup in a new directory; bytes copied. The backup stays as it is (nothing is linked:
    the restored database may punch or extend its files). Raises NotFound, AlreadyExists, InvalidArgument, OSError."""
    root, place = Path(source), Path(target)
    Directory(root).identity()
    _require_apart(place, root)
    _require_empty(place, "restore goes into a new directory")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in (IDENTITY, "LOCK")]
    total = sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        done += copy_sparse(path, place / path.relative_to(root))
        if progress is not None:
            progress(done, total)
    _finish(root, place)
    return done


def _require_apart(place: Path, root: Path) -> None:
    """A copy inside of what it is made of would be part of the next one, and go with it."""
    if place.resolve().is_relative_to(root.resolve()):
        raise InvalidArgument(f"{place} is inside of {root}: choose a directory beside it, or elsewhere")


def _require_empty(place: Path, rule: str) -> None:
    if place.exists() and any(place.iterdir()):
        raise AlreadyExists(f"{place} is not empty: {rule}")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)


def _copy_consistently(root: Path, place: Path, copying: Copying) -> None:
    """What changed since it was copied. Raises Moved."""
    for old in [*place.glob(f"{CATALOG}*"), *place.glob("log/*")]:  # of the attempt before
        old.unlink()
    logs = [f"log/{name}" for name in _names(root / "log", "*.log")]
    copying.hold(logs)
    catalog = SqliteCatalog.open_readonly(str(root / CATALOG))
    try:
        catalog.backup(str(place / CATALOG))
    finally:
        catalog.close()
    wanted = _wanted(place)
    copying.hold([*logs, *wanted])
    # Bulk inserts and records with long contents commit by an op in the log: the catalog may not know their files.
    for name in sorted(_segments(root).keys() | wanted):
        committed = name.startswith(("segments/streams/", "segments/points/"))
        _copy_segment(copying, name, needed=name in wanted or committed)
    for name in dict.fromkeys([*logs, *(f"log/{name}" for name in _names(root / "log", "*.log"))]):
        copying.whole(name, needed=name in logs)
    if logs and not (root / logs[-1]).exists():
        raise Moved  # files may have come and gone behind it
    there = _segments(root)
    for name in there:  # named by ops that the copied log holds already
        _copy_segment(copying, name, needed=False)
    for name in _segments(place).keys() - there.keys() - wanted:
        (place / name).unlink()
    for name in _names(root / "queues", "*"):  # what was sent since the catalog was copied need not be sent again
        copying.whole(f"queues/{name}", needed=False)


def _copy_segment(copying: Copying, name: str, needed: bool) -> None:
    if name.startswith("segments/payload/"):
        copying.payload(name, needed)
    else:
        copying.once(name, needed)


def _segments(root: Path) -> dict[str, int]:
    """Segments and payload files, by name: their bytes."""
    found = {}
    for path in sorted((root / "segments").rglob("*.*")):
        if path.suffix in (".seg", ".dat"):
            with suppress(FileNotFoundError):  # gone meanwhile
                found[str(path.relative_to(root))] = path.stat().st_size
    return found


def _wanted(place: Path) -> set[str]:
    """Segments and payload files of the copied catalog."""
    copied = SqliteCatalog.open_readonly(str(place / CATALOG))
    try:
        with copied.snapshot() as snapshot:
            return {f"segments/{row.name}" for row in snapshot.segments() if row.state == "live"}
    finally:
        copied.close()
        for left in place.glob(f"{CATALOG}-*"):  # of reading it
            left.unlink()


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern) if path.is_file())


def _finish(root: Path, place: Path) -> None:
    """Everything durable, then the identity file, which makes it a database."""
    sync(place / CATALOG)
    for folder in [path for path in place.rglob("*") if path.is_dir()] + [place]:
        sync(folder)
    shutil.copyfile(root / IDENTITY, place / IDENTITY)
    sync(place / IDENTITY)
    sync(place)

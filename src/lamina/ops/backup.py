"""Online backup and restore of a database directory, whoever has it open.

A backup is consistent without stopping anybody: the list of log files is taken first, then the catalog is copied by
SQLite, then segments and log. Segments are immutable and named once; the log only grows at its end and loses whole
files at its front. If a file of the first list, or a segment of the copied catalog, has gone meanwhile, the copy is
begun anew. The log in the backup therefore holds everything that the copied catalog does not, and recovery makes one
of the two when the backup is opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from lamina.catalog.sqlite import SqliteCatalog
from lamina.engine.database import Database
from lamina.engine.open import CATALOG, IDENTITY
from lamina.errors import AlreadyExists, Unavailable
from lamina.ops.directory import Directory

ATTEMPTS = 5
"""Trimming or compaction in the middle of a copy is rare; five times in a row means something else is wrong."""

Progress = Callable[[int, int], None]
"""(bytes copied, bytes in all)"""


class _Moved(Exception):
    """A file that the copy needs has gone since the copy began."""


def backup(
    source: Database | str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress | None = None
) -> int:
    """Copy a database, open or not, into a new directory; bytes copied. Segments are hard-linked where they can be.

    The target holds everything acknowledged when the call began, and no LAMINA file until it is complete and durable.
    Raises NotFound (no database there), UnknownFormat, AlreadyExists (target not empty), Unavailable, OSError.
    """
    root = Path(source.path if isinstance(source, Database) else source)
    place = Path(target)
    Directory(root).identity()
    _require_empty(place, "a backup goes into a directory of its own")
    for _ in range(ATTEMPTS):
        try:
            return _copy(root, place, progress)
        except _Moved:
            shutil.rmtree(place)
    raise Unavailable(f"{root} changed too fast to be copied, {ATTEMPTS} times in a row")


def restore(source: str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress | None = None) -> int:
    """Make a database of a backup in a new directory; bytes copied. The backup stays as it is (nothing is linked:
    the restored database may punch or extend its files). Raises NotFound, AlreadyExists, OSError."""
    root, place = Path(source), Path(target)
    Directory(root).identity()
    _require_empty(place, "restore goes into a new directory")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in (IDENTITY, "LOCK")]
    total = sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        done += _copy_file(path, place / path.relative_to(root), link=False)
        if progress is not None:
            progress(done, total)
    _finish(root, place)
    return done


def _require_empty(place: Path, rule: str) -> None:
    if place.exists() and any(place.iterdir()):
        raise AlreadyExists(f"{place} is not empty: {rule}")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)


def _copy(root: Path, place: Path, progress: Progress | None) -> int:
    place.mkdir(mode=0o700, exist_ok=True)
    log_before = _log_files(root)
    catalog = SqliteCatalog.open_readonly(str(root / CATALOG))
    try:
        catalog.backup(str(place / CATALOG))
    finally:
        catalog.close()
    done = (place / CATALOG).stat().st_size
    copied = SqliteCatalog.open_readonly(str(place / CATALOG))
    try:
        with copied.snapshot() as snapshot:
            wanted = {row.name: row.bytes for row in snapshot.segments() if row.state == "live"}
    finally:
        copied.close()
        for left in place.glob(f"{CATALOG}-*"):  # of reading it
            left.unlink()
    present = {str(path.relative_to(root / "segments")) for path in (root / "segments").rglob("*.seg")}
    if not wanted.keys() <= present:
        raise _Moved
    # Bulk inserts commit by an op in the log: their segments may be unknown to the catalog.
    total = done + sum(wanted.values())
    for name in sorted(present):
        done += _copy_file(root / "segments" / name, place / "segments" / name, link=True)
        if progress is not None:
            progress(done, max(total, done))
    for name in _log_files(root):
        done += _copy_file(root / "log" / name, place / "log" / name, link=False)
    if not set(log_before) <= set(_log_files(place)):
        raise _Moved
    later = {str(path.relative_to(root / "segments")) for path in (root / "segments").rglob("*.seg")} - present
    for name in sorted(later):  # named by ops that the copied log holds already
        done += _copy_file(root / "segments" / name, place / "segments" / name, link=True)
    _finish(root, place)
    return done


def _log_files(root: Path) -> list[str]:
    folder = root / "log"
    return sorted(path.name for path in folder.glob("*.log")) if folder.exists() else []


def _copy_file(source: Path, target: Path, *, link: bool) -> int:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if not (link and _linked(source, target)):
            shutil.copyfile(source, target)
            _sync(target)
    except FileNotFoundError:
        raise _Moved from None
    return target.stat().st_size


def _linked(source: Path, target: Path) -> bool:
    """Share the bytes; False on another volume, or where there are no hard links. Raises FileNotFoundError."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _finish(root: Path, place: Path) -> None:
    """Everything durable, then the identity file, which makes it a database."""
    _sync(place / CATALOG)
    for folder in [path for path in place.rglob("*") if path.is_dir()] + [place]:
        _sync(folder)
    shutil.copyfile(root / IDENTITY, place / IDENTITY)
    _sync(place / IDENTITY)
    _sync(place)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

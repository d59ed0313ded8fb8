"""Copying files of a directory in use, some of which grow, are punched, or go while they are copied."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

Progress = Callable[[int, int], None]
"""(bytes copied, bytes in all)"""

PART = 1 << 20
PAGE = 4096
"""What punching gives back: a page reads as zeros as a whole, or has kept all its bytes."""

SPARE = 64
"""Descriptors left to the rest of the process."""


class Moved(Exception):
    """A file that the copy needs has gone since the copy began."""


class Copying:
    """Files of one directory on their way into another; a context manager that closes what it holds.

    `done`: bytes copied or linked."""

    def __init__(self, root: Path, place: Path, progress: Progress | None) -> None:
        self._root = root
        self._place = place
        self._progress = progress
        self._held: dict[str, int] = {}  # name -> descriptor
        self._copied: dict[str, tuple[int, int]] = {}  # size and mtime when it was copied
        self._total = 0
        self.done = 0

    def __enter__(self) -> Copying:
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:
            os.close(self._held.popitem()[1])

    def expect(self, total: int) -> None:
        """Bytes in all, for the progress."""
        self._total = total

    def hold(self, names: Sequence[str]) -> None:
        """Hold these files, and no others: deleting them takes the name only. Raises Moved.

        Of more files than a process may have open, the rest are not held."""
        wanted = names[: _descriptors() - SPARE]
        for name in self._held.keys() - set(wanted):
            os.close(self._held.pop(name))
        for name in wanted:
            if name in self._held:
                continue
            try:
                self._held[name] = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Moved from None
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    return
                raise

    def once(self, name: str, needed: bool) -> None:
        """Copy, or link, a file that never changes, unless it was. Raises Moved if it is gone and needed."""
        if name not in self._copied:
            self.whole(name, needed=needed, link=True)
            if (self._place / name).exists():
                self._copied[name] = (0, 0)

    def whole(self, name: str, *, needed: bool, link: bool = False) -> None:
        """Copy a file that nobody changes but at its end. Raises Moved if it is gone and needed."""
        source, target = self._root / name, self._place / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if not (link and _linked(source, target)):
                with self._reader(name) as fd:
                    _copy_data(fd, target)
                sync(target)
        except FileNotFoundError:
            if needed:
                raise Moved from None
            return
        self._count(target.stat().st_size)

    def payload(self, name: str, needed: bool) -> None:
        """Copy a payload file, or what was appended since it was copied. Never linked: it changes in place."""
        target = self._place / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self._reader(name) as fd:
                state = os.fstat(fd)
                now = state.st_size, state.st_mtime_ns
                if self._copied.get(name) == now:
                    return
                if name in self._copied:
                    _copy_changed(fd, target)
                else:
                    self._count(_copy_data(fd, target))
                self._copied[name] = now
        except FileNotFoundError:
            if needed:
                raise Moved from None
            return
        sync(target)

    def _reader(self, name: str) -> _Reader:
        return _Reader(self._held.get(name), self._root / name)

    def _count(self, size: int) -> None:
        self.done += size
        if self._progress is not None:
            self._progress(self.done, max(self._total, self.done))


class _Reader:
    """A descriptor that is held, or one for this use."""

    def __init__(self, held: int | None, path: Path) -> None:
        self._held = held
        self._path = path

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC) if self._held is None else self._held
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._held is None:
            os.close(self._fd)


def copy_sparse(source: Path, target: Path) -> int:
    """Copy a file that nobody changes, holes as holes; its bytes without them."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _Reader(None, source) as fd:
        copied = _copy_data(fd, target)
    shutil.copymode(source, target)
    sync(target)
    return copied


def _copy_data(fd: int, target: Path) -> int:
    size = os.fstat(fd).st_size
    copied = 0
    with target.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(size)
        for begin, end in _data(fd, size):
            for at in range(begin, end, PART):
                part = os.pread(fd, min(PART, end - at), at)
                os.pwrite(file.fileno(), part, at)
                copied += len(part)
    return copied


def _copy_changed(fd: int, target: Path) -> None:
    """Bytes that came since. Pages that are zeros now were zeros before, or were punched: they stay as they were, for
    the log that was copied does not know yet that their records are evicted."""
    size = os.fstat(fd).st_size
    with target.open("r+b") as file:
        out = file.fileno()
        file.truncate(max(size, os.fstat(out).st_size))
        for begin, end in _data(fd, size):
            for at in range(begin - begin % PAGE, end, PART):
                part = os.pread(fd, min(PART, end - at), at)
                if part == os.pread(out, len(part), at):
                    continue
                for page in range(0, len(part), PAGE):
                    piece = part[page : page + PAGE]
                    if any(piece):
                        os.pwrite(out, piece, at + page)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Stretches of a file that are no holes; all of it where the file system cannot tell."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # else nothing but a hole follows
                yield at, size
            return
        end = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
        yield begin, end
        at = end


def _descriptors() -> int:
    """How many this process may have, after asking for as many as it may ask for."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


def _linked(source: Path, target: Path) -> bool:
    """Share the bytes; False on another volume, or where there are no hard links. Raises FileNotFoundError."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The user's CSV file as bytes: every call that touches it, or a file beside it, is made here through `CALLS`.

Promises, by number (tests cite them):
1. An append that fails leaves the file as long as it was. One that was synced is found after a loss of power, by its
   file's name too.
2. A rewrite copies what stays to a temporary file beside the CSV, syncs that once, replaces the CSV atomically and
   syncs the folder. Stopped at any call, the CSV is the old one or the new one. Mode bits are kept.
3. At most one temporary file survives a kill, under a fixed name, and the next rewrite removes it.
4. Whoever writes holds a lock on the file itself, so that two handles, in one process or two, do not overwrite each
   other. The lock is advisory and no file is made for it; where it cannot be had (some network file systems,
   Windows), writing goes on without.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

# Pieces of a rewritten file: bytes to write, or a range of the old file to copy.
Piece = bytes | tuple[int, int]

# Copying and buffering go in steps of this many bytes: large enough that calls do not count, small beside a column.
_STEP = 1 << 20
# Bytes of unsynced inserts held back (flush_on_insert=False). The original's text buffer holds 8 KiB.
_BUFFER = 1 << 16


class Calls:
    """The system calls, in one place so that a test can make any of them fail."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    lseek = staticmethod(os.lseek)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    ftruncate = staticmethod(os.ftruncate)
    stat = staticmethod(os.stat)
    fstat = staticmethod(os.fstat)
    chmod = staticmethod(os.chmod)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)


CALLS: Any = Calls


class Stamp(NamedTuple):
    """What identifies a state of the file without reading it. Differs from another one: somebody wrote."""

    device: int
    inode: int
    size: int
    modified_ns: int


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _try_lock(fd: int) -> Callable[[], None] | None:
    """The function that unlocks, or None where locks are not to be had."""
    try:
        import fcntl  # Windows has none
    except ImportError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        return None
    return lambda: fcntl.flock(fd, fcntl.LOCK_UN)


class CSVFile:
    """One open handle on a CSV file. `path` is absolute and free of links, so a later `chdir` changes nothing.

    Raises what `open(path, mode)` would: FileNotFoundError, FileExistsError, PermissionError, ValueError (mode).
    After `close` every call raises ValueError "I/O operation on closed file.".
    """

    def __init__(self, path: str, mode: str) -> None:
        kind = mode.replace("t", "").replace("+", "")
        if kind not in ("r", "w", "a", "x") or mode.count("+") > 1 or mode.count("t") > 1:
            if "b" in mode:
                raise ValueError("binary mode doesn't take an encoding argument")
            raise ValueError(f"invalid mode: {mode!r}")
        self.path = os.path.realpath(path)
        self.readable = "+" in mode or kind == "r"
        self.writable = "+" in mode or kind != "r"
        flags = os.O_RDWR if self.readable and self.writable else os.O_WRONLY if self.writable else os.O_RDONLY
        # Text is translated by nobody; a child process has no business with the handle.
        self._flags = flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        if self.writable:
            self._flags |= os.O_APPEND
        first = {"r": 0, "a": os.O_CREAT, "w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL}[kind]
        self._buffer = bytearray()
        self._fd: int = CALLS.open(self.path, self._flags | first, 0o666)
        self._known: Stamp | None = None
        self._depth = 0
        # Counts how often what was there may have changed: by somebody else, or by a rewrite of ours.
        self.generation = 0
        # Counts what was added through this handle.
        self.writes = 0
        # Whether the file's name is known to be durable. Nobody says so of a file that was there, so every handle asks.
        self._named = False
        # What has to be written ahead of an append: the line end somebody left out (set by the storage).
        self.seam: Callable[[Stamp], bytes] = lambda stamp: b""

    def __del__(self) -> None:
        # A program that never closes loses nothing it inserted without flushing, as with Python's own files.
        if getattr(self, "_fd", -1) >= 0:
            with suppress(Exception):
                self.close()

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def _check_open(self) -> None:
        if self._fd < 0:
            raise ValueError("I/O operation on closed file.")

    def check_readable(self) -> None:
        """io.UnsupportedOperation if the mode does not allow to read; ValueError if closed."""
        self._check_open()
        if not self.readable:
            raise io.UnsupportedOperation("not readable")

    def check_writable(self) -> None:
        """io.UnsupportedOperation if the mode does not allow to write; ValueError if closed."""
        self._check_open()
        if not self.writable:
            raise io.UnsupportedOperation("not writable")

    def stamp(self) -> Stamp:
        """The present state of the file at the path, everything inserted here written out. One stat call.

        A file that was replaced is opened anew. One that was deleted stays as it is for this handle.
        """
        self._check_open()
        if self._buffer:
            self.flush()
        known = self._known
        try:
            now = _stamp(CALLS.stat(self.path))
        except FileNotFoundError:
            return _stamp(CALLS.fstat(self._fd))
        if now == known:
            return now
        if known is None:
            known = _stamp(CALLS.fstat(self._fd))
        if (now.device, now.inode) != (known.device, known.inode):
            self._reopen()
        self._known = now
        self.generation += 1
        return now

    def _reopen(self) -> None:
        fresh = CALLS.open(self.path, self._flags)
        CALLS.close(self._fd)
        self._fd = fresh
        self._named = False

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end); fewer if the file ends before."""
        self.check_readable()
        CALLS.lseek(self._fd, start, os.SEEK_SET)
        parts = []
        while start < end:
            part = CALLS.read(self._fd, min(end - start, 64 * _STEP))
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def tail(self, count: int) -> bytes:
        """The last bytes, also of a file this handle may only write; empty if nobody lets us read it."""
        self._check_open()
        if self.readable:
            size = CALLS.fstat(self._fd).st_size
            return self.read(max(size - count, 0), size)
        try:
            fd = CALLS.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return b""
        try:
            CALLS.lseek(fd, max(CALLS.fstat(fd).st_size - count, 0), os.SEEK_SET)
            return bytes(CALLS.read(fd, count))
        finally:
            CALLS.close(fd)

    @contextmanager
    def locked(self) -> Iterator[Stamp]:
        """Alone on the file, as far as others ask too; gives its state."""
        if self._depth:
            yield self._stamp_under_lock()
            return
        while True:
            self._check_open()
            fd = self._fd
            unlock = _try_lock(fd)
            self._depth = 1
            try:
                stamp = self._stamp_under_lock()
                if self._fd == fd:
                    yield stamp
                    return
                # It was replaced while we waited: the lock is on a file that has no name any more.
            finally:
                self._depth = 0
                if unlock and self._fd == fd:
                    unlock()

    def _stamp_under_lock(self) -> Stamp:
        buffer, self._buffer = self._buffer, bytearray()
        try:
            return self.stamp()
        finally:
            self._buffer = buffer

    def append(self, data: bytes, sync: bool) -> None:
        """Bytes added to the end; with `sync` durable when this returns. Not synced ones may wait in a buffer.

        Promises 1 and 4.
        """
        self.check_writable()
        if not sync:
            self._buffer += data
            if len(self._buffer) < _BUFFER:
                return
            data = b""
        self._write_out(data, sync)

    def flush(self) -> None:
        """What waits in the buffer is handed to the operating system."""
        if self._buffer:
            self._write_out(b"", sync=False)

    def _write_out(self, data: bytes, sync: bool) -> None:
        with self.locked() as before:
            data = bytes(self._buffer) + data
            if data:
                seam = self.seam(before)
                # The seam may have cut off half a row.
                self._write_at_end(self._known or before, seam + data, sync)
            self._buffer.clear()

    def _write_at_end(self, before: Stamp, data: bytes, sync: bool) -> None:
        self.writes += 1
        try:
            _write_all(self._fd, data)
            if sync:
                CALLS.fsync(self._fd)
                if not self._named:
                    # After the file: that sync mostly took the name along, and this one has nothing left to do.
                    _sync_name(self.path)
                    self._named = True
        except BaseException:
            # Half a row must not stay, nor a row whose caller was told that it failed (promise 1).
            with suppress(OSError):
                CALLS.ftruncate(self._fd, before.size)
            self._known = None
            raise
        self._known = _stamp(CALLS.fstat(self._fd))

    def truncate(self, size: int) -> Stamp:
        """The file cut to `size` bytes, durably. Call inside `locked`."""
        self.check_writable()
        self.generation += 1
        CALLS.ftruncate(self._fd, size)
        CALLS.fsync(self._fd)
        self._known = _stamp(CALLS.fstat(self._fd))
        return self._known

    def rewrite(self, pieces: Iterable[Piece], crc32c: Callable[[Any, int], int] | None = None) -> tuple[Stamp, int]:
        """The file replaced by these pieces, ranges in ascending order. Call inside `locked`. Promises 2 and 3.

        Its new state, and the checksum of what it holds if asked for.

        Raises OSError with nothing changed, except when only the sync of the folder failed: then the new file is in
        place, and may be the old one again after a power failure.
        """
        self.check_writable()
        if not self.readable:
            raise io.UnsupportedOperation("not readable")
        temporary = beside(self.path, ".rewrite")
        status = CALLS.fstat(self._fd)
        with suppress(FileNotFoundError):
            CALLS.unlink(temporary)
        new = CALLS.open(temporary, self._flags | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            crc = self._copy(pieces, new, crc32c)
            CALLS.chmod(temporary, stat.S_IMODE(status.st_mode))
            _keep_owner(temporary, status)
            CALLS.fsync(new)
            if os.name == "nt":  # an open file cannot be replaced there
                CALLS.close(new)
                CALLS.close(self._fd)
                new = self._fd = -1
            CALLS.replace(temporary, self.path)
        except BaseException:
            if new >= 0:
                with suppress(OSError):
                    CALLS.close(new)
            elif self._fd < 0:
                self._fd = CALLS.open(self.path, self._flags)
            with suppress(OSError):
                CALLS.unlink(temporary)
            raise
        # From here on it is the new file, also if one of the calls below fails: its readers must look again.
        self.generation += 1
        self._known = None
        old, self._fd = self._fd, new if new >= 0 else CALLS.open(self.path, self._flags)
        if old >= 0:
            CALLS.close(old)
        self._known = _stamp(CALLS.fstat(self._fd))
        sync_folder(self.path)
        self._named = True
        return self._known, crc

    def _copy(self, pieces: Iterable[Piece], new: int, crc32c: Callable[[Any, int], int] | None) -> int:
        out = bytearray()
        crc = 0

        def flush() -> None:
            nonlocal crc
            crc = crc32c(bytes(out), crc) if crc32c else 0
            _write_all(new, out)
            out.clear()

        window, first = b"", 0
        for piece in pieces:
            if isinstance(piece, bytes):
                out += piece
            else:
                start, end = piece
                while start < end:
                    if not first <= start < first + len(window):
                        window, first = self.read(start, start + _STEP), start
                        if not window:
                            raise OSError(
                                f"{self.path}: ends at byte {start}, expected {end}: changed while it was copied"
                            )
                    part = window[start - first : end - first]
                    out += part
                    start += len(part)
                    if len(out) >= _STEP:
                        flush()
        flush()
        return crc

    def close(self) -> None:
        """Writes out what waits and closes the handle; again: nothing."""
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                fd, self._fd = self._fd, -1
                CALLS.close(fd)


def beside(path: str, suffix: str) -> str:
    """The name of a file of ours next to the CSV; hidden, so that a listing shows what the user made."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{suffix}")


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[CALLS.write(fd, view) :]
    finally:
        view.release()


def _keep_owner(path: str, status: os.stat_result) -> None:
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root may give files away; the file is then ours, as with any editor
            os.chown(path, status.st_uid, status.st_gid)


def sync_folder(path: str) -> None:
    """The entry of `path` in its folder made durable, where folders can be opened (not on Windows)."""
    if os.name == "nt":
        return
    fd = CALLS.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        CALLS.fsync(fd)
    finally:
        CALLS.close(fd)


_NO_SYNC = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOENT, errno.ENOTDIR)
"""A folder that may only be written in, one of a system that syncs no folders, or one that was moved away."""


def _sync_name(path: str) -> None:
    """sync_folder, where that can be done. Raises OSError where it failed."""
    try:
        sync_folder(path)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def create_file(path: str | os.PathLike[str], create_dirs: bool) -> None:
    """An empty file at `path` unless there is one; with `create_dirs` its missing parents too, with names that stay.

    The file's own name is made durable with the first rows that are synced (promise 1).
    """
    if create_dirs:
        _create_folders(os.path.dirname(os.fspath(path)))
    CALLS.close(CALLS.open(os.fspath(path), os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666))


def _create_folders(folder: str) -> None:
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    if missing:
        os.makedirs(missing[0], exist_ok=True)
    for made in missing:
        if os.path.basename(made) not in ("", os.curdir, os.pardir):
            _sync_name(made)


def write_beside(path: str, suffix: str, data: Iterable[bytes]) -> None:
    """A cache file next to the CSV, replaced atomically; not synced, whoever reads it checks it."""
    target = beside(path, suffix)
    fd = CALLS.open(target + ".new", os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for part in data:
            _write_all(fd, part)
    finally:
        CALLS.close(fd)
    CALLS.replace(target + ".new", target)


def read_beside(path: str, suffix: str) -> bytes | None:
    """The content of a cache file next to the CSV, or None if it cannot be read."""
    try:
        fd = CALLS.open(beside(path, suffix), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        left = CALLS.fstat(fd).st_size
        parts = []
        while part := CALLS.read(fd, left):  # no more than there is: room for more would be new memory each time
            parts.append(bytes(part))
            left -= len(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        CALLS.close(fd)

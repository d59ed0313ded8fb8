"""Files on a directory of this machine.

Every system call of the storage is made here. Two of them (fallocate, sync_file_range) are not in `os`; they
go through ctypes, which is loaded when one of them is first used.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from lamina.storage.files import Buffer, FileInfo
from lamina.storage.rules import check_folder, check_path, folder_of, locked

_IOV_MAX = 1024  # buffers one pwritev takes on Linux and macOS
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves data in the drive's cache
_FLAGS = {
    "read": os.O_RDONLY | os.O_CLOEXEC,
    "create": os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
    "append": os.O_RDWR | os.O_CLOEXEC,
}
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)
_START_WRITE = 2  # SYNC_FILE_RANGE_WRITE: start, do not wait
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)
_NOTE_LIMIT = 4096  # bytes of a lock's note read back; ours are below 100


class LocalFile:
    """One descriptor. Thread-safe: every read and write names its position."""

    __slots__ = ("_fd", "_poison", "path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._poison: OSError | None = None
        self.path = path

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length:
            return data
        return self._read_on(offset, length, data)

    def _read_on(self, offset: int, length: int, data: bytes) -> bytes:
        """A short read is the end of the file only when the next one is empty."""
        parts = [data]
        got = len(data)
        while data and got < length:
            data = os.pread(self._fd, length - got, offset + got)
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        got = os.preadv(self._fd, [buffer], offset)
        while 0 < got < len(buffer):  # as in _read_on
            more = os.preadv(self._fd, [buffer[got:]], offset + got)
            if not more:
                break
            got += more
        return got

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        if len(parts) > _IOV_MAX:
            parts = [b"".join(parts)]
        left = -os.pwritev(self._fd, parts, offset)
        for part in parts:
            left += part.nbytes if type(part) is memoryview else len(part)
        if left:
            self._write_on(offset, b"".join(parts), left)

    def _write_on(self, offset: int, data: bytes, left: int) -> None:
        """Complete a short write; the call after a full disk raises ENOSPC."""
        view = memoryview(data)
        while left:
            done = os.pwrite(self._fd, view[len(data) - left :], offset + len(data) - left)
            if not done:
                raise OSError(errno.EIO, "write made no progress", self.path)
            left -= done

    def allocate(self, length: int) -> None:
        if length:
            _fallocate(self._fd, _KEEP_SIZE, 0, length)

    def punch(self, offset: int, length: int) -> bool:
        return _fallocate(self._fd, _KEEP_SIZE | _PUNCH_HOLE, offset, length)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        if sys.platform == "linux":
            for offset, length in ranges:
                os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)

    def announce_random(self) -> None:
        """Switch the kernel's own reading ahead off. Raises IsADirectoryError, which opening for reading does not."""
        if stat.S_ISDIR(os.fstat(self._fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        if sys.platform == "linux":
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)

    def start_writeback(self, offset: int, length: int) -> None:
        call = _c_functions()[1]
        if call is not None:
            call(self._fd, offset, length, _START_WRITE)  # a hint: what fails here, fails again in sync

    def truncate(self, length: int) -> None:
        os.ftruncate(self._fd, length)

    def sync(self) -> None:
        if self._poison is not None:
            # The kernel reports a lost page once; a second fsync would answer that all is well.
            raise OSError(self._poison.errno, f"an earlier sync failed: {self._poison.strerror}", self.path)
        if self._fd < 0:  # fdatasync would raise ValueError
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        try:
            if _FULL_SYNC is not None:
                fcntl.fcntl(self._fd, _FULL_SYNC)
            else:
                os.fdatasync(self._fd)
        except OSError as error:
            self._poison = error
            raise

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # later calls fail with EBADF, never on another's descriptor
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class LocalFiles:
    """The directory `root`, an absolute path or relative to the working directory of now.

    Folders are made with mode 0700, files with 0600. Thread-safe. `make_folder("")` makes the root itself.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self._prefix = self.root.rstrip("/") + "/"
        self._folders_lock = threading.Lock()  # guards _folders, and is held while one is made
        self._folders: set[str] = set()  # known to be durable

    def open(self, path: str, mode: Literal["read", "create", "append"]) -> LocalFile:
        place = self._prefix + check_path(path)
        file = LocalFile(os.open(place, _FLAGS[mode], 0o600), place)
        if mode == "read":
            file.announce_random()
        return file

    def rename(self, source: str, target: str) -> None:
        os.rename(self._prefix + check_path(source), self._prefix + check_path(target))

    def unlink(self, path: str) -> None:
        os.unlink(self._prefix + check_path(path))

    def list(self, folder: str) -> list[FileInfo]:
        found = []
        try:
            with os.scandir(self._prefix + check_folder(folder)) as entries:
                for entry in entries:
                    try:
                        about = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # unlinked since
                    found.append(
                        FileInfo(
                            entry.name,
                            about.st_size,
                            about.st_mtime_ns,
                            about.st_ino,
                            entry.is_dir(follow_symlinks=False),
                        )
                    )
        except FileNotFoundError:
            return []
        return sorted(found)

    def make_folder(self, folder: str) -> None:
        with self._folders_lock:
            self._make(check_folder(folder))

    def _make(self, folder: str) -> None:
        """An existing folder is synced into its parent once too: who made it may have been killed before."""
        if folder in self._folders:
            return
        if folder:
            self._make(folder_of(folder))
            place = self._prefix + folder
        else:
            place = self.root
            os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:
            if not os.path.isdir(place):
                raise
        _sync_directory(os.path.dirname(place))
        self._folders.add(folder)

    def sync_folder(self, folder: str) -> None:
        _sync_directory(self._prefix + check_folder(folder))

    def free_bytes(self) -> tuple[int, int]:
        volume = os.statvfs(self.root)
        return volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize

    def lock(self, path: str, note: bytes) -> LocalLock:
        place = self._prefix + check_path(path)
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, note, 0)
        except BlockingIOError:
            holder = os.pread(fd, _NOTE_LIMIT, 0)
            os.close(fd)
            raise locked(place, holder) from None
        except BaseException:
            os.close(fd)
            raise
        return LocalLock(fd)


class LocalLock:
    """A flock. It belongs to the open file description, so a second lock in the same process is refused
    too."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            fcntl.flock(fd, fcntl.LOCK_UN)  # explicit: a forked child's copy of the descriptor would keep it
            os.close(fd)


def _sync_directory(place: str) -> None:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> bool:
    """Whether it was done; False where the system or file system cannot. Raises OSError (ENOSPC, EIO)."""
    import ctypes

    call = _c_functions()[0]
    if call is None:
        return False
    while call(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


@cache
def _c_functions() -> tuple[Callable[..., int] | None, Callable[..., int] | None]:
    """fallocate and sync_file_range of the C library, or None where it has none."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    off_t = ctypes.c_long  # off_t of the plain names: 64 bits on every 64-bit system

    def declare(name: str, *arguments: Any) -> Callable[..., int] | None:
        function = getattr(library, name, None)
        if function is not None:
            function.argtypes = arguments
            function.restype = ctypes.c_int
        return function

    return (
        declare("fallocate", ctypes.c_int, ctypes.c_int, off_t, off_t),
        # Linux declares off64_t here whatever the word size.
        declare("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint),
    )

"""Immutable objects as files under `segments/`, over any Files.

Invariants:
F1. A file under segments/ is complete and durable: it is written under tmp/, synced, renamed, and its
    folder synced.
F2. A handle is closed when it is out of the cache and no read uses it, never earlier; so a read that has
    begun ends well although the object is deleted meanwhile.
F3. A handle opened before a delete of any object is not cached after it: a deleted file's space would stay
    taken.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lamina.errors import AlreadyExists, Closed, Corrupt, NotFound
from lamina.storage.blobs import BlobInfo
from lamina.storage.files import Buffer, File, Files
from lamina.storage.rules import check_path, ends_early, folder_of

SEGMENTS = "segments"
TEMPORARY = "tmp"

_WRITEBACK = 1 << 20
"""Bytes appended at once from which the kernel is told to start writing: a final sync then finds little left.
Below, loading the call costs more than it gives."""


class _Handle:
    __slots__ = ("cached", "file", "size", "users")

    def __init__(self, file: File) -> None:
        self.file = file
        self.size = file.size()  # immutable, as the object
        self.users = 1
        self.cached = False


class FileBlobs:
    """Objects under `segments/` of a Files. Thread-safe. At most `open_limit` idle descriptors are kept."""

    def __init__(self, files: Files, open_limit: int = 256) -> None:
        self._files = files
        self._open_limit = open_limit
        self._lock = threading.Lock()  # guards everything below and every _Handle's `users` and `cached`
        self._handles: OrderedDict[str, _Handle] = OrderedDict()  # least recently used first
        self._deletes = 0
        self._closed = False
        self._temporaries = itertools.count(1)

    def create(self, name: str) -> FileBlobWriter:
        """Raises AlreadyExists: a name is used once, ever."""
        target = f"{SEGMENTS}/{check_path(name)}"
        try:
            self._files.open(target, "read").close()
        except FileNotFoundError:
            pass  # as it should be
        else:
            raise AlreadyExists(f"object {name!r} exists; a name is used once")
        self._files.make_folder(TEMPORARY)
        for number in self._temporaries:
            temporary = f"{TEMPORARY}/{name.replace('/', '-')}.{number}"
            try:
                return FileBlobWriter(self._files, self._files.open(temporary, "create"), temporary, target)
            except FileExistsError:
                continue  # left over by a life that was killed
        raise AssertionError("the count is endless")

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Costs 2 us, and 1 us a range, when the page cache has them. Every read of a block comes through here."""
        handle = self._acquire(name)
        try:
            size = handle.size
            for offset, length in ranges:  # before reading: a damaged address must not ask for gigabytes
                if offset < 0 or length < 0 or offset + length > size:
                    raise ends_early(name, offset, length, size)
            file = handle.file
            if len(ranges) > 1:
                file.will_need(ranges)
            read_at = file.read_at
            found = []
            for offset, length in ranges:
                data = read_at(offset, length)
                if len(data) != length:
                    raise ends_early(name, offset, length, offset + len(data))
                found.append(data)
            return found
        except OSError as error:
            if error.errno == errno.EIO:
                raise Corrupt(f"{name}: the device cannot read ranges {list(ranges)[:8]}: {error}") from error
            raise
        finally:
            self._release(handle)

    def size(self, name: str) -> int:
        handle = self._acquire(name)
        self._release(handle)
        return handle.size

    def delete(self, name: str) -> None:
        path = f"{SEGMENTS}/{check_path(name)}"
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            return
        with self._lock:
            self._deletes += 1  # F3
            handle = self._handles.pop(name, None)
            if handle is not None:
                handle.cached = False
                if not handle.users:
                    handle.file.close()
        self._files.sync_folder(folder_of(path))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        yield from self._walk("", prefix)

    def _walk(self, folder: str, prefix: str) -> Iterator[BlobInfo]:
        """`folder` is "" or ends in "/". A folder sorts as its name and "/": the order of whole names."""
        entries = self._files.list(f"{SEGMENTS}/{folder}".rstrip("/"))
        for key, entry in sorted((e.name + "/" if e.is_folder else e.name, e) for e in entries):
            name = folder + key
            if not entry.is_folder:
                if name.startswith(prefix):
                    yield BlobInfo(name, entry.size)
            elif name.startswith(prefix) or prefix.startswith(name):
                yield from self._walk(name, prefix)

    def close(self) -> None:
        """Close every descriptor as soon as it is idle; later reads raise Closed. Idempotent."""
        with self._lock:
            self._closed = True
            while self._handles:
                self._evict()

    def _acquire(self, name: str) -> _Handle:
        with self._lock:
            if self._closed:
                raise Closed(f"cannot read {name}: the database is closed")
            handle = self._handles.get(name)
            if handle is not None:
                handle.users += 1
                self._handles.move_to_end(name)
                return handle
            deletes = self._deletes
        try:
            handle = _Handle(self._files.open(f"{SEGMENTS}/{check_path(name)}", "read"))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"object {name!r} does not exist") from None
        with self._lock:
            # Another thread may have opened it meanwhile; then this handle serves one read and is closed.
            if deletes == self._deletes and not self._closed and name not in self._handles:
                handle.cached = True
                self._handles[name] = handle
                if len(self._handles) > self._open_limit:
                    self._evict()
        return handle

    def _evict(self) -> None:
        _, oldest = self._handles.popitem(last=False)
        oldest.cached = False
        if not oldest.users:
            oldest.file.close()

    def _release(self, handle: _Handle) -> None:
        with self._lock:
            handle.users -= 1
            if not handle.users and not handle.cached:  # F2
                handle.file.close()


class FileBlobWriter:
    """One object being written. Errors of the disk are OSError; abort afterwards."""

    __slots__ = ("_done", "_file", "_files", "_renamed", "_size", "_target", "_temporary")

    def __init__(self, files: Files, file: File, temporary: str, target: str) -> None:
        self._files = files
        self._file = file
        self._temporary = temporary
        self._target = target
        self._size = 0
        self._renamed = False
        self._done = False

    def append(self, parts: Sequence[Buffer]) -> None:
        self._file.write_at(self._size, parts)
        added = sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)
        if added >= _WRITEBACK:
            self._file.start_writeback(self._size, added)
        self._size += added

    def finish(self) -> None:
        folder = folder_of(self._target)
        self._files.make_folder(folder)
        self._file.sync()
        self._file.close()
        self._files.rename(self._temporary, self._target)
        self._renamed = True
        self._files.sync_folder(folder)
        self._done = True

    def abort(self) -> None:
        """A no-op after a finish that succeeded."""
        if self._done:
            return
        self._done = True
        self._file.close()
        with suppress(OSError):  # what a sick disk keeps is unreferenced: tmp/ is emptied at open, segments/ by gc
            self._files.unlink(self._target if self._renamed else self._temporary)

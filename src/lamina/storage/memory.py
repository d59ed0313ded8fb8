"""Files and Blobs in memory: for `":memory:"` databases and tests. The same rules as on a disk, nothing
durable."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Literal

from lamina.errors import AlreadyExists, NotFound
from lamina.storage.blobs import BlobInfo
from lamina.storage.files import Buffer, FileInfo
from lamina.storage.rules import check_folder, check_path, ends_early, folder_of, locked


class _Node:
    """A file's content; lives on without a name while a handle holds it."""

    __slots__ = ("data", "inode", "lock", "mtime_ns")

    def __init__(self, inode: int, mtime_ns: int, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.inode = inode
        self.mtime_ns = mtime_ns
        self.lock = threading.Lock()  # guards data: a buffer that is being read cannot be resized


class MemoryFile:
    __slots__ = ("_files", "_node", "_writable", "path")

    def __init__(self, files: MemoryFiles, node: _Node, writable: bool, path: str) -> None:
        self._files = files
        self._node: _Node | None = node
        self._writable = writable
        self.path = path

    def _open(self, writing: bool = False) -> _Node:
        if self._node is None or (writing and not self._writable):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        return self._node

    def read_at(self, offset: int, length: int) -> bytes:
        node = self._open()
        if offset < 0 or length < 0:
            raise OSError(errno.EINVAL, f"offset {offset}, length {length}", self.path)
        with node.lock, memoryview(node.data) as view:
            return bytes(view[offset : offset + length])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        data = self.read_at(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        node = self._open(writing=True)
        content = b"".join(parts)
        if offset < 0:
            raise OSError(errno.EINVAL, f"offset {offset}", self.path)
        with node.lock:
            if content:
                _resize(node.data, max(len(node.data), offset))
                node.data[offset : offset + len(content)] = content
            node.mtime_ns = self._files.tick()

    def allocate(self, length: int) -> None:
        self._open(writing=True)

    def punch(self, offset: int, length: int) -> bool:
        node = self._open(writing=True)
        with node.lock:
            end = min(offset + length, len(node.data))
            if end > offset:
                node.data[offset:end] = bytes(end - offset)
        return True

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._open()

    def start_writeback(self, offset: int, length: int) -> None:
        self._open()

    def truncate(self, length: int) -> None:
        node = self._open(writing=True)
        with node.lock:
            _resize(node.data, length)
            node.mtime_ns = self._files.tick()

    def sync(self) -> None:
        self._open()

    def size(self) -> int:
        return len(self._open().data)

    def close(self) -> None:
        self._node = None


def _resize(data: bytearray, length: int) -> None:
    if length < len(data):
        del data[length:]
    else:
        data.extend(bytes(length - len(data)))


class MemoryFiles:
    """A directory in memory. Thread-safe. `mtime_ns` counts changes instead of telling the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards everything below
        self._nodes: dict[str, _Node] = {}
        self._folders = {""}
        self._held: dict[str, bytes] = {}
        self._inodes = 0
        self._ticks = 0

    def tick(self) -> int:
        """The next modification time."""
        self._ticks += 1
        return self._ticks

    def copy(self) -> MemoryFiles:
        """The same folders and contents, no handles and no locks."""
        copy = MemoryFiles()
        with self._lock:
            copy._folders = set(self._folders)
            for path, node in self._nodes.items():
                with node.lock:
                    copy._nodes[path] = _Node(node.inode, node.mtime_ns, bytes(node.data))
            copy._inodes, copy._ticks = self._inodes, self._ticks
        return copy

    def open(self, path: str, mode: Literal["read", "create", "append"]) -> MemoryFile:
        check_path(path)
        with self._lock:
            node = self._nodes.get(path)
            if mode != "create":
                if node is None:
                    raise self._missing(path)
            elif node is not None or path in self._folders:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            else:
                node = self._add(path)
        return MemoryFile(self, node, mode != "read", path)

    def _add(self, path: str) -> _Node:
        if folder_of(path) not in self._folders:
            raise self._missing(path)
        self._inodes += 1
        node = self._nodes[path] = _Node(self._inodes, self.tick())
        return node

    def _missing(self, path: str) -> OSError:
        if path in self._folders:
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def rename(self, source: str, target: str) -> None:
        check_path(source)
        check_path(target)
        with self._lock:
            if source not in self._nodes:
                raise self._missing(source)
            if target in self._folders or folder_of(target) not in self._folders:
                raise self._missing(target)
            self._nodes[target] = self._nodes.pop(source)

    def unlink(self, path: str) -> None:
        check_path(path)
        with self._lock:
            if path not in self._nodes:
                raise self._missing(path)
            del self._nodes[path]

    def list(self, folder: str) -> list[FileInfo]:
        check_folder(folder)
        start = len(folder) + 1 if folder else 0
        with self._lock:
            found = [
                FileInfo(path[start:], len(node.data), node.mtime_ns, node.inode, False)
                for path, node in self._nodes.items()
                if folder_of(path) == folder
            ]
            found += [
                FileInfo(path[start:], 0, 0, 0, True) for path in self._folders if path and folder_of(path) == folder
            ]
        return sorted(found)

    def make_folder(self, folder: str) -> None:
        if not check_folder(folder):
            return
        parts = folder.split("/")
        wanted = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        with self._lock:
            for path in wanted:
                if path in self._nodes:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self._folders.update(wanted)

    def sync_folder(self, folder: str) -> None:
        check_folder(folder)
        with self._lock:
            if folder not in self._folders:
                raise self._missing(folder)

    def free_bytes(self) -> tuple[int, int]:
        """As much as anybody could want: memory has its own limits."""
        return 1 << 40, 1 << 40

    def lock(self, path: str, note: bytes) -> MemoryLock:
        check_path(path)
        with self._lock:
            if path in self._held:
                raise locked(path, self._held[path])
            node = self._nodes.get(path)
            if node is None:
                node = self._add(path)
            with node.lock:
                node.data[:] = note
            self._held[path] = note
        return MemoryLock(self, path)

    def _release(self, path: str) -> None:
        with self._lock:
            del self._held[path]


class MemoryLock:
    __slots__ = ("_files", "_path")

    def __init__(self, files: MemoryFiles, path: str) -> None:
        self._files: MemoryFiles | None = files
        self._path = path

    def release(self) -> None:
        files, self._files = self._files, None
        if files is not None:
            files._release(self._path)


class MemoryBlobs:
    """Objects in memory. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}  # replaced and read in one step each: needs no lock

    def create(self, name: str) -> MemoryBlobWriter:
        if check_path(name) in self._objects:
            raise AlreadyExists(f"object {name!r} exists; a name is used once")
        return MemoryBlobWriter(self._objects, name)

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        content = self._content(name)
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > len(content):
                raise ends_early(name, offset, length, len(content))
        return [content[offset : offset + length] for offset, length in ranges]

    def size(self, name: str) -> int:
        return len(self._content(name))

    def _content(self, name: str) -> bytes:
        try:
            return self._objects[name]
        except KeyError:
            raise NotFound(f"object {name!r} does not exist") from None

    def delete(self, name: str) -> None:
        self._objects.pop(name, None)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for name, content in sorted(self._objects.copy().items()):
            if name.startswith(prefix):
                yield BlobInfo(name, len(content))


class MemoryBlobWriter:
    __slots__ = ("_name", "_objects", "_parts")

    def __init__(self, objects: dict[str, bytes], name: str) -> None:
        self._objects = objects
        self._name = name
        self._parts: list[bytes] = []

    def append(self, parts: Sequence[Buffer]) -> None:
        self._parts.extend(bytes(part) for part in parts)

    def finish(self) -> None:
        self._objects[self._name] = b"".join(self._parts)
        self._parts = []

    def abort(self) -> None:
        self._parts = []

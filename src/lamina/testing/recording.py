"""Files that note everything that changes them, so that crash states can be made of the trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

from lamina.storage.files import Buffer, File, FileInfo, Files, Lock
from lamina.testing.crashstates import (
    Create,
    Event,
    Folder,
    FolderSync,
    Mark,
    Punch,
    Rename,
    Sync,
    Trace,
    Truncate,
    Unlink,
    Write,
)


class Recorder:
    """Passes everything on to `inner` and tells `emit` about what succeeded. Thread-safe.

    What is there already is told first, as durable. Events are told one at a time; `emit` gives the number of
    the event, counted from 0. Faults belong outside of a recorder, not inside: a call that fails is told as
    if it had done nothing. The file of a lock is not told, it means nothing to a later life.
    """

    def __init__(self, inner: Files, emit: Callable[[Event], int], inodes: dict[str, int] | None = None) -> None:
        self._inner = inner
        self._emit = emit
        self._lock = threading.RLock()  # guards everything below and the order of events
        self._told = 0
        self._inodes: dict[str, int] = {}
        self._next_inode = 1
        if inodes is None:
            self._adopt("")
        else:
            self._inodes = dict(inodes)
            self._next_inode = max(inodes.values(), default=0) + 1

    def tell(self, event: Event) -> None:
        with self._lock:
            self._told = self._emit(event) + 1

    @property
    def told(self) -> int:
        return self._told

    def mark(self, text: str) -> None:
        """Note that something happened now, such as an acknowledgement."""
        self.tell(Mark(text))

    def _adopt(self, folder: str) -> None:
        for entry in self._inner.list(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_folder:
                self.tell(Folder(path))
                self._adopt(path)
            else:
                self._adopt_file(path)
        self.tell(FolderSync(folder, self._told))

    def _adopt_file(self, path: str) -> int:
        inode = self._new_inode(path)
        file = self._inner.open(path, "read")
        self.tell(Create(path, inode))
        self.tell(Write(inode, 0, file.read_at(0, file.size())))
        self.tell(Sync(inode, self._told))
        file.close()
        return inode

    def _new_inode(self, path: str) -> int:
        inode = self._inodes[path] = self._next_inode
        self._next_inode += 1
        return inode

    def open(self, path: str, mode: Literal["read", "create", "append"]) -> RecordedFile:
        with self._lock:
            file = self._inner.open(path, mode)
            if mode == "create":
                self.tell(Create(path, self._new_inode(path)))
            return RecordedFile(self, file, self._inodes.get(path, 0))

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            self._inner.rename(source, target)
            inode = self._inodes[target] = self._inodes.pop(source)
            self.tell(Rename(source, target, inode))

    def unlink(self, path: str) -> None:
        with self._lock:
            self._inner.unlink(path)
            self._inodes.pop(path, None)
            self.tell(Unlink(path))

    def list(self, folder: str) -> list[FileInfo]:
        return self._inner.list(folder)

    def make_folder(self, folder: str) -> None:
        with self._lock:
            self._inner.make_folder(folder)
            parts = folder.split("/") if folder else []
            for n in range(len(parts)):
                self.tell(Folder("/".join(parts[: n + 1])))

    def sync_folder(self, folder: str) -> None:
        began = self._told
        self._inner.sync_folder(folder)
        self.tell(FolderSync(folder, began))

    def free_bytes(self) -> tuple[int, int]:
        return self._inner.free_bytes()

    def lock(self, path: str, note: bytes) -> Lock:
        return self._inner.lock(path, note)


class RecordedFile:
    __slots__ = ("_files", "_inner", "_inode")

    def __init__(self, files: Recorder, inner: File, inode: int) -> None:
        self._files = files
        self._inner = inner
        self._inode = inode

    def read_at(self, offset: int, length: int) -> bytes:
        return self._inner.read_at(offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return self._inner.read_into(offset, buffer)

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        data = b"".join(parts)
        self._inner.write_at(offset, (data,))
        self._files.tell(Write(self._inode, offset, data))

    def allocate(self, length: int) -> None:
        self._inner.allocate(length)

    def punch(self, offset: int, length: int) -> bool:
        done = self._inner.punch(offset, length)
        if done:
            self._files.tell(Punch(self._inode, offset, length))
        return done

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._inner.will_need(ranges)

    def start_writeback(self, offset: int, length: int) -> None:
        self._inner.start_writeback(offset, length)

    def truncate(self, length: int) -> None:
        self._inner.truncate(length)
        self._files.tell(Truncate(self._inode, length))

    def sync(self) -> None:
        began = self._files.told
        self._inner.sync()
        self._files.tell(Sync(self._inode, began))

    def size(self) -> int:
        return self._inner.size()

    def close(self) -> None:
        self._inner.close()


class RecordingFiles(Recorder):
    """A recorder that keeps the whole trace: `CrashStates(files.trace)` gives what power loss may leave
    of it."""

    def __init__(self, inner: Files) -> None:
        self.trace = Trace()
        super().__init__(inner, self._append)
        self.trace.start = len(self.trace.events)

    def _append(self, event: Event) -> int:
        self.trace.events.append(event)
        return len(self.trace.events) - 1

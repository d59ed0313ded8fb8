"""The seam to a file system: every byte Lamina keeps goes through these two protocols.

Paths are relative to the database directory and use `/`. Laws 1 and 2 of the reliability note: no other module
opens a file, and a file is published by write, sync, rename, sync of the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class FileInfo(NamedTuple):
    name: str  # within the listed folder
    size: int
    mtime_ns: int
    inode: int
    is_folder: bool


class File(Protocol):
    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes at offset; short only at the end of the file."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill a writable buffer of bytes from offset: how many were read, fewer than it takes only at the end of
        the file. What lies behind them in the buffer stays."""
        ...

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one behind the other, or raise."""
        ...

    def allocate(self, length: int) -> None:
        """Reserve disk space for the first `length` bytes; the size stays. A no-op where not supported."""
        ...

    def punch(self, offset: int, length: int) -> bool:
        """Give the space of a range back; reads of it answer zeros. False: not supported here."""
        ...

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Announce (offset, length) ranges that are about to be read."""
        ...

    def start_writeback(self, offset: int, length: int) -> None:
        """Start writing dirty pages without waiting."""
        ...

    def truncate(self, length: int) -> None: ...

    def sync(self) -> None:
        """Make content and size durable (fdatasync). An error poisons the handle: every later sync raises."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Lock(Protocol):
    def release(self) -> None: ...


class Files(Protocol):
    def open(self, path: str, mode: Literal["read", "create", "append"]) -> File:
        """`read`: existing, read only, announced as randomly read. `create`: must not exist, read and write.
        `append`: existing, read and write, kept as it is. Raises FileNotFoundError, FileExistsError, OSError."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomic; replaces the target. Durable after sync_folder of both folders."""
        ...

    def unlink(self, path: str) -> None: ...

    def list(self, folder: str) -> list[FileInfo]:
        """Entries of a folder in name order; an absent folder has none."""
        ...

    def make_folder(self, folder: str) -> None:
        """Create it and its parents, durably (parents synced); an existing one is fine."""
        ...

    def sync_folder(self, folder: str) -> None:
        """Make creates, renames and unlinks in it durable. "" is the database directory itself."""
        ...

    def free_bytes(self) -> tuple[int, int]:
        """(free, total) of the volume."""
        ...

    def lock(self, path: str, note: bytes) -> Lock:
        """Take the exclusive lock and store `note` (pid and instance) in it; raises errors.Locked at once."""
        ...

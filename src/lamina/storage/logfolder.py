"""The files of one log: which exist, where the next byte goes, reading by position, creating and unlinking.

Numbered invariants, cited by tests:
 1. A file is used only after its header and its name are durable; before that, the file before it is synced
    whole. So a file with a successor holds no torn tail, and a valid header proves every seq below its
    first.
 2. The file being written is never unlinked: the newest header always says where seqs and positions go on.
 3. A file that was created but not taken into use is gone, durably, before another byte is written elsewhere.
"""

from __future__ import annotations

import errno
import threading
from bisect import bisect_right
from collections.abc import Sequence

from lamina.errors import Corrupt, NoSpace, NotFound, Unavailable
from lamina.random import Random
from lamina.storage.files import Buffer, File, Files
from lamina.storage.logfile import HEADER_BYTES, FileHeader, Framing

FOLDER = "log"
SUFFIX = ".log"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class LogFile:
    """One file. Readers share its handle; it is closed when it was retired and the last of them is
    through."""

    __slots__ = (
        "_files",
        "_lock",
        "_reader",
        "_retired",
        "_users",
        "_writer",
        "framing",
        "header",
        "path",
        "size",
    )

    def __init__(self, files: Files, path: str, header: FileHeader, size: int) -> None:
        self.path = path
        self.header = header
        self.framing = Framing(header.salt, header.base)
        self.size = size  # up to the end of the last frame; only the holder of the commit role writes it
        self._files = files
        self._lock = threading.Lock()  # guards the rest
        self._reader: File | None = None
        self._writer: File | None = None
        self._users = 0
        self._retired = False

    @property
    def end(self) -> int:
        """Log position behind the last frame."""
        return self.header.base + self.size

    def read(self, offset: int, length: int) -> bytes:
        """Raises Corrupt where the file is shorter, NotFound when it was trimmed, Unavailable."""
        with self._lock:
            if self._retired:
                raise NotFound(f"{self.path} was trimmed or closed")
            if self._reader is None:
                self._reader = self._writer or self._files.open(self.path, "read")
            reader = self._reader
            self._users += 1
        try:
            data = reader.read_at(offset, length)
        except OSError as error:
            raise Unavailable(f"{self.path}: {length} bytes at offset {offset}: {error}") from error
        finally:
            with self._lock:
                self._users -= 1
                if self._retired and not self._users:
                    self._close()
        if len(data) != length:
            raise Corrupt(f"{self.path}: expected {length} bytes at offset {offset}, found {len(data)}")
        return data

    def writable(self, allocate: int) -> File:
        """The handle that appends. Opens it, and reserves space, the first time."""
        writer = self._writer
        if writer is None:
            writer = self._files.open(self.path, "append")
            writer.allocate(allocate)
            self._writer = writer
        return writer

    def adopt(self, writer: File) -> None:
        self._writer = writer

    def release_space(self) -> None:
        """Give back what was allocated behind the end; nothing is appended here any more."""
        if self._writer is not None:
            self._writer.truncate(self.size)

    def retire(self) -> None:
        with self._lock:
            self._retired = True
            if not self._users:
                self._close()

    def _close(self) -> None:
        handles = {id(h): h for h in (self._reader, self._writer) if h is not None}
        self._reader = self._writer = None
        for handle in handles.values():
            handle.close()


class LogFolder:
    """The kept files in order. `files` is replaced as a whole, so readers need no lock."""

    def __init__(self, files: Files, database_id: bytes, epoch: int, file_bytes: int, random: Random) -> None:
        self.medium = files
        self.database_id = database_id
        self.epoch = epoch
        self.file_bytes = file_bytes
        self.files: tuple[LogFile, ...] = ()
        self.active: LogFile | None = None  # files[-1], or None: the next write starts a new one
        self.unfinished: str | None = None  # invariant 3
        self._random = random
        self._changing = threading.Lock()  # guards the replacement of `files`

    def path(self, base: int) -> str:
        return f"{FOLDER}/{base:016x}{SUFFIX}"

    @property
    def end(self) -> int:
        """Log position where the next byte goes."""
        return self.files[-1].end if self.files else 0

    @property
    def bytes_kept(self) -> int:
        return sum(file.size for file in self.files)

    def header(self, base: int, first_seq: int) -> FileHeader:
        """A header for a file of this log, with a fresh salt."""
        return FileHeader(self.epoch, base, first_seq, self.database_id, self._random.token_bytes(8))

    def start(self, first_seq: int) -> LogFile:
        """Create the next file and make it the active one; what is in the one before must be synced
        (invariant 1).

        Repeatable from any point. Raises NoSpace with nothing changed, OSError.
        """
        self.discard_unfinished()
        if self.active is not None:
            self.active.release_space()
        header = self.header(self.end, first_seq)
        path = self.path(header.base)
        self.unfinished = path
        try:
            handle = self._create(path, header)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.discard_unfinished()
            raise NoSpace(f"{path}: no space for a log file of {self.file_bytes} bytes") from error
        file = LogFile(self.medium, path, header, HEADER_BYTES)
        file.adopt(handle)
        with self._changing:
            self.files = (*self.files, file)
        self.active = file
        self.unfinished = None
        return file

    def _create(self, path: str, header: FileHeader) -> File:
        handle = self.medium.open(path, "create")
        try:
            handle.allocate(self.file_bytes)
            handle.write_at(0, [header.encode()])
            handle.sync()
            self.medium.sync_folder(FOLDER)
        except BaseException:
            handle.close()
            raise
        return handle

    def discard_unfinished(self) -> None:
        """Invariant 3, after an interrupt or a full disk. Repeatable."""
        path = self.unfinished
        if path is None:
            return
        if self.files and self.files[-1].path == path:  # interrupted behind the last step: it is in use
            self.active = self.files[-1]
        else:
            if any(f"{FOLDER}/{info.name}" == path for info in self.medium.list(FOLDER)):
                self.medium.unlink(path)
            self.medium.sync_folder(FOLDER)
        self.unfinished = None

    def append(self, file: LogFile, offset: int, frame: Sequence[Buffer]) -> None:
        """Write a frame at an offset of the active file. Repeatable."""
        file.writable(self.file_bytes).write_at(offset, frame)

    def read(self, position: int, length: int) -> bytes:
        """Bytes at a log position, inside one file. Raises NotFound, Corrupt, Unavailable."""
        files = self.files
        index = bisect_right(files, position, key=lambda file: file.header.base) - 1
        if index < 0 or position + length > files[index].end:
            kept = f"{files[0].header.base}..{files[-1].end}" if files else "nothing"
            raise NotFound(f"log position {position}, {length} bytes: not in one of the kept files ({kept})")
        return files[index].read(position - files[index].header.base, length)

    def trim(self, seq: int) -> None:
        """Unlink every file before the active one that holds no seq above `seq` (invariant 2).

        Oldest first and each durably gone before the next: a crash must not leave a hole in the middle."""
        with self._changing:
            files = self.files
            count = 0
            while count + 1 < len(files) and files[count + 1].header.first_seq - 1 <= seq:
                count += 1
            for done, file in enumerate(files[:count], 1):
                self.medium.unlink(file.path)
                self.files = files[done:]
                file.retire()
                self.medium.sync_folder(FOLDER)

    def close(self) -> None:
        for file in self.files:
            file.retire()

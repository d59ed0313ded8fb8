"""One payload file: its name, its header, and its life while this process appends to it (FORMAT.md, "Payload files").

Numbered invariants, cited by tests:
 1. A file has extents only after its header and its name are durable.
 2. Of one file at most one sync runs; who finished an extent while it ran shares the next one.
 3. After a failed sync no sync of the file is tried again, and each that is asked for fails.
 4. The handle is closed only when nobody writes or syncs through it.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from lamina.errors import Closed, Corrupt, UnknownFormat
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer, File, Files
from lamina.storage.rules import folder_of
from lamina.storage.segment import MAGIC
from lamina.version import __version__

FOLDER = "segments/payload"
KIND = b"payload"
SUFFIX = ".dat"

FORMAT = 1
"""Newest format this code reads, and the one a reader or writer of its files needs."""

PAGE = 4096
"""What file systems give back at the least."""

FIRST = PAGE
"""Where extents begin: a page for the header, so that writing and punching contents never touches it."""

ALIGNMENT = 8
"""Extents start at multiples of it."""

ALLOCATE = 4 << 20
"""Disk space is reserved in such steps: an upload learns of a full disk before its bytes come, and what a killed
process leaves reserved stays small."""

PARTS = 1000
"""Buffers handed to one write: more would be copied together first (IOV_MAX is 1,024)."""

WRITEBACK = 8 << 20
"""Bytes after which the kernel is told to start writing, so that the last sync is short."""

OPEN_FILES = 4
"""Files of a bucket that uploads are spread over: writes and syncs of one file wait for one another."""

_HEADER = struct.Struct("<8sHHI8s16sII12xI")  # as a segment's: magic, formats, id, kind, database, epoch, two CRCs
_U32 = struct.Struct("<I")
_WRITER_LIMIT = 255  # bytes of the writer's name
HEAD_BYTES = _HEADER.size + _U32.size + _WRITER_LIMIT
assert _HEADER.size == 64, "part of the format"
assert HEAD_BYTES <= FIRST, "the head must not reach into extents"


def payload_path(id: int) -> str:
    """Where the file is, below the database directory."""
    return f"{FOLDER}/{id % 256:02x}/{id:08x}{SUFFIX}"


def aligned(length: int) -> int:
    """The space an extent takes."""
    return length + (-length & (ALIGNMENT - 1))


def encode_head(id: int, database_id: bytes, epoch: int) -> bytes:
    """Header and writer's name, as every file under segments/ begins."""
    assert len(database_id) == 16, "an id of another length would be padded or cut in silence"
    writer = f"lamina {__version__}".encode()[:_WRITER_LIMIT]
    text = _U32.pack(len(writer)) + writer
    header = _HEADER.pack(MAGIC, FORMAT, FORMAT, id, KIND, database_id, epoch, crc32c(text), 0)[:60]
    return header + _U32.pack(crc32c(header)) + text


def check_format(path: str, head: bytes) -> None:
    """Raises UnknownFormat where the file needs a newer Lamina. `head`: the first HEAD_BYTES of the file.

    A damaged header is passed over: contents have checksums of their own, so they stay readable.
    """
    if len(head) < _HEADER.size or crc32c(head[:60]) != _U32.unpack_from(head, 60)[0]:
        return
    magic, need, _, _, _, _, _, writer_crc, _ = _HEADER.unpack_from(head)
    if magic == MAGIC and need > FORMAT:
        (length,) = _U32.unpack_from(head.ljust(HEAD_BYTES, b"\0"), _HEADER.size)
        text = head[_HEADER.size : _HEADER.size + _U32.size + length]
        writer = text[_U32.size :].decode("utf-8", "replace") if crc32c(text) == writer_crc else "an unknown writer"
        raise UnknownFormat(
            f"{path}: offset 8: written by {writer!r} in format {need}, this Lamina reads up to {FORMAT}:"
            " use a newer one"
        )


def verify_head(path: str, head: bytes, id: int, database_id: bytes) -> None:
    """Raises Corrupt where the first HEAD_BYTES of the file are not as they were written, UnknownFormat as
    `check_format`."""
    check_format(path, head)
    if len(head) < HEAD_BYTES:
        raise Corrupt(f"{path}: offset 0: expected a head of {HEAD_BYTES} bytes, found {len(head)}")
    magic, _, _, found_id, kind, found_database, _, writer_crc, crc = _HEADER.unpack_from(head)
    if crc32c(head[:60]) != crc:
        raise Corrupt(f"{path}: offset 60: CRC32C of the header: expected {crc:08x}, found {crc32c(head[:60]):08x}")
    expected = MAGIC, id, KIND, database_id.hex()
    found = magic, found_id, kind.rstrip(b"\0"), found_database.hex()
    if found != expected:
        raise Corrupt(f"{path}: offset 0: magic, id, kind and database: expected {expected}, found {found}")
    (length,) = _U32.unpack_from(head, _HEADER.size)
    text = head[_HEADER.size : _HEADER.size + _U32.size + min(length, _WRITER_LIMIT)]
    if crc32c(text) != writer_crc:
        raise Corrupt(f"{path}: offset 44: CRC32C of the writer's name: expected {writer_crc:08x}, found "
                      f"{crc32c(text):08x}")  # fmt: skip


def create(files: Files, id: int, database_id: bytes, epoch: int) -> File:
    """Make the file with its header, durably (invariant 1), and leave it open. Raises OSError with nothing left."""
    path = payload_path(id)
    folder = folder_of(path)
    files.make_folder(folder)
    handle = files.open(path, "create")
    try:
        handle.write_at(0, [encode_head(id, database_id, epoch).ljust(FIRST, b"\0")])
        handle.sync()
        files.sync_folder(folder)
    except BaseException:
        handle.close()
        with suppress(OSError):  # what a sick disk keeps is unreferenced: swept at open
            files.unlink(path)
        raise
    return handle


class PayloadFile:
    """A file this process created and appends to. Thread-safe, except that whoever calls `reserve` excludes others.

    An *extent* is reserved, written by its owner alone, and finished. A *hold* says that something may soon refer to
    an extent, so the file is not to be given up yet, whatever the catalog says of it.
    """

    __slots__ = (
        "_allocated",
        "_change",
        "_files",
        "_finished",
        "_handle",
        "_holds",
        "_life",
        "_synced",
        "_syncing",
        "_unsynced",
        "_users",
        "_written",
        "appendable",
        "bucket",
        "end",
        "failed",
        "id",
        "in_flight",
        "path",
    )

    def __init__(self, files: Files, id: int, bucket: int, handle: File) -> None:
        self.id = id
        self.bucket = bucket
        self.path = payload_path(id)
        self.end = FIRST  # where the next extent goes
        self.appendable = True  # False for good once it is full, private or closed
        self.failed: OSError | None = None  # the sync that failed
        self.in_flight = 0  # bytes reserved and not yet finished
        self._files = files
        self._allocated = 0
        self._change = threading.Condition(threading.Lock())  # guards `failed`, `in_flight` and what follows
        self._handle: File | None = handle
        self._users = 0  # extents being written, and a sync
        self._holds = 0
        self._finished = 0  # extents so far: the number of the last one
        self._synced = 0  # every extent up to this number is durable
        self._unsynced: set[int] = set()  # numbers above it that are still wanted
        self._syncing = False
        self._written = FIRST  # end of the last finished extent
        self._life: Literal["open", "deleted", "closed"] = "open"

    def reserve(self, length: int, limit: int) -> int:
        """Begin an extent of `length` bytes: its offset. Space is reserved ahead, but not beyond `limit` bytes.

        Raises OSError (ENOSPC) with nothing changed.
        """
        where = self.end
        end = where + aligned(length)
        with self._change:
            if self._handle is None:
                self._handle = self._files.open(self.path, "append")
            handle = self._handle
            self._users += 1
            self.in_flight += length
        try:
            if end > self._allocated:
                ahead = max(end, min(limit, -(-end // ALLOCATE) * ALLOCATE))
                handle.allocate(ahead)
                self._allocated = ahead
        except BaseException:
            self.give_up(length)
            raise
        self.end = end
        return where

    def write(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Inside a reserved extent that is not finished. Raises OSError."""
        assert self._handle is not None, "a reserved extent keeps the handle open"
        self._handle.write_at(offset, parts)

    def start_writeback(self, offset: int, length: int) -> None:
        assert self._handle is not None, "a reserved extent keeps the handle open"
        self._handle.start_writeback(offset, length)

    def finish(self, where: int, length: int) -> int:
        """All bytes of an extent are written: its number, for `sync`."""
        with self._change:
            self._finished += 1
            self._unsynced.add(self._finished)
            self._written = max(self._written, where + length)
            self.in_flight -= length
            self._leave()
            return self._finished

    def give_up(self, length: int) -> None:
        """The extent is not going to be finished. Its place stays unused."""
        with self._change:
            self.in_flight -= length
            self._leave()

    def forsake(self, number: int) -> None:
        """Nothing is going to refer to a finished extent: nobody need sync it."""
        with self._change:
            self._unsynced.discard(number)

    def hold(self) -> None:
        with self._change:
            self._holds += 1

    def let_go(self) -> None:
        """Take one hold back."""
        with self._change:
            assert self._holds, "released more often than held"
            self._holds -= 1

    @property
    def dirty(self) -> int:
        """Number to sync up to; 0 if everything wanted is durable."""
        with self._change:
            return max(self._unsynced, default=0)

    @property
    def settled(self) -> bool:
        """Whether nothing is going to happen to it any more."""
        with self._change:
            return not (self.appendable or self._users or self._holds or self._unsynced)

    def sync(self, number: int) -> None:
        """Return when the extents up to `number` are durable (invariants 2, 3). Raises OSError, Closed."""
        covered = -1
        failure: OSError | None = None
        try:
            with self._change:
                while self._syncing and self._synced < number and self.failed is None:
                    self._change.wait()
                if self._synced >= number or self._life == "deleted":
                    return
                if self.failed is not None:
                    raise OSError(self.failed.errno, f"an earlier sync failed: {self.failed.strerror}", self.path)
                handle = self._handle
                if self._life == "closed" or handle is None:
                    raise Closed(f"{self.path}: the database is closed")
                covered = self._finished
                self._syncing = True
                self._users += 1
            try:
                handle.sync()
            except OSError as error:
                failure = error
                raise
            except BaseException:  # an interrupt: nobody knows how far it came, and nothing failed
                with self._change:
                    self._end_sync(0, None)
                covered = -1
                raise
        finally:
            if covered >= 0:
                with self._change:
                    self._end_sync(0 if failure is not None else covered, failure)

    def _end_sync(self, covered: int, failure: OSError | None) -> None:
        """Holds `_change`."""
        self._syncing = False
        if failure is not None:
            self.failed = failure
        elif covered:
            self._synced = covered
            self._unsynced = {later for later in self._unsynced if later > covered}
        self._leave()
        self._change.notify_all()

    def rest(self) -> bool:
        """Close the handle if nobody needs it now; `reserve` opens it again. Whether it is closed."""
        with self._change:
            if not self._users and not self._unsynced and self._handle is not None:
                self._handle.close()
                self._handle = None
            return self._handle is None

    def retire(self) -> None:
        """A settled file: give back what was reserved behind the last extent, and close it. Raises OSError."""
        with self._change:
            if self._life != "open":
                return
            self._life = "closed"
            if self._users:
                return  # at the end of the database: whoever still writes closes it
            try:
                if self._allocated > self._written:
                    if self._handle is None:
                        self._handle = self._files.open(self.path, "append")
                    self._handle.truncate(self._written)
            finally:
                self._close()

    def deleted(self) -> None:
        """Its name is gone. Extents being written go nowhere."""
        with self._change:
            self._life = "deleted"
            self.appendable = False
            if not self._users:
                self._close()

    def _leave(self) -> None:
        """Holds `_change`. Invariant 4."""
        self._users -= 1
        if not self._users and self._life != "open":
            self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

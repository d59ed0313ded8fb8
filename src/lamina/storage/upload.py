"""One content on its way into a payload file, as its bytes come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lamina.errors import InvalidArgument
from lamina.storage.checksums import RunningChecksum, array_bytes, flat
from lamina.storage.files import Buffer
from lamina.storage.payloadfile import PARTS, WRITEBACK, PayloadFile

if TYPE_CHECKING:
    from lamina.storage.payloads import PayloadFiles

GATHER = 262_144
"""Chunks smaller than a quarter of it wait until so many bytes can be written by one call."""

_ENDING = threading.Lock()
"""Guards the end of every upload: who waits for a commit and who is called back may both say that it is through."""

_TOO_LONG = "Content is bigger than in content-length"
_TOO_SHORT = "Content is smaller than in content-length"


class Upload:
    """A content on its way into its extent. One thread at a time.

    After `finish` (and `sync`, where durability asks for it) submit the op that refers to `file` and `where`; then
    call `release`, when the op is published, or `abort`, when it was refused.
    """

    __slots__ = ("_buffered", "_checksum", "_crc", "_file", "_number", "_offset", "_over", "_own", "_owner", "_parts",
                 "_started", "_written", "file", "size", "where")  # fmt: skip

    def __init__(self, owner: PayloadFiles, file: PayloadFile, where: int, size: int, own: bool) -> None:
        self.file = file.id
        self.where = where
        self.size = size
        self._owner = owner
        self._file = file
        self._own = own
        self._checksum = RunningChecksum(size)
        self._parts: list[Buffer] = []  # taken and not yet written
        self._buffered = 0
        self._offset = where  # of the next write
        self._started = where  # written back up to here
        self._written = 0  # bytes of the content that were taken
        self._crc = 0  # of a content that was taken
        self._number = 0  # of the finished extent
        self._over = False

    def write(self, chunk: Buffer) -> None:
        """The next bytes, of any number. Long chunks go to the disk as they are; of short ones those that could
        change are copied. Raises InvalidArgument (more than announced), OSError; abort then."""
        assert not self._over, "written to after its end"
        assert not self._number, "written to after it was finished"
        view = flat(chunk)
        length = len(view)
        if self._written + length > self.size:
            raise InvalidArgument(_TOO_LONG)
        self._written += length
        self._checksum.add(view)
        if self._written == self.size and length:
            self._crc, array = self._checksum.finish()
            self._put([view, array], length + len(array))
        elif 4 * length >= GATHER:
            self._put([view], length)
        elif length:
            self._parts.append(chunk if type(chunk) is bytes else bytes(view))
            self._buffered += length
            if self._buffered >= GATHER or len(self._parts) >= PARTS:
                self._put([], 0)

    def _put(self, last: list[Buffer], length: int) -> None:
        """Write what waits, and `length` bytes behind it."""
        parts, self._parts = self._parts + last, []
        length += self._buffered
        self._buffered = 0
        self._file.write(self._offset, parts)
        self._offset += length
        if self._offset - self._started >= WRITEBACK:
            self._file.start_writeback(self._started, self._offset - self._started)
            self._started = self._offset

    def finish(self) -> int:
        """All bytes were given: what the row keeps as `crc` (checksums.py). Raises InvalidArgument (too few), OSError;
        abort then."""
        assert not self._over, "finished after its end"
        assert not self._number, "finished twice"
        if self._written < self.size:
            raise InvalidArgument(_TOO_SHORT)
        if not self.size:
            self._crc, _ = self._checksum.finish()
        self._number = self._file.finish(self.where, self.size + array_bytes(self.size))
        return self._crc

    def sync(self) -> None:
        """Make the finished content durable; shares syncs with others of the same file. Raises OSError, Closed."""
        assert self._number, "only a finished content can be durable"
        self._owner.sync_file(self._file, self._number)

    def release(self) -> None:
        """The op that refers to it is published, or its fate is unknown: the file's life is the catalog's affair now.
        Idempotent, on any thread; a no-op after abort."""
        assert self._number or self._over, "only a finished content can be referred to"
        if self._ends():
            self._let_go()

    def abort(self) -> None:
        """Nothing refers to it or ever will: the extent is dead, a file of its own is unlinked. Idempotent, on any
        thread that knows nobody writes to it; a no-op after release."""
        if not self._ends():
            return
        self._parts = []
        if self._number:
            self._file.forsake(self._number)
        else:
            self._file.give_up(self.size + array_bytes(self.size))
        if self._own:
            self._owner.discard(self._file)
        self._let_go()

    def _ends(self) -> bool:
        """Whether it ends now: true once."""
        with _ENDING:
            over, self._over = self._over, True
        return not over

    def _let_go(self) -> None:
        self._file.let_go()
        if not self._file.appendable:
            self._owner.settle(self._file)

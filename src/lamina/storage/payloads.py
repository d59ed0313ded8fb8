"""Where the contents of records lie: extents of payload files, each file of one bucket (FORMAT.md, "Payload files").

Uploads stream into extents reserved for them; sealing lays many small contents behind one another. A file is appended
to by the process that created it and never after; a file that is full, or was made for one long content, is closed
for good.

Numbered invariants, cited by tests:
 1. An extent is reserved once: no two owners ever write to the same place, nor is a place used again.
 2. A file with an extent that is not yet referred to, but may soon be, counts as open (`open_files`), though nothing
    is appended to it any more: who gives up files that hold nothing alive must pass it over.
 3. After a failed sync `failed` is set for good (law 8): the engine stops writing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Closed, NotFound
from lamina.storage import payloadfile
from lamina.storage.checksums import CHUNK, array_bytes
from lamina.storage.files import Buffer, Files
from lamina.storage.payloadbulk import Bulk, Laid
from lamina.storage.payloadfile import (
    FIRST,
    FOLDER,
    OPEN_FILES,
    PAGE,
    SUFFIX,
    PayloadFile,
    payload_path,
)
from lamina.storage.payloadread import PayloadReader
from lamina.storage.upload import Upload

FILE_BYTES = 64 << 20
"""A file is full there: giving up a dead one frees much at once, and a half dead one is cheap to rewrite."""

OWN_FILE = 16 << 20
"""Contents longer than this get a file of their own, which goes as a whole when they go."""

BUSY = 4 << 20
"""Bytes on their way into a file from which the next upload gets another: a batch of smaller ones shares a sync."""

WRITERS = 128
"""Descriptors kept for appending, over all buckets, that nobody uses at the moment."""

_STRIPES = 64


class PayloadFiles:
    """All payload files of an open database. Thread-safe; uploads of different threads do not wait for each other,
    except while a file is created.

    `segment_id` gives ids that no file ever had. At most `open_limit` idle descriptors are kept for reading.
    """

    def __init__(
        self,
        files: Files,
        *,
        database_id: bytes,
        epoch: int,
        segment_id: Callable[[], int],
        open_limit: int = 256,
    ) -> None:
        self._files = files
        self._database_id = database_id
        self._epoch = epoch
        self._segment_id = segment_id
        self._reader = PayloadReader(files, database_id, open_limit)
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]  # by bucket; `reserve` of its files needs it
        self.shared: dict[int, list[PayloadFile]] = {}  # by bucket, appendable; guarded by its stripe
        self._lock = threading.Lock()  # innermost but for a file's own; guards what follows
        self._open: dict[int, PayloadFile] = {}  # not yet settled
        self._awake: list[PayloadFile] = []  # maybe with a handle
        self._rest_above = WRITERS  # so many of them before the idle ones are looked for
        self._failed: BaseException | None = None
        self._closed = False

    @property
    def failed(self) -> BaseException | None:
        """The first failed sync, for good: what was acknowledged since may be lost, so nothing more may be."""
        return self._failed

    # Writing one content

    def open_upload(self, bucket: int, size: int, file_bytes: int = FILE_BYTES) -> Upload:
        """Reserve an extent for a content of `size` bytes in a file of the bucket, which is full at `file_bytes`.

        Raises OSError (ENOSPC), Closed. Costs 10 us, and the creation of a file (two syncs) once per file.
        """
        length = size + array_bytes(size)
        with self.stripe(bucket):
            if size > OWN_FILE:
                file = self.create(bucket)
                file.appendable = False
            else:
                file = self._file_for(bucket, length, file_bytes)
            file.hold()
            try:
                where = file.reserve(length, file_bytes)
            except BaseException:
                file.let_go()
                if size > OWN_FILE:
                    self.discard(file)
                raise
            self.close_if_full(file, file_bytes)
        self.let_rest(file)
        return Upload(self, file, where, size, own=size > OWN_FILE)

    def _file_for(self, bucket: int, length: int, file_bytes: int) -> PayloadFile:
        """Holds the stripe."""
        shared = self.shared.get(bucket, [])
        fitting = [file for file in shared if file.end + length <= file_bytes]
        if fitting:
            idlest = min(fitting, key=lambda file: file.in_flight)
            if idlest.in_flight < BUSY or len(shared) >= OPEN_FILES:
                return idlest
        elif len(shared) >= OPEN_FILES:
            self.close_for_good(max(shared, key=lambda file: file.end))
        file = self.create(bucket)
        self.shared.setdefault(bucket, []).append(file)
        return file

    def create(self, bucket: int) -> PayloadFile:
        """A new file of the bucket, durable, without extents. Raises OSError, Closed."""
        if self._closed:
            raise Closed("cannot write a content: the database is closed")
        id = self._segment_id()
        handle = payloadfile.create(self._files, id, self._database_id, self._epoch)
        file = PayloadFile(self._files, id, bucket, handle)
        with self._lock:
            closed = self._closed
            self._open[id] = file
        if closed:  # meanwhile
            self.discard(file)
            raise Closed("cannot write a content: the database is closed")
        return file

    def close_if_full(self, file: PayloadFile, file_bytes: int) -> None:
        """Holds the stripe. Full is where no upload fits any more."""
        if file.appendable and file.end + CHUNK > file_bytes:
            self.close_for_good(file)

    def close_for_good(self, file: PayloadFile) -> None:
        """Holds the stripe."""
        file.appendable = False
        shared = self.shared.get(file.bucket, [])
        if file in shared:
            shared.remove(file)
            if not shared:
                del self.shared[file.bucket]
        self.settle(file)

    def settle(self, file: PayloadFile) -> None:
        """Let go of the file if it is through."""
        if not file.settled:
            return
        with self._lock:
            if self._open.pop(file.id, None) is None:
                return
        with suppress(OSError):  # space behind the end stays reserved; the contents are durable
            file.retire()

    def let_rest(self, file: PayloadFile) -> None:
        """Keep idle descriptors within bounds; `file` has just been given one, maybe."""
        with self._lock:
            if file not in self._awake[-OPEN_FILES:]:
                self._awake.append(file)
            if len(self._awake) <= self._rest_above:
                return
            awake, self._awake = set(self._awake), []
        still = [file for file in awake if not file.rest()]
        with self._lock:
            self._awake += still
            self._rest_above = max(WRITERS, 2 * len(self._awake))  # not at every call where all are in use

    def sync_file(self, file: PayloadFile, number: int) -> None:
        """Make its extents up to a number durable; a failure is noted (invariant 3). Raises OSError, Closed."""
        try:
            file.sync(number)
        except OSError as error:
            if self._failed is None:
                self._failed = error
            with self.stripe(file.bucket):
                self.close_for_good(file)
            raise
        if not file.appendable:
            self.settle(file)

    # Writing many contents

    def append_many(
        self,
        bucket: int,
        contents: Iterable[Buffer | Sequence[Buffer] | Laid],
        file_bytes: int = FILE_BYTES,
        held: set[int] | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Lay contents in order, behind one another as far as files reach: (file, where) of each.

        A content longer than CHUNK comes with its checksum array behind it, as parts. None may change before this
        returns. Nothing is durable before `sync(files)`. The files count as open until `release(files)`: who calls
        this several times before releasing hands the same `held` in each time, the files to be released once, to
        which this call's are added. Raises OSError (nothing more is held then), Closed. Costs 2 us a content, and the
        copy; of Laid ones 0.1 us, and the copy.
        """
        bulk = Bulk(self, bucket, file_bytes, set() if held is None else held)
        try:
            for content in contents:
                if isinstance(content, Laid):
                    bulk.add_laid(content)
                    continue
                bulk.add([content] if isinstance(content, bytes | bytearray | memoryview) else content)
            bulk.flush()
        except BaseException:
            bulk.abort()
            raise
        finally:
            bulk.give_back()
        return np.array(bulk.files, np.uint32), np.array(bulk.wheres, np.uint64)

    def sync(self, files: Iterable[int]) -> None:
        """Make everything finished in these files durable. Raises OSError, Closed."""
        if self._closed:
            raise Closed("cannot sync contents: the database is closed")
        for id in {int(file) for file in files}:
            file = self._open.get(id)
            if file is not None and (number := file.dirty):
                self.sync_file(file, number)

    def sync_dirty(self) -> None:
        """Make every finished upload durable, so that a log that refers to them may be. Raises OSError, Closed."""
        with self._lock:
            ids = list(self._open)
        self.sync(ids)

    def release(self, files: Iterable[int]) -> None:
        """What `append_many` laid into these files is referred to now, or never will be. Once for each call of it, or
        once for each `held` set."""
        for id in {int(file) for file in files}:
            file = self._open.get(id)
            if file is not None:
                file.let_go()
                self.settle(file)

    # Reading

    def read(self, file: int, where: int, length: int) -> bytes:
        """See `PayloadReader.read`."""
        return self._reader.read(file, where, length)

    def read_into(self, file: int, where: int, buffer: memoryview) -> None:
        """See `PayloadReader.read_into`."""
        self._reader.read_into(file, where, buffer)

    def read_many(self, places: Sequence[tuple[int, int, int]]) -> list[memoryview]:
        """See `PayloadReader.read_many`."""
        return self._reader.read_many(places)

    # Files

    def sizes(self) -> dict[int, int]:
        """Bytes of each open file, up to the end of its last extent, reserved ones included."""
        with self._lock:
            return {id: file.end for id, file in self._open.items()}

    def open_files(self, bucket: int) -> list[int]:
        """Files of the bucket that may still get contents, or hold some that are not yet referred to (invariant 2)."""
        with self._lock:
            return sorted(id for id, file in self._open.items() if file.bucket == bucket)

    def close_file(self, id: int) -> None:
        """Append nothing more to it. It stays open, in the sense of `open_files`, as long as invariant 2 says."""
        file = self._open.get(id)
        if file is not None:
            with self.stripe(file.bucket):
                self.close_for_good(file)

    def size(self, file: int) -> int:
        """Bytes of the file on disk. Raises NotFound."""
        return self._reader.size(file)

    def delete(self, file: int) -> None:
        """Gone for later reads; an absent one is fine. Not durable by itself: what a loss of power brings back is
        swept when the database is opened. Raises OSError."""
        with self._lock:
            mine = self._open.pop(file, None)
        if mine is not None:
            with self.stripe(mine.bucket):
                mine.deleted()
                self.close_for_good(mine)
        with suppress(FileNotFoundError):
            self._files.unlink(payload_path(file))
        self._reader.forget(file)

    def punch(self, file: int, where: int, length: int) -> bool:
        """Give the whole pages inside a range back to the file system; reads of them answer zeros. Whether any were:
        False where none lie inside, or where the file system cannot. Raises NotFound, OSError."""
        start = where + (-where & (PAGE - 1))
        end = (where + length) & -PAGE
        if start < FIRST or start >= end:
            return False
        path = payload_path(file)
        try:
            handle = self._files.open(path, "append")
        except FileNotFoundError:
            raise NotFound(f"{path} does not exist") from None
        try:
            return handle.punch(start, end - start)
        finally:
            handle.close()

    def list(self) -> Iterator[tuple[int, int]]:
        """(id, bytes) of every payload file there is, by folder and id. Files with other names are passed over."""
        for folder in self._files.list(FOLDER):
            for info in self._files.list(f"{FOLDER}/{folder.name}") if folder.is_folder else ():
                digits = info.name.removesuffix(SUFFIX)
                with suppress(ValueError):
                    if payload_path(int(digits, 16)) == f"{FOLDER}/{folder.name}/{info.name}":
                        yield int(digits, 16), info.size

    def close(self) -> None:
        """Give descriptors and reserved space back; nothing is synced here, the log does that before. Idempotent."""
        with self._lock:
            self._closed = True
            files = list(self._open.values())
            self._open.clear()
        for file in files:
            with self.stripe(file.bucket), suppress(OSError):
                file.appendable = False
                self.shared.pop(file.bucket, None)
                file.retire()
        self._reader.close()

    def stripe(self, bucket: int) -> threading.Lock:
        """What excludes others from reserving in files of the bucket."""
        return self._stripes[bucket % _STRIPES]

    def discard(self, file: PayloadFile) -> None:
        """A file that nothing refers to. What a sick disk keeps is swept at open."""
        with self._lock:
            self._open.pop(file.id, None)
        file.deleted()
        with suppress(OSError):
            self._files.unlink(file.path)
        self._reader.forget(file.id)

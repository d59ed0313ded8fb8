"""The durable queue of one replication: what changed and was not sent yet, in the order of the log.

Ordered files `queues/<id>.<position>.q`. A file is a run of frames; each takes a position per change, one if it has
none, and a file is named by its first. Besides changes a frame carries two numbers: `taken`, the seq up to which the
log has been looked through, and `done`, the position up to which everything was sent. A frame counts whole or not at
all. What power loss takes of the last file is read from the log again, which is kept from the last synced `taken` on;
what was sent but not yet noted is sent again.

    offset  size  frame (little-endian)
    0       4     magic "LAMq"
    4       4     number of changes
    8       8     position of the first of them
    16      8     taken
    24      8     done
    32      4     bytes of the table of label names
    36      4     CRC32C of bytes 0..36 and of everything behind 40, seeded with the CRC32C of the queue's id
    40      32 n  changes: seq u64, time u64 (µs), entry u64, kind u32, number of their label names u32 (0: none)
    ..            table: JSON, a list of lists of names, padded with spaces to 8 bytes
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt
from lamina.storage.crc import crc32c
from lamina.storage.files import File, Files

FOLDER, SUFFIX = "queues", ".q"

FILE_BYTES = 1 << 20
"""A file is begun anew at 1 MiB, 32,000 changes: what was sent frees space in such pieces, and is read in them."""

MAGIC = b"LAMq"
HEAD = Struct("<4sIQQQII")
CHANGE = np.dtype([("seq", "<u8"), ("time", "<u8"), ("entry", "<u8"), ("kind", "<u4"), ("gone", "<u4")])
assert (HEAD.size, CHANGE.itemsize) == (40, 32), "the format of the files"

_NO_CHANGES = np.empty(0, CHANGE)
_CRC_AT = 36


class Change(NamedTuple):
    """One record that was written, or whose labels were changed."""

    seq: int  # of the op
    time_us: int
    entry: int  # id
    kind: int  # records.ops.APPEND or LABELS
    gone: tuple[str, ...] = ()  # names of labels that were taken off


class Queued(NamedTuple):
    """A change at its place in the queue."""

    position: int
    change: Change


class Frame(NamedTuple):
    position: int
    taken: int
    done: int
    changes: NDArray[np.void]  # dtype CHANGE
    gone: list[list[str]]
    size: int  # bytes

    @property
    def end(self) -> int:
        """Position behind it."""
        return self.position + max(len(self.changes), 1)


def encode(seed: int, position: int, taken: int, done: int, changes: Sequence[Change]) -> bytes:
    """A frame."""
    table: dict[tuple[str, ...], int] = {}
    numbers = [table.setdefault(change.gone, len(table) + 1) if change.gone else 0 for change in changes]
    rows = np.array(
        [(c.seq, c.time_us, c.entry, c.kind, number) for c, number in zip(changes, numbers, strict=True)], CHANGE
    )
    names = json.dumps([list(gone) for gone in table]).encode() if table else b""
    names += b" " * (-len(names) % 8)
    head = HEAD.pack(MAGIC, len(changes), position, taken, done, len(names), 0)[:_CRC_AT]
    body = rows.tobytes() + names
    return head + crc32c(body, crc32c(head, seed)).to_bytes(4, "little") + body


def decode(seed: int, data: bytes, offset: int) -> Frame | None:
    """The frame at an offset; None: there is none that is whole."""
    if offset + HEAD.size > len(data):
        return None
    magic, count, position, taken, done, names, crc = HEAD.unpack_from(data, offset)
    begin = offset + HEAD.size
    table = begin + count * CHANGE.itemsize
    end = table + names
    if magic != MAGIC or end > len(data):
        return None
    if crc32c(data[begin:end], crc32c(data[offset : offset + _CRC_AT], seed)) != crc:
        return None
    changes = np.frombuffer(data, CHANGE, count, begin) if count else _NO_CHANGES
    return Frame(position, taken, done, changes, json.loads(data[table:end]) if names else [], end - offset)


class _QueueFile:
    __slots__ = ("path", "position", "size")

    def __init__(self, path: str, position: int, size: int) -> None:
        self.path = path
        self.position = position  # of its first change
        self.size = size  # bytes of whole frames


class ChangeQueue:
    """Thread-safe: one thread adds, another one sends.

    `limit`: changes kept per entry; above it the oldest are left out and counted in `dropped`. `taken` and
    `durable_taken`: seqs up to which changes are in the queue, and survive a loss of power. Every method that writes
    raises OSError; adding may be tried again then, a sync may not (law 8): `failed` says so.
    """

    def __init__(self, files: Files, id: str, limit: int, taken: int, published: int) -> None:
        """Opens what is there. `taken`: at least so far nothing is to be taken in. `published`: the last seq of the
        log; where a loss of power took some (`os` mode), the queue may know more. Raises OSError."""
        self.id = id
        self.dropped = 0
        self.damage: list[str] = []  # what could not be read of it
        self.failed: OSError | None = None
        self._files = files
        self._limit = limit
        self._seed = crc32c(id.encode())
        self._lock = threading.Lock()  # guards everything
        self._kept: deque[_QueueFile] = deque()
        self._writer: File | None = None  # of the last file
        self._next = 0  # position of the next change
        self._head = 0  # everything below was sent
        self._unnoted = False  # whether something was sent that no frame says so of
        self._unsynced = False
        self._counts: Counter[int] = Counter()  # per entry, without those that are over the limit
        self._over: Counter[int] = Counter()  # per entry: how many of the oldest are to be left out
        self._ahead: deque[Queued] = deque()  # read from the files, not sent
        self._read: tuple[int, int] = (0, 0)  # where reading goes on: first position of the file, offset in it
        self.taken = taken
        self._recover()
        self.durable_taken = self.taken
        if self.taken > published:
            self.taken = self.durable_taken = published
            self.add((), published)

    # -- what is there -------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        found = sorted(
            (int(position, 16), f"{FOLDER}/{name}") for name, id, position in _listed(self._files) if id == self.id
        )
        frames: list[Frame] = []
        for index, (position, path) in enumerate(found):
            last = index + 1 == len(found)
            data = _whole(self._files, path)
            if frames and position != self._next:
                self.damage.append(f"{path}: changes {self._next} to {position - 1} of the queue are missing")
            self._next = position
            size = 0
            while (frame := decode(self._seed, data, size)) is not None and frame.position == self._next:
                frames.append(frame)
                size += frame.size
                self._next = frame.end
            if size < len(data):
                if last:
                    self._cut(path, size)
                else:
                    self.damage.append(f"{path}: offset {size}: expected a frame of the queue, found none")
            self._kept.append(_QueueFile(path, position, size))
        if found:
            self._head = max([found[0][0], *(frame.done for frame in frames)])
            self._read = (found[0][0], 0)
        if frames:
            self.taken = max(self.taken, frames[-1].taken)
        for frame in frames:
            self._count(frame.changes["entry"][max(self._head - frame.position, 0) :])

    def _cut(self, path: str, size: int) -> None:
        file = self._files.open(path, "append")
        try:
            file.truncate(size)
            file.sync()
        finally:
            file.close()

    def _count(self, entries: NDArray[np.uint64]) -> None:
        ids, counts = np.unique(entries, return_counts=True)
        for id, count in zip(ids.tolist(), counts.tolist(), strict=True):
            held = self._counts[id] + count
            if held > self._limit:
                self._leave_out(id, held - self._limit)
                held = self._limit
            self._counts[id] = held

    def _leave_out(self, entry: int, count: int) -> None:
        """So many of the oldest changes of an entry: those that were read already come first."""
        self.dropped += count
        for queued in [queued for queued in self._ahead if queued.change.entry == entry][:count]:
            self._ahead.remove(queued)
            count -= 1
        self._over[entry] += count

    @property
    def pending(self) -> int:
        """Changes that wait to be sent."""
        with self._lock:
            return self._counts.total()

    # -- adding --------------------------------------------------------------------------------------------------

    def add(self, changes: Sequence[Change], taken: int) -> None:
        """Append changes of ops up to seq `taken`; without any, only note how far the log was looked through."""
        with self._lock:
            self._append(changes, taken)
            if changes:
                self._count(np.array([change.entry for change in changes], np.uint64))

    def _append(self, changes: Sequence[Change], taken: int) -> None:
        if self.failed is not None:
            raise self.failed
        taken = max(taken, self.taken)
        frame = encode(self._seed, self._next, taken, self._head, changes)
        file = self._writable()
        last = self._kept[-1]
        self._unsynced = True
        file.write_at(last.size, [frame])
        last.size += len(frame)
        self._next += max(len(changes), 1)
        self._unnoted = False
        self.taken = taken

    def _writable(self) -> File:
        if self._kept and self._kept[-1].size >= FILE_BYTES:
            if self._writer is not None:
                self._sync_writer(self._writer)
                self._writer.close()
                self._writer = None
            self._start()
        elif self._writer is None:
            if self._kept:
                self._writer = self._files.open(self._kept[-1].path, "append")
            else:
                self._start()
        assert self._writer is not None, "just opened"
        return self._writer

    def _start(self) -> None:
        """A file is used once its name is durable (law 2)."""
        self._files.make_folder(FOLDER)
        path = f"{FOLDER}/{self.id}.{self._next:016x}{SUFFIX}"
        try:
            self._writer = self._files.open(path, "create")
        except FileExistsError:  # an earlier attempt came so far
            self._writer = self._files.open(path, "append")
        try:
            self._files.sync_folder(FOLDER)
        except OSError:
            self._writer.close()
            self._writer = None
            raise
        self._kept.append(_QueueFile(path, self._next, 0))

    def sync(self) -> None:
        """Note what was sent, make everything durable, and give back the space of what was sent."""
        with self._lock:
            if self._unnoted:
                self._append((), self.taken)
            if self._unsynced and self._writer is not None:
                self._sync_writer(self._writer)
            self._release()

    def _sync_writer(self, writer: File) -> None:
        if self.failed is not None:
            raise self.failed
        try:
            writer.sync()
        except OSError as error:
            self.failed = error
            raise
        self._unsynced = False
        self.durable_taken = self.taken

    def _release(self) -> None:
        """Unlink files whose changes were sent; the last one, which says how far everything is, stays."""
        while len(self._kept) > 1 and self._kept[1].position <= min(self._head, self._read[0]):
            self._files.unlink(self._kept[0].path)
            self._kept.popleft()

    # -- sending -------------------------------------------------------------------------------------------------

    def peek(self, count: int) -> list[Queued]:
        """Up to so many of the oldest changes; they stay. Raises OSError, Corrupt."""
        with self._lock:
            while len(self._ahead) < count and self._load():
                pass
            return [queued for queued, _ in zip(self._ahead, range(count), strict=False)]

    def _load(self) -> bool:
        """Read on in the present file, or go to the next; False: there is nothing more."""
        for index, kept in enumerate(self._kept):
            if kept.position != self._read[0]:
                continue
            offset = self._read[1]
            if offset < kept.size:
                self._decode(kept, offset)
                return True
            if index + 1 < len(self._kept):
                self._read = (self._kept[index + 1].position, 0)
                return True
            return False
        if self._kept:  # the first file of all, made after this was opened
            self._read = (self._kept[0].position, 0)
            return self._kept[0].size > 0
        return False

    def _decode(self, kept: _QueueFile, offset: int) -> None:
        file = self._files.open(kept.path, "read")
        try:
            data = file.read_at(offset, kept.size - offset)
        finally:
            file.close()
        at = 0
        while at < kept.size - offset:
            frame = decode(self._seed, data, at)
            if frame is None:
                self._read = (kept.position, kept.size)  # never again
                raise Corrupt(f"{kept.path}: offset {offset + at}: expected a frame of the queue, found none")
            at += frame.size
            self._take(frame)
        self._read = (kept.position, kept.size)

    def _take(self, frame: Frame) -> None:
        if not len(frame.changes) and not self._ahead:
            self._head = max(self._head, frame.end)
        for position, (seq, time_us, entry, kind, gone) in enumerate(frame.changes.tolist(), frame.position):
            if position < self._head:
                continue
            if self._over[entry] > 0:
                self._over[entry] -= 1
                if not self._ahead:
                    self._head = position + 1
                continue
            names = tuple(frame.gone[gone - 1]) if gone else ()
            self._ahead.append(Queued(position, Change(seq, time_us, entry, kind, names)))

    def done(self, sent: Sequence[Queued]) -> None:
        """The first changes of the queue, as `peek` gave them, are through."""
        with self._lock:
            for queued in sent:
                if self._ahead and self._ahead[0] is queued:  # else it was left out meanwhile
                    self._ahead.popleft()
                    self._counts[queued.change.entry] -= 1
                    if not self._counts[queued.change.entry]:
                        del self._counts[queued.change.entry]
                self._head = queued.position + 1
                self._unnoted = True

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the file. What was not synced may be lost, and is read from the log again then."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def delete(self) -> None:
        """Nothing of it remains. Nothing is added or sent any more."""
        self.close()
        delete_others(self._files, {self.id}, only=True)


def delete_others(files: Files, ids: set[str], *, only: bool = False) -> None:
    """Delete queues of other ids than these; with `only` those of these ids."""
    doomed = [name for name, id, _ in _listed(files) if (id in ids) == only]
    for name in doomed:
        files.unlink(f"{FOLDER}/{name}")
    if doomed:
        files.sync_folder(FOLDER)


def _listed(files: Files) -> list[tuple[str, str, str]]:
    """(file name, id of the queue, position in hex)"""
    found = []
    for info in files.list(FOLDER):
        id, _, position = info.name.removesuffix(SUFFIX).partition(".")
        if info.name.endswith(SUFFIX) and len(position) == 16 and not position.strip("0123456789abcdef"):
            found.append((info.name, id, position))
    return found


def _whole(files: Files, path: str) -> bytes:
    file = files.open(path, "read")
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()

"""One `Slot` per stream in use: the place its published state hangs on.

There is never a second slot for a stream: the registry knows every living one weakly, holds those with unflushed data
strongly, and keeps the most recently used idle ones so that their roots need not be read again.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from lamina.catalog.catalog import Catalog
from lamina.catalog.rows import RootRow, StreamRow
from lamina.codecs import values as value_codecs
from lamina.errors import StreamNotFound
from lamina.streams.node import NO_ROWS, ROW
from lamina.streams.ops import Insert
from lamina.streams.state import FIRST_VERSION, Flushed, StreamState, empty_state, split_pointer

IDLE_SLOTS = 100_000
"""Idle streams kept in memory, at most 1 KiB each (architecture section 10)."""

STRIPES = 1024
"""Object locks; two streams share one by chance, which costs waiting, never correctness."""


IN_DOUBT = -1
"""In place of the version in the catalog, while a commit that changes it is under way."""


class Slot:
    """Published state of one stream. `state` and `dead` are replaced under the registry's publish lock only."""

    __slots__ = (
        "__weakref__",
        "cataloged",
        "dead",
        "id",
        "numbered",
        "oldest",
        "state",
        "subscribers",
        "uuid",
    )

    def __init__(self, id: int, uuid: bytes, state: StreamState, oldest: int, cataloged: int) -> None:
        self.id = id
        self.uuid = uuid
        self.state = state
        self.oldest = oldest  # versions below are gone (metadata lane)
        self.numbered = state.version  # last version given to an op; only the holder of the commit role touches it
        self.dead = False  # obliterated
        self.cataloged = cataloged  # version of the root in the catalog, 0 = none, IN_DOUBT; guarded by the flush lock
        self.subscribers: tuple[Callable[[Insert], None], ...] = ()  # called when an insert is published

    @property
    def root_unpublished(self) -> bool:
        """The root came by a ROOT op and is not in the catalog yet: the log must keep that op."""
        version = self.state.flushed.version
        return version > FIRST_VERSION and version != self.cataloged


class Slots:
    """All slots of an open database. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.publish_lock = threading.Lock()  # guards Slot.state, Slot.dead and the set of dirty slots
        self._lock = threading.Lock()  # guards the three dictionaries below
        self._living: weakref.WeakValueDictionary[int, Slot] = weakref.WeakValueDictionary()
        self._by_uuid: weakref.WeakValueDictionary[bytes, Slot] = weakref.WeakValueDictionary()
        self._idle: OrderedDict[int, Slot] = OrderedDict()
        self.dirty: dict[int, Slot] = {}
        self._locks = [threading.RLock() for _ in range(STRIPES)]

    def lock(self, stream: int) -> threading.RLock:
        """The object lock of a stream: held from resolving to publishing where resolving reads its state, and by a
        plain insert for the moment of its submit."""
        return self._locks[stream % STRIPES]

    def stripe(self, stream: int) -> int:
        return stream % STRIPES

    def get(self, row: StreamRow) -> Slot:
        """The slot of a stream whose row the caller has read. Raises StreamNotFound if it was obliterated since."""
        with self._lock:
            slot = self._living.get(row.id)
            if slot is None:
                with self._catalog.snapshot() as snapshot:
                    current = snapshot.stream(row.id)
                    if current is None:
                        raise StreamNotFound("stream does not exist")
                    slot = self._add(current, snapshot.root(row.id))
            self._touch(slot)
            return slot

    def find(self, uuid: UUID) -> Slot | None:
        """The slot of a stream in use, without a look into the catalog."""
        with self._lock:
            slot = self._by_uuid.get(uuid.bytes)
            if slot is None or slot.dead:
                return None
            self._touch(slot)
            return slot

    def living(self, stream: int) -> Slot | None:
        with self._lock:
            return self._living.get(stream)

    def load(self, rows: dict[int, StreamRow]) -> dict[int, Slot]:
        """Slots of many streams with a few queries (replay, insert_many)."""
        with self._lock:
            slots = {id: slot for id in rows if (slot := self._living.get(id)) is not None}
            missing = [id for id in rows if id not in slots]
            if missing:
                with self._catalog.snapshot() as snapshot:
                    roots = snapshot.roots(missing)
                for id in missing:
                    slots[id] = self._add(rows[id], roots.get(id))
                    self._touch(slots[id])
            return slots

    def drop(self, stream: int) -> None:
        """Forget an obliterated stream."""
        with self._lock:
            slot = self._living.pop(stream, None)
            if slot is not None:
                self._by_uuid.pop(slot.uuid, None)
            self._idle.pop(stream, None)
        self.dirty.pop(stream, None)

    def _add(self, row: StreamRow, root: RootRow | None) -> Slot:
        state = empty_state(row.id) if root is None else empty_state(row.id, flushed_of(root))
        slot = Slot(row.id, row.uuid.bytes, state, row.oldest_version, root.version if root is not None else 0)
        self._living[row.id] = self._by_uuid[slot.uuid] = slot
        return slot

    def _touch(self, slot: Slot) -> None:
        self._idle[slot.id] = slot
        self._idle.move_to_end(slot.id)
        if len(self._idle) > IDLE_SLOTS:
            self._idle.popitem(last=False)


def flushed_of(row: RootRow) -> Flushed:
    """What a catalog row says about a stream's tree."""
    import numpy as np

    time_us, runs, history = split_pointer(row.history)
    root = np.frombuffer(row.root, ROW) if row.root else NO_ROWS
    codec = value_codecs.from_json(row.codec) if row.codec else None
    return Flushed(root, row.version, row.applied_seq, time_us, row.points, history, runs, codec)


def row_of(stream: int, flushed: Flushed, epoch: int) -> RootRow:
    """The catalog row of a stream's tree."""
    return RootRow(
        stream,
        flushed.version,
        flushed.root.tobytes(),
        flushed.pointer(),
        flushed.seq,
        flushed.points,
        flushed.codec.to_json() if flushed.codec is not None else {},
        epoch,
    )

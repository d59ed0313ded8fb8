"""Sealing: tails become segments, and the catalog learns of them.

Order of publishing (reliability laws 2 and 5): segment written and synced -> catalog transaction (segment row and the
roots of all streams in it, compare-and-set on the version they had) -> published state swapped -> log trimmed later.
A crash before the transaction leaves a segment nobody knows, which recovery deletes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import SegmentRow
from lamina.engine.publish import Publisher, RootNote
from lamina.engine.slots import IN_DOUBT, Slot, flushed_of, row_of
from lamina.errors import StreamNotFound
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.log import Log, Op
from lamina.storage.segment import SegmentWriter, segment_name
from lamina.streams import ops
from lamina.streams.node import BIAS
from lamina.streams.shape import Shape
from lamina.streams.state import Flushed, StreamState
from lamina.time import Clock

if TYPE_CHECKING:
    # What writes trees (flush, tree, leaves, history: 3 ms) is loaded by the first flush: a reader never needs it.
    from lamina.streams.flush import Addition

KIND = "streams"
STRIPES = 64
"""Flush locks: at most one flush of a stream at a time, different streams in parallel."""

FLUSH_STREAMS = 4096
"""Streams per segment and catalog transaction of a flush: bounds memory and how long the catalog is locked."""


class Sealer:
    """Flushes streams. Thread-safe; a failed flush leaves everything as it was."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        catalog: Catalog,
        log: Log,
        publisher: Publisher,
        read: BlockReader,
        clock: Clock,
        shape: Shape,
        database_id: bytes,
        epoch: int,
        segment_id: Callable[[], int],
    ) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._log = log
        self._publisher = publisher
        self._read = read
        self._clock = clock
        self._shape = shape
        self._database_id = database_id
        self._epoch = epoch
        self._locks = [threading.Lock() for _ in range(STRIPES)]
        self.segment_id = segment_id  # gives an id no segment ever had
        self._bulk_lock = threading.Lock()  # guards the rows below
        self.bulk_segments: dict[int, SegmentRow] = {}  # written for ROOT ops, not in the catalog yet
        self.flushes = 0
        self.bytes_written = 0

    def flush(self, slots: Iterable[Slot]) -> int:
        """Flush what these streams hold in their tails now, and put unpublished roots into the catalog; how many
        roots were published. Raises OSError, Unavailable, Conflict: nothing is published then."""
        todo = sorted({slot.id: slot for slot in slots}.values(), key=lambda slot: slot.id)
        return sum(self._flush_some(todo[i : i + FLUSH_STREAMS]) for i in range(0, len(todo), FLUSH_STREAMS))

    def _flush_some(self, slots: Sequence[Slot]) -> int:
        with self.locked(slots):
            published = 0
            # A root is built on durable ones only: stages that opened with a removal go one after the other.
            rounds = max((len(slot.state.stages) for slot in slots), default=0)
            for _ in range(max(rounds, 1)):
                alive = [s for s in slots if not s.dead and (s.state.stages or s.root_unpublished)]
                published += self._flush_round(alive) if alive else 0
            return published

    @contextmanager
    def locked(self, slots: Iterable[Slot]) -> Iterator[None]:
        """Hold the flush locks of streams: their roots stand still."""
        with ExitStack() as locks:
            for stripe in sorted({slot.id % STRIPES for slot in slots}):
                locks.enter_context(self._locks[stripe])
            yield

    def _flush_round(self, slots: Sequence[Slot]) -> int:
        """The first stage of each. The flush locks are held."""
        self._reconcile(slots)
        seen = [slot.state._replace(stages=slot.state.stages[:1]) for slot in slots]
        flushed = [state.flushed for state in seen]
        row = None
        if any(state.stages for state in seen):
            writer = self.writer()
            try:
                for i, (slot, state) in enumerate(zip(slots, seen, strict=True)):
                    if state.stages:
                        flushed[i] = self._write(slot, state, writer)
                row = self.finish(writer, flushed)
            except BaseException:
                writer.abort()
                raise
        self._commit(slots, flushed, row)
        for slot, new in zip(slots, flushed, strict=True):
            self._publisher.sealed(slot, new)
        self.flushes += 1
        return len(slots)

    def _reconcile(self, slots: Sequence[Slot]) -> None:
        """Where a commit was interrupted (Ctrl-C), learn from the catalog what became of it."""
        doubtful = [slot for slot in slots if slot.cataloged == IN_DOUBT]
        if not doubtful:
            return
        with self._catalog.snapshot() as snapshot:
            rows = snapshot.roots([slot.id for slot in doubtful])
        for slot in doubtful:
            row = rows.get(slot.id)
            if row is not None and row.version > slot.state.flushed.version:
                self._publisher.sealed(slot, flushed_of(row))
            slot.cataloged = row.version if row is not None else 0

    def publish_roots(self, slots: Sequence[Slot]) -> None:
        """Put roots that only ROOT ops know into the catalog. The flush locks are held."""
        if slots:
            self._reconcile(slots)
            self._commit(slots, [slot.state.flushed for slot in slots], None)
            for slot in slots:
                slot.cataloged = slot.state.flushed.version

    def _commit(self, slots: Sequence[Slot], flushed: Sequence[Flushed], row: SegmentRow | None) -> None:
        delta = CatalogDelta(self._epoch)
        if row is not None:
            delta.puts.append(row)
        bulk = self.unpublished()
        delta.puts += bulk
        for slot, new in zip(slots, flushed, strict=True):
            delta.puts.append(row_of(slot.id, new, self._epoch))
            delta.expect_roots[slot.id] = slot.cataloged
            slot.cataloged = IN_DOUBT  # until the caller has published what is committed here
        delta.last_wall_us = self._clock.wall_us()
        self._log.sync()  # "os" mode: the catalog must not know more than the log will after a power loss
        self._catalog.commit(delta)
        self.published(bulk)

    def unpublished(self) -> list[SegmentRow]:
        """Rows of bulk segments for the next catalog commit. Older roots may live in them, so they must be in the
        catalog before any ROOT op leaves the log."""
        with self._bulk_lock:
            return list(self.bulk_segments.values())

    def published(self, rows: Sequence[SegmentRow]) -> None:
        """These are in the catalog now."""
        with self._bulk_lock:
            for row in rows:
                self.bulk_segments.pop(row.id, None)

    def insert_bulk(self, slot: Slot, change: ops.Insert) -> int:
        """Write a large batch straight into a segment, joined with what is buffered; the ROOT op commits it.

        The caller holds the object lock and has waited for everything submitted before, so the stream's state stands
        still. The new version is returned once it is durable and published.
        """
        from lamina.streams.flush import Addition

        if len(slot.state.stages) > (0 if change.removed is not None else 1):
            self.flush([slot])
        with self._locks[slot.id % STRIPES]:
            state = slot.state
            addition = Addition(state.version + 1, change.times, change.values, change.removed)
            writer = self.writer()
            try:
                flushed = self._write(slot, state, writer, addition)
                row = self.finish(writer, [flushed])
            except BaseException:
                writer.abort()
                raise
            with self._bulk_lock:
                self.bulk_segments[writer.id] = row
            root = ops.Root(addition.version, writer.id, flushed.points, flushed.root, flushed.pointer())
            op = Op(ops.KIND, ops.ROOT, slot.id, [ops.root_body(root)], RootNote(slot, change, root, flushed))
            ticket = self._log.submit([op])
            try:
                ticket.wait()
            except StreamNotFound:
                with self._bulk_lock:
                    known = self.bulk_segments.pop(writer.id, None) is None
                if not known:  # else it is compaction's: the catalog names it, and nothing in it is alive
                    self._blobs.delete(segment_name(KIND, writer.id))
                raise
            return addition.version

    def exclusive(self, slot: Slot) -> threading.Lock:
        """The flush lock of a stream: while it is held, its root stands still."""
        return self._locks[slot.id % STRIPES]

    def writer(self) -> SegmentWriter:
        """A new stream segment under an id of its own."""
        id = self.segment_id()
        return SegmentWriter(
            self._blobs,
            segment_name(KIND, id),
            id=id,
            kind=KIND,
            database_id=self._database_id,
            epoch=self._epoch,
        )

    def _write(
        self, slot: Slot, state: StreamState, writer: SegmentWriter, addition: Addition | None = None
    ) -> Flushed:
        from lamina.streams.flush import flush

        new = flush(
            state,
            out=writer,
            read=self._read,
            shape=self._shape,
            time_us=self._clock.wall_us(),
            addition=addition,
        )
        self.describe(slot, new, writer)
        return new

    def describe(self, slot: Slot, new: Flushed, writer: SegmentWriter) -> None:
        """The stream's section in a segment: enough to rebuild its catalog row.

        A bulk insert has no seq yet; the lowest it can get tells a rebuild which snapshots are older.
        """
        from lamina.streams.segments import directory

        first, last = span(new)
        state = slot.state
        recorded = new if new.seq else new._replace(seq=self._log.published_seq + 1)
        writer.section(
            object_id=slot.id,
            uuid=slot.uuid,
            first_time=first,
            last_time=last,
            min_seq=min(state.needed_seq, new.seq),
            max_seq=new.seq,
            version=new.version,
            live=new.points,
            directory=directory(recorded),
        )

    def finish(self, writer: SegmentWriter, flushed: Sequence[Flushed]) -> SegmentRow:
        """Make a segment durable; its catalog row."""
        size = writer.finish()
        self.bytes_written += size
        last = max(new.seq for new in flushed)
        return SegmentRow(writer.id, KIND, segment_name(KIND, writer.id), size, size, 0, last, self._epoch, "live")


def span(flushed: Flushed) -> tuple[int, int]:
    """Unbiased [first, last] time that the root's window covers; informative."""
    if not len(flushed.root):
        return 0, 0
    start = int(flushed.root["t0"][0])
    end = start + (1 << int(flushed.root["pw"][0])) - 1
    return start - BIAS, min(end, (1 << 62) - 3) - BIAS

"""Recovery: ops of the log that neither catalog nor segments know become published state again.

Vectorised over ops: inserts of all frames are gathered into columns, sorted once by stream, and handed to each stream
as one run of changes (a Python call per op would take minutes for a full log). Streams that also have deletes,
replacements, bulk inserts or copied tails are replayed op by op.

An op counts if its version is the stream's next; smaller ones are in the tree already. A gap is legal only where a
copied tail (TAIL) or a bulk insert (ROOT), which contain everything before them, closes it later in the log; if the log
itself was damaged, what can be read is kept and the damage is reported (reliability law 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import Catalog
from lamina.catalog.rows import StreamRow
from lamina.engine import metadata
from lamina.engine.points.replay import PointReplay
from lamina.engine.publish import Publisher
from lamina.engine.records.replay import RecordReplay
from lamina.engine.slots import Slot, Slots
from lamina.errors import Corrupt
from lamina.points import ops as points
from lamina.records import ops as records
from lamina.storage.log import ReplayFrame
from lamina.streams import ops
from lamina.streams.ops import Delete, Insert, Root, Run
from lamina.streams.state import Flushed, StreamState, empty_state, split_pointer

META, STREAMS, RECORDS, POINTS = 0, ops.KIND, records.KIND, points.KIND


class Entries(NamedTuple):
    """One row per insert: whose it is, and where its columns begin (in 8-byte words of the batch)."""

    stream: NDArray[np.uint64]
    seq: NDArray[np.uint64]
    version: NDArray[np.uint64]
    points: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.int64]


class Recovered(NamedTuple):
    """What replay found besides the states it published."""

    last_seq: int
    ops: int
    bulk_segments: set[int]  # named by ROOT ops
    gaps: dict[int, tuple[int, int]]  # stream -> (version expected, version found): acknowledged changes are missing


GATHER_POINTS = 65_536
"""Points put in order at once: they and their indexes stay in the cache. Fewer would cost calls where streams are
small."""


ALONE = 16 << 20
"""A frame of so many bytes is a batch of its own: to put it behind another would copy it, and memory that is touched
for the first time is most of what opening a log costs."""


class Replay:
    """One pass over the log at open."""

    def __init__(
        self,
        *,
        records: RecordReplay,
        points: PointReplay,
        catalog: Catalog,
        slots: Slots,
        publisher: Publisher,
        meta: metadata.Metadata,
        meta_applied_seq: int,
        damaged: Callable[[], bool],
        batch_bytes: int,
    ) -> None:
        self._records = records
        self._points = points
        self._catalog = catalog
        self._slots = slots
        self._publisher = publisher
        self._meta = meta
        self._meta_applied = meta_applied_seq
        self._damaged = damaged
        self._batch_bytes = batch_bytes
        self._states: dict[int, StreamState] = {}
        self._held: dict[int, Slot] = {}
        self._known: dict[int, StreamRow | None] = {}
        self._gaps: dict[int, tuple[int, int]] = {}
        self._bulk: set[int] = set()

    def run(self, frames: Iterable[ReplayFrame], progress: Callable[[int], None] | None = None) -> Recovered:
        """Apply all frames in order and publish the states they lead to. Raises Corrupt for ops that no Lamina of
        this version writes."""
        last_seq = count = 0
        for batch in _batches(frames, self._batch_bytes):
            for frame in batch:
                count += len(frame.ops)
                last_seq = max(last_seq, frame.first_seq + len(frame.ops) - 1)
            self._apply(batch)
            if progress is not None:
                progress(count)
        for id, state in self._states.items():
            self._publisher.restore(self._held[id], state)
        return Recovered(last_seq, count, self._bulk, self._gaps)

    def _apply(self, batch: Sequence[ReplayFrame]) -> None:
        words = _words([frame.body for frame in batch])
        starts = np.cumsum([0] + [len(frame.body) for frame in batch[:-1]], dtype=np.int64)
        table = np.concatenate([frame.ops for frame in batch])
        sizes = [len(frame.ops) for frame in batch]
        offset = table["offset"].astype(np.int64) + np.repeat(starts, sizes)
        seq = np.concatenate(
            [np.arange(frame.first_seq, frame.first_seq + len(frame.ops), dtype=np.uint64) for frame in batch]
        )
        kind, type = table["kind"], table["type"]
        strange = (kind != META) & (kind != STREAMS) & (kind != RECORDS) & (kind != POINTS)
        if strange.any():
            raise Corrupt(f"log holds an op of unknown kind {int(kind[strange][0])}")
        self._apply_meta(table, offset, seq, words)
        self._apply_records(batch, table, offset, seq, words)
        self._apply_points(table, offset, seq, words)
        stream_ops = kind == STREAMS
        plain = stream_ops & (type == ops.INSERT)
        many = stream_ops & (type == ops.INSERT_MANY)
        other = np.flatnonzero(stream_ops & ~plain & ~many)
        body_words = (table["length"].astype(np.int64) - 16) // 8
        parts = [_inserts(table["object"][plain], seq[plain], offset[plain] // 8, body_words[plain], words)]
        for i in np.flatnonzero(many).tolist():
            parts.append(_many(int(seq[i]), int(offset[i]) // 8, int(body_words[i]), words))
        entries = Entries(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        if len(parts) > 1:  # the parts are in the log's order each, not together; sorting such runs only merges them
            entries = _take(entries, np.argsort(entries.seq, kind="stable"))
        special = _distinct(table["object"][other])
        self._load(_distinct(np.concatenate((entries.stream, special))), seq)
        slow = _among(entries.stream, special)
        if len(other):
            singles = _take(entries, np.flatnonzero(slow))
            self._one_by_one(table, offset, seq, other, singles, words)
            entries = _take(entries, np.flatnonzero(~slow))
        self._grouped(entries, words)

    def _apply_meta(
        self,
        table: NDArray[np.void],
        offset: NDArray[np.int64],
        seq: NDArray[np.uint64],
        words: NDArray[np.int64],
    ) -> None:
        changes = []
        raw = words.view(np.uint8)
        for i in np.flatnonzero((table["kind"] == META) & (seq > self._meta_applied)).tolist():
            begin = int(offset[i])
            body = raw[begin : begin + int(table["length"][i]) - 16].tobytes()
            changes.append((int(seq[i]), metadata.decoded(int(table["type"][i]), int(seq[i]), body)))
        if changes:
            self._meta.replay(changes)
            self._meta_applied = changes[-1][0]
            self._known.clear()
            self._records.forget_missing()
            self._points.forget_missing()

    def _apply_records(
        self,
        batch: Sequence[ReplayFrame],
        table: NDArray[np.void],
        offset: NDArray[np.int64],
        seq: NDArray[np.uint64],
        words: NDArray[np.int64],
    ) -> None:
        mine = np.flatnonzero(table["kind"] == RECORDS)
        if len(mine):
            bases = np.repeat(np.array([frame.position for frame in batch]), [len(frame.ops) for frame in batch])
            ops = table[mine]
            self._records.apply(
                ops["object"],
                ops["type"],
                seq[mine],
                offset[mine],
                ops["length"].astype(np.int64) - 16,
                bases[mine] + ops["offset"].astype(np.int64),
                words.view(np.uint8),
            )

    def _apply_points(
        self,
        table: NDArray[np.void],
        offset: NDArray[np.int64],
        seq: NDArray[np.uint64],
        words: NDArray[np.int64],
    ) -> None:
        mine = np.flatnonzero(table["kind"] == POINTS)
        if len(mine):
            ops = table[mine]
            lengths = ops["length"].astype(np.int64) - 16
            self._points.apply(ops["object"], ops["type"], seq[mine], offset[mine], lengths, words.view(np.uint8))

    def _load(self, streams: NDArray[np.uint64], seq: NDArray[np.uint64]) -> None:
        """Have slot and state of every stream of the batch that still exists."""
        missing = [id for id in streams.tolist() if id not in self._known]
        if missing:
            with self._catalog.snapshot() as snapshot:
                rows = {row.id: row for id in missing if (row := snapshot.stream(id)) is not None}
            for id in missing:
                self._known[id] = rows.get(id)
                if id not in rows:
                    # Obliterated since, or never created: the op that created it would have been applied before.
                    self._states.pop(id, None)
                    self._held.pop(id, None)
            slots = self._slots.load({id: row for id, row in rows.items() if id not in self._held})
            for id, slot in slots.items():
                self._held[id] = slot
                self._states[id] = slot.state

    def _grouped(self, entries: Entries, words: NDArray[np.int64]) -> None:
        if not len(entries.stream):
            return
        order = np.argsort(entries.stream, kind="stable")
        entries = _take(entries, order)
        bounds = np.flatnonzero(np.diff(entries.stream, prepend=entries.stream[0] + np.uint64(1)))
        ends = np.append(bounds[1:], len(entries.stream)).tolist()
        point_ends = np.cumsum(entries.points)
        streams = entries.stream[bounds].tolist()
        gathered = base = 0  # points of entries[...:gathered] lie in `times` and `values`, the first of them is `base`
        times, values = np.empty(0, np.int64), np.empty(0, np.float64)
        for stream, begin, end in zip(streams, bounds.tolist(), ends, strict=True):
            state = self._states.get(stream)
            if state is None:
                continue
            first = begin + int(np.searchsorted(entries.version[begin:end], state.version, side="right"))
            last = end if self._damaged() else first + self._contiguous(stream, state, entries.version[first:end])
            if first == last:
                continue
            if last > gathered:
                base = int(point_ends[first - 1]) if first else 0
                gathered = max(last, int(point_ends.searchsorted(base + GATHER_POINTS)))
                part = slice(first, gathered)
                times = _gather(words, entries.times[part], entries.points[part])
                values = _gather(words, entries.values[part], entries.points[part]).view(np.float64)
            a = (int(point_ends[first - 1]) if first else 0) - base
            b = int(point_ends[last - 1]) - base
            self._states[stream] = state.insert_runs(
                entries.version[first:last],
                entries.seq[first:last],
                entries.points[first:last],
                times[a:b],
                values[a:b],
            )

    def _contiguous(self, stream: int, state: StreamState, versions: NDArray[np.uint64]) -> int:
        """How many of the versions continue the state's without a gap; a gap is noted."""
        expected = np.arange(state.version + 1, state.version + 1 + len(versions), dtype=np.uint64)
        same = versions == expected
        if same.all():
            return len(versions)
        n = int(np.argmin(same))
        self._gaps[stream] = (int(expected[n]), int(versions[n]))
        return n

    def _one_by_one(
        self,
        table: NDArray[np.void],
        offset: NDArray[np.int64],
        seq: NDArray[np.uint64],
        other: NDArray[np.intp],
        singles: Entries,
        words: NDArray[np.int64],
    ) -> None:
        """Streams that have more than inserts: their ops in seq order."""
        raw = words.view(np.uint8)
        changes: list[tuple[int, int, Insert | Delete | Root | list[Run]]] = []
        for i in other.tolist():
            begin = int(offset[i])
            body = raw[begin : begin + int(table["length"][i]) - 16].tobytes()
            changes.append((int(seq[i]), int(table["object"][i]), ops.decode(int(table["type"][i]), body)))
        for stream, at, version, n, t, v in zip(*(column.tolist() for column in singles), strict=True):
            insert = Insert(version, words[t : t + n], words[v : v + n].view(np.float64))
            changes.append((at, stream, insert))
        changes.sort(key=lambda change: change[0])
        for at, stream, change in changes:
            state = self._states.get(stream)
            if state is not None:
                self._states[stream] = self._changed(stream, state, at, change)

    def _changed(
        self, stream: int, state: StreamState, seq: int, change: Insert | Delete | Root | list[Run]
    ) -> StreamState:
        if isinstance(change, Root):
            return self._rooted(stream, state, seq, change)
        if isinstance(change, list):
            for run in change:
                state = self._changed(stream, state, run.seq, run.change)
            if change and state.stages and state.version == change[-1].version:
                state = state._replace(needed_seq=seq)
            return state
        if change.version <= state.version:
            return state
        if change.version > state.version + 1 and not self._damaged():
            self._gaps[stream] = (state.version + 1, change.version)
            return state
        self._gaps.pop(stream, None)
        if isinstance(change, Delete):
            return state.delete(seq, change)
        return state.insert(seq, change)

    def _rooted(self, stream: int, state: StreamState, seq: int, root: Root) -> StreamState:
        if root.version == state.flushed.version and seq != state.flushed.seq:
            # A rebuilt catalog: when the segment was written, the op had no seq yet.
            return state._replace(flushed=state.flushed._replace(seq=seq), seq=max(state.seq, seq))
        if root.version <= state.version:
            return state
        self._gaps.pop(stream, None)
        self._bulk.add(root.segment)
        try:
            time_us, runs, history = split_pointer(root.pointer)
        except ValueError as error:
            raise Corrupt(f"ROOT op {seq}: {error}") from None
        flushed = Flushed(root.root, root.version, seq, time_us, root.points, history, runs, state.flushed.codec)
        return empty_state(stream, flushed)._replace(seq=seq, needed_seq=seq)


def _batches(frames: Iterable[ReplayFrame], limit: int) -> Iterator[list[ReplayFrame]]:
    batch: list[ReplayFrame] = []
    size = 0
    for frame in frames:
        if not len(frame.ops):
            continue
        if len(frame.body) >= ALONE:
            if batch:
                yield batch
            yield [frame]
            batch, size = [], 0
            continue
        batch.append(frame)
        size += len(frame.body)
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _inserts(
    stream: NDArray[np.uint64],
    seq: NDArray[np.uint64],
    at: NDArray[np.int64],
    room: NDArray[np.int64],
    words: NDArray[np.int64],
) -> Entries:
    """INSERT ops whose bodies begin at these words."""
    points = words[at + 1] & 0xFFFFFFFF
    bad = 2 + 2 * points > room
    if bad.any():
        raise Corrupt(f"INSERT op {int(seq[bad][0])} announces more points than it holds")
    return Entries(stream, seq, words[at].view(np.uint64), points, at + 2, at + 2 + points)


def _many(seq: int, at: int, room: int, words: NDArray[np.int64]) -> Entries:
    many = ops.decode_many(words[at : at + room].tobytes())
    k, n = len(many.streams), len(many.times)
    points = many.points.astype(np.int64)
    first = at + 1 + 2 * k + (k + 1) // 2
    begin = np.cumsum(points) - points
    return Entries(
        many.streams,
        np.full(k, seq, np.uint64),
        many.versions,
        points,
        first + begin,
        first + n + begin,
    )


def _words(bodies: Sequence[memoryview]) -> NDArray[np.int64]:
    """All bodies one behind the other. NumPy asks for large pages where bytes.join does not: half the time."""
    if len(bodies) == 1:
        return np.frombuffer(bodies[0], "<i8")
    words = np.empty(sum(map(len, bodies)) // 8, "<i8")
    np.concatenate([np.frombuffer(body, "<i8") for body in bodies], out=words)
    return words


def _distinct(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The numbers in order, each once. np.unique imports numpy.ma, a tenth of what opening a database may take."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _among(numbers: NDArray[np.uint64], some: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the numbers are among `some`, ordered ones; for np.isin goes what is said of np.unique."""
    if not len(some):
        return np.zeros(len(numbers), np.bool_)
    found: NDArray[np.bool_] = some[np.minimum(some.searchsorted(numbers), len(some) - 1)] == numbers
    return found


def _take(entries: Entries, index: NDArray[np.intp]) -> Entries:
    stream, seq, version, points, times, values = entries
    return Entries(stream[index], seq[index], version[index], points[index], times[index], values[index])


def _gather(words: NDArray[np.int64], begin: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """words[begin[i] : begin[i] + counts[i]] for all i, one behind the other."""
    total = int(counts.sum())
    shift = begin - (np.cumsum(counts) - counts)
    return words[np.repeat(shift, counts) + np.arange(total)]

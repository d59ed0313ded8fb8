"""Open queries: what clients come back to for the next records, by number, until their time to live is over.

A query that nobody asks holds cursors, that is a snapshot, never contents.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lamina.engine.records.cursor import Cursor
from lamina.engine.records.follow import Follower
from lamina.engine.records.record import Record
from lamina.engine.records.runs import Run, records
from lamina.errors import LaminaError, NotFound, Unavailable
from lamina.records.patterns import EntryPatterns
from lamina.records.source import Batch as Rows
from lamina.time import Clock

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.records.condition import Condition

OPEN_QUERIES = 10_000  # architecture section 15
LONGEST_TTL_S = 24 * 3600.0


class Batch(NamedTuple):
    records: list[Record]
    last: bool  # nothing follows, or (continuous) nothing follows now


class _Stream:
    """Selected rows of one entry, with what was read ahead."""

    __slots__ = ("_as_of", "_spend", "at", "error", "follower", "name", "over", "rows", "slot", "source")

    def __init__(
        self, slot: EntrySlot, source: Cursor, follower: Follower | None, spend: Callable[[Cursor], None] | None
    ) -> None:
        self.slot = slot
        self.name = slot.name
        self.source: Cursor | None = source
        self._as_of = source.seq
        self.follower = follower
        self._spend = spend  # takes the cursor, and with it the snapshot, once it is used up; None: nobody does
        self.rows: Rows | None = None
        self.at = 0
        self.over = False
        self.error: LaminaError | None = None

    def advance(self) -> bool:
        """Have a row at `at`, if there is one."""
        while self.rows is None or self.at >= len(self.rows):
            if self.over or self.error is not None:
                return False
            try:
                self.rows = self._next()
            except LaminaError as error:
                self.error = error
                return False
            self.at = 0
            if self.rows is None:
                return False
        return True

    def _next(self) -> Rows | None:
        if self.source is not None:
            found = next(self.source, None)
            if found is not None:
                return found
            self.over = self.source.ended or self.follower is None
            if self._spend is not None:
                self._spend(self.source)
                self.source = None
        if self.follower is not None and not self.over:
            found = self.follower.next()
            self.over = self.follower.ended
            return found
        return None

    @property
    def head(self) -> tuple[int, str]:
        assert self.rows is not None, "advanced before"
        return int(self.rows.times[self.at]), self.name

    def seq(self) -> int:
        """As of which its records are read."""
        return self._as_of if self.follower is None else self.slot.state.seq

    def close(self) -> None:
        if self.source is not None:
            self.source.close()
            self.source = None
        self.over = True


class Query:
    """Records of some entries of a bucket, merged by (time, entry name). One caller at a time gets the next batch."""

    def __init__(
        self,
        bucket: Bucket,
        entries: Sequence[str] | None,
        start: int | None,
        stop: int | None,
        condition: Condition,
        strict: bool,
        continuous: bool,
        keeps: bool = False,
    ) -> None:
        """`keeps`: what was selected stays readable until the query is closed, not only until all of it was given."""
        self.continuous = continuous
        self._keeps = keeps
        self.condition = condition
        self.store = bucket.store
        self.names = condition.directives.select_labels
        self._bucket = bucket
        self._patterns = EntryPatterns.of(entries)
        self._start = start
        self._stop = None if continuous else stop
        self._strict = strict
        self._lock = threading.Lock()  # one batch at a time
        self._streams: dict[int, _Stream] = {}
        self._known: object = None  # the bucket's slots when entries were last looked for
        self._ahead: deque[Record] = deque()
        self._spent: list[Cursor] = []  # used up, and not closed before what they gave was read
        self._error: LaminaError | None = None
        self._closed = False
        self._changed = threading.Event()
        self._calls_lock = threading.Lock()  # guards _calls
        self._calls: list[Callable[[], None]] = []
        self._find_entries()

    def _find_entries(self) -> None:
        slots = self._bucket.slots
        if slots is self._known:
            return
        self._known = slots
        for name in self._patterns.select(sorted(slots, key=str.encode)):
            slot = slots[name]
            if slot.id not in self._streams:
                self._streams[slot.id] = self._stream(slot)

    def _stream(self, slot: EntrySlot) -> _Stream:
        store = self._bucket.store
        if not self.continuous:
            cursor = Cursor(store, slot, self._start, self._stop, self.condition, self._strict)
            return _Stream(slot, cursor, None, None if self._keeps else self._spend)
        with store.reader():  # as in Cursor
            with store.publish_lock:
                slot.listeners = (*slot.listeners, self._wake)
                state = slot.state
            cursor = Cursor(store, slot, self._start, None, self.condition, self._strict, state)
        return _Stream(slot, cursor, Follower(slot, state, self._start or 0, cursor), self._spend)

    def _spend(self, cursor: Cursor) -> None:
        self._spent.append(cursor)

    def let_go(self) -> None:
        """The contents of what was given so far were read; what begins the next batch is held on to."""
        if not self._ahead:
            spent, self._spent = self._spent, []
            for cursor in spent:
                cursor.close()

    def next_batch(
        self,
        max_records: int,
        max_bytes: int,
        max_header_bytes: int,
        header_size: Callable[[Record], int] | None,
    ) -> Batch:
        """The next records: at least one if there is one, until there are max_records, their contents exceed
        max_bytes or their headers max_header_bytes. `header_size` gives the bytes a record takes there.

        Reads indexes, no contents: of records that went meanwhile they can be read until `let_go`, or the next batch is
        asked for. Raises what the condition raises in strict mode, once the records before it were
        given; NotFound again and again after that, and for a continuous query whose bucket was removed.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            self.let_go()
            if self.continuous:
                self._find_entries()
            found: list[Record] = []
            size = headers = 0
            while len(found) < max_records and size <= max_bytes and headers <= max_header_bytes:
                # one more, so that whether anything follows needs no look of its own
                if not self._ahead and not self._read_ahead(max_records - len(found) + 1):
                    break
                record = self._ahead.popleft()
                length = header_size(record) if header_size is not None else 0
                if found and header_size is not None and headers + length > max_header_bytes:
                    self._ahead.appendleft(record)
                    break
                found.append(record)
                size += record.size
                headers += length
            last = not self._ahead and not self._read_ahead(1)
            failed = next((stream.error for stream in self._streams.values() if stream.error is not None), None)
            if failed is not None and not self._ahead:
                if not found:
                    self._error = failed
                    self._end()
                    raise failed
                last = False
            if not found:
                self.let_go()
            if self.continuous and not found and self._bucket.id not in self.store.buckets:
                raise NotFound(f"Bucket '{self._bucket.name}' is not found")  # nothing will ever come
            return Batch(found, last)

    def give_back(self, records: Sequence[Record]) -> None:
        """The last batch was not sent: the next one begins with its records."""
        with self._lock:
            self._ahead.extendleft(reversed(records))

    def _read_ahead(self, wanted: int) -> bool:
        """Read up to so many records; False: there is none now."""
        runs = self._take(wanted)
        if runs:
            self._ahead += records(self.store, runs, self.names)
        return bool(runs)

    def _take(self, wanted: int) -> list[Run]:
        """Up to so many rows that come next; none: there are none now."""
        heap = [(*stream.head, stream.slot.id) for stream in self._streams.values() if stream.advance()]
        heapq.heapify(heap)
        runs: list[Run] = []
        left = wanted
        while heap and left:
            _, _, id = heapq.heappop(heap)
            stream = self._streams[id]
            rows = stream.rows
            assert rows is not None, "it has a head"
            stop = min(len(rows), stream.at + left)
            if heap:  # a run: up to where another entry comes first
                time_us, name, _ = heap[0]
                side: Literal["left", "right"] = "right" if stream.name < name else "left"
                stop = min(stop, max(int(rows.times.searchsorted(np.uint64(time_us), side)), stream.at + 1))
            runs.append(Run(stream.slot, stream.seq(), rows, stream.at, stop))
            left -= stop - stream.at
            stream.at = stop
            if stream.at < len(rows) or (left and stream.advance()):
                heapq.heappush(heap, (*stream.head, id))
        return runs

    def next_runs(self, wanted: int) -> list[Run]:
        """See selection.Runs. Not beside `next_batch`."""
        with self._lock:
            runs = self._take(wanted)
            failed = next((stream.error for stream in self._streams.values() if stream.error is not None), None)
            if not runs and failed is not None:
                raise failed
            return runs

    # -- continuous ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._changed.set()
        with self._calls_lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def wait(self, timeout_s: float) -> bool:
        """Whether records were written since the last batch, waiting at most so long for that."""
        return self._bucket.store.clock.wait(self._changed, timeout_s)

    def on_change(self, call: Callable[[], None]) -> None:
        """Call once when records were written since the last batch; on the committing thread, or at once. Must not
        block."""
        with self._calls_lock:
            if not self._changed.is_set():
                self._calls.append(call)
                return
        call()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        for stream in self._streams.values():
            stream.close()
        self._ahead.clear()
        self.let_go()
        if self.continuous:
            with self._bucket.store.publish_lock:
                for stream in self._streams.values():
                    slot = stream.slot
                    slot.listeners = tuple(call for call in slot.listeners if call != self._wake)
        self._wake()


class _Open:
    __slots__ = ("expires_ns", "owner", "query", "ttl_ns")

    def __init__(self, query: Query, owner: str, ttl_ns: int, expires_ns: int) -> None:
        self.query = query
        self.owner = owner
        self.ttl_ns = ttl_ns
        self.expires_ns = expires_ns


class Queries:
    """`db.queries`: the open queries of all clients. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._open: dict[int, _Open] = {}
        self._next = 1
        self._swept_ns = clock.monotonic_ns()

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        bucket: Bucket,
        entries: Sequence[str] | None,
        *,
        owner: str,
        start: int | None,
        stop: int | None,
        ttl_s: float,
        condition: Condition,
        strict: bool,
        continuous: bool,
    ) -> int:
        """Begin a query; its number, rising from 1. `entries`: names and patterns, None or [] all. `owner` must be
        given again to get it. It ends `ttl_s` after it was last asked for. Raises Unavailable (too many open)."""
        self.sweep()
        if len(self._open) >= OPEN_QUERIES:
            raise Unavailable(f"{len(self._open)} queries are open, {OPEN_QUERIES} are allowed")
        query = Query(bucket, entries, start, stop, condition, strict, continuous)
        ttl_ns = int(min(ttl_s, LONGEST_TTL_S) * 1e9)
        with self._lock:
            id = self._next
            self._next += 1
            self._open[id] = _Open(query, owner, ttl_ns, self._clock.monotonic_ns() + ttl_ns)
        return id

    def get(self, id: int, owner: str) -> Query:
        """An open query; its time to live begins anew. Raises NotFound."""
        now = self._clock.monotonic_ns()
        with self._lock:
            found = self._open.get(id)
            if found is not None and found.owner == owner and now < found.expires_ns:
                found.expires_ns = now + found.ttl_ns
                return found.query
        raise NotFound(f"Query {id} not found and it might have expired. Check TTL in your query request.")

    def sweep(self, every_s: float = 1.0) -> None:
        """Close queries whose time is over; looks at most once a second."""
        now = self._clock.monotonic_ns()
        with self._lock:
            if now - self._swept_ns < every_s * 1e9:
                return
            self._swept_ns = now
            over = [id for id, found in self._open.items() if now >= found.expires_ns]
            closing = [self._open.pop(id).query for id in over]
        for query in closing:
            query.close()

    def close(self) -> None:
        with self._lock:
            closing = [found.query for found in self._open.values()]
            self._open.clear()
        for query in closing:
            query.close()

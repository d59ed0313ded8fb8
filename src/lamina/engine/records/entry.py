"""A handle on one entry: write records, read them, change their labels, remove them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.arguments import (
    CHUNK_BYTES,
    CONTENT_TYPE,
    NewRecord,
    bound_us,
    bytes_of,
    condition_of,
    content_of,
    label_changes,
    label_set,
)
from lamina.engine.records.record import Record, record_of
from lamina.engine.records.settings import EntryInfo
from lamina.engine.records.write import Write
from lamina.engine.records.writegroup import WriteGroup
from lamina.errors import InvalidArgument, LaminaError, NotFound
from lamina.storage.files import Buffer
from lamina.time import TimeLike, to_us

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.selection import Selection


class Entry:
    """A handle on one entry of a bucket, whether it exists yet or not: the first write makes it, reading before that
    raises NotFound. Thread-safe.

    Times are µs since the epoch (also datetime, numpy.datetime64, ISO 8601; naive means UTC); intervals include their
    start and exclude their end.
    """

    __slots__ = ("bucket", "name")

    def __init__(self, bucket: Bucket, name: str) -> None:
        self.bucket = bucket
        self.name = name

    @property
    def slot(self) -> EntrySlot:
        return self.bucket.slot(self.name)

    @property
    def id(self) -> int:
        return self.slot.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and other.bucket is self.bucket and other.name == self.name

    def __hash__(self) -> int:
        return hash((self.bucket.id, self.name))

    def __repr__(self) -> str:
        return f"<lamina.Entry {self.bucket.name}/{self.name}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import entry_html

        return entry_html(self)

    def info(self) -> EntryInfo:
        """Sizes, counts and times now. Raises NotFound."""
        from lamina.engine.records.bucket import slot_info

        return slot_info(self.slot)

    # -- writing -------------------------------------------------------------------------------------------------

    def write(
        self,
        data: Buffer | Iterable[Buffer],
        time: TimeLike | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        content_type: str = CONTENT_TYPE,
        size: int | None = None,
    ) -> None:
        """Store a record; durable and readable when this returns. The entry is made if it is not there.

        `time`: None is now. `labels`: values are kept as text (True as "true"), None is no label. `data`: bytes or
        what has them, such as a NumPy array; or an iterable of such pieces, with their total `size`. A content of more
        than 64 KiB goes to the disk piece by piece. Raises AlreadyExists (time taken), InvalidArgument,
        QuotaExceeded, NoSpace, Unavailable, Closed.
        """
        pieces, size = content_of(data, size)
        bucket = self.bucket
        at = bucket.store.clock.wall_us() if time is None else to_us(time)
        kept = label_set(labels)
        (entry,) = bucket.ensure_entries([self.name])
        write = bucket.open_write(entry, at, size, kept, content_type)
        try:
            _give(write, pieces)
            if not write.inline:
                write.finish()
            commit = bucket.commit_writes([write])
        except BaseException:
            write.abort()
            raise
        commit.wait()

    def write_many(self, records: Iterable[NewRecord]) -> list[LaminaError | None]:
        """Store many records in one commit (in several above 32 MiB); what became of each, in order: None, or why it
        was left out (AlreadyExists, InvalidArgument, QuotaExceeded). Durable when it returns. Raises NoSpace,
        Unavailable, Closed."""
        bucket = self.bucket
        (entry,) = bucket.ensure_entries([self.name])
        results: list[LaminaError | None] = []
        with WriteGroup(bucket) as group:
            for record in records:
                if not isinstance(record, NewRecord):
                    raise InvalidArgument(f"{type(record).__name__} among the records: expected NewRecord(time, data)")
                try:
                    data, labels = bytes_of(record.data), label_set(record.labels)
                    group.add(entry, to_us(record.time), data, labels, record.content_type)
                except LaminaError as error:
                    results.append(error)
                else:
                    results.append(None)
        return results

    def update(self, time: TimeLike, labels: Mapping[str, object]) -> None:
        """Set labels of a record, "" or None removes one, others stay; durable when it returns. Raises NotFound,
        InvalidArgument, Unavailable."""
        (error,) = self.bucket.update_labels([(self.name, to_us(time), label_changes(labels))])
        if error is not None:
            raise error

    def remove(self, time: TimeLike) -> None:
        """Remove a record, durably. Raises NotFound, Unavailable."""
        (error,) = self.bucket.remove_records([(self.name, to_us(time))])
        if error is not None:
            raise error

    def remove_range(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> int:
        """Remove records with start <= time < stop that fulfil a condition, durably; how many. See `query`.

        All go at once, or none after a crash; above 6 million of an entry in portions of so many."""
        condition = condition_of(when)
        return self.bucket.remove_query([self.name], bound_us(start), bound_us(stop), condition, strict)

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, time: TimeLike | None = None) -> Record:
        """The record of a time, None: the latest. Raises NotFound, Corrupt."""
        slot = self.slot
        store = self.bucket.store
        state = slot.state
        at = _latest(slot) if time is None else to_us(time)
        found = store.find(slot, state, at, state.seq) if at is not None else None
        if found is None:
            raise self._missing(at)
        return record_of(store, slot, state.seq, found)

    def try_read(self, time_us: int | None = None) -> Record | None:
        """`read` where that needs no look into an index on disk, else None. Raises NotFound."""
        from lamina.engine.records.found import Pending

        slot = self.slot
        state = slot.state
        if time_us is None:
            if not state.n or not state.ordered or int(state.tail.died[state.n - 1]) <= state.seq:
                return None
            time_us = int(state.tail.rows["time"][state.n - 1])
            if any(section.t_max > time_us for section in state.sections):
                return None
        elif not state.ordered and state.tail.by_time is None:
            return None
        try:
            found = self.bucket.store.find(slot, state, time_us, state.seq, wait=False)
        except Pending:
            return None
        if found is None:
            raise self._missing(time_us)
        return record_of(self.bucket.store, slot, state.seq, found)

    def is_claimed(self, time_us: int) -> bool:
        """Whether a record of this time is being written. Raises NotFound (entry)."""
        slot = self.slot
        with slot.claims:
            return time_us in slot.pending

    def _missing(self, time_us: int | None) -> NotFound:
        if time_us is None:
            return NotFound(f"No records found in entry {self.bucket.name}/{self.name}")
        return NotFound(f"Record {time_us} not found in entry {self.bucket.name}/{self.name}")

    def query(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """Records with start <= time < stop (None: all) in ascending time, as they are now: one by one, with contents
        read when asked for, or as columns (see `Selection`). `when`: a condition as a mapping or as JSON text
        (docs/records.md); what it cannot be evaluated for does not match, or with `strict` raises. Raises
        InvalidArgument, NotFound; while iterating Corrupt."""
        self.slot  # noqa: B018  # raises NotFound now rather than at the first record
        return selected(self.bucket, [self.name], start, stop, when, strict)


def selected(
    bucket: Bucket,
    entries: Sequence[str] | None,
    start: TimeLike | None,
    stop: TimeLike | None,
    when: Mapping[str, Any] | str | None,
    strict: bool,
) -> Selection:
    """Records of a query, as `Entry.query` and `Bucket.query` give them: what lives now, read while iterating."""
    from lamina.engine.records.queries import Query
    from lamina.engine.records.selection import Selection

    return Selection(
        Query(bucket, entries, bound_us(start), bound_us(stop), condition_of(when), strict, False, keeps=True)
    )


def _give(write: Write, pieces: Iterable[Buffer]) -> None:
    """Hand a content over, inline or to the disk, where it is to be finished."""
    if write.inline:
        parts = [bytes_of(piece) for piece in pieces]
        write.set_content(parts[0] if len(parts) == 1 else b"".join(parts))
        return
    for piece in pieces:
        view = memoryview(bytes_of(piece))
        for first in range(0, len(view), CHUNK_BYTES):
            write.write(view[first : first + CHUNK_BYTES])


def _latest(slot: EntrySlot) -> int | None:
    from lamina.engine.records.changes import latest_time

    return latest_time(slot)

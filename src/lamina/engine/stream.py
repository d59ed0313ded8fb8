"""One stream: write it, read any version of it, describe it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import StreamRow
from lamina.columns import Ranges, Samples, Summaries, Times, Values
from lamina.engine.metadata import Change
from lamina.engine.publish import ChangeNote
from lamina.engine.reserve import told_as_no_space
from lamina.engine.slots import Slot
from lamina.engine.view import StreamView
from lamina.errors import (
    AmbiguousStream,
    Closed,
    InvalidTimeRange,
    InvalidVersions,
    PropertyVersionMismatch,
    StreamNotFound,
)
from lamina.storage.log import Op
from lamina.streams import batch, names, ops
from lamina.streams.described import Described
from lamina.streams.ops import Delete, Insert
from lamina.streams.policy import Policy, check_policy, resolve
from lamina.streams.versions import LATEST, view_at
from lamina.time import LAST_TIME, MAX_TIME, MIN_TIME, TimeLike, WidthLike, to_ns

if TYPE_CHECKING:
    from lamina.engine.database import Database


class Stream(Described):
    """A handle on a stream; cheap, thread-safe, equal to any other handle on the same stream.

    Times are int64 ns since the epoch, UTC (also datetime, numpy.datetime64, ISO 8601); intervals include their start
    and exclude their end. A `version` of 0 means the latest, with everything acknowledged. Reads raise StreamNotFound
    after the stream was obliterated, VersionNotAvailable for a version never given or pruned, InvalidTimeRange.
    """

    __slots__ = ("_db", "slot", "uuid")

    def __init__(self, db: Database, slot: Slot) -> None:
        self._db = db
        self.slot = slot
        self.uuid = UUID(bytes=slot.uuid)

    @property
    def id(self) -> int:
        """Its number inside this database; never reused. The uuid is its name to the outside."""
        return self.slot.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.uuid == self.uuid and other._db is self._db

    def __hash__(self) -> int:
        return hash(self.slot.uuid)

    def __repr__(self) -> str:
        try:
            row = self.row()
        except (StreamNotFound, Closed):
            return f"<lamina.Stream {self.uuid} version={self.slot.state.version}>"
        name = "/".join(filter(None, (row.collection, row.tags.get("name"))))
        return f"<lamina.Stream {name!r} {self.uuid} version={self.slot.state.version}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import stream_html

        return stream_html(self)

    # -- writing ------------------------------------------------------------------------------------------------

    def insert(self, times: Any, values: Any = None, *, policy: Policy = "never") -> int:
        """Add points; the new version, durable and readable when this returns.

        `times` int64 ns or datetime64, `values` numbers, or one table of both (Arrow, pandas, polars, Samples). Any
        order, repeated times allowed; all or nothing. No points: nothing changes and the current version is returned.
        `policy` says what becomes of points at equal times, in the batch and stored: "never" keeps all, "equal" drops
        exact repetitions, "retain" keeps the old, "replace" keeps the new (contract btrdb section 5).
        From `Settings.bulk_points` points on they are written straight into a segment, without a limit of length.
        Raises InvalidArgument, InvalidTimeRange, InvalidValue, StreamNotFound, Unavailable, NoSpace, Closed.
        """
        check_policy(policy)
        db = self._db
        columns = batch.checked(times, values)
        slot = self._alive()
        if not len(columns[0]):
            return slot.state.version
        if policy != "never" or len(columns[0]) >= db.settings.bulk_points:
            return self._insert_resolved(columns, policy)
        change = Insert(0, *columns)
        op = Op(ops.KIND, ops.INSERT, slot.id, ops.insert_parts(*change), ChangeNote([slot], [change]))
        with db.slots.lock(slot.id):
            ticket = db.submit([op])
        ticket.wait()
        return cast(int, ticket.result)

    def _insert_resolved(self, columns: tuple[Times, Values], policy: Policy) -> int:
        """Under the object lock, so that what the policy saw is what the change meets."""
        db, slot = self._db, self.slot
        db.check_writable()
        with db.slots.lock(slot.id):
            db.barrier()
            removed: Times | None = None
            if policy != "never":
                lease = db.leases.take()
                try:
                    view = slot.state.view(slot.state.version)
                    kept_times, kept_values, removed = resolve(policy, *columns, view, db.read)
                    columns = (kept_times, kept_values)
                finally:
                    db.leases.give_back(lease)
            change = Insert(0, *columns, removed)
            if len(columns[0]) >= db.settings.bulk_points:
                with told_as_no_space(f"an insert of {len(columns[0])} points"):
                    return db.sealer.insert_bulk(slot, change)
            kind = ops.INSERT if removed is None else ops.REPLACE
            op = Op(ops.KIND, kind, slot.id, ops.insert_parts(*change), ChangeNote([slot], [change]))
            ticket = db.submit([op])
            ticket.wait()
            return cast(int, ticket.result)

    def delete(self, start: TimeLike, end: TimeLike) -> int:
        """Remove the points in [start, end) in a new version, which is returned; older versions keep them.

        Always a version, also if nothing was there. Space comes back by retention and compaction only. Works below the
        free-space limit. Raises InvalidTimeRange, StreamNotFound, Unavailable, Closed.
        """
        first, last = _delete_range(to_ns(start), to_ns(end))
        db = self._db
        db.check_open()
        slot = self._alive()
        change = Delete(0, first, last)
        op = Op(ops.KIND, ops.DELETE, slot.id, [ops.delete_body(*change)], ChangeNote([slot], [change]))
        with db.slots.lock(slot.id):
            ticket = db.submit([op], essential=True)
        ticket.wait()
        return cast(int, ticket.result)

    def flush(self) -> int:
        """Put what is buffered into segments; the latest version (a flush is not one). Never needed for durability.

        Raises StreamNotFound, OSError, Unavailable."""
        db = self._db
        db.check_writable()
        slot = self._alive()
        if slot.state.stages:
            db.sealer.flush([slot])
        return slot.state.version

    def obliterate(self) -> None:
        """Remove the stream with its metadata and all versions, at once and for good; its uuid is never given again,
        its collection and tags become free. Named snapshots do not keep it. Space is given back by compaction. Works
        below the free-space limit. Raises StreamNotFound."""
        self._db.streams.obliterate(self)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The latest version: 10 when created, one more per acknowledged insert or delete."""
        return self._alive().state.version

    def at(self, version: int = LATEST) -> StreamView:
        """The stream as it was at a version, for several reads of the same; a context manager, to be closed.

        Raises VersionNotAvailable (never given, or pruned), StreamNotFound. Cost: none for what is buffered and for the
        latest root, else O(log16 flushes) block reads.
        """
        self._db.check_open()
        slot = self._alive()
        lease = self._db.leases.take()
        try:
            state = slot.state
            view = view_at(state, version, slot.oldest, self._db.read)
        except BaseException:
            self._db.leases.give_back(lease)
            raise
        return StreamView(self._db, slot, state, view, lease)

    def values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST) -> Samples:
        """Points with start <= time < end: time int64 ns ascending, value float64; equal times in insertion order.

        All in memory, 16 B a point; `iter_values` is lazy. Without bounds: everything. Decodes the leaves of the range.
        Wire: RawValuesParams.
        """
        with self.at(version) as view:
            return view.values(start, end)

    def iter_values(
        self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST
    ) -> Iterator[Samples]:
        """As values, lazily in chunks of some 130,000 points, none of them empty. Arguments are checked, and the
        version is fixed, when the first chunk is asked for; closing the iterator ends the read."""
        with self.at(version) as view:
            yield from view.iter_values(start, end)

    def windows(
        self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0, version: int = LATEST
    ) -> Summaries:
        """Summaries of the windows [start + k * width, start + (k + 1) * width) that end by `end`, oldest first.

        Empty windows are given with count 0 and zeros; a rest at the end shorter than `width` is left out. `width`:
        ns, a timedelta, or text such as "1s"; 1..2**63 ns. `depth` (0..63) allows edges to be off by up to 2**depth
        ns, for speed. Columns of one length n: time int64 (window start, ns), min, mean, max, stddev (population)
        float64, count uint64. Raises InvalidTimeRange, InvalidWidth. Reads the rows inside and at most n + 1 leaves.
        Source: BTrDB (FAST'16), statistical queries; wire: WindowsParams.
        """
        with self.at(version) as view:
            return view.windows(start, end, width, depth)

    def iter_windows(
        self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0, version: int = LATEST
    ) -> Iterator[Summaries]:
        """As windows, lazily in chunks of at most 16,384; n may be beyond what memory holds."""
        with self.at(version) as view:
            yield from view.iter_windows(start, end, width, depth)

    def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int, version: int = LATEST) -> Summaries:
        """Summaries of the windows [k * 2**pointwidth, (k + 1) * 2**pointwidth) ns that have points, oldest first.

        start and end are rounded down to a window: points before `start` inside the first window count, those of the
        window that contains `end` do not. An end of MAX_TIME - 1 and above means no upper limit. Columns as of windows;
        windows without points are absent. Raises InvalidTimeRange, InvalidWidth (pointwidth outside 0..63).
        Reads O(depth + n / 64) nodes; no leaf unless a leaf is wider than the window.
        Source: BTrDB (FAST'16), statistical range queries; wire: AlignedWindowsParams.
        """
        with self.at(version) as view:
            return view.aligned_windows(start, end, pointwidth)

    def iter_aligned_windows(
        self, start: TimeLike, end: TimeLike, pointwidth: int, version: int = LATEST
    ) -> Iterator[Summaries]:
        """As aligned_windows, lazily in chunks of some ten thousand."""
        with self.at(version) as view:
            yield from view.iter_aligned_windows(start, end, pointwidth)

    def nearest(self, time: TimeLike, backward: bool = False, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the first point at or after `time`, or with `backward` of the last strictly before it; None
        if there is none. Of several points at that time: forward the first stored, backward the last. Raises
        InvalidTimeRange. Reads O(depth) nodes and one or two leaves. Wire: NearestParams.
        """
        with self.at(version) as view:
            return view.nearest(time, backward)

    def earliest(self, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the first point; None without points."""
        return self.nearest(MIN_TIME, version=version)

    def latest(self, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the last point in time; None without points."""
        return self.nearest(LAST_TIME + 1, backward=True, version=version)

    def count(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST) -> int:
        """Number of points with start <= time < end, from summaries and at most two leaves."""
        with self.at(version) as view:
            return view.count(start, end)

    def changes(self, from_version: int, to_version: int = LATEST, resolution: int = 0) -> Ranges:
        """Ranges that hold every time whose points differ between the two versions (from exclusive, to inclusive).

        Columns start and end, int64 ns, end exclusive; ascending, disjoint, not touching; edges are multiples of
        2**resolution (0..63) cut to the storable range. May be wider than the change (a leaf's window, or between
        versions of one flush the whole flush), never narrower. `from_version` is a lower bound only: it may be 0, or
        pruned. Raises InvalidVersions (from above to), VersionNotAvailable (to), InvalidWidth (resolution). Reads the
        changed inner nodes, no leaf. Wire: ChangesParams.
        """
        with self.at(to_version) as view:
            if from_version > view.version:
                raise InvalidVersions(f"changes from version {from_version} to {view.version}: from is above to")
            return view.changes_since(from_version, resolution)

    # -- metadata -----------------------------------------------------------------------------------------------

    def row(self) -> StreamRow:
        """All metadata as it is now, from one catalog look-up. Raises StreamNotFound."""
        self._db.check_open()
        with self._db.catalog.snapshot() as catalog:
            return self._row(catalog)

    def _row(self, catalog: CatalogSnapshot) -> StreamRow:
        row = catalog.stream(self.slot.id)
        if row is None:
            raise StreamNotFound("stream does not exist")
        return row

    def exists(self) -> bool:
        """Whether it was not obliterated. Costs nothing."""
        return not self.slot.dead

    @property
    def oldest_version(self) -> int:
        """Versions below are not available; 0: all are kept."""
        return self.slot.oldest

    def set_tags(
        self,
        changes: Mapping[str, str],
        *,
        collection: str | None = None,
        remove: Sequence[str] = (),
        expected: int | None = None,
    ) -> int:
        """Set tags, reset those in `remove`, move to another collection; the new property version.

        Raises InvalidCollection, InvalidTagKey, InvalidTagValue, PropertyVersionMismatch (expected is not the
        current one), AmbiguousStream, StreamNotFound.
        """
        names.check_tags(changes)
        if collection is not None:
            names.check_collection(collection)

        def decide(catalog: CatalogSnapshot) -> Change:
            row = self._expected(catalog, expected)
            tags = {key: value for key, value in (row.tags | dict(changes)).items() if key not in remove}
            home = row.collection if collection is None else collection
            other = catalog.stream_by_tags(home, tags)
            if other is not None and other.id != row.id:
                raise AmbiguousStream("a stream already exists in that collection with identical tags")
            return Change([row._replace(collection=home, tags=tags, property_version=row.property_version + 1)])

        return self._changed(decide)

    def set_annotations(
        self, changes: Mapping[str, str], *, remove: Sequence[str] = (), expected: int | None = None
    ) -> int:
        """Set annotations and delete those in `remove`; the new property version. Raises InvalidTagKey,
        InvalidTagValue, AnnotationTooBig, PropertyVersionMismatch, StreamNotFound."""
        names.check_annotations(changes)

        def decide(catalog: CatalogSnapshot) -> Change:
            row = self._expected(catalog, expected)
            kept = {key: value for key, value in row.annotations.items() if key not in remove}
            return Change([row._replace(annotations=kept | dict(changes), property_version=row.property_version + 1)])

        return self._changed(decide)

    def set_oldest_version(self, version: int) -> None:
        """Give up the versions below: they are not available any more, and compaction takes their space back.

        Never lowered (a smaller version changes nothing), and cut to the oldest version that a named snapshot needs;
        `oldest_version` says what became of it. Works below the free-space limit. Raises InvalidArgument (above the
        latest version), StreamNotFound.
        """
        from lamina.engine.retention import prune

        self._db.check_writable(essential=True)
        prune(self._db, self, version)

    def set_retention(self, rule: Mapping[str, int] | None) -> None:
        """Which versions upkeep may give up by itself: {"versions": n} keeps the latest n, {"seconds": s} those that
        were current within the last s seconds, to the accuracy of a flush; None: as the database says (by default all
        are kept). Applied every ten minutes. Raises InvalidArgument, StreamNotFound."""
        from lamina.engine.retention import check_rule

        self._db.check_writable()
        checked = None if rule is None else check_rule(rule)

        def decide(catalog: CatalogSnapshot) -> Change:
            return Change([self._row(catalog)._replace(retention=checked)])

        self._db.metadata.change(decide)

    def _expected(self, catalog: CatalogSnapshot, expected: int | None) -> StreamRow:
        row = self._row(catalog)
        if expected is not None and expected != row.property_version:
            raise PropertyVersionMismatch("stream annotation version does not match")
        return row

    def _changed(self, decide: Any) -> int:
        self._db.check_writable()
        self._db.metadata.change(decide)
        return self.row().property_version

    def _alive(self) -> Slot:
        self._db.check_open()
        if self.slot.dead:
            raise StreamNotFound("stream does not exist")
        return self.slot


def _delete_range(start: int, end: int) -> tuple[int, int]:
    """Bounds and texts of contract section 5; end = MAX_TIME is taken as the end of what can be stored."""
    if start < MIN_TIME or end > MAX_TIME:
        raise InvalidTimeRange(
            f"delete time range out of bounds: [{start}, {end}) is not within [{MIN_TIME}, {MAX_TIME})"
        )
    end = min(end, LAST_TIME + 1)
    if start >= end:
        raise InvalidTimeRange(f"start time >= end time: {start} >= {end}")
    return start, end

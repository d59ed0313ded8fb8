"""One open database: the parts, put together by `open.py`, and what acts on the whole of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import PinRow
from lamina.engine.clockguard import ClockGuard
from lamina.engine.leases import Leases
from lamina.engine.metadata import Metadata
from lamina.engine.points.store import PointStore
from lamina.engine.points.upkeep import PointUpkeep
from lamina.engine.publish import Publisher
from lamina.engine.readers import Readers
from lamina.engine.records.buckets import Buckets
from lamina.engine.records.store import RecordStore
from lamina.engine.records.upkeep import RecordUpkeep
from lamina.engine.reserve import Reserve, is_full
from lamina.engine.seal import Sealer
from lamina.engine.slots import Slots
from lamina.engine.upkeep import Upkeep
from lamina.errors import Closed, LaminaError, NoSpace, NotFound, Unavailable
from lamina.random import Random
from lamina.settings import Settings
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.files import Files, Lock
from lamina.storage.log import Damage, Log, Op, Ticket
from lamina.time import Clock

if TYPE_CHECKING:
    from lamina.engine.points.measurements import Measurements
    from lamina.engine.records.queries import Queries
    from lamina.engine.snapshot import Snapshot
    from lamina.engine.streams import Streams

TAILS_WAIT_S = 10.0
"""How long a writer waits for tails to shrink before it is told to come back later (architecture section 10)."""

CLOSE_POINTS = 4_000_000
"""A clean close flushes up to so many buffered points, a second or two; more stay in the log, which has them all."""


CLOSE_BYTES, CLOSE_ENTRIES = 256 << 20, 2000
"""Likewise contents of records, and entries that hold some: a section each takes a millisecond."""

MAINTAIN_NS = 600 * 1_000_000_000
"""Retention and compaction look at every stream: every ten minutes is often enough for what takes days to grow."""


class Parts(NamedTuple):
    """What a database is made of. Only open.py chooses implementations."""

    path: str
    id: bytes
    epoch: int
    settings: Settings
    files: Files
    blobs: Blobs
    catalog: Catalog
    log: Log
    read: BlockReader
    slots: Slots
    publisher: Publisher
    sealer: Sealer
    metadata: Metadata
    leases: Leases
    readers: Readers
    records: RecordStore
    points: PointStore
    clock: Clock
    random: Random
    lock: Lock | None


class Database:
    """An open database; a context manager that closes it. Thread-safe. Made by `lamina.open`.

    `streams` holds the streams, `buckets` the records, `measurements` the points, `queries` the open queries of
    clients; `path` is the directory, `id` its 16 random bytes, `settings` what it was opened with. Every method raises
    Closed after `close()`, and in a forked child of the process that opened it (spawn works).
    """

    def __init__(self, parts: Parts, gaps: dict[int, tuple[int, int]]) -> None:
        self.path = parts.path
        self.id = parts.id
        self.epoch = parts.epoch
        self.settings = parts.settings
        self.clock = parts.clock
        self.random = parts.random
        self.catalog = parts.catalog
        self.metadata = parts.metadata
        self.read = parts.read
        self.leases = parts.leases
        self.readers = parts.readers
        self.slots = parts.slots
        self.sealer = parts.sealer
        self.publisher = parts.publisher
        self.blobs = parts.blobs
        self.files = parts.files
        self._log = parts.log
        self._lock_file = parts.lock
        self._pid = os.getpid()
        self._closed = False
        self._close_lock = threading.Lock()  # guards _closed
        self._failure: BaseException | None = None
        self._gaps = gaps
        with parts.catalog.snapshot() as catalog:
            self.clock_guard = ClockGuard(parts.clock, catalog.database().last_wall_us)
        self._maintained_ns = parts.clock.monotonic_ns()
        self._compactor: threading.Thread | None = None
        self._reclaimed = 0  # obliterated streams whose space compaction has looked for
        self._tails_limit = parts.settings.tails_bytes
        self.upkeep = Upkeep(
            settings=parts.settings,
            catalog=parts.catalog,
            log=parts.log,
            blobs=parts.blobs,
            slots=parts.slots,
            publisher=parts.publisher,
            sealer=parts.sealer,
            metadata=parts.metadata,
            leases=parts.leases,
            read=parts.read,
            clock=parts.clock,
            database_id=parts.id,
            epoch=parts.epoch,
            reserve=Reserve(parts.files),
            records=RecordUpkeep(parts.records),
            points=PointUpkeep(parts.points),
            maintain=self._maintain,
            fail=self._fail,
        )
        from lamina.engine.streams import Streams

        self.streams: Streams = Streams(self)
        self.records = parts.records
        self.records.attach(self)
        self.buckets = Buckets(self.records)
        self.points = parts.points
        self.points.attach(self)
        self._measurements: Measurements | None = None
        self._queries: Queries | None = None
        _open_databases.add(self)

    @property
    def measurements(self) -> Measurements:
        """Points: all measurements, by name and together."""
        if self._measurements is None:
            from lamina.engine.points.measurements import Measurements  # what reads points is loaded by its first use

            self._measurements = Measurements(self.points)
        return self._measurements

    @property
    def queries(self) -> Queries:
        """The open queries of clients over HTTP."""
        if self._queries is None:
            from lamina.engine.records.queries import Queries

            with self._close_lock:
                if self._queries is None:
                    self._queries = Queries(self.clock)
        return self._queries

    # -- writing ------------------------------------------------------------------------------------------------

    def submit(self, ops: Sequence[Op], *, essential: bool = False) -> Ticket:
        """Queue ops for commit; the caller waits for the ticket. `essential`: also on a full disk, because it frees
        space. Raises Unavailable, Closed, NoSpace."""
        self.check_writable(essential)
        self.upkeep.start()
        return self._log.submit(ops, essential=essential)

    def check_writable(self, essential: bool = False) -> None:
        self.check_open()
        failure = self._failure or self.records.payloads.failed
        if failure is not None:
            raise Unavailable("writing stopped after a failure; reads go on, reopen to recover") from failure
        if self.upkeep.full and not essential:
            raise NoSpace("the disk is full: nothing can be flushed; reads go on, writes after space was freed")
        if self.tails_full:
            self._wait_for_room()

    @property
    def tails_full(self) -> bool:
        """Whether writers have to wait until something is flushed."""
        return self.unflushed_bytes > self._tails_limit

    @property
    def unflushed_bytes(self) -> int:
        """What waits in memory to be flushed, of all kinds."""
        return self.publisher.tail_bytes + self.records.publisher.tail_bytes + self.points.publisher.tail_bytes

    def _wait_for_room(self) -> None:
        """What is unflushed is at its bound: let upkeep make room."""
        self.upkeep.start()
        self.publisher.wake.set()
        with self.upkeep.room:
            fits = self.upkeep.room.wait_for(
                lambda: not self.tails_full or self._failure is not None,
                TAILS_WAIT_S,
            )
        if not fits:
            raise Unavailable(
                f"{self.unflushed_bytes} bytes of points and records wait to be flushed,"
                f" {self._tails_limit} are allowed"
            )

    def barrier(self) -> int:
        """Wait until everything submitted before is published; the last published seq."""
        return self._log.barrier()

    # -- the whole ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Put everything unflushed into segments now and trim the log. Never needed for durability or visibility.

        Raises OSError, Unavailable, NoSpace; what was unflushed stays in the log then."""
        self.check_writable()
        self.points.check_unheld()
        self.upkeep.flush_all()

    def snapshot(self, name: str | None = None) -> Snapshot:
        """The whole database as it is now, readable until closed.

        With a name it is kept across restarts, until `drop_snapshot(name)`: `open_snapshot(name)` reads it again. A
        name in use is moved to now. Costs one commit with a name, nothing without. Raises Unavailable, NoSpace (name).
        """
        from lamina.engine.snapshot import Snapshot

        self.check_open()
        if name is None:
            return Snapshot(self, None, None)
        self.check_writable()
        return Snapshot(self, self.metadata.pin(name).seq, name)

    def open_snapshot(self, name: str) -> Snapshot:
        """A named snapshot, opened again; close it. Raises NotFound."""
        from lamina.engine.snapshot import Snapshot

        self.check_open()
        with self.catalog.snapshot() as catalog:
            pin = catalog.pin(name)
        if pin is None:
            raise NotFound(f"no snapshot is named {name!r}")
        return Snapshot(self, pin.seq, name)

    def snapshots(self) -> list[PinRow]:
        """Named snapshots by name: rows of name, seq and created_us (µs since the epoch)."""
        self.check_open()
        with self.catalog.snapshot() as catalog:
            return list(catalog.pins())

    def drop_snapshot(self, name: str) -> None:
        """Forget a named snapshot: what only it needed may be pruned and compacted. Works below the free-space limit.
        Raises NotFound."""
        self.check_writable(essential=True)
        with self.catalog.snapshot() as catalog:
            if catalog.pin(name) is None:
                raise NotFound(f"no snapshot is named {name!r}")
        self.metadata.unpin(name)

    def set_retention(self, rule: Mapping[str, int] | None) -> None:
        """The rule for streams without one of their own (see Stream.set_retention); None, the default: keep all
        versions."""
        from lamina.engine.retention import set_default

        self.check_writable()
        set_default(self, rule)

    def compact(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Give back space of pruned versions, obliterated streams, dead records and points; bytes freed of streams,
        net of what was written instead.

        Segments and payload files less than half alive are rewritten, small sections of records merged, and sections
        of points that are a quarter dead, small, or overlap in time; the old files
        go when nobody reads them any more. Reads the inner nodes of every kept version (0.1 B per point) and may take
        long: calls progress(streams done, all of them). Readers and writers go on meanwhile. Works below the free-space
        limit, and raises NoSpace where not even what stays of a file can be written.
        """
        from lamina.engine.compaction import compact

        self.check_writable(essential=True)
        self.points.check_unheld()
        try:
            freed = compact(self, progress)
            self.upkeep.records.compact(self.buckets.list())
            self.upkeep.points.compact()
        except OSError as error:
            if not is_full(error):
                raise
            raise NoSpace(
                "the disk is full: compaction writes what stays of a file before it gives back the rest; "
                "remove more, or free space elsewhere"
            ) from error
        self.upkeep.run_once()
        return freed

    def _maintain(self) -> None:
        """Now and then: prune by the retention rules, and give back space in a thread of its own, so that flushes do
        not wait for it."""
        now = self.clock.monotonic_ns()
        if now - self._maintained_ns < MAINTAIN_NS:
            return
        self._maintained_ns = now
        if self._queries is not None:
            self._queries.sweep()
        self.upkeep.records.compact([bucket for bucket in self.buckets.list() if bucket.loaded])
        self.upkeep.points.compact(loaded=True)
        from lamina.engine.retention import apply_rules

        reclaim = apply_rules(self, self.clock_guard.trusted()) > 0 or self.streams.obliterated > self._reclaimed
        if reclaim and (self._compactor is None or not self._compactor.is_alive()):
            self._reclaimed = self.streams.obliterated
            self._compactor = threading.Thread(target=self._compact_quietly, name="lamina-compaction", daemon=True)
            self._compactor.start()

    def _compact_quietly(self) -> None:
        from lamina.engine.compaction import compact

        try:
            compact(self)
        except (LaminaError, OSError) as error:
            if isinstance(error, OSError) and is_full(error):
                self._reclaimed = -1  # tried again: a full disk is no failure
            elif not self._closed:
                self._fail(error)

    @property
    def poisoned(self) -> BaseException | None:
        """The error that stopped writing (law 8); None while all is well. Reopening recovers what was acknowledged."""
        return self._failure or self._log.poisoned or self.metadata.failed or self.records.payloads.failed

    @property
    def degraded(self) -> Sequence[Damage]:
        """Acknowledged changes that recovery found missing: path of the log file, first and last missing seq."""
        return self._log.damage

    @property
    def version_gaps(self) -> dict[int, tuple[int, int]]:
        """Streams that lost changes: stream id -> (version expected, version found)."""
        return dict(self._gaps)

    def stats(self) -> dict[str, int | float]:
        """Counters and sizes for /metrics; names are stable."""
        self.check_open()
        with self.catalog.snapshot() as catalog:
            streams = catalog.stream_count()
        free, total = self.files.free_bytes()
        return {
            "streams": streams,
            "seq": self._log.published_seq,
            "epoch": self.epoch,
            "points_inserted": self.publisher.points_inserted,
            "tail_bytes": self.publisher.tail_bytes,
            "dirty_streams": len(self.slots.dirty),
            "log_bytes": self._log.bytes_kept,
            "flushes": self.sealer.flushes,
            "segment_bytes_written": self.sealer.bytes_written,
            "buckets": len(self.buckets),
            "records_written": self.records.publisher.records_written,
            "record_bytes_written": self.records.publisher.bytes_written,
            "record_tail_bytes": self.records.publisher.tail_bytes,
            "dirty_entries": len(self.records.publisher.dirty),
            "measurements": self.points.count(),
            "measurement_points_inserted": self.points.publisher.inserted,
            "measurement_tail_bytes": self.points.publisher.tail_bytes,
            "dirty_measurements": len(self.points.publisher.dirty),
            "open_queries": len(self._queries) if self._queries is not None else 0,
            "block_reads": self.read.reads + self.points.read.reads,
            "block_bytes_read": self.read.bytes_read + self.points.read.bytes_read,
            "open_readers": self.leases.open,
            "disk_free_bytes": free,
            "disk_full": int(self.upkeep.full or free < self.settings.reserve(total)),
            "poisoned": int(self.poisoned is not None),
            "degraded": len(self.degraded),
        }

    def _fail(self, error: BaseException) -> None:
        import logging  # 10 ms that only this case pays

        logging.getLogger("lamina").error("writing stops after a failure", exc_info=error)
        self._failure = error
        with self.upkeep.room:
            self.upkeep.room.notify_all()

    # -- life ---------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    def check_open(self) -> None:
        if self._closed:
            if self._pid != os.getpid():
                raise Closed(f"the database was opened by process {self._pid}; a forked child cannot use it")
            raise Closed("the database is closed")

    def close(self) -> None:
        """Finish what was submitted, flush what is cheap, release the directory. Idempotent.

        Up to 4,000,000 buffered points are flushed, a second or two; more stay in the log. Raises OSError if that
        fails: the directory is released all the same, and nothing acknowledged is lost. Raises InvalidArgument inside
        of a function that is given to a change of points.
        """
        self.points.check_unheld()
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        _open_databases.discard(self)
        if self._queries is not None:
            self._queries.close()
        self.upkeep.stop()
        if self._compactor is not None:
            self._compactor.join()  # it stops between two batches
        try:
            if self.poisoned is None:
                self._seal_on_close()
        finally:
            self._log.close()
            self.records.payloads.close()
            self.catalog.close()
            if self._lock_file is not None:
                self._lock_file.release()

    def _seal_on_close(self) -> None:
        self._log.barrier()
        records = self.upkeep.records
        cheap = self.publisher.tail_bytes <= 24 * CLOSE_POINTS
        cheap = cheap and records.inline_bytes <= CLOSE_BYTES and len(records.dirty) <= CLOSE_ENTRIES
        points = self.upkeep.points
        cheap = cheap and points.tail_bytes <= CLOSE_BYTES and len(points.dirty) <= CLOSE_ENTRIES
        if cheap and (self.slots.dirty or records.dirty or points.dirty):
            try:
                self.upkeep.flush_all()
            except OSError as error:
                if not is_full(error):  # the log has everything
                    raise
        if self.metadata.bytes_since_dump:
            self.upkeep.dump_metadata()
        self.upkeep.shed_log()
        delta = CatalogDelta(self.epoch)
        delta.last_wall_us = self.clock.wall_us()
        self.catalog.commit(delta)

    def abandon(self) -> None:
        """A forked child must neither use nor close what belongs to its parent."""
        self._closed = True

    def __enter__(self) -> Database:
        self.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lamina.Database {self.path!r}{' closed' if self._closed else ''}>"


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _after_fork() -> None:
    for database in list(_open_databases):
        database.abandon()


os.register_at_fork(after_in_child=_after_fork)

"""Upkeep: flushes what is due, keeps tails and log within their bounds, trims the log, dumps metadata, deletes files.

One thread, started by the first write. `run_once` does everything that is due and can be called by hand (tests, and
`Settings.background=False`).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence

from lamina.catalog import metafile
from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import SegmentRow
from lamina.engine.leases import Leases
from lamina.engine.metadata import Metadata
from lamina.engine.points.slot import MeasurementSlot
from lamina.engine.points.upkeep import PointUpkeep
from lamina.engine.publish import Publisher, TailNote
from lamina.engine.records.entry_slot import EntrySlot
from lamina.engine.records.upkeep import RecordUpkeep
from lamina.engine.reserve import Reserve, is_full
from lamina.engine.seal import Sealer
from lamina.engine.slots import Slot, Slots
from lamina.errors import LaminaError
from lamina.settings import Settings
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.log import Log, Op
from lamina.storage.segment import SegmentWriter, segment_name
from lamina.streams import ops
from lamina.time import Clock

DUMP_PLACE = struct.Struct("<QII")
"""Directory of a meta segment's one section: offset, length and CRC32C of the dump."""

IDLE_S = 1.0
"""Look for work at least so often: a log over its limit or a retired segment does not wake the thread."""

META_DUMP_BYTES = 1 << 20
META_DUMP_US = 24 * 3600 * 1_000_000
"""Metadata is dumped into a segment after 1 MiB of changes and at least daily (architecture section 7 row 21)."""

SHED_BYTES = 1 << 20
"""A log this short is read in some milliseconds; making a new file costs as much."""

COPY_SHARE = 4
"""Small tails are copied forward while they are at most 1/4 of the log's limit: 1/3 more log, no tree work."""

TAILS_LOW = 0.75
"""When tails exceed their bound, the largest are flushed until this share is left."""


class Upkeep:
    """The loops of one open database."""

    def __init__(
        self,
        *,
        settings: Settings,
        catalog: Catalog,
        log: Log,
        blobs: Blobs,
        slots: Slots,
        publisher: Publisher,
        sealer: Sealer,
        metadata: Metadata,
        leases: Leases,
        read: BlockReader,
        clock: Clock,
        database_id: bytes,
        epoch: int,
        reserve: Reserve,
        records: RecordUpkeep,
        points: PointUpkeep,
        maintain: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._log = log
        self._blobs = blobs
        self._slots = slots
        self._publisher = publisher
        self._sealer = sealer
        self._metadata = metadata
        self._leases = leases
        self._read = read
        self._clock = clock
        self._database_id = database_id
        self._epoch = epoch
        self._reserve = reserve
        self.records = records
        self.points = points
        self.needs: list[Callable[[], int | None]] = []  # each: seq above which somebody else needs the log; None: no
        self._maintain = maintain
        self._fail = fail
        self.full = False  # the disk has no room for what must be flushed
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()  # guards _thread
        self._run_lock = threading.Lock()  # one pass at a time
        self._stop = False
        self._dumped_us = clock.wall_us()
        self.room = threading.Condition()  # notified after every pass: writers that wait for tails to shrink

    def start(self) -> None:
        """Have the thread run; cheap when it does."""
        if self._thread is None and self._settings.background:
            with self._start_lock:
                if self._thread is None and not self._stop:
                    self._thread = threading.Thread(target=self._loop, name="lamina-upkeep", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Let the pass in progress finish, then no further."""
        with self._start_lock:
            self._stop = True
        self._publisher.wake.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stop:
            self._clock.wait(self._publisher.wake, IDLE_S)
            self._publisher.wake.clear()
            if self._stop:
                return
            try:
                self.run_once()
            except (LaminaError, OSError) as error:
                # Writing stops (law 8); what is readable stays readable.
                self._fail(error)
                return

    def run_once(self) -> None:
        """Everything that is due now. Raises OSError or a LaminaError when a flush could not be published; a full
        disk is no failure: `full` says so, and the next pass tries again."""
        with self._run_lock:
            if (self._publisher.due or self.records.due or self.points.due) and not self.full:
                self._reserve.ensure(self._settings.min_free)
            before, self.full = self.full, not self._attempt()
            if self.full != before:
                _tell_of_disk(self.full)
        with self.room:
            self.room.notify_all()

    def _attempt(self) -> bool:
        """One pass, and another with the reserve given back if the disk is full; False if it is full even so."""
        for reserve in (self._reserve, None):
            try:
                self._pass()
            except OSError as error:
                if not is_full(error):
                    raise
                if reserve is None or not reserve.release():
                    return False
            else:
                return True
        return False

    def _pass(self) -> None:
        self._flush_due()
        self.records.seal_due()
        self.points.seal_due()
        self._shrink_tails()
        self._shrink_log()
        self.records.give_back()
        self._dump_metadata()
        self.delete_retired()
        self._maintain()

    def flush_all(self) -> None:
        """Everything unflushed goes into segments, then the log is trimmed."""
        with self._run_lock:
            self._flush(self._dirty())
            self.records.seal_all()
            self.points.seal_all()
            self.records.give_back()
            self._trim()

    def _dirty(self) -> list[Slot]:
        with self._slots.publish_lock:
            return list(self._slots.dirty.values())

    def _flush(self, slots: Sequence[Slot]) -> None:
        if slots:
            self._sealer.flush(slots)
            with self._slots.publish_lock:
                for slot in slots:
                    self._publisher.settle(slot)

    def _flush_due(self) -> None:
        with self._slots.publish_lock:
            due = list(self._publisher.due.values())
        if due:
            self._flush(due)
            if self._log.bytes_kept > 2 * self._settings.log_file_bytes:
                self._trim()

    def _shrink_tails(self) -> None:
        limit = self._settings.tails_bytes
        held = self._publisher.tail_bytes + self.records.tail_bytes + self.points.tail_bytes
        if held <= limit:
            return
        largest: list[Slot | EntrySlot | MeasurementSlot] = [*self._dirty(), *self.records.dirty, *self.points.dirty]
        largest.sort(key=lambda slot: slot.state.tail_bytes, reverse=True)
        excess = held - TAILS_LOW * limit
        chosen = []
        for slot in largest:
            if excess <= 0:
                break
            excess -= slot.state.tail_bytes
            chosen.append(slot)
        self._flush([slot for slot in chosen if isinstance(slot, Slot)])
        self.records.seal([slot for slot in chosen if isinstance(slot, EntrySlot)])
        self.points.seal([slot for slot in chosen if isinstance(slot, MeasurementSlot)])
        self._trim()

    def _shrink_log(self) -> None:
        """Past its limit the log is freed: small tails are copied forward, the largest flushed."""
        settings = self._settings
        if self._log.bytes_kept <= settings.log_bytes and self._log.ops_kept <= settings.log_ops_limit:
            return
        slots = sorted(self._dirty(), key=lambda slot: slot.state.tail_bytes)
        budget = settings.log_bytes // COPY_SHARE
        copied: list[Slot] = []
        flushed: list[Slot] = []
        for slot in slots:
            cost = slot.state.tail_bytes
            if slot.root_unpublished or cost > budget or not slot.state.stages:
                flushed.append(slot)
            else:
                budget -= cost
                copied.append(slot)
        self._flush(flushed)
        self.records.seal_all()
        self.points.seal_all()
        self._copy_forward(copied)
        self._log.rotate()
        self._trim()

    def _copy_forward(self, slots: Sequence[Slot]) -> None:
        """Write tails into the log again. Under the object lock, after a barrier: a TAIL op holds everything its
        stream had before, so replay finds no gap."""
        by_stripe: dict[int, list[Slot]] = {}
        for slot in slots:
            by_stripe.setdefault(self._slots.stripe(slot.id), []).append(slot)
        for stripe in sorted(by_stripe):
            members = by_stripe[stripe]
            with self._slots.lock(members[0].id):
                self._log.barrier()
                tickets = []
                for slot in members:
                    state = slot.state
                    if state.stages and not slot.dead:
                        parts = ops.tail_parts(list(state.runs()))
                        note = TailNote(slot, state.version)
                        op = Op(ops.KIND, ops.TAIL, slot.id, parts, note)
                        tickets.append(self._log.submit([op], essential=True))
                for ticket in tickets:
                    ticket.wait()

    def _trim(self) -> None:
        """Law 5: only what the catalog holds durably may leave the log, and the catalog says first how far that is:
        recovery takes a log that begins later for a damaged one. Metadata, which no data segment has, stay in the log
        until a dump has them: a lost catalog is rebuilt from dump and log."""
        if self._log.bytes_kept > self._settings.log_file_bytes:
            self._trim_always()

    def _trim_always(self) -> None:
        if self._metadata.bytes_since_dump and self._metadata.failed is None:
            self.dump_metadata()
        with self._metadata.lane:  # a meta op may be published and not yet in the catalog
            if self._metadata.failed is not None:
                return
            last = min(self._log.sync(), self._log.published_seq)
            if self._metadata.bytes_since_dump:
                last = min(last, self._metadata.dumped_seq)
        with self._slots.publish_lock:
            needed = [_needed_seq(slot) for slot in self._slots.dirty.values()]
            needed += [slot.needed_seq for slot in self.records.dirty_now()]
            needed += [slot.needed_seq for slot in self.points.dirty_now()]
        held = [seq for need in self.needs if (seq := need()) is not None]
        seq = min([last, *(first - 1 for first in needed), *held])
        delta = CatalogDelta(self._epoch)
        delta.puts += (bulk := self._sealer.unpublished())
        delta.puts += (bulk_points := self.points.sealer.unpublished())
        delta.meta_applied_seq = seq
        self._catalog.commit(delta)
        self._sealer.published(bulk)
        self.points.sealer.published(bulk_points)
        self._log.trim(seq)

    def shed_log(self) -> None:
        """At a clean close with nothing left unflushed: the next opening has nothing to read. Unflushed changes keep
        the log as it is."""
        unflushed = self._slots.dirty or self.records.dirty or self.points.dirty
        if unflushed or self._log.bytes_kept <= SHED_BYTES:
            return
        with self._run_lock:
            self._log.rotate()
            self._trim_always()

    def _dump_metadata(self) -> None:
        bytes_changed = self._metadata.bytes_since_dump
        overdue = bytes_changed and self._clock.wall_us() - self._dumped_us > META_DUMP_US
        if bytes_changed > META_DUMP_BYTES or overdue:
            self.dump_metadata()

    def dump_metadata(self) -> None:
        """All meta tables into a segment of their own; earlier dumps are deleted."""
        with self._metadata.lane:
            with self._catalog.snapshot() as snapshot:
                data = metafile.dump(snapshot)
                seq = snapshot.database().meta_applied_seq
                older = [row for row in snapshot.segments() if row.kind == "meta"]
            row = self._write_dump(data, seq)
            delta = CatalogDelta(self._epoch)
            delta.puts.append(row)
            delta.deletes += [("segment", segment.id) for segment in older]
            self._catalog.commit(delta)
            self._metadata.dumped(seq)
        self._dumped_us = self._clock.wall_us()
        for segment in older:
            self._blobs.delete(segment.name)

    def _write_dump(self, data: bytes, seq: int) -> SegmentRow:
        id = self._sealer.segment_id()
        name = segment_name("meta", id)
        writer = SegmentWriter(self._blobs, name, id=id, kind="meta", database_id=self._database_id, epoch=self._epoch)
        try:
            offset, length, crc = writer.append(data)
            writer.section(
                object_id=0,
                uuid=bytes(16),
                first_time=0,
                last_time=0,
                min_seq=0,
                max_seq=seq,
                version=0,
                live=0,
                directory=DUMP_PLACE.pack(offset, length, crc),
            )
            size = writer.finish()
        except BaseException:
            writer.abort()
            raise
        return SegmentRow(id, "meta", name, size, size, 0, seq, self._epoch, "live")

    def delete_retired(self) -> None:
        """Files of segments that were replaced and that nobody reads any more."""
        ids = self._leases.deletable()
        if not ids:
            return
        with self._catalog.snapshot() as snapshot:
            rows = [row for id in ids if (row := snapshot.segment(id)) is not None]
        delta = CatalogDelta(self._epoch)
        try:
            for row in rows:
                if row.kind == "payload":
                    self.records.delete_file(row.id)
                elif row.kind == "points":
                    self._blobs.delete(row.name)
                    self.points.forget_segment(row.id)
                else:
                    self._blobs.delete(row.name)
                    self._read.drop(row.id)
                delta.deletes.append(("segment", row.id))
        finally:  # one that a sick disk keeps is swept when the database is opened
            if delta.deletes:
                self._catalog.commit(delta)


def _tell_of_disk(full: bool) -> None:
    import logging  # 10 ms that only this case pays

    log = logging.getLogger("lamina")
    if full:
        log.warning("the disk is full: writes are refused until what is in memory could be sealed")
    else:
        log.warning("the disk has room again: writes are taken")


def _needed_seq(slot: Slot) -> int:
    """The oldest op that a stream needs from the log."""
    state = slot.state
    seqs = [state.needed_seq] if state.stages else []
    if slot.root_unpublished:
        seqs.append(state.flushed.seq)
    return min(seqs)

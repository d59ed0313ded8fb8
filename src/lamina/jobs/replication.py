"""One replication: takes changes into its queue, and sends them from there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lamina.engine.records.record import SMALL, Record
from lamina.errors import Corrupt, LaminaError, NotFound
from lamina.jobs.diagnostics import Diagnostics
from lamina.jobs.feed import Published
from lamina.jobs.queue import Change, ChangeQueue, Queued
from lamina.jobs.replication_settings import ReplicationSettings
from lamina.jobs.selection import Selection
from lamina.jobs.sender import CONNECTION_ERROR, Destination, Failure, Outgoing, Sender, SenderFactory, Unreachable
from lamina.records import ops
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.entry_slot import EntrySlot

log = logging.getLogger("lamina.jobs")

PEEK = 1000
"""Changes looked at together: those of one entry travel in one batch, however they are interleaved."""

BATCH_RECORDS, BATCH_BYTES, BATCH_HEADER_BYTES = 80, 8_000_000, 250_000
"""Of one request: an answer with an error header for each of 80 records, and every server takes so much (1.6, 8.4).
A larger record travels alone."""

NS_PER_S = 1_000_000_000

STOP_S = 5.0
"""A worker that is asking for an address cannot be interrupted; it does nothing any more when it comes back."""

IDLE_S = 60.0
"""A worker without work looks again after so long; it is woken when there is some."""


class Counts(NamedTuple):
    """What was done since it was last asked (contract 16)."""

    written: int
    failed: int
    size: int  # bytes of content
    duration_s: float  # of sending


class Replication:
    """`take` belongs to the thread that drains the feed, `run_once` to the worker; the rest is thread-safe."""

    def __init__(
        self,
        db: Database,
        name: str,
        settings: ReplicationSettings,
        queue: ChangeQueue,
        connect: SenderFactory,
        timeout_s: float,
        provisioned: bool,
    ) -> None:
        self.name = name
        self.settings = settings
        self.queue = queue
        self.provisioned = provisioned
        self.diagnostics = Diagnostics(db.clock)
        self.looked = queue.taken  # seq up to which published changes were looked through
        self.told = queue.taken  # of which the catalog knows, or less
        self._db = db
        self._connect = connect
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._selection = Selection(settings)
        self._unwritten: list[Change] = []  # taken, but the queue could not be written
        self._active = True
        self._sender: Sender | None = None
        self._destination: Destination | None = None
        self._prepared = False
        self._retry_ns = 0  # not before
        self._through: set[int] = set()  # positions among the first of the queue that need not be sent again
        self._counts_lock = threading.Lock()  # guards _counts
        self._counts = Counts(0, 0, 0, 0.0)
        self._wake = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None

    @property
    def active(self) -> bool:
        """Whether the destination could be reached last; true before the first attempt, false if disabled."""
        return self._active and self.settings.mode != "disabled"

    @property
    def pending(self) -> int:
        return self.queue.pending + len(self._unwritten)

    @property
    def failed(self) -> OSError | None:
        """Why no changes are taken any more until the database is opened again; they stay in the log."""
        return self.queue.failed

    def change(self, settings: ReplicationSettings) -> None:
        """Go on with other settings; the feed must not be drained meanwhile."""
        self.settings = settings
        self._selection = Selection(settings)
        self._retry_ns = 0
        self._wake.set()

    # -- taking --------------------------------------------------------------------------------------------------

    def take(self, published: Sequence[Published], seq: int) -> None:
        """Queue what is selected of the changes up to a seq. Never raises: what cannot be written is tried again."""
        if self.settings.mode == "disabled":
            return
        for change in published:
            if change.seq <= self.looked:
                continue
            self.looked = change.seq
            for i in self._selection.pick(change):
                self._unwritten.append(
                    Change(change.seq, change.times[i], change.entry.id, change.kind, change.gone[i])
                )
        self.looked = max(self.looked, seq)
        if self._unwritten:
            self.note()

    def note(self) -> None:
        """Write down what was taken and how far the log was looked through. Never raises."""
        try:
            self.queue.add(self._unwritten, self.looked)
        except OSError as error:
            log.error("replication %s: its queue cannot be written: %s", self.name, error)
            return
        if self._unwritten:
            self._unwritten = []
            self._wake.set()

    def sync(self) -> None:
        """Make the queue durable. Never raises."""
        try:
            self.queue.sync()
        except OSError as error:
            log.error("replication %s: its queue cannot be made durable: %s", self.name, error)

    # -- sending -------------------------------------------------------------------------------------------------

    def run_once(self) -> bool:
        """Send the head of the queue; whether there may be more to send at once. Never raises for what a destination
        or damaged data can cause."""
        mode = self.settings.mode
        now = self._db.clock.monotonic_ns()
        if mode == "disabled" or now < self._retry_ns:
            return False
        try:
            sender = self._open_sender()
            if mode == "paused":
                self._retry_ns = now + self._timeout_ns  # the next look
                sender.reach()
                self._active = True
                return False
            batch = self._peek()
            if not batch:
                return False
            if not self._prepared:
                sender.prepare()
                self._prepared = True
            self._send(sender, batch)
            if self._stop:  # the queue may be closed: what it does not know is sent again
                return False
            self.queue.done(batch)
            self._through.clear()
            self._active = True
        except Unreachable as error:
            if not self._stop:
                self._lost(error)
            return False
        self._count(duration_ns=self._db.clock.monotonic_ns() - now)
        return True

    def _open_sender(self) -> Sender:
        wanted = self.settings.destination
        if self._sender is None or wanted != self._destination:
            if self._sender is not None:
                self._sender.close()
            self._sender = self._connect(wanted)
            self._destination = wanted
            self._prepared = False
        return self._sender

    def _lost(self, error: Unreachable) -> None:
        """The queue stays; try again later."""
        if self._active:
            log.warning("replication %s: destination not reachable: %s", self.name, error)
        self._active = False
        self._prepared = False
        self._retry_ns = self._db.clock.monotonic_ns() + self._timeout_ns
        self.diagnostics.errored(error.code, str(error))

    def _peek(self) -> list[Queued]:
        try:
            return self.queue.peek(PEEK)
        except (OSError, Corrupt) as error:
            log.error("replication %s: its queue cannot be read: %s", self.name, error)
            raise Unreachable(CONNECTION_ERROR, "the queue cannot be read") from error

    def _send(self, sender: Sender, batch: Sequence[Queued]) -> None:
        by_entry: dict[int, list[Queued]] = {}
        for queued in batch:
            if queued.position not in self._through:
                by_entry.setdefault(queued.change.entry, []).append(queued)
        for id, mine in by_entry.items():
            slot = self._db.records.slots.get(id)
            if slot is not None and not slot.dead:
                self._send_entry(sender, slot, mine)
            self._through.update(queued.position for queued in mine)

    def _send_entry(self, sender: Sender, slot: EntrySlot, mine: Sequence[Queued]) -> None:
        """Updates first; what the destination does not take as an update goes as a write of the whole record."""
        target = self.settings.target(slot.name)
        writes = {queued.change.time_us for queued in mine if queued.change.kind == ops.APPEND}
        gone: dict[int, set[str]] = {}
        for queued in mine:
            if queued.change.kind == ops.LABELS:
                gone.setdefault(queued.change.time_us, set()).update(queued.change.gone)
        for updates in _portions(self._records(slot, sorted(gone))):
            changes = [(record.time_us, _changes(record, gone[record.time_us])) for record in updates]
            failed = sender.update(target, changes)
            writes.update(failed)
            taken = [record for record in updates if record.time_us not in failed and record.time_us not in writes]
            self._went_through(len(taken), 0)
        for records in _portions(self._records(slot, sorted(writes))):
            self._write(sender, target, records)

    def _records(self, slot: EntrySlot, times: Sequence[int]) -> Iterator[Record]:
        """Those that still exist, as they are now."""
        entry = slot.bucket.entry(slot.name)
        for time_us in times:
            try:
                yield entry.read(time_us)
            except NotFound:
                continue
            except LaminaError as error:
                self._refused({time_us: Failure(500, str(error))})

    def _write(self, sender: Sender, target: str, records: Sequence[Record]) -> None:
        try:
            failed = sender.write(target, [_outgoing(record) for record in records])
        except LaminaError as error:  # one of the contents cannot be read
            if len(records) > 1:
                for record in records:
                    self._write(sender, target, [record])
            elif not isinstance(error, NotFound):  # else it was removed meanwhile
                self._refused({records[0].time_us: Failure(500, str(error))})
            return
        self._refused(failed)
        taken = [record.size for record in records if record.time_us not in failed]
        self._went_through(len(taken), sum(taken))

    def _went_through(self, count: int, size: int) -> None:
        if count:
            self.diagnostics.ok(count)
            self._count(written=count, size=size)

    def _refused(self, failed: Mapping[int, Failure]) -> None:
        """Counted and dropped (contract 14)."""
        for failure in failed.values():
            self.diagnostics.errored(failure.status, failure.message)
        self._count(failed=len(failed))

    def _count(self, *, written: int = 0, failed: int = 0, size: int = 0, duration_ns: int = 0) -> None:
        with self._counts_lock:
            before = self._counts
            self._counts = Counts(
                before.written + written,
                before.failed + failed,
                before.size + size,
                before.duration_s + duration_ns / NS_PER_S,
            )

    def take_counts(self) -> Counts:
        with self._counts_lock:
            counts, self._counts = self._counts, Counts(0, 0, 0, 0.0)
        return counts

    # -- its thread ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Send on a thread of its own; idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lamina-replication", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._stop:
            self._wake.clear()
            try:
                while not self._stop and self.run_once():
                    pass
            except LaminaError as error:  # the database is closing
                log.warning("replication %s: %s", self.name, error)
            if self._stop:
                return
            left_s = (self._retry_ns - self._db.clock.monotonic_ns()) / NS_PER_S
            self._db.clock.wait(self._wake, left_s if left_s > 0 else IDLE_S)

    def stop(self) -> None:
        """End the thread, also within a call; idempotent. What is queued stays."""
        self._stop = True
        self._wake.set()
        sender = self._sender
        if sender is not None:
            sender.close()
        if self._thread is not None:
            self._thread.join(STOP_S)


def _changes(record: Record, gone: set[str]) -> dict[str, str]:
    """What makes labels over there what they are here. A label without text only comes with its record and is left as
    it is: in an update that would mean to take it off."""
    return dict.fromkeys(gone, "") | {name: value for name, value in record.labels if value}


def _portions(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Batches; what is read is bounded by one batch."""
    portion: list[Record] = []
    size = header_bytes = 0
    for record in records:
        described = 64 + len(record.content_type) + sum(len(n) + 3 * len(v) + 4 for n, v in record.labels)
        full = size + record.size > BATCH_BYTES or header_bytes + described > BATCH_HEADER_BYTES
        if portion and (full or len(portion) >= BATCH_RECORDS):
            yield portion
            portion, size, header_bytes = [], 0, 0
        portion.append(record)
        size += record.size
        header_bytes += described
    if portion:
        yield portion


def _outgoing(record: Record) -> Outgoing:
    """Small contents are read now, so that one that is damaged does not break a request off."""
    if record.size <= SMALL:
        content: Buffer = record.read()
        return Outgoing(record.time_us, record.size, record.content_type, record.labels, lambda: iter((content,)))
    return Outgoing(record.time_us, record.size, record.content_type, record.labels, record.chunks)

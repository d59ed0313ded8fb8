"""All replications of a database: management, and the thread that takes published changes into their queues.

Nothing acknowledged is lost to a replication: a change is published, taken into the queue by `pump`, and the log is
kept from the last change on that is durable there (`needed_seq`). After a crash recovery tells which ops those were.
Make it right after the database was opened: what is written in between is not heard of.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.catalog.rows import ReplicationRow
from lamina.engine.metadata import Change
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, LaminaError, NotFound
from lamina.jobs.feed import Feed, Published, read_again
from lamina.jobs.members import JOBS, check_name, chosen
from lamina.jobs.queue import ChangeQueue, delete_others
from lamina.jobs.replication import Replication
from lamina.jobs.replication_settings import MODES, ReplicationSettings
from lamina.jobs.sender import SenderFactory

if TYPE_CHECKING:
    from lamina.catalog.catalog import CatalogSnapshot
    from lamina.engine.database import Database

log = logging.getLogger("lamina.jobs")

PUMP_S = 0.02
"""Changes are gathered so long before they go into the queues: a write to each queue takes some 20 µs."""

IDLE_S = 1.0
SYNC_NS = 1_000_000_000
"""Queues are made durable every second: so much of the log is read again after a crash."""

MARK_OPS, MARK_NS = 1000, 10 * 1_000_000_000
"""Where nothing concerns a replication its queue says how far the log was looked through after so many ops, or so
long: the log is kept up to there."""

CATALOG_OPS = 50_000
"""The catalog says so, too, after so many: what recovery remembers of the log stays small (37 bytes an op)."""


class Replications:
    """Implements the face's protocol of managed jobs. Thread-safe."""

    def __init__(
        self, db: Database, connect: SenderFactory, *, own_port: int, timeout_s: float = 5.0, log_size: int = 1_000_000
    ) -> None:
        """`own_port`: where this server listens. `timeout_s`: between attempts. `log_size`: changes kept per entry of
        a source while its destination is away. Raises OSError, Corrupt."""
        self._db = db
        self._connect = connect
        self._own_port = own_port
        self._timeout_s = timeout_s
        self._log_size = log_size
        self._lock = threading.RLock()  # guards what follows; held while changes are taken, before the metadata lane
        self._tasks: dict[str, Replication] = {}  # replaced as a whole
        self._started = False
        self._closed = False
        self._synced_ns = self._marked_ns = db.clock.monotonic_ns()
        self._feed = Feed()
        self._thread: threading.Thread | None = None
        db.upkeep.needs.append(self.needed_seq)
        publisher = db.records.publisher
        publisher.feeds = (*publisher.feeds, self._feed)
        self._load()

    def _load(self) -> None:
        db = self._db
        with db.catalog.snapshot() as snapshot:
            rows = list(snapshot.replications())
        settings = {row.name: ReplicationSettings.of(row.settings, row.settings["id"]) for row in rows}
        delete_others(db.files, {each.id for each in settings.values()})
        self._listen(settings.values())
        published = db.barrier()
        replayed, db.records.replayed = db.records.replayed, []
        tasks = {row.name: self._open(row, settings[row.name], published) for row in rows}
        active = [task for task in tasks.values() if task.settings.mode != "disabled"]
        kept_from = published + 1 - db.records.log.ops_kept
        for task in active:
            if task.looked + 1 < kept_from:  # its queue was damaged, or nobody minded it while the database was open
                log.error(
                    "replication %s: changes %d to %d may be missing: they are neither in its queue nor in the log",
                    task.name, task.looked + 1, kept_from - 1,
                )  # fmt: skip
        if active:
            for name in self._feed.sources:
                bucket = db.buckets.find(name)
                if bucket is not None:
                    bucket.load_now()
            first = min(task.looked for task in active)
            missed = list(read_again(db.records, replayed, first))
            for task in active:
                task.take(missed, published)
        self._tasks = tasks

    def _open(self, row: ReplicationRow, settings: ReplicationSettings, published: int) -> Replication:
        db = self._db
        queue = ChangeQueue(db.files, settings.id, self._log_size, row.queue_seq, published)
        for line in queue.damage:
            log.error("replication %s: %s", row.name, line)
        return Replication(db, row.name, settings, queue, self._connect, self._timeout_s, row.provisioned)

    def _listen(self, settings: Iterable[ReplicationSettings]) -> None:
        self._feed.sources = frozenset(each.src_bucket for each in settings if each.mode != "disabled")

    # -- management ----------------------------------------------------------------------------------------------

    def list(self) -> Sequence[Mapping[str, Any]]:
        """By name."""
        return [self._info(task) for _, task in sorted(self._tasks.items())]

    def get(self, name: str) -> Mapping[str, Any]:
        """`info`, `settings` (the token is null), `diagnostics`. Raises NotFound."""
        task = self._task(name)
        return {
            "info": self._info(task),
            "settings": task.settings.shown(),
            "diagnostics": {"hourly": task.diagnostics.hourly()},
        }

    def _info(self, task: Replication) -> dict[str, Any]:
        return {
            "name": task.name,
            "mode": task.settings.mode,
            "is_active": task.active,
            "is_provisioned": task.provisioned,
            "pending_records": task.pending,
        }

    def _task(self, name: str) -> Replication:
        task = self._tasks.get(name)
        if task is None:
            raise NotFound(f"Replication '{name}' does not exist")
        return task

    def create(self, name: str, settings: Mapping[str, Any], *, provisioned: bool = False) -> None:
        """Replicate what is written from now on; durable when it returns. Raises InvalidArgument, AlreadyExists,
        NotFound (source bucket), Unavailable, NoSpace, OSError."""
        check_name(name)
        checked = ReplicationSettings.of(settings, self._db.random.token_bytes(8).hex())
        with self._lock:
            if name in self._tasks:
                raise AlreadyExists(f"Replication '{name}' already exists")
            if len(self._tasks) >= JOBS:
                raise InvalidArgument(f"{len(self._tasks)} replications: at most {JOBS} are allowed")
            self._check(name, checked)
            self._listen([*(task.settings for task in self._tasks.values()), checked])
            try:
                row = ReplicationRow(name, _kept(checked), provisioned, self._db.barrier())
                task = self._open(row, checked, row.queue_seq)
                self._db.metadata.put([row])
            except BaseException:
                self._listen(task.settings for task in self._tasks.values())
                raise
            self._tasks = {**self._tasks, name: task}
            self._run(task)

    def _check(self, name: str, settings: ReplicationSettings) -> None:
        settings.check(name, self._own_port, lambda bucket: bucket in self._db.buckets)

    def update(self, name: str, settings: Mapping[str, Any]) -> None:
        """Replace all settings but a token that is null; diagnostics begin anew, the queue stays. Raises NotFound,
        Conflict (provisioned), and as `create`."""
        with self._lock:
            task = self._task(name)
            if task.provisioned:
                raise Conflict(f"Can't update provisioned replication '{name}'")
            self._replace(task, ReplicationSettings.of(settings, task.settings.id, task.settings.dst_token))
            task.diagnostics.restart()

    def set_mode(self, name: str, mode: str) -> None:
        """Also of a provisioned one. Raises NotFound, InvalidArgument."""
        with self._lock:
            task = self._task(name)
            changed = task.settings._replace(mode=chosen("mode", mode, MODES))
            self._replace(task, changed, check=False)

    def _replace(
        self, task: Replication, settings: ReplicationSettings, *, check: bool = True, provisioned: bool | None = None
    ) -> None:
        """The lock is held, so nothing is taken meanwhile."""
        if check:
            self._check(task.name, settings)
        flag = task.provisioned if provisioned is None else provisioned
        if settings == task.settings and flag == task.provisioned:
            return
        others = [other.settings for other in self._tasks.values() if other is not task]
        self._pump()  # what was published so far goes by the settings that were
        self._listen([*others, task.settings, settings])
        begins = task.settings.mode == "disabled" and settings.mode != "disabled"
        seq = self._db.barrier()

        def decide(snapshot: CatalogSnapshot) -> Change:
            row = _row(snapshot, task.name)
            taken = max(row.queue_seq, seq) if begins else row.queue_seq
            return Change([row._replace(settings=_kept(settings), provisioned=flag, queue_seq=taken)])

        self._db.metadata.change(decide)
        if begins:  # what was written while it was disabled is not replicated
            task.looked = max(task.looked, seq)
            task.note()
            task.sync()
        task.provisioned = flag
        task.change(settings)
        self._listen([*others, settings])
        self._run(task)

    def remove(self, name: str) -> None:
        """With its queue. Raises NotFound, Conflict (provisioned)."""
        with self._lock:
            task = self._task(name)
            if task.provisioned:
                raise Conflict(f"Can't remove provisioned replication '{name}'")
            self._db.metadata.delete("replication", name)
            self._tasks = {other: held for other, held in self._tasks.items() if other != name}
            self._listen(other.settings for other in self._tasks.values())
        task.stop()
        try:
            task.queue.delete()
        except OSError as error:  # it goes when the database is opened next
            log.warning("replication %s: its queue stays for now: %s", name, error)

    def provision(self, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Have exactly these provisioned: missing ones are made, others become ordinary ones. A mode that was set
        stays unless another is given. Raises as `create`."""
        with self._lock:
            for name, settings in wanted:
                task = self._tasks.get(name)
                if task is None:
                    self.create(name, settings, provisioned=True)
                    continue
                members = {"mode": task.settings.mode} | dict(settings)
                self._replace(task, ReplicationSettings.of(members, task.settings.id), provisioned=True)
            names = {name for name, _ in wanted}
            for name, task in self._tasks.items():
                if task.provisioned and name not in names:
                    self._replace(task, task.settings, check=False, provisioned=False)

    # -- taking changes in ---------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take in what was published. Raises Unavailable if the catalog cannot be changed."""
        with self._lock:
            if not self._closed:
                self._pump()

    def _pump(self) -> None:
        tasks = [task for task in self._tasks.values() if task.settings.mode != "disabled"]
        published = self._db.records.log.published_seq  # first: all up to it is in the feed by now
        changes: Sequence[Published] = self._feed.drain()
        now = self._db.clock.monotonic_ns()
        marking = now - self._marked_ns >= MARK_NS
        if marking:
            self._marked_ns = now
        for task in tasks:
            task.take(changes, published)
            behind = task.looked - task.queue.taken
            if behind >= MARK_OPS or (marking and behind):
                task.note()
        if now - self._synced_ns >= SYNC_NS:
            self._synced_ns = now
            for task in self._tasks.values():
                task.sync()
            self._tell_catalog(tasks)

    def _tell_catalog(self, tasks: Sequence[Replication]) -> None:
        def decide(snapshot: CatalogSnapshot) -> Change:
            change = Change()
            for task in tasks:
                row = _row(snapshot, task.name)
                if task.queue.durable_taken - row.queue_seq >= CATALOG_OPS:
                    change.puts.append(row._replace(queue_seq=task.queue.durable_taken))
            return change

        if any(task.queue.durable_taken - task.told >= CATALOG_OPS for task in tasks):
            self._db.metadata.change(decide)
            for task in tasks:
                task.told = task.queue.durable_taken

    def needed_seq(self) -> int | None:
        """Above it the log is needed; None: not at all. Never waits: upkeep asks."""
        seqs = [task.queue.durable_taken for task in self._tasks.values() if task.settings.mode != "disabled"]
        return min(seqs, default=None)

    # -- threads -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take in and send on threads of their own. Idempotent."""
        with self._lock:
            if self._started:
                return
            self._started = True
            self._thread = threading.Thread(target=self._work, name="lamina-replication-queues", daemon=True)
            self._thread.start()
            for task in self._tasks.values():
                self._run(task)

    def _run(self, task: Replication) -> None:
        if self._started and task.settings.mode != "disabled":
            task.start()

    def _work(self) -> None:
        clock = self._db.clock
        pause = threading.Event()  # never set: the clock's way to sleep
        while not self._closed:
            clock.wait(self._feed.filled, IDLE_S)
            try:
                self.pump()
            except LaminaError as error:
                log.warning("replications: %s", error)
            clock.wait(pause, PUMP_S)

    def close(self) -> None:
        """Stop sending; everything published so far is in the queues then, durably if the disk lets it. Call before
        the database is closed. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._feed.filled.set()
        if self._thread is not None:
            self._thread.join()
        for task in self._tasks.values():
            task.stop()
        with self._lock:
            self._pump()
            publisher = self._db.records.publisher
            publisher.feeds = tuple(feed for feed in publisher.feeds if feed is not self._feed)
            for task in self._tasks.values():
                if task.looked != task.queue.taken:
                    task.note()
                task.sync()
                task.queue.close()
            if all(task.queue.durable_taken == task.queue.taken for task in self._tasks.values()):
                upkeep = self._db.upkeep  # of a database that others go on with: its log is not kept for these queues
                upkeep.needs = [need for need in upkeep.needs if need != self.needed_seq]

    def tasks(self) -> Sequence[Replication]:
        """By name."""
        return [task for _, task in sorted(self._tasks.items())]


def _kept(settings: ReplicationSettings) -> dict[str, Any]:
    return settings._asdict()


def _row(snapshot: CatalogSnapshot, name: str) -> ReplicationRow:
    return next(row for row in snapshot.replications() if row.name == name)

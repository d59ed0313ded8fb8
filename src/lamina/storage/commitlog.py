"""The commit log: submissions are queued, made durable in groups, numbered, and published in order.

Whoever holds the *commit role* runs groups. Embedded (`inline`), the first waiting thread takes the role and
the others follow: a hand-off to a thread of our own would cost more than the write. In a server one committer
thread does it, and in `os` mode the event loop where that is quickly done (`commit_here`). Another thread, the
keeper, does what nobody waits for.

Numbered invariants, cited by tests:
 1. A ticket succeeds only after its frame is durable (in `os` mode: written) and published.
 2. Seqs of published groups are dense and in the order of the queue.
 3. A group is in `_group` before it has an effect and until it is complete. So whoever takes the role next
    finishes what an interrupt (Ctrl-C) left behind: no acknowledgement is lost.
 4. After a failed write or sync nothing is written any more (poisoned); a sync is never retried.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from lamina.errors import Closed, NoSpace, NotFound, TooBig, Unavailable
from lamina.random import Random
from lamina.settings import MIB, Settings
from lamina.storage import recovery
from lamina.storage.files import Files
from lamina.storage.groupwriter import Group, GroupWriter, Submission
from lamina.storage.log import Damage, Op, ReplayFrame, Sink, Ticket
from lamina.storage.logfile import MAX_BODY, MAX_OP, op_length
from lamina.storage.logfolder import LogFolder
from lamina.time import Clock

GROUP_BYTES = 8 * MIB  # a group closes here: some 10 ms of writing, so that the first need not wait for the last
SYNC_BYTES = 64 * MIB  # "os": sync early, so that no sync is long
IDLE_S = 0.1  # after a sync: until the mark that proves the last frame
SPACE_BYTES, SPACE_NS = 8 * MIB, 1_000_000_000  # how often free space is looked at
BACKSTOP_S = 0.25  # a follower looks for itself: an interrupt may have swallowed its wake-up
NEAR = 64  # how far down the queue a leader looks for a thread to hand on to
HERE_BYTES = 128 << 10  # commit_here: more is more than a quick copy into the page cache
SLOW_NS, REST_NS = 20_000_000, 1_000_000_000  # after one that took so long, the committer does it for a while,
LONGEST_REST = 64  # for twice as long each time that the next is as slow, up to so many times


class CommitTicket(Submission):
    """One submission on its way; implements `Ticket`."""

    __slots__ = ("_log", "calls", "done", "event", "seq")

    def __init__(self, log: CommitLog, ops: Sequence[Op], size: int) -> None:
        super().__init__(ops, size)
        self.seq = 0
        self.done = False
        self.event: threading.Event | None = None  # of a thread that waits
        self.calls: list[Callable[[Ticket], None]] = []
        self._log = log

    @property
    def error(self) -> BaseException | None:
        return self.failure if self.done else None

    def wait(self, timeout_s: float | None = None) -> None:
        if not self.done:
            self._log._await(self, timeout_s)
        if self.failure is not None:
            raise self.failure

    def add_done_callback(self, call: Callable[[Ticket], None]) -> None:
        self._log._add_callback(self, call)

    def commit_here(self) -> bool:
        return self.done or self._log._commit_here(self)


def called_back(call: Callable[[Ticket], None], ticket: CommitTicket) -> None:
    """Call; its errors are its own, neither the log's nor those of who commits or asks."""
    try:
        call(ticket)
    except Exception:
        import logging  # 10 ms that only this case pays

        logging.getLogger("lamina").exception("a callback of the commit log failed")


def _tell_of_space(free: int, reserve: int) -> None:
    import logging  # as above

    log = logging.getLogger("lamina")
    if free < reserve:
        log.warning("writes are refused: %d bytes free, settings.min_free wants %d", free, reserve)
    else:
        log.warning("writes are taken again: %d bytes free", free)


class CommitLog:
    """`Log` on files in the folder `log`. Thread-safe.

    The sink's `number` is called again, with the same seq, for a submission whose first call an interrupt hit.
    """

    def __init__(
        self,
        folder: LogFolder,
        found: recovery.Recovered,
        sink: Sink,
        settings: Settings,
        clock: Clock,
        inline: bool,
        before_sync: Callable[[], None] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._inline = inline
        self._relaxed = settings.durability == "os"
        self._group_bytes = 0 if settings.durability == "strict" else GROUP_BYTES
        self._writer = GroupWriter(
            folder,
            sink,
            next_seq=found.next_seq,
            proven_seq=found.proven_seq,
            sync_each=not self._relaxed,
            before_sync=before_sync,
        )
        self._found: recovery.Recovered | None = found
        self._damage: list[Damage] = []

        self._role = threading.Lock()  # the commit role; guards `_writer` and the completion of `_group`
        self._group: tuple[Group, list[CommitTicket]] | None = None

        self._lock = threading.Lock()  # guards the queue, what tickets tell, and the threads' states
        self._room = threading.Condition(self._lock)
        self._queue: deque[CommitTicket] = deque()
        self._queued_bytes = 0
        self._queued_ops = 0
        self._blocked = 0
        self._closing = False
        self._closed = False
        self._poisoned: BaseException | None = None

        self._committer: threading.Thread | None = None
        self._committer_idle = False
        self._work = threading.Event()
        self._keeper: threading.Thread | None = None
        self._keeper_idle = False
        self._stranded = False  # somebody's group has no thread: the keeper commits it
        self._wake = threading.Event()

        self._slow_until_ns, self._rest_ns = 0, REST_NS  # the disk made a thread wait that must not
        self._low_on_space = False
        self._unchecked_bytes = 0
        self._checked_ns = clock.monotonic_ns() - SPACE_NS

    @classmethod
    def open(
        cls,
        files: Files,
        *,
        database_id: bytes,
        epoch: int,
        applied_seq: int,
        sink: Sink,
        settings: Settings,
        clock: Clock,
        random: Random,
        inline: bool,
        before_sync: Callable[[], None] | None = None,
    ) -> CommitLog:
        """Recover what is in the folder `log`; then `replay`, then `submit`.

        `applied_seq` is the largest seq the catalog has durably applied: what is missing up to it is damage.
        `database_id` has 16 bytes. Starts no thread and creates no file. Raises Corrupt (another database, a
        later epoch), UnknownFormat.

        `before_sync` makes durable what ops that were acknowledged unsynced refer to (`os` mode: payload files); it is
        called, on any thread, before the log says of them that they are. It raises OSError, as a failed sync.
        """
        folder = LogFolder(files, database_id, epoch, settings.log_file_bytes, random)
        return cls(folder, recovery.recover(folder, applied_seq), sink, settings, clock, inline, before_sync)

    def replay(self, after: int) -> Iterator[ReplayFrame]:
        """One ReplayFrame for each unbroken run of ops of a file, so that a caller can work on whole files at a
        time; its `body` is the file. `damage` is complete when the iterator is exhausted."""
        found, self._found = self._found, None
        if found is not None and found.missing is not None:
            self._damage.append(found.missing)
        return recovery.replay(self._folder, after, found.last if found is not None else None, self._damage)

    @property
    def damage(self) -> Sequence[Damage]:
        return tuple(self._damage)

    @property
    def published_seq(self) -> int:
        return self._writer.published_seq

    @property
    def durable_seq(self) -> int:
        """Everything up to it survives a loss of power."""
        return self._writer.durable_seq

    @property
    def proven_seq(self) -> int:
        """Everything up to it is said to be durable by a frame; what is behind may never have been synced."""
        return self._writer.marked_seq

    @property
    def bytes_kept(self) -> int:
        return self._folder.bytes_kept

    @property
    def ops_kept(self) -> int:
        """Seqs from the first kept file to the end."""
        files = self._folder.files
        return self._writer.next_seq - files[0].header.first_seq if files else 0

    @property
    def poisoned(self) -> BaseException | None:
        return self._poisoned

    # Submitting

    def submit(self, ops: Sequence[Op], *, essential: bool = False) -> CommitTicket:
        """See `Log.submit`. Only queues. `essential`: needed to free space, so accepted below the reserve."""
        size = 0
        for op in ops:
            length = op_length(op)
            if length > MAX_OP:
                raise TooBig(f"op of {length} bytes: at most {MAX_OP}")
            size += length
        if not ops or size > MAX_BODY:
            raise TooBig(f"{len(ops)} ops of {size} bytes in one submission: expected 1 or more, <= {MAX_BODY} bytes")
        if not essential and self._settings.min_free:
            self._check_space(size)
        ticket = CommitTicket(self, ops, size)
        with self._lock:
            self._check_open()
            if self._queue and self._is_full(ticket):
                self._wait_for_room(ticket)
            self._queue.append(ticket)
            self._queued_bytes += size
            self._queued_ops += len(ops)
        return ticket

    def _check_open(self) -> None:
        if self._poisoned is not None:
            raise self._unavailable()
        if self._closing:
            raise Closed("the log is closed")

    def _unavailable(self) -> Unavailable:
        error = Unavailable(f"writing stopped after a failure: {self._poisoned!r}")
        error.__cause__ = self._poisoned
        return error

    def _is_full(self, ticket: CommitTicket) -> bool:
        return (
            self._queued_bytes + ticket.size > self._settings.queue_bytes
            or self._queued_ops + len(ticket.ops) > self._settings.queue_ops
        )

    def _wait_for_room(self, ticket: CommitTicket) -> None:
        """Holds `_lock` on entry and return."""
        self._blocked += 1
        try:
            while self._queue and self._is_full(ticket):
                self._call_somebody()  # maybe nobody waits for what is queued
                self._room.wait()
                self._check_open()
        finally:
            self._blocked -= 1

    def _check_space(self, size: int) -> None:
        self._unchecked_bytes += size
        now = self._clock.monotonic_ns()
        if self._low_on_space or self._unchecked_bytes >= SPACE_BYTES or now - self._checked_ns >= SPACE_NS:
            self._unchecked_bytes = 0
            self._checked_ns = now
            free, total = self._folder.medium.free_bytes()
            reserve = self._settings.reserve(total)
            before, self._low_on_space = self._low_on_space, free < reserve
            if self._low_on_space != before:
                _tell_of_space(free, reserve)
            if self._low_on_space:
                raise NoSpace(f"{free} bytes free: writing needs {reserve} (settings.min_free)")

    # Waiting

    def _await(self, ticket: CommitTicket, timeout_s: float | None) -> None:
        """Return when the ticket is done: by leading, or by following whoever leads."""
        deadline = 0 if timeout_s is None else self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not ticket.done:
            if self._inline and not self._role.locked():
                self._lead(ticket)
                continue
            with self._lock:
                event = ticket.event
                if event is None:
                    event = ticket.event = threading.Event()
                # Looked at under the lock: a leader that goes looks for waiting threads after it gave the role up.
                if ticket.done or (self._inline and not self._role.locked()):
                    continue
                if not self._inline:
                    self._call_committer()
            left = BACKSTOP_S
            if timeout_s is not None:
                left = min(left, (deadline - self._clock.monotonic_ns()) / 1e9)
                if left <= 0:
                    raise Unavailable(f"not committed within {timeout_s} s; it may still be")
            if self._clock.wait(event, left):
                event.clear()

    def _commit_here(self, ticket: CommitTicket) -> bool:
        """See `Ticket.commit_here`. To wake the committer, and be woken, takes longer than a small write."""
        began = self._clock.monotonic_ns()
        if not self._relaxed or self._queued_bytes > HERE_BYTES or began < self._slow_until_ns:
            return False
        if self._role.acquire(blocking=False):
            try:
                if self._take_little():
                    self._run_group()
            except BaseException:
                with self._lock:
                    self._call_somebody()  # invariant 3
                raise
            finally:
                self._role.release()
            if self._inline and self._queue:
                self._hand_on()
            ended = self._clock.monotonic_ns()
            if ended - began > SLOW_NS:
                self._slow_until_ns = ended + self._rest_ns
                self._rest_ns = min(2 * self._rest_ns, LONGEST_REST * REST_NS)
            else:
                self._rest_ns = REST_NS
        return ticket.done

    def _take_little(self) -> bool:
        """Make what is queued the group, if it is little and goes into the file there is: to begin one means to sync
        the one before."""
        with self._lock:
            size = self._queued_bytes
            if self._group is not None or not self._queue or size > HERE_BYTES or not self._writer.has_room(size):
                return False
            self._group = self._next_group()
        return True

    def _lead(self, ticket: CommitTicket | None) -> None:
        """Take the role and commit until the ticket is done (None: until nothing is queued); then hand on."""
        try:
            with self._role:
                while (ticket is None or not ticket.done) and self._run_group():
                    pass
        except BaseException:
            with self._lock:
                self._call_keeper(stranded=True)  # invariant 3
            raise
        if self._queue:
            self._hand_on()

    def _hand_on(self) -> None:
        """Wake one thread that waits for something queued. Where none is near, whoever put it there is going to
        wait or has set a callback; the keeper is for those callbacks."""
        with self._lock:
            for ticket, _ in zip(self._queue, range(NEAR), strict=False):
                if ticket.event is not None:
                    ticket.event.set()
                    return
            if len(self._queue) > NEAR or any(ticket.calls for ticket in self._queue):
                self._call_keeper(stranded=True)

    def _add_callback(self, ticket: CommitTicket, call: Callable[[Ticket], None]) -> None:
        with self._lock:
            if not ticket.done:
                ticket.calls.append(call)
                self._call_somebody()  # nobody need be waiting
                return
        called_back(call, ticket)

    def barrier(self, timeout_s: float | None = None) -> int:
        with self._lock:
            group = self._group
            last = self._queue[-1] if self._queue else group[1][-1] if group is not None else None
        if last is not None:
            self._await(last, timeout_s)
        return self._writer.published_seq

    # Committing: under the role

    def _run_group(self) -> bool:
        """Finish the group that was left, or run the next; False if there is nothing to do."""
        if self._poisoned is not None:
            self._fail_all()
            return False
        with self._lock:
            if self._group is None:
                if not self._queue:
                    return False
                self._group = self._next_group()
            group, tickets = self._group
            self._unqueue(tickets)
        try:
            self._writer.run(group)
            self._complete(tickets)
            self._group = None
        except Exception as error:  # not an interrupt: that leaves the group to the next
            self._poison(error)
            self._fail_all()
            return False
        if self._keeper is None or self._keeper_idle:
            with self._lock:
                self._call_keeper()
        elif self._relaxed and self._writer.unsynced_bytes >= SYNC_BYTES:
            self._wake.set()
        return True

    def _next_group(self) -> tuple[Group, list[CommitTicket]]:
        tickets: list[CommitTicket] = []
        size = 0
        for ticket in self._queue:
            if tickets and size + ticket.size > self._group_bytes:
                break
            tickets.append(ticket)
            size += ticket.size
        return Group(tickets, size), tickets

    def _unqueue(self, tickets: Sequence[CommitTicket]) -> None:
        """Repeatable: takes only those that are still there. Holds `_lock`."""
        queue = self._queue
        for ticket in tickets:
            if queue and queue[0] is ticket:
                queue.popleft()
                self._queued_bytes -= ticket.size
                self._queued_ops -= len(ticket.ops)
        if not queue:
            self._queued_bytes = self._queued_ops = 0
        if self._blocked:
            self._room.notify_all()

    def _complete(self, tickets: Sequence[CommitTicket]) -> None:
        """Tell whoever waits. A callback that an interrupt hits is called again."""
        with self._lock:
            for ticket in tickets:
                if ticket.failure is None:
                    ticket.seq = ticket.first_seq
                ticket.done = True
        for ticket in tickets:
            if ticket.event is not None:
                ticket.event.set()
            while ticket.calls:
                called_back(ticket.calls[0], ticket)
                del ticket.calls[0]

    def _poison(self, error: BaseException) -> None:
        with self._lock:
            if self._poisoned is None:
                self._poisoned = error
            self._room.notify_all()

    def _fail_all(self) -> None:
        """Invariant 4: everything that waits fails. Repeatable."""
        with self._lock:
            tickets = [*(self._group[1] if self._group is not None else ()), *self._queue]
            for ticket in tickets:
                if not ticket.done and ticket.failure is None:
                    ticket.failure = self._unavailable()
        self._complete(tickets)
        with self._lock:
            self._group = None
            self._unqueue(tickets)

    # Threads

    def _call_somebody(self) -> None:
        """To commit what is queued. Holds `_lock`."""
        if self._inline:
            self._call_keeper(stranded=True)
        else:
            self._call_committer()

    def _call_committer(self) -> None:
        """Holds `_lock`."""
        if self._committer is None:
            thread = threading.Thread(target=self._commit_always, name="lamina-committer", daemon=True)
            thread.start()
            self._committer = thread
        elif self._committer_idle:
            self._committer_idle = False
            self._work.set()

    def _commit_always(self) -> None:
        while True:
            self._work.clear()
            self._drain()
            with self._lock:
                if self._queue:
                    continue
                if self._closing:
                    return
                self._committer_idle = True
            self._work.wait()

    def _drain(self) -> None:
        with self._role:
            while self._run_group():
                pass

    def _call_keeper(self, stranded: bool = False) -> None:
        """Holds `_lock`."""
        self._stranded = self._stranded or stranded
        if self._keeper is None:
            thread = threading.Thread(target=self._keep, name="lamina-log-keeper", daemon=True)
            thread.start()
            self._keeper = thread
        elif self._keeper_idle or stranded:
            self._wake.set()

    def _keep(self) -> None:
        """What nobody waits for: syncs of `os` mode, marks, and groups that have no thread."""
        while not self._closing or self._stranded:
            self._wake.clear()
            if self._stranded:
                self._stranded = False
                self._lead(None)
            elif self._is_unsynced():
                self._clock.wait(self._wake, self._settings.sync_interval_s)
                self._guard(self._writer.sync)
            elif self._is_unmarked():
                groups = self._writer.groups
                if not self._clock.wait(self._wake, IDLE_S) and groups == self._writer.groups:
                    self._guard(self._mark)
            else:
                self._keeper_idle = True
                if not (self._is_unsynced() or self._is_unmarked() or self._stranded or self._closing):
                    self._wake.wait()
                self._keeper_idle = False

    def _is_unsynced(self) -> bool:
        return self._relaxed and self._poisoned is None and self._writer.durable_seq < self._writer.written_seq

    def _is_unmarked(self) -> bool:
        return self._poisoned is None and self._writer.marked_seq != self._writer.durable_seq

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self._poison(error)
            self._drain()

    def _mark(self) -> None:
        with self._role:
            while self._run_group():
                pass
            if self._poisoned is None:
                self._writer.mark()
        if self._queue:  # somebody came while the role was held here
            self._hand_on()

    # Keeping and releasing

    def sync(self) -> int:
        """Make everything published so far durable; the seq up to which it is. Needed in `os` mode before a
        catalog transaction relies on published ops; costs nothing in the others. Raises Unavailable."""
        if self._poisoned is not None:
            raise self._unavailable()
        if self._writer.durable_seq < self._writer.published_seq:
            self._guard(self._writer.sync)
            if self._poisoned is not None:
                raise self._unavailable()
        return self._writer.durable_seq

    def read(self, position: int, length: int) -> bytes:
        if position + length > self._writer.published_end:
            end = self._writer.published_end
            raise NotFound(f"log position {position}, {length} bytes: published up to {end}")
        return self._folder.read(position, length)

    def rotate(self) -> None:
        """Go on in a new file, so that `trim` can free the present one. Does nothing while that holds no ops.
        Raises NoSpace, Unavailable."""
        with self._role:
            while self._run_group():
                pass
            self._check_open()
            try:
                self._writer.rotate()
            except OSError as error:
                self._poison(error)
                self._fail_all()
                raise self._unavailable() from error

    def trim(self, seq: int) -> None:
        try:
            self._folder.trim(min(seq, self._writer.published_seq))
        except OSError as error:
            raise Unavailable(f"trimming the log up to seq {seq} failed: {error}") from error

    def close(self) -> None:
        """Commit what was submitted, sync, release. Idempotent. Raises Unavailable if writing fails now; not for
        an earlier failure, which was told."""
        if self._closed:
            return
        told = self._poisoned
        with self._lock:
            self._closing = True
            self._room.notify_all()
        self.barrier()
        for thread, event in ((self._committer, self._work), (self._keeper, self._wake)):
            if thread is not None:
                event.set()
                thread.join()
        try:
            with self._role:
                while self._run_group():
                    pass
                if self._poisoned is None:
                    self._writer.finish()
        except OSError as error:
            self._poison(error)
        finally:
            self._folder.close()
            self._closed = True
        if self._poisoned is not told:
            raise self._unavailable()

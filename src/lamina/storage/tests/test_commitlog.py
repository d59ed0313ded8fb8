"""The commit log at work: groups, roles, rotation, failures. Invariants as numbered in commitlog.py."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lamina.errors import Closed, InvalidArgument, NoSpace, NotFound, Unavailable
from lamina.storage import commitlog
from lamina.storage.local import LocalFiles
from lamina.storage.log import Op, Ticket
from lamina.storage.memory import MemoryFiles
from lamina.storage.tests.openedlog import names, open_log, threads, until
from lamina.testing.clock import ManualClock
from lamina.testing.faulty import Call, FaultyFiles
from lamina.testing.log_contract import ListSink, LogContract, Opener, op, replayed
from lamina.testing.simulated import SimulatedFiles


class TestInline(LogContract):
    @pytest.fixture
    def opener(self) -> Opener:
        files = MemoryFiles()
        return lambda sink: open_log(files, sink)


class TestCommitterThread(LogContract):
    @pytest.fixture
    def opener(self) -> Opener:
        files = MemoryFiles()
        return lambda sink: open_log(files, sink, inline=False)


class TestStrict(LogContract):
    @pytest.fixture
    def opener(self) -> Opener:
        files = MemoryFiles()
        return lambda sink: open_log(files, sink, durability="strict")


class TestOnADiskWithSmallFiles(LogContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        files = LocalFiles(str(tmp_path))
        return lambda sink: open_log(files, sink, durability="os", log_file_bytes=1000)


def test_opening_starts_no_thread_and_creates_no_file() -> None:
    files = MemoryFiles()
    for inline in (True, False):
        before = threads()
        log = open_log(files, inline=inline)
        assert threads() == before
        assert log.barrier() == 0
        log.close()
        assert threads() == before
    assert names(files) == []


def test_one_waiter_commits_everything_queued_as_one_group_with_one_sync() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files)
    log.submit([op()]).wait()
    syncs = files.calls["sync"]
    tickets = [log.submit([op(n)]) for n in range(50)]
    tickets[0].wait()
    assert all(ticket.done for ticket in tickets)
    assert files.calls["sync"] == syncs + 1
    log.close()


def test_strict_never_shares_a_sync() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, durability="strict")
    log.submit([op()]).wait()
    syncs = files.calls["sync"]
    for ticket in [log.submit([op(n)]) for n in range(5)]:
        ticket.wait()
    assert files.calls["sync"] == syncs + 5
    log.close()


def test_a_group_closes_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitlog, "GROUP_BYTES", 100)
    sink = ListSink()
    groups: list[int] = []
    sink.publish = lambda first, ops: groups.append(len(ops))  # type: ignore[method-assign]
    log = open_log(MemoryFiles(), sink)
    for _ in range(10):
        log.submit([op(), op()])
    log.submit([op()] * 20)
    log.barrier()
    assert groups == [4, 4, 4, 4, 4, 20]
    log.close()


@pytest.mark.parametrize("inline", [True, False])
def test_submit_commits_nothing_itself(inline: bool) -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, inline=inline)
    ticket = log.submit([op()])
    assert files.calls["write"] == 0
    assert not ticket.done
    ticket.wait()
    log.close()


def test_an_ack_survives_any_loss_of_power() -> None:
    """Invariant 1: durable before published, published before acknowledged."""
    import random

    files = SimulatedFiles()
    states: list[tuple[int, SimulatedFiles]] = []

    class Sink(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            super().publish(first_seq, ops)
            states.append((first_seq + len(ops) - 1, files.crash(random.Random(first_seq), "min")))

    sink = Sink()
    log = open_log(files, sink, log_file_bytes=300)
    for n in range(12):
        log.submit([op(n)]).wait()
    assert len(states) == 12
    for last, state in states:
        again = open_log(state, epoch=2, log_file_bytes=300)
        assert replayed(again) == sink.list[:last]
        assert not again.damage
        again.close()
    log.close()


def test_os_mode_acknowledges_before_the_sync_and_syncs_later() -> None:
    files = FaultyFiles(MemoryFiles())
    clock = ManualClock()
    log = open_log(files, durability="os", clock=clock)
    log.submit([op()]).wait()
    syncs = files.calls["sync"]
    log.submit([op()]).wait()
    assert (log.published_seq, log.durable_seq) == (2, 0)
    until(lambda: clock.waiters == 1)
    clock.advance(0.2)
    until(lambda: log.durable_seq == 2)
    assert files.calls["sync"] == syncs + 1
    log.submit([op()]).wait()
    assert log.sync() == 3
    assert log.sync() == 3
    assert files.calls["sync"] == syncs + 2
    log.close()


def test_os_mode_syncs_early_when_much_is_unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitlog, "SYNC_BYTES", 1000)
    clock = ManualClock()
    log = open_log(MemoryFiles(), durability="os", clock=clock)
    log.submit([op()]).wait()
    until(lambda: clock.waiters == 1)
    log.submit([op(1, bytes(2000))]).wait()
    until(lambda: log.durable_seq == 2)
    log.close()


def test_an_idle_log_proves_its_last_frame() -> None:
    files = MemoryFiles()
    clock = ManualClock()
    log = open_log(files, clock=clock)
    log.submit([op()]).wait()
    size = files.list("log")[0].size
    until(lambda: clock.waiters == 1)
    assert files.list("log")[0].size == size
    clock.advance(0.2)
    until(lambda: files.list("log")[0].size == size + 48)
    until(lambda: clock.waiters == 0)
    log.submit([op()]).wait()
    assert log.published_seq == 2
    log.close()
    again = open_log(files, epoch=2)
    assert len(replayed(again)) == 2
    again.close()


def test_a_closed_log_needs_no_sync_to_open_and_one_that_was_killed_gets_it() -> None:
    simulated = SimulatedFiles()
    log = open_log(simulated)
    log.submit([op()]).wait()
    killed = FaultyFiles(simulated.kill())
    log.close()
    closed = FaultyFiles(simulated.kill())
    for files, syncs in ((killed, 1), (closed, 0)):
        again = open_log(files, epoch=2)
        assert files.calls["sync"] == syncs
        assert len(replayed(again)) == 1
        again.close()


# The commit role


def test_groups_of_many_threads_share_syncs() -> None:
    """While one thread syncs, the others gather; whoever leads next takes them all."""
    gate = threading.Event()
    entered = threading.Event()

    class Slow(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            super().publish(first_seq, ops)
            entered.set()
            assert gate.wait(10)

    sink = Slow()
    log = open_log(MemoryFiles(), sink)
    first = threading.Thread(target=lambda: log.submit([op()]).wait())
    first.start()
    assert entered.wait(10)
    tickets: list[Ticket] = [log.submit([op(n)]) for n in range(20)]
    followers = [threading.Thread(target=ticket.wait, args=(30,)) for ticket in tickets]
    for thread in followers:
        thread.start()
    until(lambda: all(ticket.event is not None for ticket in tickets))  # type: ignore[attr-defined]
    gate.set()
    for thread in [first, *followers]:
        thread.join(30)
    assert all(ticket.done for ticket in tickets)
    assert log._writer.groups == 2
    log.close()


def test_waiting_has_a_limit() -> None:
    gate = threading.Event()
    entered = threading.Event()

    class Stuck(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            entered.set()
            assert gate.wait(10)
            super().publish(first_seq, ops)

    log = open_log(MemoryFiles(), Stuck(), inline=False)
    ticket = log.submit([op()])
    ticket.add_done_callback(lambda _: None)
    assert entered.wait(10)
    with pytest.raises(Unavailable, match=r"within 0.01 s"):
        ticket.wait(0.01)
    gate.set()
    ticket.wait(10)
    log.close()


@pytest.mark.parametrize("inline", [True, False])
def test_a_full_queue_makes_submitters_wait(inline: bool) -> None:
    """Embedded with nobody waiting on a ticket, a thread of the log makes room."""
    log = open_log(MemoryFiles(), inline=inline, queue_ops=4)
    tickets = [log.submit([op(n)]) for n in range(30)]
    tickets.append(log.submit([op(n) for n in range(9)]))  # more than the queue takes, alone
    log.barrier(10)
    assert all(ticket.done for ticket in tickets)
    assert log.published_seq == 39
    log.close()
    log = open_log(MemoryFiles(), inline=inline, queue_bytes=100)
    for n in range(30):
        log.submit([op(n, bytes(80))])
    assert log.barrier(10) == 30
    log.close()


def test_a_failing_callback_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    log = open_log(MemoryFiles(), inline=False)
    called = threading.Event()
    ticket = log.submit([op()])
    ticket.add_done_callback(lambda t: 1 / 0)  # type: ignore[arg-type, return-value]
    ticket.add_done_callback(lambda t: called.set())
    assert called.wait(10)
    log.submit([op()]).wait(10)
    log.close()


def test_numbering_failures_refuse_only_their_submission_and_are_told() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files)
    log.submit([op()]).wait()
    writes = files.calls["write"]
    ticket = log.submit([op(note="refuse")])
    with pytest.raises(InvalidArgument):
        ticket.wait()
    assert files.calls["write"] == writes, "a group of which nothing is left writes nothing"
    log.submit([op()]).wait()
    assert log.published_seq == 2
    log.close()


# Failures: invariant 4


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("inline", [True, False])
def test_a_failed_write_or_sync_ends_writing_for_good(call: Call, inline: bool) -> None:
    memory = MemoryFiles()
    files = FaultyFiles(memory)
    sink = ListSink()
    log = open_log(files, sink, inline=inline)
    log.submit([op(1)]).wait()
    before = log.submit([op(2, b"payload!")])
    before.wait()
    position = sink.positions[2]
    files.fail(call)
    tickets = [log.submit([op(3)])]
    if inline:
        tickets.append(log.submit([op(4)]))
    for ticket in tickets:
        with pytest.raises(Unavailable) as caught:
            ticket.wait(10)
        assert isinstance(caught.value.__cause__, OSError)
    syncs = files.calls["sync"]
    with pytest.raises(Unavailable, match="stopped"):
        log.submit([op(5)])
    with pytest.raises(Unavailable):
        log.rotate()
    assert isinstance(log.poisoned, OSError)
    assert log.read(position, 8) == b"payload!"
    assert log.published_seq == 2
    log.close()
    assert files.calls["sync"] == syncs, "a sync is never retried"
    again = open_log(memory, epoch=2)
    assert replayed(again)[:2] == sink.list
    again.close()


def test_every_ticket_in_the_queue_fails_with_the_log() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, durability="strict")
    called: list[BaseException | None] = []
    tickets = [log.submit([op(n)]) for n in range(5)]
    files.fail("sync", 3)  # header, first submission, second submission
    for ticket in tickets:
        ticket.add_done_callback(lambda t: called.append(t.error))
    assert log.barrier(10) == 1
    assert [ticket.error is None for ticket in tickets] == [True, False, False, False, False]
    assert len({id(ticket.error) for ticket in tickets}) == 5
    until(lambda: len(called) == 5)
    log.close()


def test_a_failing_background_sync_ends_writing() -> None:
    files = FaultyFiles(MemoryFiles())
    clock = ManualClock()
    log = open_log(files, durability="os", clock=clock)
    log.submit([op()]).wait()
    until(lambda: clock.waiters == 1)
    files.fail("sync")
    clock.advance(0.2)
    until(lambda: log.poisoned is not None)
    with pytest.raises(Unavailable):
        log.submit([op()])
    with pytest.raises(Unavailable):
        log.sync()
    log.close()


def test_a_failing_sync_on_demand_is_told() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, durability="os", clock=ManualClock())
    log.submit([op()]).wait()
    files.fail("sync")
    with pytest.raises(Unavailable):
        log.sync()
    log.close()


def test_a_failing_sync_at_close_is_told() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, durability="os", clock=ManualClock())
    log.submit([op()]).wait()
    files.fail("sync")
    with pytest.raises(Unavailable):
        log.close()
    log.close()


def test_a_sink_that_breaks_ends_writing() -> None:
    class Broken(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            raise ZeroDivisionError

    log = open_log(MemoryFiles(), Broken())
    ticket = log.submit([op()])
    with pytest.raises(Unavailable):
        ticket.wait()
    assert isinstance(log.poisoned, ZeroDivisionError)
    log.close()


def test_submitters_waiting_for_room_learn_of_the_failure() -> None:
    gate = threading.Event()

    class Stuck(ListSink):
        def number(self, first_seq: int, ops: Sequence[Op]) -> object:
            assert gate.wait(10)
            return super().number(first_seq, ops)

    files = FaultyFiles(MemoryFiles())
    log = open_log(files, Stuck(), inline=False, queue_ops=1)
    files.fail("write", 2)  # the first is the header
    log.submit([op()]).add_done_callback(lambda _: None)
    until(lambda: not log._queue)
    log.submit([op()])
    errors: list[BaseException] = []

    def submit() -> None:
        try:
            log.submit([op()])
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    until(lambda: log._blocked == 1)
    gate.set()
    thread.join(10)
    assert len(errors) == 1
    log.close()


@pytest.mark.parametrize("call", ["open", "write", "sync", "sync_folder"])
def test_no_space_for_a_new_file_refuses_and_leaves_everything_as_it_was(call: Call) -> None:
    memory = MemoryFiles()
    files = FaultyFiles(memory)
    log = open_log(files, log_file_bytes=300)
    log.submit([op(1)]).wait()
    files.fail(call, error=errno.ENOSPC)
    large, other = log.submit([op(2, bytes(200))]), log.submit([op(3)])
    for ticket in (large, other):
        with pytest.raises(NoSpace):
            ticket.wait()
    assert len(names(memory)) == 1
    assert log.poisoned is None
    log.submit([op(4)]).wait()
    again = open_log(memory.copy(), epoch=2)
    assert [stored.object_id for stored in replayed(again)] == [1, 4]
    assert not again.damage
    again.close()
    log.submit([op(5, bytes(200))]).wait()
    assert len(names(memory)) == 2
    assert log.published_seq == 3
    log.close()


def test_writing_stops_below_the_reserve_but_for_what_frees_space(caplog: pytest.LogCaptureFixture) -> None:
    files = FaultyFiles(MemoryFiles())
    clock = ManualClock()
    log = open_log(files, clock=clock, min_free=1000)
    files.set_free(1000, 10_000)
    log.submit([op()]).wait()
    files.set_free(999, 10_000)
    log.submit([op()]).wait()  # not looked at again within a second
    clock.advance(1.0)
    with pytest.raises(NoSpace, match="999 bytes free: writing needs 1000"):
        log.submit([op()])
    with pytest.raises(NoSpace):
        log.submit([op()])
    log.submit([op()], essential=True).wait()
    files.set_free(1000, 10_000)
    log.submit([op()]).wait()
    assert log.published_seq == 4
    assert [record.message for record in caplog.records] == [
        "writes are refused: 999 bytes free, settings.min_free wants 1000", "writes are taken again: 1000 bytes free"
    ]  # fmt: skip
    log.close()


def test_the_default_reserve_is_two_percent_of_a_small_volume() -> None:
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, min_free=-1)
    files.set_free(199, 10_000)
    with pytest.raises(NoSpace, match="needs 200"):
        log.submit([op()])
    log.close()


def test_free_space_is_looked_at_after_much_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitlog, "SPACE_BYTES", 100)
    files = FaultyFiles(MemoryFiles())
    log = open_log(files, clock=ManualClock(), min_free=1000)
    files.set_free(1000, 10_000)
    log.submit([op()]).wait()
    files.set_free(10, 10_000)
    log.submit([op()]).wait()
    with pytest.raises(NoSpace):
        log.submit([op(1, bytes(90))])
    log.close()


# Files


def test_files_rotate_and_only_whole_ones_below_a_seq_are_trimmed() -> None:
    files = MemoryFiles()
    sink = ListSink()
    log = open_log(files, sink, log_file_bytes=64 + 2 * 72)  # a header and two frames
    for n in range(7):
        log.submit([op(n)]).wait()
    assert len(names(files)) == 4
    assert log.ops_kept == 7
    assert log.bytes_kept == sum(info.size for info in files.list("log"))
    log.trim(3)
    assert len(names(files)) == 3
    assert log.ops_kept == 5
    with pytest.raises(NotFound):
        log.read(sink.positions[2], 8)
    assert log.read(sink.positions[3], 8) == b"12345678"
    log.trim(100)
    assert len(names(files)) == 1, "never the one that is written"
    log.rotate()
    log.rotate()
    log.trim(7)
    assert len(names(files)) == 1
    assert log.ops_kept == 0
    log.submit([op()]).wait()
    log.close()
    again = open_log(files, epoch=2, applied_seq=7)
    assert [stored.seq for stored in replayed(again)] == [8]
    assert not again.damage
    again.close()


def test_seqs_go_on_after_everything_was_trimmed() -> None:
    files = MemoryFiles()
    log = open_log(files)
    for n in range(5):
        log.submit([op(n)]).wait()
    log.rotate()
    log.trim(5)
    log.close()
    again = open_log(files, epoch=2, applied_seq=3)
    again.submit([op()]).wait()
    assert again.published_seq == 6
    again.close()


def test_an_op_larger_than_a_file_gets_one_of_its_own() -> None:
    files = MemoryFiles()
    log = open_log(files, log_file_bytes=1000)
    log.submit([op()]).wait()
    log.submit([op(1, bytes(5000))]).wait()
    log.submit([op()]).wait()
    assert len(names(files)) == 3
    log.close()
    assert len(replayed(open_log(files, epoch=2))) == 3


def test_reading_a_file_that_is_being_trimmed_is_an_answer_or_not_found() -> None:
    files = MemoryFiles()
    sink = ListSink()
    log = open_log(files, sink)
    log.submit([op(1, b"abcdefgh")]).wait()
    file = log._folder.files[0]
    log.rotate()
    file._users += 1  # a reader in the middle of its call
    log.trim(1)
    assert file._reader is not None or file._writer is not None, "its handle stays open"
    file._users -= 1
    with pytest.raises(NotFound):
        log.read(sink.positions[1], 8)
    log.close()


def test_a_read_that_fails_fails_alone() -> None:
    files = FaultyFiles(MemoryFiles())
    sink = ListSink()
    log = open_log(files, sink)
    log.submit([op()]).wait()
    files.fail("read")
    with pytest.raises(Unavailable):
        log.read(sink.positions[1], 8)
    assert log.read(sink.positions[1], 8) == b"12345678"
    log.submit([op()]).wait()
    log.close()


def test_disk_space_is_reserved_while_writing_and_given_back(tmp_path: Path) -> None:
    log = open_log(LocalFiles(str(tmp_path)), log_file_bytes=1 << 20)
    log.submit([op()]).wait()
    path = next((tmp_path / "log").iterdir())
    reserved = path.stat().st_blocks * 512
    size = path.stat().st_size
    assert size == 64 + 72
    log.close()
    assert path.stat().st_blocks * 512 <= reserved
    assert path.stat().st_blocks * 512 <= 8192


def test_a_closed_log_refuses_everything_but_closing() -> None:
    others = threads()  # of logs that other tests left without a close
    log = open_log(MemoryFiles())
    log.submit([op()]).wait()
    log.close()
    with pytest.raises(Closed):
        log.submit([op()])
    with pytest.raises(Closed):
        log.rotate()
    assert len(threads()) <= len(others)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    others = threads()
    yield
    until(lambda: set(threads()) <= set(others))

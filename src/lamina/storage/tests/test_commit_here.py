"""`commit_here`: what an event loop may do, and nothing that waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from lamina.errors import Unavailable
from lamina.storage import commitlog
from lamina.storage.commitlog import CommitLog
from lamina.storage.files import Files
from lamina.storage.log import Op, Sink
from lamina.storage.memory import MemoryFiles
from lamina.storage.tests.openedlog import open_log, until
from lamina.testing.clock import ManualClock
from lamina.testing.faulty import FaultyFiles
from lamina.testing.log_contract import ListSink, op


def log_at_rest(
    files: Files | None = None, sink: Sink | None = None, *, clock: ManualClock | None = None, **settings: object
) -> CommitLog:
    """A log with a file, whose committer has let go of it again, and whose keeper waits for a clock that stands."""
    settings = {"durability": "os", "sync_interval_s": 1000, **settings}
    log = open_log(files or MemoryFiles(), sink, inline=False, clock=clock or ManualClock(), **settings)
    log.submit([op()]).wait()
    until(lambda: log._committer_idle)
    return log


def test_what_is_queued_is_one_group_and_needs_no_thread() -> None:
    log = log_at_rest()
    tickets = [log.submit([op(n)]) for n in range(3)]
    threads = threading.active_count()
    assert tickets[1].commit_here()
    assert [ticket.done for ticket in tickets] == [True] * 3
    assert (log.published_seq, log._writer.groups, threading.active_count()) == (4, 2, threads)
    assert tickets[1].commit_here()
    log.close()


def test_not_where_a_sync_is_promised_or_a_file_begins() -> None:
    for durability, size in (("group", 4096), ("os", 200)):
        log = log_at_rest(durability=durability, log_file_bytes=size)
        ticket = log.submit([op(body=b"x" * 90)])
        assert not ticket.commit_here()
        assert log.published_seq == 1
        ticket.wait()
        log.close()


def test_not_more_than_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_at_rest()
    monkeypatch.setattr(commitlog, "HERE_BYTES", 100)
    ticket = log.submit([op(body=b"x" * 100)])
    assert not ticket.commit_here()
    ticket.wait()
    log.close()


def test_what_comes_while_it_looks_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_at_rest()
    monkeypatch.setattr(commitlog, "HERE_BYTES", 200)
    ticket = log.submit([op()])
    free = log._role

    class Late:
        def acquire(self, blocking: bool) -> bool:
            log.submit([op(body=b"x" * 300)])
            return free.acquire(blocking)

        def release(self) -> None:
            free.release()

    monkeypatch.setattr(log, "_role", Late())
    assert not ticket.commit_here()
    monkeypatch.setattr(log, "_role", free)
    ticket.wait()
    log.close()


@pytest.mark.parametrize("inline", [True, False])
def test_not_while_somebody_else_is_at_it(inline: bool) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Stuck(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            if first_seq == 2:
                entered.set()
                assert gate.wait(10)
            super().publish(first_seq, ops)

    log = open_log(MemoryFiles(), Stuck(), durability="os", inline=inline)
    log.submit([op()]).wait()
    log.submit([op()]).add_done_callback(lambda _: None)
    assert entered.wait(10)
    ticket = log.submit([op()])
    assert not ticket.commit_here()
    gate.set()
    ticket.wait(10)
    log.close()


def test_a_slow_disk_is_left_to_the_committer_for_a_while() -> None:
    clock = ManualClock()

    class Slow(ListSink):
        def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
            if first_seq == 2:
                assert log._rest_ns == commitlog.REST_NS
                clock.advance(2 * commitlog.SLOW_NS / 1e9)
            super().publish(first_seq, ops)

    log = log_at_rest(sink=Slow(), clock=clock)
    assert log.submit([op()]).commit_here()
    ticket = log.submit([op()])
    assert not ticket.commit_here()
    clock.advance(commitlog.REST_NS / 1e9)
    assert ticket.commit_here()
    assert log._rest_ns == commitlog.REST_NS, "it was quick again"
    log.close()


def test_a_failure_is_told_as_of_any_commit() -> None:
    files = FaultyFiles(MemoryFiles())
    log = log_at_rest(files)
    files.fail("write")
    ticket = log.submit([op()])
    assert ticket.commit_here()
    assert isinstance(ticket.error, Unavailable)
    assert log.poisoned is not None
    log.close()

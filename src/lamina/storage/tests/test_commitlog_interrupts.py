"""Interrupts in the commit log: invariant 3 of commitlog.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from lamina.storage import groupwriter
from lamina.storage.log import Op, Ticket
from lamina.storage.memory import MemoryFiles
from lamina.storage.tests.openedlog import names, open_log, threads, until
from lamina.testing.log_contract import ListSink, op, replayed


class Interrupts:
    """Raises KeyboardInterrupt at the nth of the places the code passes."""

    def __init__(self, nth: int) -> None:
        self.left = nth
        self.thread = threading.get_ident()

    def __call__(self) -> None:
        if threading.get_ident() == self.thread:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


class InterruptedFile:
    def __init__(self, inner: object, point: Callable[[], None]) -> None:
        self._inner = inner
        self._point = point

    def __getattr__(self, name: str) -> object:
        call = getattr(self._inner, name)

        def around(*args: object) -> object:
            self._point()
            result = call(*args)
            self._point()
            return InterruptedFile(result, self._point) if hasattr(result, "write_at") else result

        return around


class InterruptedSink(ListSink):
    def __init__(self, point: Callable[[], None]) -> None:
        super().__init__()
        self._point = point

    def number(self, first_seq: int, ops: Sequence[Op]) -> object:
        self._point()
        result = super().number(first_seq, ops)
        self._point()
        return result

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        self._point()
        super().publish(first_seq, ops)
        self._point()


def interrupted_run(nth: int, durability: str) -> bool:
    """Commit a few groups with Ctrl-C at the nth place; whether there was one."""
    point = Interrupts(nth)
    sink = InterruptedSink(point)
    memory = MemoryFiles()
    log = open_log(
        InterruptedFile(memory, point),  # type: ignore[arg-type]
        sink,
        log_file_bytes=250,
        durability=durability,
    )
    acknowledged: list[Ticket] = []
    tickets: list[Ticket] = []
    for n in range(3):
        try:
            tickets += [log.submit([op(10 * n)]), log.submit([op(10 * n + 1, note="refuse")])]
            tickets += [log.submit([op(10 * n + 2), op(10 * n + 3)])]
            tickets[-1].add_done_callback(acknowledged.append)
            tickets[-1].wait()
        except KeyboardInterrupt:
            for ticket in tickets:  # the keeper finishes the very group
                until(lambda ticket=ticket: ticket.done)  # type: ignore[misc]
    hit = point.left <= 0
    point.left = 0
    log.barrier(10)
    assert log.poisoned is None
    for index, ticket in enumerate(tickets):
        assert ticket.done
        assert (ticket.error is None) == (index % 3 != 1)
    assert {id(ticket) for ticket in acknowledged} == {id(ticket) for ticket in tickets[2::3]}
    assert list(sink.published) == list(range(1, 10))
    log.close()
    again = open_log(memory, epoch=2)
    assert replayed(again) == sink.list
    assert not again.damage
    again.close()
    return hit


@pytest.mark.parametrize("durability", ["group", "os"])
def test_an_interrupt_anywhere_in_a_cycle_loses_nothing(durability: str) -> None:
    nth = 1
    while _opening(nth):
        nth += 1
    first = nth
    while interrupted_run(nth, durability):
        nth += 1
    assert nth - first > 40, "too few places were tried"


def _opening(nth: int) -> bool:
    """Whether the nth place is still inside opening, which an interrupt may well end."""
    point = Interrupts(nth)
    try:
        open_log(InterruptedFile(MemoryFiles(), point), InterruptedSink(point))  # type: ignore[arg-type]
    except KeyboardInterrupt:
        return True
    return False


def test_an_interrupt_at_any_line_of_a_group_can_be_resumed() -> None:
    """Every line of GroupWriter, also between two assignments: run again, the same group comes out."""
    import sys

    code = {
        getattr(groupwriter.GroupWriter, name).__code__
        for name in ("run", "_file_for", "_number", "_write", "_publish")
    }
    place = 0
    while True:
        place += 1
        left = place

        def trace(frame: object, event: str, arg: object) -> object:
            nonlocal left
            if frame.f_code not in code:  # type: ignore[attr-defined]
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        memory, sink = MemoryFiles(), ListSink()
        log = open_log(memory, sink, log_file_bytes=200)
        log.submit([op(1)]).wait()
        tickets = [log.submit([op(2)]), log.submit([op(note="refuse")]), log.submit([op(3), op(4)])]
        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            tickets[0].wait()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        tickets[2].wait(10)
        assert [ticket.seq for ticket in tickets] == [2, 0, 3]
        assert [stored.object_id for stored in sink.list] == [1, 2, 3, 4]
        log.submit([op(5)]).wait(10)
        log.close()
        again = open_log(memory, epoch=2)
        assert replayed(again) == sink.list
        again.close()
        if left > 0:
            break
    assert place > 25


def test_after_an_interrupt_a_thread_of_the_log_finishes_though_nobody_waits() -> None:
    memory = MemoryFiles()
    point = Interrupts(0)
    log = open_log(InterruptedFile(memory, point))  # type: ignore[arg-type]
    tickets = [log.submit([op(1)]), log.submit([op(2)])]
    point.left = 1
    with pytest.raises(KeyboardInterrupt):
        tickets[0].wait()
    until(lambda: all(ticket.done for ticket in tickets))
    assert [ticket.seq for ticket in tickets] == [1, 2]
    log.close()


def test_an_interrupt_while_acknowledging_loses_no_acknowledgement() -> None:
    log = open_log(MemoryFiles())
    called: list[str] = []
    main = threading.get_ident()

    def interrupted(ticket: Ticket) -> None:
        called.append("first")
        if threading.get_ident() == main:
            raise KeyboardInterrupt

    with log._role:  # keeps the keeper, which callbacks call, from being faster
        tickets = [log.submit([op(n)]) for n in range(3)]
        tickets[0].add_done_callback(interrupted)
        tickets[2].add_done_callback(lambda t: called.append("last"))
        with pytest.raises(KeyboardInterrupt):
            log._run_group()
    until(lambda: called == ["first", "first", "last"])
    log.close()


def test_only_the_interrupted_submission_is_numbered_again() -> None:
    class Sink(ListSink):
        def number(self, first_seq: int, ops: Sequence[Op]) -> object:
            result = super().number(first_seq, ops)
            if self.asked == [1, 3, 3, 5]:
                raise KeyboardInterrupt
            return result

    sink = Sink()
    log = open_log(MemoryFiles(), sink)
    notes = (None, "refuse", None, None, None)
    tickets = [log.submit([op(note=note), op()]) for note in notes]
    with pytest.raises(KeyboardInterrupt):
        tickets[0].wait()
    tickets[-1].wait(10)
    assert sink.asked == [1, 3, 3, 5, 5, 7]
    assert [ticket.seq for ticket in tickets] == [1, 0, 3, 5, 7]
    log.close()


def test_a_file_left_by_an_interrupted_rotation_is_gone_before_the_next_write() -> None:
    """Invariant 3 of the folder: else a crash would find a newest file that knows nothing of later seqs."""
    memory = MemoryFiles()
    point = Interrupts(0)
    files = InterruptedFile(memory, point)
    log = open_log(files)  # type: ignore[arg-type]
    log.submit([op()]).wait()
    nth = 0
    while len(names(memory)) == 1:
        nth += 1
        point.left = nth
        with pytest.raises(KeyboardInterrupt):
            log.rotate()
    log.submit([op()]).wait()
    assert len(names(memory)) == 1
    crashed = memory.copy()
    again = open_log(crashed, epoch=2)
    assert again.published_seq == 2
    again.close()
    log.rotate()
    assert len(names(memory)) == 2
    log.close()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    others = threads()
    yield
    until(lambda: set(threads()) <= set(others))

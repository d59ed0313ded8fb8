"""What every Log must do, as a pytest class: subclass it and supply the fixture `opener`.

`opener(sink)` opens the same log again and again: after `close`, what was published is replayed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from lamina.errors import Closed, InvalidArgument, NotFound, TooBig
from lamina.storage.files import Buffer
from lamina.storage.log import Log, Op, Sink, Ticket

Opener = Callable[[Sink], Log]


class Stored(NamedTuple):
    """One op as its maker would know it again; `body` without padding only if it was a multiple of 8."""

    seq: int
    kind: int
    type: int
    flags: int
    object_id: int
    body: bytes


class ListSink:
    """Keeps what is published, once, however often it is told. Refuses submissions whose first op has the note
    "refuse"."""

    def __init__(self) -> None:
        self.published: dict[int, Stored] = {}
        self.positions: dict[int, int] = {}
        self.asked: list[int] = []

    def number(self, first_seq: int, ops: Sequence[Op]) -> object:
        self.asked.append(first_seq)
        if ops[0].note == "refuse":
            raise InvalidArgument("refused")
        return ("numbered", first_seq)

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        for seq, op in enumerate(ops, first_seq):
            stored = Stored(seq, op.kind, op.type, op.flags, op.object_id, b"".join(op.parts))
            assert self.published.setdefault(seq, stored) == stored, "published twice, differently"
            self.positions[seq] = op.position

    @property
    def list(self) -> list[Stored]:
        return list(self.published.values())


def replayed(log: Log, after: int = 0) -> list[Stored]:
    """Everything the log replays, op by op."""
    found = []
    for frame in log.replay(after):
        for index, row in enumerate(frame.ops.tolist()):
            length, kind, type, flags, object_id, offset = row
            body = bytes(frame.body[offset : offset + length - 16])
            found.append(Stored(frame.first_seq + index, kind, type, flags, object_id, body))
    return found


def op(object_id: int = 1, body: bytes = b"12345678", note: object = None) -> Op:
    return Op(1, 2, object_id, [body], note, flags=3)


class LogContract:
    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError("the subclass supplies the log")

    def test_ops_are_published_densely_in_the_order_of_submission(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        tickets = [log.submit([op(n) for _ in range(n % 3 + 1)]) for n in range(20)]
        for ticket in tickets:
            ticket.wait()
        assert [stored.seq for stored in sink.list] == list(range(1, len(sink.list) + 1))
        assert [s.object_id for s in sink.list] == [n for n in range(20) for _ in range(n % 3 + 1)]
        firsts = [ticket.seq for ticket in tickets]
        assert firsts == sorted(firsts)
        assert [ticket.result for ticket in tickets] == [("numbered", seq) for seq in firsts]
        assert log.published_seq == len(sink.list)
        log.close()

    def test_a_ticket_knows_nothing_before_it_is_published(self, opener: Opener) -> None:
        seen: list[tuple[bool, int]] = []

        class Sink(ListSink):
            def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
                super().publish(first_seq, ops)
                seen.append((ready[0].done, ready[0].seq))

        log = opener(Sink())
        ready: list[Ticket] = []
        gate = threading.Lock()
        with gate:
            ready.append(log.submit([op()]))
        ready[0].wait()
        assert seen[-1][1] == 0
        assert not seen[-1][0]
        assert ready[0].done
        assert ready[0].seq == 1
        assert ready[0].error is None
        log.close()

    def test_refused_submissions_leave_no_gap(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        tickets = [log.submit([op(n, note="refuse" if n % 2 else None)]) for n in range(6)]
        assert log.barrier() == 3
        for n, ticket in enumerate(tickets):
            if n % 2:
                assert isinstance(ticket.error, InvalidArgument)
                assert ticket.seq == 0
                with pytest.raises(InvalidArgument, match="refused"):
                    ticket.wait()
            else:
                ticket.wait()
        assert [stored.object_id for stored in sink.list] == [0, 2, 4]
        log.close()

    def test_replay_gives_back_what_was_published(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        for n in range(30):
            log.submit([op(n, bytes([n]) * 8 * (n % 4)), op(n, b"second!!")]).wait()
        log.close()
        again = opener(ListSink())
        assert replayed(again) == sink.list
        assert again.published_seq == 60
        assert not again.damage
        again.submit([op()]).wait()
        assert again.published_seq == 61
        again.close()
        last = opener(ListSink())
        assert [stored.seq for stored in replayed(last, 58) if stored.seq > 58] == [59, 60, 61]
        last.close()

    def test_bodies_of_any_length_and_in_pieces_come_back(self, opener: Opener) -> None:
        log = opener(ListSink())
        pieces: list[Buffer] = [b"a", bytearray(b"bc"), memoryview(b"0def0")[1:4], memoryview(bytes(16)).cast("Q")]
        for n in range(20):
            log.submit([Op(1, 1, n, [b"x" * n, *pieces])]).wait()
        log.close()
        again = opener(ListSink())
        for n, stored in enumerate(replayed(again)):
            expected = b"x" * n + b"abcdef" + bytes(16)
            assert stored.body == expected + bytes(-len(expected) % 8)
        again.close()

    def test_a_position_reads_the_body_now_and_after_reopening(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        for n in range(10):
            log.submit([op(n, b"%08d" % n), op(n, b"%016d" % n)]).wait()
        for stored in sink.list:
            assert log.read(sink.positions[stored.seq], len(stored.body)) == stored.body
        with pytest.raises(NotFound):
            log.read(sink.positions[20] + 24, 8)  # behind the frame's end
        log.close()
        again = opener(ListSink())
        for frame in again.replay(0):
            for row in frame.ops.tolist():
                length, offset = row[0] - 16, row[5]
                body = frame.body[offset : offset + length]
                assert again.read(frame.position + offset, length) == body
        again.close()

    def test_callbacks_run_once_when_done_and_at_once_afterwards(self, opener: Opener) -> None:
        log = opener(ListSink())
        called: list[int] = []
        event = threading.Event()
        ticket = log.submit([op()])
        ticket.add_done_callback(lambda t: called.append(t.seq))
        ticket.add_done_callback(lambda t: event.set())
        assert event.wait(10), "a callback needs no waiting thread"
        log.barrier()
        ticket.add_done_callback(lambda t: called.append(-t.seq))
        assert called == [1, -1]
        log.close()

    def test_threads_share_the_log(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        seqs: list[int] = []

        def work(number: int) -> None:
            for n in range(20):
                ticket = log.submit([op(number, b"%08d" % n), op(number, b"%08d" % n)])
                ticket.wait(30)
                assert sink.published[ticket.seq].object_id == number
                seqs.append(ticket.seq)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(seqs) == list(range(1, 480, 2))
        assert list(sink.published) == list(range(1, 481)), "publish order is seq order"
        log.close()

    def test_close_commits_what_was_submitted_and_ends_submitting(self, opener: Opener) -> None:
        sink = ListSink()
        log = opener(sink)
        tickets = [log.submit([op(n)]) for n in range(5)]
        log.close()
        log.close()
        assert all(ticket.done and ticket.error is None for ticket in tickets)
        with pytest.raises(Closed):
            log.submit([op()])
        again = opener(ListSink())
        assert replayed(again) == sink.list
        again.close()

    def test_too_much_for_one_submission_is_refused(self, opener: Opener) -> None:
        log = opener(ListSink())
        with pytest.raises(TooBig, match="0 ops"):
            log.submit([])
        limit = 48 << 20
        with pytest.raises(TooBig, match=str(limit)):
            log.submit([op(1, bytes(limit - 15))])
        with pytest.raises(TooBig):
            log.submit([op(1, bytes(limit - 16)), op(1, bytes(limit // 2))])
        log.close()

    def test_trimming_keeps_everything_above(self, opener: Opener) -> None:
        log = opener(ListSink())
        for n in range(40):
            log.submit([op(n, bytes(200))]).wait()
        log.trim(25)
        log.close()
        again = opener(ListSink())
        assert [s.seq for s in replayed(again, 25) if s.seq > 25] == list(range(26, 41))
        assert again.published_seq == 40
        again.close()

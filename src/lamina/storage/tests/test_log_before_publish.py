"""What is published can be read at once: also by who is woken in the middle of publishing."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.random import SystemRandom
from lamina.settings import Settings
from lamina.storage.commitlog import CommitLog
from lamina.storage.log import Op
from lamina.storage.memory import MemoryFiles
from lamina.testing.log_contract import ListSink, op
from lamina.time import SystemClock


class Reading(ListSink):
    """Reads the body of every op while it is published."""

    def __init__(self) -> None:
        super().__init__()
        self.log: CommitLog | None = None
        self.read: list[bytes] = []

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        assert self.log is not None
        for each in ops:
            self.read.append(self.log.read(each.position, 4))
        super().publish(first_seq, ops)


def test_a_reader_that_is_woken_while_a_group_is_published_finds_it_in_the_log() -> None:
    sink = Reading()
    log = sink.log = CommitLog.open(
        MemoryFiles(),
        database_id=bytes(16),
        epoch=1,
        applied_seq=0,
        sink=sink,
        settings=Settings(min_free=0),
        clock=SystemClock(),
        random=SystemRandom(),
        inline=True,
    )
    submitted = op(7)
    log.submit([submitted]).wait()
    assert sink.read == [bytes(submitted.parts[0])[:4]]
    log.close()

"""The mark that proves the last sync is written under the commit role: whoever queued meanwhile is not forgotten."""

from __future__ import annotations

import threading

from lamina.settings import Settings
from lamina.storage.commitlog import CommitLog, CommitTicket
from lamina.storage.memory import MemoryFiles
from lamina.testing.clock import ManualClock
from lamina.testing.log_contract import ListSink, op
from lamina.testing.random import SeededRandom


def test_who_waits_while_the_mark_is_written_commits_as_soon_as_it_is(monkeypatch):
    clock = ManualClock()  # stands still: nobody may need the time to pass
    log = CommitLog.open(
        MemoryFiles(),
        database_id=bytes(16),
        epoch=1,
        applied_seq=0,
        sink=ListSink(),
        settings=Settings(min_free=0),
        clock=clock,
        random=SeededRandom(1),
        inline=True,
    )
    log.submit([op(1)]).wait()
    late: list[CommitTicket] = []
    waiting = threading.Event()
    original = log._await

    def awaited(ticket, timeout_s):
        waiting.set()
        original(ticket, timeout_s)

    monkeypatch.setattr(log, "_await", awaited)

    def write() -> None:
        late.append(log.submit([op(2)]))
        late[0].wait()

    writer = threading.Thread(target=write, daemon=True)

    def mark() -> None:  # the role is held here
        writer.start()
        assert waiting.wait(10)
        while late[0].event is None:  # it is about to wait, because the role is taken
            threading.Event().wait(0.001)

    monkeypatch.setattr(log._writer, "mark", mark)
    log._mark()
    writer.join(10)
    assert late[0].done
    monkeypatch.undo()
    log.close()

"""A commit log as the tests of it open it, and its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lamina.settings import Settings
from lamina.storage.commitlog import CommitLog
from lamina.storage.files import Files
from lamina.storage.log import Sink
from lamina.testing.log_contract import ListSink
from lamina.testing.random import SeededRandom
from lamina.time import Clock, SystemClock

DATABASE = b"0123456789abcdef"


def open_log(
    files: Files,
    sink: Sink | None = None,
    *,
    inline: bool = True,
    epoch: int = 1,
    applied_seq: int = 0,
    clock: Clock | None = None,
    **settings: object,
) -> CommitLog:
    return CommitLog.open(
        files,
        database_id=DATABASE,
        epoch=epoch,
        applied_seq=applied_seq,
        sink=sink or ListSink(),
        settings=Settings(**{"min_free": 0, **settings}),  # type: ignore[arg-type]
        clock=clock or SystemClock(),
        random=SeededRandom(epoch),
        inline=inline,
    )


def names(files: Files) -> list[str]:
    return [info.name for info in files.list("log")]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lamina-")]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, which is about to do it; at most 10 s."""
    event = threading.Event()
    for _ in range(2000):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError("it did not happen")

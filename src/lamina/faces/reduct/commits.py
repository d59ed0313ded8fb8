"""Writes that are complete in one tick of the event loop go to the log together.

At 64 connections a tick completes dozens of single writes: one submission and one wake-up of the loop for all of them
instead of one each.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from lamina.engine.records.batch import Batch
from lamina.engine.records.bucket import Bucket
from lamina.engine.records.commit import Commit
from lamina.engine.records.write import Write

log = logging.getLogger("lamina.reduct")

Done = Callable[[BaseException | None], None]
"""Told on the loop that writes are durable and readable, or what their commit failed with."""


class _Waiting(NamedTuple):
    """Somebody who added writes."""

    done: Done
    future: asyncio.Future[None] | None  # that `done` settles, for who may give up meanwhile

    @property
    def given_up(self) -> bool:
        return self.future is not None and self.future.cancelled()


class _Submission(NamedTuple):
    bucket: Bucket
    writes: list[Write | Batch]
    waiting: list[_Waiting]


class Commits:
    """Belongs to one event loop, that of its first call; everything but `_finished` runs on it.

    A submission fails as a whole, for instance because its entry was removed meanwhile. So single writes are put
    together by entry, and a batch stays by itself: nobody fails for what somebody else did.
    """

    def __init__(self) -> None:
        self._gathered: dict[object, _Submission] = {}
        self._done: deque[tuple[Commit, list[_Waiting]]] = deque()  # appended by who commits, popped by the loop
        self._woken = False  # a wake-up of the loop is on its way
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, bucket: Bucket, writes: list[Write | Batch]) -> asyncio.Future[None]:
        """Commit these at the end of this tick; done when they are durable and readable.

        Fails with what the commit failed with; the claims of the writes are free then."""
        future = self._running().create_future()

        def done(error: BaseException | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

        self._gather(bucket, writes, _Waiting(done, future))
        return future

    def call(self, bucket: Bucket, write: Write | Batch, done: Done) -> None:
        """`add` of one for who is called instead of waiting."""
        self._gather(bucket, [write], _Waiting(done, None))

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        return loop

    def _gather(self, bucket: Bucket, writes: list[Write | Batch], waiting: _Waiting) -> None:
        if not self._gathered:
            self._running().call_soon(self._submit)
        key: object = waiting if len(writes) > 1 or isinstance(writes[0], Batch) else writes[0].entry
        gathered = self._gathered.get(key)
        if gathered is None:
            self._gathered[key] = _Submission(bucket, writes, [waiting])
        else:
            gathered.writes.append(writes[0])
            gathered.waiting.append(waiting)

    def _submit(self) -> None:
        gathered, self._gathered = self._gathered, {}
        under_way: list[tuple[Commit, list[_Waiting]]] = []
        for bucket, writes, waiting in gathered.values():
            if any(one.given_up for one in waiting):  # its request gave up meanwhile, and its claims
                if len(waiting) != len(writes) or len(waiting) == 1:
                    continue
                left = [pair for pair in zip(writes, waiting, strict=True) if not pair[1].given_up]
                writes, waiting = [write for write, _ in left], [one for _, one in left]
            try:
                commit = bucket.commit_writes(writes)
            except Exception as error:
                _tell(waiting, error)
            else:
                under_way.append((commit, waiting))
        for commit, waiting in under_way:
            try:
                if commit.here():
                    _tell(waiting, commit.error)
                else:
                    commit.add_done_callback(partial(self._finished, waiting))
            except Exception as error:  # the others of this tick are to be committed all the same
                _tell(waiting, error)

    def _finished(self, waiting: list[_Waiting], commit: Commit) -> None:
        """On the thread that commits, once per submission; a group of submissions wakes the loop once."""
        self._done.append((commit, waiting))
        if not self._woken:
            self._woken = True
            assert self._loop is not None, "it submitted"
            try:
                self._loop.call_soon_threadsafe(self._resolve)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._done.clear()

    def _resolve(self) -> None:
        self._woken = False  # before looking: what is appended from now on wakes again
        while self._done:
            commit, waiting = self._done.popleft()
            _tell(waiting, commit.error)


def _tell(waiting: list[_Waiting], error: BaseException | None) -> None:
    """What goes wrong with one of them is none of the others' affair."""
    for done, _ in waiting:
        try:
            done(error)
        except Exception:
            log.exception("an answer to a committed write failed")

"""Writes that are complete in one tick of the event loop go to the log together.

At 64 connections a tick completes dozens of single writes: one submission and one wake-up of the loop for all of them
instead of one each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import NamedTuple

from lamina.engine.records.bucket import Bucket
from lamina.engine.records.write import Commit, Write

Waiting = list["asyncio.Future[None]"]


class _Submission(NamedTuple):
    bucket: Bucket
    writes: list[Write]
    waiting: Waiting


class Commits:
    """Belongs to one event loop, that of its first call; everything but `_finished` runs on it.

    A submission fails as a whole, for instance because its entry was removed meanwhile. So single writes are put
    together by entry, and a batch stays by itself: nobody fails for what somebody else did.
    """

    def __init__(self) -> None:
        self._gathered: dict[object, _Submission] = {}
        self._done: deque[tuple[Commit, Waiting]] = deque()  # appended by the committer, popped by the loop
        self._woken = False  # a wake-up of the loop is on its way
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, bucket: Bucket, writes: list[Write]) -> asyncio.Future[None]:
        """Commit these at the end of this tick; done when they are durable and readable.

        Fails with what the commit failed with; the claims of the writes are free then."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._submit)
        key: object = writes[0].entry if len(writes) == 1 else future
        gathered = self._gathered.get(key)
        if gathered is None:
            self._gathered[key] = _Submission(bucket, writes, [future])
        else:
            gathered.writes.append(writes[0])
            gathered.waiting.append(future)
        return future

    def _submit(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for bucket, writes, waiting in gathered.values():
            if any(future.cancelled() for future in waiting):  # its request gave up meanwhile, and its claims
                if len(waiting) != len(writes) or len(waiting) == 1:
                    continue
                left = [pair for pair in zip(writes, waiting, strict=True) if not pair[1].cancelled()]
                writes, waiting = [write for write, _ in left], [future for _, future in left]
            try:
                commit = bucket.commit_writes(writes)
            except Exception as error:
                _fail(waiting, error)
            else:
                commit.add_done_callback(partial(self._finished, waiting))

    def _finished(self, waiting: Waiting, commit: Commit) -> None:
        """On the committer's thread, once per submission; a group of submissions wakes the loop once."""
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
            error = commit.error
            if error is not None:
                _fail(waiting, error)
                continue
            for future in waiting:
                if not future.done():
                    future.set_result(None)


def _fail(waiting: Waiting, error: BaseException) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)

"""Inserts that a subscription waits to hand over: a call waits for them without a thread."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from uuid import UUID

from lamina.columns import Samples
from lamina.errors import PermissionDenied, StreamNotFound
from lamina.wire import arrow, frames

if TYPE_CHECKING:
    from lamina.engine.subscribe import Subscription
    from lamina.faces.native.caller import Caller

LONGEST_WAIT_S = 20.0
"""Of one call, so that nobody between takes its connection for dead; the client asks again."""

INSERTS, POINTS = 1024, 262_144
"""Handed over with one answer."""


class Mailbox:
    """A subscription that clients ask over HTTP."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._woken = asyncio.Event()  # of the loop's thread
        self._asked = False

    def close(self) -> None:
        self.subscription.close()

    def ask(self, caller: Caller, timeout_s: float) -> Asking:
        return Asking(self, caller, min(max(timeout_s, 0.0), LONGEST_WAIT_S))

    def take(self) -> list[tuple[UUID, Samples]]:
        """What there is, as much as goes with one answer."""
        found: list[tuple[UUID, Samples]] = []
        points = 0
        while len(found) < INSERTS and points < POINTS:
            mail = self.subscription.get(0)
            if mail is None:
                break
            found.append(mail)
            points += len(mail[1])
        return found

    async def wait(self, timeout_s: float) -> None:
        """Until something may be there. On the loop."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            self._asked = True
            self._woken.clear()
            self.subscription.on_change(lambda: _wake(loop, self))
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        self._asked = False
        self._woken.set()


def _wake(loop: asyncio.AbstractEventLoop, mailbox: Mailbox) -> None:
    """On the committing thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(mailbox.wake)


class Asking:
    """A call that waits for inserts."""

    def __init__(self, mailbox: Mailbox, caller: Caller, timeout_s: float) -> None:
        self.mailbox = mailbox
        self.timeout_s = timeout_s
        self._caller = caller

    @property
    def ready(self) -> bool:
        return self.mailbox.subscription.waiting

    def answer(self) -> bytes:
        """What came, as a portion; without what the caller may not read any more. Blocks."""
        mail = [(uuid, samples) for uuid, samples in self.mailbox.take() if self._may_read(uuid)]
        told = {
            "uuids": [str(uuid) for uuid, _ in mail],
            "counts": [len(samples) for _, samples in mail],
            "overflowed": self.mailbox.subscription.overflowed,
        }
        points = Samples.concat([samples for _, samples in mail])
        return frames.joined(json.dumps(told).encode(), memoryview(arrow.encode_bundle(points)))

    def _may_read(self, uuid: UUID) -> bool:
        try:
            self._caller.stream(uuid, "read")
        except StreamNotFound:
            return False  # obliterated: nobody asks for its points any more
        except PermissionDenied:
            return False
        return True

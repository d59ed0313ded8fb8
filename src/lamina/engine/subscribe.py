"""Following inserts: publishing appends to bounded mailboxes and never waits for a reader."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from lamina.columns import Samples
from lamina.engine.slots import Slot
from lamina.errors import Closed
from lamina.streams.ops import Insert

if TYPE_CHECKING:
    from lamina.engine.database import Database


class Subscription:
    """Inserts of some streams, in commit order. Made by `db.streams.subscribe`; close it."""

    def __init__(self, db: Database, capacity: int) -> None:
        self._db = db
        self._capacity = capacity
        self._ready = threading.Condition()  # guards everything below
        self._mail: deque[tuple[UUID, Samples]] = deque()
        self._slots: dict[int, tuple[Slot, Callable[[Insert], None]]] = {}
        self._overflowed = False
        self._closed = False
        self._calls: list[Callable[[], None]] = []

    def add(self, uuids: Iterable[UUID]) -> None:
        """Follow more streams from now on. Raises StreamNotFound (those named before it are followed), Closed."""
        for uuid in uuids:
            slot = self._db.streams.get(uuid).slot
            if self._closed:
                raise Closed("the subscription is closed")
            if slot.id not in self._slots:
                listener = self._listener(uuid)
                self._slots[slot.id] = (slot, listener)
                with self._db.slots.publish_lock:
                    slot.subscribers = (*slot.subscribers, listener)

    def remove(self, uuids: Iterable[UUID]) -> None:
        """Stop following; unknown ones are ignored."""
        wanted = {uuid.bytes for uuid in uuids}
        for id, (slot, listener) in list(self._slots.items()):
            if slot.uuid in wanted:
                self._detach(slot, listener)
                del self._slots[id]

    def get(self, timeout_s: float | None = None) -> tuple[UUID, Samples] | None:
        """(uuid, points) of the next insert, sorted by time; None after the timeout, and when closed or overflowed with
        nothing left. Without a timeout it waits. Deletes are not delivered."""
        with self._ready:
            self._ready.wait_for(lambda: self.waiting, timeout_s)
            return self._mail.popleft() if self._mail else None

    @property
    def waiting(self) -> bool:
        """Whether `get` would return at once."""
        return bool(self._mail) or self._closed or self._overflowed

    def on_change(self, call: Callable[[], None]) -> None:
        """Call once when `get` would not wait; on the committing thread, or at once. Must not block."""
        with self._ready:
            if not self.waiting:
                self._calls.append(call)
                return
        call()

    def _wake(self) -> None:
        """The condition is held."""
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        self._ready.notify_all()

    @property
    def overflowed(self) -> bool:
        """More inserts came than `capacity` undelivered ones: some are missing, start over."""
        return self._overflowed

    def close(self) -> None:
        """Follow nothing any more, and wake whoever waits in `get`. Idempotent."""
        for slot, listener in self._slots.values():
            self._detach(slot, listener)
        self._slots.clear()
        with self._ready:
            self._closed = True
            self._wake()

    def _detach(self, slot: Slot, listener: Callable[[Insert], None]) -> None:
        with self._db.slots.publish_lock:
            slot.subscribers = tuple(other for other in slot.subscribers if other is not listener)

    def _listener(self, uuid: UUID) -> Callable[[Insert], None]:
        def published(change: Insert) -> None:
            samples = Samples(change.times.copy(), change.values.copy())  # the caller may reuse its arrays
            with self._ready:
                if len(self._mail) >= self._capacity:
                    self._overflowed = True
                else:
                    self._mail.append((uuid, samples))
                self._wake()

        return published

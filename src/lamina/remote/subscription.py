"""Following inserts of a server: it keeps what was not fetched, and answers as soon as there is something."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from lamina.columns import Samples
from lamina.errors import Closed, LaminaError

if TYPE_CHECKING:
    from lamina.remote.database import Database

PATIENCE_S = 15.0
"""Of one round trip; the server waits no longer than 20 s."""


class Subscription:
    """Inserts of some streams, in commit order. Made by `db.streams.subscribe`; close it. As that of a directory."""

    def __init__(self, db: Database, handle: str) -> None:
        self._link = db._link
        self._handle: str | None = handle
        self._asking = threading.Lock()  # one round trip at a time, so that the order stays; guards what follows
        self._mail: deque[tuple[UUID, Samples]] = deque()
        self._overflowed = False

    def _open(self) -> str:
        if self._handle is None:
            raise Closed("the subscription is closed")
        return self._handle

    def add(self, uuids: Iterable[UUID]) -> None:
        """Follow more streams from now on. Raises StreamNotFound, Closed."""
        self._link.call("subscription/add", subscription=self._open(), uuids=[str(uuid) for uuid in uuids])

    def remove(self, uuids: Iterable[UUID]) -> None:
        """Stop following; unknown ones are ignored."""
        if self._handle is not None:
            self._link.call("subscription/remove", subscription=self._handle, uuids=[str(uuid) for uuid in uuids])

    def get(self, timeout_s: float | None = None) -> tuple[UUID, Samples] | None:
        """(uuid, points) of the next insert, sorted by time; None after the timeout, and when closed or overflowed with
        nothing left. Without a timeout it waits. Deletes are not delivered.

        Where the connection breaks what was on its way is lost: it raises, and `overflowed` is true from then on."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._asking:
                if not self._mail and self._handle is not None and not self._overflowed:
                    left = PATIENCE_S if until is None else max(min(until - time.monotonic(), PATIENCE_S), 0.0)
                    self._fetch(left)
                if self._mail:
                    return self._mail.popleft()
                over = self._handle is None or self._overflowed
            if over or (until is not None and time.monotonic() >= until):
                return None

    def _fetch(self, wait_s: float) -> None:
        from lamina.wire import arrow

        try:
            for told, columns in self._link.call("subscription/get", subscription=self._handle, timeout_s=wait_s):
                head = json.loads(bytes(told))
                points = arrow.decode_bundle(Samples, bytearray(columns))
                at = 0
                for uuid, count in zip(head["uuids"], head["counts"], strict=True):
                    part = Samples(points.time[at : at + count], points.value[at : at + count])
                    self._mail.append((UUID(uuid), part))
                    at += count
                self._overflowed = self._overflowed or head["overflowed"]
        except Closed:
            if self._handle is not None:  # else it was closed here, while it waited
                raise
        except LaminaError:
            self._overflowed = True
            raise

    @property
    def overflowed(self) -> bool:
        """More inserts came than `capacity` undelivered ones, or some were lost with a connection: start over."""
        if not self._overflowed and self._handle is not None:
            self._overflowed = self._link.call("subscription/overflowed", subscription=self._handle)
        return self._overflowed

    def close(self) -> None:
        """Follow nothing any more, and wake whoever waits in `get`. Idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None and not self._link.closed:
            self._link.call("subscription/close", subscription=handle)

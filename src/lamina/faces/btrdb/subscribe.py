"""Subscribe: every later insert into some streams, as it is committed.

Two clients use one method path for two things. Python's is bidirectional: updates that add and remove streams come in,
Arrow goes out, and the call ends when the client says that no more updates come. Go's is a server stream: one request
with uuids, points out, until the client cancels; its half-close right after the request means nothing. The first
message tells them apart: field 1 is an enum in the one and bytes in the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import grpc

from lamina.columns import Samples
from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.batches import ARROW_ROWS, NO_POINTS, POINTS, batches
from lamina.faces.btrdb.calls import Desk, parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import RESOURCE_DEPLETED, Refused
from lamina.faces.btrdb.service.subscriptions import MAILBOX, overflowed

if TYPE_CHECKING:
    from lamina.engine.subscribe import Subscription

log = logging.getLogger("lamina.btrdb")

SUBSCRIBERS = 32
"""Calls at a time: each holds a worker as long as it lives (architecture section 7 row 29)."""

_GO_TAG = 1 << 3 | 2

Encode = Callable[[UUID, Samples], Iterator[bytes]]


class Subscriptions:
    """The method, for all calls of a server."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._free = threading.BoundedSemaphore(SUBSCRIBERS)

    def behaviour(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return self._paced(self._desk.admit(context), requests, context)

    def _paced(self, call: Call, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if not self._free.acquire(blocking=False):
            error = Refused(RESOURCE_DEPLETED, f"{SUBSCRIBERS} Subscribe calls are open, no more are accepted")
            yield self._desk.refuse(error, context)
            return
        try:
            yield from self._followed(call, requests, context)
        except Exception as error:
            yield self._desk.refuse(error, context)
        finally:
            self._free.release()

    def _followed(self, call: Call, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            first = next(requests, b"")
        except grpc.RpcError:  # the client has gone
            return
        go = first[:1] == bytes((_GO_TAG,))
        encode = _points if go else _arrow
        with _Follower(call) as follower:
            if not context.add_callback(follower.stop):
                return
            if go:
                follower.add(parse(pb.SubscribeParams, first).uuid)
            else:
                follower.update(first)
                threading.Thread(target=follower.read, args=(requests,), name="subscribe", daemon=True).start()
            for uuid, points in follower:
                with self._desk.places:
                    messages = list(encode(uuid, points))
                yield from messages


class _Follower:
    """One subscription and why it ended. Iterating gives the inserts until then."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lock = threading.Lock()  # guards _ended, and changes of what is followed
        self._ended = False
        self._error: Exception | None = None
        self._mail: Subscription = call.db.streams.subscribe((), capacity=MAILBOX)

    def __enter__(self) -> _Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the iteration. Any thread, any number of times."""
        with self._lock:
            self._ended = True
            self._mail.close()

    def add(self, uuids: Iterable[bytes]) -> None:
        """Raises StreamNotFound, PermissionDenied."""
        wanted = [self._call.stream(uuid).uuid for uuid in uuids]
        with self._lock:
            if not self._ended:
                self._mail.add(wanted)

    def update(self, data: bytes) -> None:
        if not data:
            return
        asked = parse(pb.SubscriptionUpdate, data)
        if asked.op == pb.SubscriptionUpdate.REMOVE_UUIDS:
            known = [UUID(bytes=uuid) for uuid in asked.uuid if len(uuid) == 16]
            with self._lock:
                if not self._ended:
                    self._mail.remove(known)
        else:
            self.add(asked.uuid)

    def read(self, requests: Iterator[bytes]) -> None:
        """Updates as they come, in a thread of its own: they block. Their end is the end of the call."""
        try:
            for data in requests:
                self.update(data)
        except grpc.RpcError as cancelled:
            log.debug("subscriber went away: %r", cancelled)
        except Exception as error:
            self._error = error
        finally:
            self.stop()

    def __iter__(self) -> Iterator[tuple[UUID, Samples]]:
        while True:
            mail = self._mail.get()
            if self._error is not None:
                raise self._error
            if mail is not None:
                yield mail
            elif self._mail.overflowed:
                raise overflowed()
            elif self._ended:
                return


def _arrow(uuid: UUID, points: Samples) -> Iterator[bytes]:
    head = wire.length_delimited(2, 16) + uuid.bytes
    for part in batches((points,), ARROW_ROWS, NO_POINTS):
        yield from arrow.Encoder(arrow.POINTS).messages(head, 3, part.time, part.value)


def _points(uuid: UUID, points: Samples) -> Iterator[bytes]:
    head = wire.length_delimited(3, 16) + uuid.bytes
    for part in batches((points,), POINTS, NO_POINTS):
        yield wire.encode_delivered(head, part)

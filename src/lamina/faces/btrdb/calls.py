"""What every call goes through: key, permission, a place among those at work, errors into answers.

Threads: a worker belongs to its call until the answer has left, so a reader that is slow, or gone without a word,
keeps its worker. There are many workers (128) and few places at work (8): a place is held only while bytes are
decoded, the engine works or an answer is encoded, never while one is sent. SQL statements, which may take half a
minute, have places of their own (2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from lamina.errors import InvalidArgument, PermissionDenied, TooBig
from lamina.faces.btrdb import errors
from lamina.faces.btrdb.auth import Authenticator
from lamina.faces.btrdb.service.caller import Call
from lamina.random import Random

if TYPE_CHECKING:
    from lamina.engine.database import Database

M = TypeVar("M", bound=Message)

MESSAGE_LIMIT = 4 << 20
"""Bytes of a response, exclusive: what a gRPC client receives unless told otherwise."""

REQUEST_LIMIT = 4 << 20
"""Bytes of a request other than an insert: parsed, repeated messages take up to 20 times their bytes."""


STATEMENTS = 2
"""SQL statements at a time: each may take a core for 30 s and 256 MiB (architecture section 15)."""


Unary = Callable[[Call, bytes], bytes]
Streaming = Callable[[Call, bytes], Iterator[bytes]]


def parse(kind: type[M], data: bytes) -> M:
    """The request from its bytes. Raises InvalidArgument, TooBig."""
    if len(data) > REQUEST_LIMIT:
        raise TooBig(f"request of {len(data)} bytes: {kind.DESCRIPTOR.name} may have {REQUEST_LIMIT}")
    return parse_large(kind, data)


def parse_large(kind: type[M], data: bytes) -> M:
    """As parse, for messages that hold one large payload."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        name = kind.DESCRIPTOR.name
        raise InvalidArgument(f"not a {name} message ({len(data)} bytes): {error}") from None


class Desk:
    """Takes calls in for one database."""

    def __init__(self, db: Database, authenticator: Authenticator, *, active: int, random: Random) -> None:
        self.db = db
        self.address = ""  # set when the server listens
        self.places = threading.BoundedSemaphore(active)
        self.statements = threading.BoundedSemaphore(STATEMENTS)
        self.random = random
        self._authenticator = authenticator

    def admit(self, context: grpc.ServicerContext) -> Call:
        """The call, if its key is good; else ends it with UNAUTHENTICATED."""
        value = None
        for key, text in context.invocation_metadata():
            if key == "authorization":
                value = text
        try:
            who = self._authenticator.authenticate(value if value is None or isinstance(value, str) else "")
        except PermissionDenied:
            who = None
        if who is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid api key")
            raise AssertionError("abort raises")
        return Call(self.db, who, self.address)

    def unary(self, method: Unary) -> Callable[[bytes, Any], bytes]:
        """A method as grpc calls it, bytes in and bytes out."""

        def behaviour(data: bytes, context: grpc.ServicerContext) -> bytes:
            call = self.admit(context)
            try:
                with self.places:
                    message = method(call, data)
                check_size(message)
            except Exception as error:
                return self.refuse(error, context)
            return message

        return behaviour

    def streaming(self, method: Streaming, *, statement: bool = False) -> Callable[[bytes, Any], Iterator[bytes]]:
        """`statement`: it works in a place for SQL."""
        places = self.statements if statement else self.places

        def behaviour(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._paced(method(self.admit(context), data), context, places)

        return behaviour

    def _paced(
        self, source: Iterator[bytes], context: grpc.ServicerContext, places: threading.BoundedSemaphore
    ) -> Generator[bytes, None, None]:
        """The messages one by one. A call that ended closes the source, and with it what the source has open."""
        try:
            while True:
                try:
                    with places:
                        message = next(source, None) if context.is_active() else None
                    if message is not None:
                        check_size(message)
                except Exception as error:
                    yield self.refuse(error, context)
                    return
                if message is None:
                    return
                yield message
        finally:
            if isinstance(source, Generator):
                source.close()

    def refuse(self, error: Exception, context: grpc.ServicerContext) -> bytes:
        """The answer to a call that failed; missing permission ends the call instead."""
        if isinstance(error, PermissionDenied):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        return errors.answer(error, self.random)


def check_size(message: bytes) -> None:
    """Raises TooBig: better than a message that the client's own limit drops without a word."""
    if len(message) >= MESSAGE_LIMIT:
        raise TooBig(f"the answer has a message of {len(message)} bytes, below {MESSAGE_LIMIT} are possible")

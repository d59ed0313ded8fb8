"""A gRPC channel to a server: where it is, TLS and the key, calls as bytes, failures as exceptions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NoReturn

import grpc

from lamina.btrdb import answers
from lamina.btrdb.backend import Errors
from lamina.version import __version__

TLS_PORT = "4411"
"""What all clients of BTrDB go by: TLS on this port, clear text on any other."""

UNKNOWN = "; whether the call was carried out is not known"
"""Of a write whose answer got lost."""

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""A server that is back is found within a second: gRPC would fail calls for up to two minutes without trying again."""


def dial(address: str, apikey: str | None) -> Channel:
    """A channel to HOST:PORT; nothing is sent yet. Raises ValueError (no such address; what cannot be a key), OSError
    (BTRDB_CA_BUNDLE)."""
    parts = address.split(":")
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"address {address!r}: expecting address:port")
    if apikey is not None and not (apikey.isascii() and apikey.isprintable()):
        raise ValueError("apikey: expected printable ASCII text; one from a file may end with a line break")
    if parts[1] == TLS_PORT:
        credentials = grpc.ssl_channel_credentials(_trusted())
        return Channel(grpc.secure_channel(address, credentials, options=_OPTIONS), address, apikey)
    return Channel(grpc.insecure_channel(address, options=_OPTIONS), address, apikey)


def _trusted() -> bytes | None:
    """Certificates of BTRDB_CA_BUNDLE, or of certifi if it is installed; None: those that gRPC comes with."""
    bundle = os.environ.get("BTRDB_CA_BUNDLE", "")
    if not bundle:
        try:
            import certifi
        except ModuleNotFoundError:
            return None
        bundle = certifi.where()
    try:
        with open(bundle, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(f"BTRDB_CA_BUNDLE={bundle} cannot be read: {error}") from error


class Channel:
    """Calls of methods by their full path. Thread-safe."""

    def __init__(self, channel: grpc.Channel, address: str = "the server", apikey: str | None = None) -> None:
        self.address = address
        self._channel = channel
        self._metadata = [("x-api-client", f"lamina-{__version__}")]
        if apikey is not None:
            self._metadata.append(("authorization", f"Bearer {apikey}"))
        self._closed = threading.Event()
        self._methods: dict[str, Any] = {}

    def unary(self, path: str, request: bytes, refuse: Errors, *, again: bool = False) -> bytes:
        """The answer. `again`: it may be asked a second time if the connection was lost."""
        method = self._method(path, self._channel.unary_unary, refuse)
        for last in (False, True) if again else (True,):
            try:
                return answers.check(method(request, metadata=self._metadata), refuse.refused)
            except grpc.RpcError as error:
                if last or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self._fail(error, refuse, "" if again else UNKNOWN)
        raise AssertionError("the last call returns or raises")

    def begin(self, path: str, request: bytes, refuse: Errors) -> Callable[[], bytes]:
        """A call that changes something, on its way; the answer is had by calling what is returned."""
        call = self._method(path, self._channel.unary_unary, refuse).future(request, metadata=self._metadata)

        def answer() -> bytes:
            try:
                return answers.check(call.result(), refuse.refused)
            except grpc.RpcError as error:
                self._fail(error, refuse, UNKNOWN)

        return answer

    def stream(self, path: str, request: bytes, refuse: Errors) -> Iterator[bytes]:
        """The messages of an answer. Asked a second time if the connection was lost before the first; what came of an
        answer that broke off is not repeated, so the second would begin anew."""
        method = self._method(path, self._channel.unary_stream, refuse)
        for last in (False, True):
            call = method(request, metadata=self._metadata)
            begun = False
            try:
                for message in call:
                    begun = True
                    yield answers.check(message, refuse.refused)
                return
            except grpc.RpcError as error:
                if last or begun or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self._fail(error, refuse)
            finally:
                call.cancel()

    def both_ways(self, path: str, requests: Iterator[bytes], refuse: Errors) -> Iterator[bytes]:
        """The messages of an answer that goes on while requests do."""
        call = self._method(path, self._channel.stream_stream, refuse)(requests, metadata=self._metadata)
        try:
            for message in call:
                yield answers.check(message, refuse.refused)
        except grpc.RpcError as error:
            self._fail(error, refuse)
        finally:
            call.cancel()

    def close(self) -> None:
        """Every call fails from here on, also those under way. Idempotent."""
        self._closed.set()
        self._channel.close()

    def _method(self, path: str, make: Any, refuse: Errors) -> Any:
        """A method as gRPC calls it, bytes in and bytes out."""
        if self._closed.is_set():
            raise also_rpc_error(refuse.unreachable("UNAVAILABLE", "the connection is closed"), None)
        method = self._methods.get(path)
        if method is None:
            method = self._methods[path] = make(path)
        return method

    def _fail(self, error: grpc.RpcError, refuse: Errors, consequence: str = "") -> NoReturn:
        status, details = error.code().name, error.details() or ""
        if self._closed.is_set():
            status, details = "UNAVAILABLE", "the connection is closed"
        elif status == "UNAVAILABLE":
            details = f"{self.address} cannot be reached: {details}{consequence}"
        raise also_rpc_error(refuse.unreachable(status, details), error) from error


def also_rpc_error(error: Exception, cause: grpc.RpcError | None) -> Exception:
    """The same exception, but programs that catch grpc.RpcError, which BTrDB's own client lets through, catch it
    too."""
    error.__class__ = _with_rpc_error(type(error))  # type: ignore[arg-type]
    error.cause = cause  # type: ignore[attr-defined]
    return error


@cache
def _with_rpc_error(kind: type[Exception]) -> type[Exception]:
    def code(self: Any) -> grpc.StatusCode:
        return self.cause.code() if self.cause is not None else grpc.StatusCode.CANCELLED

    def details(self: Any) -> str:
        return str(self)

    members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "code": code, "details": details}
    return type(kind.__name__, (kind, grpc.RpcError), members)

"""The gRPC server: both services on every port, bytes in and bytes out."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from lamina.errors import Unavailable
from lamina.faces.btrdb import v4, v5
from lamina.faces.btrdb.auth import Authenticator, Everyone
from lamina.faces.btrdb.calls import Desk, Streaming, Unary
from lamina.faces.btrdb.subscribe import Subscriptions
from lamina.random import Random, SystemRandom

if TYPE_CHECKING:
    from lamina.engine.database import Database

MIB = 1 << 20

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 * MIB),  # 2,000,000 points are 40 MB; the default of 4 MiB breaks inserts
    ("grpc.max_concurrent_streams", 128),  # of a connection
    ("grpc.keepalive_time_ms", 30_000),  # a reader that vanished without a word gives its worker back
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may ping as well
    ("grpc.so_reuseport", 0),  # a second server on the port must fail, not take half of the calls
)


class Tls(NamedTuple):
    """A certificate chain and its key, both PEM."""

    chain: bytes
    key: bytes


class Server:
    """The server, and the ports it listens on. Calls are taken from `start` on."""

    def __init__(self, grpc_server: grpc.Server, desk: Desk, advertised: str) -> None:
        self._grpc = grpc_server
        self._desk = desk
        self._desk.address = advertised
        self._given = bool(advertised)

    def add_port(self, host: str, port: int, tls: Tls | None = None) -> int:
        """Listen on one more address; the port, which is chosen if 0. Raises Unavailable if it cannot be had."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = self._grpc.add_insecure_port(address)
            else:
                credentials = grpc.ssl_server_credentials([(tls.key, tls.chain)])
                bound = self._grpc.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: {error}") from None
        if not bound:
            raise Unavailable(f"cannot listen on {address}")
        if not self._given and not self._desk.address:
            self._desk.address = f"{_reachable(host)}:{bound}"
        return int(bound)

    def start(self) -> None:
        self._grpc.start()

    def stop(self, grace_s: float | None = None) -> threading.Event:
        """Take no more calls; those under way may finish within the grace, then they are cancelled. The event is set
        when all have ended."""
        return self._grpc.stop(grace_s)

    def wait_for_termination(self, timeout_s: float | None = None) -> bool:
        """Whether the timeout came first."""
        return self._grpc.wait_for_termination(timeout_s)


def _reachable(host: str) -> str:
    """What a client on another machine may connect to: for "any address" our name."""
    return socket.gethostname() if host in ("0.0.0.0", "::", "") else host


def build_server(
    db: Database,
    authenticator: Authenticator | None = None,
    *,
    workers: int = 128,
    active: int = 8,
    advertised: str = "",
    random: Random | None = None,
) -> Server:
    """A server of one open database, without a port yet.

    `authenticator` None: every caller may do everything. `workers`: calls at a time, each held as long as its answer
    is being read (with 8, 8 streams that nobody reads block every other call). `active`: calls decoding, computing
    or encoding at a time. `advertised`: HOST:PORT that version 4 clients are told to connect to; by default the
    first port added.
    """
    who = Everyone() if authenticator is None else authenticator
    desk = Desk(db, who, active=active, random=random or SystemRandom())
    pool = ThreadPoolExecutor(workers, thread_name_prefix="grpc")
    server = grpc.server(pool, options=_OPTIONS)
    subscribe = grpc.stream_stream_rpc_method_handler(Subscriptions(desk).behaviour)
    server.add_generic_rpc_handlers(
        (
            _handler(desk, v5.SERVICE, v5.UNARY, v5.STREAMING, Subscribe=subscribe),
            _handler(desk, v4.SERVICE, v4.UNARY, v4.STREAMING),
        )
    )
    return Server(server, desk, advertised)


def _handler(
    desk: Desk, service: str, unary: dict[str, Unary], streaming: dict[str, Streaming], **more: Any
) -> grpc.GenericRpcHandler:
    """Without (de)serializers grpc hands over the bytes of a message, and takes those of an answer."""
    methods = {name: grpc.unary_unary_rpc_method_handler(desk.unary(method)) for name, method in unary.items()}
    methods |= {
        name: grpc.unary_stream_rpc_method_handler(desk.streaming(method, statement=name in v5.STATEMENTS))
        for name, method in streaming.items()
    }
    return grpc.method_handlers_generic_handler(service, methods | more)

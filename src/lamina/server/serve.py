"""One server: database, gRPC and HTTP listeners, and an orderly end.

Start: HTTP listens (/alive answers, /ready says 503) -> database opened -> tokens -> gRPC listens -> ready.
End: listeners stop taking calls -> calls under way finish or are cancelled -> database closed. What was
acknowledged is durable by then, so ending sooner, or being killed, loses nothing; it only costs a recovery.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn

import lamina
from lamina.access import Tokens, bootstrap, required_tokens
from lamina.engine.open import LOCK
from lamina.errors import InvalidArgument, Unavailable
from lamina.observe import Registry
from lamina.ops.directory import Directory
from lamina.server.config import Config, is_loopback
from lamina.server.deadlines import Sweep
from lamina.server.heads import OWN_HEADERS
from lamina.server.http import App
from lamina.server.native import open_native
from lamina.server.protocol import protocol_class
from lamina.server.reduct import open_face, provision_buckets, provision_of
from lamina.storage.rules import locked
from lamina.time import SystemClock

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.faces.btrdb.server import Server, Tls
    from lamina.jobs import Jobs

log = logging.getLogger("lamina.server")

SWITCH_INTERVAL_S = 0.0005
"""How long a thread keeps the GIL: at the default 5 ms a flush delays answers to 10 ms at p99, at 0.5 ms to
0.7 ms, and two busy threads lose 8 % of their work (measured)."""

GRACE_S = 3.0
"""For calls under way when the server is told to end; a stream that nobody reads would stay for ever."""

END_S = 9.5
"""From the signal to the end, whatever hangs: supervisors kill after 10 s."""

DESCRIPTORS = 16_384
"""Twice the HTTP connections, until they are refused; as many again for gRPC and files."""

SWEEP_TICKS = 10
"""uvicorn ticks every 0.1 s; deadlines are kept to a second."""


class Addresses(NamedTuple):
    """Where a server listens, as HOST:PORT; `grpcs` is "" without a certificate."""

    http: str
    grpc: str
    grpcs: str

    def ready_line(self) -> str:
        return f"ready http={self.http} grpc={self.grpc}" + (f" grpcs={self.grpcs}" if self.grpcs else "")


def print_ready(addresses: Addresses) -> None:
    """The line that scripts and supervisors wait for, alone on stdout."""
    print(addresses.ready_line(), flush=True)


def run(config: Config, *, on_ready: Callable[[Addresses], None], seconds: float | None = None) -> int:
    """Serve on the main thread until SIGTERM, SIGINT, or so many seconds after it was ready; the exit code.

    0: ended in order; 1: the database was poisoned. Raises what a user can cause: Locked, UnknownFormat,
    Corrupt, InvalidArgument (refused address, certificate), Unavailable (port taken), OSError.
    """
    import uvloop

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _allow_descriptors()

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ready(addresses: Addresses) -> None:
            on_ready(addresses)
            if seconds is not None:
                loop.call_later(seconds, stop.set)

        with _signals(loop, stop):
            return await serve(config, on_ready=ready, stop=stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _allow_descriptors() -> None:
    """As many as are needed, if they may be had: the usual 1,024 are fewer than the connections that are served."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; a second SIGINT, or END_S, ends the process at once."""
    watchdog = threading.Timer(END_S, _give_up)
    watchdog.daemon = True

    def asked(number: signal.Signals) -> None:
        if not stop.is_set():
            log.info("%s: ending", number.name)
            stop.set()
            watchdog.start()
        elif number == signal.SIGINT:
            log.warning("interrupted again: ending at once; the next start recovers from the log")
            os._exit(130)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    try:
        yield
    finally:
        watchdog.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _give_up() -> None:
    log.error("not ended after %g s: ending at once; the next start recovers from the log", END_S)
    os._exit(1)


async def serve(config: Config, *, on_ready: Callable[[Addresses], None], stop: asyncio.Event) -> int:
    """As `run`, on the running loop, until `stop` is set."""
    address = _resolve(config.host)
    _refuse_in_use(Path(config.path))
    registry, clock = Registry(), SystemClock()
    app = App(registry, clock, api_base=config.api_base, cors=config.cors, rates=config.rates, limits=config.http)
    async with _http(app, address, config, Sweep(clock, config.http)) as http:
        port = int(http.address.rpartition(":")[2])
        async with _database(config) as db, _jobs(db, config, address, port) as jobs:
            tokens = await asyncio.to_thread(_tokens, db, config)
            if tokens is None and not config.no_auth and not is_loopback(address):
                raise InvalidArgument(_REFUSED.format(host=config.host, path=config.path))
            await asyncio.to_thread(provision_buckets, db, config.provisioned)
            db.records.max_bytes = config.max_storage
            await asyncio.to_thread(jobs.provision, *_specs(config))
            await asyncio.to_thread(jobs.start)
            async with (
                open_face(db, tokens, config, jobs) as reduct,
                open_native(db, tokens, config, jobs, reduct) as face,
                _grpc(db, tokens, address, config) as (grpc, grpcs),
            ):
                guarded = tokens is None and is_loopback(address)
                authenticate = tokens.authenticate if tokens is not None else None
                app.open_with(db, authenticate, guarded=guarded, face=face)
                _calm_collector()
                on_ready(Addresses(http.address, grpc, grpcs))
                await stop.wait()
                http.should_exit = True  # so that both kinds of calls finish at the same time
            await http.ended.wait()
        return 0 if db.poisoned is None else 1


def _calm_collector() -> None:
    """What was loaded stays for good, so the collector need not look at it again; and it looks for cycles after
    200,000 objects instead of 700: a single write takes 3 to 5 µs less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)


_REFUSED = (
    "refused to listen on {host} without a token: everybody who reaches it could read and change the data. "
    "Set one with --api-token (or LAMINA_API_TOKEN, RS_API_TOKEN), make one with "
    "`lamina token create {path} NAME --full-access`, or say --no-auth"
)


class _Uvicorn(uvicorn.Server):
    """Leaves signals to `run`, keeps deadlines, and tells when it listens and when it has ended."""

    def __init__(self, config: uvicorn.Config, address: str, sweep: Sweep) -> None:
        super().__init__(config)
        self.address = address  # HOST:PORT
        self._sweep = sweep
        self.listening = asyncio.Event()  # or failed to; see `started`
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            self._sweep(self.server_state.connections)
        return bool(await super().on_tick(counter))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


@asynccontextmanager
async def _http(app: App, address: str, config: Config, sweep: Sweep) -> AsyncIterator[_Uvicorn]:
    """HTTP, listening."""
    settings = uvicorn.Config(
        app,
        http=protocol_class(config.http),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # clientip.py has other rules
        headers=OWN_HEADERS,
        timeout_graceful_shutdown=int(GRACE_S),
        ssl_certfile=config.cert or None,
        ssl_keyfile=config.cert_key or None,
    )
    try:
        settings.load()
    except OSError as error:  # ssl.SSLError is one; missing files come without their name
        pair = f"certificate {config.cert} and key {config.cert_key}"
        raise InvalidArgument(f"{pair} do not load: {error}") from None
    listener = _listen(address, config.http_port, "--http-port")
    server = _Uvicorn(settings, _join(address, listener.getsockname()[1]), sweep)
    task = asyncio.create_task(server.serve([listener]))
    try:
        await server.listening.wait()
        if server.started:
            yield server
    finally:
        server.should_exit = True
        await task


def _refuse_in_use(root: Path) -> None:
    """Before any port is tried: a second server on a directory should hear of the first, not that its ports are
    taken. Opening takes the lock that counts. Raises Locked."""
    if root.is_dir() and Directory(root).user():
        place = root / LOCK
        raise locked(str(place), place.read_bytes())


@asynccontextmanager
async def _database(config: Config) -> AsyncIterator[Database]:
    """The open database. Opening may replay a log and closing may flush: both off the loop."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    db = await asyncio.to_thread(lamina.open, config.path, durability=config.durability, inline=False)
    log.info("opened %s in %.2f s", config.path, loop.time() - began)
    try:
        yield db
    finally:
        await asyncio.to_thread(db.close)
        log.info("closed %s", config.path)


@asynccontextmanager
async def _grpc(db: Database, tokens: Tokens | None, address: str, config: Config) -> AsyncIterator[tuple[str, str]]:
    """gRPC, listening; gives HOST:PORT in clear text and with TLS ("" without a certificate)."""
    from lamina.faces.btrdb.server import Tls, build_server

    server = build_server(db, tokens)
    plain = _add_port(server, address, config.grpc_port, "--grpc-port", None)
    secure = ""
    if config.cert:
        tls = Tls(_pem(config.cert), _pem(config.cert_key))
        secure = _add_port(server, address, config.grpc_tls_port, "--grpc-tls-port", tls)
    server.start()
    try:
        yield plain, secure
    finally:
        ended = server.stop(GRACE_S)
        await asyncio.to_thread(ended.wait)


def _pem(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"certificate file {path} cannot be read: {error.strerror}") from None


def _add_port(server: Server, address: str, port: int, flag: str, tls: Tls | None) -> str:
    _listen(address, port, flag).close()  # grpc does not say why it cannot listen, and logs lines about it
    return _join(address, server.add_port(address, port, tls))


@asynccontextmanager
async def _jobs(db: Database, config: Config, address: str, port: int) -> AsyncIterator[Jobs]:
    """What the server does by itself, not begun: made before anything is written, ended after the last call."""
    from lamina.faces.reduct.client import SenderConfig, sender_factory
    from lamina.jobs import Jobs, JobsConfig

    replication, events = config.replication, config.system_events
    connect = sender_factory(
        SenderConfig(
            timeout_s=replication.timeout_s,
            verify_ssl=replication.verify_ssl,
            ca_path=replication.ca_path,
            allow_loopback=replication.allow_loopback or is_loopback(address),
        )
    )
    settings = JobsConfig(
        instance=config.instance_name or socket.gethostname(),
        port=port,
        replication_timeout_s=replication.timeout_s,
        replication_log_size=replication.log_size,
        system_events=events.enabled,
        system_log_level=logging.getLevelNamesMapping()[events.log_level.upper()],
        system_quota_size=events.quota_size,
    )
    jobs = await asyncio.to_thread(Jobs, db, settings, connect)
    try:
        yield jobs
    finally:
        await asyncio.to_thread(jobs.close)


def _specs(config: Config) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """Replications and lifecycle policies that the environment asks for, as (name, settings)."""
    found = config.provisioned
    return (
        [(spec.name, spec.settings) for spec in found.replications],
        [(spec.name, spec.settings) for spec in found.lifecycles],
    )


def _tokens(db: Database, config: Config) -> Tokens | None:
    """Whom to let in; None: everybody."""
    if config.no_auth:
        return None
    provisions = [provision_of(spec) for spec in config.provisioned.tokens]
    bootstrap(db, config.api_token or None, init_token=config.init_token or None, provisioned=provisions)
    tokens = required_tokens(db)
    if tokens is not None and not config.api_token:
        log.info("tokens are required (%d in this directory)", len(tokens.list()))
    return tokens


def _resolve(host: str) -> str:
    """One numeric address for all listeners; IPv4 where a name has both."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidArgument(f"--host {host!r} is no address and does not resolve: {error}") from None
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0])


def _listen(address: str, port: int, flag: str) -> socket.socket:
    """A listening socket. Raises Unavailable."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        hint = f" (another server? {flag} chooses another port)" if error.errno == errno.EADDRINUSE else ""
        reason = os.strerror(error.errno or 0)
        raise Unavailable(f"cannot listen on {_join(address, port)}: {reason}{hint}") from None


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

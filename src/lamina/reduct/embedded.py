"""A directory instead of a server: the database opened in this process, and the HTTP application over it.

All clients of a directory in one process share the open database, its replications and its lifecycle policies; the
last one that is closed closes them. Another process that has the directory open keeps it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.engine.shared import SharedDatabase, open_shared
from lamina.errors import LaminaError
from lamina.reduct.error import UNREACHABLE, ReductError
from lamina.reduct.transport import Body, Header, Lost
from lamina.reduct.transport.memory import MemoryResponse, MemoryTransport

if TYPE_CHECKING:
    from lamina.access import Tokens
    from lamina.engine.database import Database
    from lamina.faces.reduct.config import FaceConfig
    from lamina.jobs import Jobs
    from lamina.settings import Settings

BATCH_RECORDS = 1024
HEADER_BYTES = 1 << 20
"""No wire limits the headers of a batch here; more records in one save nothing any more."""

PUBLIC_URL = "http://localhost:8383/"
"""What links begin with that are made without `base_url`: where `lamina serve` serves the directory by default."""

CLOSED = "the client is closed"


class Directory:
    """A transport to the database in a directory, which is opened by the first request."""

    def __init__(
        self, path: str | os.PathLike[str], settings: Settings | None, *, secured: bool, timeout: float | None
    ) -> None:
        """`secured`: the caller shows a token, and is held to it if the directory has any. Who shows none owns the
        files, and may do everything."""
        self._path = path
        self._settings = settings
        self._secured = secured
        self._timeout = timeout
        self._lock = threading.Lock()  # guards what follows: loops of several threads may use one client
        self._lease: Lease | None = None
        self._transports: dict[asyncio.AbstractEventLoop, MemoryTransport] = {}
        self._closed = False

    async def request(
        self, method: str, path: str, query: str, headers: Sequence[Header], body: Body | None, length: int
    ) -> MemoryResponse:
        loop = asyncio.get_running_loop()
        transport = self._transports.get(loop)
        if transport is None:
            transport = await asyncio.to_thread(self._connect, loop)
        return await transport.request(method, path, query, headers, body, length)

    def _connect(self, loop: asyncio.AbstractEventLoop) -> MemoryTransport:
        """Blocks. Raises ReductError: the directory cannot be opened."""
        from lamina.faces.reduct.app import Face

        with self._lock:
            if self._closed:
                raise Lost(CLOSED)
            made = self._transports.get(loop)
            if made is not None:  # by a request that came at the same time
                return made
            if self._lease is None:
                try:
                    self._lease = Lease(self._path, self._settings)
                except (LaminaError, OSError) as error:
                    raise ReductError(UNREACHABLE, str(error)) from error
            for other in [other for other in self._transports if other.is_closed()]:
                self._transports.pop(other).close()
            host = self._lease.host
            face = Face(
                host.db,
                host.tokens if self._secured else None,
                _config(),
                replications=host.jobs.replications,
                lifecycles=host.jobs.lifecycles,
            )
            transport = self._transports[loop] = MemoryTransport(face, self._timeout, face.close)
            return transport

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            transports, self._transports = self._transports, {}
            for transport in transports.values():
                transport.close()
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()


def _config() -> FaceConfig:
    from lamina.faces.reduct.config import BatchLimits, FaceConfig

    limits = BatchLimits(records=BATCH_RECORDS, header_bytes=HEADER_BYTES, list_bytes=HEADER_BYTES)
    return FaceConfig(public_url=PUBLIC_URL, instance_name=socket.gethostname(), batch=limits)


class Host:
    """What there is once per open database: its jobs, under way, and its tokens; None: it has none, so nobody need show
    one."""

    def __init__(self, db: Database) -> None:
        from lamina.access import required_tokens
        from lamina.faces.reduct.client import SenderConfig, sender_factory
        from lamina.jobs import Jobs, JobsConfig

        self.db = db
        self.users: set[object] = set()
        config = JobsConfig(instance=socket.gethostname(), port=0, system_events=False)
        self.jobs: Jobs = Jobs(db, config, sender_factory(SenderConfig(allow_loopback=True)))
        try:
            self.jobs.start()
            self.tokens: Tokens | None = required_tokens(db)
        except BaseException:
            self.jobs.close()
            raise

    def close(self) -> None:
        self.jobs.close()
        if self.tokens is not None:
            self.tokens.close()


_hosts: dict[Database, Host] = {}
_lock = threading.RLock()
"""Guards `_hosts` and the users of each, also while jobs start and end. Reentrant: the collector may finish a lost
lease while this thread holds it."""


class Lease:
    """A share of a host. One that is lost, or still held at the end of the process, is given back."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings | None) -> None:
        """Blocks. Raises what opening raises."""
        handle = open_shared(path, settings=settings)
        user = object()
        try:
            with _lock:
                host = _hosts.get(handle.database)
                if host is None:
                    host = _hosts[handle.database] = Host(handle.database)
                host.users.add(user)
        except BaseException:
            handle.close()
            raise
        self.host = host
        self._give_back = weakref.finalize(self, _give_back, host, user, handle)

    def close(self) -> None:
        """Blocks. Idempotent."""
        self._give_back()


def _give_back(host: Host, user: object, handle: SharedDatabase) -> None:
    try:
        with _lock:
            host.users.discard(user)
            if not host.users and _hosts.pop(host.db, None) is not None:
                host.close()
    finally:
        handle.close()


def _after_fork() -> None:
    """A forked child has neither the database nor the threads."""
    global _lock
    _lock = threading.RLock()
    _hosts.clear()


os.register_at_fork(after_in_child=_after_fork)

"""The client: of a server, or of a directory."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from lamina.reduct.bucket import Bucket
from lamina.reduct.connection import LINKS_BY_RECORD, Connection
from lamina.reduct.embedded import CLOSED, Directory
from lamina.reduct.error import ReductError
from lamina.reduct.msg.bucket import BucketInfo, BucketSettings
from lamina.reduct.msg.lifecycle import (
    LifecycleDetailInfo,
    LifecycleInfo,
    LifecycleList,
    LifecycleMode,
    LifecycleSettings,
)
from lamina.reduct.msg.replication import (
    ReplicationDetailInfo,
    ReplicationInfo,
    ReplicationList,
    ReplicationMode,
    ReplicationSettings,
)
from lamina.reduct.msg.server import BucketList, ServerInfo
from lamina.reduct.msg.token import (
    FullTokenInfo,
    Permissions,
    Token,
    TokenCreateRequest,
    TokenCreateResponse,
    TokenList,
)
from lamina.reduct.paths import bucket_path
from lamina.reduct.query import JSON
from lamina.reduct.transport import Lost, Transport

if TYPE_CHECKING:
    import builtins

OPTIONS = ("session", "verify_ssl", "settings")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_HOST_AND_PORT = re.compile(r"[^/\\]+:\d+(/.*)?")


class Client:
    """Everything that a ReductStore has, on a server or in a directory.

        async with Client("http://127.0.0.1:8383", api_token="...") as client:   # a server
        async with Client("./data") as client:                                   # a directory, in this process
            bucket = await client.create_bucket("my-bucket", exist_ok=True)

    A directory is opened by the first request and shared with other clients of it in this process; it stays open until
    the client is closed. Without `async with` requests to a server have a connection each. Several event loops, each in
    its thread, may use one client; a forked child has connections of its own, and not the directory.

    Every method raises ReductError: refused, with status and message, or -1 where there was no answer (also of a closed
    client).
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        api_token: str | None = None,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """`url`: http://, https://, or the path of a directory (":memory:" is a database that ends with the client).
        `api_token`: in a directory it is held to what it allows if the directory has tokens; who shows none owns the
        files. `timeout`: seconds for a whole request. `extra_headers`: sent with each.

        Keywords: `session`, an aiohttp.ClientSession to be used, and not to be closed; `verify_ssl`; `settings`, a
        lamina.Settings for the directory. Raises ValueError (neither URL nor path; what cannot be a token), TypeError.
        """
        unknown = [name for name in kwargs if name not in OPTIONS]
        if unknown:
            raise TypeError(f"unknown argument {unknown[0]!r}: expected {', '.join(OPTIONS)}")
        if api_token is not None and not (api_token.isascii() and api_token.isprintable()):
            raise ValueError("api_token: expected printable ASCII text; one from a file may end with a line break")
        self._url = _server(url)
        self._path = url if self._url is not None or os.fspath(url) == ":memory:" else os.path.abspath(url)
        self._secured = api_token is not None
        self._timeout = timeout
        self._options = kwargs
        self._entered = self._closed = False
        self._kept: dict[asyncio.AbstractEventLoop | None, Transport] = {}  # by loop; a directory serves all of them
        self._process = os.getpid()
        self._parents: list[object] = []  # what a parent process kept: letting go of it would reach into its loops
        self._http = Connection(self._transport, api_token, extra_headers)

    def _transport(self) -> Transport:
        """Raises Lost."""
        if self._closed:
            raise Lost(CLOSED)
        if self._process != os.getpid():  # forked: the directory and the connections are the parent's
            self._parents.append(self._kept)
            self._process, self._kept = os.getpid(), {}
        loop = None if self._url is None else asyncio.get_running_loop()
        transport = self._kept.get(loop)
        if transport is not None:
            return transport
        if self._url is None:
            settings = self._options.get("settings")
            transport = Directory(self._path, settings, secured=self._secured, timeout=self._timeout)
        else:
            from lamina.reduct.transport.http import HttpTransport

            transport = HttpTransport(
                self._url,
                self._timeout,
                keep=self._entered,
                session=self._options.get("session"),
                verify_ssl=self._options.get("verify_ssl", True),
            )
            if not self._entered:
                return transport
            for ended in [other for other in self._kept if other is not None and other.is_closed()]:
                del self._kept[ended]
        self._kept[loop] = transport
        return transport

    async def __aenter__(self) -> Client:
        self._entered, self._closed = True, False
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections, give the directory back. Idempotent."""
        self._closed, self._entered = True, False
        kept, self._kept = self._kept, {}
        for loop, transport in kept.items():
            if loop is None or loop is asyncio.get_running_loop():
                await transport.close()
            elif loop.is_running():  # in another thread, which may be waiting for this one
                asyncio.run_coroutine_threadsafe(transport.close(), loop)

    # -- the server and its buckets

    async def info(self) -> ServerInfo:
        """Version and figures."""
        return await self._http.get("/info", ServerInfo)

    async def list(self) -> builtins.list[BucketInfo]:
        """The buckets that may be read, by name."""
        return (await self._http.get("/list", BucketList)).buckets

    async def get_bucket(self, name: str) -> Bucket:
        """A bucket. Raises ReductError: 404 there is none."""
        await self._http.ask("GET", bucket_path(name))
        return Bucket(name, self._http)

    async def create_bucket(self, name: str, settings: BucketSettings | None = None, exist_ok: bool = False) -> Bucket:
        """Make a bucket. Raises ReductError: 409 there is one; with `exist_ok` that one is given, as it is."""
        body = b"" if settings is None else settings.model_dump_json().encode()
        try:
            await self._http.ask("POST", bucket_path(name), body=body)
        except ReductError as error:
            if error.status_code != 409 or not exist_ok:
                raise
        return Bucket(name, self._http)

    # -- tokens

    async def get_token_list(self) -> builtins.list[Token]:
        """All tokens by name."""
        return (await self._http.get("/tokens", TokenList)).tokens

    async def get_token(self, name: str) -> FullTokenInfo:
        """A token with what it allows."""
        return await self._http.get(f"/tokens/{_part(name)}", FullTokenInfo)

    async def create_token(self, name: str, permissions: Permissions, **kwargs: Any) -> str:
        """Make a token; its value, which is not shown again.

        Keywords: `expires_at`, a datetime; `ttl`, seconds without use; `ip_allowlist`, addresses and CIDR blocks."""
        unknown = [name for name in kwargs if name not in ("expires_at", "ttl", "ip_allowlist")]
        if unknown:
            raise TypeError(f"unknown argument {unknown[0]!r}: expected expires_at, ttl, ip_allowlist")
        request = TokenCreateRequest(permissions=permissions, **kwargs)
        if await self._http.version() >= LINKS_BY_RECORD:
            body = request.model_dump_json(exclude_none=True)
        else:
            body = permissions.model_dump_json()
        answer, _ = await self._http.ask("POST", f"/tokens/{_part(name)}", body=body.encode())
        return TokenCreateResponse.model_validate_json(answer).value

    async def rotate_token(self, name: str) -> str:
        """A new value for a token; the old one is refused from now on."""
        answer, _ = await self._http.ask("POST", f"/tokens/{_part(name)}/rotate", body=b"")
        return TokenCreateResponse.model_validate_json(answer).value

    async def remove_token(self, name: str) -> None:
        """Remove a token."""
        await self._http.ask("DELETE", f"/tokens/{_part(name)}")

    async def me(self) -> FullTokenInfo:
        """The token of this client."""
        return await self._http.get("/me", FullTokenInfo)

    # -- replications; in a directory they are at work while it is open

    async def get_replications(self) -> builtins.list[ReplicationInfo]:
        """All replications by name."""
        return (await self._http.get("/replications", ReplicationList)).replications

    async def get_replication_detail(self, replication_name: str) -> ReplicationDetailInfo:
        """Settings, state and recent errors of a replication."""
        return await self._http.get(f"/replications/{_part(replication_name)}", ReplicationDetailInfo)

    async def create_replication(self, replication_name: str, settings: ReplicationSettings) -> None:
        """Send what is written from now on to another server, too."""
        await self._put("POST", f"/replications/{_part(replication_name)}", settings.model_dump_json())

    async def update_replication(self, replication_name: str, settings: ReplicationSettings) -> None:
        """Replace all settings; without a `dst_token` the present one stays."""
        await self._put("PUT", f"/replications/{_part(replication_name)}", settings.model_dump_json())

    async def set_replication_mode(self, replication_name: str, mode: ReplicationMode) -> None:
        """Change nothing but the mode."""
        await self._put("PATCH", f"/replications/{_part(replication_name)}/mode", _mode(mode))

    async def delete_replication(self, replication_name: str) -> None:
        """Remove a replication; what was sent stays there."""
        await self._http.ask("DELETE", f"/replications/{_part(replication_name)}")

    # -- lifecycle policies; in a directory they are at work while it is open

    async def get_lifecycles(self) -> builtins.list[LifecycleInfo]:
        """All policies by name."""
        return (await self._http.get("/lifecycles", LifecycleList)).lifecycles

    async def get_lifecycle_detail(self, lifecycle_name: str) -> LifecycleDetailInfo:
        """Settings and state of a policy."""
        return await self._http.get(f"/lifecycles/{_part(lifecycle_name)}", LifecycleDetailInfo)

    async def create_lifecycle(self, lifecycle_name: str, settings: LifecycleSettings) -> None:
        """Remove, or compress, what has become old, from now on."""
        await self._put("POST", f"/lifecycles/{_part(lifecycle_name)}", settings.model_dump_json())

    async def update_lifecycle(self, lifecycle_name: str, settings: LifecycleSettings) -> None:
        """Replace all settings."""
        await self._put("PUT", f"/lifecycles/{_part(lifecycle_name)}", settings.model_dump_json())

    async def set_lifecycle_mode(self, lifecycle_name: str, mode: LifecycleMode) -> None:
        """Change nothing but the mode."""
        await self._put("PATCH", f"/lifecycles/{_part(lifecycle_name)}/mode", _mode(mode))

    async def delete_lifecycle(self, lifecycle_name: str) -> None:
        """Remove a policy."""
        await self._http.ask("DELETE", f"/lifecycles/{_part(lifecycle_name)}")

    async def _put(self, method: str, path: str, body: str) -> None:
        await self._http.ask(method, path, headers=[JSON], body=body.encode())


def _part(name: str) -> str:
    return quote(name, safe="")


def _mode(mode: ReplicationMode | LifecycleMode | str) -> str:
    """A mode may be given as its text, too."""
    return json.dumps({"mode": getattr(mode, "value", mode)})


def _names_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:  # of the port
        return False


def _server(url: str | os.PathLike[str]) -> str | None:
    """The address of a server without a slash at its end; None: it is the path of a directory. Raises ValueError."""
    if not isinstance(url, str):
        os.fspath(url)
        return None
    scheme = _SCHEME.match(url)
    if scheme is not None:
        if scheme[1].lower() not in ("http", "https") or not _names_server(url):
            raise ValueError(f"{url!r}: expected http://HOST:PORT, https://..., or the path of a directory")
        return url.rstrip("/")
    if not url or _HOST_AND_PORT.fullmatch(url):
        raise ValueError(f"{url!r}: a server's address begins with http:// or https://, a directory's path can with ./")
    return None

"""A whole server without its sockets: what stands before the face, the face, a database, and callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lamina
from lamina.access import Permissions
from lamina.faces.reduct import FaceConfig
from lamina.faces.reduct.tests.asgi import Answer, Client, Headers
from lamina.observe import Registry
from lamina.server.http import App
from lamina.testing.clock import ManualClock

HERE, ELSEWHERE = "here", "elsewhere"

RIGHTS = {
    "reader elsewhere": Permissions(
        read=(ELSEWHERE, f"$streams/{ELSEWHERE}*", f"$points/{ELSEWHERE}*"),
        write=(ELSEWHERE, f"$streams/{ELSEWHERE}*", f"$points/{ELSEWHERE}*"),
    ),
    "reader": Permissions(read=(f"{HERE}*", f"$streams/{HERE}*", f"$points/{HERE}*")),
    "writer": Permissions(write=(f"{HERE}*", f"$streams/{HERE}*", f"$points/{HERE}*")),
    "full": Permissions(full_access=True),
}
"""Callers whose tokens are good; the stars, because an exact name goes from a token with its bucket."""

STRANGERS = ("nobody", "malformed", "unknown", "expired", "idle", "revoked", "from another address")


class Grounds(Client):
    """`clock` is turned by the test; `authorization` is the header of each caller, None: without."""

    def __init__(
        self, path: str | Path = ":memory:", *, tokens: bool = True, guarded: bool = False, threads: int = 2
    ) -> None:
        self.clock = ManualClock()
        super().__init__(
            lamina.open(path, clock=self.clock),
            tokens=tokens,
            config=FaceConfig(hold_s=0.0, threads=threads),
        )
        self.app = App(Registry(), self.clock)
        authenticate = self.tokens.authenticate if self.tokens is not None else None
        self.app.open_with(self.db, authenticate, guarded=guarded, face=self.face)
        self.authorization: dict[str, str | None] = {}
        self.secrets: list[str] = []
        if self.tokens is not None:
            self._invite()

    def _invite(self) -> None:
        tokens, full = self.tokens, RIGHTS["full"]
        assert tokens is not None, "asked for by the caller"
        values = {name: tokens.create(name.replace(" ", "-"), rights) for name, rights in RIGHTS.items()}
        values["expired"] = tokens.create("expired", full, self.clock.wall_us() * 1000 + 10**9)
        values["idle"] = tokens.create("idle", full, ttl_s=1)
        values["revoked"] = tokens.create("revoked", full)
        values["from another address"] = tokens.create("addressed", full, ip_allowlist=["10.0.0.0/8"])
        for value in values.values():  # known by now, so that a cache cannot help the dead
            if value != values["from another address"]:
                tokens.identify(f"Bearer {value}", None)
        self.clock.advance(2)
        tokens.remove("revoked")
        self.secrets = [value.rpartition("-")[2] for value in values.values()]
        self.authorization = {name: f"Bearer {value}" for name, value in values.items()}
        self.authorization |= {
            "nobody": None,
            "malformed": f"Basic {values['full']}",
            "unknown": f"Bearer full-{'0' * 32}",
        }

    async def arequest(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Headers = (), *, api: bool = True
    ) -> Answer:
        request = self.prepare(method, path, body, headers, api=api)
        if not any(name == b"host" for name, _ in request.scope["headers"]):
            request.scope["headers"].append((b"host", b"localhost:8383"))
        await asyncio.wait_for(self.app(request.scope, request.receive, request.send), 20)
        return request.answer()

    def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        api: bool = True,
    ) -> Answer:
        """As one of the callers."""
        shown = self.authorization[who]
        own = {} if shown is None else {"authorization": shown}
        return self.request(method, path, body, {**(headers or {}), **own}, api=api)

    def content(self) -> Any:
        """Everything that a request may change, as it is now."""
        buckets = []
        for bucket in self.db.buckets.list():
            found = [(entry.name, _records(bucket.entry(entry.name))) for entry in bucket.entry_infos()]
            buckets.append((bucket.info(), bucket.settings, found))
        tokens = [info._replace(last_access_us=0) for info in self.tokens.list()] if self.tokens is not None else []
        jobs = [sorted((name, str(value)) for name, value in kind.settings.items())
                for kind in (self.replications, self.lifecycles)]  # fmt: skip
        return buckets, tokens, jobs


def _records(entry: Any) -> list[Any]:
    return [(record.time_us, record.labels, record.content_type, record.size) for record in entry.query()]

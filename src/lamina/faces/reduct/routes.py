"""Every route of the API in one table: method, path, who may, and what answers it (contract 3 to 15).

In a path `{bucket}` is one segment and `{entry*}` the rest, slashes included; percent-encoding is undone behind the
split. Longer patterns come before shorter ones, so that /batch, /q and /rename are taken off an entry's end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

from lamina.faces.reduct import (
    batches,
    buckets,
    entries,
    io,
    links,
    openapi,
    queries,
    records,
    server,
    tokens,
)
from lamina.faces.reduct.commits import Done
from lamina.faces.reduct.managed import lifecycles, replications

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call

Right = Literal["none", "any", "read", "write", "query", "full"]
"""Who may call: everybody; the holder of any token; who may read or write the bucket of the path; `query`: who may
read it, or write it where the body says REMOVE. There, and for links, whose bucket is in the body, the handler looks
again."""

Handler = Callable[["Call"], Awaitable[None]]

Taker = Callable[["Call", dict[str, Any], bytes, Done], bool]
"""What may answer a request that is there as a whole, without a task: call, memo of its headers, body, and whom to tell
of the end. False: nothing was done, the handler does it. What it raises has left nothing behind either."""

MATCHES, LONGEST = 4096, 512
"""Paths remembered, and bytes of one: clients use a few per entry. 4 MiB at most."""


class Route(NamedTuple):
    """`pattern` lies under {base}api/v1."""

    method: str
    pattern: str
    right: Right
    handler: Handler
    taker: Taker | None = None


ROUTES: tuple[Route, ...] = (
    Route("GET", "/info", "any", server.info),
    Route("GET", "/list", "any", server.list_buckets),
    Route("GET", "/alive", "none", server.alive),
    Route("HEAD", "/alive", "none", server.alive),
    Route("GET", "/ready", "none", server.ready),
    Route("HEAD", "/ready", "none", server.ready),
    Route("GET", "/me", "any", tokens.me),
    Route("GET", "/openapi.json", "any", openapi.serve),
    Route("POST", "/b/{bucket}", "full", buckets.create),
    Route("GET", "/b/{bucket}", "read", buckets.get),
    Route("HEAD", "/b/{bucket}", "any", buckets.head),
    Route("PUT", "/b/{bucket}", "full", buckets.update),
    Route("DELETE", "/b/{bucket}", "full", buckets.remove),
    Route("PUT", "/b/{bucket}/rename", "full", buckets.rename),
    Route("PUT", "/b/{bucket}/{entry*}/rename", "write", entries.rename),
    Route("POST", "/b/{bucket}/{entry*}/batch", "write", batches.write, batches.take),
    Route("GET", "/b/{bucket}/{entry*}/batch", "read", batches.read),
    Route("HEAD", "/b/{bucket}/{entry*}/batch", "read", batches.read),
    Route("PATCH", "/b/{bucket}/{entry*}/batch", "write", batches.update),
    Route("DELETE", "/b/{bucket}/{entry*}/batch", "write", batches.remove),
    Route("POST", "/b/{bucket}/{entry*}/q", "query", queries.create),
    Route("GET", "/b/{bucket}/{entry*}/q", "read", queries.create_from_url),
    Route("DELETE", "/b/{bucket}/{entry*}/q", "write", queries.remove_from_url),
    Route("POST", "/b/{bucket}/{entry*}", "write", records.write, records.take),
    Route("GET", "/b/{bucket}/{entry*}", "read", records.read),
    Route("HEAD", "/b/{bucket}/{entry*}", "read", records.read),
    Route("PATCH", "/b/{bucket}/{entry*}", "write", records.update),
    Route("DELETE", "/b/{bucket}/{entry*}", "write", records.remove),
    Route("POST", "/io/{bucket}/write", "write", io.write),
    Route("GET", "/io/{bucket}/read", "read", io.read),
    Route("HEAD", "/io/{bucket}/read", "read", io.read),
    Route("PATCH", "/io/{bucket}/update", "write", io.update),
    Route("DELETE", "/io/{bucket}/remove", "write", io.remove),
    Route("POST", "/io/{bucket}/q", "query", queries.create_in_bucket),
    Route("POST", "/links/{file*}", "any", links.create),
    Route("GET", "/links/{file*}", "none", links.follow),
    Route("HEAD", "/links/{file*}", "none", links.follow),
    Route("GET", "/tokens", "full", tokens.list_tokens),
    Route("POST", "/tokens/{name}", "full", tokens.create),
    Route("GET", "/tokens/{name}", "full", tokens.get),
    Route("DELETE", "/tokens/{name}", "full", tokens.remove),
    Route("POST", "/tokens/{name}/rotate", "full", tokens.rotate),
    Route("GET", "/replications", "full", replications.list),
    Route("POST", "/replications/{name}", "full", replications.create),
    Route("GET", "/replications/{name}", "full", replications.get),
    Route("PUT", "/replications/{name}", "full", replications.update),
    Route("PATCH", "/replications/{name}/mode", "full", replications.set_mode),
    Route("DELETE", "/replications/{name}", "full", replications.remove),
    Route("GET", "/lifecycles", "full", lifecycles.list),
    Route("POST", "/lifecycles/{name}", "full", lifecycles.create),
    Route("GET", "/lifecycles/{name}", "full", lifecycles.get),
    Route("PUT", "/lifecycles/{name}", "full", lifecycles.update),
    Route("PATCH", "/lifecycles/{name}/mode", "full", lifecycles.set_mode),
    Route("DELETE", "/lifecycles/{name}", "full", lifecycles.remove),
)


class Match(NamedTuple):
    """What a path leads to: routes by method, and the values of the pattern's names in their order."""

    routes: dict[str, Route]
    values: tuple[str, ...]


NO_MATCH = Match({}, ())


class Router:
    """Finds routes by the raw path of a request."""

    def __init__(self, base_path: str) -> None:
        self._prefix = f"{base_path}api/v1/".encode()
        by_pattern: dict[str, dict[str, Route]] = {}
        for route in ROUTES:
            by_pattern.setdefault(route.pattern, {})[route.method] = route
        # more literal segments first: /b/x/y/batch is a batch, not the entry y/batch
        self._patterns = sorted(
            ((pattern.strip("/").split("/"), routes) for pattern, routes in by_pattern.items()),
            key=lambda item: -sum(not part.startswith("{") for part in item[0]),
        )
        self._known: dict[tuple[bytes, str], Match] = {}

    def match(self, raw_path: bytes, method: str) -> Match:
        """NO_MATCH where the path is none of the API."""
        key = raw_path, method
        found = self._known.get(key)
        if found is None:
            found = self._find(raw_path, method)
            if len(raw_path) <= LONGEST:
                if len(self._known) >= MATCHES:
                    self._known.clear()
                self._known[key] = found
        return found

    def _find(self, raw_path: bytes, method: str) -> Match:
        if not raw_path.startswith(self._prefix):
            return NO_MATCH
        parts = raw_path[len(self._prefix) :].decode("latin-1").split("/")
        fallback = NO_MATCH
        for pattern, routes in self._patterns:
            values = _fit(pattern, parts)
            if values is None:
                continue
            match = Match(routes, tuple(unquote(value, errors="replace") for value in values))
            if method in routes:
                return match
            if fallback is NO_MATCH:
                fallback = match
            if any(part.endswith("*}") for part in pattern):
                break
            # PUT /b/x/rename renames the bucket x; GET /b/x/rename reads its entry "rename": look on
        return fallback


def _fit(pattern: list[str], parts: list[str]) -> list[str] | None:
    """Values of the pattern's names, or None."""
    values: list[str] = []
    for i, wanted in enumerate(pattern):
        if wanted.endswith("*}"):
            tail = len(pattern) - i - 1
            rest = parts[i : len(parts) - tail]
            if not rest or not any(rest) or parts[len(parts) - tail :] != pattern[i + 1 :]:
                return None
            return [*values, "/".join(rest)]
        if i >= len(parts):
            return None
        if wanted.startswith("{"):
            if not parts[i]:
                return None
            values.append(parts[i])
        elif wanted != parts[i]:
            return None
    return values if len(pattern) == len(parts) else None

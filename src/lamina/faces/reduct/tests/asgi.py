"""A tiny ASGI client, and a face over a database in memory to drive with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import lamina
from lamina.access import Tokens
from lamina.engine.database import Database
from lamina.errors import AlreadyExists, InvalidArgument, NotFound
from lamina.faces.reduct import Face, FaceConfig, Observer

API = "/api/v1"
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.headers["x-reduct-error"]

    @property
    def labels(self) -> dict[str, str]:
        prefix = "x-reduct-label-"
        return {name.removeprefix(prefix): value for name, value in self.headers.items() if name.startswith(prefix)}


class Request:
    """One request under way: what the application is given, and what it sends."""

    def __init__(self, method: str, path: str, headers: Headers, body: bytes | Iterable[bytes]) -> None:
        raw_path, _, query = path.partition("?")
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.chunks = [body] if isinstance(body, bytes) else list(body)
        fields = [(name.lower().encode(), value.encode("utf-8", "surrogateescape")) for name, value in pairs]
        whole = isinstance(body, bytes) and bool(body or method in ("POST", "PUT", "PATCH"))
        if whole and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", b"%d" % len(self.chunks[0])))
        self.scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": raw_path, "raw_path": raw_path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": fields, "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8383),
        }  # fmt: skip
        self.gone = False  # the client hangs up after its last chunk, before the body is complete
        self.reads = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        self.reads += 1
        if self.chunks:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks) or self.gone}
        if self.gone or self.reads > 10_000:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append({**message, "body": bytes(message.get("body", b""))})
        await asyncio.sleep(0)

    def answer(self) -> Answer:
        start, *parts = self.sent
        assert start["type"] == "http.response.start"
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
        body = b"".join(part["body"] for part in parts)
        headers: dict[str, str] = {}
        for name, value in start["headers"]:
            assert name == name.lower(), "header names go out in lower case"
            assert name.decode() not in headers, f"{name!r} is sent twice"
            headers[name.decode()] = value.decode("ascii")
        if start["status"] == 204:
            assert not body
            assert "content-length" not in headers
        elif self.scope["method"] == "HEAD":
            assert not body
        else:
            assert int(headers["content-length"]) == len(body)
        return Answer(start["status"], headers, body)


class Client:
    """Drives a face on an event loop of its own; every call waits for the whole answer."""

    def __init__(
        self,
        db: Database | None = None,
        *,
        tokens: bool = False,
        config: FaceConfig | None = None,
        observer: Observer | None = None,
        threads: int = 4,
    ) -> None:
        self.db = db if db is not None else lamina.open(":memory:")
        self.tokens = Tokens(self.db) if tokens else None
        self.replications, self.lifecycles = JobsInMemory("Replication"), JobsInMemory("Lifecycle")
        self.face = Face(
            self.db,
            self.tokens,
            config or FaceConfig(hold_s=0.05, threads=threads),
            replications=self.replications,
            lifecycles=self.lifecycles,
            observer=observer,
        )
        self._runner = asyncio.Runner()
        self.token = ""

    def close(self) -> None:
        self._runner.close()
        self.face.close()
        self.db.close()

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Headers = (), *, api: bool = True
    ) -> Answer:
        return self.run(self.arequest(method, path, body, headers, api=api))

    async def arequest(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Headers = (), *, api: bool = True
    ) -> Answer:
        request = self.prepare(method, path, body, headers, api=api)
        await self.face(request.scope, request.receive, request.send)
        return request.answer()

    def prepare(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Headers = (), *, api: bool = True
    ) -> Request:
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if self.token:
            pairs.append(("authorization", f"Bearer {self.token}"))
        return Request(method, (API if api else "") + path, pairs, body)

    def get(self, path: str, headers: Headers = ()) -> Answer:
        return self.request("GET", path, headers=headers)

    def head(self, path: str, headers: Headers = ()) -> Answer:
        return self.request("HEAD", path, headers=headers)

    def post(self, path: str, body: Any = b"", headers: Headers = ()) -> Answer:
        return self.request("POST", path, _bytes(body), headers)

    def put(self, path: str, body: Any = b"", headers: Headers = ()) -> Answer:
        return self.request("PUT", path, _bytes(body), headers)

    def patch(self, path: str, body: Any = b"", headers: Headers = ()) -> Answer:
        return self.request("PATCH", path, _bytes(body), headers)

    def delete(self, path: str, headers: Headers = ()) -> Answer:
        return self.request("DELETE", path, headers=headers)

    # -- shorthands ----------------------------------------------------------------------------------------------

    def bucket(self, name: str, **settings: Any) -> None:
        assert self.post(f"/b/{name}", settings).status == 200

    def write(self, entry: str, time_us: int, content: bytes = b"", labels: Mapping[str, str] | None = None,
              content_type: str | None = None) -> Answer:  # fmt: skip
        """`entry` is BUCKET/ENTRY."""
        headers = {f"x-reduct-label-{name}": value for name, value in (labels or {}).items()}
        if content_type is not None:
            headers["content-type"] = content_type
        return self.post(f"/b/{entry}?ts={time_us}", content, headers)

    def query(self, path: str, **members: Any) -> int:
        answer = self.post(f"{path}/q", {"query_type": "QUERY", **members})
        assert answer.status == 200, answer
        return answer.json["id"]

    def times(self, path: str, **members: Any) -> list[int]:
        """Times of all records of a v1 query."""
        id = self.query(path, **members)
        found: list[int] = []
        while (answer := self.head(f"{path}/batch?q={id}")).status == 200:
            found += batch_times(answer)
        assert answer.status == 204, answer
        return found


def batch_times(answer: Answer) -> list[int]:
    """Times of the records of a v1 batch, in the order of its headers."""
    prefix = "x-reduct-time-"
    return [int(name.removeprefix(prefix)) for name in answer.headers if name.startswith(prefix)]


def _bytes(body: Any) -> bytes | Iterable[bytes]:
    return json.dumps(body).encode() if isinstance(body, dict) else body


class JobsInMemory:
    """Stands for lamina.jobs: keeps what it is given."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.settings: dict[str, dict[str, Any]] = {}

    def _found(self, name: str) -> dict[str, Any]:
        if name not in self.settings:
            raise NotFound(f"{self.kind} '{name}' does not exist")
        return self.settings[name]

    def list(self) -> list[dict[str, Any]]:
        return [self._info(name) for name in sorted(self.settings)]

    def _info(self, name: str) -> dict[str, Any]:
        return {"name": name, "mode": self.settings[name].get("mode", "enabled")}

    def get(self, name: str) -> dict[str, Any]:
        return {"settings": self._found(name), "info": self._info(name)}

    def create(self, name: str, settings: Mapping[str, Any]) -> None:
        if name in self.settings:
            raise AlreadyExists(f"{self.kind} '{name}' already exists")
        self.settings[name] = dict(settings)

    def update(self, name: str, settings: Mapping[str, Any]) -> None:
        self._found(name)
        self.settings[name] = dict(settings)

    def set_mode(self, name: str, mode: str) -> None:
        if mode not in ("enabled", "paused", "disabled", "dry_run"):
            raise InvalidArgument(f"mode {mode!r}")
        self._found(name)["mode"] = mode

    def remove(self, name: str) -> None:
        self._found(name)
        del self.settings[name]

"""Requests as the API has them, over whatever transport: who asks, which version answers, what a refusal looks like.

A request that is only a question is asked again if its connection broke before an answer came; nothing else is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel

from lamina.reduct.error import UNREACHABLE, ReductError
from lamina.reduct.record import Content
from lamina.reduct.transport import Body, Header, Lost, Response, Transport

API = "/api/v1"
MAJOR, MINOR = 1, 21
"""Version of the API that is spoken here."""

Version = tuple[int, int]

SEVERAL_ENTRIES: Version = (1, 18)
"""From here on `/io` takes and gives records of several entries."""

LINKS_BY_RECORD: Version = (1, 19)
"""From here on a link names its record, and a token's permissions are a member of what creates it."""

RECENT = 2
"""Minor versions behind this one that are passed over in silence."""

Model = TypeVar("Model", bound=BaseModel)


class Connection:
    """What the classes of one client share. `transport` gives the transport of the running loop."""

    def __init__(
        self, transport: Callable[[], Transport], api_token: str | None, extra_headers: Mapping[str, str] | None
    ) -> None:
        self._transport = transport
        self._headers: list[Header] = list((extra_headers or {}).items())
        if api_token is not None:
            self._headers.append(("Authorization", f"Bearer {api_token}"))
        self._version_text = ""
        self._version: Version | None = None
        self.legacy = True
        """Whether the server honours what `when` replaced: ReductStore dropped it silently with API 1.21."""

    async def request(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Sequence[Header] = (),
        body: Body | None = None,
        *,
        length: int | None = None,
    ) -> Response:
        """Ask once, and give the answer's head; its body is still to be read or closed. `length` is that of a body that
        is not a whole. Raises ReductError: refused, or no answer (`Lost`); TimeoutError."""
        if length is None:
            assert body is None or isinstance(body, bytes), "nobody else knows the length"
            length = 0 if body is None else len(body)
        sent = [*self._headers, *headers]
        answer = await self._transport().request(method, API + path, query, sent, body, length)
        try:
            self._note(answer)
        except BaseException:
            await answer.close()
            raise
        if answer.status >= 300:
            await answer.close()
            raise ReductError(answer.status, value(answer.headers, "x-reduct-error") or "Unknown error")
        return answer

    async def ask(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Sequence[Header] = (),
        body: Body | None = None,
        *,
        length: int | None = None,
        repeat: bool = False,
    ) -> tuple[bytes, Sequence[Header]]:
        """As `request`; body and headers of the whole answer. With `repeat`, and if the method only reads, once more
        where the connection broke."""
        try:
            return await self._whole(method, path, query, headers, body, length)
        except Lost:
            if not repeat and method != "GET":
                raise
            return await self._whole(method, path, query, headers, body, length)

    async def _whole(
        self, method: str, path: str, query: str, headers: Sequence[Header], body: Body | None, length: int | None
    ) -> tuple[bytes, Sequence[Header]]:
        answer = await self.request(method, path, query, headers, body, length=length)
        try:
            return joined(await answer.pieces()), answer.headers
        finally:
            await answer.close()

    async def get(self, path: str, model: type[Model]) -> Model:
        """What lies there, as a model."""
        body, _ = await self.ask("GET", path)
        return model.model_validate_json(body)

    async def version(self) -> Version:
        """Of the server's API, asked for if no answer told it yet."""
        if self._version is None:
            await self.ask("GET", "/info")
        return self._version or (MAJOR, MINOR)  # older than the header

    async def needs(self, version: Version, what: str) -> None:
        """Raises ReductError if the server is older than that."""
        if await self.version() < version:
            raise ReductError(
                -1,
                f"{what} is not supported by the server. Requires server version {version[0]}.{version[1]} or higher.",
            )

    def _note(self, answer: Response) -> None:
        """Take notice of what the server is. Raises ReductError for another major version, and if it is no ReductStore:
        a proxy that says 200 to everything must not pass for a record that was stored."""
        text = value(answer.headers, "x-reduct-api")
        server = value(answer.headers, "server") or ""
        if text is None and self._version is None and answer.status < 300 and "ReductStore" not in server:
            raise ReductError(UNREACHABLE, "what answers is no ReductStore: it tells no version of the API")
        if text is None or text == self._version_text:
            return
        major, _, minor = text.partition(".")
        if not (major.isdecimal() and minor.isdecimal() and int(major) == MAJOR):
            raise ReductError(400, f"Unsupported API version {text}. Client version is {MAJOR}.{MINOR}.")
        self._version = int(major), int(minor)
        self._version_text = text
        self.legacy = "Lamina" in server or self._version < (1, 16)
        if int(minor) + RECENT < MINOR:
            warnings.warn(
                f"Warning: Server API version is too old: {text}, please update the server to {MAJOR}.{MINOR}",
                stacklevel=2,
            )


def value(headers: Sequence[Header], name: str) -> str | None:
    """The value of a header; None if it is absent."""
    for found, text in headers:
        if found == name:
            return text
    return None


def joined(pieces: Sequence[Content]) -> bytes:
    """All of a body; a single piece is not copied."""
    if len(pieces) == 1 and isinstance(pieces[0], bytes):
        return pieces[0]
    return b"".join(pieces)

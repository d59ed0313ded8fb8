"""A server over HTTP/1.1, by aiohttp: TLS, redirects and connections kept open are its.

aiohttp sends some requests again when a kept connection turns out to be closed. Reading on in a query is a GET that is
not to be repeated: the server may have moved on. So that is switched off here (`_Once`), and `lamina.reduct.connection`
decides. A session of the program's own is left as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from lamina.reduct.record import Content
from lamina.reduct.transport import Body, Header, Lost

CONNECT_S = 30.0
"""For a connection, where the program sets no timeout of its own."""

READ_BYTES = 1 << 18
"""Buffered of an answer before its connection is not read for a while."""

LARGE_BYTES = 1 << 20
"""Longer bodies are handed to the socket in pieces: one write of them would hold the event loop."""

CONTINUE_BYTES = 64_000_000
"""Longer ones wait for the server's consent, so that a refusal costs nothing."""

REPEATED = ("GET", "HEAD", "PUT", "DELETE")
"""Requests that aiohttp would send again."""

HEADERS, HEADER_BYTES = 2048, 1 << 20
"""Taken in an answer: batches have one per record, and labels may be long."""


class HttpTransport:
    """Of one server. Without `keep` each request has a connection of its own, and nothing needs to be closed."""

    def __init__(
        self,
        url: str,
        timeout: float | None,
        *,
        keep: bool,
        session: aiohttp.ClientSession | None = None,
        verify_ssl: bool = True,
    ) -> None:
        base = URL(url)
        self._scheme, self._authority = base.scheme, base.raw_authority
        self._base = base.raw_path.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_S)
        self._ssl = verify_ssl
        self._session = session
        self._keep = keep
        self._own = session is None

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=not self._keep),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            read_bufsize=READ_BYTES,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
        )

    async def request(
        self, method: str, path: str, query: str, headers: Sequence[Header], body: Body | None, length: int
    ) -> HttpResponse:
        session = self._session
        if session is None:
            session = self._new_session()
            if self._keep:
                self._session = session
        fields = CIMultiDict(headers)
        given = _Given(body)
        if body is not None:
            fields["Content-Length"] = str(length)
        try:
            answer = await session.request(
                method,
                URL.build(
                    scheme=self._scheme,
                    authority=self._authority,
                    path=self._base + path,
                    query_string=query,
                    encoded=True,
                ),
                data=given.data(length),
                headers=fields,
                timeout=self._timeout,
                ssl=self._ssl,
                expect100=length > CONTINUE_BYTES,
                middlewares=(_Once(),) if self._own and method in REPEATED else None,
            )
        except BaseException as error:
            if not self._keep and self._own:
                await session.close()
            if given.failure is not None:
                raise given.failure from None
            if isinstance(error, TimeoutError) or not isinstance(error, aiohttp.ClientError | OSError | RuntimeError):
                raise
            raise Lost(_said(error)) from error
        return HttpResponse(answer, None if self._keep or not self._own else session)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and self._own:
            await session.close()


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


class _Once:
    """A middleware that lets one attempt through."""

    def __init__(self) -> None:
        self._failed: Exception | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._failed is not None:
            raise Lost(_said(self._failed)) from self._failed
        try:
            return await handler(request)
        except Exception as error:
            self._failed = error
            raise


class _Given:
    """A request's body, and what its iterator raised: aiohttp tells of a connection that broke instead."""

    def __init__(self, body: Body | None) -> None:
        self._body = body
        self.failure: Exception | None = None

    def data(self, length: int) -> Any:
        """As aiohttp takes it."""
        body = self._body
        if body is None:
            return None
        if isinstance(body, bytes):
            return body if length <= LARGE_BYTES else self._pieces(body)
        if isinstance(body, list):
            return b"".join(body) if length <= LARGE_BYTES else self._each(body)
        return self._watched(body)

    async def _pieces(self, body: bytes) -> AsyncIterator[Content]:
        view = memoryview(body)
        for at in range(0, len(view), LARGE_BYTES):
            yield view[at : at + LARGE_BYTES]

    async def _each(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def _watched(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in body:
                yield piece
        except Exception as error:
            self.failure = error
            raise


class HttpResponse:
    def __init__(self, answer: aiohttp.ClientResponse, session: aiohttp.ClientSession | None) -> None:
        self._answer = answer
        self._session = session  # to be closed with the answer
        self.status = answer.status
        self.headers: Sequence[Header] = [(name.lower(), value) for name, value in answer.headers.items()]

    async def chunks(self) -> AsyncIterator[Content]:
        with _told():
            async for chunk, _ in self._answer.content.iter_chunks():
                if chunk:
                    yield chunk
        await self._release()

    async def pieces(self) -> Sequence[Content]:
        content = self._answer.content
        found = []
        if not content.at_eof():
            with _told():
                while not content.at_eof():
                    chunk, _ = await content.readchunk()
                    if chunk:
                        found.append(chunk)
        if self._session is not None:
            await self._release()
        return found

    async def close(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()  # what was not read would come first on that connection
        await self._release()

    async def _release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


@contextmanager
def _told() -> Iterator[None]:
    """aiohttp's errors as this client's."""
    try:
        yield
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise Lost(_said(error)) from error

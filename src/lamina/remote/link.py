"""The way to a server: one call at a time over a pool of connections, and what becomes of one that fails."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import numpy as np

from lamina.errors import (
    Closed,
    Corrupt,
    InvalidArgument,
    LaminaError,
    OutcomeUnknown,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from lamina.storage.files import Buffer
from lamina.version import __version__
from lamina.wire import CALL_TYPE, JSON_TYPE, PREFIX, VERSION, arrow, failures, frames
from lamina.wire.calls import CALLS, Call

CONNECT_S = 10.0

KEPT = 20
"""Connections kept for the next calls. There is no bound on those in use: an iteration holds one."""

_STATUSES: dict[int, type[LaminaError]] = {
    401: Unauthenticated, 403: PermissionDenied, 429: Unavailable, 500: LaminaError, 502: Unavailable,
    503: Unavailable, 504: Unavailable,
}  # fmt: skip
"""Of answers that are no errors of ours: what stands before the face says them, or something between."""


class Link:
    """Thread-safe. Made by `connect`; every object of one database goes through the same."""

    def __init__(self, url: str, token: str | None, *, timeout_s: float, verify: bool | str | ssl.SSLContext) -> None:
        self.url = _checked(url)
        headers = {"user-agent": f"lamina/{__version__}"}
        if token is not None:
            headers["authorization"] = f"Bearer {_token(token)}"
        secure = self.url.startswith("https:")
        try:
            self._client = httpx.Client(
                base_url=self.url + PREFIX,
                headers=headers,
                timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT),
                verify=_trust(verify) if secure else False,
                follow_redirects=False,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise InvalidArgument(f"url {url!r}: {error}") from None
        self._pid = os.getpid()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Idempotent. Iterations under way end with Closed or Unavailable."""
        self._closed = True
        if self._pid == os.getpid():
            self._client.close()

    def check_open(self) -> None:
        if self._pid != os.getpid():
            raise Closed(f"the database was opened by process {self._pid}; a forked child cannot use it")
        if self._closed:
            raise Closed("the database is closed")

    def hello(self) -> dict[str, Any]:
        """What the server says of itself. Raises Unavailable, Unauthenticated, InvalidArgument (it is none of
        Lamina's, or speaks another version)."""
        with self.answered(httpx.Request("GET", self._client.base_url, headers=self._client.headers), True) as answer:
            body = answer.read()
        try:
            told = json.loads(body)
            version = told["wire"]
        except (ValueError, TypeError, KeyError):
            raise InvalidArgument(f"{self.url} is no server of Lamina's: it answers {body[:60]!r}") from None
        if version != VERSION:
            raise InvalidArgument(
                f"{self.url} speaks version {version} of Lamina's protocol, this client ({__version__}) {VERSION}"
            )
        return dict(told)

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The value that a call gives; for an iteration an iterator, whose call is made when it is first asked."""
        call = CALLS[name]
        body = _json(call, arguments)
        if call.result.form in ("json", "columns"):
            with self.answered(self._request(call, body, JSON_TYPE), call.safe) as answer:
                return _value(call, _read(answer))
        return _Portions(self, call, self._request(call, body, JSON_TYPE))

    def send(self, name: str, payload: Buffer | Iterable[Buffer], length: int, /, **arguments: Any) -> Any:
        """As call, with a payload of so many bytes behind the arguments."""
        call = CALLS[name]
        head = frames.heading(_json(call, arguments))
        pieces = [payload] if isinstance(payload, (bytes, bytearray, memoryview)) else payload
        request = self._request(call, _joined(head, pieces), CALL_TYPE, len(head) + length)
        with self.answered(request, call.safe) as answer:
            return _value(call, _read(answer))

    def content(self, name: str, /, **arguments: Any) -> Iterator[memoryview]:
        """The bytes of a content in parts, as they come. Raises as the call does, and Unavailable where they end too
        soon."""
        call = CALLS[name]
        with self.answered(self._request(call, _json(call, arguments), JSON_TYPE), call.safe) as answer:
            left = int(answer.headers["content-length"])
            for chunk in _chunks(answer):
                left -= len(chunk)
                yield memoryview(chunk)
            if left:
                raise Unavailable(f"the connection to {self.url} broke {left} bytes before the end of a content")

    # -- one request ---------------------------------------------------------------------------------------------

    def _request(self, call: Call, body: Any, kind: str, length: int | None = None) -> httpx.Request:
        self.check_open()
        headers = {"content-type": kind}
        if length is not None:
            headers["content-length"] = str(length)
        request = self._client.build_request("POST", call.name, content=body, headers=headers)
        if call.slow:
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": None}
        return request

    @contextmanager
    def answered(self, request: httpx.Request, safe: bool) -> Iterator[httpx.Response]:
        """The answer to a request, its body not read. Errors of the server are raised as what they are there.

        A call that changes nothing is made once more where the connection broke before its answer came: a server that
        was restarted has broken all of them. Raises OutcomeUnknown where another broke after it may have been heard.
        """
        answer = self._sent(request, safe)
        try:
            if answer.status_code != 200:
                raise self._refusal(answer)
            yield answer
        except httpx.HTTPError as error:
            raise self._broken(error, safe, "in the middle of the answer") from error
        except httpx.StreamClosed as error:
            raise Closed("the database is closed") from error
        finally:
            answer.close()

    def _sent(self, request: httpx.Request, safe: bool) -> httpx.Response:
        for again in (safe, False):
            try:
                return self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise Unavailable(f"{self.url} cannot be reached: {_reason(error)}") from error
            except httpx.HTTPError as error:
                if not (again and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)):
                    raise self._broken(error, safe, "before the answer") from error
            except RuntimeError as error:  # what httpx raises where another thread closed it
                if self._closed:
                    raise Closed("the database is closed") from error
                raise
        raise AssertionError("the second try returns or raises")

    def _broken(self, error: httpx.HTTPError, safe: bool, when: str) -> LaminaError:
        if self._closed:
            return Closed("the database is closed")
        how = "took too long" if isinstance(error, httpx.TimeoutException) else "broke"
        text = f"the connection to {self.url} {how} {when}: {_reason(error)}"
        if safe:
            return Unavailable(text)
        return OutcomeUnknown(f"{text}; whether the change was made is not known: look before it is made again")

    def _refusal(self, answer: httpx.Response) -> LaminaError:
        body = answer.read()
        error = failures.decode(body)
        if error is not None:
            return error
        said = answer.headers.get("x-reduct-error") or body[:100].decode("utf-8", "replace")
        text = f"{self.url} answers {answer.status_code}: {said}"
        kind = _STATUSES.get(answer.status_code)
        if kind is not None:
            return kind(text)
        return InvalidArgument(
            f"{text}; is it a server of Lamina's?" if answer.status_code in (301, 302, 404) else text
        )


class _Portions:
    """An iteration under way: it holds a connection until it ends, is closed, or nobody has it any more."""

    def __init__(self, link: Link, call: Call, request: httpx.Request) -> None:
        self._link = link
        self._call = call
        self._context = link.answered(request, call.safe)
        self._answer: httpx.Response | None = self._context.__enter__()
        self._frames = frames.frames(_chunks(self._answer))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._answer is None:
            raise StopIteration
        try:
            portion = self._next()
        except BaseException as error:
            self._answer = None
            self._context.__exit__(type(error), error, error.__traceback__)
            raise
        if portion is None:
            self.close()
            raise StopIteration
        return portion

    def _next(self) -> Any:
        kind, portion = next(self._frames, (None, bytearray()))
        if kind == frames.END:
            next(self._frames, None)  # an answer that was read to its end leaves its connection to the next call
            return None
        if kind == frames.FAILED:
            raise failures.decode(portion) or Corrupt("the server sent an error that is none")
        if kind is None:
            raise Unavailable(
                f"the connection to {self._link.url} broke in the middle of an iteration ({self._call.name}): what it"
                " gave is right, the rest is missing"
            )
        return _portion(self._call, portion)

    def close(self) -> None:
        """Idempotent."""
        if self._answer is not None:
            self._answer = None
            self._context.__exit__(None, None, None)

    def __del__(self) -> None:
        if getattr(self, "_answer", None) is not None:
            self.close()


def _checked(url: str) -> str:
    """With a slash at its end. Raises InvalidArgument."""
    if not isinstance(url, str):
        raise InvalidArgument(f"url {url!r}: expected text such as 'http://127.0.0.1:8383'")
    parts = urlsplit(url)
    try:
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # the port
        right = False
    if not right or parts.query or parts.fragment or parts.username is not None:
        shown = url if parts.username is None else "with a name or password"
        text = f"url {shown!r}: expected http://HOST:PORT or https://HOST:PORT, the token apart"
        raise InvalidArgument(text if "://" in url else f"{text}; a directory is opened with lamina.open")
    return url if url.endswith("/") else f"{url}/"


def _token(token: str) -> str:
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        raise InvalidArgument("token: expected printable ASCII text")
    return token


def _trust(verify: bool | str | ssl.SSLContext) -> bool | ssl.SSLContext:
    """`verify` may be a file of certificates."""
    if not isinstance(verify, str):
        return verify
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:  # of which ssl.SSLError is one
        raise InvalidArgument(f"verify: the certificates in {verify!r} do not load: {error}") from None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


# -- arguments


def _json(call: Call, arguments: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(arguments, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{call.name}: {error}") from None


def _plain(value: object) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.200} of type {type(value).__name__} cannot be an argument")


def _joined(head: bytes, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    yield head
    yield from pieces


# -- answers


def _read(answer: httpx.Response) -> bytearray:
    """The whole body, where arrays over it may be written to."""
    length = answer.headers.get("content-length")
    if length is None:
        return bytearray().join(_chunks(answer))
    body = bytearray(int(length))
    at = 0
    for chunk in _chunks(answer):
        body[at : at + len(chunk)] = chunk
        at += len(chunk)
    return body


def _chunks(answer: httpx.Response) -> Iterator[bytes]:
    return answer.iter_raw()


def _value(call: Call, body: bytearray) -> Any:
    result = call.result
    if result.columns is not None:
        return arrow.decode_bundle(result.columns, body)
    try:
        return result.read(json.loads(body))
    except (ValueError, TypeError, LookupError) as error:
        raise Corrupt(f"the answer to {call.name} is not what was expected: {error}") from None


def _portion(call: Call, portion: bytearray) -> Any:
    result = call.result
    if result.form == "chunks":
        assert result.columns is not None, "they are chunks of columns"
        return arrow.decode_bundle(result.columns, portion)
    if result.form == "items":
        return [result.read(value) for value in json.loads(portion)]
    return frames.split(portion)

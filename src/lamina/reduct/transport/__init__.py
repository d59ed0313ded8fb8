"""How a request gets to what answers it: the seam between the client's classes and a server or a directory.

`memory` calls the HTTP application of this process, `http` a server. Both give the same answers, so that everything
above is written once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from lamina.reduct.error import UNREACHABLE, ReductError
from lamina.reduct.record import Content

Header = tuple[str, str]
"""Names in lower case in answers."""

Body = bytes | list[bytes] | AsyncIterator[bytes]
"""Of a request: whole, in pieces that are at hand, or as it comes."""


class Lost(ReductError):
    """The connection broke, or none was made. Whether the request was carried out is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(UNREACHABLE, message)

    def __reduce__(self) -> tuple[type[ReductError], tuple[int, str]]:
        return ReductError, (self.status_code, self.message)


class Response(Protocol):
    """The head of an answer, and its body as it comes. Closing is idempotent; a body read to its end is closed."""

    status: int
    headers: Sequence[Header]

    def chunks(self) -> AsyncIterator[Content]:
        """The body in non-empty pieces; can be asked for once. Raises Lost."""
        ...

    async def pieces(self) -> Sequence[Content]:
        """All of the body, in pieces as they came. Raises Lost."""
        ...

    async def close(self) -> None:
        """Give up what was not read."""
        ...


class Transport(Protocol):
    """Belongs to an event loop from its first request to its closing."""

    async def request(
        self, method: str, path: str, query: str, headers: Sequence[Header], body: Body | None, length: int
    ) -> Response:
        """Send a request, give the head of the answer. `path` begins with the API's base (/api/v1) and is encoded,
        like `query`; `length` is that of the body.

        Raises Lost, TimeoutError, and what the body's iterator raises."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...

"""Heads that came before: a client sends the same header lines request after request, only the first line differs.

What a parser made of a block of header lines once it would make of the same bytes again. So a request that is there
as a whole, and whose lines are known byte for byte, is put together from them: no parser, no call per header. The
first line is looked at each time, and anything unusual in it is the parser's affair.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Header = tuple[bytes, bytes]

BLOCK_BYTES = 2048
"""Longer blocks are not kept: those of batches, which do not repeat."""

BLOCKS = 1024
"""Kept; a full memory is emptied. 4 MiB at most; clients with labels of their own per record fill it, and then it
costs them 0.5 µs a request."""

_METHODS: dict[bytes, str] = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}

_PLAIN = bytes(set(range(0x21, 0x7F)) - set(b'#"<>\\^`{|}'))
"""What a target may consist of to be read here."""


class Head:
    """Header lines, parsed. `memo` is for whatever follows from them alone, and lives as long as they are known; it
    begins with `fields`."""

    __slots__ = ("fields", "headers", "length", "memo")

    def __init__(self, headers: list[Header], fields: dict[bytes, bytes], length: int) -> None:
        self.headers = headers  # in their order, names in lower case
        self.fields = fields  # by name, the last one of a name
        self.length = length  # of the body
        self.memo: dict[str, Any] = {"fields": fields}


class Request(NamedTuple):
    """A whole request."""

    method: str
    raw_path: bytes
    query: bytes
    head: Head
    body: bytes


class Known:
    """Of one listener. `block_of` and `find` before the parser sees a request, `keep` when it has taken one."""

    def __init__(self, target_bytes: int) -> None:
        """`target_bytes`: the longest target that is taken."""
        self._heads: dict[bytes, Head] = {}
        self._target_bytes = target_bytes

    def find(self, data: bytes) -> Request | bytes | None:
        """The request that `data` is, no byte more or less; else the block of its header lines, which may be kept;
        None: nothing is known of such requests, and nothing should be kept."""
        end = data.find(b"\r\n\r\n", 0, BLOCK_BYTES)
        if end < 0:
            return None
        start = data.find(b"\r\n")
        block = data[start:end]
        line = data[:start].split(b" ")
        if len(line) != 3 or line[2] != b"HTTP/1.1":
            return None
        method, target = _METHODS.get(line[0]), line[1]
        if method is None or not target.startswith(b"/") or target.translate(None, _PLAIN):
            return None
        head = self._heads.get(block)
        if head is None:
            return block
        if len(data) != end + 4 + head.length or len(target) > self._target_bytes:
            return None
        raw_path, _, query = target.partition(b"?")
        return tuple.__new__(Request, (method, raw_path, query, head, data[end + 4 :]))

    def keep(self, block: bytes, head: Head) -> None:
        """The parser took a request with these lines, as one of HTTP/1.1 that leaves the connection open."""
        if len(self._heads) >= BLOCKS:
            self._heads.clear()
        self._heads[block] = head

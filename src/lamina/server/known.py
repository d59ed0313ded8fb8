"""Heads that came before: a client sends the same header lines request after request, only the first line differs.

What a parser made of a block of header lines once it would make of the same bytes again. So a request that is there
as a whole, and whose lines are known byte for byte, is put together from them: no parser, no call per header. The
first line is looked at each time, and anything unusual in it is the parser's affair.

The head of a batch repeats, too, but for the times of its records. Where all its records are alike, their lines differ
in digits alone: they are split at what is the same, and the other lines are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lamina.server.limits import HttpLimits

Header = tuple[bytes, bytes]

BLOCK_BYTES = 2048
"""Longer blocks are not kept: those of batches, which do not repeat. Without their series they do."""

SERIES = b"\r\nx-reduct-time-"
"""Begins the lines of a series: one a record of a batch, alike but for the digits behind this."""

SERIES_BYTES = 32768
"""A longer head is the parser's affair; no line or head that is shorter is too long."""

BLOCKS = 1024
"""Kept; a full memory is emptied. 4 MiB at most; clients with labels of their own per record fill it, and then it
costs them 0.5 µs a request."""

_METHODS: dict[bytes, str] = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}

_PLAIN = bytes(set(range(0x21, 0x7F)) - set(b'#"<>\\^`{|}'))
"""What a target may consist of to be read here."""

_TEXT = bytes(range(0x20, 0x7F))
"""What a value may consist of to be read here."""


class Series(NamedTuple):
    """Neighbouring header lines that differ in digits alone."""

    texts: list[bytes]  # the digits, or nothing, behind the same name
    value: bytes  # of each of them

    def headers(self) -> list[Header]:
        prefix = SERIES[2:]
        return [(prefix + text, self.value) for text in self.texts]


class Spliced(Sequence[Header]):
    """Headers with a series among them, put together when somebody reads them: who keeps its records does not."""

    __slots__ = ("_at", "_others", "_series", "_whole")

    def __init__(self, others: Sequence[Header], at: int, series: Series) -> None:
        self._others = others
        self._at = at
        self._series = series
        self._whole: list[Header] | None = None

    def __len__(self) -> int:
        return len(self._others) + len(self._series.texts)

    def __iter__(self) -> Iterator[Header]:
        return iter(self._joined())

    def __getitem__(self, index: Any) -> Any:
        return self._joined()[index]

    def _joined(self) -> list[Header]:
        if self._whole is None:
            at = self._at
            self._whole = [*self._others[:at], *self._series.headers(), *self._others[at:]]
        return self._whole


class Head:
    """Header lines, parsed. `memo` is for whatever follows from them alone, and lives as long as they are known; it
    begins with `fields`, which a series is no part of, and, if there is one, `series` and `rest`, the memo of the other
    lines."""

    __slots__ = ("fields", "headers", "length", "memo")

    def __init__(self, headers: Sequence[Header], fields: dict[bytes, bytes], length: int) -> None:
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

    def __init__(self, limits: HttpLimits) -> None:
        self._heads: dict[bytes, Head] = {}
        self._limits = limits
        self._head_bytes = min(SERIES_BYTES, limits.line_bytes)

    def find(self, data: bytes) -> Request | bytes | None:
        """The request that `data` is, no byte more or less; else the block of its header lines, which may be kept;
        None: nothing is known of such requests, and nothing should be kept."""
        end = data.find(b"\r\n\r\n", 0, self._head_bytes)
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
        if len(block) > BLOCK_BYTES:
            parted = _part(block)
            if parted is None or len(parted.rest) > BLOCK_BYTES:
                return None
            found = self._heads.get(parted.rest)
            head = found and parted.joined(found, self._limits.header_lines)
        else:
            head = self._heads.get(block)
        if head is None:
            return block
        if len(data) != end + 4 + head.length or len(target) > self._limits.target_bytes:
            return None
        raw_path, _, query = target.partition(b"?")
        return tuple.__new__(Request, (method, raw_path, query, head, data[end + 4 :]))

    def keep(self, block: bytes, head: Head) -> None:
        """The parser took a request with these lines, as one of HTTP/1.1 that leaves the connection open."""
        if len(block) > BLOCK_BYTES:
            parted = _part(block)
            if parted is None:
                return
            block, head = parted.rest, parted.without(head)
        if len(self._heads) >= BLOCKS:
            self._heads.clear()
        self._heads[block] = head


class _Parted(NamedTuple):
    """A block of header lines with a series."""

    rest: bytes  # the block without the series
    before: int  # lines before it, each of which is a header: the parser takes no folded ones
    series: Series

    def joined(self, head: Head, most: int) -> Head | None:
        """What the parser would make of the whole block, from what it made of the rest; None: of too many lines."""
        if len(head.headers) + len(self.series.texts) > most:
            return None
        found = Head(Spliced(head.headers, self.before, self.series), head.fields, head.length)
        found.memo["series"] = self.series
        found.memo["rest"] = head.memo
        return found

    def without(self, head: Head) -> Head:
        """The other way round."""
        headers = [*head.headers[: self.before], *head.headers[self.before + len(self.series.texts) :]]
        return Head(headers, dict(headers), head.length)


def _part(block: bytes) -> _Parted | None:
    """None: there is no series, or there is anything unusual in it."""
    first, last = block.find(SERIES), block.rfind(SERIES)
    colon = block.find(b": ", last)
    stop = block.find(b"\r\n", last + 2)
    if stop < 0:
        stop = len(block)
    if first < 0 or not 0 <= colon < stop:
        return None
    value = block[colon:stop]
    text = value[2:]
    if not text or text.translate(None, _TEXT) or text != text.strip():
        return None
    texts = block[first + len(SERIES) : colon].split(value + SERIES)
    if not b"".join(texts).isdigit():
        return None
    return _Parted(block[:first] + block[stop:], block.count(b"\r\n", 0, first), Series(texts, text))

"""Reads of open queries: one record, a v1 batch or a v2 batch at a time (contract 8.2 to 8.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.errors import InvalidArgument, LaminaError
from lamina.faces.reduct import batch1, contents, encode2, records
from lamina.faces.reduct.headers import Header, number

if TYPE_CHECKING:
    from lamina.engine.records.queries import Batch, Query
    from lamina.engine.records.record import Record
    from lamina.faces.reduct.call import Call
    from lamina.faces.reduct.config import BatchLimits

UNLIMITED = 1 << 62
NS_PER_S = 1_000_000_000
HEADER_EXTRA = 2
"""Bytes counted for a header beside its name and value (contract 8.4)."""

OCTETS: Header = (b"content-type", b"application/octet-stream")


class Encoder(Protocol):
    """Makes the headers of an answer, record by record."""

    count: int

    def add(self, record: Record) -> int:
        """Encode the next record; bytes that it adds to the headers."""
        ...

    def headers(self) -> list[Header]: ...


class Encoder1:
    """A v1 batch."""

    def __init__(self) -> None:
        self._headers: list[Header] = []
        self.count = 0

    def add(self, record: Record) -> int:
        name, value = header = batch1.encode_item(record.time_us, record.size, record.content_type, record.labels)
        self._headers.append(header)
        self.count += 1
        return len(name) + len(value) + HEADER_EXTRA

    def headers(self) -> list[Header]:
        return self._headers


class Encoder2:
    """A v2 batch. Lists of names that outgrow a header line count as more than any limit."""

    def __init__(self, list_bytes: int) -> None:
        self._encoder = encode2.Encoder()
        self._list_bytes = list_bytes
        self.count = 0

    def add(self, record: Record) -> int:
        encoder = self._encoder
        size = encoder.add(record.entry, record.time_us, record.size, record.content_type, record.labels)
        self.count += 1
        if max(encoder.entries_bytes, encoder.names_bytes) > self._list_bytes:
            return UNLIMITED + 1
        return size

    def headers(self) -> list[Header]:
        return self._encoder.headers()


class Taken:
    """A batch, encoded, with the beginning of its contents."""

    __slots__ = ("batch", "contents", "encoder")

    def __init__(self, batch: Batch, encoder: Encoder, content: contents.Contents | None) -> None:
        self.batch = batch
        self.encoder = encoder
        self.contents = content  # None: not read

    def read(self, direct: bool) -> contents.Contents:
        """Its contents. Blocks where they were not read. Raises Corrupt, NotFound."""
        found, self.contents = self.contents, None
        return contents.read(self.batch.records, direct) if found is None else found

    def drop(self) -> None:
        """Keep no contents."""
        self.contents = None


class Wish(NamedTuple):
    """What is asked for of a query."""

    one: bool  # record
    bodies: bool
    direct: bool  # where they are long


def _take(query: Query, make: Callable[[], Encoder], limits: BatchLimits, wish: Wish) -> Taken:
    """The next batch. Blocks. Raises what the condition raises in strict mode."""
    own = query.condition.directives
    most = 1 if wish.one else limits.records if own.batch_records is None else own.batch_records
    size = limits.content_bytes if own.batch_size is None else own.batch_size
    header_bytes = limits.header_bytes if own.batch_metadata_size is None else own.batch_metadata_size
    encoder = make()
    batch = query.next_batch(
        max(most, 1), size if wish.bodies else UNLIMITED, min(header_bytes, UNLIMITED), encoder.add
    )
    if encoder.count != len(batch.records):  # one was measured and left for the next batch
        encoder = make()
        for record in batch.records:
            encoder.add(record)
    return Taken(batch, encoder, None if wish.bodies else contents.NOTHING)


def _take_ahead(query: Query, make: Callable[[], Encoder], limits: BatchLimits, wish: Wish) -> Taken:
    """The same with its contents; what is wrong with these shows when they are asked for."""
    taken = _take(query, make, limits, wish)
    with contextlib.suppress(LaminaError, OSError):
        taken.contents = taken.read(wish.direct)
    return taken


def _take_and_read(query: Query, make: Callable[[], Encoder], limits: BatchLimits, wish: Wish) -> Taken:
    """The same. Raises Corrupt, too."""
    taken = _take(query, make, limits, wish)
    taken.contents = taken.read(wish.direct)
    return taken


async def _next(call: Call, query: Query, make: Callable[[], Encoder], wish: Wish) -> Taken | None:
    """The next batch; None: nothing to send. A continuous query is held until records come, a second at most."""
    face = call.face
    until_ns = face.clock.monotonic_ns() + int(face.config.hold_s * NS_PER_S)
    while True:
        taken = await _prepared(call, query, wish)
        if taken is None:
            taken = await call.run(_take_and_read, query, make, face.config.batch, wish)
        if taken.batch.records:
            return taken
        left_ns = until_ns - face.clock.monotonic_ns()
        if not query.continuous or left_ns <= 0:
            return None
        await face.arrivals.wait(query, left_ns / NS_PER_S)


async def _prepared(call: Call, query: Query, wish: Wish) -> Taken | None:
    """The batch that was made ahead, if it is what is wished for. Raises what it failed with."""
    prepared = call.face.ahead.pop(query)
    if prepared is None:
        return None
    taken = await prepared.result()
    if isinstance(taken, Exception):
        raise taken
    if prepared.key != wish:
        query.give_back(taken.batch.records)
        return None
    if taken.contents is None:
        taken.contents = await call.run(taken.read, wish.direct)
    return taken


def _prepare(call: Call, query: Query, make: Callable[[], Encoder], wish: Wish, sent: Taken) -> None:
    """Have the next batch made, if there is one, while the client works on the one that was sent."""
    if not (sent.batch.last or query.continuous):
        face = call.face
        face.ahead.prepare(query, wish, partial(_take_ahead, query, make, face.config.batch, wish), Taken.drop)


def _wish(call: Call, one: bool = False) -> Wish:
    return Wish(one, call.method != "HEAD", call.direct is not None)


async def _answer(call: Call, taken: Taken, last: bool) -> None:
    found = taken.batch.records
    headers = taken.encoder.headers()
    headers += [
        OCTETS,
        (b"content-length", b"%d" % sum(record.size for record in found)),
        (b"x-reduct-last", b"true" if last else b"false"),
    ]
    await call.start(200, headers)
    if call.method == "HEAD":
        await call.end()
    else:
        await contents.send(call, taken.read(call.direct is not None))
    observer = call.face.observer
    if observer is not None:
        for record in found:
            observer.read(call.values[0], record.entry, 1, 0 if call.method == "HEAD" else record.size)


def _query_of_url(call: Call) -> Query:
    """The query of ?q=, which belongs to the entry of the path. Raises InvalidArgument, NotFound."""
    bucket, entry = call.values
    id = number(call.query["q"].encode())
    if id is None:
        raise InvalidArgument("'query' must be a number")
    return call.face.db.queries.get(id, f"b/{bucket}/{entry}")


async def answer_one(call: Call) -> None:
    """GET or HEAD ?q=: the next record of a v1 query."""
    query, wish = _query_of_url(call), _wish(call, one=True)
    taken = await _next(call, query, Encoder1, wish)
    if taken is None:
        await call.no_content()
        return
    last = b"true" if taken.batch.last else b"false"
    try:
        content = taken.read(call.direct is not None)
        await records.answer_record(call, taken.batch.records[0], content, (b"x-reduct-last", last))
    finally:
        query.let_go()
    _prepare(call, query, Encoder1, wish, taken)


async def answer_batch1(call: Call) -> None:
    """GET or HEAD /batch?q=: the next records of a v1 query."""
    if "q" not in call.query:
        raise InvalidArgument("'q' parameter is required for batched reads")
    query = _query_of_url(call)
    await _answer_next(call, query, Encoder1, ends=True)


async def answer_batch2(call: Call) -> None:
    """GET or HEAD /io/read: the next records of a v2 query."""
    raw = call.header(b"x-reduct-query-id")
    if raw is None:
        raise InvalidArgument("x-reduct-query-id header is required for batched reads")
    id = number(raw.strip())
    if id is None:
        raise InvalidArgument("Invalid query id")
    query = call.face.db.queries.get(id, f"io/{call.values[0]}")
    list_bytes = call.face.config.batch.list_bytes
    # a continuous query has no last record: SDKs stop at one
    await _answer_next(call, query, lambda: Encoder2(list_bytes), ends=not query.continuous)


async def _answer_next(call: Call, query: Query, make: Callable[[], Encoder], ends: bool) -> None:
    """Send the next batch. `ends`: whether the last record may be called so."""
    wish = _wish(call)
    taken = await _next(call, query, make, wish)
    if taken is None:
        await call.no_content()
        return
    try:
        await _answer(call, taken, taken.batch.last and ends)
    finally:
        query.let_go()
    _prepare(call, query, make, wish, taken)

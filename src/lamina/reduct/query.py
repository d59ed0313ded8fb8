"""Queries: what is asked for, and the records batch by batch."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from lamina.reduct.batch import v1, v2
from lamina.reduct.batch.heads import Head
from lamina.reduct.connection import SEVERAL_ENTRIES, Connection, value
from lamina.reduct.contents import records
from lamina.reduct.error import UNREACHABLE, ReductError
from lamina.reduct.msg.bucket import QueryEntry, QueryType
from lamina.reduct.paths import entry_path, io_path
from lamina.reduct.record import Record
from lamina.reduct.time import TimestampLike, unix_timestamp_from_any
from lamina.reduct.transport import Lost, Response

LEGACY = ("include", "exclude", "each_s", "each_n", "limit")
"""Parameters that `when` replaced."""

JSON = ("Content-Type", "application/json")


def entry_names(entries: str | Sequence[str]) -> list[str]:
    return [entries] if isinstance(entries, str) else list(entries)


def optional_time(time: TimestampLike | None) -> int | None:
    return None if time is None else unix_timestamp_from_any(time)


def asked(
    kind: QueryType,
    entries: str | Sequence[str],
    start: TimestampLike | None,
    stop: TimestampLike | None,
    when: dict[str, Any] | None,
    options: Mapping[str, Any],
    allowed: Sequence[str] = ("strict", "ext", *LEGACY),
    **members: Any,
) -> QueryEntry:
    """A query. Raises TypeError (an option that is not allowed), ValueError (pydantic's, for other types)."""
    unknown = [name for name in options if name not in allowed]
    if unknown:
        raise TypeError(f"unknown argument {unknown[0]!r}: expected {', '.join(allowed)}")
    given = {name: value for name, value in options.items() if name in QueryEntry.model_fields}
    return QueryEntry(
        query_type=kind,
        entries=entry_names(entries),
        start=optional_time(start),
        stop=optional_time(stop),
        when=when,
        **given,
        **members,
    )


async def send(connection: Connection, bucket: str, query: QueryEntry) -> Any:
    """Give a query to the server: its answer's JSON. Opening one is repeated if need be, a removal is not."""
    removal = query.query_type is QueryType.REMOVE
    legacy = [name for name in LEGACY if getattr(query, name) is not None]
    if await connection.version() >= SEVERAL_ENTRIES:
        path = io_path(bucket, "q")
    elif len(query.entries) == 1:
        path = f"{entry_path(bucket, query.entries[0])}/q"
    else:
        await connection.needs(SEVERAL_ENTRIES, "Multi-entry remove query" if removal else "Multi-entry query")
    if legacy and not connection.legacy:
        raise ReductError(422, f"this server ignores {legacy[0]!r}: say it in 'when'")
    body = query.model_dump_json(exclude=set(LEGACY) - set(legacy))
    answer, _ = await connection.ask("POST", path, headers=[JSON], body=body.encode(), repeat=not removal)
    return json.loads(answer)


async def iterate(
    connection: Connection, bucket: str, query: QueryEntry, poll_interval: float | None = None
) -> AsyncIterator[Record]:
    """The records of a query. With an interval for ever: so many seconds pass after an answer without records.

    A connection that breaks before the first record is made again, with a new query. Later the query cannot be gone on
    with: its records may have been lost on their way."""
    reader = await _Reader.open(connection, bucket, query)
    try:
        answer = await reader.next()
    except Lost:
        reader = await _Reader.open(connection, bucket, query)
        answer = await reader.next()
    while True:
        if answer.status == 204:
            await answer.close()
            if poll_interval is None:
                return
            await asyncio.sleep(poll_interval)
        else:
            last = value(answer.headers, "x-reduct-last") == "true" and poll_interval is None
            batch = records(answer, await reader.heads(answer), last, bodies=not query.only_metadata)
            try:
                async for record in batch:
                    yield record
            finally:
                await batch.aclose()  # type: ignore[attr-defined]  # it is a generator
            if last:
                return
        answer = await reader.next()


class _Reader:
    """An open query, in the protocol that its server speaks."""

    def __init__(self, connection: Connection, bucket: str, query: QueryEntry, id: int, several: bool) -> None:
        self._connection = connection
        self._method = "HEAD" if query.only_metadata else "GET"
        self._entry = query.entries[0] if query.entries else ""
        self._several = several
        self._id = id
        self._path = io_path(bucket, "read") if several else f"{entry_path(bucket, self._entry)}/batch"

    @classmethod
    async def open(cls, connection: Connection, bucket: str, query: QueryEntry) -> _Reader:
        id = (await send(connection, bucket, query))["id"]
        return cls(connection, bucket, query, id, await connection.version() >= SEVERAL_ENTRIES)

    async def next(self) -> Response:
        """The next batch; 204: there is none (yet). Never repeated: the server may have gone on."""
        id = str(self._id)
        if self._several:
            headers = [("x-reduct-query-id", id)]
            return await self._connection.request(self._method, self._path, headers=headers)
        return await self._connection.request(self._method, self._path, f"q={id}")

    async def heads(self, answer: Response) -> Sequence[Head]:
        """What an answer says of its records. Raises ReductError: it is no batch."""
        try:
            return v2.decode(answer.headers) if self._several else v1.decode(answer.headers, self._entry)
        except (ValueError, LookupError) as error:
            await answer.close()
            raise ReductError(UNREACHABLE, f"the server's answer is no batch of records: {error}") from error


def lifetime(poll_interval: float) -> int:
    """Seconds that a query lives between two questions of a subscriber."""
    return math.ceil(2 * poll_interval) + 1

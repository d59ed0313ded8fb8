"""A bucket: its settings, entries and records."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from lamina.reduct import attachment, contents, links
from lamina.reduct.batch import Batch, RecordBatch, v1, v2
from lamina.reduct.batch.heads import Head
from lamina.reduct.batch.text import check_value
from lamina.reduct.connection import SEVERAL_ENTRIES, Connection, value
from lamina.reduct.error import ReductError
from lamina.reduct.msg.bucket import (
    BucketFullInfo,
    BucketInfo,
    BucketSettings,
    CreateQueryLinkResponse,
    EntryInfo,
    QueryType,
)
from lamina.reduct.paths import LABEL_PREFIX, bucket_path, entry_path, io_path, label_headers
from lamina.reduct.query import JSON, LEGACY, asked, iterate, lifetime, send
from lamina.reduct.record import HeldRecord, Record
from lamina.reduct.time import TimestampLike, unix_timestamp_from_any
from lamina.reduct.transport import Body, Header, Lost, Response
from lamina.reduct.upload import checked

SEVERAL = "Multi-entry batch API"

JOIN_BYTES = 16_384
"""Contents of a batch that are shorter on average go as one piece: handing each on costs as much as copying this."""

READ_OPTIONS = ("head", "strict", "ext", *LEGACY)


class Bucket:
    """Got from a `Client`. Every method raises ReductError: refused, with the server's status and message, or -1 where
    there was no answer. Times are given in any of the forms of `TimestampLike`; intervals are [start, stop)."""

    def __init__(self, name: str, http: Connection) -> None:
        self.name = name
        self._http = http

    # -- the bucket itself

    async def get_settings(self) -> BucketSettings:
        """All of them, defaults included."""
        return (await self.get_full_info()).settings

    async def set_settings(self, settings: BucketSettings) -> None:
        """Change those that are not None."""
        await self._http.ask("PUT", bucket_path(self.name), body=settings.model_dump_json().encode())

    async def info(self) -> BucketInfo:
        """Its figures."""
        return (await self.get_full_info()).info

    async def get_entry_list(self) -> list[EntryInfo]:
        """Its entries with their figures, by name."""
        return (await self.get_full_info()).entries

    async def get_full_info(self) -> BucketFullInfo:
        """Figures, settings and entries in one request."""
        return await self._http.get(bucket_path(self.name), BucketFullInfo)

    async def remove(self) -> None:
        """Remove it with all its records."""
        await self._http.ask("DELETE", bucket_path(self.name))

    async def rename(self, new_name: str) -> None:
        """Give it another name; this object has it, too."""
        await self._http.ask("PUT", f"{bucket_path(self.name)}/rename", headers=[JSON], body=_new_name(new_name))
        self.name = new_name

    async def remove_entry(self, entry_name: str) -> None:
        """Remove an entry and all below it (`name/...`)."""
        await self._http.ask("DELETE", entry_path(self.name, entry_name))

    async def rename_entry(self, old_name: str, new_name: str) -> None:
        """Give an entry, and all below it, another name."""
        path = f"{entry_path(self.name, old_name)}/rename"
        await self._http.ask("PUT", path, headers=[JSON], body=_new_name(new_name))

    # -- one record

    @asynccontextmanager
    async def read(
        self, entry_name: str, timestamp: TimestampLike | None = None, head: bool = False
    ) -> AsyncIterator[Record]:
        """The record of a time; without one the latest. `head`: without its content.

            async with bucket.read("entry", 123456789) as record:
                data = await record.read_all()

        Of a content of more than 1 MiB nothing can be read behind the block."""
        query = "" if timestamp is None else f"ts={unix_timestamp_from_any(timestamp)}"
        try:
            answer, record = await self._read(entry_name, query, head)
        except Lost:  # nothing was handed out yet
            answer, record = await self._read(entry_name, query, head)
        try:
            yield record
        finally:
            if isinstance(record, contents.StreamedRecord):
                record.drop()
            await answer.close()

    async def _read(self, entry_name: str, query: str, head: bool) -> tuple[Response, Record]:
        answer = await self._http.request("HEAD" if head else "GET", entry_path(self.name, entry_name), query)
        try:
            return answer, await contents.record(answer, _head(answer, entry_name), bodies=not head)
        except BaseException:
            await answer.close()
            raise

    async def write(
        self,
        entry_name: str,
        data: bytes | AsyncIterator[bytes],
        timestamp: TimestampLike | None = None,
        content_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a record; without a time, now. When this returns, everybody can read it.

        `data` is the content, or gives it piece by piece; then `content_length` says how long it will be, and it is
        never in memory as a whole. A content of another length is refused, except that with length 0 nothing is asked
        for. Keywords: `labels`, a dict whose values are written as `str` shows them; `content_type`.
        Raises ReductError: 404 no such bucket, 409 there is a record of that time; TypeError, ValueError (labels).
        """
        labels = kwargs.pop("labels", None)
        content_type = kwargs.pop("content_type", None)
        if kwargs:
            raise TypeError(f"unknown argument {next(iter(kwargs))!r}: expected labels, content_type")
        time_us = time.time_ns() // 1000 if timestamp is None else unix_timestamp_from_any(timestamp)
        body, size, usual_type = checked(data, content_length)
        headers = [("Content-Type", check_value(content_type or usual_type)), *label_headers(labels or {})]
        path = entry_path(self.name, entry_name)
        await self._http.ask("POST", path, f"ts={time_us}", headers, body, length=size)

    async def update(self, entry_name: str, timestamp: TimestampLike, labels: Mapping[str, Any]) -> None:
        """Change labels of a record: an empty value removes one, those that are not named stay."""
        query = f"ts={unix_timestamp_from_any(timestamp)}"
        await self._http.ask("PATCH", entry_path(self.name, entry_name), query, label_headers(labels), b"")

    async def remove_record(self, entry_name: str, timestamp: TimestampLike) -> None:
        """Remove a record."""
        await self._http.ask("DELETE", entry_path(self.name, entry_name), f"ts={unix_timestamp_from_any(timestamp)}")

    # -- many records in one request; what is wrong with one of them is in the answer, and the others are done

    async def write_batch(self, entry_name: str, batch: Batch) -> dict[int, ReductError]:
        """Write records of an entry; errors by time."""
        records = batch.held()
        body = _body(records, batch.size)
        path = f"{entry_path(self.name, entry_name)}/batch"
        _, answer = await self._http.ask("POST", path, headers=v1.encode(records), body=body, length=batch.size)
        return v1.errors(answer)

    async def update_batch(self, entry_name: str, batch: Batch) -> dict[int, ReductError]:
        """Change labels of records of an entry, as `update` does; errors by time."""
        path = f"{entry_path(self.name, entry_name)}/batch"
        headers = v1.encode(batch.held(), contents=False)
        _, answer = await self._http.ask("PATCH", path, headers=headers, body=b"")
        return v1.errors(answer)

    async def remove_batch(self, entry_name: str, batch: Batch) -> dict[int, ReductError]:
        """Remove records of an entry by their times; errors by time."""
        path = f"{entry_path(self.name, entry_name)}/batch"
        headers = v1.encode(batch.held(), contents=False)
        _, answer = await self._http.ask("DELETE", path, headers=headers)
        return v1.errors(answer)

    async def write_record_batch(self, batch: RecordBatch) -> dict[str, dict[int, ReductError]]:
        """Write records of several entries; errors by entry and time."""
        records = batch.held()
        return await self._several("POST", "write", v2.encode(records), _body(records, batch.size), batch.size)

    async def update_record_batch(self, batch: RecordBatch) -> dict[str, dict[int, ReductError]]:
        """Change labels of records of several entries, as `update` does; errors by entry and time."""
        return await self._several("PATCH", "update", v2.encode_update(batch.held()), b"", 0)

    async def remove_record_batch(self, batch: RecordBatch) -> dict[str, dict[int, ReductError]]:
        """Remove records of several entries by their times; errors by entry and time."""
        return await self._several("DELETE", "remove", v2.encode_removal(batch.held()), None, 0)

    async def _several(
        self, method: str, what: str, headers: list[Header], body: Body | None, size: int
    ) -> dict[str, dict[int, ReductError]]:
        await self._http.needs(SEVERAL_ENTRIES, SEVERAL)
        _, answer = await self._http.ask(method, io_path(self.name, what), headers=headers, body=body, length=size)
        return v2.errors(answer)

    # -- queries

    async def query(
        self,
        entries: str | list[str],
        start: TimestampLike | None = None,
        stop: TimestampLike | None = None,
        ttl: int | None = None,
        when: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Record]:
        """Records of one entry or several, in ascending time; equal times by entry.

            async for record in bucket.query("entry", stop=time.time(), when={"&score": {"$gt": 10}}):
                data = await record.read_all()

        `entries`: names and patterns (`*`, `prefix*`, `a/**`, `!without`). Without start from the first record on,
        without stop to the latest of now. `ttl`: seconds that the query lives while nobody reads on. `when`: a
        condition. Keywords: `head` (no contents), `strict` (errors of the condition are raised), `ext`, and what `when`
        replaced: `include`, `exclude`, `each_s`, `each_n`, `limit`.
        Raises ReductError, also on the way: 404 if the query expired, -1 if the connection broke.
        """
        head = bool(kwargs.get("head"))
        query = asked(QueryType.QUERY, entries, start, stop, when, kwargs, READ_OPTIONS, ttl=ttl, only_metadata=head)
        async for record in iterate(self._http, self.name, query):
            yield record

    async def subscribe(
        self,
        entries: str | list[str],
        start: TimestampLike | None = None,
        poll_interval: float = 1.0,
        when: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Record]:
        """As `query`, and then the records that are written from now on, for ever.

        `poll_interval`: seconds between two questions to the server when there was nothing new."""
        query = asked(
            QueryType.QUERY,
            entries,
            start,
            None,
            when,
            kwargs,
            READ_OPTIONS,
            ttl=lifetime(poll_interval),
            only_metadata=bool(kwargs.get("head")),
            continuous=True,
        )
        async for record in iterate(self._http, self.name, query, poll_interval):
            yield record

    async def remove_query(
        self,
        entries: str | list[str],
        start: TimestampLike | None = None,
        stop: TimestampLike | None = None,
        when: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> int:
        """Remove the records that a query selects; how many they were. Parameters as those of `query`."""
        query = asked(QueryType.REMOVE, entries, start, stop, when, kwargs)
        return int((await send(self._http, self.name, query))["removed_records"])

    async def create_query_link(
        self,
        entries: str | list[str],
        start: TimestampLike | None = None,
        stop: TimestampLike | None = None,
        when: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """A URL under which everybody can get one record of a query's result, without a token.

        Keywords: `record_timestamp`, and `record_entry` where there are several: which record; `expire_at`, a datetime
        (in 24 hours); `file_name`; `base_url` of the server that will answer. Raises ValueError, TypeError.
        """
        version = await self._http.version()
        path, body = links.link_request(version, self.name, entries, start, stop, when, kwargs)
        answer, _ = await self._http.ask("POST", path, headers=[JSON], body=body, repeat=True)
        return CreateQueryLinkResponse.model_validate_json(answer).link

    # -- attachments: JSON that belongs to an entry rather than to a time

    async def write_attachments(self, entry_name: str, attachments: dict[str, Any]) -> None:
        """Write values under their keys, each one in place of an earlier one. Raises TypeError: not JSON."""
        await attachment.write(self, entry_name, attachments)

    async def read_attachments(self, entry_name: str) -> dict[str, Any]:
        """All attachments by key."""
        return await attachment.read(self, entry_name)

    async def remove_attachments(self, entry_name: str, attachment_keys: list[str] | None = None) -> None:
        """Remove attachments; without keys all of them."""
        await attachment.remove(self, entry_name, attachment_keys)


def _new_name(name: str) -> bytes:
    return json.dumps({"new_name": name}).encode()


def _head(answer: Response, entry: str) -> Head:
    """What the headers of a single record say. Raises ReductError."""
    time_text = value(answer.headers, "x-reduct-time")
    size = value(answer.headers, "content-length")
    if time_text is None or size is None:
        raise ReductError(answer.status, value(answer.headers, "x-reduct-error") or "the answer holds no record")
    labels = {name.removeprefix(LABEL_PREFIX): text for name, text in answer.headers if name.startswith(LABEL_PREFIX)}
    return Head(entry, int(time_text), int(size), value(answer.headers, "content-type") or "", labels)


def _body(records: Sequence[HeldRecord], size: int) -> Body:
    """The contents of a batch."""
    found = [record.content() for record in records]
    if size < JOIN_BYTES * len(found) or len(found) <= 1:
        return b"".join(found)
    return found

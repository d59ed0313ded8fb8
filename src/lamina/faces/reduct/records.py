"""Single records: write, read, change labels, remove (contract 5, 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.engine.records.quota import refuse_beyond_limit
from lamina.errors import InvalidArgument, NotFound
from lamina.faces.reduct import contents, entries, reading
from lamina.faces.reduct.errors import Refused
from lamina.faces.reduct.headers import (
    DEFAULT_TYPE,
    LABEL_PREFIX,
    Header,
    label_changes,
    label_headers,
    label_set,
    number,
    visible,
)
from lamina.faces.reduct.uploads import store_one, take_one
from lamina.records.labels import LabelSet

if TYPE_CHECKING:
    from lamina.engine.records.entry import Entry
    from lamina.engine.records.record import Record
    from lamina.faces.reduct.call import Call
    from lamina.faces.reduct.commits import Done


class Described(NamedTuple):
    """What the headers of a single record say of it."""

    size: int
    content_type: str
    labels: LabelSet


def describe(call: Call) -> Described:
    """Raises InvalidArgument."""
    headers = call.headers
    fields = dict(headers)
    length = fields.get(b"content-length")
    size = number(length) if length is not None and b"content-encoding" not in fields else None
    if size is None:
        size = call.content_length()
        if size is None:
            raise InvalidArgument("content-length header is required")
    raw_type = fields.get(b"content-type")
    content_type = raw_type.decode("utf-8", "replace") if raw_type else DEFAULT_TYPE
    labels = label_set(tuple([header for header in headers if header[0].startswith(LABEL_PREFIX)]))
    return Described(size, content_type, labels)


async def write(call: Call) -> None:
    """POST ?ts=: one record, durable and readable when 200 is said."""
    time_us = call.required_time()
    described = describe(call)
    refuse_beyond_limit(call.face.db.records, described.size)  # before the bucket is looked up (contract 4)
    await store_one(call, call.bucket(), call.values[1], time_us, *described)
    await call.done()


def take(call: Call, memo: dict[str, Any], body: bytes, done: Done) -> bool:
    """`write` of a record that is there as a whole, where nothing has to be waited for but the commit."""
    time_us = call.required_time()
    described: Described | None = memo.get("record")
    if described is None:
        described = memo["record"] = describe(call)
    refuse_beyond_limit(call.face.db.records, described.size)
    return take_one(call, call.bucket(), call.values[1], time_us, described, body, done)


async def read(call: Call) -> None:
    """GET or HEAD: the record of ?ts=, the next of ?q=, or the latest."""
    time_us = call.time()
    if time_us is None and "q" in call.query:
        await reading.answer_one(call)
        return
    entry = call.bucket().existing_entry(call.values[1])
    content = contents.NOTHING
    try:
        direct = call.direct is not None
        found = entry.try_read(time_us)
        if call.method == "HEAD":
            record = found if found is not None else await call.run(entry.read, time_us)
        elif found is None:
            record, content = await call.run(_find_and_read, entry, time_us, direct)
        elif contents.is_long(found.size, direct):
            record, content = found, contents.read([found], direct)
        else:
            record, content = found, await call.run(contents.read, [found], direct)
    except NotFound:
        if time_us is not None and entry.is_claimed(time_us):
            where = f"{entry.bucket.name}/{entry.name}"
            raise Refused(425, f"Record with timestamp {time_us} in {where} is still being written") from None
        raise
    await answer_record(call, record, content)


def _find_and_read(entry: Entry, time_us: int | None, direct: bool) -> tuple[Record, contents.Contents]:
    record = entry.read(time_us)
    return record, contents.read([record], direct)


def record_headers(record: Record) -> list[Header]:
    """What is said of a single record."""
    return [
        (b"content-type", visible(record.content_type).encode()),
        (b"content-disposition", b"attachment"),
        (b"x-reduct-time", b"%d" % record.time_us),
        (b"x-reduct-entry", record.entry.encode()),
        *label_headers(record.labels),
    ]


async def answer_record(call: Call, record: Record, content: contents.Contents, *more: Header) -> None:
    """One record as an answer; HEAD gets the size that GET would send."""
    headers = [*record_headers(record), *more, (b"content-length", b"%d" % record.size)]
    await call.start(200, headers)
    if call.method == "HEAD":
        await call.end()
    else:
        await contents.send(call, content)
    observer = call.face.observer
    if observer is not None:
        sent = 0 if call.method == "HEAD" else record.size
        observer.read(call.values[0], record.entry, 1, sent)


async def update(call: Call) -> None:
    """PATCH ?ts=: labels from the headers; an empty value removes."""
    time_us = call.required_time()
    changes = label_changes(header for header in call.headers if header[0].startswith(LABEL_PREFIX))
    (error,) = await call.run(call.bucket().update_labels, [(call.values[1], time_us, changes)])
    if error is not None:
        raise error
    await call.done()


async def remove(call: Call) -> None:
    """DELETE ?ts=: a record; without a query string: the entry."""
    if not call.scope["query_string"]:
        await entries.remove(call)
        return
    time_us = call.required_time()
    (error,) = await call.run(call.bucket().remove_records, [(call.values[1], time_us)])
    if error is not None:
        raise error
    await call.done()

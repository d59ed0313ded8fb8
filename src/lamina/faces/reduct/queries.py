"""Queries: opened here, read elsewhere; removal by query is done at once (contract 8.1, 8.6, 17)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from lamina.errors import InvalidArgument, NotFound
from lamina.faces.reduct.call import Call
from lamina.faces.reduct.headers import LAST_TIME, number
from lamina.records.condition import Legacy, compile_condition

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket

DEFAULT_TTL_S = 60

NOTHING_SET = "Define at least one query parameter to delete records"


class QueryEntry(msgspec.Struct):
    """What a client asks for. Null is as good as absent; unknown members are ignored."""

    query_type: Literal["QUERY", "REMOVE"]
    entries: list[str] | None = None
    start: int | None = None
    stop: int | None = None
    ttl: int | None = None  # s
    only_metadata: bool | None = None  # the client will read with HEAD
    continuous: bool | None = None
    when: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None
    ext: msgspec.Raw = msgspec.Raw()
    # of clients older than 1.16
    include: dict[str, Any] | None = None
    exclude: dict[str, Any] | None = None
    each_s: float | None = None
    each_n: int | None = None
    limit: int | None = None


class Asked:
    """A query's parameters, checked."""

    __slots__ = ("condition", "continuous", "entries", "ext", "start", "stop", "strict", "ttl_s")

    def __init__(self, query: QueryEntry) -> None:
        """Raises InvalidArgument: a time or a number out of range, a condition that does not parse."""
        if query.stop is not None and query.stop > LAST_TIME:
            query.stop = None  # no record is that late; what clients make of a float in the wrong unit
        for name, value in (("start", query.start), ("stop", query.stop), ("ttl", query.ttl)):
            if value is not None and not 0 <= value <= LAST_TIME:
                raise InvalidArgument(f"Invalid JSON: '{name}' is {value}, expected 0 .. 2**64 - 1")
        self.entries = query.entries
        self.start = query.start
        self.continuous = bool(query.continuous)
        self.stop = None if self.continuous else query.stop
        self.ttl_s = DEFAULT_TTL_S if query.ttl is None else query.ttl
        self.strict = bool(query.strict)
        self.condition = compile_condition(_json(query.when), legacy=_legacy(query))
        ext = _json(query.ext)
        self.ext = ext if ext is not None else self.condition.directives.ext
        if self.start is not None and self.stop is not None and self.start > self.stop:
            raise InvalidArgument("Start time must be before stop time")


def _json(raw: msgspec.Raw) -> Any:
    """A member that was left as text; None for null or absent. Python's reader keeps whole numbers whole, whatever
    their size."""
    text = bytes(raw)
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"Invalid JSON: {error}") from None


def _legacy(query: QueryEntry) -> Legacy | None:
    legacy = Legacy(_texts(query.include), _texts(query.exclude), query.each_s, query.each_n, query.limit)
    return None if legacy == Legacy() else legacy


def _texts(labels: Mapping[str, Any] | None) -> dict[str, str] | None:
    return None if labels is None else {name: label_text(value) for name, value in labels.items()}


def label_text(value: object) -> str:
    """A label's value in JSON, as the label has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_set(query: QueryEntry) -> None:
    """A REMOVE must say what. Raises InvalidArgument."""
    members = msgspec.structs.asdict(query)
    del members["query_type"]
    if all(value is None or (isinstance(value, msgspec.Raw) and bytes(value) in (b"", b"null"))
           for value in members.values()):  # fmt: skip
        raise InvalidArgument(NOTHING_SET)


def refuse_extension(ext: object, id: int) -> None:
    """There are no plug-ins here. Raises InvalidArgument (contract 17)."""
    if ext is None:
        return
    steps = ext if isinstance(ext, list) else [ext]
    for i, step in enumerate(steps):
        names = [name for name in step if name != "when"] if isinstance(step, dict) else []
        where = f" at step {i}" if isinstance(ext, list) else ""
        if names:
            raise InvalidArgument(f"Unknown extension '{names[0]}' in query id={id}{where}")
        raise InvalidArgument(f"Extension name is not found in query id={id}{where}")
    raise InvalidArgument(f"Extension name is not found in query id={id}")


def open_query(call: Call, bucket: Bucket, entries: Sequence[str] | None, owner: str, asked: Asked) -> int:
    """Open a query; its number. Blocks. Raises InvalidArgument (extension), Unavailable (too many are open)."""
    extended = asked.ext is not None
    id = call.face.db.queries.open(
        bucket,
        entries,
        owner=owner,
        start=asked.start,
        stop=asked.stop,
        ttl_s=0 if extended else asked.ttl_s,  # the message needs a number; nobody will come back for it
        condition=asked.condition,
        strict=asked.strict,
        continuous=asked.continuous and not extended,
    )
    refuse_extension(asked.ext, id)
    return id


async def create(call: Call) -> None:
    """POST /b/:bucket/:entry/q."""
    query = await call.json(QueryEntry)
    _check_right(call, query)
    if query.query_type == "REMOVE":
        check_set(query)
        await _remove(call, call.values[1], Asked(query))
    else:
        await _open_in_entry(call, Asked(query))


async def create_in_bucket(call: Call) -> None:
    """POST /io/:bucket/q."""
    query = await call.json(QueryEntry)
    _check_right(call, query)
    bucket = call.bucket()
    if query.query_type == "REMOVE":
        check_set(query)
        asked = Asked(query)
        await _answer_removed(call, await call.run(_remove_records, call, bucket, asked.entries, asked))
    else:
        id = await call.run(open_query, call, bucket, query.entries, f"io/{call.values[0]}", Asked(query))
        await call.answer_json({"id": id})


def _check_right(call: Call, query: QueryEntry) -> None:
    """The route lets in whoever may read or write: which of them is needed stands in the body."""
    if query.query_type == "REMOVE":
        call.principal.require_write_bucket(call.values[0])
    else:
        call.principal.require_read_bucket(call.values[0])


async def create_from_url(call: Call) -> None:
    """GET /b/:bucket/:entry/q?start=&stop=&ttl=&continuous=."""
    await _open_in_entry(call, Asked(_of_url(call, "QUERY")))


async def remove_from_url(call: Call) -> None:
    """DELETE /b/:bucket/:entry/q?start=&stop=."""
    query = _of_url(call, "REMOVE")
    check_set(query)
    await _remove(call, call.values[1], Asked(query))


def _of_url(call: Call, kind: Literal["QUERY", "REMOVE"]) -> QueryEntry:
    """Parameters as clients put them before queries had a body. Raises InvalidArgument."""
    given = call.query
    query = QueryEntry(kind)
    query.start = _whole(given, "start", "'start' must be an unix timestamp in microseconds")
    query.stop = _whole(given, "stop", "'stop' must be an unix timestamp in microseconds")
    query.ttl = _whole(given, "ttl", "'ttl' must be in seconds as an unsigned integer")
    query.each_n = _whole(given, "each_n", "'each_n' must be an unsigned integer")
    query.limit = _whole(given, "limit", "'limit' must be an unsigned integer")
    if "continuous" in given:
        if given["continuous"] not in ("true", "false"):
            raise InvalidArgument("'continue' must be a bool value")
        query.continuous = given["continuous"] == "true"
    if "each_s" in given:
        try:
            query.each_s = float(given["each_s"])
        except ValueError:
            raise InvalidArgument("'each_s' must be in seconds") from None
    query.include = _label_map(given, "include-")
    query.exclude = _label_map(given, "exclude-")
    return query


def _whole(given: Mapping[str, str], name: str, message: str) -> int | None:
    if name not in given:
        return None
    value = number(given[name].encode())
    if value is None:
        raise InvalidArgument(message)
    return value


def _label_map(given: Mapping[str, str], prefix: str) -> dict[str, Any] | None:
    labels = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    return labels or None


async def _open_in_entry(call: Call, asked: Asked) -> None:
    bucket_name, entry = call.values
    bucket = call.bucket()
    bucket.existing_entry(entry)
    id = await call.run(open_query, call, bucket, [entry], f"b/{bucket_name}/{entry}", asked)
    await call.answer_json({"id": id})


async def _remove(call: Call, entry: str, asked: Asked) -> None:
    """Of one entry; there is nothing to remove from one that does not exist."""
    bucket = call.bucket()
    removed = 0
    if bucket.find_entry(entry) is not None:  # so that its name, which becomes a pattern, is an exact one
        removed = await call.run(_remove_records, call, bucket, [entry], asked)
    await _answer_removed(call, removed)


def _remove_records(call: Call, bucket: Bucket, entries: Sequence[str] | None, asked: Asked) -> int:
    if asked.ext is not None:
        open_query(call, bucket, entries, "", asked)
    return bucket.remove_query(entries, asked.start, asked.stop, asked.condition, asked.strict)


async def _answer_removed(call: Call, removed: int) -> None:
    await call.answer_json({"removed_records": removed})


def find_in_result(bucket: Bucket, entries: Sequence[str] | None, asked: Asked, entry: str, time_us: int) -> Any:
    """The record of an entry and time in the result of a query. Blocks. Raises NotFound, and what the condition
    raises in strict mode."""
    from lamina.engine.records.queries import Query

    query = Query(bucket, entries, asked.start, asked.stop, asked.condition, asked.strict, continuous=False)
    try:
        while True:
            batch = query.next_batch(1024, 1 << 62, 1 << 62, None)
            for record in batch.records:
                if record.time_us == time_us and record.entry == entry:
                    return record
            if batch.last or not batch.records or batch.records[-1].time_us > time_us:
                raise NotFound(f"Record {entry}/{time_us} not found in query result")
    finally:
        query.close()

"""What is fuzzed: a call per reader, the kinds of errors it may raise, and inputs that it understands."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from lamina.access.bodies import parse_create
from lamina.codecs import integers
from lamina.errors import Corrupt, InvalidArgument, LaminaError, NotFound
from lamina.faces.reduct import batch1, batch2, buckets, headers, links, queries, ranges, sealing
from lamina.faces.reduct.call import decode
from lamina.records import manifest, ops
from lamina.records.blocks import BlockLimits
from lamina.records.condition import compile_condition
from lamina.records.names import check_bucket_name, check_entry_name
from lamina.records.patterns import EntryPatterns
from lamina.records.row import ROW
from lamina.records.tests import index_sections
from lamina.server.clientip import client_ip
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentReader
from lamina.testing.conditions import Columns
from tests.fuzz import http


class Target(NamedTuple):
    """`run` may raise `refusals` and nothing else; `seeds` are inputs that it takes, `words` what they are made of.

    What `run` gives is looked at for whether an input did something new."""

    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()


NUMBERS = (
    b"0",
    b"1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"-1",
    b"1e5",
    b"\xd9\xa1",
)
REFUSED = (InvalidArgument,)
DAMAGED = (Corrupt, NotFound)


def _each(data: bytes, readers: Sequence[Callable[[bytes], object]], refusals: tuple[type[Exception], ...]) -> str:
    """Through several readers; which of them refused it, and how."""
    shapes = []
    for reader in readers:
        try:
            reader(data)
        except refusals as error:
            shapes.append(str(error)[:40])
        else:
            shapes.append("taken")
    return " | ".join(shapes)


# -- headers ---------------------------------------------------------------------------------------------------


def _fields(data: bytes) -> list[tuple[bytes, bytes]]:
    """A line is a header, as a parser of HTTP hands it over."""
    pairs = (line.partition(b":")[::2] for line in data.split(b"\n") if b":" in line)
    return [(name.strip().lower(), value.strip()) for name, value in pairs]


def batch_v1(data: bytes) -> None:
    """What is read can be sent again, and reads as the same."""
    fields = _fields(data)
    items = batch1.parse_items(fields, "e")
    batch1.parse_times(fields)
    again = [batch1.encode_item(item.time_us, item.size, item.content_type, item.labels) for item in items]
    for name, value in again:
        assert name.isascii() and value.decode("ascii").isprintable(), value  # noqa: PT018
    assert [item.time_us for item in batch1.parse_items(again, "e")] == [item.time_us for item in items]


def batch_v2(data: bytes) -> None:
    head = batch2.parse_head(_fields(data))
    for _, value in head.echo():
        assert value.decode("ascii").isprintable(), value
    batch2.parse_changes(head)
    items = batch2.parse_items(head)
    assert len(items) == len(head.places)


def label_headers(data: bytes) -> None:
    found = headers.label_set(tuple(pair for pair in _fields(data) if pair[0].startswith(headers.LABEL_PREFIX)))
    for name, value in headers.label_headers(found):
        assert name.decode("ascii") == name.decode("ascii").lower()
        assert value.decode("ascii").isprintable(), value


def byte_range(data: bytes) -> list[tuple[int, int] | None]:
    cut = []
    for size in (0, 1, 1000, (1 << 64) - 1):
        found = ranges.parse_range(data, size)
        assert found is None or (0 <= found[0] <= size and 0 <= found[1] <= size)
        cut.append(found)
    return cut


def client_address(data: bytes) -> None:
    for name in (b"forwarded", b"x-forwarded-for"):
        assert client_ip("127.0.0.1", {name: data})


# -- JSON and URLs ---------------------------------------------------------------------------------------------

_TIMES = (0, 1, 1_700_000_000_000_000, 1_700_000_000_000_001, (1 << 64) - 1)
_LABELS: tuple[Mapping[str, str], ...] = (
    {"a": "1", "b": "x"},
    {"a": "nan"},
    {},
    {"a": "-9223372036854775809"},
    {"b": ""},
)
_ROWS = list(zip(_TIMES, _LABELS, strict=True))


def condition(data: bytes) -> None:
    """By column and one by one it gives the same."""
    try:
        when = json.loads(data)
    except (ValueError, RecursionError):
        return
    compiled = compile_condition(when)
    compiled.start(False).feed(Columns(_ROWS))
    if compiled.directives.has_context:
        return
    index = compiled.start(False).feed(Columns(_ROWS)).rows.tolist()
    evaluation = compiled.start(False)
    assert [i for i, row in enumerate(_ROWS) if evaluation.one(*row)] == index
    strict = compiled.start(True).feed(Columns(_ROWS))
    assert strict.error is None or isinstance(strict.error, LaminaError)


def query_body(data: bytes) -> None:
    asked = decode(data, queries.QueryEntry)
    queries.check_set(asked)
    queries.Asked(asked)
    EntryPatterns.of(asked.entries)


def bodies(data: bytes) -> str:
    """Every other JSON body."""
    kinds: tuple[Any, ...] = (buckets.Settings, buckets.NewName, links.LinkRequest, dict[str, Any])
    readers = [lambda text, kind=kind: decode(text, kind) for kind in kinds]
    return _each(data, [*readers, parse_create], REFUSED)


class _Asking:
    """As much of a call as the reader of a query string needs."""

    def __init__(self, data: bytes) -> None:
        self.query = dict(reversed(parse_qsl(data.decode("latin-1"), keep_blank_values=True)))


def query_string(data: bytes) -> None:
    call: Any = _Asking(data)
    queries.Asked(queries._of_url(call, "QUERY"))


def patterns(data: bytes) -> bool:
    """A line is a pattern; the last one is a name."""
    *found, name = data.decode("utf-8", "replace").split("\n")
    chosen = EntryPatterns.of(found)
    return chosen.matches(name)


def names(data: bytes) -> str:
    """What is let through is safe whatever it is used for."""
    text = data.decode("utf-8", "replace")
    EntryPatterns.of([text]).matches(text)
    shapes = _each(data, (lambda _: check_entry_name(text), lambda _: check_bucket_name(text)), REFUSED)
    if "taken" in shapes:
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/$"), text
        assert "" not in text.split("/"), text
        assert not {"$meta"} & set(text.split("/")[:-1]), text
    return shapes


def link_parameters(data: bytes) -> None:
    """What another key sealed, or nobody, is never opened."""
    query = dict(parse_qsl(data.decode("latin-1"), keep_blank_values=True))
    payload, _ = sealing.unseal(_KEY, query)
    assert payload == b"{}", "a seal was forged"


_KEY = bytes(32)


class _Nonce:
    def token_bytes(self, n: int) -> bytes:
        return bytes(n)


def link_payload(data: bytes) -> None:
    """Behind the seal: of an older version of this server."""
    sealed = decode(data, links.Sealed)
    queries.Asked(decode(bytes(sealed.query), queries.QueryEntry))


# -- what the disk gives ---------------------------------------------------------------------------------------


def op_append(data: bytes) -> None:
    ops.decode_append(data)


def op_labels(data: bytes) -> None:
    times, sets, gone = ops.decode_labels(data)
    assert len(times) == len(sets) == len(gone)


def op_short(data: bytes) -> str:
    return _each(data, (ops.decode_remove, ops.decode_evict), DAMAGED)


def directory(data: bytes) -> str:
    """The directory of an index section over a file that is whole."""
    section = _written()._replace(directory=data).open()
    readers: tuple[Callable[[bytes], object], ...] = (
        lambda _: section.times, lambda _: section.born, lambda _: section.died, lambda _: section.types,
        lambda _: section.rows(0, section.n), lambda _: section.label_names, lambda _: section.label("a"),
        lambda _: section.stats("a"), lambda _: section.label_sets(np.arange(min(section.n, 9))),
    )  # fmt: skip
    return _each(b"", readers, DAMAGED)


def segment(data: bytes) -> None:
    """A whole file of an index segment."""
    blobs = MemoryBlobs()
    writer = blobs.create("rec/00/00000001.seg")
    writer.append([data])
    writer.finish()
    reader = SegmentReader(blobs, "rec/00/00000001.seg")
    for section in reader.sections:
        _ = section.directory


def section_lists(data: bytes) -> str:
    return _each(data, (manifest.decode_deaths, manifest.decode_blocks, manifest.decode_files), DAMAGED)


@cache
def _written() -> index_sections.Written:
    found = [
        index_sections.Record(t, (("a", str(t % 3)), ("b", "x")), size=t % 7, where=t * 8, type=f"text/{t % 2}")
        for t in range(1, 40)
    ]
    return index_sections.write(index_sections.sealed(found))


# -- seeds -----------------------------------------------------------------------------------------------------


def _append() -> list[bytes]:
    rows = np.zeros(3, ROW)
    rows["time"] = [1, 2, 3]
    rows["set"] = [0, 1, 0]
    tables = ops.encode_tables([(("a", "1"),), (("b", "x"), ("c", ""))], ["text/plain"])
    parts = ops.append_parts(rows.tobytes(), 3, 2, 1, tables, BlockLimits(1000, 10), [b"content"])
    return [b"".join(bytes(part) for part in parts), struct.pack("<IIIIQII", 0, 0, 0, 0, 1, 1, 0)]


def _labels() -> list[bytes]:
    return [
        ops.labels_body(np.array([1, 5], np.uint64), [(("a", "1"),), (("b", "2"),)]),
        ops.labels_body(np.array([], np.uint64), []),
        ops.labels_body(np.array([1, 5], np.uint64), [(("a", "1"),), ()], [("b",), ("b", "c")]),
    ]


def _lists() -> list[bytes]:
    u64, u32 = np.array([1, 5, 1 << 40], np.uint64), np.array([1, 5, 9], np.uint32)
    return [
        manifest.encode_deaths(u32, u64),
        manifest.encode_blocks(u64, u32, u64, u64),
        manifest.encode_files({1: 100, 7: 1 << 40}),
        integers.pack([np.arange(1000, dtype=np.uint64)] * 2),
    ]


def _short() -> list[bytes]:
    return [ops.remove_body(np.array([1, 2], np.uint64)), ops.evict_body(7)]


def _link() -> list[bytes]:
    return [sealing.seal(_KEY, b"{}", issuer, _Nonce()).encode() for issuer in ("root", "a b&c=é")]


def _payload() -> list[bytes]:
    return [b'{"bucket":"b","entries":["e"],"query":{"query_type":"QUERY","start":1},"record_entry":"e",'
            b'"record_timestamp":5,"expire_at":99,"issued_us":7}']  # fmt: skip


def _json(*values: object) -> Callable[[], Sequence[bytes]]:
    return lambda: [json.dumps(value).encode() for value in values]


def _texts(*values: bytes) -> Callable[[], Sequence[bytes]]:
    return lambda: list(values)


_WORDS_V1 = (b"x-reduct-time-", b"0,", b"5,text/plain", b",a=b", b'"1,2"', b"=", b"\n", b"x-reduct-error-", *NUMBERS)
_WORDS_V2 = (b"x-reduct-0-0: ", b"x-reduct-entries: ", b"x-reduct-start-ts: ", b"x-reduct-labels: ", b"%2F", b"%40",
             b"0=", b'"', b",", b"\n", b"x-reduct-1-", *NUMBERS)  # fmt: skip
_OPERATORS = tuple(
    f'"{name}"'.encode()
    for name in (
        "$and", "$or", "$not", "$xor", "$in", "$nin", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$add", "$mult",
        "$sub", "$div", "$div_num", "$rem", "$abs", "$contains", "$starts_with", "$ends_with", "$exists", "$ref",
        "$cast", "$timestamp", "$hour", "$weekday", "$month", "$each_n", "$each_t", "$limit", "$gate", "#ctx_before",
        "#ctx_after", "#select_labels", "#batch_records", "#batch_size", "#record_timeout", "#ext", "&a", "&b", "@c",
        "$$x", "1h", "1h -30m", "string", "float", "Europe/Berlin", "nan", "inf",
    )
)  # fmt: skip
_JSON_WORDS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"1e308",
    b"1e400",
    b'"\\ud800"',
    b"[1,2]",
    *NUMBERS,
)
_MEMBERS = tuple(
    f'"{name}":'.encode()
    for name in ("query_type", "entries", "start", "stop", "ttl", "continuous", "when", "strict", "ext", "include",
                 "exclude", "each_s", "each_n", "limit", "permissions", "full_access", "read", "write", "expires_at",
                 "ip_allowlist", "bucket", "query", "expire_at", "record_entry", "record_timestamp", "quota_type",
                 "quota_size", "new_name")
)  # fmt: skip

TARGETS: dict[str, Target] = {
    "batch-v1": Target(batch_v1, REFUSED, _texts(
        b'x-reduct-time-5: 3,text/plain,a=b,c="1,2"\nx-reduct-time-7: 0,', b"x-reduct-time-1:"), _WORDS_V1),
    "batch-v2": Target(batch_v2, REFUSED, _texts(
        b"x-reduct-entries: a%2Fb,c\nx-reduct-start-ts: 5\nx-reduct-labels: l,m\nx-reduct-0-0: 3,text/plain,0=x,1=y\n"
        b"x-reduct-0-5: 1\nx-reduct-1-0: 0,,0=", b"x-reduct-entries:\nx-reduct-start-ts: 0"), _WORDS_V2),
    "label-headers": Target(label_headers, REFUSED, _texts(
        b"x-reduct-label-a: b\nx-reduct-label-: \nx-reduct-label-%41: \xc3\xa4"), (b"x-reduct-label-", b"\n", b"\xff")),
    "range": Target(byte_range, (), _texts(b"bytes=0-9", b"bytes=-5", b"bytes=5-", b"bytes=1-2,3-4"),
                    (b"bytes=", b"-", b",", *NUMBERS)),
    "client-address": Target(client_address, (), _texts(
        b'for=1.2.3.4;proto=http, for="[::1]:80"', b"10.0.0.1, 1.2.3.4"),
        (b"for=", b'"', b"[", b"]", b",", b";", b"::")),
    "condition": Target(condition, REFUSED, _json(
        {"&a": {"$gt": 1}, "$limit": 5}, {"$or": [{"$not": [{"$has": "b"}]}, {"&a": {"$eq": "x"}}]},
        {"$and": [{"&a": {"$eq": 1}}, {"$each_t": "10s"}], "#select_labels": ["a"]},
        {"$gte": [{"$hour": ["$timestamp", "Europe/Berlin"]}, 8], "$lt": [{"$abs": "&a"}, 3]},
        {"$gate": ["5s", {"&a": {"$ne": 0}}], "#ctx_before": 2}), (*_OPERATORS, *_JSON_WORDS)),
    "query-body": Target(query_body, REFUSED, _json(
        {"query_type": "QUERY", "entries": ["a/*", "!b"], "start": 1, "stop": 9, "ttl": 5, "when": {"&a": {"$lt": 1}}},
        {"query_type": "REMOVE", "include": {"a": 1}, "each_s": 0.5, "limit": 3, "ext": {"x": {}}}),
        (*_MEMBERS, *_OPERATORS, *_JSON_WORDS)),
    "bodies": Target(bodies, REFUSED, _json(
        {"quota_type": "FIFO", "quota_size": 1}, {"new_name": "x"},
        {"permissions": {"full_access": True, "read": ["a*"]}, "ttl": 9, "expires_at": "2030-01-01T00:00:00Z"},
        {"bucket": "b", "query": {"query_type": "QUERY"}, "expire_at": 9}), (*_MEMBERS, *_JSON_WORDS)),
    "query-string": Target(query_string, REFUSED, _texts(
        b"start=1&stop=9&ttl=5&continuous=true", b"include-a=1&exclude-b=2&each_s=0.5&each_n=2&limit=3"),
        (b"&", b"=", b"%", b"%00", b"start=", b"each_s=nan", b"each_s=1e999", b"include-", b"+", *NUMBERS)),
    "patterns": Target(patterns, REFUSED, _texts(b"a/**/b\n!a/*x*/b\na/x/b", b"acc-*\nacc-a/sub", b"**\n$meta"),
                       (b"*", b"**", b"/", b"!", b"\n", b"$meta", b"*a*" * 20)),
    "names": Target(names, REFUSED, _texts(b"a/b/$meta", b"x" * 255, b".."), (b"/", b"$meta", b"..", b"%2F", b"\0")),
    "link-parameters": Target(link_parameters, REFUSED, _link, (b"ct=", b"s=", b"i=", b"n=", b"&", b"%", b"A")),
    "link-payload": Target(link_payload, REFUSED, _payload, (*_MEMBERS, *_JSON_WORDS)),
    "op-append": Target(op_append, DAMAGED, _append),
    "op-labels": Target(op_labels, DAMAGED, _labels),
    "op-short": Target(op_short, DAMAGED, _short),
    "directory": Target(directory, DAMAGED, lambda: [_written().directory]),
    "segment": Target(segment, DAMAGED, lambda: [_written().content]),
    "section-lists": Target(section_lists, DAMAGED, _lists),
    "http": Target(http.answer, (), _texts(*http.REQUESTS), http.WORDS),
}  # fmt: skip

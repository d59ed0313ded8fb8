"""Metadata outside the catalog: the bodies of `meta` ops in the log, and the full dump a `meta` segment
holds.

Names, tags, settings and tokens exist nowhere in data segments (architecture section 7, row 21), so the
catalog is rebuilt from the newest dump and the ops behind it. Layouts: FORMAT.md sections 5 and 6. Everything
read here may come from a damaged disk: what does not fit is Corrupt.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final, NamedTuple

from google_crc32c import extend

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.encoding import TABLE, Table, to_json_text
from lamina.catalog.rows import (
    META_TABLES,
    PinRow,
    Row,
    from_fields,
    key_from_json,
    key_to_json,
    table_of,
    to_json,
)
from lamina.errors import Corrupt, InvalidArgument, UnknownFormat

PUT: Final = 1
DELETE: Final = 2
PIN: Final = 3
UNPIN: Final = 4

MAGIC = b"LAMMETA\n"
FORMAT = 3
"""2: buckets, entries, replications, lifecycles; tokens have more fields. 3: measurements. Older dumps are read."""

HEADER = struct.Struct("<8sHHI")  # magic, format a reader needs, format a writer needs, length of the summary
CHUNK_BYTES = 1 << 20
"""Uncompressed text handled at a time, both ways: a dump of any size takes a few MiB beside its compressed
bytes."""

LINE_BYTES = 64 << 20
"""Longest line a reader accepts; a row came through the log once, whose ops end at 48 MiB."""

_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")


class MetaChange(NamedTuple):
    """One decoded meta op."""

    type: int  # PUT, DELETE, PIN, UNPIN
    table: str
    key: Any
    row: Any  # to be put; None: the key is to be deleted. Of a PIN: seq is 0, it pins the op's own


def encode_put(row: Row) -> bytes:
    """Body of a PUT op. Raises InvalidArgument for a row that its table would refuse, or of a table that meta
    ops do not change: what is in the log must be applicable."""
    table = table_of(row)
    _meta_table(table).encode(row)
    return _str(table) + _str(f"[{key_to_json(row[0])},{to_json(row)}]")


def encode_delete(table: str, key: object) -> bytes:
    """Body of a DELETE op; an absent key is fine. Raises InvalidArgument as encode_put."""
    _meta_table(table).encode_key(key)
    return _str(table) + _str(key_to_json(key))


def encode_pin(name: str, created_us: int) -> bytes:
    """Body of a PIN op. The pinned seq is the op's own, known only when it is committed. Raises
    InvalidArgument."""
    TABLE["pin"].encode(PinRow(name, 0, created_us))
    return _str(name) + _I64.pack(created_us)


def encode_unpin(name: str) -> bytes:
    """Body of an UNPIN op. Raises InvalidArgument."""
    TABLE["pin"].encode_key(name)
    return _str(name)


def decode(type: int, body: bytes | memoryview) -> MetaChange:
    """The change in the body of a meta op, which may be padded with up to 7 zero bytes. Raises Corrupt."""
    data = bytes(body)
    if type in (PUT, DELETE):
        table, at = _take(data, 0)
        text, at = _take(data, at)
        _padding(data, at)
        if table not in META_TABLES:
            raise Corrupt(f"meta op on table {table!r}; there are {', '.join(META_TABLES)}")
        if type == PUT:
            key, row = _row(table, text)
            return MetaChange(PUT, table, key, row)
        return MetaChange(DELETE, table, _key(table, text), None)
    if type == PIN:
        name, at = _take(data, 0)
        if len(data) < at + 8:
            raise Corrupt(f"meta op PIN of {len(data)} bytes ends before its time at {at}")
        _padding(data, at + 8)
        return MetaChange(PIN, "pin", name, PinRow(name, 0, *_I64.unpack_from(data, at)))
    if type == UNPIN:
        name, at = _take(data, 0)
        _padding(data, at)
        return MetaChange(UNPIN, "pin", name, None)
    raise Corrupt(f"meta op of type {type}; there are 1 PUT, 2 DELETE, 3 PIN, 4 UNPIN")


class MetaSummary(NamedTuple):
    """What the head of a dump says."""

    seq: int  # meta ops up to here are in it
    counts: dict[str, int]  # table -> rows
    crc: int  # CRC32C of the uncompressed lines


def dump(snapshot: CatalogSnapshot) -> bytes:
    """All rows of META_TABLES, compressed; complete up to the snapshot's meta_applied_seq."""
    squeeze = _zstd().ZstdCompressor()
    compressed: list[bytes] = []
    counts = dict.fromkeys(META_TABLES, 0)
    crc = held = 0
    lines: list[bytes] = []

    def empty() -> None:
        nonlocal crc, held
        data = b"".join(lines)
        crc = extend(crc, data)
        compressed.append(squeeze.compress(data))
        lines.clear()
        held = 0

    for table in META_TABLES:
        head = f'["{table}",'
        for row in snapshot.rows(table):
            line = f"{head}{to_json(row)}]\n".encode()
            lines.append(line)
            held += len(line)
            counts[table] += 1
            if held >= CHUNK_BYTES:
                empty()
    empty()
    compressed.append(squeeze.flush())
    fields = {"counts": counts, "crc": crc, "seq": snapshot.database().meta_applied_seq}
    text = to_json_text(fields).encode()
    front = HEADER.pack(MAGIC, FORMAT, FORMAT, len(text)) + text
    return b"".join((front, _U32.pack(extend(0, front)), *compressed))


def summary(data: bytes) -> MetaSummary:
    """The head of a dump, without its rows. Raises Corrupt, UnknownFormat."""
    return _head(data)[0]


def load(data: bytes) -> Iterator[tuple[str, Any]]:
    """(table, row) of a dump, in its order: META_TABLES, each by key. Raises Corrupt, UnknownFormat.

    Lazy: damage may show after rows were given, so use nothing before the iterator has ended.
    """
    head, at = _head(data)
    counts = dict.fromkeys(META_TABLES, 0)
    crc = 0
    rest = b""
    for chunk in _inflate(data, at):
        crc = extend(crc, chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise Corrupt(f"meta dump: a line of over {LINE_BYTES} bytes")
        for line in lines:
            table, row = _line(line)
            counts[table] += 1
            yield table, row
    if rest:
        raise Corrupt(f"meta dump: {len(rest)} bytes behind the last line")
    if crc != head.crc or counts != dict.fromkeys(META_TABLES, 0) | head.counts:  # older dumps name fewer tables
        raise Corrupt(f"meta dump: rows {counts} with CRC32C {crc:08x}, expected {head.counts} with {head.crc:08x}")


def _zstd() -> ModuleType:
    """Imported when first used: 10 ms that opening a database does not pay."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    module: ModuleType = zstd
    return module


def _head(data: bytes) -> tuple[MetaSummary, int]:
    if len(data) < HEADER.size or data[:8] != MAGIC:
        raise Corrupt(f"meta dump: starts with {data[:8]!r}, expected {MAGIC!r}")
    _, read, _, length = HEADER.unpack_from(data)
    end = HEADER.size + length
    if len(data) < end + 4:
        raise Corrupt(f"meta dump: {len(data)} bytes, its head needs {end + 4}")
    (stored,) = _U32.unpack_from(data, end)
    if (computed := extend(0, data[:end])) != stored:
        raise Corrupt(f"meta dump: the head's CRC32C is {computed:08x}, expected {stored:08x}")
    if read > FORMAT:
        raise UnknownFormat(f"meta dump of format {read}; this Lamina knows up to {FORMAT}")
    try:
        fields = json.loads(data[HEADER.size : end])
        found = MetaSummary(fields["seq"], fields["counts"], fields["crc"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"meta dump: the head is no summary: {error!r}") from error
    return found, end + 4


def _inflate(data: bytes, at: int) -> Iterator[bytes]:
    zstd = _zstd()
    inflate = zstd.ZstdDecompressor()
    feed: bytes | memoryview = memoryview(data)[at:]
    while not inflate.eof:
        try:
            chunk = inflate.decompress(feed, CHUNK_BYTES)
        except zstd.ZstdError as error:
            raise Corrupt(f"meta dump: {error}") from error
        feed = b""
        if chunk:
            yield chunk
        elif not inflate.eof:
            raise Corrupt("meta dump: the compressed rows end early")
    if inflate.unused_data:
        raise Corrupt(f"meta dump: {len(inflate.unused_data)} bytes behind the compressed rows")


def _line(line: bytes) -> tuple[str, Any]:
    try:
        table, fields = json.loads(line)
        if table not in META_TABLES:
            raise ValueError(f"table {table!r}")
        return table, _fitting(table, fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"meta dump: no row: {error!r}") from error


def _fitting(table: str, fields: Any) -> Row:
    """A row that the catalog will take. Raises ValueError or TypeError."""
    row: Row = from_fields(table, fields)
    TABLE[table].encode(row)  # InvalidArgument is a ValueError
    return row


def _row(table: str, text: str) -> tuple[Any, Row]:
    try:
        key, fields = json.loads(text)
        row = _fitting(table, fields)
        if key_to_json(row[0]) != key_to_json(key):
            raise ValueError(f"key {key!r} of a row with key {row[0]!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"meta op PUT on {table}: {error!r}") from error
    return row[0], row


def _key(table: str, text: str) -> Any:
    try:
        key = key_from_json(table, text)
        TABLE[table].encode_key(key)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"meta op DELETE on {table}: {error!r}") from error
    return key


def _meta_table(name: str) -> Table:
    if name not in META_TABLES:
        raise InvalidArgument(f"meta ops do not change table {name!r}; they do {', '.join(META_TABLES)}")
    return TABLE[name]


def _str(text: str) -> bytes:
    data = text.encode()
    return _U32.pack(len(data)) + data


def _take(data: bytes, at: int) -> tuple[str, int]:
    """A `str` (u32 length, UTF-8) at `at`, and where it ends."""
    if len(data) < at + 4:
        raise Corrupt(f"meta op of {len(data)} bytes ends before a length at {at}")
    (length,) = _U32.unpack_from(data, at)
    end = at + 4 + length
    if len(data) < end:
        raise Corrupt(f"meta op of {len(data)} bytes ends before a text of {length} bytes at {at + 4}")
    try:
        return data[at + 4 : end].decode(), end
    except UnicodeDecodeError as error:
        raise Corrupt(f"meta op: {error}") from error


def _padding(data: bytes, at: int) -> None:
    if len(data) - at > 7 or any(data[at:]):
        raise Corrupt(f"meta op of {len(data)} bytes has more than zero padding behind byte {at}")

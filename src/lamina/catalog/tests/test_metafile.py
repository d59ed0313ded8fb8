"""Meta ops and meta dumps: what goes in comes out, and anything else is Corrupt."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.catalog import metafile
from lamina.catalog.memory import MemoryCatalog
from lamina.catalog.metafile import DELETE, PIN, PUT, UNPIN, MetaChange, decode, dump, load, summary
from lamina.catalog.rows import META_TABLES, PinRow, SettingRow, TokenRow, table_of
from lamina.errors import Corrupt, InvalidArgument, UnknownFormat
from lamina.testing.catalog_contract import content, put
from lamina.testing.catalog_rows import ONE_OF_EACH, root, stream, uuid

META_ROWS = [row for row in ONE_OF_EACH if table_of(row) in META_TABLES]


@pytest.mark.parametrize("row", META_ROWS, ids=table_of)
@pytest.mark.parametrize("padding", [0, 7])
def test_a_put_and_a_delete_come_back(row: Any, padding: int):
    body = metafile.encode_put(row) + bytes(padding)
    assert decode(PUT, body) == MetaChange(PUT, table_of(row), row[0], row)
    body = metafile.encode_delete(table_of(row), row[0]) + bytes(padding)
    assert decode(DELETE, memoryview(body)) == MetaChange(DELETE, table_of(row), row[0], None)


def test_a_pin_carries_its_time_and_no_seq():
    body = metafile.encode_pin("näme", 1_700_000_000_000_000)
    assert decode(PIN, body) == MetaChange(PIN, "pin", "näme", PinRow("näme", 0, 1_700_000_000_000_000))
    assert decode(UNPIN, metafile.encode_unpin("näme")) == MetaChange(UNPIN, "pin", "näme", None)


def test_bodies_are_those_of_the_format():
    row = SettingRow("r", {"b": 1, "a": "ä"})
    text = '["r",{"name":"r","value":{"a":"ä","b":1}}]'.encode()
    body = struct.pack("<I7sI", 7, b"setting", len(text)) + text
    assert metafile.encode_put(row) == body
    assert metafile.encode_delete("burnt_uuid", uuid(1)) == struct.pack(
        "<I10sI38s", 10, b"burnt_uuid", 38, b'"00000000-0000-0001-0000-000000000001"'
    )
    assert metafile.encode_pin("p", 258) == b"\1\0\0\0p" + b"\2\1" + bytes(6)


@pytest.mark.parametrize(
    "encode",
    [
        lambda: metafile.encode_put(root(1)),
        lambda: metafile.encode_delete("segment", 1),
        lambda: metafile.encode_put(stream(1 << 63)),
        lambda: metafile.encode_put(stream(1, collection="\ud800")),
        lambda: metafile.encode_delete("stream", "1"),
        lambda: metafile.encode_pin("\ud800", 1),
        lambda: metafile.encode_pin("p", 1 << 63),
        lambda: metafile.encode_unpin(7),  # type: ignore[arg-type]
    ],
)
def test_what_no_catalog_would_take_never_reaches_the_log(encode: Any):
    with pytest.raises(InvalidArgument):
        encode()


def body(table: str, text: str) -> bytes:
    return b"".join(struct.pack("<I", len(part.encode())) + part.encode() for part in (table, text))


@pytest.mark.parametrize(
    ("type", "data"),
    [
        (0, b""),
        (5, metafile.encode_unpin("x")),
        (PUT, b""),
        (PUT, metafile.encode_put(META_ROWS[0])[:-1]),
        (PUT, metafile.encode_put(META_ROWS[0]) + bytes(8)),
        (PUT, metafile.encode_put(META_ROWS[0]) + b"\0\1"),
        (PUT, body("segment", "[1,{}]")),
        (PUT, body("pin", "[" * 100_000)),
        (PUT, body("pin", '["p",{"name":"q","seq":1,"created_us":1}]')),
        (PUT, body("pin", '["p",{"name":"p","seq":1}]')),
        (PUT, body("pin", '["p",{"name":"p","seq":1.0,"created_us":1}]')),
        (PUT, body("pin", '["p",{"name":"p","seq":9223372036854775808,"created_us":1}]')),
        (PUT, body("secret", '["p",{"name":"p","value":"0g"}]')),
        (PUT, body("burnt_uuid", '["p",{"uuid":"p","seq":1}]')),
        (PUT, body("setting", '["s",{"name":"s","value":{}},1]')),
        (DELETE, body("stream", '"1"')),
        (DELETE, body("stream", "1]")),
        (DELETE, body("burnt_uuid", "7")),
        (DELETE, body("database", "0")),
        (PIN, metafile.encode_pin("p", 1)[:-1]),
        (PIN, b"\1\0\0\0\xff" + bytes(8)),
        (UNPIN, b"\xff\xff\xff\xffp"),
    ],
)
def test_a_malformed_op_is_corrupt(type: int, data: bytes):
    with pytest.raises(Corrupt):
        decode(type, data)


@given(st.integers(0, 6), st.binary(max_size=60) | st.text().map(lambda text: body("setting", text)))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_are_corrupt(type: int, data: bytes):
    try:
        change = decode(type, data)
    except Corrupt:
        return
    assert change.type == type


@pytest.fixture
def dumped() -> bytes:
    catalog = MemoryCatalog()
    put(catalog, *ONE_OF_EACH, *(stream(id) for id in range(10, 60)), meta_applied_seq=77)
    with catalog.snapshot() as snapshot:
        return dump(snapshot)


def test_a_dump_holds_the_meta_tables_and_nothing_else(dumped: bytes):
    catalog = MemoryCatalog()
    found = list(load(dumped))
    assert list(dict.fromkeys(table for table, _ in found)) == list(META_TABLES)
    put(catalog, *(row for _, row in found))
    original = MemoryCatalog()
    put(original, *META_ROWS, *(stream(id) for id in range(10, 60)))
    assert content(catalog) == content(original)
    head = summary(dumped)
    assert head.seq == 77
    assert head.counts == {table: 52 if table == "stream" else 1 for table in META_TABLES}


def test_a_dump_is_handled_in_bounded_pieces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metafile, "CHUNK_BYTES", 100)
    catalog = MemoryCatalog()
    rows = [stream(id, annotations={"text": "x" * id}) for id in range(1, 400)]
    put(catalog, *rows)
    with catalog.snapshot() as snapshot:
        data = dump(snapshot)
    assert [row for _, row in load(data)] == rows


def test_tokens_and_dumps_of_the_first_format_are_read():
    fields = {
        "name": "ci", "id": "4f", "kind": "sha256", "salt": "00", "hash": "ff", "permissions": {"read": ["*"]},
        "created_us": 1, "expires_us": 2, "provisioned": True,
    }  # fmt: skip
    row = TokenRow("ci", "4f", "sha256", b"\0", b"\xff", {"read": ["*"]}, 1, 2, True, 0, 0, [])
    assert decode(PUT, body("token", json.dumps(["ci", fields]))).row == row
    line = json.dumps(["token", fields]).encode() + b"\n"
    counts = {"stream": 0, "burnt_uuid": 0, "pin": 0, "token": 1, "setting": 0, "secret": 0}
    head = json.dumps({"counts": counts, "crc": metafile.extend(0, line), "seq": 7}).encode()
    front = metafile.HEADER.pack(b"LAMMETA\n", 1, 1, len(head)) + head
    data = front + struct.pack("<I", metafile.extend(0, front)) + metafile._zstd().compress(line)
    (found,) = load(data)
    assert found == ("token", row)
    found[1].ip_allowlist.append("changed")
    assert list(load(data)) == [("token", row)]
    del fields["created_us"]
    with pytest.raises(Corrupt):
        decode(PUT, body("token", json.dumps(["ci", fields])))


def test_an_empty_catalog_has_an_empty_dump():
    with MemoryCatalog().snapshot() as snapshot:
        assert list(load(dump(snapshot))) == []


def test_equal_catalogs_have_equal_dumps(dumped: bytes):
    catalog = MemoryCatalog()
    put(catalog, *reversed([row for _, row in load(dumped)]), meta_applied_seq=77)
    with catalog.snapshot() as snapshot:
        assert dump(snapshot) == dumped


def test_no_missing_byte_goes_unseen(dumped: bytes):
    for at in range(len(dumped)):
        with pytest.raises(Corrupt):
            list(load(dumped[:at]))
    with pytest.raises(Corrupt, match="behind"):
        list(load(dumped + b"x"))


def test_a_changed_byte_is_corrupt_or_changes_nothing(dumped: bytes):
    right = list(load(dumped))
    unseen = 0
    for at in range(len(dumped)):
        try:
            assert list(load(dumped[:at] + bytes([dumped[at] ^ 1]) + dumped[at + 1 :])) == right
        except Corrupt:
            continue
        unseen += 1
    assert unseen <= 2  # the window size and suchlike in the head of the zstd frame


def test_a_dump_of_a_newer_format_is_refused(dumped: bytes):
    length = struct.unpack_from("<I", dumped, 12)[0]
    head = dumped[:8] + struct.pack("<HH", 4, 4) + dumped[12 : 16 + length]
    newer = head + struct.pack("<I", metafile.extend(0, head)) + dumped[16 + length + 4 :]
    with pytest.raises(UnknownFormat, match=re.escape("format 4")):
        list(load(newer))

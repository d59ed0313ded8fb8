"""A batch as bytes: the common part of INSERT and UPDATE (FORMAT.md, Ops)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt, UnknownFormat
from lamina.points.batch import Batch, Numbers, Order, TagSet, concat
from lamina.points.field import ABSENT, BOOL, FLOAT, INT, MIXED, NULL, TEXT, Bits, FieldColumn, Kinds
from lamina.points.packedtables import TableReader, named, write_orders, write_tagsets, write_text, write_texts
from lamina.storage.files import Buffer

HEAD = struct.Struct("<IIIIII")  # points, tag sets, orders, fields, bytes of the tables, 0
_FIELD = struct.Struct("<BI")  # kind, number of texts
_FORMS: dict[int, str | None] = {FLOAT: "<i8", INT: "<i8", BOOL: "u1", TEXT: "<u4", NULL: None}
"""How the values of a field are written that has one kind."""
_U32 = struct.Struct("<I")


def pack(batch: Batch) -> list[Buffer]:
    """The bytes of a batch in pieces, a multiple of 8 altogether."""
    batch = batch.compact()
    keys = sorted({key for order in batch.orders for key in order})
    columns = [_stored(batch.fields[key]) for key in keys]
    table = _table(batch.tagsets, batch.orders, keys, columns)
    head = HEAD.pack(batch.n, len(batch.tagsets), len(batch.orders), len(keys), len(table), 0)
    parts: list[Buffer] = [head + table, batch.time_us.astype("<i8", copy=False).tobytes()]
    if len(batch.tagsets) > 1:
        parts.append(_padded(batch.tagset.astype("<u4")))
    if len(batch.orders) > 1:
        parts.append(_padded(batch.order.astype("<u4")))
    for kind, kinds, bits, _ in columns:
        if kind == MIXED:
            parts.append(_padded(kinds))
        if kind == BOOL:
            parts.append(_padded(bits.astype(np.uint8)))
        elif kind == TEXT:
            parts.append(_padded(bits.astype("<u4")))
        elif kind != NULL:
            parts.append(bits.astype("<i8", copy=False).tobytes())
    return parts


def _stored(column: FieldColumn) -> tuple[int, Kinds, Bits, Sequence[str]]:
    """What is written of a column: one kind for all rows that have the key or MIXED, the kinds of those rows, the
    bits of those that are not None."""
    if column.kinds is None:
        return column.kind, column.row_kinds() if column.kind == NULL else _NO_KINDS, column.bits, column.texts
    kinds = column.kinds[column.kinds != ABSENT]
    bits = column.bits[column.kinds > NULL]
    if len(kinds) and (kinds == kinds[0]).all():
        return int(kinds[0]), kinds, bits, column.texts
    return MIXED, kinds, bits, column.texts


_NO_KINDS: Kinds = np.empty(0, np.uint8)


def _table(
    tagsets: Sequence[TagSet],
    orders: Sequence[Order],
    keys: Sequence[str],
    columns: Sequence[tuple[int, Kinds, Bits, Sequence[str]]],
) -> bytes:
    parts = [write_tagsets(tagsets), write_orders(orders, keys)]
    for key, (kind, _, _, texts) in zip(keys, columns, strict=True):
        parts += (write_text(key), _FIELD.pack(kind, len(texts)), write_texts(texts))
    return _padded(b"".join(parts))


def _padded(data: bytes | NDArray[np.generic]) -> bytes:
    raw = data if isinstance(data, bytes) else data.tobytes()
    return raw + bytes(-len(raw) % 8)


class _Tables(NamedTuple):
    tagsets: list[TagSet]
    orders: list[Order]
    fields: list[tuple[str, int, list[str]]]  # key, kind, texts

    def simple(self) -> bool:
        """Whether the length of every column follows from the number of points."""
        return len(self.orders) == 1 and all(kind != MIXED for _, kind, _ in self.fields)


def _read_tables(data: bytes, sets: int, orders: int, fields: int) -> _Tables:
    reader = TableReader(data, "tables of a points op")
    tagsets, by_place = reader.tagsets(sets), reader.orders(orders)
    found = []
    for _ in range(fields):
        key = reader.text()
        kind, texts = reader.unpack(_FIELD)
        if not NULL <= kind <= MIXED:
            raise UnknownFormat(f"points op: field {key!r} of kind {kind}: this version reads {NULL}..{MIXED}")
        found.append((key, kind, reader.texts(texts)))
    return _Tables(tagsets, named(by_place, [key for key, _, _ in found], reader), found)


def unpack(body: bytes | memoryview, at: int) -> tuple[Batch, int]:
    """The batch at an offset, and the offset behind it. Raises Corrupt, UnknownFormat."""
    n, tables, at = _start(body, at)
    cursor = _Cursor(body, at)
    times = cursor.column("<i8", n).astype(np.int64, copy=False)
    tagset = cursor.numbers(n, len(tables.tagsets), "tag sets")
    order = cursor.numbers(n, len(tables.orders), "orders of fields")
    fields = {}
    for key, kind, texts in tables.fields:
        has = np.array([key in keys for keys in tables.orders], np.bool_)
        rows = None if has.all() else has[order] if n else None
        fields[key] = cursor.field(n, rows, kind, texts)
    return Batch(times, tagset, tables.tagsets, order, tables.orders, fields), cursor.at


def _start(body: bytes | memoryview, at: int) -> tuple[int, _Tables, int]:
    """Number of points, tables, and where the columns begin."""
    if at + HEAD.size > len(body):
        raise Corrupt(f"points op of {len(body)} bytes: expected {HEAD.size} at {at}")
    n, sets, orders, fields, size, zero = HEAD.unpack_from(body, at)
    at += HEAD.size
    if zero:
        raise UnknownFormat(f"points op: flags {zero}: this version reads 0")
    if at + size + 8 * n > len(body) or (n and not (sets and orders)):
        raise Corrupt(f"points op of {len(body)} bytes announces {n} points and {size} bytes of tables at {at}")
    return n, _read_tables(bytes(body[at : at + size]), sets, orders, fields), at + size


class _Cursor:
    """Reads columns one behind the other."""

    __slots__ = ("_body", "at")

    def __init__(self, body: bytes | memoryview, at: int) -> None:
        self._body = body
        self.at = at

    def column(self, dtype: str, n: int) -> NDArray[np.generic]:
        size = np.dtype(dtype).itemsize * n
        if self.at + size > len(self._body):
            raise Corrupt(f"points op of {len(self._body)} bytes: expected a column of {size} at {self.at}")
        found = np.frombuffer(self._body, dtype, n, self.at)
        self.at += _aligned(size)
        return found

    def numbers(self, n: int, size: int, what: str) -> Numbers:
        if size <= 1:
            return np.zeros(n, np.int32)
        found = self.column("<u4", n)
        _check_below(found.astype(np.int64), size, what)
        return found.astype(np.int32)

    def field(self, n: int, rows: NDArray[np.bool_] | None, kind: int, texts: list[str]) -> FieldColumn:
        m = n if rows is None else int(np.count_nonzero(rows))
        kinds = np.full(m, kind, np.uint8)
        if kind == MIXED:
            kinds = self.column("u1", m).astype(np.uint8)
            if m and not (int(kinds.min()) >= NULL and int(kinds.max()) < MIXED):
                raise Corrupt(f"points op with values of kinds {np.unique(kinds).tolist()}")
        stored = kinds > NULL
        v = int(np.count_nonzero(stored))
        bits = self.column(_FORMS.get(kind) or "<i8", v).astype(np.int64, copy=False)
        are_texts = bits if kind == TEXT else bits[kinds[stored] == TEXT] if kind == MIXED else bits[:0]
        _check_below(are_texts, len(texts), "texts")
        if v < m:
            some = np.zeros(m, np.int64)
            some[stored] = bits
            bits = some
        if rows is not None:
            all_kinds, all_bits = np.zeros(n, np.uint8), np.zeros(n, np.int64)
            all_kinds[rows], all_bits[rows] = kinds, bits
            return FieldColumn(MIXED, all_kinds, all_bits, texts)
        return FieldColumn(kind, kinds if kind == MIXED else None, bits, texts)


def unpack_all(bodies: Sequence[bytes | memoryview], at: int) -> Batch:
    """The batches of many ops, at one offset in each, one behind the other.

    Ops that are alike but for times and values, as those of a logger are, are read as one: 1 µs each. Others as by
    `unpack`.
    """
    alike: dict[bytes, list[int]] = {}
    for i, body in enumerate(bodies):
        # Everything that says how the columns lie; `size` is bounded before it is believed.
        size = _U32.unpack_from(body, at + 16)[0] if len(body) >= at + HEAD.size else 0
        alike.setdefault(bytes(body[at : at + HEAD.size + size]) + _U32.pack(len(body)), []).append(i)
    parts: list[Batch] = []
    places: list[NDArray[np.int64]] = []
    for members in alike.values():
        batch = _alike([bodies[i] for i in members], at) if len(members) > 1 else None
        if batch is not None:
            parts.append(batch)
            per_op = batch.n // len(members)
            places.append(np.repeat(np.array(members, np.int64), per_op))
            continue
        for i in members:
            parts.append(unpack(bodies[i], at)[0])
            places.append(np.full(parts[-1].n, i, np.int64))
    together = concat(parts)
    op = np.concatenate(places) if places else np.empty(0, np.int64)
    if len(alike) <= 1 or bool((op[1:] >= op[:-1]).all()):
        return together
    return together.take(np.argsort(op, kind="stable"))


def _alike(bodies: Sequence[bytes | memoryview], at: int) -> Batch | None:
    """The batches of ops with the same head, tables and length as one; None if their columns may lie differently."""
    n, tables, start = _start(bodies[0], at)
    if not tables.simple():
        return None
    forms = ["<i8", "<u4" if len(tables.tagsets) > 1 else None]
    forms += [_FORMS[kind] for _, kind, _ in tables.fields]
    sizes = [0 if form is None else _aligned(np.dtype(form).itemsize * n) for form in forms]
    if start + sum(sizes) > len(bodies[0]):
        return None  # `unpack` says what is wrong
    raw = b"".join([body[start : start + sum(sizes)] for body in bodies])
    rows = np.frombuffer(raw, np.uint8).reshape(len(bodies), sum(sizes))
    columns, place = [], 0
    for form, size in zip(forms, sizes, strict=True):
        if form is None:
            columns.append(np.zeros(n * len(bodies), np.int64))
        else:
            used = np.ascontiguousarray(rows[:, place : place + np.dtype(form).itemsize * n])
            columns.append(used.view(form).ravel().astype(np.int64, copy=False))
        place += size
    times, tagset, *values = columns
    _check_below(tagset, max(len(tables.tagsets), 1), "tag sets")
    fields = {}
    for bits, (key, kind, texts) in zip(values, tables.fields, strict=True):
        if kind == TEXT:
            _check_below(bits, len(texts), "texts")
        fields[key] = FieldColumn(kind, None, bits, texts)
    order = np.zeros(len(times), np.int32)
    return Batch(times, tagset.astype(np.int32), tables.tagsets, order, tables.orders, fields)


def _check_below(numbers: NDArray[np.int64], size: int, what: str) -> None:
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < size:
        raise Corrupt(f"points op that names {what} which are not in it")


def _aligned(size: int) -> int:
    return size + (-size % 8)

"""Batch protocol v2: several entries, label names in a dictionary, only what changed is said (contract 9).

`x-reduct-<entry index>-<delta>: <length>[,<type>[,<label delta>]]`; the time is `x-reduct-start-ts` plus delta, what is
left out is as in the entry's previous record. Records and their contents go by (entry index, delta).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lamina.errors import InvalidArgument
from lamina.faces.reduct.headers import (
    CACHE_LIMIT,
    CACHED_BYTES,
    DEFAULT_TYPE,
    LAST_TIME,
    Header,
    decode_names,
    encode_name,
    number,
)
from lamina.faces.reduct.wanted import Wanted
from lamina.records.labels import NO_LABELS, LabelSet

PREFIX = b"x-reduct-"
ENTRIES, START, LABELS = b"x-reduct-entries", b"x-reduct-start-ts", b"x-reduct-labels"

Ops = tuple[tuple[str, str], ...]
"""Changes of labels in the order in which they are written; an empty value removes."""


class Place(NamedTuple):
    """One record of a batch: where it belongs, and what its header says."""

    entry_index: int
    delta: int
    value: bytes


class Head(NamedTuple):
    """The headers of a batch, taken apart; records by (entry index, delta)."""

    entries: list[str]
    start_us: int
    names: list[str] | None  # of labels
    names_raw: bytes  # the header itself
    places: list[Place]
    by_time: bool  # the headers came by (delta, entry index) instead

    def time_us(self, place: Place) -> int:
        return self.start_us + place.delta

    def echo(self) -> list[Header]:
        """What every answer to a batch repeats, so that clients can tell whose errors it carries."""
        entries = ",".join(map(encode_name, self.entries))
        return [(ENTRIES, entries.encode()), (START, b"%d" % self.start_us)]


class _Value(NamedTuple):
    size: int
    content_type: str | None  # None: only the length was given
    ops: Ops


_values: dict[tuple[bytes, bytes], _Value] = {}
_applied: dict[tuple[LabelSet, Ops], LabelSet] = {}


def parse_head(headers: Sequence[Header]) -> Head:
    """The parts of a request. Without records the entries may be empty. Raises InvalidArgument."""
    entries_raw = start_raw = names_raw = None
    places = []
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        index, _, delta = name[len(PREFIX) :].rpartition(b"-")
        if delta.isdigit():
            if not (index.isdigit() and len(index) < 20 and len(delta) < 20):
                _index(name, index)
                _delta(name, delta)
            places.append(tuple.__new__(Place, (int(index), int(delta), value)))
        elif name == ENTRIES:
            entries_raw = value
        elif name == START:
            start_raw = value
        elif name == LABELS:
            names_raw = value
    if start_raw is None:
        raise InvalidArgument("x-reduct-start-ts header is required")
    start = number(start_raw.strip())
    if start is None:
        raise InvalidArgument("Invalid x-reduct-start-ts header")
    entries = _entries(entries_raw, bool(places))
    names = None
    if names_raw is not None:
        if not names_raw.strip():
            raise InvalidArgument("x-reduct-labels header is empty")
        names = decode_names(names_raw)
    came, places = places, sorted(places)
    by_time = came != places and came == sorted(places, key=_time_order)
    for place in places:
        shown = f"Invalid header 'x-reduct-{place.entry_index}-{place.delta}'"
        if place.entry_index >= len(entries):
            raise InvalidArgument(f"{shown}: entry index out of range")
        if start + place.delta > LAST_TIME:
            raise InvalidArgument(f"{shown}: must be an unix timestamp in microseconds")
    return Head(entries, start, names, names_raw or b"", places, by_time)


def _time_order(place: Place) -> tuple[int, int]:
    return place.delta, place.entry_index


def _index(name: bytes, index: bytes) -> int:
    value = number(index)
    if value is None:
        raise InvalidArgument(f"Invalid header '{name.decode('latin-1')}': entry index must be a number")
    return value


def _delta(name: bytes, delta: bytes) -> int:
    value = number(delta)
    if value is None:
        shown = name.decode("latin-1")
        raise InvalidArgument(f"Invalid header '{shown}': must be an unix timestamp in microseconds")
    return value


def _entries(raw: bytes | None, needed: bool) -> list[str]:
    if raw is None or (needed and not raw.strip()):
        raise InvalidArgument("x-reduct-entries header is required")
    if not raw.strip():
        return []  # an empty batch, as reduct-py sends it
    entries = decode_names(raw)
    if not all(entries):
        raise InvalidArgument("x-reduct-entries header must not contain empty entry names")
    return entries


def parse_items(head: Head) -> list[Wanted]:
    """The records of a write, in the order of the head's places. Raises InvalidArgument."""
    items: list[Wanted] = []
    entries, start, names_raw = head.entries, head.start_us, head.names_raw
    index, entry = -1, ""
    content_type, labels = DEFAULT_TYPE, NO_LABELS
    for entry_index, delta, raw in head.places:
        value = _values.get((names_raw, raw)) or _value(head, raw)
        if entry_index != index:
            _check_first(value)
            index, entry = entry_index, entries[entry_index]
            content_type, labels = DEFAULT_TYPE, NO_LABELS
        if value.content_type:
            content_type = value.content_type
        if value.ops:
            labels = _applied.get((labels, value.ops)) or _apply(labels, value.ops)
        items.append(tuple.__new__(Wanted, (entry, start + delta, value.size, content_type, labels)))
    return items


def in_time_order(head: Head, items: Sequence[Wanted]) -> tuple[list[Place], list[Wanted]]:
    """Places and items of a batch as clients in JavaScript lay out its contents."""
    pairs = sorted(zip(head.places, items, strict=True), key=lambda pair: _time_order(pair[0]))
    return [place for place, _ in pairs], [item for _, item in pairs]


def parse_changes(head: Head) -> list[tuple[Place, dict[str, str]]]:
    """The label changes of an update, by (entry index, delta): what an earlier record of the entry sets or removes
    holds for the later ones, too. Raises InvalidArgument."""
    changes: list[tuple[Place, dict[str, str]]] = []
    index = -1
    state: dict[str, str] = {}
    for place in head.places:
        value = _value(head, place.value)
        if place.entry_index != index:
            _check_first(value)
            index = place.entry_index
            state = {}
        if value.ops:
            state = {**state, **dict(value.ops)}
        changes.append((place, state))
    return changes


def _check_first(value: _Value) -> None:
    if value.content_type is None:
        raise InvalidArgument("Content-type and labels must be provided for the first record of an entry")


def _apply(labels: LabelSet, ops: Ops) -> LabelSet:
    merged = {**dict(labels), **dict(ops)}
    found = tuple(sorted((name, value) for name, value in merged.items() if value))
    if len(_applied) >= CACHE_LIMIT:
        _applied.clear()
    if sum(len(name) + len(value) for name, value in merged.items()) <= CACHED_BYTES:
        _applied[labels, ops] = found
    return found


def _value(head: Head, raw: bytes) -> _Value:
    key = head.names_raw, raw
    found = _values.get(key) or _parse_value(raw, head.names)
    if len(raw) + len(head.names_raw) <= CACHED_BYTES:
        if len(_values) >= CACHE_LIMIT:
            _values.clear()
        _values[key] = found
    return found


def _parse_value(raw: bytes, names: list[str] | None) -> _Value:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidArgument("Invalid batched header") from None
    length, comma, rest = text.partition(",")
    size = number(length.strip().encode())
    if size is None:
        raise InvalidArgument("Invalid batched header")
    if not comma:
        return _Value(size, None, ())
    content_type, _, delta = rest.partition(",")
    return _Value(size, content_type.strip(), _parse_delta(delta.strip(), names))


def _parse_delta(rest: str, names: list[str] | None) -> Ops:
    ops: list[tuple[str, str]] = []
    while rest:
        key, equals, value = rest.partition("=")
        if not equals:
            raise InvalidArgument("Invalid batched header")
        if value.startswith('"'):
            value, quote, rest = value[1:].partition('"')
            if not quote:
                raise InvalidArgument("Invalid batched header")
            rest = rest.lstrip(" ,")
        else:
            value, _, rest = value.partition(",")
            rest = rest.strip()
        ops.append((_label_name(key.strip(), names), value.strip()))
    return tuple(ops)


def _label_name(key: str, names: list[str] | None) -> str:
    if names is not None and key.isascii() and key.isdigit():
        if len(key) > 9 or int(key) >= len(names):
            raise InvalidArgument(f"Label index '{key}' is out of range")
        key = names[int(key)]
    if key.startswith("@"):
        raise InvalidArgument("Label names must not start with '@': reserved for computed labels")
    if not key:
        raise InvalidArgument("Invalid batched header")
    return key

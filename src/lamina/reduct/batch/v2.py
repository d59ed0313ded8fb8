"""Batch protocol v2, the client's half: several entries, label names by index, only what changed is said.

`x-reduct-<entry index>-<µs since x-reduct-start-ts>: <size>[,<type>[,<label changes>]]`; contents go by (entry index,
time). What a header leaves out is as in the entry's previous record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from lamina.reduct.batch.common import DEFAULT_TYPE
from lamina.reduct.batch.heads import Head
from lamina.reduct.batch.text import check_type, decode_names, encode_name, pairs, quoted
from lamina.reduct.error import ReductError
from lamina.reduct.record import HeldRecord
from lamina.reduct.transport import Header

PREFIX, ERROR_PREFIX = "x-reduct-", "x-reduct-error-"
ENTRIES, START, LABELS = "x-reduct-entries", "x-reduct-start-ts", "x-reduct-labels"

Changes = tuple[tuple[str, str], ...]
"""(label name, new value), "" removes."""


class _Names:
    """Label names by index, in the order of their first use."""

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}

    def changes(self, before: Mapping[str, str], now: Mapping[str, str]) -> str:
        """What makes `now` of `before`."""
        changed = [(name, value) for name, value in now.items() if before.get(name) != value]
        changed += [(name, "") for name in before if name not in now]
        return ",".join(f"{self._index(name)}={quoted(value)}" for name, value in changed)

    def _index(self, name: str) -> int:
        if not name or name.startswith("@"):
            raise ValueError(f"label name {name!r}: expected one that is not empty and does not begin with @")
        return self._indexes.setdefault(name, len(self._indexes))

    def header(self) -> list[Header]:
        return [(LABELS, ",".join(map(encode_name, self._indexes)))] if self._indexes else []


def _head(entries: Sequence[str], start: int, records: list[Header], names: _Names) -> list[Header]:
    return [(ENTRIES, ",".join(map(encode_name, entries))), (START, str(start)), *names.header(), *records]


def _start(records: Sequence[HeldRecord]) -> int:
    return min((record.timestamp for record in records), default=0)


def encode(batch: Sequence[HeldRecord]) -> list[Header]:
    """Headers of a write; contents follow in the order of the batch. Raises ValueError."""
    start, names = _start(batch), _Names()
    entries: list[str] = []
    records: list[Header] = []
    content_type = ""
    labels: dict[str, str] = {}
    for record in batch:
        entry, time_us = str(record.entry), record.timestamp
        now = {name: str(value) for name, value in record.labels.items()}
        if not entries or entry != entries[-1]:
            entries.append(entry)
            content_type, labels = "", {}
        elif record.content_type == content_type and now == labels:
            records.append((f"{PREFIX}{len(entries) - 1}-{time_us - start}", str(record.size)))
            continue
        said = "" if record.content_type == content_type else check_type(record.content_type)
        value = f"{record.size},{said},{names.changes(labels, now)}"
        records.append((f"{PREFIX}{len(entries) - 1}-{time_us - start}", value))
        content_type, labels = record.content_type, now
    return _head(entries, start, records, names)


def encode_update(batch: Sequence[HeldRecord]) -> list[Header]:
    """Headers of an update. Raises ValueError.

    What a record changes holds for the later ones of its entry index, too. So one that leaves alone what an earlier
    one changed gets an index of its own, with the same name."""
    start, names = _start(batch), _Names()
    entries: list[str] = []
    records: list[Header] = []
    state: dict[str, str] = {}
    for record in batch:
        entry, time_us = str(record.entry), record.timestamp
        now = {name: str(value) for name, value in record.labels.items()}
        if not entries or entry != entries[-1] or not state.keys() <= now.keys():
            entries.append(entry)
            state = {}
        records.append((f"{PREFIX}{len(entries) - 1}-{time_us - start}", f"0,,{names.changes(state, now)}"))
        state = now
    return _head(entries, start, records, names)


def encode_removal(batch: Sequence[HeldRecord]) -> list[Header]:
    """Headers of a removal."""
    start = _start(batch)
    entries: list[str] = []
    records: list[Header] = []
    for record in batch:
        entry, time_us = str(record.entry), record.timestamp
        if not entries or entry != entries[-1]:
            entries.append(entry)
        records.append((f"{PREFIX}{len(entries) - 1}-{time_us - start}", "0"))
    return _head(entries, start, records, _Names())


def decode(headers: Sequence[Header]) -> list[Head]:
    """The records of an answer, in the order of their contents. Raises ValueError.

    What is left out is taken from the entry's record before, by its name: where a server repeats a name among the
    entries, it says everything again.
    """
    places: list[tuple[int, int, str]] = []
    label_names = ""
    entries: tuple[str, ...] = ()
    start = None
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        index, dash, delta = name[len(PREFIX) :].partition("-")
        if dash and index.isdecimal() and delta.isdecimal():
            places.append((int(index), int(delta), value))
        elif name == ENTRIES:
            entries = decode_names(value) if value else ()
        elif name == START:
            start = int(value)
        elif name == LABELS:
            label_names = value
    if start is None:
        raise ValueError(f"the server's answer lacks {START}")
    places.sort()
    heads: list[Head] = []
    before: dict[str, tuple[str, dict[str, str]]] = {}
    for at, since, value in places:
        entry = entries[at]
        size, comma, rest = value.partition(",")
        known = before.get(entry)
        if not comma:
            if known is None:
                raise ValueError(f"the first record of entry {entry!r} lacks its content type")
            content_type, labels = known
            labels = labels.copy()
        else:
            content_type, changes = _changes(rest, label_names)
            content_type = content_type or (known[0] if known is not None else DEFAULT_TYPE)
            labels = known[1].copy() if known is not None else {}
            for label, text in changes:
                if text:
                    labels[label] = text
                else:
                    labels.pop(label, None)
        before[entry] = content_type, labels
        heads.append(tuple.__new__(Head, (entry, start + since, int(size), content_type, labels)))
    return heads


@lru_cache(4096)
def _changes(text: str, names: str) -> tuple[str, Changes]:
    """Content type and label changes of a record's header; `names` is the header with the names of labels."""
    content_type, _, changes = text.partition(",")
    known = decode_names(names) if names else ()

    def name(key: str) -> str:
        return known[int(key)] if known and key.isdecimal() else key

    return content_type.strip(), tuple(pairs(changes.strip(), name))


def errors(headers: Sequence[Header]) -> dict[str, dict[int, ReductError]]:
    """What went wrong, by entry and time."""
    known = dict(headers)
    entries = decode_names(known.get(ENTRIES, ""))
    start = int(known.get(START, "0"))
    found: dict[str, dict[int, ReductError]] = {}
    for name, value in headers:
        if name.startswith(ERROR_PREFIX):
            index, _, delta = name[len(ERROR_PREFIX) :].partition("-")
            found.setdefault(entries[int(index)], {})[start + int(delta)] = ReductError.from_header(value)
    return found

"""Batch protocol v1, the client's half: one header `x-reduct-time-<µs>: <size>,<type>[,<label>=<value>...]` per record,
contents by time."""

from __future__ import annotations

from collections.abc import Iterable

from lamina.reduct.batch.heads import Head
from lamina.reduct.batch.text import check_label_name, check_type, pairs, quoted
from lamina.reduct.error import ReductError
from lamina.reduct.record import HeldRecord
from lamina.reduct.transport import Header

PREFIX, ERROR_PREFIX = "x-reduct-time-", "x-reduct-error-"


def encode(records: Iterable[HeldRecord], contents: bool = True) -> list[Header]:
    """Headers of a request. Without contents sizes are 0. Raises ValueError (a text that cannot be sent)."""
    headers = []
    for record in records:
        parts = [str(record.size if contents else 0), check_type(record.content_type)]
        parts += [f"{check_label_name(name)}={quoted(str(value))}" for name, value in record.labels.items()]
        headers.append((f"{PREFIX}{record.timestamp}", ",".join(parts)))
    return headers


def decode(headers: Iterable[Header], entry: str) -> list[Head]:
    """The records of an answer, in the order of their contents. Raises ValueError."""
    found = []
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        size, _, rest = value.partition(",")
        content_type, _, labels = rest.partition(",")
        found.append(
            Head(entry, int(name[len(PREFIX) :]), int(size), content_type.strip(), dict(pairs(labels.strip(), str)))
        )
    found.sort(key=lambda head: head.time_us)
    return found


def errors(headers: Iterable[Header]) -> dict[int, ReductError]:
    """What went wrong, by time."""
    return {
        int(name[len(ERROR_PREFIX) :]): ReductError.from_header(value)
        for name, value in headers
        if name.startswith(ERROR_PREFIX)
    }

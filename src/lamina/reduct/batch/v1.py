"""Batch protocol v1, the client's half: one header `x-reduct-time-<µs>: <size>,<type>[,<label>=<value>...]` per record,
contents by time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

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
        labels = record.labels
        size = record.size if contents else 0
        rest = _described(record.content_type, tuple(labels), tuple(map(str, labels.values())))
        headers.append((f"{PREFIX}{record.timestamp}", f"{size},{rest}"))
    return headers


@lru_cache(4096)
def _described(content_type: str, names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """What a header says behind the size: much the same for all records of a program."""
    labels = [f"{check_label_name(name)}={quoted(value)}" for name, value in zip(names, values, strict=True)]
    return ",".join([check_type(content_type), *labels])


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

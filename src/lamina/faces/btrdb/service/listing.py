"""Metadata of many streams: only what the caller may read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from lamina.catalog.rows import StreamRow
from lamina.faces.btrdb.service.caller import Call

_PAGE = 1000  # rows fetched at a time

Condition = tuple[str, str | None]
"""A key and the value asked for; None: the stream has the key."""


def streams(
    call: Call,
    collection: str,
    prefix: bool,
    tags: Iterable[Condition],
    annotations: Iterable[Condition],
    keep: Callable[[StreamRow], bool],
) -> Iterator[StreamRow]:
    """Readable streams that meet all conditions, by collection and name.

    `tags` and `annotations` are the conditions that the catalog can judge by itself, `keep` is asked besides. Ids
    first, rows by pages: the reader may be slow, and a catalog snapshot kept open meanwhile would pin its log.
    """
    found = call.db.streams.find_rows(collection, prefix, dict(tags), dict(annotations))
    ids = array("Q", (row.id for row in found if call.who.may_read_stream(row.collection) and keep(row)))
    for start in range(0, len(ids), _PAGE):
        with call.db.catalog.snapshot() as catalog:
            page = [catalog.stream(id) for id in ids[start : start + _PAGE]]
        yield from (row for row in page if row is not None)  # None: obliterated meanwhile


def collections(call: Call, prefix: str) -> list[str]:
    """Readable collections with the string prefix, sorted."""
    return [name for name in call.db.streams.collections(prefix) if call.who.may_read_stream(name)]


def usage(call: Call, prefix: str) -> tuple[Counter[str], Counter[str]]:
    """How many readable streams have each tag key (with a value that is not empty), and each annotation key."""
    tags: Counter[str] = Counter()
    annotations: Counter[str] = Counter()
    for row in call.db.streams.find_rows(prefix, prefix=True):
        if call.who.may_read_stream(row.collection):
            tags.update(key for key, value in row.tags.items() if value)
            annotations.update(row.annotations.keys())
    return tags, annotations

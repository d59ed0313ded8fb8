"""Records of a server: what they are comes in columns, many at a time; contents when they are asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.arguments import bound_us, condition_of, parsed
from lamina.errors import LaminaError, Unavailable
from lamina.records.labels import LabelSet
from lamina.time import TimeLike
from lamina.wire import failures

if TYPE_CHECKING:
    from lamina.remote.link import Link

SMALL = 65_536
"""Contents up to here are fetched many at a time, where one after the other is read."""

AHEAD_BYTES, AHEAD, GROWTH = 1 << 20, 1024, 4
"""Fetched with one round trip: at most; a reader who goes on gets ever more."""

Mark = tuple[int, int, int, int]


class Source:
    """Where records come from: the object that is asked for them, and the one for their contents."""

    def __init__(
        self,
        link: Link,
        asked: str,
        place: dict[str, Any],
        bucket: str,
        contents: tuple[str, dict[str, Any]] | None = None,
    ) -> None:
        self.link = link
        self.asked = asked
        self.place = place
        self.bucket = bucket
        self.contents, self.contents_place = contents if contents is not None else (asked, place)


class Record:
    """One record as it was when it was read, as `lamina.Record`. Contents are fetched on demand; those of small records
    that are read one after the other come many at a time.

    `time_us`: µs since the epoch. `labels`: (name, value) pairs sorted by name.
    """

    __slots__ = ("_page", "_place", "content_type", "entry", "labels", "size", "time_us")

    def __init__(
        self, page: _Page, place: int, entry: str, time_us: int, size: int, labels: LabelSet, content_type: str
    ) -> None:
        self._page = page
        self._place = place
        self.entry = entry
        self.time_us = time_us
        self.size = size
        self.labels = labels
        self.content_type = content_type

    def read(self) -> bytes:
        """The whole content, verified by the server. Raises Corrupt, NotFound (removed since, and nobody held a
        snapshot)."""
        if not self.size:
            return b""
        if self.size <= SMALL:
            return self._page.content(self._place)
        return b"".join(self.chunks())

    def chunks(self, start: int = 0, stop: int | None = None, into: memoryview | None = None) -> Iterator[memoryview]:
        """Bytes [start, stop) of the content in parts, as they arrive. A connection that breaks is made good once.

        `into` is for records of a directory: here parts lie where they came in."""
        end = self.size if stop is None else min(stop, self.size)
        done = start
        for again in (True, False):
            try:
                for part in self._page.chunks(self._place, done, end):
                    yield part
                    done += len(part)
                return
            except Unavailable:
                if not again or done == start:
                    raise

    def __repr__(self) -> str:
        return f"<lamina.remote.Record {self.entry} {self.time_us} {self.size} bytes>"

    def _repr_html_(self) -> str:
        from lamina.notebook import record_html

        return record_html(self)


class _Page:
    """Records that came together."""

    def __init__(self, source: Source, marks: Sequence[Mark], sizes: Sequence[int]) -> None:
        self._source = source
        self._marks = marks
        self._sizes = sizes
        self._lock = threading.Lock()  # guards what follows
        self._contents: dict[int, bytes | LaminaError] = {}
        self._next = 0  # the record that a reader who goes on reads next
        self._ahead = 1

    def content(self, place: int) -> bytes:
        with self._lock:
            if place not in self._contents:
                self._ahead = min(self._ahead * GROWTH, AHEAD) if place and place == self._next else 1
                self._contents.clear()
                self._fetch(place)
            content = self._contents.pop(place)
            self._next = place + 1
        if isinstance(content, LaminaError):
            raise content
        return content

    def _fetch(self, first: int) -> None:
        wanted: list[int] = []
        size = 0
        for place in range(first, len(self._marks)):
            if len(wanted) == self._ahead or (wanted and size + self._sizes[place] > AHEAD_BYTES):
                break
            if 0 < self._sizes[place] <= SMALL:
                wanted.append(place)
                size += self._sizes[place]
        source, places = self._source, iter(wanted)
        marks = [self._marks[place] for place in wanted]
        for told, contents in source.link.call(f"{source.contents}/contents", **source.contents_place, marks=marks):
            at = 0
            for one in json.loads(bytes(told)):
                if isinstance(one, int):
                    self._contents[next(places)] = bytes(contents[at : at + one])
                    at += one
                else:
                    self._contents[next(places)] = failures.revived(one)

    def chunks(self, place: int, start: int, stop: int) -> Iterator[memoryview]:
        source, mark = self._source, self._marks[place]
        return source.link.content(
            f"{source.contents}/content", **source.contents_place, mark=mark, start=start, stop=stop
        )


def records(source: Source, method: str, **arguments: Any) -> Iterator[Record]:
    """What a call gives; it is made now, and read on while iterating."""
    portions = source.link.call(f"{source.asked}/{method}", **source.place, **arguments)
    return (record for portion in portions for record in page(source, *portion))


def page(source: Source, told: memoryview, columns: memoryview) -> Iterator[Record]:
    """The records of one portion."""
    from lamina.wire import arrow

    head = json.loads(bytes(told))
    times, sizes, seqs, crcs, entries, labels, types = (
        column.tolist() for column in arrow.decode(arrow.FOUND, columns)
    )
    ids, names = zip(*head["entries"], strict=True)
    sets = [tuple((name, value) for name, value in pairs) for pairs in head["labels"]]
    marks = [(ids[entry], *mark) for entry, *mark in zip(entries, times, seqs, crcs, strict=True)]
    page = _Page(source, marks, sizes)
    for i, (time_us, size, entry, labels_of, type_of) in enumerate(
        zip(times, sizes, entries, labels, types, strict=True)
    ):
        yield Record(page, i, names[entry], time_us, size, sets[labels_of], head["types"][type_of])


def selection(
    start: TimeLike | None, stop: TimeLike | None, when: Mapping[str, Any] | str | None, strict: bool
) -> dict[str, Any]:
    """Arguments of a query. Raises InvalidArgument."""
    condition = parsed(when)
    if condition is not None and type(condition) is not dict:
        condition_of(condition)  # refuses what is no mapping
        condition = dict(condition)
    return {"start": bound_us(start), "stop": bound_us(stop), "when": condition, "strict": bool(strict)}

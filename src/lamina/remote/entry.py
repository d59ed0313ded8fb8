"""A handle on one entry of a bucket on a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lamina.engine.records.arguments import (
    CHUNK_BYTES,
    CONTENT_TYPE,
    TOO_LONG,
    TOO_SHORT,
    NewRecord,
    bytes_of,
    content_of,
    label_changes,
    label_set,
)
from lamina.engine.records.settings import EntryInfo
from lamina.errors import InvalidArgument, LaminaError
from lamina.remote.record import Record, Source, records, selection
from lamina.remote.selection import Selection
from lamina.storage.files import Buffer
from lamina.time import TimeLike, to_us

if TYPE_CHECKING:
    from lamina.remote.bucket import Bucket

CALL_RECORDS, CALL_BYTES, CALL_LABELS = 16_384, 32 << 20, 1 << 20
"""Records, bytes of contents and characters of labels that go with one call of write_many: about what the engine puts
into one commit."""


class Entry:
    """A handle on one entry of a bucket of a server, whether it exists yet or not. As `lamina.Entry`."""

    __slots__ = ("_link", "_place", "bucket", "name")

    def __init__(self, bucket: Bucket, name: str) -> None:
        self.bucket = bucket
        self.name = name
        self._link = bucket._link
        self._place = {"bucket": bucket._place, "entry": name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and other.bucket == self.bucket and other.name == self.name

    def __hash__(self) -> int:
        return hash((self.bucket, self.name))

    def __repr__(self) -> str:
        return f"<lamina.remote.Entry {self.bucket.name}/{self.name}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import entry_html

        return entry_html(self)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(f"entry/{method}", **self._place, **arguments)

    @property
    def _source(self) -> Source:
        return Source(self._link, "entry", self._place, self.bucket.name, self.bucket._contents)

    def info(self) -> EntryInfo:
        """Sizes, counts and times now. Raises NotFound."""
        found: EntryInfo = self._call("info")
        return found

    # -- writing -------------------------------------------------------------------------------------------------

    def write(
        self,
        data: Buffer | Iterable[Buffer],
        time: TimeLike | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        content_type: str = CONTENT_TYPE,
        size: int | None = None,
    ) -> None:
        """Store a record; durable and readable when this returns. As `lamina.Entry.write`; `time`: None is now, by the
        clock of the server. Pieces are sent as they come, so that a long content is never in memory."""
        pieces, size = content_of(data, size)
        at = None if time is None else to_us(time)
        kept = dict(label_set(labels))
        self._link.send(
            "entry/write", _exactly(pieces, size), size, **self._place, time=at, labels=kept,
            content_type=content_type, size=size,
        )  # fmt: skip

    def write_many(self, records: Iterable[NewRecord]) -> list[LaminaError | None]:
        """Store many records with few calls; what became of each, in order: None, or why it was left out. Each call
        carries up to 16,384 records or 32 MiB and is one commit. Raises NoSpace, Unavailable, Closed, and
        OutcomeUnknown for the call whose answer was lost; those before it are stored then."""
        outcomes: list[LaminaError | None] = []
        portion = _Portion()
        for record in records:
            if not portion.add(record):
                outcomes += portion.send(self)
                portion = _Portion()
                portion.add(record)
        return outcomes + portion.send(self)

    def update(self, time: TimeLike, labels: Mapping[str, object]) -> None:
        """Set labels of a record, "" or None removes one, others stay; durable when it returns. Raises NotFound."""
        changes = label_changes(labels)
        (error,) = self.bucket.update_labels([(self.name, to_us(time), changes)])
        if error is not None:
            raise error

    def remove(self, time: TimeLike) -> None:
        """Remove a record, durably. Raises NotFound, Unavailable."""
        (error,) = self.bucket.remove_records([(self.name, to_us(time))])
        if error is not None:
            raise error

    def remove_range(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> int:
        """Remove records with start <= time < stop that fulfil a condition, durably; how many. See `query`."""
        removed: int = self._call("remove_range", **selection(start, stop, when, strict))
        return removed

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, time: TimeLike | None = None) -> Record:
        """The record of a time, None: the latest. Raises NotFound, Corrupt."""
        (record,) = records(self._source, "read", time=None if time is None else to_us(time))
        return record

    def query(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """Records with start <= time < stop (None: all) in ascending time, as they are now; contents are fetched when
        asked for. As `lamina.Entry.query`."""
        return Selection(self._source, **selection(start, stop, when, strict))


def _exactly(pieces: Iterable[Buffer], size: int) -> Iterator[Buffer]:
    """The pieces, cut into parts, and nothing sent where they are not as long as was said."""
    left = size
    for piece in pieces:
        view = memoryview(bytes_of(piece))
        left -= len(view)
        if left < 0:
            raise InvalidArgument(TOO_LONG)
        for first in range(0, len(view), CHUNK_BYTES):
            yield view[first : first + CHUNK_BYTES]
    if left:
        raise InvalidArgument(TOO_SHORT)


class _New(NamedTuple):
    time_us: int
    data: Buffer
    labels: dict[str, str]
    content_type: str


class _Portion:
    """Records that go with one call, and those of them that are refused before."""

    def __init__(self) -> None:
        self._outcomes: list[LaminaError | None] = []
        self._sent: list[int] = []  # places among the outcomes
        self._records: list[_New] = []
        self._bytes = 0
        self._labels: dict[tuple[tuple[str, str], ...], int] = {}
        self._types: dict[str, int] = {}
        self._characters = 0

    def add(self, record: object) -> bool:
        """False where it has to wait for the next call. Raises InvalidArgument for what is no record at all."""
        if not isinstance(record, NewRecord):
            raise InvalidArgument(f"{type(record).__name__} among the records: expected NewRecord(time, data)")
        full = self._characters >= CALL_LABELS or len(self._outcomes) >= CALL_RECORDS
        try:
            data = bytes_of(record.data)
            if full or (self._records and self._bytes + len(data) > CALL_BYTES):
                return False
            new = _New(to_us(record.time), data, dict(label_set(record.labels)), _type(record.content_type))
        except LaminaError as error:
            self._outcomes.append(error)
            return True
        self._sent.append(len(self._outcomes))
        self._outcomes.append(None)
        self._records.append(new)
        self._bytes += len(data)
        key = tuple(new.labels.items())
        if key not in self._labels:
            self._labels[key] = len(self._labels)
            self._characters += sum(len(name) + len(value) for name, value in key)
        self._types.setdefault(new.content_type, len(self._types))
        return True

    def send(self, entry: Entry) -> list[LaminaError | None]:
        from lamina.wire import arrow

        if not self._records:
            entry.bucket.ensure_entries([entry.name])
            return self._outcomes
        rows = [
            (one.time_us, len(one.data), self._labels[tuple(one.labels.items())], self._types[one.content_type])
            for one in self._records
        ]
        columns = memoryview(arrow.encode(arrow.NEW, list(np.array(rows, np.uint64).T)))
        payload = _pieces(columns, [one.data for one in self._records])
        found = entry._link.send(
            "entry/write_many", payload, len(columns) + self._bytes, **entry._place,
            labels=[dict(key) for key in self._labels], content_types=list(self._types), columns=len(columns),
        )  # fmt: skip
        for place, outcome in zip(self._sent, found, strict=True):
            self._outcomes[place] = outcome
        return self._outcomes


def _type(content_type: object) -> str:
    if not isinstance(content_type, str):
        raise InvalidArgument(f"content type {content_type!r}: expected text such as 'image/png'")
    return content_type


def _pieces(columns: memoryview, contents: list[Buffer]) -> Iterator[Buffer]:
    """Short contents joined: a piece costs more than copying it."""
    yield columns
    joined: list[Buffer] = []
    size = 0
    for content in contents:
        joined.append(content)
        size += len(content)
        if size >= CHUNK_BYTES:
            yield b"".join(joined)
            joined, size = [], 0
    if joined:
        yield b"".join(joined)

"""A directory in this process as the place where the data is: method calls on the engine, columns in and out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from uuid import UUID

from lamina import errors
from lamina.btrdb.backend import Conditions, Errors, Info, Texts
from lamina.btrdb.optional import needed
from lamina.columns import Ranges, Samples, Summaries, Times, Values
from lamina.faces.btrdb.auth import Everyone
from lamina.faces.btrdb.service import csv, info, joins, listing, metadata, reads, writes
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import INTERNAL, RESOURCE_DEPLETED, known
from lamina.faces.btrdb.service.subscriptions import MAILBOX, overflowed

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.subscribe import Subscription

T = TypeVar("T")

_JOIN_BYTES = 64 << 20
"""Of a block of rows of a join, however many streams share it."""


class Owned(NamedTuple):
    """An open database, and how to give it back."""

    database: Callable[[], Database]
    close: Callable[[], None]


class EmbeddedPoints:
    """What both generations have. Thread-safe."""

    parallel = 1  # they would take turns in the interpreter
    release = info.VERSION_5

    def __init__(self, owned: Owned, refuse: Errors) -> None:
        self._owned = owned
        self._refuse = refuse

    # Every call opens with this: who closed the connection is told so, and errors are those of the contract.

    @contextmanager
    def _call(self) -> Iterator[Call]:
        try:
            yield Call(self._owned.database(), Everyone(), "")
        except errors.Closed as error:
            raise self._refuse.unreachable("UNAVAILABLE", str(error)) from error
        except errors.LaminaError as error:
            raise self._refuse.refused(*_told(error)) from error
        except OSError as error:
            raise self._refuse.refused(INTERNAL, str(error)) from error

    def _lazily(self, read: Callable[[Call], Iterator[T]]) -> Iterator[T]:
        with self._call() as call:
            yield from read(call)

    def raw_values(self, uuid: bytes, start: int, end: int, version: int) -> Iterator[tuple[int, Samples]]:
        return self._lazily(lambda call: reads.raw_values(call, uuid, start, end, version or 0))

    def aligned_windows(
        self, uuid: bytes, start: int, end: int, pointwidth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        return self._lazily(lambda call: reads.aligned_windows(call, uuid, start, end, pointwidth, version or 0))

    def windows(
        self, uuid: bytes, start: int, end: int, width: int, depth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        return self._lazily(lambda call: reads.windows(call, uuid, start, end, width, depth, version or 0))

    def nearest(self, uuid: bytes, time: int, version: int, backward: bool) -> tuple[int, float, int]:
        with self._call() as call:
            return reads.nearest(call, uuid, time, version or 0, backward)

    def changes(self, uuid: bytes, from_version: int, to_version: int, resolution: int) -> Iterator[tuple[int, Ranges]]:
        return self._lazily(lambda call: reads.changes(call, uuid, from_version, to_version, resolution))

    def insert(self, uuid: bytes, parts: Iterable[tuple[Times, Values]], policy: str) -> int:
        version = 0
        for times, values in parts:
            with self._call() as call:
                version = writes.insert(call, uuid, times, values, writes.named(policy))
        return version

    def delete(self, uuid: bytes, start: int, end: int) -> int:
        with self._call() as call:
            return writes.delete(call, uuid, start, end)

    def flush(self, uuid: bytes) -> None:
        with self._call() as call:
            writes.flush(call, uuid)

    def obliterate(self, uuid: bytes) -> None:
        with self._call() as call:
            writes.obliterate(call, uuid)

    def csv(self, query: csv.Query) -> Iterator[Sequence[str]]:
        return self._lazily(lambda call: csv.generate_csv(call, query))

    def fault_inject(self, kind: int, params: bytes) -> bytes:
        with self._call():
            info.fault_inject()
        raise AssertionError("it is always refused")

    def info(self) -> Info:
        with self._call():
            return Info(*self.release, ())

    def close(self) -> None:
        self._owned.close()


class Embedded(EmbeddedPoints):
    """A database as version 5 has it."""

    def multi_values(
        self, uuids: Sequence[bytes], versions: Sequence[int], start: int, end: int, period: int
    ) -> Iterator[tuple[Times, Values]]:
        rows = max(1, _JOIN_BYTES // (8 * (len(uuids) + 1)))
        return self._lazily(lambda call: joins.multi_values(call, uuids, versions, start, end, period, rows))

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        with self._call() as call:
            metadata.create(call, uuid, collection, tags, annotations)

    def stream_info(
        self, uuid: bytes, omit_version: bool, omit_description: bool
    ) -> tuple[int, metadata.Description | None]:
        with self._call() as call:
            version, row = metadata.stream_info(call, uuid, omit_version, omit_description)
            return version, None if row is None else metadata.described(row)

    def set_tags(self, uuid: bytes, expected: int, changes: Conditions, collection: str) -> None:
        with self._call() as call:
            metadata.set_stream_tags(call, uuid, changes, (), collection, expected)

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions, remove: Sequence[str]) -> None:
        with self._call() as call:
            metadata.set_stream_annotations(call, uuid, changes, remove, expected)

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[metadata.Description]]:
        with self._call() as call:
            for row in metadata.lookup_streams(call, collection, prefix, tags, annotations):
                yield (metadata.described(row),)

    def collections(self, prefix: str) -> Iterator[Sequence[str]]:
        with self._call() as call:
            yield listing.collections(call, prefix)

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        with self._call() as call:
            return metadata.metadata_usage(call, prefix)

    def sql(self, statement: str, params: Sequence[str]) -> Iterator[Sequence[bytes]]:
        for library in ("duckdb", "sqlglot", "pyarrow"):
            needed(library, library, "SQL over metadata", "server")
        with self._call() as call:
            for row in metadata.sql_query(call, statement, params):
                yield (row,)

    def subscribe(self, updates: Iterator[tuple[Sequence[UUID], Sequence[UUID]]]) -> Iterator[tuple[UUID, Samples]]:
        with self._call() as call:
            mail = call.db.streams.subscribe((), capacity=MAILBOX)
            failed: list[Exception] = []
            reader = threading.Thread(target=_follow, args=(mail, updates, failed), name="subscribe", daemon=True)
            reader.start()
            try:
                while (delivered := mail.get()) is not None:
                    yield delivered
                if failed:
                    raise failed[0]
                if mail.overflowed:
                    raise overflowed()
            finally:
                mail.close()


def _follow(
    mail: Subscription, updates: Iterator[tuple[Sequence[UUID], Sequence[UUID]]], failed: list[Exception]
) -> None:
    """In a thread of its own: updates block. Their end is the end of the subscription."""
    try:
        for add, remove in updates:
            mail.add(add)
            mail.remove(remove)
    except Exception as error:
        failed.append(error)
    finally:
        mail.close()


def _told(error: errors.LaminaError) -> tuple[int, str]:
    """Code and text. Whoever has the directory is told in full what is wrong with it."""
    told = known(error)
    if told is not None:
        return told
    return RESOURCE_DEPLETED if isinstance(error, errors.Unavailable) else INTERNAL, str(error)


def opened(path: str, refuse: Errors) -> Owned:
    """The database in a directory, shared with others of this process. Raises what `refuse` makes of failures."""
    from lamina.engine.shared import open_shared

    try:
        handle = open_shared(path)
    except (errors.LaminaError, OSError) as error:
        raise refuse.unreachable("UNAVAILABLE", str(error)) from error
    return Owned(lambda: handle.database, handle.close)


def borrowed(database: Database) -> Owned:
    """A database that somebody else opened, and closes."""
    closed = threading.Event()

    def use() -> Database:
        if closed.is_set():
            raise errors.Closed("the connection is closed")
        return database

    return Owned(use, closed.set)

"""What a query on a server selects: records one by one, or as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.selection import Columnar
from lamina.errors import InvalidArgument
from lamina.remote.record import page

if TYPE_CHECKING:
    from lamina.engine.records.recordbatch import RecordBatch
    from lamina.remote.record import Record, Source


class Selection(Columnar, Iterator["Record"]):
    """As `lamina.Selection`: iterate over it, or take all of it as columns, which are as they are when the first of
    them is asked for. Columns are not to be had of a query whose records were iterated over. Batches have 64 MiB of
    contents at most; a content above 256 MiB is TooBig for them."""

    def __init__(self, source: Source, **arguments: Any) -> None:
        """The call is made now, and read on while iterating."""
        self._source = source
        self._arguments = arguments
        self._portions = source.link.call(f"{source.asked}/query", **source.place, **arguments)
        self._records = self._each()
        self._begun = self._spent = False
        self._last: RecordBatch | None = None  # what the server sent: for a query that selects nothing its columns

    def __next__(self) -> Record:
        self._begun = True
        return next(self._records)

    def _each(self) -> Iterator[Record]:
        for portion in self._portions:
            yield from page(self._source, *portion)
        self._spent = True

    def close(self) -> None:
        """Let the connection go. Idempotent."""
        self._spent = True
        self._records.close()  # type: ignore[attr-defined]
        self._portions.close()

    def _batches(self, contents: bool, labels: Sequence[str] | None, batch_bytes: int) -> Iterator[RecordBatch]:
        return (batch for batch in self._received(contents, labels, batch_bytes) if len(batch))

    def _received(self, contents: bool, labels: Sequence[str] | None, batch_bytes: int) -> Iterator[RecordBatch]:
        from lamina.wire import batches

        if self._spent:
            return
        if self._begun:
            raise InvalidArgument("records of this query were iterated over: ask for columns by a query of their own")
        self.close()
        source = self._source
        portions = source.link.call(
            f"{source.asked}/batches", **source.place, **self._arguments, contents=bool(contents),
            labels=None if labels is None else list(labels), batch_bytes=batch_bytes,
        )  # fmt: skip
        try:
            for told, body in portions:
                batch = batches.decode(told, body)
                self._last = batch
                yield batch
        finally:
            portions.close()

    def _empty(self, contents: bool, labels: Sequence[str] | None) -> RecordBatch:
        from lamina.engine.records.recordbatch import RecordBatch

        return RecordBatch.empty(contents, list(labels or () if self._last is None else self._last.labels))

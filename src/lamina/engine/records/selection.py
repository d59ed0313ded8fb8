"""What a query selects: records one by one, or as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from lamina.engine.records.record import Record
    from lamina.engine.records.recordbatch import RecordBatch
    from lamina.engine.records.runs import Run
    from lamina.engine.records.store import RecordStore

READ_RECORDS = 1024
"""Records made at a time where they are asked for one by one: 1 µs each."""

READ_ROWS = 16_384
"""Records whose columns are put together at a time: what a batch costs beside its contents is paid once for all."""

BATCH_BYTES = 1 << 19
"""Contents in a batch: a range of that length stays in the processor's caches from being read to being used. 4 MiB
take a fifth more CPU."""


class Runs(Protocol):
    """An open query: who takes from it is alone."""

    @property
    def store(self) -> RecordStore: ...

    @property
    def names(self) -> frozenset[str] | None:
        """Of the labels that are told of; None: all."""
        ...

    def next_runs(self, wanted: int) -> Sequence[Run]:
        """The next records, at most so many; none: there are no more. Raises in strict mode what the condition raises,
        after all else was given; Corrupt."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


def check_batch_bytes(batch_bytes: int) -> None:
    """Raises InvalidArgument."""
    if batch_bytes < 1:
        raise InvalidArgument(f"batch_bytes {batch_bytes}: expected at least 1")


class Columnar:
    """What a query selects, as columns. Subclasses say how: `_batches`."""

    def _batches(self, contents: bool, labels: Sequence[str] | None, batch_bytes: int) -> Iterator[RecordBatch]:
        raise NotImplementedError

    def _empty(self, contents: bool, labels: Sequence[str] | None) -> RecordBatch:
        """What stands for the columns of no records."""
        raise NotImplementedError

    def batches(
        self, *, contents: bool = True, labels: Sequence[str] | None = None, batch_bytes: int = BATCH_BYTES
    ) -> Iterator[RecordBatch]:
        """The records as columns, some at a time: contents of about `batch_bytes`, at most 16,384 records, one record
        at least. `labels`: those that become columns, None: all, of which a batch has those that its records or their
        neighbours have. With `contents=False` no content is read. Raises InvalidArgument; while iterating what
        iterating over records raises, and what reading a content raises."""
        check_batch_bytes(batch_bytes)
        return self._batches(contents, labels, batch_bytes)

    def to_arrow(self, *, contents: bool = True, labels: Sequence[str] | None = None) -> pyarrow.Table:
        """All of it as a pyarrow.Table, see `RecordBatch.to_arrow`; `contents`, `labels` as of `batches`. Holds all
        contents in memory; a column of a label is null in batches without it."""
        from lamina.columns import library

        pa = library("pyarrow", "arrow")
        tables = [batch.to_arrow() for batch in self.batches(contents=contents, labels=labels)]
        tables = tables or [self._empty(contents, labels).to_arrow()]
        return pa.concat_tables(tables, promote_options="default")

    def to_pandas(self, *, contents: bool = True, labels: Sequence[str] | None = None) -> pandas.DataFrame:
        """All of it as a pandas.DataFrame, see `RecordBatch.to_pandas`; otherwise as `to_arrow`."""
        return self._whole(contents, labels).to_pandas()

    def to_polars(self, *, contents: bool = True, labels: Sequence[str] | None = None) -> polars.DataFrame:
        """All of it as a polars.DataFrame, see `RecordBatch.to_polars`; otherwise as `to_arrow`."""
        return self._whole(contents, labels).to_polars()

    def _whole(self, contents: bool, labels: Sequence[str] | None) -> RecordBatch:
        from lamina.engine.records.recordbatch import RecordBatch

        parts = list(self.batches(contents=contents, labels=labels))
        return RecordBatch.concat(parts or [self._empty(contents, labels)])


class Selection(Columnar, Iterator["Record"]):
    """What a query selects, once: iterate over it for `Record`s, or take all of it as columns by `batches`,
    `to_arrow`, `to_pandas` or `to_polars`. Records come in ascending time, as they were when the query began.

    For many small records columns are ten times as fast. Not for several threads at once; it is a snapshot until it
    is used up or closed.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._records = self._each()

    def __repr__(self) -> str:
        return "<lamina.Selection: iterate over it, or take batches(), to_arrow(), to_pandas(), to_polars()>"

    def __next__(self) -> Record:
        return next(self._records)

    def _each(self) -> Iterator[Record]:
        from lamina.engine.records.runs import records

        try:
            while found := self._runs.next_runs(READ_RECORDS):
                yield from records(self._runs.store, found, self._runs.names)
        finally:
            self._runs.close()

    def close(self) -> None:
        """Let go of what the query looks at. Idempotent."""
        self._records.close()  # type: ignore[attr-defined]
        self._runs.close()

    def _batches(
        self, contents: bool, labels: Sequence[str] | None, batch_bytes: int, longest: int | None = None
    ) -> Iterator[RecordBatch]:
        """`longest`: a content above so many bytes is TooBig before it is read."""
        from lamina.engine.records.runs import columns

        try:
            while found := self._runs.next_runs(READ_ROWS):
                rows = columns(self._runs.store, found, self._chosen(labels))
                if contents and longest is not None:
                    rows.check(longest)
                yield from rows.batches(contents, batch_bytes)
        finally:
            self._runs.close()

    def _empty(self, contents: bool, labels: Sequence[str] | None) -> RecordBatch:
        from lamina.engine.records.recordbatch import RecordBatch

        return RecordBatch.empty(contents, self._chosen(labels) or ())

    def _chosen(self, labels: Sequence[str] | None) -> list[str] | None:
        """Names of labels that become columns; None: all."""
        told = self._runs.names
        if labels is None:
            return None if told is None else sorted(told)
        return [name for name in dict.fromkeys(labels) if told is None or name in told]

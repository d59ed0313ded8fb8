"""Records as columns: what analysis of many small records wants instead of an object for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamina.columns import library
from lamina.errors import InvalidArgument
from lamina.records.labels import LabelColumn
from lamina.records.source import stack
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

LATEST_ARROW = (1 << 63) - 1
"""Latest time of a record that tables hold: their timestamps are signed."""


class RecordBatch:
    """Some records as columns of one length, in the order of a query.

    `time`: uint64, µs since the epoch. `size`: uint64, bytes of each content. `entry` and `content_type`: dictionary
    columns, as `labels[name]` are: `codes`, int32, index `values`, a list of distinct texts; -1: the record has no such
    label. `contents`: all contents behind one another, verified; that of record i is
    `contents[offsets[i]:offsets[i + 1]]`, or `content(i)`. Without contents both are None.
    """

    __slots__ = ("content_type", "contents", "entry", "labels", "offsets", "size", "time")

    def __init__(
        self,
        time: NDArray[np.uint64],
        size: NDArray[np.uint64],
        entry: LabelColumn,
        content_type: LabelColumn,
        labels: Mapping[str, LabelColumn],
        offsets: NDArray[np.int64] | None,
        contents: Buffer | None,
    ) -> None:
        self.time = time
        self.size = size
        self.entry = entry
        self.content_type = content_type
        self.labels = labels
        self.offsets = offsets
        self.contents = contents

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        span = f", {self.time[0]} .. {self.time[-1]}" if len(self) else ""
        return f"<lamina.RecordBatch n={len(self)}{span}>"

    def content(self, i: int) -> memoryview:
        """The content of one record, without a copy. Raises InvalidArgument for a batch without contents."""
        if self.contents is None or self.offsets is None:
            raise InvalidArgument("this batch was read without contents")
        at = i % len(self) if -len(self) <= i < len(self) else i  # IndexError as of a list
        return memoryview(self.contents)[int(self.offsets[at]) : int(self.offsets[at + 1])]

    def _contents(self) -> Iterator[bytes]:
        return (bytes(self.content(i)) for i in range(len(self)))

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow.Table: `time` timestamp[us, UTC], `entry`, `size`, `content_type`, a column `&name` for each label,
        and `contents` (large_binary) over the same buffer. Texts are dictionaries; a label that a record does not have
        is null. Raises InvalidArgument for times from 2**63 on, and for texts that are no Unicode."""
        pa = library("pyarrow", "arrow")
        columns: dict[str, Any] = {
            "time": pa.array(self._signed_times()).view(pa.timestamp("us", tz="UTC")),
            "entry": _dictionary(pa, self.entry),
            "size": pa.array(self.size),
            "content_type": _dictionary(pa, self.content_type),
        }
        columns.update((f"&{name}", _dictionary(pa, column)) for name, column in self.labels.items())
        if self.contents is not None and self.offsets is not None:
            offsets = pa.py_buffer(np.ascontiguousarray(self.offsets))
            buffers = [None, offsets, pa.py_buffer(self.contents)]
            columns["contents"] = pa.Array.from_buffers(pa.large_binary(), len(self), buffers)
        return pa.table(columns)

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas.DataFrame with `time` (UTC) as its index; texts are categories, contents bytes. Columns as in
        `to_arrow`."""
        pd = library("pandas", "pandas")
        data: dict[str, Any] = {
            "entry": _category(pd, self.entry),
            "size": self.size,
            "content_type": _category(pd, self.content_type),
        }
        data.update((f"&{name}", _category(pd, column)) for name, column in self.labels.items())
        if self.contents is not None:
            data["contents"] = list(self._contents())
        index = pd.DatetimeIndex(self._signed_times().view("datetime64[us]"), tz="UTC", name="time")
        return pd.DataFrame(data, index=index)

    def to_polars(self) -> polars.DataFrame:
        """A polars.DataFrame with the columns of `to_arrow`."""
        frame: polars.DataFrame = library("polars", "polars").from_arrow(self.to_arrow())
        return frame

    def _signed_times(self) -> NDArray[np.int64]:
        if len(self) and int(self.time.max()) > LATEST_ARROW:
            raise InvalidArgument(f"time {int(self.time.max())} µs: tables hold times up to {LATEST_ARROW}")
        return self.time.astype(np.int64)

    @staticmethod
    def empty(contents: bool, labels: Sequence[str]) -> RecordBatch:
        """Without records; with columns for these labels."""
        none = np.empty(0, np.uint64)
        text = LabelColumn(np.empty(0, np.int32), [])
        offsets = np.zeros(1, np.int64) if contents else None
        return RecordBatch(none, none, text, text, dict.fromkeys(labels, text), offsets, b"" if contents else None)

    @staticmethod
    def concat(parts: Sequence[RecordBatch]) -> RecordBatch:
        """All parts, one at least, one behind the other; a single one is returned as it is. Contents are copied, and
        only there if all parts have them."""
        if len(parts) == 1:
            return parts[0]
        lengths = [len(part) for part in parts]
        names = list(dict.fromkeys(name for part in parts for name in part.labels))
        sizes = np.concatenate([part.size for part in parts])
        whole = all(part.contents is not None for part in parts)
        return RecordBatch(
            np.concatenate([part.time for part in parts]),
            sizes,
            stack([part.entry for part in parts], lengths),
            stack([part.content_type for part in parts], lengths),
            {name: stack([part.labels.get(name) for part in parts], lengths) for name in names},
            np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))) if whole else None,
            b"".join(_own(part) for part in parts) if whole else None,
        )


def _own(batch: RecordBatch) -> memoryview:
    assert batch.contents is not None, "looked at before"
    assert batch.offsets is not None, "beside them"
    return memoryview(batch.contents)[int(batch.offsets[0]) : int(batch.offsets[-1])]


def _dictionary(pa: Any, column: LabelColumn) -> Any:
    try:
        values = pa.array(list(column.values), pa.string())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"a text that is no Unicode does not go into a table: {error}") from None
    codes = column.codes
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), values)


def _category(pd: Any, column: LabelColumn) -> Any:
    return pd.Categorical.from_codes(column.codes, categories=list(column.values))

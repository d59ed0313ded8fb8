"""Windows of several streams as one Arrow table, a row per time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.columns import Summaries

if TYPE_CHECKING:
    import pyarrow

_STATISTICS = Summaries.fields[1:]


def windows_table(names: Sequence[str], windows: Sequence[Summaries]) -> pyarrow.Table:
    """`time`, then NAME/min, NAME/mean, ... of each stream, null where it has no window; a stream without any has
    columns of the type null. Times of windows are distinct within a stream."""
    import pyarrow as pa

    some = [each.time for each in windows if len(each)]
    every = np.unique(np.concatenate(some)) if some else np.empty(0, np.int64)
    kind = pa.timestamp("ns", tz="UTC") if some else pa.timestamp("ns")
    columns: dict[str, Any] = {"time": pa.array(every).cast(kind)}
    for name, each in zip(names, windows, strict=True):
        place = every.searchsorted(each.time)
        for statistic in _STATISTICS:
            columns[f"{name}/{statistic}"] = _spread(getattr(each, statistic), place, len(every))
    return pa.table(columns)


def _spread(values: Any, place: Any, rows: int) -> pyarrow.Array:
    import pyarrow as pa

    if not len(values):
        return pa.nulls(rows)
    if len(values) == rows:
        return pa.array(values)
    spread, absent = np.zeros(rows, values.dtype), np.ones(rows, np.bool_)
    spread[place], absent[place] = values, False
    return pa.array(spread, mask=absent)

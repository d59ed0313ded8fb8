"""Records as columns: one portion each of JSON (texts of the dictionary columns), an Arrow stream, and the contents."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamina.engine.records.recordbatch import RecordBatch
from lamina.errors import Corrupt
from lamina.records.labels import LabelColumn
from lamina.storage.files import Buffer
from lamina.wire import arrow, frames

FIXED = ("entry", "content_type")
"""Dictionary columns that every batch has; labels come behind them, by their place."""


def encode(batch: RecordBatch) -> bytes:
    """The portion of a batch; texts that no record has are left out."""
    columns = [_trimmed(column) for column in (batch.entry, batch.content_type, *batch.labels.values())]
    rows: list[NDArray[Any]] = [batch.time, batch.size, *(column.codes for column in columns)]
    table = memoryview(arrow.encode(_schema(len(batch.labels)), rows))
    told = {
        "columns": len(table),
        "labels": list(batch.labels),
        "texts": [list(column.values) for column in columns],
        "contents": batch.contents is not None,
    }
    parts: list[Buffer] = [frames.heading(json.dumps(told).encode()), table]
    if batch.contents is not None and batch.offsets is not None:
        parts.append(memoryview(batch.contents)[int(batch.offsets[0]) : int(batch.offsets[-1])])
    return b"".join(parts)


def decode(told: memoryview, body: memoryview) -> RecordBatch:
    """The batch of a portion that was split; contents are not copied. Raises Corrupt."""
    try:
        head = json.loads(bytes(told))
        labels, texts, size = head["labels"], head["texts"], head["columns"]
        time, sizes, *codes = arrow.decode(_schema(len(labels)), body[:size])
        entry, content_type, *others = [LabelColumn(*pair) for pair in zip(codes, texts, strict=True)]
        named = dict(zip(labels, others, strict=True))
    except (ValueError, TypeError, LookupError) as error:
        raise Corrupt(f"a portion that is no batch of records: {error}") from None
    if not head["contents"]:
        return RecordBatch(time, sizes, entry, content_type, named, None, None)
    contents = body[size:]
    offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    if int(offsets[-1]) != len(contents):
        raise Corrupt(f"a batch of records with {len(contents)} bytes of contents for {int(offsets[-1])} announced")
    return RecordBatch(time, sizes, entry, content_type, named, offsets, contents)


def _schema(labels: int) -> pa.Schema:
    dictionaries = dict.fromkeys((*FIXED, *map(str, range(labels))), arrow.I4)
    return arrow.schema_of(time=pa.uint64(), size=pa.uint64(), **dictionaries)


def _trimmed(column: LabelColumn) -> LabelColumn:
    used = np.zeros(len(column.values) + 1, np.bool_)
    used[column.codes] = True  # -1 is the last: no text
    used[-1] = False
    place = (np.cumsum(used) - 1).astype(np.int32)
    place[-1] = -1
    return LabelColumn(place[column.codes], [column.values[i] for i in np.flatnonzero(used).tolist()])

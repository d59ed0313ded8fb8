"""Attachments of an entry: records of the hidden entry `<entry>/$meta`, the key in a label, JSON as content."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.reduct.batch import RecordBatch
from lamina.reduct.error import ReductError

if TYPE_CHECKING:
    from lamina.reduct.bucket import Bucket


def _hidden(entry: str) -> str:
    return f"{entry}/$meta"


async def write(bucket: Bucket, entry: str, values: Mapping[str, Any]) -> None:
    """Raises TypeError (not JSON), ReductError: the first of what went wrong."""
    batch = RecordBatch()
    now_us = time.time_ns() // 1000
    for i, (key, content) in enumerate(values.items()):
        data = json.dumps(content).encode()
        batch.add(_hidden(entry), now_us + i, data, content_type="application/json", labels={"key": key})
    _raise_first(await bucket.write_record_batch(batch))


async def read(bucket: Bucket, entry: str) -> dict[str, Any]:
    return {record.labels["key"]: json.loads(await record.read_all()) async for record in bucket.query(_hidden(entry))}


async def remove(bucket: Bucket, entry: str, keys: Sequence[str] | None) -> None:
    """Raises ReductError: the first of what went wrong."""
    if keys is not None and not keys:
        return
    when: dict[str, Any] = {}
    if keys is not None:
        texts = [f"${key}" if key.startswith("$") else key for key in keys]  # not an operator
        when = {"$in": [{"&key": {"$cast": "string"}}, *texts]}
    batch = RecordBatch()
    async for record in bucket.query(_hidden(entry), when=when, head=True):
        batch.add(_hidden(entry), record.timestamp, labels={"remove": "true"})
    if len(batch):
        _raise_first(await bucket.update_record_batch(batch))


def _raise_first(errors: Mapping[str, Mapping[int, ReductError]]) -> None:
    for found in errors.values():
        for error in found.values():
            raise error

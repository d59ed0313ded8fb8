"""Batches of one entry, protocol v1 (contract 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamina.errors import InvalidArgument, LaminaError
from lamina.faces.reduct import batch1, reading
from lamina.faces.reduct.errors import item_value
from lamina.faces.reduct.headers import Header
from lamina.faces.reduct.uploads import store_batch, take_run
from lamina.records.names import is_meta

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call
    from lamina.faces.reduct.commits import Done

UNEQUAL = "content-length header does not match the sum of the content-lengths in the headers"


async def write(call: Call) -> None:
    """POST /batch: what cannot be kept is skipped and told in a header of its own."""
    run = batch1.parse_run(call.headers, call.values[1])
    announced = call.content_length()
    if announced is not None and announced != run.size:
        raise InvalidArgument(UNEQUAL)
    bucket = call.face.db.buckets.find(call.values[0])
    results = await store_batch(call, bucket, [run] if run.times else [])
    await _answer(call, run.times, results)


def take(call: Call, memo: dict[str, Any], body: bytes, done: Done) -> bool:
    """`write` of records that are there as a whole and all of which can be kept without waiting."""
    fields = memo["fields"]
    if b"content-length" not in fields or b"x-reduct-content-length" in fields or b"content-encoding" in fields:
        return False  # the body's length says nothing, or is not all that is said
    entry = call.values[1]
    series = memo.get("series")
    run = batch1.run_of(series.texts, series.value, entry) if series is not None else None
    if run is None:
        run = batch1.parse_run(call.headers, entry)
    return take_run(call, call.bucket(), run, body, done)


async def read(call: Call) -> None:
    await reading.answer_batch1(call)


async def update(call: Call) -> None:
    """PATCH /batch."""
    entry = call.values[1]
    items = batch1.parse_items(call.headers, entry)
    bucket = call.bucket()
    bucket.existing_entry(entry)
    results: Sequence[LaminaError | None] = ()
    if items:
        changes = [(entry, item.time_us, dict(item.labels)) for item in items]
        results = await call.run(bucket.update_labels, changes)
    await _answer(call, [item.time_us for item in items], results)


async def remove(call: Call) -> None:
    """DELETE /batch."""
    times = batch1.parse_times(call.headers)
    bucket = call.bucket()
    entry = call.values[1]
    bucket.existing_entry(entry)
    check_removable(entry)
    results: Sequence[LaminaError | None] = ()
    if times:
        results = await call.run(bucket.remove_records, [(entry, time_us) for time_us in times])
    await _answer(call, times, results)


def check_removable(entry: str) -> None:
    """Raises InvalidArgument for attachments (contract 11)."""
    if is_meta(entry):
        raise InvalidArgument(f"Can't delete records from system entry '{entry}'; use label update with remove=true")


async def _answer(call: Call, times: Sequence[int], results: Sequence[LaminaError | None]) -> None:
    random = call.face.random
    headers: list[Header] = [
        (batch1.ERROR_PREFIX + b"%d" % time_us, item_value(error, random))
        for time_us, error in zip(times, results, strict=True)
        if error is not None
    ]
    if headers:
        await call.answer(200, headers)
    else:
        await call.done()

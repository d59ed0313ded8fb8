"""Batches over several entries, protocol v2 (contract 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.errors import InvalidArgument, LaminaError
from lamina.faces.reduct import batch2, reading
from lamina.faces.reduct.batches import UNEQUAL, check_removable
from lamina.faces.reduct.errors import item_value
from lamina.faces.reduct.uploads import store_batch
from lamina.faces.reduct.wanted import runs_of

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call

JAVASCRIPT = (b"node", b"undici", b"Mozilla/", b"Deno/", b"Bun/")
"""How the user-agent of reduct-js begins: up to 1.20.0 at least it sends headers and contents of a batch by (time,
entry index), where everybody else sends contents by (entry index, time). Taken at its word it would store contents
under other records' names, unnoticed. Who sends the headers in the usual order is read in the usual way."""


async def write(call: Call) -> None:
    """POST /io/write: what cannot be kept is skipped and told in a header of its own."""
    head = batch2.parse_head(call.headers)
    items = batch2.parse_items(head)
    announced = call.content_length()
    if announced is None and items:
        raise InvalidArgument("content-length header is required")
    if announced is not None and announced != sum(item.size for item in items):
        raise InvalidArgument(UNEQUAL)
    places = head.places
    if head.by_time and (call.header(b"user-agent") or b"").startswith(JAVASCRIPT):
        places, items = batch2.in_time_order(head, items)
    results = await store_batch(call, call.face.db.buckets.find(call.values[0]), runs_of(items))
    await _answer(call, head, places, results)


async def read(call: Call) -> None:
    await reading.answer_batch2(call)


async def update(call: Call) -> None:
    """PATCH /io/update."""
    head = batch2.parse_head(call.headers)
    changes = batch2.parse_changes(head)
    bucket = call.bucket()
    results: Sequence[LaminaError | None] = ()
    if changes:
        wanted = [(head.entries[place.entry_index], head.time_us(place), labels) for place, labels in changes]
        results = await call.run(bucket.update_labels, wanted)
    await _answer(call, head, [place for place, _ in changes], results)


async def remove(call: Call) -> None:
    """DELETE /io/remove."""
    head = batch2.parse_head(call.headers)
    bucket = call.bucket()
    wanted = [(head.entries[place.entry_index], head.time_us(place)) for place in head.places]
    for entry, _ in wanted:
        check_removable(entry)
    results: Sequence[LaminaError | None] = ()
    if wanted:
        results = await call.run(bucket.remove_records, wanted)
    await _answer(call, head, head.places, results)


async def _answer(
    call: Call, head: batch2.Head, places: Sequence[batch2.Place], results: Sequence[LaminaError | None]
) -> None:
    """Clients decode errors with the help of the two echoes."""
    random = call.face.random
    headers = head.echo()
    for place, error in zip(places, results, strict=True):
        if error is not None:
            headers.append((b"x-reduct-error-%d-%d" % place[:2], item_value(error, random)))
    await call.answer(200, headers)

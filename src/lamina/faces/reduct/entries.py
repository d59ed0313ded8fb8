"""Entries as wholes (contract 5). Their removal is a DELETE without a query string, see records.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.faces.reduct.buckets import NewName

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call


async def rename(call: Call) -> None:
    bucket = call.bucket()
    new = (await call.json(NewName)).new_name
    await call.run(bucket.rename_entry, call.values[1], new)
    await call.done()


async def remove(call: Call) -> None:
    await call.run(call.bucket().remove_entry, call.values[1])
    await call.done()

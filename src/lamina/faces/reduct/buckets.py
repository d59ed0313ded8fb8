"""Buckets: create, show, change, rename, remove (contract 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.faces.reduct.call import Call


class Settings(msgspec.Struct):
    """Of a request; null and absent members mean the default, or no change."""

    quota_type: Literal["NONE", "FIFO", "HARD"] | None = None
    quota_size: int | None = None
    max_block_size: int | None = None
    max_block_records: int | None = None


class NewName(msgspec.Struct):
    new_name: str


async def create(call: Call) -> None:
    settings = await call.json(Settings, empty=b"{}")
    await call.run(call.face.db.buckets.create, call.values[0], msgspec.structs.asdict(settings))
    await call.done()


async def get(call: Call) -> None:
    bucket = call.bucket()
    await call.answer_json(await call.run(_full_info, bucket))


def _full_info(bucket: Bucket) -> dict[str, Any]:
    return {
        "info": bucket.info()._asdict(),
        "settings": bucket.settings._asdict(),
        "entries": [entry._asdict() for entry in bucket.entry_infos()],
    }


async def head(call: Call) -> None:
    call.bucket()
    await call.done()


async def update(call: Call) -> None:
    bucket = call.bucket()
    settings = await call.json(Settings, empty=b"{}")
    await call.run(bucket.update, msgspec.structs.asdict(settings))
    await call.done()


async def remove(call: Call) -> None:
    (name,) = call.values
    await call.run(call.face.db.buckets.remove, name)
    if call.face.tokens is not None:
        await call.run(call.face.tokens.forget_bucket, name)
    await call.done()


async def rename(call: Call) -> None:
    (old,) = call.values
    new = (await call.json(NewName)).new_name
    await call.run(call.face.db.buckets.rename, old, new)
    if call.face.tokens is not None:
        await call.run(call.face.tokens.rename_bucket, old, new)
    await call.done()

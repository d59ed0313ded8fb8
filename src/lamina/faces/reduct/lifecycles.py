"""Lifecycle policies as managed objects (contract 15). What they do is lamina.jobs' business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call


class Mode(msgspec.Struct):
    mode: str


async def list_lifecycles(call: Call) -> None:
    found = await call.run(call.face.lifecycles.list)
    await call.answer_json({"lifecycles": found})


async def create(call: Call) -> None:
    settings = await call.json(dict[str, Any])
    await call.run(call.face.lifecycles.create, call.values[0], settings)
    await call.done()


async def get(call: Call) -> None:
    await call.answer_json(await call.run(call.face.lifecycles.get, call.values[0]))


async def update(call: Call) -> None:
    settings = await call.json(dict[str, Any])
    await call.run(call.face.lifecycles.update, call.values[0], settings)
    await call.done()


async def set_mode(call: Call) -> None:
    mode = (await call.json(Mode)).mode
    await call.run(call.face.lifecycles.set_mode, call.values[0], mode)
    await call.done()


async def remove(call: Call) -> None:
    await call.run(call.face.lifecycles.remove, call.values[0])
    await call.done()

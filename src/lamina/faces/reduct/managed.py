"""Replications and lifecycle policies as managed objects (contract 14, 15). What they do is lamina.jobs' business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call
    from lamina.faces.reduct.jobs import Jobs


class Mode(msgspec.Struct):
    mode: str


class Managed:
    """Handlers of one kind of jobs."""

    def __init__(self, kind: Literal["replications", "lifecycles"]) -> None:
        self._kind = kind

    def _jobs(self, call: Call) -> Jobs:
        jobs: Jobs = getattr(call.face, self._kind)
        return jobs

    async def list(self, call: Call) -> None:
        await call.answer_json({self._kind: await call.run(self._jobs(call).list)})

    async def create(self, call: Call) -> None:
        settings = await call.json(dict[str, Any])
        await call.run(self._jobs(call).create, call.values[0], settings)
        await call.done()

    async def get(self, call: Call) -> None:
        await call.answer_json(await call.run(self._jobs(call).get, call.values[0]))

    async def update(self, call: Call) -> None:
        settings = await call.json(dict[str, Any])
        await call.run(self._jobs(call).update, call.values[0], settings)
        await call.done()

    async def set_mode(self, call: Call) -> None:
        mode = (await call.json(Mode)).mode
        await call.run(self._jobs(call).set_mode, call.values[0], mode)
        await call.done()

    async def remove(self, call: Call) -> None:
        await call.run(self._jobs(call).remove, call.values[0])
        await call.done()


replications = Managed("replications")
lifecycles = Managed("lifecycles")

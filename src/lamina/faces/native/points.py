"""What answers the calls of points."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from lamina.engine.points.measurement import Writing
from lamina.engine.points.measurements import Measurements
from lamina.engine.points.pointset import PointSet
from lamina.engine.points.reading import Reading
from lamina.engine.points.slot import MeasurementSlot
from lamina.engine.snapshot import Snapshot
from lamina.errors import InvalidTimeRange
from lamina.faces.native.caller import Caller
from lamina.points.point import EPOCH
from lamina.points.search import Selection
from lamina.wire import points as wire

ROWS = 16_384
"""Points of a portion."""


class Readable(Measurements):
    """All measurements that a token may read."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.db.points)
        self._who = caller.who

    def list(self) -> list[str]:
        return [name for name in super().list() if self._who.may_read_points(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._who.may_read_points(name) and super().__contains__(name)

    def _slots(self) -> list[MeasurementSlot]:  # type: ignore[valid-type]
        slots: Any = super()._slots()
        return [slot for slot in slots if self._who.may_read_points(slot.name)]


def of_measurement(caller: Caller, right: Any, arguments: dict[str, Any]) -> Any:
    name = arguments.pop("name")
    caller.check_points(name, right)
    return caller.db.measurements[name]


def of_view(caller: Caller, right: Any, arguments: dict[str, Any]) -> Any:
    snapshot: Snapshot = caller.held("snapshot", arguments.pop("snapshot"))
    name = arguments.pop("name")
    caller.check_points(name, right)
    return snapshot.measurement(name)


def of_all(caller: Caller, right: Any, arguments: dict[str, Any]) -> Any:
    if right == "full":
        caller.who.require_full_access()
    return Readable(caller)


def search(caller: Caller, target: Reading, **asked: Any) -> Iterator[bytes]:
    return _portions(target.search(asked.pop("query"), asked.pop("start"), asked.pop("end"), **asked))


def _portions(found: PointSet) -> Iterator[bytes]:
    """Section by section: the client puts them in order."""
    for measurement, selection in found._selections():
        for part in selection.parts:
            one = Selection(selection._state, [part])
            batch, ordinals = one.batch(), one.ordinals()
            for first in range(0, batch.n, ROWS):
                rows = slice(first, first + ROWS)
                yield wire.encode(measurement, batch.take(rows), ordinals[rows])


def windows(caller: Caller, target: Reading, **asked: Any) -> Iterator[bytes]:
    return iter([wire.encode_windows(target.windows(**asked))])


def update(
    caller: Caller, target: Writing, query: Any, time: int | None, measurement: str | None, **change: Any
) -> int:
    if measurement is not None:
        caller.check_points(measurement, "write")
    try:
        moment = None if time is None else EPOCH + timedelta(microseconds=time)
    except OverflowError:
        raise InvalidTimeRange(f"time {time} µs: expected a time of the years 1 to 9999") from None
    return target.update(query, time=moment, measurement=measurement, **change)


def insert(caller: Caller, target: Measurements, groups: Any, payload: memoryview) -> int:
    for measurement, _, _ in groups:
        caller.check_points(measurement, "write")
    return target.insert_groups(wire.received_groups(groups, payload))


def replace_all(caller: Caller, target: Measurements, groups: Any, payload: memoryview) -> int:
    return target.replace_all_groups(wire.received_groups(groups, payload))


def names_in(caller: Caller, held: Snapshot, snapshot: str) -> list[str]:
    return [name for name in held.measurements() if caller.who.may_read_points(name)]

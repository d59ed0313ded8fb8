"""What a database of points should hold, as a plain list in the order of insertion."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lamina.points.point import Point
from lamina.points.queries import FieldQuery, MeasurementQuery, TagQuery, TimeQuery
from lamina.settings import Settings

TINY = Settings(
    seal_points=8,
    bulk_points=12,
    log_file_bytes=4096,
    log_limit=32_768,
    background=False,
    min_free=0,
)
"""Sealing, trimming and bulk inserts come after a handful of points."""

NAMES = ("weather", "motor", "ß/ü")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fact(NamedTuple):
    """One point, comparable: NaN equals NaN, and 1, 1.0 and True differ."""

    measurement: str
    time_us: int
    tags: tuple[tuple[str, str | None], ...]
    fields: tuple[tuple[str, str, str], ...]  # key, type, repr


def fact(point: Point) -> Fact:
    return Fact(
        point.measurement,
        (point.time - EPOCH) // timedelta(microseconds=1),
        tuple(point.tags.items()),
        tuple((key, type(value).__name__, repr(value)) for key, value in point.fields.items()),
    )


def facts(points: Iterable[Point]) -> list[Fact]:
    return [fact(point) for point in points]


def copy(point: Point) -> Point:
    return Point(time=point.time, measurement=point.measurement, tags=dict(point.tags), fields=dict(point.fields))


def made(rng: random.Random, measurement: str | None = None) -> Point:
    """A point with a little of everything."""
    tags = {key: rng.choice(("x", "y", "z", None, "")) for key in rng.sample(("a", "b"), rng.randrange(3))}
    values = (0, 1, -7, 2.5, float("nan"), float("inf"), None, True, "text", "ä", (1 << 63) - 1)
    fields = {key: rng.choice(values) for key in rng.sample(("v", "w", "u"), rng.randrange(1, 4))}
    fields["v"] = float(rng.randrange(10))
    return Point(
        time=EPOCH + timedelta(microseconds=rng.choice((rng.randrange(100), 10**15 + rng.randrange(100)))),
        measurement=measurement or rng.choice(NAMES),
        tags=tags,
        fields=fields,
    )


def queries(rng: random.Random) -> Any:
    """A query, or None."""
    simple: tuple[Callable[[], Any], ...] = (
        lambda: TagQuery().a == rng.choice(("x", "y", "q")),
        lambda: TagQuery().b.exists(),
        lambda: FieldQuery().v > rng.randrange(10),
        lambda: FieldQuery().v == float(rng.randrange(10)),
        lambda: FieldQuery().u.exists(),
        lambda: MeasurementQuery() == rng.choice(NAMES),
        lambda: TimeQuery() < EPOCH + timedelta(microseconds=rng.randrange(100)),
        lambda: FieldQuery().v.test(lambda value: value is not None and value > 4),
    )
    one = rng.choice(simple)()
    kind = rng.randrange(5)
    if kind == 0:
        return ~one
    if kind == 1:
        return one & rng.choice(simple)()
    if kind == 2:
        return one | rng.choice(simple)()
    return one


class Model:
    """`points` in the order of insertion; `pins` are what named snapshots hold."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.pins: dict[str, list[Fact]] = {}

    def facts(self) -> list[Fact]:
        return facts(self.points)

    def insert(self, points: Iterable[Point]) -> int:
        new = [copy(point) for point in points]
        self.points += new
        return len(new)

    def chosen(self, query: Any, name: str | None) -> list[int]:
        return [
            i
            for i, point in enumerate(self.points)
            if (name is None or point.measurement == name) and (query is None or query(point))
        ]

    def remove(self, query: Any, name: str | None) -> int:
        gone = set(self.chosen(query, name))
        self.points = [point for i, point in enumerate(self.points) if i not in gone]
        return len(gone)

    def update(self, query: Any, name: str | None, change: Callable[[Point], None]) -> int:
        changed = 0
        for i in self.chosen(query, name):
            new = copy(self.points[i])
            change(new)
            if new != self.points[i]:
                changed += 1
                self.points[i] = new
        return changed


class Edit(NamedTuple):
    """Arguments of an update, and what they do to one point."""

    arguments: dict[str, Any]
    change: Callable[[Point], None]


def edits(rng: random.Random) -> Edit:
    kind = rng.randrange(6)
    if kind == 0:
        value = float(rng.randrange(10))
        return Edit({"fields": {"v": value}}, lambda point: point.fields.update(v=value))
    if kind == 1:
        return Edit(
            {"fields": lambda fields: {"v": (fields.get("v") or 0.0) + 1.0}},
            lambda point: point.fields.update(v=(point.fields.get("v") or 0.0) + 1.0),
        )
    if kind == 2:
        value = rng.choice(("x", "y", None))
        return Edit({"tags": {"a": value}}, lambda point: point.tags.update(a=value))
    if kind == 3:
        name = rng.choice(NAMES)
        return Edit({"measurement": name}, lambda point: setattr(point, "measurement", name))
    if kind == 4:
        time = EPOCH + timedelta(microseconds=rng.randrange(100))
        return Edit({"time": time}, lambda point: setattr(point, "time", time))
    return Edit(
        {"unset_fields": ["u", "w"], "unset_tags": "b"},
        lambda point: [point.fields.pop("u", 0), point.fields.pop("w", 0), point.tags.pop("b", 0)],  # type: ignore[func-returns-value]
    )

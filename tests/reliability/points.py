"""Points in the workloads: steps, what they do to the facts, and what a database holds of them.

A *set* of points is two measurements of one number, so that writers on threads have sets of their own. Its fact is all
its points in the order of insertion: a change of both measurements is there as a whole or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lamina import FieldQuery, Point, errors
from lamina.engine.database import Database

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIDES = "ab"
HIGHEST = 50


class Row(NamedTuple):
    """One point."""

    side: str  # which of the measurements
    time_us: int
    host: str
    value: float
    note: str = ""


Rows = tuple[Row, ...]


def name_of(number: int, side: str) -> str:
    return f"set {number}{side}"


def point_of(number: int, row: Row) -> Point:
    return Point(
        time=EPOCH + timedelta(microseconds=row.time_us),
        measurement=name_of(number, row.side),
        tags={"host": row.host},
        fields={"value": row.value} | ({"note": row.note} if row.note else {}),
    )


def row_of(point: Point) -> Row:
    return Row(
        point.measurement[-1],
        (point.time - EPOCH) // timedelta(microseconds=1),
        point.tags.get("host") or "",
        point.fields.get("value", float("nan")),
        point.fields.get("note", ""),
    )


def held(db: Any, number: int) -> Rows | None:
    """The points of a set in the order of insertion, as the database or a snapshot has them; None: there are none.

    Raises what reading raises."""
    measurement = db.measurement if hasattr(db, "measurement") else db.measurements.__getitem__
    found: list[tuple[int, Row]] = []
    for side in SIDES:
        points = measurement(name_of(number, side)).search(order="insertion")
        found += zip(points.ordinals.tolist(), map(row_of, points), strict=True)
    return tuple(row for _, row in sorted(found)) or None


# -- what a step does to a fact


def insert(rows: Rows, *new: Row) -> Rows:
    return (*rows, *new)


def update(rows: Rows, above: float, change: float, side: str) -> Rows:
    return tuple(
        row._replace(value=row.value + change, side=side or row.side, note="changed") if row.value > above else row
        for row in rows
    )


def remove(rows: Rows, below: float) -> Rows:
    return tuple(row for row in rows if row.value >= below)


def clear(rows: Rows, side: str) -> Rows:
    return tuple(row for row in rows if row.side != side)


EFFECTS: dict[str, Callable[..., Rows]] = {
    "points": insert,
    "repoint": update,
    "unpoint": remove,
    "clear": clear,
}


# -- doing it


def perform(db: Database, kind: str, number: int, *args: Any) -> object:
    if kind == "points":
        return db.measurements.insert([point_of(number, row) for row in args])
    if kind == "clear":
        return db.measurements.drop(name_of(number, *args))
    mine = _both(number)
    if kind == "unpoint":
        return db.measurements.remove(mine & (FieldQuery().value < args[0]))
    above, change, side = args
    return db.measurements.update(
        mine & (FieldQuery().value > above),
        measurement=name_of(number, side) if side else None,
        fields=lambda old: {"value": old["value"] + change, "note": "changed"},
    )


def _both(number: int) -> Any:
    from lamina import MeasurementQuery

    one, other = (MeasurementQuery() == name_of(number, side) for side in SIDES)
    return one | other


# -- choosing it


def choose(kind: str, rng: random.Random, number: int) -> tuple[Any, ...]:
    """Arguments of a step."""
    if kind == "points":
        n = rng.choice((1, 1, 4, 9, 120))  # the last goes past the log
        return (number, *(_row(rng) for _ in range(n)))
    if kind == "unpoint":
        return number, float(rng.randrange(HIGHEST // 3))
    if kind == "clear":
        return number, rng.choice(SIDES)
    return (
        number,
        float(rng.randrange(HIGHEST // 2, HIGHEST)),
        float(rng.randrange(1, 9)),
        rng.choice(("", "", "a", "b")),
    )


def _row(rng: random.Random) -> Row:
    return Row(rng.choice(SIDES), 1_000 * rng.randrange(400), rng.choice("xyz"), float(rng.randrange(HIGHEST)))


# -- after lies and losses


def loosely(db: Database, number: int, versions: Sequence[Rows | None], reported: bool) -> str:
    """What of a set is wrong, or missing in silence, as far as it can be read; "" if nothing. `versions`: what it may
    hold."""
    try:
        seen = held(db, number)
    except (errors.LaminaError, OSError):
        return ""  # it says so
    if reported or seen in versions:
        return ""
    return f"points of set {number}: {len(seen or ())} found, {[len(rows or ()) for rows in versions]} allowed"

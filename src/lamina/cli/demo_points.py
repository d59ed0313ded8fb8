"""Points of the demo: what sensors in the halls of the filling plant say every minute.

Made up like the rest, and as repeatable: a day is inserted whole or not at all, so a demo that was killed half way goes
on with the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.cli.demo_data import END

if TYPE_CHECKING:
    from lamina.engine.database import Database

MEASUREMENT = "demo/climate"

DAYS = 14
EVERY_S = 60
DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
SENSORS = {"north": ("n-1", "n-2"), "south": ("s-1", "s-2"), "store": ("k-1",)}
"""By hall."""

PER_DAY = DAY_S // EVERY_S * sum(map(len, SENSORS.values()))

HOT = 30.0


def day_start_us(day: int) -> int:
    """Midnight; the last day ends with the streams."""
    return END // 1000 - (DAYS - day) * DAY_US


def columns(day: int) -> dict[str, Any]:
    """A day of all sensors, minute after minute."""
    minute = np.arange(DAY_S // EVERY_S)
    sensors = [(hall, name) for hall, names in SENSORS.items() for name in names]
    rng = np.random.default_rng(day)
    warmth = 21 + 5 * np.sin((minute - 540) / 1440 * 2 * np.pi)
    celsius = np.empty((len(minute), len(sensors)))
    for j, (hall, _) in enumerate(sensors):
        base = warmth if hall != "store" else np.full(len(minute), 4.0)
        celsius[:, j] = base + 0.4 * j + rng.normal(0, 0.15, len(minute))
    # On some days somebody leaves the doors of the south hall open beside the oven.
    door = np.zeros(celsius.shape, np.bool_)
    if day % 4 == 2:
        door[780:840, 2:4] = True
        celsius[785:845, 2:4] += 8
    n, k = celsius.shape
    return {
        "time": np.repeat(day_start_us(day) + minute * EVERY_S * 1_000_000, k),
        "hall": [hall for hall, _ in sensors] * n,
        "sensor": [name for _, name in sensors] * n,
        "celsius": np.round(celsius, 2).ravel(),
        "door_open": door.ravel(),
    }


def store(db: Database) -> int:
    """Insert the days that are not there; how many points."""
    climate = db.measurements[MEASUREMENT]
    done = 0
    for day in range(DAYS):
        if not climate.count(start=day_start_us(day), end=day_start_us(day + 1)):
            done += climate.insert(columns(day))
    return done


def open_doors(db: Database) -> int:
    """How many points say that it was hot while a door was open."""
    from lamina.points.queries import FieldQuery, TagQuery

    field = FieldQuery()
    hot_and_open = (field.door_open == True) & (field.celsius > HOT)  # noqa: E712 -- a query, not a comparison
    return db.measurements[MEASUREMENT].count(hot_and_open & (TagQuery().hall == "south"))


def hottest_by_day(db: Database) -> dict[str, list[float]]:
    """For each hall the highest value of each day."""
    days = db.measurements[MEASUREMENT].windows("celsius", width="1d", by="hall")
    found: dict[str, list[float]] = {}
    for hall, hottest in zip(days.by["hall"], days.max.tolist(), strict=True):
        found.setdefault(str(hall), []).append(hottest)
    return found

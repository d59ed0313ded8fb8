"""A recorded life of a database of points."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lamina.engine.database import Database
from lamina.engine.points.tests.pointmodel import NAMES, Fact, edits, facts, made, queries
from lamina.engine.tests.recorded import Recorded
from lamina.settings import Settings

KINDS = (
    *("one",) * 4, *("several",) * 4, *("bulk",) * 2, *("update",) * 4, *("remove",) * 3, "clear", "pin", "unpin",
    *("upkeep",) * 3, *("flush",) * 3, "compact",
)  # fmt: skip


def observed(db: Database) -> list[Fact]:
    """Every point there is, in the order of insertion; what is said of them in other ways agrees."""
    found = facts(db.measurements.search(order="insertion"))
    assert db.measurements.count() == len(found)
    assert db.measurements.list() == sorted({one.measurement for one in found})
    for name in NAMES:
        mine = facts(db.measurements[name].search(order="insertion"))
        assert mine == [one for one in found if one.measurement == name]
    return found


def steps(rng: random.Random, db: Database) -> Iterator[None]:
    """One call after the other, each done when the generator is asked for the next."""
    while True:
        kind = rng.choice(KINDS)
        place = rng.choice((db.measurements, db.measurements[rng.choice(NAMES)]))
        if kind == "one":
            db.measurements.insert(made(rng))
        elif kind == "several":
            db.measurements.insert([made(rng) for _ in range(7)])
        elif kind == "bulk":
            db.measurements.insert([made(rng) for _ in range(20)])
        elif kind == "update":
            place.update(rng.choice((None, queries(rng))), **edits(rng).arguments)
        elif kind == "remove":
            place.remove(queries(rng))
        elif kind == "clear":
            db.measurements.drop(rng.choice(NAMES))
        elif kind == "pin":
            db.snapshot("pin").close()
        elif kind == "unpin" and db.snapshots():
            db.drop_snapshot("pin")
        elif kind == "upkeep":
            db.upkeep.run_once()
        elif kind == "flush":
            db.flush()
        elif kind == "compact":
            db.compact()
        yield


class Recording(Recorded[list[Fact]]):
    """Of points."""

    def __init__(self, settings: Settings, seed: int, count: int) -> None:
        super().__init__(settings, seed, count, steps, observed)

"""The API of points against a plain list: any sequence of calls, restarts, kills and power losses."""

from __future__ import annotations

import os
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.engine.points.pointset import PointSet
from lamina.engine.points.tests.pointmodel import NAMES, TINY, Fact, Model, edits, facts, made, queries
from lamina.engine.tests.machine import Machine
from lamina.testing import MODES

EXAMPLES = int(os.environ.get("LAMINA_EXAMPLES", "0"))
"""Of the long version; by default the same few in every run."""

SEEDS = st.integers(0, 1 << 32).map(random.Random)
WHERE = st.none() | st.sampled_from(NAMES)


class PointMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(TINY)
        self.model = Model()
        self.held: list[tuple[PointSet, list[Fact]]] = []

    @property
    def db(self) -> Any:
        return self.machine.db

    def place(self, name: str | None) -> Any:
        return self.db.measurements if name is None else self.db.measurements[name]

    @rule(rng=SEEDS, n=st.integers(0, 20))
    def insert_into_all(self, rng: random.Random, n: int) -> None:
        points = [made(rng) for _ in range(n)]
        assert self.db.measurements.insert(points) == self.model.insert(points) == n

    @rule(rng=SEEDS, name=st.sampled_from(NAMES))
    def insert_one(self, rng: random.Random, name: str) -> None:
        point = made(rng, name)
        assert self.db.measurements[name].insert(point) == self.model.insert([point])

    @rule(rng=SEEDS, name=WHERE)
    def update(self, rng: random.Random, name: str | None) -> None:
        query, edit = rng.choice((None, queries(rng))), edits(rng)
        found = self.place(name).update(query, **edit.arguments)
        assert found == self.model.update(query, name, edit.change)

    @rule(rng=SEEDS, name=WHERE)
    def remove(self, rng: random.Random, name: str | None) -> None:
        query = queries(rng)
        assert self.place(name).remove(query) == self.model.remove(query, name)

    @rule(name=WHERE)
    def clear(self, name: str | None) -> None:
        assert self.place(name).clear() == self.model.remove(None, name)

    @rule(name=st.sampled_from("pq"))
    def pin(self, name: str) -> None:
        self.db.snapshot(name).close()
        self.model.pins[name] = self.model.facts()

    @precondition(lambda self: self.model.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.pins)))
        self.db.drop_snapshot(name)
        del self.model.pins[name]

    @rule(rng=SEEDS)
    def hold(self, rng: random.Random) -> None:
        query = queries(rng)
        expected = facts(self.model.points[i] for i in self.model.chosen(query, None))
        self.held.append((self.db.measurements.search(query, order="insertion"), expected))

    @precondition(lambda self: self.held)
    @rule()
    def look_at_held(self) -> None:
        found, expected = self.held.pop(0)
        assert facts(found) == expected

    @rule(what=st.sampled_from(["run_once", "flush_all", "_trim_always"]))
    def upkeep(self, what: str) -> None:
        getattr(self.db.upkeep, what)()

    @rule()
    def compact(self) -> None:
        self.db.compact()

    @rule(rng=SEEDS, how=st.sampled_from(["restart", "kill", *MODES]))
    def next_life(self, rng: random.Random, how: Any) -> None:
        self.held.clear()
        if how == "restart":
            self.machine.restart()
        elif how == "kill":
            self.machine.kill()
        else:
            self.machine.lose_power(rng, how)
        assert not self.db.degraded

    @rule(rng=SEEDS, name=WHERE)
    def ask(self, rng: random.Random, name: str | None) -> None:
        query = queries(rng)
        expected = [self.model.points[i] for i in self.model.chosen(query, name)]
        place = self.place(name)
        assert facts(place.search(query, order="insertion")) == facts(expected)
        by_time = sorted(expected, key=lambda point: point.time)
        limit = rng.randrange(8)
        assert facts(place.search(query, limit=limit)) == facts(by_time[:limit])
        assert place.count(query) == len(expected)
        assert place.contains(query) == bool(expected)
        first = place.get(query)
        assert facts([] if first is None else [first]) == facts(expected[:1])

    @invariant()
    def everything_is_there(self) -> None:
        expected = self.model.facts()
        assert facts(self.db.measurements.search(order="insertion")) == expected
        assert self.db.measurements.list() == sorted({point.measurement for point in expected})
        assert self.db.measurements.count() == len(expected)

    @invariant()
    def pins_show_what_was_there(self) -> None:
        for name, expected in self.model.pins.items():
            with self.db.open_snapshot(name) as snapshot:
                assert snapshot.measurements() == sorted({point.measurement for point in expected})
                for measurement in NAMES:
                    found = facts(snapshot.measurement(measurement).search(order="insertion"))
                    assert found == [point for point in expected if point.measurement == measurement]

    def teardown(self) -> None:
        self.machine.off()


TestPoints = PointMachine.TestCase
TestPoints.settings = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

"""Power loss at any point of a recorded life: what was acknowledged is there, a change is there whole or not at all."""

from __future__ import annotations

import os
import random

import pytest

from lamina.engine.points import changes
from lamina.engine.points.store import PointStore
from lamina.engine.points.tests.pointmodel import TINY, facts, made
from lamina.engine.points.tests.recordedpoints import Recording, observed
from lamina.engine.tests.recorded import Unclosed, reopened
from lamina.errors import Corrupt
from lamina.points.queries import FieldQuery
from lamina.testing import MODES

STATES = int(os.environ.get("LAMINA_EXAMPLES", "0")) or 50
"""Crashed of each recording; the long version takes more."""


@pytest.mark.parametrize("seed", range(max(2, STATES // 100)))
@pytest.mark.parametrize("durability", ["group", "os"])
def test_what_was_acknowledged_survives_power_loss(durability, seed):
    recording = Recording(TINY._replace(durability=durability), seed, 60)
    rng = random.Random(seed)
    for k in sorted(rng.choices(recording.crashes.points, k=STATES)):
        mode = rng.choice(MODES)
        files, catalog = recording.survivors(k, mode, rng)
        held = Unclosed(catalog)
        db = reopened(files, held, recording.settings, seed=k)
        assert not db.degraded, (k, mode)
        found = observed(db)
        acknowledged, begun, _, _ = recording.progress(k)
        oldest = recording.synced(k) if durability == "os" else acknowledged
        assert found in recording.moments[oldest : begun + 1], (k, mode)
        after_more_work(db, held, files, recording, found)


def after_more_work(db, held, files, recording, found):
    """What was recovered is sound: it can be sealed, compacted, closed, opened, written to."""
    db.flush()
    db.upkeep.run_once()
    assert observed(db) == found
    db.close()
    db = reopened(files, held, recording.settings, seed=99)
    assert observed(db) == found
    more = [made(random.Random(i)) for i in range(3)]
    db.measurements.insert(more)
    assert observed(db) == [*found, *facts(more)]
    db.compact()
    assert observed(db) == [*found, *facts(more)]
    db.close()


@pytest.mark.parametrize("mode", MODES)
def test_recovery_that_is_cut_short_is_done_again(machine, mode):
    rng = random.Random(1)
    place = machine.db.measurements
    place.insert([made(rng) for _ in range(30)])
    place.update(FieldQuery().v > 5, fields={"w": 1})
    place.remove(FieldQuery().v == 3.0)
    machine.db.flush()
    place.update(FieldQuery().v < 2, fields={"w": 2}, measurement="motor")
    place.remove(FieldQuery().v == 7.0)
    place.insert([made(rng) for _ in range(5)])
    expected = observed(machine.db)
    for seed in range(4):
        assert observed(machine.lose_power(random.Random(seed), mode)) == expected


def test_ordinals_are_not_given_again_after_the_points_are_gone(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert([made(random.Random(i)) for i in range(20)])
    highest = int(measurement.search().ordinals.max())
    measurement.clear()
    machine.db.flush()
    machine.db.compact()
    for again in (machine.restart, machine.kill):
        again()
        measurement = machine.db.measurements["m"]
        measurement.insert(made(random.Random(1)))
        (ordinal,) = measurement.search().ordinals.tolist()
        assert ordinal > highest
        highest = ordinal
        measurement.clear()


def test_where_recovery_cannot_tell_what_died_nobody_is_told_that_all_live(machine, monkeypatch):
    place = machine.db.measurements
    place["m"].insert([made(random.Random(i), "m") for i in range(20)])
    place["n"].insert([made(random.Random(i), "n") for i in range(20)])
    machine.db.flush()
    place["m"].remove(FieldQuery().v > 4)
    open_section = PointStore.open_section

    def damaged(self, section):
        raise Corrupt("ordered")

    monkeypatch.setattr(PointStore, "open_section", damaged)
    machine.kill()
    monkeypatch.setattr(PointStore, "open_section", open_section)
    for call in ("count", "search", "clear"):
        measurement = machine.db.measurements["m"]
        if call == "clear":
            measurement.clear()  # whatever lived is gone
            assert len(measurement.search()) == 0
        else:
            with pytest.raises(Corrupt, match="ordered; what changed in it since cannot be told"):
                getattr(measurement, call)()
    assert machine.db.measurements["n"].count() == len(machine.db.measurements["n"].search()) == 20


@pytest.mark.parametrize("sealed", [False, True])
def test_an_update_that_went_past_the_log_survives_a_kill(machine, sealed, monkeypatch):
    monkeypatch.setattr(changes, "LOG_BYTES", 0)
    rng = random.Random(2)
    place = machine.db.measurements
    for _ in range(6):
        place.insert([made(rng) for _ in range(5)])  # into tails
    if sealed:
        machine.db.flush()
    for i in range(3):  # each kills what the one before put into its place
        assert place.update(fields={"new": i}) == 30
    place.update(FieldQuery().v > 5, measurement="motor")
    place.update(FieldQuery().v > 5, measurement="weather")
    place.remove(FieldQuery().v == 3.0)
    before = observed(machine.db)
    assert len(before) > 20
    assert observed(machine.kill()) == before
    assert machine.db.measurements.count() == len(before)
    machine.db.flush()
    assert observed(machine.restart()) == before

"""Tails become sections, on time and whole; what comes meanwhile stays."""

from __future__ import annotations

import random
import threading

import pytest

from lamina.engine.points import seal
from lamina.engine.points.tests.pointmodel import EPOCH, TINY, facts, made
from lamina.engine.tests.machine import Machine
from lamina.points.point import Point
from lamina.points.queries import FieldQuery, TagQuery


def points(n, first=0):
    return [Point(time=EPOCH, measurement="m", tags={"n": str(i % 3)}, fields={"v": first + i}) for i in range(n)]


def values(measurement):
    return [point.fields["v"] for point in measurement.search(order="insertion")]


def state(machine, name="m"):
    return machine.db.points.find(name).state


def test_a_tail_is_sealed_when_it_is_full(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(7))
    machine.db.upkeep.run_once()
    assert (state(machine).n, len(state(machine).sections)) == (7, 0)
    measurement.insert(points(1, 7))
    machine.db.upkeep.run_once()
    assert (state(machine).n, len(state(machine).sections)) == (0, 1)
    assert state(machine).needed == 0
    assert values(measurement) == list(range(8))
    assert machine.db.stats()["measurement_tail_bytes"] == 0


def test_a_large_insert_goes_past_the_log(machine):
    before = machine.db.stats()["log_bytes"]
    measurement = machine.db.measurements["m"]
    assert measurement.insert(points(5000)) == 5000
    assert machine.db.stats()["log_bytes"] - before < 1500
    assert state(machine).n == 0
    (section,) = state(machine).sections
    assert (section.known, section.row.points) == (False, 5000)
    for again in (machine.kill, machine.kill):
        again()
        assert values(machine.db.measurements["m"]) == list(range(5000))
    machine.db.flush()
    (section,) = state(machine).sections
    assert (section.known, state(machine).needed) == (True, 0)
    machine.kill()
    assert values(machine.db.measurements["m"]) == list(range(5000))


def test_few_points_with_large_texts_go_past_the_log_too(machine):
    text = "x" * 1_000_000
    machine.db.measurements["m"].insert([Point(time=EPOCH, fields={"v": f"{i}{text}"}) for i in range(9)])
    assert machine.db.stats()["log_bytes"] < 10_000
    assert [len(value) for value in values(machine.db.measurements["m"])] == [1_000_001] * 9


def test_points_of_several_measurements_keep_their_order_past_the_log(machine):
    rng = random.Random(1)
    given = [made(rng) for _ in range(300)]
    machine.db.measurements.insert(given)
    assert facts(machine.db.measurements.search(order="insertion")) == facts(given)
    machine.db.flush()
    assert facts(machine.db.measurements.search(order="insertion")) == facts(given)


@pytest.mark.parametrize("change", ["insert", "update", "remove", "clear", "all"])
def test_what_changes_while_a_tail_is_sealed_is_not_lost(machine, monkeypatch, change):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(10))
    machine.db.flush()
    measurement.insert(points(10, 10))
    measurement.update(FieldQuery().v == 3, fields={"w": 1})
    commit = machine.db.points.sealer._commit

    def late(works, row):
        commit(works, row)
        monkeypatch.undo()
        if change in ("insert", "all"):
            measurement.insert(points(3, 20))
        if change in ("update", "all"):
            measurement.update(TagQuery().n == "1", fields={"v": 100})
        if change in ("remove", "all"):
            measurement.remove(FieldQuery().v < 5)
        if change == "clear":
            measurement.clear()

    monkeypatch.setattr(machine.db.points.sealer, "_commit", late)
    machine.db.upkeep.flush_all()
    expected = facts(measurement.search(order="insertion"))
    assert len(expected) == measurement.count()
    assert bool(expected) == (change != "clear")
    machine.kill()
    assert facts(machine.db.measurements["m"].search(order="insertion")) == expected
    machine.db.flush()
    assert facts(machine.db.measurements["m"].search(order="insertion")) == expected
    machine.restart()
    assert facts(machine.db.measurements["m"].search(order="insertion")) == expected


def test_the_log_is_trimmed_once_everything_is_sealed(machine):
    measurement = machine.db.measurements["m"]
    for i in range(200):
        measurement.insert(points(1, i))
    machine.db.flush()
    machine.db._log.rotate()
    machine.db.upkeep._trim_always()
    assert machine.db._log.ops_kept == 0
    machine.kill()
    assert values(machine.db.measurements["m"]) == list(range(200))


def test_a_log_at_its_limit_seals_small_tails(machine):
    for i in range(300):
        machine.db.measurements.insert([Point(time=EPOCH, measurement=f"m{i % 40}", fields={"v": i})])
        machine.db.upkeep.run_once()
    assert machine.db._log.bytes_kept < 2 * TINY.log_limit
    assert machine.db.measurements.count() == 300


def test_a_seal_that_fails_leaves_everything(machine, monkeypatch):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(10))

    def refuse(*_):
        raise OSError("ordered")

    monkeypatch.setattr(machine.db.points.sealer, "_commit", refuse)
    with pytest.raises(OSError, match="ordered"):
        machine.db.upkeep.flush_all()
    monkeypatch.undo()
    assert values(measurement) == list(range(10))
    assert (state(machine).n, len(state(machine).sections)) == (10, 0)
    machine.db.upkeep.flush_all()
    assert values(measurement) == list(range(10))


def test_long_tails_are_cut_into_sections(machine, monkeypatch):
    monkeypatch.setattr(seal, "SECTION_POINTS", 16)
    measurement = machine.db.measurements["m"]
    for i in range(5):
        measurement.insert(points(10, 10 * i))
    machine.db.flush()
    assert [section.row.points for section in state(machine).sections] == [16, 16, 16, 2]
    measurement.remove(FieldQuery().v == 17)
    measurement.update(FieldQuery().v == 40, fields={"w": 1})
    assert values(measurement) == [i for i in range(50) if i != 17]
    machine.kill()
    assert values(machine.db.measurements["m"]) == [i for i in range(50) if i != 17]


def test_readers_never_see_half_of_a_change_of_several_measurements(machine):
    place = machine.db.measurements
    place.insert([Point(time=EPOCH, measurement=name, fields={"v": 0}) for name in "abcd"])
    stop = threading.Event()
    torn = []

    def look():
        while not stop.is_set():
            found = {point.fields["v"] for point in place.search()}
            if len(found) != 1:
                torn.append(found)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(1, 60):
        assert place.update(fields={"v": i}) == 4
        if i % 20 == 0:
            machine.db.flush()
    stop.set()
    for reader in readers:
        reader.join(30)
    assert torn == []


def test_writers_of_one_measurement_lose_nothing(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(1))

    def count_up():
        for _ in range(25):
            measurement.update(fields=lambda old: {"v": old["v"] + 1})
            measurement.insert(Point(time=EPOCH, fields={"v": -(10**9)}))

    writers = [threading.Thread(target=count_up) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert measurement.count() == 76
    assert values(measurement)[0] == 75


def test_tails_beyond_their_bound_are_sealed_largest_first():
    machine = Machine(TINY._replace(tails_limit=30_000, seal_points=10**6, bulk_points=10**6))
    place = machine.db.measurements
    place["large"].insert(points(300))
    for i in range(20):
        place[f"small{i}"].insert(points(2))
    assert not machine.db.tails_full
    place["large"].insert(points(400, 300))
    assert machine.db.tails_full
    machine.db.upkeep.run_once()
    assert not machine.db.tails_full
    assert state(machine, "large").n == 0
    assert any(state(machine, f"small{i}").n for i in range(20))
    assert place.count() == 740
    machine.kill()
    assert machine.db.measurements.count() == 740
    machine.off()


def test_a_clean_close_seals_what_is_cheap_and_the_next_opening_reads_no_log(machine):
    machine.db.measurements["m"].insert(points(10))
    machine.restart()
    assert state(machine).n == 0
    assert machine.db.publisher.tail_bytes == machine.db.points.publisher.tail_bytes == 0
    assert values(machine.db.measurements["m"]) == list(range(10))

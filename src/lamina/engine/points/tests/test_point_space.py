"""Space of what died goes back: compaction, snapshots that end, measurements that are empty."""

from __future__ import annotations

import pytest

from lamina import errors
from lamina.engine.points import compact
from lamina.engine.points.tests.pointmodel import EPOCH, facts
from lamina.points.point import Point
from lamina.points.queries import FieldQuery


def points(n, first=0, name="m"):
    return [Point(time=EPOCH, measurement=name, tags={"n": str(i % 3)}, fields={"v": first + i}) for i in range(n)]


def segments(machine):
    return sorted(blob.name for blob in machine.db.blobs.list("points"))


def state(machine, name="m"):
    return machine.db.points.find(name).state


def test_a_section_a_quarter_dead_is_rewritten(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(100))
    machine.db.flush()
    measurement.remove(FieldQuery().v < 25)
    machine.db.compact()
    assert state(machine).sections[0].row.points == 100
    measurement.remove(FieldQuery().v == 25)
    machine.db.compact()
    (section,) = state(machine).sections
    assert (section.row.points, section.row.died) == (74, 0)
    machine.db.upkeep.run_once()
    assert len(segments(machine)) == 1
    assert measurement.count() == len(measurement.search()) == 74
    machine.restart()
    assert machine.db.measurements["m"].count() == 74


def test_small_sections_and_those_over_one_time_are_merged(machine):
    measurement = machine.db.measurements["m"]
    for i in range(compact.OVERLAPPING + 1):
        measurement.insert(points(2, 10 * i))
        machine.db.flush()
    assert len(state(machine).sections) == compact.OVERLAPPING + 1
    before = facts(measurement.search(order="insertion"))
    machine.db.compact()
    assert len(state(machine).sections) == 1
    assert facts(measurement.search(order="insertion")) == before


@pytest.mark.parametrize("change", ["update", "remove", "clear"])
def test_what_dies_while_sections_are_rewritten_stays_dead(machine, monkeypatch, change):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(20))
    machine.db.flush()
    measurement.remove(FieldQuery().v < 10)
    commit = compact._commit

    def late(*arguments):
        commit(*arguments)
        monkeypatch.undo()
        if change == "update":
            measurement.update(FieldQuery().v == 12, fields={"v": 120})
        elif change == "remove":
            measurement.remove(FieldQuery().v == 15)
        else:
            measurement.clear()

    monkeypatch.setattr(compact, "_commit", late)
    machine.db.compact()
    expected = {
        "update": [*range(10, 12), 120, *range(13, 20)],
        "remove": [i for i in range(10, 20) if i != 15],
        "clear": [],
    }[change]
    for again in (lambda: None, machine.kill, machine.restart):
        again()
        found = machine.db.measurements["m"].search(order="insertion")
        assert [point.fields["v"] for point in found] == expected


def test_a_snapshot_keeps_what_it_sees_until_it_is_dropped(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(50))
    machine.db.flush()
    machine.db.snapshot("pin").close()
    expected = facts(measurement.search(order="insertion"))
    measurement.update(FieldQuery().v < 30, fields={"w": 1})
    machine.db.flush()
    measurement.clear()
    machine.db.flush()
    machine.db.compact()
    machine.restart()
    with machine.db.open_snapshot("pin") as snapshot:
        assert snapshot.measurements() == ["m"]
        assert facts(snapshot.measurement("m").search(order="insertion")) == expected
    assert machine.db.measurements.list() == []
    machine.db.drop_snapshot("pin")
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert segments(machine) == []
    with machine.db.catalog.snapshot() as catalog:
        for table in ("measurement", "point_state", "point_section"):
            assert list(catalog.rows(table)) == []


def test_an_unnamed_snapshot_and_an_open_result_keep_what_they_see(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(20))
    machine.db.flush()
    with machine.db.snapshot() as snapshot:
        found = measurement.search(FieldQuery().v >= 5)
        measurement.remove(FieldQuery().v < 15)
        machine.db.flush()
        machine.db.compact()
        machine.db.upkeep.run_once()
        assert snapshot.measurement("m").count() == 20
        assert len(snapshot.measurement("m").search()) == 20
        assert len(found.points()) == 15
        view = snapshot.measurement("m")
    with pytest.raises(errors.Closed):
        view.count()
    assert machine.db.leases.open == 0


def test_results_that_nobody_looked_at_let_go_of_their_files(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(20))
    found = measurement.search()
    assert machine.db.leases.open == 1
    del found
    assert machine.db.leases.open == 0
    with pytest.raises(ZeroDivisionError):
        measurement.search(FieldQuery().v.test(lambda value: value / 0))
    assert machine.db.leases.open == 0


def test_an_empty_measurement_leaves_the_catalog_and_may_come_back(machine):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(20))
    machine.db.flush()
    first = machine.db.points.find("m").id
    measurement.clear()
    machine.db.compact()
    assert machine.db.points.find("m") is None
    assert machine.db.stats()["measurements"] == 0
    measurement.insert(points(3))
    assert machine.db.points.find("m").id > first
    for again in (machine.kill, machine.restart):
        again()
        assert machine.db.measurements["m"].count() == 3


def test_an_insert_that_meets_a_measurement_on_its_way_out_makes_it_anew(machine, monkeypatch):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(20))
    measurement.clear()
    machine.db.flush()
    store = machine.db.points
    ensure = store.ensure

    def late(names):
        slots = ensure(names)
        monkeypatch.undo()
        machine.db.compact()
        return slots

    monkeypatch.setattr(store, "ensure", late)
    assert measurement.insert(points(4)) == 4
    assert measurement.count() == 4
    monkeypatch.setattr(store, "ensure", late)
    measurement.clear()
    machine.db.flush()
    assert measurement.insert(points(40)) == 40  # past the log
    machine.kill()
    assert machine.db.measurements["m"].count() == 40


def test_a_bulk_insert_on_its_way_is_not_taken_for_garbage(machine, monkeypatch):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(5))
    store = machine.db.points
    submit = store.submit

    def late(*arguments, **keywords):
        monkeypatch.undo()
        measurement.insert(points(8))
        machine.db.flush()
        machine.db.compact()
        machine.db.upkeep.run_once()
        return submit(*arguments, **keywords)

    monkeypatch.setattr(store, "submit", late)
    measurement.insert(points(50, 100))
    assert measurement.count() == len(measurement.search()) == 63
    machine.kill()
    assert len(machine.db.measurements["m"].search()) == 63


def test_a_bulk_insert_that_is_refused_leaves_no_file(machine, monkeypatch):
    measurement = machine.db.measurements["m"]
    measurement.insert(points(2))

    def refuse(*_, **__):
        raise errors.NoSpace("ordered")

    monkeypatch.setattr(machine.db.points, "submit", refuse)
    with pytest.raises(errors.NoSpace):
        measurement.insert(points(50))
    monkeypatch.undo()
    assert segments(machine) == []
    assert machine.db.points.sealer.in_flight() == set()
    assert measurement.count() == 2

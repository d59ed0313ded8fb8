"""Lifecycle policies: management, and what a run does (contract reductstore 15)."""

from __future__ import annotations

import pytest

from lamina.engine.tests.machine import SMALL, Machine
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from lamina.jobs.lifecycles import Lifecycles

HOUR = 3_600_000_000
SETTINGS = {"type": "delete", "bucket": "b", "older_than": "2h", "interval": "1h"}


@pytest.fixture
def machine():
    machine = Machine(SMALL)
    machine.db.buckets.create("b")
    yield machine
    machine.off()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def policies(machine, reports):
    return Lifecycles(machine.db, reports.append)


def fill(machine, entry="e", hours=range(1, 6), **labels):
    """A record that is so many hours old."""
    now = machine.clock.wall_us()
    for hour in hours:
        machine.db.buckets["b"].entry(entry).write(b"x" * 100, now - hour * HOUR, labels=labels)


def ages(machine, entry="e"):
    """Hours, rounded."""
    now = machine.clock.wall_us()
    return sorted(round((now - record.time_us) / HOUR) for record in machine.db.buckets["b"].entry(entry).query())


def hour(machine, policies):
    machine.clock.advance(3600)
    return policies.run_due()


def test_records_that_are_too_old_go_an_interval_after_the_start(machine, policies, reports):
    fill(machine)
    policies.create("p", SETTINGS)
    machine.clock.advance(3599)
    assert policies.run_due() == 0
    assert ages(machine) == [2, 3, 4, 5, 6]
    machine.clock.advance(1)
    assert policies.run_due() == 1
    assert ages(machine) == [2]
    (report,) = reports
    assert (report.status, report.run.records, report.run.caught_up) == (200, 4, True)
    assert policies.run_due() == 0
    assert hour(machine, policies) == 1
    assert ages(machine) == []


def test_a_run_removes_at_most_so_much_data_time(machine, policies):
    fill(machine, hours=range(1, 10))
    policies.create("p", SETTINGS | {"processing_interval": "3h"})
    hour(machine, policies)
    assert ages(machine) == [2, 3, 4, 5, 6, 7]
    hour(machine, policies)
    assert ages(machine) == [3, 4, 5]


def test_a_condition_that_leaves_old_records_does_not_hold_a_run_up(machine, policies, reports):
    fill(machine, hours=range(50, 60), keep="true")
    fill(machine, hours=range(10, 20), keep="false")
    fill(machine, hours=range(30, 40))  # without the label: stay
    policies.create("p", SETTINGS | {"processing_interval": "12h", "when": {"&keep": {"$eq": False}}})
    for _ in range(3):
        hour(machine, policies)
    assert len(ages(machine)) == 20
    assert not reports[0].run.caught_up
    assert reports[-1].run.caught_up
    fill(machine, hours=[65], keep="false")  # late
    hour(machine, policies)
    assert len(ages(machine)) == 20


def test_entries_are_chosen_by_patterns_and_attachments_stay(machine, policies):
    for entry in ("x/e", "y"):
        fill(machine, entry)
    fill(machine, "x/e/$meta", hours=[9], key="k")
    policies.create("p", SETTINGS | {"entries": ["x/*", "x/e/$meta"]})
    hour(machine, policies)
    assert ages(machine, "x/e") == [2]
    assert len(ages(machine, "y")) == 5
    assert len(ages(machine, "x/e/$meta")) == 1


def test_a_dry_run_counts_and_leaves_everything(machine, policies, reports):
    fill(machine, k="1")
    fill(machine, "f", k="2")
    policies.create("p", SETTINGS | {"mode": "dry_run", "when": {"&k": {"$eq": 1}}})
    hour(machine, policies)
    hour(machine, policies)
    assert [report.run.records for report in reports] == [4, 5]
    assert len(ages(machine)) == len(ages(machine, "f")) == 5


def test_a_disabled_policy_does_nothing_and_begins_with_an_interval(machine, policies):
    fill(machine)
    policies.create("p", SETTINGS | {"mode": "disabled"})
    assert hour(machine, policies) == 0
    policies.set_mode("p", "enabled")
    assert policies.run_due() == 0
    assert hour(machine, policies) == 1
    assert len(ages(machine)) < 5


def test_compression_keeps_contents_and_takes_less_room(machine, policies, reports):
    now = machine.clock.wall_us()
    entry = machine.db.buckets["b"].entry("e")
    for i in range(20):
        entry.write(b"abcd" * 5000, now - 5 * HOUR + i)
    entry.write(b"new" * 5000, now)
    policies.create("p", SETTINGS | {"type": "compress"})
    hour(machine, policies)
    assert reports[-1].run.records == 20
    assert [len(record.read()) for record in entry.query()] == [20_000] * 20 + [15_000]
    assert entry.read(now - 5 * HOUR).read() == b"abcd" * 5000
    hour(machine, policies)
    assert reports[-1].run.records == 0, "what was compressed is left alone"


def test_nothing_is_removed_by_age_while_the_clock_cannot_be_trusted(machine, policies):
    fill(machine)
    policies.create("p", SETTINGS)
    policies.run_due()
    machine.clock.jump_wall(10 * 365 * 86_400)
    assert hour(machine, policies) == 0
    assert machine.db.buckets["b"].entry("e").info().record_count == 5
    machine.clock.advance(300)
    assert policies.run_due() == 0
    machine.clock.advance(301)
    assert policies.run_due() == 1


def test_a_bucket_that_is_gone_is_reported_and_tried_again(machine, policies, reports):
    policies.create("p", SETTINGS)
    machine.db.buckets.remove("b")
    hour(machine, policies)
    assert (reports[0].status, reports[0].run) == (404, None)
    machine.db.buckets.create("b")
    hour(machine, policies)
    assert reports[1].status == 200


def test_the_last_run_survives_and_is_shown(machine, policies):
    policies.create("p", SETTINGS)
    assert policies.get("p") == {
        "info": {
            "name": "p", "is_provisioned": False, "is_running": True, "type": "delete", "mode": "enabled",
            "last_run": None,
        },
        "settings": SETTINGS | {"entries": [], "processing_interval": None, "when": None, "mode": "enabled"},
    }  # fmt: skip
    hour(machine, policies)
    assert policies.get("p")["info"]["last_run"] == "2023-11-14T23:13:20.000000Z"
    machine.restart()
    again = Lifecycles(machine.db)
    assert again.list()[0]["last_run"] == "2023-11-14T23:13:20.000000Z"
    assert again.run_due() == 0, "the first run is an interval after the start"
    machine.clock.advance(3600)
    assert again.run_due() == 1


WRONG = [
    ({"bucket": "no"}, "Bucket 'no' for lifecycle 'p' does not exist"),
    ({"older_than": "59m"}, "Lifecycle older_than '59m' is shorter than minimum allowed value of 1h"),
    ({"interval": "9m 59s"}, "Lifecycle interval '9m 59s' is shorter than minimum allowed value of 10m"),
    ({"processing_interval": "0s"}, "Lifecycle processing_interval '0s' must be positive"),
    ({"type": "compress", "when": {"&a": 1}}, "Lifecycle type 'compress' does not support 'when' condition"),
    ({"type": "delete", "when": {"$no": 1}}, "Invalid lifecycle condition: "),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_settings_are_checked(policies, changes, message):
    with pytest.raises((InvalidArgument, NotFound)) as raised:
        policies.create("p", SETTINGS | changes)
    assert str(raised.value).startswith(message)
    assert policies.list() == []


def test_settings_are_checked_in_order(policies):
    wrong = {}
    for changes, _ in WRONG:
        wrong |= {name: value for name, value in changes.items() if name not in wrong}
    for changes, message in WRONG:
        with pytest.raises((InvalidArgument, NotFound)) as raised:
            policies.create("p", SETTINGS | wrong)
        assert str(raised.value).startswith(message)
        fixed = {name: SETTINGS.get(name) for name in changes}
        wrong |= (
            fixed if "when" not in changes or changes["type"] == "delete" else {"type": "delete", "when": {"$no": 1}}
        )
    policies.create("p", SETTINGS | wrong)


@pytest.mark.parametrize("text", ["soon", ""])
@pytest.mark.parametrize("member", ["older_than", "interval", "processing_interval"])
def test_a_duration_that_is_none_is_told(policies, member, text):
    with pytest.raises(InvalidArgument, match=f"Invalid lifecycle {member} '{text}': "):
        policies.create("p", SETTINGS | {member: text})


def test_extensions_have_no_place_in_a_condition(policies):
    with pytest.raises(InvalidArgument, match="Lifecycle condition cannot use '#ext' directive"):
        policies.create("p", SETTINGS | {"when": {"#ext": {"x": {}}}})


def test_null_means_the_default(policies):
    policies.create("p", {"bucket": "b", "older_than": "1h", "type": None, "interval": None, "mode": None})
    shown = policies.get("p")["settings"]
    assert (shown["type"], shown["interval"], shown["mode"]) == ("delete", "3600s", "enabled")


def test_names_and_provisioned_ones(machine, policies):
    policies.create("p", SETTINGS)
    with pytest.raises(AlreadyExists, match="Lifecycle 'p' already exists"):
        policies.create("p", SETTINGS)
    with pytest.raises(NotFound, match="Lifecycle 'x' does not exist"):
        policies.get("x")
    policies.provision([("p", SETTINGS), ("q", SETTINGS)])
    with pytest.raises(Conflict, match="Can't update provisioned lifecycle 'p'"):
        policies.update("p", SETTINGS)
    with pytest.raises(Conflict, match="Can't remove provisioned lifecycle 'q'"):
        policies.remove("q")
    policies.set_mode("q", "dry_run")
    policies.provision([("q", SETTINGS)])
    assert [info["mode"] for info in policies.list()] == ["enabled", "dry_run"]
    machine.restart()
    again = Lifecycles(machine.db)
    again.remove("p")
    again.provision([])
    again.update("q", SETTINGS | {"older_than": "3h"})
    assert again.get("q")["settings"]["older_than"] == "3h"

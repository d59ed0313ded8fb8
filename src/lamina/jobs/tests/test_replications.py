"""What a replication sends, and how it is managed (contract reductstore 14)."""

from __future__ import annotations

import random

import pytest

import lamina
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from lamina.jobs.queue import ChangeQueue
from lamina.jobs.sender import Failure, Unreachable
from lamina.jobs.tests.replicating import SETTINGS, Replicating, Wire, contents, replications, settle
from lamina.testing import ManualClock


@pytest.fixture
def machine():
    machine = Replicating()
    machine.db.buckets.create("a")
    yield machine
    machine.off()


def write(machine, entry, time_us, data=b"x", **labels):
    machine.db.buckets["a"].entry(entry).write(data, time_us, labels=labels)


def info(machine, name="r"):
    return machine.jobs.get(name)["info"]


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_records_written_after_creation_arrive_with_labels_and_content_type(machine):
    write(machine, "e", 1)
    machine.jobs.create("r", SETTINGS)
    machine.db.buckets["a"].entry("e/f").write(b"abc", 2, labels={"k": "v"}, content_type="text/plain")
    settle(machine.jobs)
    assert contents(machine.there, "b") == {("e/f", 2): (b"abc", {"k": "v"})}
    assert machine.there.buckets["b"].entry("e/f").read(2).content_type == "text/plain"
    assert info(machine)["pending_records"] == 0


def test_many_records_and_large_ones_arrive_whole(machine):
    machine.jobs.create("r", SETTINGS)
    entry = machine.db.buckets["a"].entry("e")
    entry.write_many([lamina.NewRecord(i, b"%d" % i, {"n": i}) for i in range(300)])
    write(machine, "e", 1000, bytes(3_000_000))
    machine.db.flush()
    settle(machine.jobs)
    assert contents(machine.there, "b") == contents(machine.db, "a")
    assert max(len(times) for _, _, times in machine.wire.calls) <= 80


def test_removed_records_are_left_out_and_removals_do_not_travel(machine):
    machine.jobs.create("r", SETTINGS)
    for i in range(3):
        write(machine, "e", i)
    machine.db.buckets["a"].entry("e").remove(1)
    settle(machine.jobs)
    machine.db.buckets["a"].entry("e").remove(2)
    settle(machine.jobs)
    assert [time for _, time in contents(machine.there, "b")] == [0, 2]
    machine.db.buckets["a"].remove_entry("e")
    settle(machine.jobs)
    assert [time for _, time in contents(machine.there, "b")] == [0, 2]


def test_label_updates_arrive_and_labels_that_were_taken_off_go(machine):
    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1, b"x", a="1", b="2")
    settle(machine.jobs)
    machine.there.buckets["b"].entry("e").update(1, {"own": "stays"})
    machine.db.buckets["a"].entry("e").update(1, {"a": "", "c": "3"})
    settle(machine.jobs)
    assert contents(machine.there, "b") == {("e", 1): (b"x", {"b": "2", "c": "3", "own": "stays"})}
    assert machine.wire.calls[-1] == ("update", "e", [1])


def test_an_update_leaves_a_label_without_text_where_it_is(machine):
    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1, b"x", a="", b="1")
    settle(machine.jobs)
    machine.db.buckets["a"].entry("e").update(1, {"b": "2"})
    settle(machine.jobs)
    assert contents(machine.there, "b") == contents(machine.db, "a") == {("e", 1): (b"x", {"a": "", "b": "2"})}


def test_an_update_of_a_record_the_destination_lacks_goes_as_a_write(machine):
    write(machine, "e", 1, b"old", a="1")
    machine.jobs.create("r", SETTINGS)
    machine.db.buckets["a"].entry("e").update(1, {"a": "2"})
    settle(machine.jobs)
    assert machine.wire.calls == [("update", "e", [1]), ("write", "e", [1])]
    assert contents(machine.there, "b") == {("e", 1): (b"old", {"a": "2"})}
    assert machine.jobs.get("r")["diagnostics"]["hourly"]["errored"] == 0


def test_updates_go_before_writes_and_a_record_is_written_once(machine):
    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1, a="1")
    settle(machine.jobs)
    machine.wire.calls.clear()
    write(machine, "e", 2, a="1")
    machine.db.buckets["a"].entry("e").update(1, {"a": "2"})
    machine.db.buckets["a"].entry("e").update(2, {"a": "2"})
    settle(machine.jobs)
    assert machine.wire.calls == [("update", "e", [1, 2]), ("write", "e", [2])]
    assert contents(machine.there, "b") == contents(machine.db, "a")


def test_patterns_select_entries_and_the_prefix_names_them(machine):
    machine.jobs.create("r", SETTINGS | {"entries": ["x/*", "!x/no"], "dst_prefix": "/from/a/"})
    for entry in ("x/yes", "x/no", "y"):
        write(machine, entry, 1)
    settle(machine.jobs)
    assert list(contents(machine.there, "b")) == [("from/a/x/yes", 1)]


def test_a_condition_is_strict_and_kept_per_entry(machine):
    machine.jobs.create("r", SETTINGS | {"when": {"$and": [{"&ok": {"$eq": True}}, {"$each_n": 2}]}})
    for i in range(4):
        write(machine, "e", i, ok="true")
        write(machine, "f", i, ok="true")
    write(machine, "e", 9)  # without the label: an error, so it is left out
    write(machine, "e", 10, ok="false")
    machine.jobs.pump()
    assert info(machine)["pending_records"] == 4
    settle(machine.jobs)
    sent = contents(machine.there, "b")
    assert {name: [time for entry, time in sent if entry == name] for name in "ef"} in (
        {"e": [0, 2], "f": [0, 2]},
        {"e": [1, 3], "f": [1, 3]},
    )


def test_attachments_go_with_their_parent_whatever_the_condition_says(machine):
    machine.jobs.create("r", SETTINGS | {"entries": ["x*"], "when": {"&ok": {"$eq": True}}})
    write(machine, "x/e/$meta", 1, b"{}", key="k")
    write(machine, "y/$meta", 1, b"{}", key="k")
    settle(machine.jobs)
    assert list(contents(machine.there, "b")) == [("x/e/$meta", 1)]


def test_errors_of_records_are_counted_and_dropped(machine):
    machine.jobs.create("r", SETTINGS)
    machine.wire.refuse = {1: Failure(422, "no"), 2: Failure(422, "no, either")}
    for i in range(4):
        write(machine, "e", i)
    settle(machine.jobs)
    assert [time for _, time in contents(machine.there, "b")] == [0, 3]
    hourly = machine.jobs.get("r")["diagnostics"]["hourly"]
    assert hourly == {"ok": 120, "errored": 120, "errors": {"422": {"count": 2, "last_message": "no, either"}}}
    assert info(machine)["pending_records"] == 0


def test_a_group_that_is_published_twice_is_taken_once(machine):
    machine.jobs.create("r", SETTINGS)
    publisher = machine.db.records.publisher
    publisher.feeds = publisher.feeds * 2
    for i in range(3):
        write(machine, "e", i)
    machine.jobs.pump()
    assert info(machine)["pending_records"] == 3


# -- a destination that cannot be reached ----------------------------------------------------------------------------


def test_a_lost_connection_keeps_the_queue_and_is_tried_again_after_the_timeout(machine):
    machine.jobs.create("r", SETTINGS)
    assert info(machine)["is_active"]
    machine.wire.cut = Unreachable(503, "busy")
    write(machine, "e", 1)
    settle(machine.jobs)
    assert info(machine) | {"name": ""} == {
        "name": "", "mode": "enabled", "is_active": False, "is_provisioned": False, "pending_records": 1,
    }  # fmt: skip
    assert machine.jobs.get("r")["diagnostics"]["hourly"]["errors"] == {"503": {"count": 1, "last_message": "busy"}}
    machine.wire.cut = None
    machine.clock.advance(4.9)
    settle(machine.jobs)
    assert contents(machine.there, "b") == {}
    machine.clock.advance(0.2)
    settle(machine.jobs)
    assert info(machine)["is_active"]
    assert len(contents(machine.there, "b")) == 1


def test_what_was_sent_before_the_connection_broke_is_not_sent_again(machine):
    machine.jobs.create("r", SETTINGS)
    for entry in ("e", "f"):
        write(machine, entry, 1)
    machine.wire.cut_after = 2  # prepare, write e
    settle(machine.jobs)
    machine.wire.cut = None
    machine.clock.advance(6)
    settle(machine.jobs)
    assert [entry for _, entry, _ in machine.wire.calls] == ["e", "f"]
    assert info(machine)["pending_records"] == 0


def test_the_queue_keeps_the_latest_of_each_entry(machine):
    machine.jobs.create("r", SETTINGS)
    machine.jobs = restarted(machine, log_size=3)
    machine.wire.cut = Unreachable(503, "busy")
    for i in range(10):
        write(machine, "e", i)
    write(machine, "f", 1)
    settle(machine.jobs)
    assert info(machine)["pending_records"] == 4
    machine.wire.cut = None
    machine.clock.advance(6)
    settle(machine.jobs)
    assert list(contents(machine.there, "b")) == [("e", 7), ("e", 8), ("e", 9), ("f", 1)]


def restarted(machine, **options):
    machine.jobs.close()
    machine.restart()
    machine.options |= options
    machine.again()
    return machine.jobs


# -- modes -----------------------------------------------------------------------------------------------------------


def test_paused_queues_and_disabled_does_not(machine):
    machine.jobs.create("r", SETTINGS)
    machine.jobs.set_mode("r", "paused")
    write(machine, "e", 1)
    settle(machine.jobs)
    assert info(machine)["pending_records"] == 1
    assert info(machine)["is_active"]
    machine.jobs.set_mode("r", "disabled")
    assert machine.jobs.get("r")["settings"]["mode"] == "disabled"
    assert not info(machine)["is_active"]
    write(machine, "e", 2)
    settle(machine.jobs)
    machine.jobs.set_mode("r", "enabled")
    write(machine, "e", 3)
    settle(machine.jobs)
    assert list(contents(machine.there, "b")) == [("e", 1), ("e", 3)]


def test_what_was_written_while_disabled_is_left_out_after_a_crash_too(machine):
    machine.jobs.create("r", SETTINGS | {"mode": "disabled"})
    write(machine, "e", 1)
    machine.jobs.set_mode("r", "enabled")
    write(machine, "e", 2)
    machine.lose_power(random.Random(1), "min")
    machine.again()
    settle(machine.jobs)
    assert list(contents(machine.there, "b")) == [("e", 2)]


def test_a_paused_replication_tells_whether_the_destination_answers(machine):
    machine.jobs.create("r", SETTINGS | {"mode": "paused"})
    machine.wire.cut = Unreachable(503, "busy")
    settle(machine.jobs)
    assert not info(machine)["is_active"]
    machine.wire.cut = None
    machine.clock.advance(6)
    settle(machine.jobs)
    assert info(machine)["is_active"]


# -- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["min", "all", "page", "torn"])
@pytest.mark.parametrize("pumped", [0, 1, 2])
def test_what_was_acknowledged_is_replicated_after_power_loss(machine, mode, pumped):
    machine.jobs.create("r", SETTINGS)
    for i in range(30):
        write(machine, f"e{i % 3}", i, b"%d" % i)
        if pumped and i % 7 == 0:
            machine.jobs.pump()
            machine.clock.advance(0.6 * (pumped - 1))
    machine.db.buckets["a"].entry("e0").update(0, {"l": "1"})
    machine.lose_power(random.Random(pumped), mode)
    machine.again()
    settle(machine.jobs)
    assert contents(machine.there, "b") == contents(machine.db, "a")


def test_the_log_is_kept_for_what_is_not_durable_in_the_queue(machine):
    machine.jobs.create("r", SETTINGS)
    for i in range(10):
        write(machine, "e", i)
    before = machine.jobs.needed_seq()
    machine.jobs.pump()
    assert machine.jobs.needed_seq() == before
    machine.db.flush()
    machine.db._log.rotate()
    machine.db.upkeep._trim_always()
    machine.lose_power(random.Random(3), "min")
    machine.again()
    assert info(machine)["pending_records"] == 10
    machine.clock.advance(1)
    machine.jobs.pump()
    assert machine.jobs.needed_seq() > before


def test_a_clean_close_leaves_everything_in_the_queue(machine):
    machine.jobs.create("r", SETTINGS)
    for i in range(10):
        write(machine, "e", i)
    restarted(machine)
    assert info(machine)["pending_records"] == 10
    settle(machine.jobs)
    assert contents(machine.there, "b") == contents(machine.db, "a")
    restarted(machine)
    machine.wire.calls.clear()
    settle(machine.jobs)
    assert machine.wire.calls == []


def test_queues_that_were_closed_keep_no_log_of_a_database_that_goes_on(machine):
    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1)
    machine.jobs.close()
    assert machine.jobs.needed_seq not in machine.db.upkeep.needs


def test_queues_that_could_not_be_made_durable_keep_the_log_until_the_end(machine, monkeypatch):
    def failing(queue):
        raise OSError("disk")

    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1)
    monkeypatch.setattr(ChangeQueue, "sync", failing)
    machine.jobs.close()
    assert machine.jobs.needed_seq in machine.db.upkeep.needs


def test_the_queue_of_a_removed_replication_goes(machine):
    machine.jobs.create("r", SETTINGS)
    write(machine, "e", 1)
    machine.jobs.pump()
    assert machine.db.files.list("queues")
    machine.jobs.remove("r")
    assert machine.db.files.list("queues") == []
    assert machine.jobs.needed_seq() is None


def test_two_servers_that_replicate_to_each_other_settle():
    clock = ManualClock()
    here, there = (lamina.open(":memory:", clock=clock) for _ in range(2))
    for db in (here, there):
        db.buckets.create("a")
    one, two = replications(here, Wire(there)), replications(there, Wire(here))
    one.create("r", SETTINGS | {"dst_bucket": "a"})
    two.create("r", SETTINGS | {"dst_bucket": "a"})
    here.buckets["a"].entry("e").write(b"1", 1, labels={"x": "1"})
    there.buckets["a"].entry("e").write(b"2", 2)
    settle(one, two)
    there.buckets["a"].entry("e").update(1, {"x": "", "y": "2"})
    settle(one, two)
    expected = {("e", 1): (b"1", {"y": "2"}), ("e", 2): (b"2", {})}
    assert contents(here, "a") == contents(there, "a") == expected
    assert settle(one, two) == 0
    here.close()
    there.close()


# -- management ------------------------------------------------------------------------------------------------------


def test_settings_come_back_as_they_were_sent_and_the_token_never(machine):
    given = SETTINGS | {
        "dst_host": "https://There:1/base/", "dst_token": "secret", "entries": ["x*"], "when": {"$limit": 3},
        "mode": "paused", "compression": "zstd", "dst_prefix": "/p/",
    }  # fmt: skip
    machine.jobs.create("r", given)
    assert machine.jobs.get("r")["settings"] == given | {"dst_token": None}
    assert "secret" not in repr(machine.jobs.list())
    machine.jobs.update("r", SETTINGS)
    assert machine.jobs.get("r")["settings"] == SETTINGS | {
        "dst_token": None, "entries": [], "dst_prefix": "", "when": None, "mode": "enabled", "compression": "none",
    }  # fmt: skip
    write(machine, "e", 1)
    settle(machine.jobs)
    assert machine.wire.destinations[-1].token == "secret", "a null token keeps the stored one"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dst_host": "nowhere"}, InvalidArgument, "Invalid destination host 'nowhere'"),
        ({"dst_host": "ftp://x"}, InvalidArgument, "Invalid destination host 'ftp://x'"),
        ({"src_bucket": "no"}, NotFound, "Source bucket 'no' for replication 'n' does not exist"),
        (
            {"dst_host": "http://localhost:8383", "dst_bucket": "a"},
            InvalidArgument,
            "Source and destination buckets must be different",
        ),
        ({"when": {"$no": 1}}, InvalidArgument, "Invalid replication condition: "),
        ({"dst_bucket": None}, InvalidArgument, "Invalid JSON: missing field `dst_bucket`"),
        ({"mode": "off"}, InvalidArgument, "Invalid JSON: `mode` 'off'"),
    ],
)
def test_settings_are_checked(machine, changes, error, message):
    with pytest.raises(error) as raised:
        machine.jobs.create("n", SETTINGS | changes)
    assert str(raised.value).startswith(message)
    assert machine.jobs.list() == []
    machine.jobs.create("n", SETTINGS)
    with pytest.raises(error):
        machine.jobs.update("n", SETTINGS | changes)
    assert machine.jobs.get("n")["settings"]["dst_host"] == SETTINGS["dst_host"]


def test_the_host_is_checked_before_the_bucket_and_the_condition_last(machine):
    wrong = {"src_bucket": "no", "dst_host": "x", "when": {"$no": 1}}
    for member, value, message in (
        ("dst_host", "http://127.0.0.1:8383", "Invalid destination host"),
        ("src_bucket", "a", "Source bucket"),
        ("dst_bucket", "other", "Source and destination"),
        ("when", None, "Invalid replication condition"),
    ):
        with pytest.raises((InvalidArgument, NotFound), match=message):
            machine.jobs.create("n", SETTINGS | {"dst_bucket": "a"} | wrong)
        wrong[member] = value
    machine.jobs.create("n", SETTINGS | wrong)


def test_names_are_unique_and_missing_ones_are_told(machine):
    machine.jobs.create("r", SETTINGS)
    with pytest.raises(AlreadyExists, match="Replication 'r' already exists"):
        machine.jobs.create("r", SETTINGS)
    for call in (machine.jobs.get, machine.jobs.remove):
        with pytest.raises(NotFound, match="Replication 'x' does not exist"):
            call("x")
    with pytest.raises(NotFound):
        machine.jobs.set_mode("x", "paused")


def test_provisioned_ones_refuse_changes_but_of_their_mode(machine):
    machine.jobs.provision([("p", SETTINGS)])
    assert info(machine, "p")["is_provisioned"]
    with pytest.raises(Conflict, match="Can't update provisioned replication 'p'"):
        machine.jobs.update("p", SETTINGS)
    with pytest.raises(Conflict, match="Can't remove provisioned replication 'p'"):
        machine.jobs.remove("p")
    machine.jobs.set_mode("p", "paused")
    machine.jobs.provision([("p", SETTINGS | {"entries": ["e"]})])
    assert machine.jobs.get("p")["settings"] | {"when": 0} == SETTINGS | {
        "entries": ["e"], "mode": "paused", "dst_token": None, "dst_prefix": "", "when": 0, "compression": "none",
    }  # fmt: skip
    restarted(machine)
    assert info(machine, "p")["is_provisioned"]
    machine.jobs.provision([])
    assert not info(machine, "p")["is_provisioned"]
    machine.jobs.remove("p")

"""What the server tells of itself in `$system` (contract reductstore 16)."""

from __future__ import annotations

import json
import logging

import pytest

from lamina.engine.tests.machine import SMALL, Machine
from lamina.errors import Conflict
from lamina.jobs import Jobs, JobsConfig
from lamina.jobs.audit import KINDS
from lamina.jobs.logs import HELD
from lamina.jobs.sender import Failure, Unreachable
from lamina.jobs.tests.replicating import SETTINGS, Wire, settle

QUOTA = 1_000_000


@pytest.fixture
def machine():
    machine = Machine(SMALL)
    yield machine
    machine.off()


@pytest.fixture
def jobs(machine):
    return Jobs(machine.db, JobsConfig(instance="my.host", system_quota_size=QUOTA), Wire(machine.db).connect)


def events(machine, entry):
    """(labels, content) of each."""
    bucket = machine.db.buckets.find("$system")
    if bucket is None or bucket.find_entry(entry) is None:
        return []
    return [(dict(record.labels), json.loads(record.read())) for record in bucket.entry(entry).query()]


def call(jobs, token="t", method="GET", path="/api/v1/b/x", ip="1.2.3.4", status=200, message="", us=1000):
    jobs.observer.call(token, method, path, ip, status, message, us)


def test_calls_alike_become_one_event_after_five_seconds(machine, jobs):
    call(jobs)
    jobs.run_events()
    assert "$system" not in machine.db.buckets
    machine.clock.advance(3)
    call(jobs, us=500)
    call(jobs, status=404, message="Bucket 'x' is not found")
    machine.clock.advance(2)
    jobs.run_events()
    now = machine.clock.wall_us()
    common = {
        "instance": "my.host", "token_name": "t", "method": "GET", "path": "/api/v1/b/x", "client_ip": "1.2.3.4",
    }  # fmt: skip
    assert events(machine, "audit/my_host/t") == [
        (
            {"status": "200"},
            common | {"timestamp": now, "status": 200, "message": "", "call_count": 2, "duration": 0.0015},
        ),
        (
            {"status": "404"},
            common
            | {
                "timestamp": now + 1, "status": 404, "message": "Bucket 'x' is not found", "call_count": 1,
                "duration": 0.001,
            },
        ),
    ]  # fmt: skip
    record = next(iter(machine.db.buckets["$system"].entry("audit/my_host/t").query()))
    assert record.content_type == "application/json"


def test_questions_whether_the_server_lives_and_other_paths_are_not_told(machine, jobs):
    for path in ("/api/v1/alive", "/api/v1/ready", "/ui/", "/base/api/v1/alive"):
        call(jobs, path=path)
    call(jobs, "unauthorized", path="/base/api/v1/list", status=401)
    machine.clock.advance(6)
    jobs.run_events()
    assert machine.db.buckets["$system"].names() == ["audit", "audit/my_host", "audit/my_host/unauthorized"]


def test_nobody_fills_the_memory_with_paths(machine, jobs):
    for i in range(KINDS + 50):
        call(jobs, path=f"/api/v1/b/{i}")
    found = jobs._audit.due(all=True)
    assert len(found) == KINDS + 1
    assert (found[-1].payload["path"], found[-1].payload["call_count"]) == ("*", 50)


def test_the_bucket_is_provisioned_with_a_quota_that_may_be_configured_anew(machine, jobs):
    call(jobs)
    jobs.run_events(all=True)
    bucket = machine.db.buckets["$system"]
    assert bucket.provisioned
    assert (bucket.settings.quota_type, bucket.settings.quota_size) == ("FIFO", QUOTA)
    with pytest.raises(Conflict):
        bucket.update({"quota_size": 1})
    jobs.close()
    machine.restart()
    again = Jobs(machine.db, JobsConfig(instance="my.host", system_quota_size=2 * QUOTA), Wire(machine.db).connect)
    call(again)
    again.run_events(all=True)
    assert machine.db.buckets["$system"].settings.quota_size == 2 * QUOTA
    assert len(events(machine, "audit/my_host/t")) == 2


def test_usage_is_told_every_minute_for_each_bucket_and_for_all(machine, jobs):
    machine.db.buckets.create("b").entry("e/f").write(b"12345", 1)
    machine.db.buckets.create("c")
    jobs.observer.wrote("b", "e/f", 2, 10)
    jobs.observer.wrote("b", "e", 1, 1)
    jobs.observer.read("b", "e", 3, 7)
    machine.clock.advance(59)
    jobs.run_events()
    assert events(machine, "usage/my_host/b") == []
    machine.clock.advance(1)
    jobs.run_events()
    ((labels, found),) = events(machine, "usage/my_host/b")
    assert labels == {"status": "200"}
    expected = {
        "duration": 60.0, "write_bytes": 11, "read_bytes": 7, "records_written": 3, "records_read": 3,
        "written_entries": 2, "read_entries": 1, "storage_bytes": machine.db.buckets["b"].size, "bucket_count": 1,
        "entry_count": 2, "block_count": 1, "record_count": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    ((_, total),) = events(machine, "usage/my_host/total")
    assert {name: total[name] for name in expected} == expected | {"bucket_count": 2}
    machine.clock.advance(60)
    jobs.run_events()
    assert events(machine, "usage/my_host/b")[1][1]["records_written"] == 0


def test_messages_of_the_log_are_told_from_a_level_on(machine, jobs):
    logger = logging.getLogger("lamina.some.test")
    logger.addHandler(jobs._logs)
    try:
        logger.info("nothing")
        logger.warning("disk %s", "slow")
        for i in range(HELD + 5):
            logger.error("%d", i)
    finally:
        logger.removeHandler(jobs._logs)
    jobs.run_events()
    found = events(machine, "logs/my_host/messages")
    assert len(found) == HELD, "the latest are kept"
    labels, last = found[-1]
    assert labels == {"status": "200", "level": "ERROR"}
    assert (last["level"], last["message"], last["target"]) == ("ERROR", str(HELD + 4), "lamina.some.test")
    assert last["file"] == "test_system_events.py"
    assert last["line"] > 0


def test_runs_of_policies_are_told(machine, jobs):
    bucket = machine.db.buckets.create("b")
    bucket.entry("e").write(b"x", machine.clock.wall_us() - 10 * 3_600_000_000)
    jobs.lifecycles.create("p", {"bucket": "b", "older_than": "1h", "interval": "10m"})
    machine.clock.advance(600)
    jobs.lifecycles.run_due()
    machine.db.buckets.remove("b")
    machine.clock.advance(600)
    jobs.lifecycles.run_due()
    (first, ran), (second, failed) = events(machine, "lifecycle/my_host/p")
    assert (first, second) == ({"status": "200"}, {"status": "404"})
    assert (ran["policy_name"], ran["action_type"], ran["bucket"]) == ("p", "delete", "b")
    assert (ran["processed_records"], ran["processed_blocks"], ran["caught_up"]) == (1, 1, True)
    assert ran["last_processed_ts"] == machine.clock.wall_us() - 1_200_000_000 - (10 - 4) * 3_600_000_000
    assert failed["message"] == "Bucket 'b' is not found"
    assert "last_processed_ts" not in failed


def test_replications_are_told_every_minute_while_they_have_work(machine):
    import lamina

    there = lamina.open(":memory:")
    wire = Wire(there)
    jobs = Jobs(machine.db, JobsConfig(instance="h", system_quota_size=QUOTA), wire.connect)
    machine.db.buckets.create("a")
    jobs.replications.create("r", SETTINGS)
    entry = machine.db.buckets["a"].entry("e")
    wire.refuse = {1: Failure(422, "no")}
    for time_us in (1, 2):
        entry.write(b"abc", time_us)
    settle(jobs.replications)
    wire.cut = Unreachable(503, "busy")
    entry.write(b"abc", 3)
    settle(jobs.replications)
    machine.clock.advance(60)
    jobs.run_events()
    ((labels, found),) = events(machine, "replications/h/r")
    assert labels == {"status": "503"}
    counts = {name: found[name] for name in ("pending_records", "written_records", "failed_records")}
    assert counts == {"pending_records": 1, "written_records": 1, "failed_records": 1}
    assert found["replicated_data_size"] == 3
    wire.cut = None
    settle(jobs.replications)
    for _ in range(3):
        machine.clock.advance(60)
        jobs.run_events()
    assert len(events(machine, "replications/h/r")) == 2, "nothing is told of one that has nothing to do"
    there.close()


def test_events_that_cannot_be_kept_are_lost_and_nothing_else_happens(machine):
    jobs = Jobs(machine.db, JobsConfig(system_quota_size=10), Wire(machine.db).connect)
    call(jobs)
    jobs.run_events(all=True)
    assert jobs._events.lost == 1
    call(jobs)
    machine.db.close()
    jobs.run_events(all=True)
    assert jobs._events.lost == 2


def test_without_system_events_nothing_is_kept(machine):
    jobs = Jobs(machine.db, JobsConfig(system_events=False), Wire(machine.db).connect)
    assert jobs.observer is None
    bucket = machine.db.buckets.create("b")
    jobs.lifecycles.create("p", {"bucket": bucket.name, "older_than": "1h"})
    machine.clock.advance(3600)
    assert jobs.lifecycles.run_due() == 1
    jobs.close()
    assert "$system" not in machine.db.buckets

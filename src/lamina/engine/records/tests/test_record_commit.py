"""What becomes of records whose commit is refused half way."""

from __future__ import annotations

import pytest

import lamina
from lamina.engine.records import commit as commits
from lamina.errors import Unavailable


def test_what_was_queued_before_a_refusal_is_committed_and_the_rest_can_be_written_again(monkeypatch):
    monkeypatch.setattr(commits, "OP_BYTES", 100)
    with lamina.open(":memory:") as db:
        bucket = db.buckets.create("b", quota_type="HARD", quota_size=100_000)
        (entry,) = bucket.ensure_entries(["e"])
        opened = [bucket.open_write(entry, time, 90, (), "") for time in range(1, 6)]
        for one in opened:
            one.set_content(bytes(90))
        submit, calls = bucket.store.submit, []

        def refuse_the_second(ops, **options):
            calls.append(len(ops))
            if len(calls) == 2:
                raise Unavailable("the disk said no")
            return submit(ops, **options)

        monkeypatch.setattr(bucket.store, "submit", refuse_the_second)
        with pytest.raises(Unavailable):
            bucket.commit_writes(opened)
        monkeypatch.undo()
        db.barrier()
        stored = [record.time_us for record in entry.query()]
        assert stored == list(range(1, 1 + calls[0]))
        for time in range(1 + calls[0], 6):
            entry.write(bytes(90), time)
        assert [record.time_us for record in entry.query()] == [1, 2, 3, 4, 5]
        assert bucket.load == bucket.size

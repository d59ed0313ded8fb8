"""The record API against plain dictionaries: any sequence of calls, restarts, kills and power losses."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamina import errors
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.queries import Query
from lamina.engine.records.tests.recordmodel import (
    CONTENT_TYPES,
    TINY,
    Held,
    ModelBucket,
    ModelEntry,
    Records,
    begin,
    contents,
    drained,
    filled,
    rows_size,
    shown,
)
from lamina.engine.snapshot import Snapshot
from lamina.engine.tests.machine import Machine
from lamina.records.source import LAST_TIME
from lamina.testing import MODES

EXAMPLES = int(os.environ.get("LAMINA_EXAMPLES", "0"))
"""Of the long version; by default the same few in every run."""

ENTRIES = ("a", "b", "a/x", "c/d/e", "a/$meta")
SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_block_records": 3},
    {"quota_type": "FIFO", "quota_size": 3000, "max_block_records": 2},
    {"quota_type": "FIFO", "quota_size": 250_000, "max_block_size": 2000},
    {"quota_type": "HARD", "quota_size": 100_000},
]
times = st.one_of(st.integers(0, 30), st.sampled_from([0, 1_000_000, 10**15, (1 << 63) - 1, 1 << 63, LAST_TIME]))
sizes = st.sampled_from([0, 0, 1, 6, 11, 100, 700, 65_536, 65_537, 140_000])
label_values = st.sampled_from(["", "0", "1", "x", "2.5"])
label_sets = st.dictionaries(st.sampled_from(["l", "m", "key"]), label_values, max_size=2)
picks = st.integers(0, 1000)
spans = st.one_of(st.none(), times)
whens = st.sampled_from([None, None, {"&l": {"$eq": "x"}}, {"$exists": "m"}, {"&l": {"$gt": 0}}])


def fulfils(held: Held, when: dict[str, Any] | None) -> bool:
    """The few conditions of above, spelled out."""
    labels = dict(held.labels)
    if when is None:
        return True
    if "$exists" in when:
        return "m" in labels
    if "$eq" in when["&l"]:
        return labels.get("l") == "x"
    return labels.get("l") in ("1", "2", "2.5")  # a text that is no number is not above one


Moment = list[tuple[ModelBucket, list[tuple[ModelEntry, Records]]]]
"""What each entry had."""


class RecordMachine(RuleBasedStateMachine):
    @initialize(chosen=st.sampled_from(SETTINGS), n=st.integers(1, 10))
    def boot(self, chosen, n) -> None:
        self.machine = Machine(TINY)
        self.buckets: list[ModelBucket] = []
        self.made = 0
        self.marks = contents(1)
        self.pins: dict[str, Moment] = {}
        self.views: list[tuple[Snapshot, Moment]] = []
        self.held: list[tuple[Query, list[tuple[int, Held]]]] = []
        self.following: list[tuple[Query, ModelEntry, Counter[int], Counter[int]]] = []
        self.uploads: list[tuple[Any, ModelBucket, ModelEntry, int, Held]] = []
        self.create(chosen)
        self.write_in_order(0, "a", n, 10)

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.release()
            self.machine.off()

    def release(self) -> None:
        """What does not outlive the process."""
        for open_, *_ in (*self.views, *self.held, *self.following):
            open_.close()
        for write, *_ in self.uploads:
            write.abort()
        self.views.clear()
        self.held.clear()
        self.following.clear()
        self.uploads.clear()

    @property
    def db(self):
        return self.machine.db

    def pick(self, number: int):
        model = self.buckets[number % len(self.buckets)]
        return model, self.db.buckets.get(model.name)

    def pick_entry(self, number: int):
        """An entry with records, if there is one."""
        found = [(model, entry) for model in self.buckets for entry in model.entries.values() if entry.records]
        if not found:
            found = [(model, entry) for model in self.buckets for entry in model.entries.values()]
        if not found:
            return None
        model, entry = found[number % len(found)]
        return model, entry, self.db.buckets.get(model.name).entry(entry.name)

    def give(self, size: int, labels: dict[str, str], entry: str) -> Held:
        if entry.endswith("$meta"):
            labels = {**labels, "key": labels.get("key") or "k"}
        return Held(filled(next(self.marks), size), tuple(sorted(labels.items())), CONTENT_TYPES[size % 2])

    # -- buckets and entries

    @precondition(lambda self: len(self.buckets) < 2)
    @rule(chosen=st.sampled_from(SETTINGS))
    def create(self, chosen) -> None:
        self.made += 1
        name = f"b{self.made}"
        self.db.buckets.create(name, chosen)
        self.buckets.append(ModelBucket(name, chosen))

    @precondition(lambda self: len(self.buckets) > 1)
    @rule(number=picks)
    def remove_bucket(self, number) -> None:
        model, _ = self.pick(number)
        self.forget(list(model.entries.values()))
        self.db.buckets.remove(model.name)
        self.buckets.remove(model)
        with pytest.raises(errors.NotFound):
            self.db.buckets.get(model.name)

    @rule(number=picks)
    def rename_bucket(self, number) -> None:
        model, _ = self.pick(number)
        self.made += 1
        self.db.buckets.rename(model.name, f"b{self.made}")
        model.name = f"b{self.made}"

    @rule(number=picks, chosen=st.sampled_from(SETTINGS))
    def update_settings(self, number, chosen) -> None:
        model, bucket = self.pick(number)
        if self.uploads:  # what is under way counts, and cannot be evicted
            return
        bucket.update(chosen)
        model.settings.update(chosen)
        self.accept_eviction(model)

    def forget(self, gone: list[ModelEntry]) -> None:
        """Uploads into what goes must be given up; followers of it end."""
        for upload in [upload for upload in self.uploads if upload[2] in gone]:
            upload[0].abort()
            self.uploads.remove(upload)
        for following in [following for following in self.following if following[1] in gone]:
            following[0].close()
            self.following.remove(following)

    @rule(number=picks, name=st.sampled_from(ENTRIES))
    def remove_entry(self, number, name) -> None:
        model, bucket = self.pick(number)
        if name not in model.entries:
            with pytest.raises(errors.NotFound):
                bucket.remove_entry(name)
        elif name.endswith("$meta"):
            with pytest.raises(errors.InvalidArgument):
                bucket.remove_entry(name)
        else:
            self.forget(model.below(name))
            bucket.remove_entry(name)
            model.remove(name)

    @rule(number=picks, old=st.sampled_from(ENTRIES[:4]), new=st.sampled_from([*ENTRIES[:4], "n/o"]))
    def rename_entry(self, number, old, new) -> None:
        model, bucket = self.pick(number)
        if new == old or new.startswith(old + "/") or (old in model.entries and new in model.entries):
            with pytest.raises(errors.AlreadyExists):
                bucket.rename_entry(old, new)
        elif old not in model.entries:
            with pytest.raises(errors.NotFound):
                bucket.rename_entry(old, new)
        else:
            self.forget(model.below(old))
            bucket.rename_entry(old, new)
            model.rename(old, new)

    # -- writing

    def taken(self, entry: ModelEntry, time: int) -> bool:
        return time in entry.records or any(upload[2] is entry and upload[3] == time for upload in self.uploads)

    def accept_eviction(self, model: ModelBucket, new: int = -1) -> None:
        """A quota is kept, and what went for it were the oldest of an entry. Which block goes is tested elsewhere."""
        if model.settings["quota_type"] != "FIFO":
            return
        bucket = self.db.buckets.get(model.name)
        attached = sum(bucket.entry(entry.name).info().size for entry in model.entries.values() if entry.meta)
        assert bucket.info().size <= max(model.settings["quota_size"], attached)
        for entry in model.entries.values():
            if entry.meta:
                continue
            found = {record.time_us for record in bucket.entry(entry.name).query()}
            gone = entry.records.keys() - found
            if gone:
                assert all(time > max(gone) for time in found - {new})
                for time in gone:
                    del entry.records[time]

    @rule(number=picks, name=st.sampled_from(ENTRIES), time=times, size=sizes, labels=label_sets)
    def write(self, number, name, time, size, labels) -> None:
        model, bucket = self.pick(number)
        held = self.give(size, labels, name)
        entry = model.ensure(name)
        taken = self.taken(entry, time)
        try:
            bucket.entry(name).write(held.content, time, labels=dict(held.labels), content_type=held.content_type)
        except errors.AlreadyExists:
            assert taken
        except errors.QuotaExceeded:
            assert model.settings["quota_type"] != "NONE"
            if model.settings["quota_type"] == "HARD":
                assert bucket.load + size > model.settings["quota_size"]
            self.db.barrier()  # what was evicted for a record that was refused in the end
        else:
            assert not taken
            entry.write(time, held)
        self.accept_eviction(model, time)

    @rule(
        number=picks,
        name=st.sampled_from(ENTRIES[:4]),
        batch=st.lists(st.tuples(times, sizes, label_sets), min_size=2, max_size=12),
    )
    def write_many(self, number, name, batch) -> None:
        model, bucket = self.pick(number)
        if model.settings["quota_type"] != "NONE":
            batch = [(time, min(size, 20), labels) for time, size, labels in batch[:3]]
        entry = model.ensure(name)
        given = [(time, self.give(size, labels, name)) for time, size, labels in batch]
        results = bucket.entry(name).write_many(
            NewRecord(time, held.content, dict(held.labels), held.content_type) for time, held in given
        )
        assert len(results) == len(given)
        written: set[int] = set()
        for (time, held), error in zip(given, results, strict=True):
            if error is None:
                assert time not in written
                entry.write(time, held)
                written.add(time)
            elif isinstance(error, errors.QuotaExceeded):
                assert model.settings["quota_type"] != "NONE"
            else:
                assert isinstance(error, errors.AlreadyExists)
                assert self.taken(entry, time)
        self.db.barrier()
        if model.settings["quota_type"] == "FIFO":  # one may have been evicted for the next of the batch
            found = {record.time_us for record in bucket.entry(name).query()}
            for time in [time for time in entry.records if time not in found]:
                del entry.records[time]
        self.accept_eviction(model)

    @rule(number=picks, name=st.sampled_from(ENTRIES[:4]), n=st.integers(1, 10), size=st.integers(0, 30))
    def write_in_order(self, number, name, n, size) -> None:
        model, bucket = self.pick(number)
        bucket.ensure_entries([name])
        entry = model.ensure(name)
        after = min(max(entry.records, default=0), 1000)
        for time in range(after + 1, after + n + 1):
            held = self.give(size, {"l": str(time % 3)}, name)
            if self.taken(entry, time):
                continue
            try:
                bucket.entry(name).write(held.content, time, labels=dict(held.labels), content_type=held.content_type)
            except errors.QuotaExceeded:
                assert model.settings["quota_type"] != "NONE"
                self.db.barrier()
            else:
                entry.write(time, held)
            self.accept_eviction(model, time)

    @precondition(lambda self: len(self.uploads) < 2)
    @rule(number=picks, name=st.sampled_from(ENTRIES[:4]), time=times, size=st.sampled_from([65_537, 140_000]))
    def begin_upload(self, number, name, time, size) -> None:
        model, bucket = self.pick(number)
        if model.settings["quota_type"] != "NONE":
            return
        entry = model.ensure(name)
        held = self.give(size, {}, name)
        taken = self.taken(entry, time)
        (handle,) = bucket.ensure_entries([name])
        if taken:
            with pytest.raises(errors.AlreadyExists):
                bucket.open_write(handle, time, size, (), held.content_type)
            return
        write = bucket.open_write(handle, time, size, (), held.content_type)
        write.write(held.content[:40_000])
        self.uploads.append((write, model, entry, time, held))

    @precondition(lambda self: self.uploads)
    @rule(commit=st.booleans())
    def end_upload(self, commit) -> None:
        write, model, entry, time, held = self.uploads.pop()
        if commit:
            write.write(held.content[40_000:])
            write.finish()
            self.db.buckets.get(model.name).commit_writes([write]).wait()
            entry.write(time, held)
            self.accept_eviction(model, time)
        else:
            write.abort()

    # -- changing

    @rule(number=picks, which=st.lists(picks, min_size=1, max_size=4), changes=label_sets, remove=st.booleans())
    def update(self, number, which, changes, remove) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        if entry.meta:
            changes = {"remove": "true"} if remove else {name: v for name, v in changes.items() if name != "key"}
        if not entry.records:
            with pytest.raises(errors.NotFound):
                handle.update(5, changes)
            return
        for chosen in which:
            time = sorted(entry.records)[chosen % len(entry.records)]
            handle.update(time, changes)
            entry.update(time, changes)

    @rule(number=picks, which=picks)
    def remove(self, number, which) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        time = sorted(entry.records)[which % len(entry.records)] if entry.records else 5
        if entry.meta:
            with pytest.raises(errors.InvalidArgument):
                handle.remove(time)
        elif not entry.records:
            with pytest.raises(errors.NotFound):
                handle.remove(time)
        else:
            handle.remove(time)
            del entry.records[time]

    @rule(number=picks, start=spans, stop=spans, when=whens)
    def remove_range(self, number, start, stop, when) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        if start is not None and stop is not None and start > stop:
            start, stop = stop, start
        chosen = [
            time
            for time, held in entry.records.items()
            if not entry.meta
            and (start is None or time >= start)
            and (stop is None or time < stop)
            and fulfils(held, when)
        ]
        assert handle.remove_range(start, stop, when=when) == len(chosen)
        for time in chosen:
            del entry.records[time]

    # -- upkeep

    @rule(what=st.sampled_from(["flush", "flush", "upkeep", "upkeep", "later", "compact"]))
    def upkeep(self, what) -> None:
        if what == "flush":
            self.db.flush()
        elif what == "compact":
            self.db.compact()
        else:
            if what == "later":
                self.machine.clock.advance(700)
            self.db.upkeep.run_once()

    # -- looking back

    def moment(self) -> Moment:
        return [(model, model.frozen()) for model in self.buckets]

    @precondition(lambda self: len(self.pins) < 2)
    @rule()
    def pin(self) -> None:
        name = f"pin{len(self.pins)}"
        self.db.snapshot(name).close()
        self.pins[name] = self.moment()

    @precondition(lambda self: self.pins)
    @rule()
    def unpin(self) -> None:
        name, _ = self.pins.popitem()
        self.db.drop_snapshot(name)

    @precondition(lambda self: len(self.views) < 2)
    @rule()
    def look(self) -> None:
        self.views.append((self.db.snapshot(), self.moment()))

    # -- lives

    @rule(how=st.sampled_from(["restart", "kill", *MODES]), seed=st.integers(0, 1 << 30))
    def live_on(self, how, seed) -> None:
        self.release()
        before = self.sizes()
        if how == "restart":
            self.machine.restart()
        elif how == "kill":
            self.machine.kill()
        else:
            self.machine.lose_power(random.Random(seed), how)
        after = self.sizes()
        if how == "restart":
            assert after == before
        else:  # block by block and in bytes of offsets replay may differ: what was removed is not in its way any more
            assert [without_blocks(told) for told in after] == [without_blocks(told) for told in before]

    def sizes(self) -> list[Any]:
        return [(bucket.name, bucket.info(), bucket.entry_infos()) for bucket in self.db.buckets]

    # -- reading

    @rule(number=picks, start=spans, stop=spans, when=whens)
    def query(self, number, start, stop, when) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        expected = [
            (time, held)
            for time, held in sorted(entry.visible().items())
            if (start is None or time >= start) and (stop is None or time < stop) and fulfils(held, when)
        ]
        assert [shown(record) for record in handle.query(start, stop, when=when)] == expected

    @rule(number=picks, limit=st.integers(1, 5))
    def query_bucket(self, number, limit) -> None:
        model, bucket = self.pick(number)
        expected = [
            (time, name, held)
            for name, entry in model.entries.items()
            if not entry.meta
            for time, held in entry.records.items()
        ]
        query = begin(bucket)
        found: list[tuple[int, str, Held]] = []
        while True:
            batch = query.next_batch(limit, 1 << 62, 1 << 62, None)
            assert len(batch.records) == min(limit, len(expected) - len(found))
            for record in batch.records:
                time, held = shown(record)
                found.append((time, record.entry, held))
            if batch.last:
                break
        query.close()
        assert found == sorted(expected, key=lambda item: (item[0], item[1].encode()))

    @rule(number=picks, time=times)
    def read(self, number, time) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        for given in (time, None):
            at = max(entry.records, default=None) if given is None else given
            if at in entry.records:
                assert shown(handle.read(given)) == (at, entry.records[at])
                quick = handle.try_read(given)
                assert quick is None or shown(quick) == (at, entry.records[at])
            else:
                with pytest.raises(errors.NotFound):
                    handle.read(given)

    @precondition(lambda self: len(self.held) < 2)
    @rule(number=picks)
    def hold(self, number) -> None:
        found = self.pick_entry(number)
        if found is None:
            return
        _, entry, handle = found
        query = begin(handle.bucket, [entry.name])
        self.held.append((query, sorted(entry.visible().items())))

    @precondition(lambda self: len(self.following) < 2)
    @rule(number=picks)
    def follow(self, number) -> None:
        found = self.pick_entry(number)
        if found is not None and not found[1].meta:
            _, entry, handle = found
            query = begin(handle.bucket, [entry.name], continuous=True)
            before = Counter(entry.writes)
            before.subtract(entry.records.keys())
            self.following.append((query, entry, before, Counter()))

    @precondition(lambda self: self.pins or self.views or self.held or self.following)
    @rule(done=st.booleans())
    def look_back(self, done) -> None:
        """Records and labels as they were, whatever became of them since."""
        for name, moment in self.pins.items():
            with self.db.open_snapshot(name) as snapshot:
                check_moment(snapshot, moment)
        for snapshot, moment in self.views:
            check_moment(snapshot, moment)
        for query, expected in self.held:
            assert [shown(record) for record in drained(query, 3)] == expected
            query.close()
        self.held.clear()
        for query, entry, before, given in self.following:
            self.catch_up(query, entry, given)
            assert all(given[time] <= entry.writes[time] - before[time] for time in given)
        if done and self.views:
            self.views.pop()[0].close()

    def catch_up(self, query: Query, entry: ModelEntry, given: Counter[int]) -> None:
        """All that live are given, since then or before."""
        last = {}
        for record in drained(query, 3):
            given[record.time_us] += 1
            last[record.time_us] = record  # one removed and written again comes twice
        for time, record in last.items():
            if time in entry.records:
                assert record.read() == entry.records[time].content
        assert entry.records.keys() <= given.keys()

    @invariant()
    def everything_is_the_models(self) -> None:
        if not hasattr(self, "buckets"):
            return
        assert self.db.poisoned is None
        assert not self.db.degraded
        assert [bucket.name for bucket in self.db.buckets] == sorted(model.name for model in self.buckets)
        for model in self.buckets:
            bucket = self.db.buckets.get(model.name)
            assert sorted(bucket.names()) == sorted(model.entries)
            info = bucket.info()
            filled_ = [entry for entry in model.entries.values() if entry.records and not entry.meta]
            assert info.entry_count == sum(not entry.meta for entry in model.entries.values())
            assert info.oldest_record == min((min(entry.records) for entry in filled_), default=0)
            assert info.latest_record == max((max(entry.records) for entry in filled_), default=0)
            if not self.uploads:
                assert bucket.load == bucket.size
            total = 0
            for entry in model.entries.values():
                handle = bucket.entry(entry.name)
                assert [shown(record) for record in handle.query()] == sorted(entry.visible().items())
                told = handle.info()
                assert told.record_count == len(entry.records)
                assert told.oldest_record == min(entry.records, default=0)
                assert told.latest_record == max(entry.records, default=0)
                assert (told.block_count == 0) == (not entry.records)
                assert told.size == rows_size(handle)
                assert entry.least_size() <= told.size <= entry.most_size()
                total += told.size
            assert info.size == total


def without_blocks(told: Any) -> Any:
    name, info, entries = told
    return name, info._replace(size=0), [entry._replace(size=0, block_count=0) for entry in entries]


def check_moment(snapshot: Snapshot, moment: Moment) -> None:
    for model, entries in moment:
        expected = sorted((entry.name, sorted(records.items())) for entry, records in entries if records)
        found = []
        for view in snapshot.bucket(model.name).entries():
            records = [shown(record) for record in view.query()]
            if records:
                found.append((view.name, records))
                if not view.name.endswith("$meta"):
                    assert view.read().time_us == records[-1][0]
                    assert shown(view.read(records[0][0])) == records[0]
        assert sorted(found) == expected


TestRecords = RecordMachine.TestCase
TestRecords.settings = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

"""The stream API against brute force: any sequence of calls, restarts and power losses, every kept version."""

from __future__ import annotations

import os
import random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamina import errors
from lamina.engine.tests.machine import Machine
from lamina.settings import Settings
from lamina.testing import MODES
from lamina.testing.oracle import FIRST_VERSION, MAX, MIN, StreamModel
from lamina.time import LAST_TIME

TINY = Settings(
    leaf_points=16,
    node_rows=4,
    flush_points=32,
    bulk_points=100,
    log_file_bytes=2048,
    log_limit=8192,
    background=False,
    min_free=0,
)
STREAMS = 3

EXAMPLES = int(os.environ.get("LAMINA_EXAMPLES", "0"))
"""Of the long version (docs/reliability.md); by default 60, the same in every run."""
HOUR = 3600

times = st.one_of(
    st.integers(0, 60),
    st.integers(0, 40).map(lambda k: k * HOUR),
    st.sampled_from([MIN, MIN + 1, -1, LAST_TIME - 1, LAST_TIME]),
)
values = st.one_of(st.integers(-5, 5).map(float), st.sampled_from([0.0, -0.0, 1e100, 0.1]))
batches = st.lists(st.tuples(times, values), min_size=1, max_size=25)
policies = st.sampled_from(["never", "never", "equal", "retain", "replace"])
picks = st.integers(0, 1000)


class Known:
    """One stream as the model has it."""

    def __init__(self, uuid: UUID) -> None:
        self.uuid = uuid
        self.model = StreamModel()
        self.oldest = FIRST_VERSION


class StreamMachine(RuleBasedStateMachine):
    @initialize()
    def boot(self) -> None:
        self.machine = Machine(TINY)
        self.known: list[Known] = []
        self.burnt: list[UUID] = []
        self.created = 0
        self.pins: dict[str, dict[UUID, int]] = {}
        self.views: list[tuple[object, list]] = []  # open views and what they must answer for ever
        self.create()

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.release()
            self.machine.off()

    def release(self) -> None:
        for view, _ in self.views:
            view.close()
        self.views.clear()

    @property
    def db(self):
        return self.machine.db

    def pick(self, number: int):
        known = self.known[number % len(self.known)]
        return known, self.db.streams.get(known.uuid)

    def version(self, known: Known, number: int) -> int:
        return range(known.oldest, known.model.version + 1)[-1 - number % (known.model.version + 1 - known.oldest)]

    # -- writing

    @precondition(lambda self: len(self.known) < STREAMS)
    @rule()
    def create(self) -> None:
        self.created += 1
        stream = self.db.streams.create("c", f"s{self.created}", uuid=UUID(int=self.created))
        assert stream.version == FIRST_VERSION
        self.known.append(Known(stream.uuid))

    @rule(number=picks, batch=batches, policy=policies)
    def insert(self, number, batch, policy) -> None:
        known, stream = self.pick(number)
        t, v = zip(*batch, strict=True)
        assert stream.insert(t, v, policy=policy) == known.model.insert(t, v, policy)

    @rule(number=picks, start=times, n=st.integers(80, 150), step=st.sampled_from([0, 1, HOUR]), policy=policies)
    def insert_bulk(self, number, start, n, step, policy) -> None:
        known, stream = self.pick(number)
        t = [min(start + i * step, LAST_TIME) for i in range(n)]
        v = [float(i % 7) for i in range(n)]
        assert stream.insert(t, v, policy=policy) == known.model.insert(t, v, policy)

    @rule(batches=st.lists(batches, min_size=STREAMS, max_size=STREAMS))
    def insert_many(self, batches) -> None:
        chosen = {}
        for known, batch in zip(self.known, batches, strict=False):
            chosen[self.db.streams.get(known.uuid)] = tuple(zip(*batch, strict=True))
            known.model.insert(*zip(*batch, strict=True))
        found = self.db.streams.insert_many(chosen)
        assert {stream.uuid: version for stream, version in found.items()} == {
            known.uuid: known.model.version for known in self.known[: len(chosen)]
        }

    @rule(number=picks, start=times, length=st.sampled_from([1, 10, HOUR, 10 * HOUR, MAX]))
    def delete(self, number, start, length) -> None:
        known, stream = self.pick(number)
        end = min(start + length, LAST_TIME + 1)
        assert stream.delete(start, end) == known.model.delete(start, end)

    # -- upkeep

    @rule(number=picks)
    def flush(self, number) -> None:
        known, stream = self.pick(number)
        assert stream.flush() == known.model.version

    @rule()
    def flush_all(self) -> None:
        self.db.flush()

    @rule()
    def upkeep(self) -> None:
        self.db.upkeep.run_once()

    @rule()
    def compact(self) -> None:
        self.db.compact()

    @rule(number=picks, back=picks)
    def prune(self, number, back) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        stream.set_oldest_version(version)
        allowed = min([version, *(pin.get(known.uuid, FIRST_VERSION) for pin in self.pins.values())])
        known.oldest = max(known.oldest, allowed)
        assert max(stream.oldest_version, FIRST_VERSION) == known.oldest

    @rule(number=picks)
    def obliterate(self, number) -> None:
        if len(self.known) > 1:
            known, stream = self.pick(number)
            stream.obliterate()
            self.known.remove(known)
            self.burnt.append(known.uuid)

    # -- snapshots

    @precondition(lambda self: len(self.pins) < 2)
    @rule()
    def pin(self) -> None:
        name = f"pin{len(self.pins)}"
        self.db.snapshot(name).close()
        self.pins[name] = {known.uuid: known.model.version for known in self.known}

    @precondition(lambda self: self.pins)
    @rule()
    def unpin(self) -> None:
        name, _ = self.pins.popitem()
        self.db.drop_snapshot(name)

    @precondition(lambda self: len(self.views) < 3)
    @rule(number=picks, back=picks)
    def hold(self, number, back) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        self.views.append((stream.at(version), points(known.model.at(version))))

    # -- lives

    @rule()
    def restart(self) -> None:
        self.release()
        self.machine.restart()

    @rule(seed=st.integers(0, 1 << 30), mode=st.sampled_from(MODES))
    def lose_power(self, seed, mode) -> None:
        self.release()
        self.machine.lose_power(random.Random(seed), mode)

    # -- reading

    @rule(number=picks, back=picks, start=times, length=st.sampled_from([1, 30, HOUR, 20 * HOUR, MAX]))
    def read_values(self, number, back, start, length) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        end = min(start + length, LAST_TIME + 1)
        expected = known.model.raw(start, end, version)
        assert points(stream.values(start, end, version)) == points(expected)
        assert stream.count(start, end, version) == len(expected)

    @rule(number=picks, back=picks, start=times, n=st.integers(1, 9), width=st.sampled_from([1, 7, 60, HOUR, 5 * HOUR]))
    def read_windows(self, number, back, start, n, width) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        end = min(start + n * width, LAST_TIME + 1)
        if end - start >= width:
            found = stream.windows(start, end, width, version=version)
            compare_windows(found, known.model.windows(start, end, width, version))

    @rule(number=picks, back=picks, width=st.sampled_from([0, 3, 10, 20, 40, 55, 61]), low=times, high=times)
    def read_aligned_windows(self, number, back, width, low, high) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        start, end = min(low, high), min(max(low, high) + 1, LAST_TIME + 1)
        found = stream.aligned_windows(start, end, width, version=version)
        compare_windows(found, known.model.aligned_windows(start, end, width, version))

    @rule(number=picks, back=picks, time=times, backward=st.booleans())
    def read_nearest(self, number, back, time, backward) -> None:
        known, stream = self.pick(number)
        version = self.version(known, back)
        expected = known.model.nearest(time, backward, version)
        assert stream.nearest(time, backward, version) == (None if expected is None else tuple(expected))

    @rule(number=picks, first=picks, last=picks, resolution=st.sampled_from([0, 0, 5, 30]))
    def read_changes(self, number, first, last, resolution) -> None:
        known, stream = self.pick(number)
        low, high = sorted((self.version(known, first), self.version(known, last)))
        found = [(int(s), int(e)) for s, e in stream.changes(low, high, resolution)]
        known.model.check_changes(found, low, high, resolution)

    @rule(number=picks, past=st.integers(1, 3))
    def versions_outside_are_refused(self, number, past) -> None:
        known, stream = self.pick(number)
        refused = [known.model.version + past]
        if known.oldest > FIRST_VERSION:
            refused.append(known.oldest - 1)
        for version in refused:
            with pytest.raises(errors.VersionNotAvailable):
                stream.values(version=version)

    @precondition(lambda self: self.pins)
    @rule()
    def read_pins(self) -> None:
        assert sorted(self.pins) == [row.name for row in self.db.snapshots()]
        for name, versions in self.pins.items():
            with self.db.open_snapshot(name) as snapshot:
                for known in self.known:
                    version = versions.get(known.uuid, FIRST_VERSION)
                    stream = self.db.streams.get(known.uuid)
                    assert snapshot.version(stream) == version
                    with snapshot.stream(stream) as view:
                        assert points(view.values()) == points(known.model.at(version))

    @precondition(lambda self: self.views)
    @rule()
    def read_held(self) -> None:
        for view, expected in self.views:
            assert points(view.values()) == expected

    @invariant()
    def latest_is_the_models(self) -> None:
        if not hasattr(self, "known"):
            return
        assert self.db.poisoned is None
        assert not self.db.degraded
        assert not self.db.version_gaps
        for known in self.known:
            stream = self.db.streams.get(known.uuid)
            assert stream.version == known.model.version
            assert points(stream.values()) == points(known.model.at())
        for uuid in self.burnt[-2:]:
            with pytest.raises(errors.StreamNotFound):
                self.db.streams.get(uuid)


def points(source) -> list[tuple[int, float]]:
    if hasattr(source, "time"):
        return list(zip(source.time.tolist(), source.value.tolist(), strict=True))
    return [tuple(point) for point in source]


def compare_windows(found, expected) -> None:
    assert found.time.tolist() == [w.time for w in expected]
    assert found.count.tolist() == [w.count for w in expected]
    assert found.min.tolist() == [w.min for w in expected]
    assert found.max.tolist() == [w.max for w in expected]
    scale = max([1.0, *(abs(w.min) + abs(w.max) for w in expected)])
    np.testing.assert_allclose(found.mean, [w.mean for w in expected], rtol=1e-9, atol=scale * 1e-12)
    np.testing.assert_allclose(found.stddev, [w.stddev for w in expected], rtol=1e-6, atol=scale * 1e-6)


TestStreams = StreamMachine.TestCase
TestStreams.settings = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

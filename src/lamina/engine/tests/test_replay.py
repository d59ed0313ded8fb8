"""Recovery of a log that holds ops of every sort: what it leads to is what was acknowledged."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.engine import replay
from lamina.engine.tests.machine import Machine

S = UUID(int=1)


@pytest.fixture
def machine():
    machine = Machine()
    yield machine
    machine.off()


def columns(n, start=0):
    return list(range(start, start + n)), [float(start + i) for i in range(n)]


def test_inserts_and_batches_over_many_streams_are_replayed_in_the_order_of_the_log(machine):
    a = machine.db.streams.create("c", "a", uuid=S)
    b = machine.db.streams.create("c", "b")
    machine.db.streams.insert_many({a: columns(1), b: columns(1)})
    a.insert(*columns(1, 1))
    machine.db.streams.insert_many({a: columns(1, 2), b: columns(1, 1)})
    a.insert(*columns(1, 3))
    a = machine.kill().streams.get(S)
    assert a.version == 14
    for version in range(10, 15):
        assert a.values(version=version).time.tolist() == list(range(version - 10))


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=5))
def test_sets_of_streams_are_those_of_numpy(numbers, some):
    numbers, some = np.array(numbers, np.uint64), replay._distinct(np.array(some, np.uint64))
    assert replay._distinct(numbers).tolist() == np.unique(numbers).tolist()
    assert replay._among(numbers, some).tolist() == np.isin(numbers, some).tolist()


@pytest.mark.parametrize("points", [1, 5, 12, replay.GATHER_POINTS])
def test_streams_come_back_however_many_points_are_gathered_at_once(machine, monkeypatch, points):
    streams = [machine.db.streams.create("c", str(i)) for i in range(6)]
    for turn in range(4):
        for i, stream in enumerate(streams):
            stream.insert(*columns(1 + (i * 5 + turn) % 7, 100 * turn))
    streams[2].flush()
    expected = {stream.uuid: stream.values() for stream in streams}
    monkeypatch.setattr(replay, "GATHER_POINTS", points)
    db = machine.kill()
    assert {uuid: db.streams.get(uuid).values() for uuid in expected} == expected

"""The corpus of every target once more, and a few hundred new inputs, the same in every run."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest

from lamina.records import ops
from tests.fuzz.mutation import mutated
from tests.fuzz.runs import RUN_S, Campaign, attempt, corpus, replay
from tests.fuzz.targets import TARGETS, Target

STEPS = 200


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_garbage_is_refused_in_time_and_in_memory(name):
    assert list(replay(name, corpus(name))) == []
    campaign = Campaign(name, seed=1)
    failures = [failure for _ in range(STEPS) if (failure := campaign.step()) is not None]
    assert failures == []


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_understood(name):
    """So that what is changed of them gets far."""
    target = TARGETS[name]
    outcomes = [attempt(target, seed) for seed in target.seeds()]
    assert any(outcome.shape.startswith("taken") for outcome in outcomes)


def test_what_is_looked_for_is_found():
    def spend(_: bytes) -> None:
        began = time.process_time()
        while time.process_time() - began < RUN_S:
            continue

    def hoard(_: bytes) -> int:
        return len(bytearray(65 << 20) + b"x")

    def fall(_: bytes) -> None:
        raise KeyError("defect")

    for run, what in ((spend, "processor"), (hoard, "bytes"), (fall, "KeyError")):
        assert what in str(attempt(Target(run, (ValueError,), list), b"").failure)


def test_a_missing_check_is_found(monkeypatch):
    """Of a decoder that believes the number of labels that it reads."""
    found: list[str | None] = []

    def believing(data: bytes) -> None:
        monkeypatch.setattr(ops, "ValueError", KeyError, raising=False)  # what the check raises is not handled any more
        ops.decode_append(data)

    seeds, random = TARGETS["op-append"].seeds(), Random(1)
    target = TARGETS["op-append"]._replace(run=believing)
    for _ in range(2000):
        found.append(attempt(target, mutated(random, seeds, ())).failure)
    assert any(found)

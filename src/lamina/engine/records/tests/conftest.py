from __future__ import annotations

import pytest

from lamina.engine.records.tests.recordmodel import TINY
from lamina.engine.tests.machine import Machine


@pytest.fixture
def machine():
    machine = Machine(TINY)
    yield machine
    machine.off()


@pytest.fixture
def bucket(machine):
    return machine.db.buckets.create("b")


@pytest.fixture
def entry(bucket):
    return bucket.entry("e")

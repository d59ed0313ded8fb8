from __future__ import annotations

import pytest

from lamina.engine.points.tests.pointmodel import TINY
from lamina.engine.tests.machine import Machine


@pytest.fixture
def machine():
    machine = Machine(TINY)
    yield machine
    machine.off()

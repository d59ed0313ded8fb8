"""R9: the harnesses above can find what they are for."""

import subprocess
import sys

import pytest

from tests.reliability import mutants
from tests.reliability.report import ROOT

FORKING = {"ack-before-write"}
"""Found by kills of forked children, whose parent must have no threads."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(mutants.BY_NAME) - FORKING))
def test_a_seeded_bug_is_found(name):
    assert mutants.hunt(mutants.BY_NAME[name]).violations


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORKING))
def test_a_seeded_bug_is_found_by_kills(name):
    command = [sys.executable, "-m", "tests.reliability.mutants", "--only", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

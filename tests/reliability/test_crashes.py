"""R1, R2: kills and power loss, the CI-size; docs/reliability.md has the commands of the long version."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.reliability import crashstates
from tests.reliability.report import ROOT, Report
from tests.reliability.workload import DURABLE, WORKLOADS

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def tool(*arguments: str, timeout_s: int = 240) -> dict:
    """Run a tool in a process of its own: what forks must have no threads."""
    command = [sys.executable, "-m", "tests.reliability.kill9", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS)
def test_power_loss_takes_nothing_acknowledged(workload):
    report = Report("crashstates", 1)
    crashstates.run(report, 500, 1, [workload])
    assert report.violations == []
    assert report.cases >= 500


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("workload", DURABLE)
def test_power_loss_of_a_real_process_with_sqlite_takes_nothing_acknowledged(workload):
    report = Report("crashstates strace", 1)
    crashstates.run_strace(report, 80, 1, [workload])
    assert report.violations == []
    assert report.cases == 80


@pytest.mark.slow
def test_killed_processes_leave_everything_acknowledged():
    assert tool("--lives", "300")["cases"] == 300


@pytest.mark.slow
@needs_strace
def test_a_process_killed_at_any_of_its_first_calls_leaves_everything_acknowledged():
    assert tool("--aimed", "--most", "2")["cases"] >= 10


@pytest.mark.slow
@pytest.mark.wire
def test_killed_servers_leave_everything_acknowledged_to_clients():
    line = tool("--server", "--lives", "20")
    assert line["cases"] == 20
    assert line["acknowledged"] > 100

"""R4, R5, R6: disks that fail, lie, flip bits or lose files, the CI-size."""

import tempfile

import pytest

from tests.reliability import bitflip, faults, losses
from tests.reliability.report import Report


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_fault_at_any_early_call_loses_nothing_and_lies_about_nothing(fault):
    report = Report("faults", 1)
    faults.run(report, [fault], faults.SITES, 1)
    assert report.violations == []


@pytest.mark.slow
def test_a_fault_while_recovering_loses_nothing():
    report = Report("faults", 1)
    faults.run_recovery(report, 15, 1)
    assert report.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", bitflip.CLASSES)
def test_a_flipped_bit_is_reported_or_harmless_and_the_rest_is_readable(kind):
    report = Report("bitflip", 1)
    outcomes = bitflip.run(report, kind, 200, 1)
    assert report.violations == []
    assert outcomes["reported"] + outcomes["refused"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("case", losses.CASES)
def test_lost_and_misplaced_parts(case):
    report = losses.run(Report("losses", 1), case, 1)
    assert report.violations == []
    assert report.cases


def test_a_rebuilt_catalog_needs_no_log_for_what_is_sealed():
    with tempfile.TemporaryDirectory() as folder:
        assert losses.rebuilt_without_log(folder) == []

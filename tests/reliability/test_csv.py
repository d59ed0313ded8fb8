"""R1 and R2 for TinyFlux's CSV files, short; `python -m tests.reliability.csvlives` is the long form."""

import pytest

from lamina.tinyflux import csvfile
from tests.reliability import csvlives
from tests.reliability.report import Report


@pytest.mark.slow
def test_killed_at_any_moment_a_file_has_what_returned() -> None:
    report = Report("csvlives", 1)
    csvlives.run_lives(report, 25, 1)
    assert report.violations == []


@pytest.mark.slow
def test_power_loss_at_any_call_takes_nothing_that_returned() -> None:
    report = Report("csvlives", 2)
    csvlives.run_states(report, 300, 2)
    assert report.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_missing_sync_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle finds what it is there for."""
    after = csvlives.Recorder.after_fsync

    def forgetful(self: csvlives.Recorder, done: None, fd: int) -> None:
        if (self.open_files[fd] is csvlives.FOLDER) != (kind == "folder"):
            after(self, done, fd)

    monkeypatch.setattr(csvlives.Recorder, "after_fsync", forgetful)
    monkeypatch.setattr(Report, "write", lambda *_: None)
    report = Report("csvlives", 3)
    csvlives.run_states(report, 200, 3)
    assert report.violations
    assert csvfile.CALLS is csvfile.Calls

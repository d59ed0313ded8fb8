"""The four forms of time, and back."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import reduct.time
from hypothesis import given
from hypothesis import strategies as st

from lamina.reduct import time as ours

AT = 1_706_868_000_123_456


@pytest.fixture(params=["UTC", "America/New_York"])
def _zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    "moment",
    [5, -5, 0, True, 2**64, 5.5, 1706868002.123456, 1e12, "2024-02-02T10:00:00", "2024-02-02T10:00:00Z", "2024-02-02",
     "20240202T100000", "2024-02-02T10:00:00.123456+02:00", datetime(2024, 2, 2, 10),
     datetime(2024, 2, 2, 10, tzinfo=UTC), datetime(2024, 2, 2, 10, tzinfo=timezone(timedelta(hours=-3)))],
)  # fmt: skip
def test_every_form_is_the_same_as_with_reduct_py(moment):
    assert ours.unix_timestamp_from_any(moment) == reduct.time.unix_timestamp_from_any(moment)


@pytest.mark.usefixtures("_zone")
def test_back_is_the_same_as_with_reduct_py():
    for name in ("unix_timestamp_to_datetime", "unix_timestamp_to_iso", "unix_timestamp_to_py_timestamp"):
        for moment in (AT, 0, 1_706_868_000_000_000):
            assert getattr(ours, name)(moment) == getattr(reduct.time, name)(moment)


@given(st.integers(0, 2**52))
def test_datetimes_are_exact(moment):
    """Those of reduct-py go through a float: some are a microsecond off."""
    assert ours.unix_timestamp_from_any(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)) == moment
    if os.environ.get("TZ", "UTC") == "UTC":
        assert ours.unix_timestamp_from_any(ours.unix_timestamp_to_datetime(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        ("nope", ValueError),
        ("", ValueError),
        (None, TypeError),
        (float("inf"), OverflowError),
        (float("nan"), ValueError),
    ],
)
def test_what_is_no_time(moment, error):
    with pytest.raises(error):
        ours.unix_timestamp_from_any(moment)

"""Reading files in steps and columns gives what reading them row by row gives."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamina.tinyflux import Point, TinyFlux, stores
from lamina.tinyflux.rows import parse
from lamina.tinyflux.times import microseconds_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.one_of(
    st.datetimes().map(datetime.isoformat),
    st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat()),
    st.sampled_from(["2024-02-29T00:00:00", "2024-01-01T00:00:00.1234567", "2024-W05-3", "2024-01-01 10:00+05:00"]),
)


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=8))
def test_times_are_those_of_fromisoformat(texts: list[str]) -> None:
    expected = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
    assert microseconds_of(texts).tolist() == [(time - EPOCH) // (time.resolution) for time in expected]


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00",
        "2024-00-01T00:00:00",
        "2024-01-01T24:00:00",
        "2024-01-01x00:00:00.123456",
        "",
        "x" * 19,
    ],
)
def test_times_that_do_not_exist_are_refused(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        with pytest.raises(ValueError):
            microseconds_of(["2024-01-01T00:00:00", text])


LINES = st.lists(
    st.sampled_from(
        [
            "2024-01-01T00:00:00,m,_tag_a,x,_field_b,1.0",
            "2024-01-01T00:00:01,m,_tag_a,y,_field_b,2.5",
            "2024-01-01T00:00:02.000001,ü,_tag_a,_none,_field_b,_none",
            "2024-01-01T00:00:03,m,_tag_a,z,_field_b,7",
            "2024-01-01T00:00:04,m",
            "2024-01-01T00:00:05,m,t_a,x,t_a,y,f_b,-3,f_b,1e5",
            '2024-01-01T00:00:06,"a ""q"", b",_tag_a,"two\r\nlines"',
        ]
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(LINES, st.sampled_from(["\r\n", "\n", "\r"]), st.sampled_from([90, 200, 1 << 19]), st.booleans())
@example(
    [
        "2024-01-01T00:00:05,m,t_a,x,f_b,-3",
        "2024-01-01T00:00:00,m,_tag_a,x,_field_b,1.0",
        "2024-01-01T00:00:05,m,t_a,x,f_b,-3",
    ],
    "\r\n",
    1 << 19,
    True,
)
@example(["2024-01-01T00:00:00,m,_tag_a,x,_field_b,1.0"] * 5, "\r\n", 90, True)
def test_any_step_gives_the_same_points(lines: list[str], ending: str, step: int, columns: bool) -> None:
    data = "".join(line + ending for line in lines).encode()
    rows = parse(data, 0, "utf-8")
    expected = [Point()._deserialize_from_list(row) for row in rows.rows]
    assert len(expected) == len(lines)
    starts = [sum(len((line + ending).encode()) for line in lines[:n]) for n in range(len(lines))]
    assert rows.starts == starts
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(stores, "_STEP", step)
        patch.setattr(stores, "_MANY", 0)
        patch.setattr(stores, "LARGE", 0 if columns else 10**9)
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        with TinyFlux(path) as db:
            assert list(map(repr, db)) == list(map(repr, expected))
            assert list(db._store._starts)[: len(lines)] == starts

"""Windows agree with NumPy over the points themselves, and read little of the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.points.batch import Batch
from lamina.points.field import FLOAT, INT, FieldColumn
from lamina.points.locate import locate
from lamina.points.marks import PAGE_BITS, sizes
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.state import MeasurementState, empty_state
from lamina.points.tests.sections import Store
from lamina.points.tests.strategies import batch_of
from lamina.points.tests.test_search import BOUNDS, STEPS, World
from lamina.points.tests.test_section import large
from lamina.points.windows import windows


def expected(
    points: list[Point], field: str, start: int | None, end: int | None, width: int, keys: tuple[str, ...] = ()
) -> dict[Any, list[float]]:
    """Numbers by group and window."""
    out: dict[Any, list[float]] = {}
    for point in points:
        assert point.time is not None
        time, value = (point.time - EPOCH) // MICROSECOND, point.fields.get(field)
        inside = (start is None or time >= start) and (end is None or time < end)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        if inside and number:
            out.setdefault((*[point.tags.get(key) for key in keys], time // width * width), []).append(float(value))
    return out


def check(table: Any, truth: dict[Any, list[float]]) -> None:
    rows = list(table)
    by = len(table.by)
    assert {row[: by + 1] for row in rows} == set(truth)
    assert len(rows) == len(truth)
    for row in rows:
        values = np.array(truth[row[: by + 1]])
        count, low, mean, high, stddev = row[by + 1 :]
        assert (count, low, high) == (len(values), values.min(), values.max())
        with np.errstate(all="ignore"):
            scale = float(np.abs(values).max())
            np.testing.assert_allclose(mean, np.mean(values / scale) * scale if 0 < scale < np.inf else np.mean(values))
            if scale < 1e100:
                np.testing.assert_allclose(stddev, values.std(), rtol=1e-9, atol=1e-9 * max(scale, 1))


@settings(deadline=None, max_examples=100)
@given(STEPS, BOUNDS, BOUNDS, st.sampled_from([1, 250_000, 700_000, 3_600_000_000, 2**50]), st.data())
def test_windows_are_what_numpy_says_of_the_points(
    steps: list[tuple[str, Any]], start: int | None, end: int | None, width: int, data: st.DataObject
) -> None:
    world = World()
    for what, argument in steps:
        living = sorted(world.history[-1])
        if what == "insert":
            world.insert(argument)
        elif what == "update" and argument and len(living) >= len(argument):
            world.replace(living[: len(argument)], argument)
        elif what == "remove":
            world.replace(living[:argument], [])
        elif what == "seal":
            world.seal()
    seq = data.draw(st.integers(0, len(world.history) - 1))
    points = list(world.history[seq].values())
    for keys in ((), ("a",), ("b", "a")):
        found = windows([world.state], seq, world.store.open, "a", start, end, width, keys)
        check(found, expected(points, "a", start, end, width, keys))
        order = [[(v is not None, v or "") for v in row[: len(keys)]] + [row[len(keys)]] for row in found]
        assert order == sorted(order)


_, QUARTER, CHUNK = sizes(PAGE_BITS)
N = 5 * CHUNK + 2 * QUARTER + 300


def numeric(n: int, random: np.random.Generator, kind: str) -> FieldColumn:
    if kind == "ints":
        return FieldColumn(INT, None, random.integers(-1000, 1000, n))
    values = random.normal(1e9, 1, n) if kind == "far" else random.normal(20, 3, n)
    return FieldColumn(FLOAT, None, values.view(np.int64))


def column_batch(times: np.ndarray, column: FieldColumn) -> Batch:
    zeros = np.zeros(len(times), np.int32)
    return Batch(times, zeros, [()], zeros, [("x",)], {"x": column})


def by_numpy(times: np.ndarray, values: np.ndarray, width: int) -> list[tuple[float, ...]]:
    out = []
    for k in np.unique(times // width).tolist():
        some = values[times // width == k]
        out.append((k * width, len(some), some.min(), some.mean(), some.max(), some.std()))
    return out


@pytest.mark.parametrize("kind", ["floats", "far", "ints", "mixed"])
@pytest.mark.parametrize("spacing", ["line", "jitter", "equal"])
@pytest.mark.parametrize("windows_of", [7, 40, 3000])
def test_windows_of_many_pages_with_dead_rows(kind: str, spacing: str, windows_of: int) -> None:
    random = np.random.default_rng(5)
    times = np.arange(N) * 1000 + 1_700_000_000_000_000
    if spacing == "jitter":
        times += random.integers(-400, 400, N)
    if spacing == "equal":
        times = times // 500_000 * 500_000
    if kind == "mixed":
        batch = large(N)._replace(time_us=times)
        field, values = "mixed", batch.fields["mixed"].numbers()[0]
    else:
        batch = column_batch(times, numeric(N, random, kind))
        field, values = "x", batch.fields["x"].numbers()[0]
    store = Store()
    section, _ = store.write(batch, np.arange(N, dtype=np.uint64))
    dead = np.sort(random.choice(N, 5, replace=False)).astype(np.uint32)
    state = empty_state((section,), 9)
    width = int(times[-1] - times[0]) // windows_of
    for now, gone in ((state, dead[:0]), (state.kill(np.empty(0, np.intp), {section.row.id: dead}, 10), dead)):
        keep = ~np.isnan(values)
        keep[gone] = False
        start, end = int(times[700]), int(times[N - 800])
        for low, high in ((None, None), (start, None), (start, end)):
            inside = keep & (times >= (low or 0)) & (times < (high or 2**62))
            found = np.array([*windows([now], now.seq, store.open, field, low, high, width)])
            truth = np.array(by_numpy(times[inside], values[inside], width))
            assert found.shape == truth.shape
            assert np.array_equal(found[:, [0, 1, 2, 4]], truth[:, [0, 1, 2, 4]])
            # A mean near 1e9 is rounded to 1e-7, which the deviation from it inherits.
            np.testing.assert_allclose(found, truth, rtol=1e-7 if kind == "far" else 1e-9)


@settings(deadline=None)
@given(st.integers(1, 3 * CHUNK), st.integers(0, 3), st.lists(st.integers(-5, 60_000), max_size=8))
def test_times_are_located_as_searchsorted_does(n: int, largest_step: int, edges: list[int]) -> None:
    random = np.random.default_rng(n)
    times = np.cumsum(random.integers(0, largest_step + 1, n))
    store = Store()
    section, _ = store.write(column_batch(times, FieldColumn(INT, None, times)), np.arange(n, dtype=np.uint64))
    asked = np.array([*edges, int(times[0]), int(times[-1]), int(times[n // 2])])
    assert locate(store.reader(section).time, asked).tolist() == np.searchsorted(times, asked).tolist()


def many(store: Store, n: int, random: np.random.Generator) -> MeasurementState:
    """n points in sections of 65,536, at 1 kHz with jitter."""
    sections = []
    for at in range(0, n, 65_536):
        times = np.arange(at, at + 65_536) * 1000 + random.integers(0, 300, 65_536)
        batch = column_batch(times, numeric(65_536, random, "floats"))
        sections.append(store.write(batch, np.arange(at, at + 65_536, dtype=np.uint64))[0])
    return empty_state(tuple(sections), 10**6)


def test_a_thousand_windows_read_at_most_a_twentieth_of_the_column() -> None:
    """At 10,000 points a window, as 1,000 windows have of 1e7 points: fewer of both, the same share."""
    store, n = Store(), 32 * 65_536
    state = many(store, n, np.random.default_rng(3))
    readers = {section.row.id: store.open(section) for section in state.sections}
    stored = sum(r.reader.time.stored_bytes + r.reader.fields["x"].numbers.stored_bytes for r in readers.values())
    before = store.bytes_read
    count = n // 10_000
    found = windows([state], 10**6, lambda s: readers[s.row.id], "x", None, None, 1000 * n // count + 1)
    assert len(found) == count
    assert int(found.count.sum()) == n
    assert store.bytes_read - before <= stored / 20
    assert store.bytes_read - before > 0


def test_windows_of_nothing_and_bad_ones() -> None:
    state = empty_state().insert(batch_of([Point(fields={"t": "x", "b": True, "n": None})]), np.array([1], "u8"), 1)
    for field in ("t", "b", "n", "absent"):
        assert len(windows([state], 1, Store().open, field, None, None, 10)) == 0
        assert len(windows([state], 1, Store().open, field, None, None, 10, ["a"])) == 0
    assert len(windows([], 1, Store().open, "t", None, None, 10)) == 0
    with pytest.raises(InvalidArgument, match="width 0"):
        windows([state], 1, Store().open, "t", None, None, 0)
    with pytest.raises(InvalidArgument, match="each tag key once"):
        windows([state], 1, Store().open, "t", None, None, 1, ["a", "a"])


def test_tables_of_windows() -> None:
    pytest.importorskip("pyarrow")
    listed = [Point(time=EPOCH, tags={"time": "t"}, fields={"x": float(i)}) for i in range(3)]
    state = empty_state().insert(batch_of(listed), np.arange(3, dtype=np.uint64), 1)
    table = windows([state], 1, Store().open, "x", None, None, 10, ["time"])
    assert repr(table) == "<lamina.WindowTable n=1, 0 .. 0, by time>"
    assert table.to_arrow().to_pylist() == [
        {"_time": "t", "time": EPOCH, "count": 3, "min": 0.0, "mean": 1.0, "max": 2.0, "stddev": (2 / 3) ** 0.5}
    ]
    pytest.importorskip("pandas")
    assert table.to_pandas()["mean"].tolist() == [1.0]
    pytest.importorskip("polars")
    assert table.to_polars()["count"].to_list() == [3]

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.codecs import grid
from lamina.errors import Corrupt
from lamina.testing import data


def roundtrip(times):
    payload = grid.encode(times)
    if payload is None:
        return None
    assert len(payload) == 32
    out = np.empty(len(times), np.int64)
    grid.decode_into(payload, out)
    np.testing.assert_array_equal(out, times)
    return out


@pytest.mark.parametrize("rate", [1, 3, 7, 24, 25, 30, 50, 60, 100, 120, 128, 256, 1000, 1024, 1200, 44_100, 48_000])
@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
@pytest.mark.parametrize("first", [0, 1, 12_345])
def test_every_usual_rate_is_a_grid(rate, unit, first):
    index = np.arange(first, first + 1500)
    times = data.START + index * (1_000_000_000 // unit) // rate * unit
    if rate * unit < 500_000_000:  # else many times are equal
        assert roundtrip(times) is not None


@given(st.integers(0, 10**12), st.integers(1, 10**6), st.integers(0, 10**6), st.integers(5, 3000), st.integers(1, 50))
def test_whatever_is_taken_for_a_grid_comes_back_exactly(num, den, phase, n, unit):
    times = (np.arange(n) * num + phase % den) // den * unit
    roundtrip(times)


@given(st.lists(st.integers(0, 3), min_size=5, max_size=40), st.integers(0, 2**61), st.integers(1, 10**9))
def test_steps_of_a_few_sizes_are_exact_or_refused(steps, first, unit):
    roundtrip(first + np.cumsum(steps) * unit)


def test_irregular_times_are_no_grid():
    assert grid.encode(data.times("jittered", 1000)) is None
    assert grid.encode(data.times("poisson", 1000)) is None
    assert grid.encode(np.delete(data.times("alternating", 1000), 500)) is None
    assert grid.encode(np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4])) is None


def test_the_ends_of_time_are_a_grid_without_overflow():
    roundtrip(np.array([0, 1 << 60, 1 << 61, 3 << 60, (1 << 62) - 1]))
    roundtrip(np.linspace(0, (1 << 62) - 1, 2000).astype(np.int64))


def test_a_damaged_grid_is_corrupt():
    payload = grid.encode(data.times("regular", 10))
    with pytest.raises(Corrupt):
        grid.decode_into(payload[:31], np.empty(10, np.int64))
    with pytest.raises(Corrupt):
        grid.decode_into(payload[:24] + bytes(8), np.empty(10, np.int64))

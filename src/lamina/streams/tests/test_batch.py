"""A batch that fits already goes the short way, to the same result as the general one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.streams import batch

TIMES = st.lists(st.integers(-(2**60), 3 * 2**60 - 2), max_size=20)


@given(TIMES, st.data())
def test_short_way_equals_the_general_one(times, data):
    n = len(times)
    values = data.draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=n, max_size=n))
    columns = np.array(times, np.int64), np.array(values, np.float64)
    spread = np.zeros((2, n), np.int64), np.zeros((n, 2))
    spread[0][0], spread[1][:, 0] = columns
    general = batch.checked(list(times), list(values))
    for fast in (batch.checked(*columns), batch.checked(spread[0][0], spread[1][:, 0])):
        assert fast[0].tolist() == general[0].tolist()
        assert fast[1].tobytes() == general[1].tobytes()
        assert all(column.flags.c_contiguous for column in fast)


def test_arrays_of_the_right_kind_are_not_copied():
    times, values = np.arange(5), np.zeros(5)
    found = batch.checked(times, values)
    assert found[0] is times
    assert found[1] is values


@pytest.mark.parametrize("shape", [(2, 2), ()])
def test_columns_are_one_dimensional(shape):
    with pytest.raises(InvalidArgument, match="two columns of one length"):
        batch.checked(np.zeros(shape, np.int64), np.zeros(shape))

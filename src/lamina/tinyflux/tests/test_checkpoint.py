"""A store opened by its checkpoint is the store its CSV says, also when it goes on from there."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamina.tinyflux import TinyFlux, checkpoint, stores
from lamina.tinyflux.tests.strategies import OURS, QUERIES, made, points

INTEGERS = st.sampled_from([np.int64, np.int32, np.uint8]).flatmap(
    lambda dtype: arrays(dtype, st.integers(0, 9), elements=st.sampled_from([0, 1, 2, 3, 127, np.iinfo(dtype).max]))
)
RUNS = st.builds(
    lambda first, step, n: np.arange(n, dtype=np.int64) * step + first,
    st.integers(-(2**40), 2**40),
    st.integers(-(2**40), 2**40),
    st.integers(0, 9),
)
FLOATS = arrays(np.float64, st.integers(0, 9))


@given(st.lists(st.one_of(INTEGERS, RUNS, FLOATS), max_size=4))
def test_arrays_come_back_as_they_were(kept: list[Any]) -> None:
    described, parts = zip(*map(checkpoint._stored, kept), strict=True) if kept else ((), ())
    back = list(checkpoint._arrays(b"".join(parts), 0, list(described)))
    for array, again in zip(kept, back, strict=True):
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


def test_small_integers_take_a_byte_and_positions_none() -> None:
    assert len(checkpoint._stored(np.array([3, 1, 2] * 8, np.int32))[1]) == 24
    assert checkpoint._stored(np.arange(7)) == (["<i8", 7, 0, 1], b"")


@settings(max_examples=25, deadline=None)
@given(st.lists(points(), max_size=12), st.lists(points(), max_size=6), QUERIES, QUERIES)
def test_it_goes_on_as_one_that_read_the_file(stored: Any, more: Any, changed: Any, removed: Any) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(stores, "LARGE", 2)
        said = []
        for kept in (True, False):
            path = Path(folder, f"{kept}.csv")
            with TinyFlux(path, checkpoint=kept) as db:
                db.insert_multiple(map(made, stored))
            with TinyFlux(path, checkpoint=kept) as db:
                read = repr(db.all())
                db.insert_multiple(map(made, more))
                db.update(changed(OURS), tags={"new": "t"}, fields={"a": 2.0**60})
                db.remove(removed(OURS))
                db.insert_multiple(map(made, more))
                said.append((read, repr(db.all()), path.read_bytes()))
            with TinyFlux(path, checkpoint=kept) as db:
                assert repr(db.all()) == said[-1][1]
        assert said[0] == said[1]

"""Catalog rows of sections: few rows are summed up as many are."""

from __future__ import annotations

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.engine.records import sections
from lamina.records.row import ROW

FIELDS = st.tuples(st.integers(0, 60), st.integers(0, 70_000), st.integers(0, 90), st.integers(0, 3))


@given(st.lists(FIELDS, min_size=1, max_size=40), st.lists(st.integers(0, 60), unique=True, max_size=8))
def test_few_rows_are_summed_up_as_many_are(fields, begins):
    rows = np.zeros(len(fields), ROW)
    for row, (time, size, meta, file) in zip(rows, sorted(fields), strict=True):
        row["time"], row["size"], row["meta"], row["file"], row["stored"] = time, size, meta, file, size
    starts = np.array(sorted(begins), np.uint64)
    few = sections.blocks_of_rows(rows, starts), sections.living_files(rows)
    with mock.patch.object(sections, "FEW_ROWS", 0):
        assert few == (sections.blocks_of_rows(rows, starts), sections.living_files(rows))

"""Columns against a plain list of points, through appends, removals and replacements."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.points.columns import Columns, Group, located, positions

NUMBERS = st.sampled_from([1.5, -0.0, 3, None, 2**60, float("inf")])
ROWS = st.tuples(
    st.integers(0, 50),
    st.sampled_from(["m", "n"]),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", None]), max_size=2),
    st.dictionaries(st.sampled_from("cd"), NUMBERS, max_size=2),
)


def groups(rows: list[Any], places: list[int]) -> list[Group]:
    by_keys: dict[Any, list[int]] = {}
    for at, (_, _, tags, fields) in enumerate(rows):
        by_keys.setdefault((tuple(tags), tuple(fields)), []).append(at)
    return [
        Group(
            keys[0],
            keys[1],
            np.array([places[at] for at in members]),
            np.array([rows[at][0] for at in members]),
            [rows[at][1] for at in members],
            [[rows[at][2][key] for at in members] for key in keys[0]],
            [[rows[at][3][key] for at in members] for key in keys[1]],
        )
        for keys, members in by_keys.items()
    ]


def listed(columns: Columns, by_time: bool = False) -> list[Any]:
    found = columns.everything()
    out = []
    for shape, row in zip(*located(found, by_time), strict=True):
        time, *rest = shape.values(row)
        out.append((time.microseconds, *rest))
    return out


@settings(deadline=None)
@given(st.lists(ROWS, max_size=10), st.lists(ROWS, max_size=5), st.data())
def test_columns_hold_what_a_list_holds(first: list[Any], more: list[Any], data: st.DataObject) -> None:
    columns = Columns()
    columns.extend(groups(first, list(range(len(first)))))
    columns.extend(groups(more, list(range(len(first), len(first) + len(more)))))
    model = first + more
    assert repr(listed(columns)) == repr(model)
    old = columns
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(model))) if model else st.nothing())))
    fresh = data.draw(st.lists(ROWS, min_size=len(chosen), max_size=len(chosen)))
    columns = columns.replaced(np.array(chosen, np.int64), groups(fresh, chosen))
    before = list(model)
    for place, row in zip(chosen, fresh, strict=True):
        model[place] = row
    assert repr(listed(columns)) == repr(model)
    gone = sorted(data.draw(st.sets(st.sampled_from(range(len(model))) if model else st.nothing())))
    columns = columns.removed(np.array(gone, np.int64))
    model = [row for at, row in enumerate(model) if at not in gone]
    assert repr(listed(columns)) == repr(model)
    assert repr(listed(columns, by_time=True)) == repr(sorted(model, key=lambda row: row[0]))
    assert columns.n == len(model)
    found = columns.everything()
    assert not found or positions(found).tolist() == list(range(len(model)))
    # What somebody read earlier stays readable.
    assert repr(listed(old)) == repr(before)

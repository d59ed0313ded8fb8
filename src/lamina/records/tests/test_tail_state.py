"""Tails, states and sources against plain lists: what is visible as of every seq."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.records.labels import LabelSet
from lamina.records.row import FOREVER, ROW
from lamina.records.source import LAST_TIME, TailSource, bounds, merged
from lamina.records.state import EntryState, empty_state

TYPES = ("text/plain", "image/png")


class Row:
    """One version of a record."""

    def __init__(self, time: int, labels: LabelSet, born: int) -> None:
        self.time, self.labels, self.born, self.died = time, labels, born, FOREVER

    def lives(self, seq: int) -> bool:
        return self.born <= seq < self.died


def rows_of(times: list[int], sets: list[int], seq: int) -> np.ndarray:
    rows = np.zeros(len(times), ROW)
    rows["time"], rows["set"], rows["seq"] = times, sets, seq
    rows["type"] = np.arange(len(times)) % 2
    return rows


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, EntryState]], list[Row]]:
    """States by seq, and all versions there were. Living times are unique."""
    state = empty_state()
    rows: list[Row] = []
    states = [(0, state)]
    for seq in range(1, draw(st.integers(1, 12))):
        living = [row for row in rows if row.died == FOREVER]
        what = draw(st.sampled_from(["add", "add", "one", "late", "kill", "update"]))
        if what in ("kill", "update") and living:
            chosen = draw(st.sampled_from(living))
            at = state.find_in_tail(chosen.time)
            assert at >= 0
            state.kill_in_tail(at, seq)
            chosen.died = seq
            state = state.changed(state.sections, seq)
            if what == "update":
                labels = (("u", str(seq)),)
                state = state.append(rows_of([chosen.time], [0], seq), [labels], TYPES, seq)
                rows.append(Row(chosen.time, labels, seq))
        else:
            taken = {row.time for row in living}
            after = max(taken, default=0)
            if what == "late":
                times = sorted(draw(st.sets(st.integers(0, 40), max_size=3)) - taken)
            else:
                times = [after + 1 + i for i in range(1 if what == "one" else draw(st.integers(1, 5)))]
            if not times:
                continue
            sets: list[LabelSet] = [(("a", str(time % 3)),) for time in times]
            if what == "one":
                row = rows_of(times, [0], seq)[0].item()[:8]
                state = state.append_one(row, sets[0], TYPES[0], seq)
            else:
                state = state.append(rows_of(times, list(range(len(times))), seq), sets, TYPES, seq)
            rows += [Row(time, labels, seq) for time, labels in zip(times, sets, strict=True)]
        states.append((seq, state))
    return states, rows


def seen(source: Any, start: int = 0, stop: int = LAST_TIME + 1) -> list[tuple[int, LabelSet]]:
    index = source.select(start, stop)
    return list(zip(source.times(index).tolist(), source.label_sets(index), strict=True))


def expected(rows: list[Row], seq: int, start: int = 0, stop: int = LAST_TIME + 1) -> list[tuple[int, LabelSet]]:
    return sorted((row.time, row.labels) for row in rows if row.lives(seq) and start <= row.time < stop)


@given(histories(), st.integers(0, 45), st.integers(0, 45))
def test_every_state_shows_every_seq_up_to_its_own(history, start, stop):
    """Also those that were replaced: what grows in place is behind what they see."""
    states, rows = history
    for at, state in states:
        for seq in range(at + 1):
            source = TailSource(state, seq)
            assert seen(source) == expected(rows, seq)
            assert seen(source, start, stop) == expected(rows, seq, start, stop)
            index = source.select(0, LAST_TIME + 1)
            for name in ("a", "u", "none"):
                column = source.label(name, index)
                found = [None] * len(index) if column is None else [
                    column.values[code] if code >= 0 else None for code in column.codes]  # fmt: skip
                assert found == [dict(labels).get(name) for _, labels in expected(rows, seq)]


@given(histories(), st.integers(0, 45))
def test_the_last_state_finds_what_lives(history, time):
    states, rows = history
    _, state = states[-1]
    found = state.find_in_tail(time)
    living = [row for row in rows if row.time == time and row.died == FOREVER]
    assert (found >= 0) == bool(living)
    if living:
        tail = state.tail
        assert int(tail.rows["time"][found]) == time
        assert tail.sets[int(tail.rows["set"][found])] == living[0].labels
    assert sorted(state.tail.rows["time"][state.living()].tolist()) == sorted(
        row.time for row in rows if row.died == FOREVER)  # fmt: skip


@given(histories(), st.lists(st.integers(0, 2), max_size=60))
def test_several_sources_are_merged_in_order(history, homes):
    """Rows of one tail, dealt out to three sources."""
    states, rows = history
    at, state = states[-1]
    source = TailSource(state, at)
    index = source.select(0, LAST_TIME + 1)
    homes = (homes * len(index) + [0] * len(index))[: len(index)]
    parts = [TailSource.of_rows(state, index[np.array(homes, int) == home]) for home in range(3)]
    batch = merged(parts, 0, LAST_TIME + 1)
    wanted = expected(rows, at)
    taken, types = source.take(index), batch.types()
    labels = batch.later_label_sets()()
    assert batch.times.tolist() == taken["time"].tolist() == [time for time, _ in wanted]
    for field in ("time", "size", "where", "stored", "crc", "file", "meta", "codec"):
        assert batch.field(field).tolist() == taken[field].tolist()
    assert labels == [labels for _, labels in wanted]
    assert [types.values[code] for code in types.codes] == [source.types()[number] for number in taken["type"]]
    assert set(batch.label_names) >= {name for labels in labels for name, _ in labels}
    column = batch.label("a")
    if column is not None:
        found = [column.values[code] if code >= 0 else None for code in column.codes]
        assert found == [dict(labels).get("a") for _, labels in wanted]
    half = batch.part(slice(0, len(batch) // 2))
    assert half.later_label_sets()() == labels[: len(batch) // 2]
    assert merged(parts, 5, 20).times.tolist() == [time for time, _ in wanted if 5 <= time < 20]


def test_the_ends_of_time():
    times = np.array([0, 5, LAST_TIME], np.uint64)
    assert bounds(times, 0, LAST_TIME + 1) == (0, 3)
    assert bounds(times, LAST_TIME, LAST_TIME + 1) == (2, 3)
    assert bounds(times, 0, LAST_TIME) == (0, 2)
    assert bounds(times, LAST_TIME + 1, LAST_TIME + 1) == (3, 3)
    assert bounds(times, 6, 5) == (2, 2)


def test_an_index_of_times_is_kept_up():
    state = empty_state().append(rows_of([5, 3], [0, 0], 1), [()], TYPES, 1)
    assert (state.find_in_tail(5), state.find_in_tail(3), state.find_in_tail(4)) == (0, 1, -1)
    after = state.append(rows_of([4], [0], 2), [()], TYPES, 2)
    assert after.find_in_tail(4) == 2
    assert state.find_in_tail(4) == -1, "an older state does not see it"
    after.kill_in_tail(2, 3)
    assert after.find_in_tail(4) == -1

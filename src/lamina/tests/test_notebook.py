"""What a notebook shows."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import lamina
from lamina.columns import Summaries
from lamina.display import PREVIEW_BYTES, moment, preview, table
from lamina.points.point import Point

T0 = datetime(2024, 5, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


def test_a_stream_is_a_plot_with_its_facts() -> None:
    with lamina.open(":memory:") as db:
        stream = db.streams.create("plant", EVIL, unit="m/s²")
        assert "no points" in stream._repr_html_()
        times = np.arange(1000) * 10**9
        stream.insert(times, np.where(times < 500 * 10**9, 1.0, 3.0))
        shown = stream._repr_html_()
    assert "1,000 points, 1970-01-01 00:00:00 to 1970-01-01 00:16:39, version 11" in shown
    assert "[m/s²] in plant" in shown
    assert "<title>1 to 3</title>" in shown
    assert EVIL not in shown
    [line] = re.findall(r'<path d="([^"]+)" stroke="#08519c"', shown)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)h0", line)]
    assert len(heights) == 240
    assert (min(heights[:119]), max(heights[121:])) == (136.0, 4.0)  # low values lie at the bottom


def test_a_gap_interrupts_the_line_and_one_value_lies_in_the_middle() -> None:
    nothing = np.zeros(3)
    windows = Summaries(np.arange(3), np.ones(3), np.ones(3), np.ones(3), np.array([1, 0, 1], np.uint64), nothing)
    assert re.findall(r"[ML][\d.]+ 70\.0h0", windows._repr_html_()) == ["M120.0 70.0h0", "M600.0 70.0h0"]
    assert "svg" not in Summaries(*[np.empty(0)] * 4, np.empty(0, np.uint64), np.empty(0))._repr_html_()


@pytest.mark.filterwarnings("error")
def test_values_at_both_ends_of_what_a_float_holds_are_shown() -> None:
    ends = np.array([-1.7e308, 1.7e308])
    windows = Summaries(np.arange(2), ends, ends, ends, np.ones(2, np.uint64), np.zeros(2))
    assert re.findall(r"[ML][\d.]+ ([\d.]+)h0", windows._repr_html_()) == ["136.0", "4.0"]


def test_points_are_a_table_of_all_their_keys() -> None:
    with lamina.open(":memory:") as db:
        db.measurements["m"].insert(
            Point(time=T0 + timedelta(seconds=i), tags={"host": EVIL}, fields={"x": i} if i else {"y": True})
            for i in range(25)
        )
        shown = db.measurements["m"].search()._repr_html_()
    assert re.findall("<th>(.*?)</th>", shown) == ["time", "measurement", "host", "y", "x"]
    assert shown.count("<tr>") == 11
    assert "25 points" in shown
    assert "15 more" in shown
    assert EVIL not in shown


def test_an_entry_is_a_table_of_its_latest_records_with_previews() -> None:
    with lamina.open(":memory:") as db:
        entry = db.buckets.create("b").entry("e")
        assert "no records" in entry._repr_html_()
        times = [*range(1, 100), 10**9, 2 * 10**9]  # far from even
        for time in times:
            entry.write(b"number %d" % time, time, labels={"part": EVIL}, content_type="text/plain")
        entry.write(bytes(PREVIEW_BYTES + 1), 3 * 10**9)
        shown = entry._repr_html_()
        assert re.findall("number ([0-9]+)", shown) == [str(time) for time in times[:-10:-1]]
        assert "b/e: 102 records" in shown
        assert "92 more" in shown
        assert "65,537" in shown  # too long to be read for a preview
        assert EVIL not in shown
        assert "<code>number 7</code>" in entry.read(7)._repr_html_()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("image/png", b"\x89PNG", '<img src="data:image/png;base64,iVBORw=="'),
        ("image/svg+xml", b"<svg onload=x>", "<code>3c 73 76"),  # an SVG may hold scripts
        ("text/plain; charset=utf-8", EVIL.encode(), "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>"),
        ("application/json", b"x" * 500, "x" * 200 + "…</code>"),
        ("application/octet-stream", bytes(range(40)), "16 17 …</code>"),
        ("", b"", "<code></code>"),
    ],
)
def test_a_content_is_shown_as_what_it_is(kind: str, content: bytes, expected: str) -> None:
    assert expected in preview(kind, content)


def test_cells_are_escaped_and_times_beyond_the_calendar_are_numbers() -> None:
    assert f"<td>{'&lt;b&gt;'}</td><td></td>" in table("c", ["a", "b"], [("<b>", None)])
    assert moment(2**63) == f"{2**63} µs"
    assert PREVIEW_BYTES == 65536

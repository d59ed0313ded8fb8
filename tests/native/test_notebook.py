"""What a notebook shows of a directory's handles it shows of a server's."""

from __future__ import annotations

import re

from lamina import Point
from tests.native.conftest import T0, columns

EVIL = "<b>evil</b>"


def heads(html):
    return re.findall("<th>(.*?)</th>", html)


def test_a_stream(stream):
    assert "no points" in stream._repr_html_()
    stream.insert(*columns(100))
    assert all(part in stream._repr_html_() for part in ("<svg", "100 points", "[g] in plant/pump-3"))


def test_records(db):
    bucket = db.buckets.create("b")
    assert "b: 0 entries, 0 bytes" in bucket._repr_html_()
    for i in range(12):
        bucket.entry(f"e{i:02}").write(
            b"content %d" % i, T0 // 1000 + i, labels={"n": i, "evil": EVIL}, content_type="text/plain"
        )
    shown = bucket._repr_html_()
    assert heads(shown) == ["entry", "records", "bytes", "oldest", "latest"]
    assert ("b: 12 entries" in shown, re.findall("e[0-9]{2}", shown)) == (True, [f"e{i:02}" for i in range(10)])
    assert "2 more" in shown
    assert "2017-07-14 02:40:00" in shown
    entry = bucket.entry("e07")
    for shown in (entry._repr_html_(), entry.read()._repr_html_()):
        assert "<code>content 7</code>" in shown
        assert "<br>n: 7" in shown
        assert EVIL not in shown


def test_a_measurement(db):
    doors = db.measurements[EVIL]
    assert "no points" in doors._repr_html_()
    doors.insert({"time": [i * 1_000_000 for i in range(14)], "door": ["a", "b"] * 7, "open": [True, False] * 7})
    doors.insert([Point(tags={"door": EVIL}, fields={"open": None})])
    shown = doors._repr_html_()
    assert heads(shown) == ["time", "measurement", "door", "open"]
    assert "15 points, the latest at 20" in shown
    assert "5 more" in shown
    assert EVIL not in shown

"""The drop-in beside the package it replaces (tinyflux 1.2.0), where the original is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lamina.tinyflux as ours
from lamina.tinyflux import stores
from lamina.tinyflux.tests.strategies import NAMES, OURS, SIMPLE, compounds, points

theirs = pytest.importorskip("tinyflux")

THEIRS = {
    "time": theirs.TimeQuery,
    "measurement": theirs.MeasurementQuery,
    "tag": theirs.TagQuery,
    "field": theirs.FieldQuery,
}
SETTINGS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made(package: Any, keywords: dict[str, Any]) -> Any:
    return package.Point(**{**keywords, "tags": dict(keywords["tags"]), "fields": dict(keywords["fields"])})


def same(a: Any, b: Any) -> bool:
    """Points, lists of them and bare values, compared by what they print: NaN is NaN."""
    return repr(a) == repr(b)


@pytest.fixture(params=[0, 10**9], ids=["columns", "list"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(stores, "LARGE", request.param)
    monkeypatch.setattr(stores, "_MANY", 0)
    return int(request.param)


def fresh(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.unlink(missing_ok=True)
    return path


# The original indexed answers some of these wrongly (D4, D5); without an index it asks the query, as we always do.
@SETTINGS
@given(st.lists(points(), max_size=10), compounds(SIMPLE), st.one_of(st.none(), NAMES))
def test_reads_agree(large: int, tmp_path: Path, stored: list[Any], build: Any, name: str | None) -> None:
    a = ours.TinyFlux(fresh(tmp_path, "a.csv"))
    b = theirs.TinyFlux(str(fresh(tmp_path, "b.csv")), auto_index=False)
    assert a.insert_multiple(made(ours, p) for p in stored) == b.insert_multiple(made(theirs, p) for p in stored)
    mine, other = build(OURS), build(THEIRS)
    assert same(mine, other)
    for sort in (True, False):
        assert same(a.search(mine, name, sorted=sort), b.search(other, name, sorted=sort))
        assert same(a.all(sorted=sort), b.all(sorted=sort))
    assert same(a.get(mine, name), b.get(other, name))
    assert a.count(mine, name) == b.count(other, name)
    assert a.contains(mine, name) == b.contains(other, name)
    keys = ("measurement", "fields.a", "time", "tags.c d")
    assert same(a.select(keys, mine, name), b.select(keys, other, name))
    assert a.get_measurements() == b.get_measurements()
    assert a.get_tag_keys(name) == b.get_tag_keys(name)
    assert a.get_field_keys(name) == b.get_field_keys(name)
    assert a.get_tag_values(["a", "zz"], name) == b.get_tag_values(["a", "zz"], name)
    assert same(a.get_field_values("b", name), b.get_field_values("b", name))
    assert a.get_timestamps(name) == b.get_timestamps(name)
    a.close()
    b.close()


@SETTINGS
@given(st.lists(points(), max_size=10), compounds(SIMPLE), compounds(SIMPLE), st.booleans())
def test_files_are_the_same_byte_for_byte(
    large: int, tmp_path: Path, stored: list[Any], changed: Any, removed: Any, compact: bool
) -> None:
    first, second = fresh(tmp_path, "a.csv"), fresh(tmp_path, "b.csv")
    with ours.TinyFlux(first) as a, theirs.TinyFlux(str(second), auto_index=False) as b:
        for db, package in ((a, ours), (b, theirs)):
            db.insert_multiple((made(package, p) for p in stored), compact_key_prefixes=compact)
        assert first.read_bytes() == second.read_bytes()
        counts = []
        for db, queries in ((a, OURS), (b, THEIRS)):
            counts.append(
                (
                    db.update(changed(queries), tags={"new": "n"}, fields={"a": 7}, unset_tags="b"),
                    db.remove(removed(queries)),
                    db.update_all(measurement=lambda name: name + "!"),
                    db.drop_measurement("m!"),
                )
            )
        assert counts[0] == counts[1]
        assert first.read_bytes() == second.read_bytes()
    with ours.TinyFlux(second) as a, theirs.TinyFlux(str(first)) as b:
        assert same(a.all(), b.all())


def test_files_of_other_programs_read_the_same(large: int, tmp_path: Path) -> None:
    rows = [
        "2024-01-01,m",
        "2024-W05-3 10:20:30.1234567+05:00,m,t_k,_none,f_a,007,f_b,-3,f_c,1_000",
        '20240102T030405Z,"a,b",_tag_x,,_field_y,INFINITY,_field_z,text',
        '2024-01-01T00:00:00,"two\nlines",_tag_k,"q""q",zzkey, 5 ',
        "2024-01-01T00:00:00,m,_field_a,1,_tag_k,2,_field_a,+5",
    ]
    for ending in ("\n", "\r\n", "\r"):
        path = tmp_path / "a.csv"
        path.write_bytes(ending.join(rows).encode() + ending.encode())
        with ours.TinyFlux(path) as a, theirs.TinyFlux(str(path)) as b:
            assert same(a.all(sorted=False), b.all(sorted=False))
            assert len(a) == len(rows)


@pytest.mark.parametrize(
    "row",
    [
        "",
        "2024-01-01",
        "2024-01-01,m,k,1",
        "2024-01-01,m,_tag_k",
        "2024-01-01,m,_field_a,",
        "x,m",
        "2024-13-01,m",
    ],
)
def test_bad_rows_raise_the_same_family(large: int, tmp_path: Path, row: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"2024-01-01,m\n{row}\n2024-01-01,m\n")
    with pytest.raises((IndexError, ValueError)) as original:
        theirs.TinyFlux(str(path))
    with pytest.raises(original.type, match="row 2 at byte 13"):
        ours.TinyFlux(path)

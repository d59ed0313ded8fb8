"""A point is in a result exactly if `query(point)` is truthy, whatever way it was found."""

from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.tinyflux import MemoryStorage, Point, TinyFlux
from lamina.tinyflux.index import Index
from lamina.tinyflux.tests.strategies import NAMES, OURS, QUERIES, START, made, points

# The fixture only names a way; nothing is shared between examples.
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def described(found: list[Point]) -> list[str]:
    """Points to compare: NaN equals itself, and so does 1 and 1.0 of a store that writes floats."""
    return [repr((p.time, p.measurement, p.tags, p.fields)) for p in found]


@SETTINGS
@given(st.lists(points(), max_size=12), st.lists(QUERIES, min_size=1, max_size=4), st.one_of(st.none(), NAMES))
def test_every_read_agrees_with_the_query_asked_of_each_point(
    new_db: Callable[..., TinyFlux], stored: list[dict[str, Any]], queries: list[Any], name: str | None
) -> None:
    db = new_db()
    db.insert_multiple(map(made, stored), batch_size=5)
    everything = list(db)
    for build in queries:
        query = build(OURS)
        truth = [p for p in everything if (name is None or p.measurement == name) and query(p)]
        by_time = sorted(truth, key=lambda p: p.time)
        assert described(db.search(query, name, sorted=False)) == described(truth)
        assert described(db.search(query, name)) == described(by_time)
        assert db.count(query, name) == len(truth)
        assert db.contains(query, name) == bool(truth)
        first = db.get(query, name)
        assert described([first] if first else []) == described(truth[:1])
        rows = [(p.time, p.measurement, p.tags.get("a"), p.fields.get("c d")) for p in truth]
        assert repr(db.select(["time", "measurement", "tags.a", "fields.c d"], query, name)) == repr(rows)


@SETTINGS
@given(st.lists(points(), max_size=12), QUERIES, QUERIES, QUERIES)
def test_changes_touch_the_matches_and_nothing_else(
    new_db: Callable[..., TinyFlux], stored: list[dict[str, Any]], first: Any, second: Any, third: Any
) -> None:
    db = new_db()
    db.insert_multiple(map(made, stored))
    before = [Point(time=p.time, measurement=p.measurement, tags=dict(p.tags), fields=dict(p.fields)) for p in db]
    changed, removed = first(OURS), second(OURS)
    for p in before:
        if changed(p):
            p.tags["new"] = "t"
            p.fields.pop("a", None)
    db.update(changed, tags={"new": "t"}, unset_fields="a")
    assert described(list(db)) == described(before)
    kept = [p for p in before if not removed(p)]
    assert db.remove(removed) == len(before) - len(kept)
    db.insert_multiple(map(made, stored[:3]))
    expected = described(kept) + described(list(db))[len(kept) :]
    assert described(list(db)) == expected
    assert len(db) == len(kept) + len(stored[:3])
    query = third(OURS)
    assert db.count(query) == sum(1 for p in db if query(p))


def test_an_update_that_changes_nothing_counts_nothing(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple(Point(time=START, measurement="m", tags={"k": "x"}, fields={"a": a}) for a in (1.0, 2.0))
    assert db.update_all(measurement="m", tags={"k": "x"}) == 0
    assert db.update_all(time=lambda t: t.astimezone(timezone(timedelta(hours=2)))) == 0
    assert db.update_all(fields={"a": 2}) == 1
    assert db.update_all(fields={"b": 1}, unset_fields="b") == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(points(), max_size=10), QUERIES)
def test_a_standalone_index_never_misses_a_match(stored: list[dict[str, Any]], build: Any) -> None:
    index = Index()
    listed = [made(keywords) for keywords in stored]
    index.build(listed)
    query = build(OURS)
    truth = {at for at, p in enumerate(listed) if query(p)}
    found = index.search(query).items
    assert truth <= found
    if "not_" not in repr(query) and "~" not in repr(query) and "Compound" not in repr(query):
        assert found == truth


@SETTINGS
@given(st.lists(points(), max_size=12), st.one_of(st.none(), NAMES))
def test_lists_of_parts_agree_with_the_points(
    new_db: Callable[..., TinyFlux], stored: list[dict[str, Any]], name: str | None
) -> None:
    db = new_db()
    db.insert_multiple(map(made, stored))
    db.remove(OURS["tag"]().b == "y")
    db.update(OURS["tag"]().a == "x", tags={"a": "changed"})
    chosen = [p for p in db if name is None or p.measurement == name]
    assert db.get_measurements() == sorted({p.measurement for p in db})
    assert db.get_tag_keys(name) == sorted({key for p in chosen for key in p.tags})
    assert db.get_field_keys(name) == sorted({key for p in chosen for key in p.fields})
    assert repr(db.get_field_values("a", name)) == repr([p.fields["a"] for p in chosen if "a" in p.fields])
    assert db.get_timestamps(name) == [p.time for p in chosen]
    values = db.get_tag_values([], name)
    assert {key: set(found) for key, found in values.items()} == {
        key: {p.tags[key] for p in chosen if key in p.tags} for key in {key for p in chosen for key in p.tags}
    }
    if name:
        m = db.measurement(name)
        assert (len(m), described(list(m)), described(m.all(sorted=False))) == (
            len(chosen),
            described(chosen),
            described(chosen),
        )


def test_memory_keeps_the_callers_own_objects() -> None:
    db = TinyFlux(storage=MemoryStorage)
    p = Point(fields={"x": 1})
    db.insert(p)
    assert db.get(OURS["field"]().x == 1) is p
    db.update(OURS["field"]().x == 1, fields={"x": 2})
    assert p.fields == {"x": 2}
    assert db.all()[0] is p

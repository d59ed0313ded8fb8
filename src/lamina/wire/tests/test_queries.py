"""What a server is told of a query."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lamina.points.point import Point
from lamina.points.queries import FieldQuery, TagQuery
from lamina.wire.queries import query_of, told, tree_of

PLAIN = [TagQuery().t == "x", TagQuery().u.exists(), FieldQuery().f > 1]
KEPT = [TagQuery().t.matches("x"), FieldQuery().f.test(lambda value: value % 2), FieldQuery().f.map(abs) == 1]
POINTS = [
    Point(time=datetime(2026, 1, 1, tzinfo=UTC), tags=tags, fields={"f": f})
    for tags in ({"t": "x"}, {"t": "xy", "u": ""}, {"u": "x"})
    for f in (-1, 2, 3)
]
queries = st.recursive(
    st.sampled_from(PLAIN + KEPT),
    lambda inner: st.one_of(
        inner.map(lambda one: ~one),
        st.tuples(inner, inner).map(lambda both: both[0] & both[1]),
        st.tuples(inner, inner).map(lambda both: both[0] | both[1]),
    ),
    max_leaves=8,
)


@given(queries)
def test_what_is_told_is_true_wherever_the_query_is_and_can_be_sent(query):
    wider = told(query)
    if wider is not None:
        sent = query_of(tree_of(wider))
        assert [bool(sent(point)) for point in POINTS] == [bool(wider(point)) for point in POINTS]
    for point in POINTS:
        assert not query(point) or wider is None or wider(point)


def test_it_is_no_wider_than_it_must_be():
    a, b, _ = PLAIN
    kept = KEPT[0]
    assert told(a & ~b) == a & ~b
    assert told(a & kept & b) == a & b
    assert told(~(~a | kept)) == a
    assert told((a & kept) | (kept & b)) == a | b
    assert told(~(kept & a)) is told(kept) is told(a | kept) is None
    whole = a | ~b
    assert told(whole) is whole

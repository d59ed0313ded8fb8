"""Points for the property tests, of few values so that they meet; every kind of value, and the ends of each range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from lamina.points.batch import MIN_TIME_US, Batch, batch_of_points
from lamina.points.point import EPOCH, MICROSECOND, Point

TIMES = st.one_of(
    st.integers(0, 40).map(lambda k: EPOCH + k * 250_000 * MICROSECOND),
    st.sampled_from(
        [datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC), EPOCH + MIN_TIME_US * MICROSECOND]
    ),
)
KEYS = st.sampled_from(["a", "b", "c d", "ü", ""])
TEXTS = st.sampled_from(["x", "y", "", None, "line\r\nend", "ü\0", "\udc80", "zz"])
VALUES = st.one_of(
    st.sampled_from([None, 0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1, True, False, "x", "", "y\0", "1.5"]),
    st.sampled_from([2.5, -0.0, 0.0, 1.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1e300]),
    st.floats(allow_nan=False, width=32),
)
FLOATS = st.floats(-1000, 1000, width=32)


@st.composite
def points(draw: st.DrawFn, measurement: str = "m") -> Point:
    fields: Any = draw(
        st.one_of(st.dictionaries(KEYS, VALUES, max_size=4), st.fixed_dictionaries({"a": FLOATS, "b": FLOATS}))
    )
    return Point(
        time=draw(TIMES), measurement=measurement, tags=draw(st.dictionaries(KEYS, TEXTS, max_size=3)), fields=fields
    )


LISTS = st.lists(points(), max_size=12)


def batch_of(listed: list[Point]) -> Batch:
    return batch_of_points(listed, 0)


def described(listed: list[Point]) -> list[str]:
    """What tells points apart to the bit, key orders and kinds of values included."""
    return [
        repr((p.time, p.measurement, list(p.tags.items()), [(k, type(v), v) for k, v in p.fields.items()]))
        for p in listed
    ]

"""Points and queries for the property tests, made of few values so that they meet."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from lamina.tinyflux import FieldQuery, MeasurementQuery, Point, TagQuery, TimeQuery

START = datetime(2024, 3, 31, tzinfo=UTC)
TIMES = st.builds(
    lambda hours, us, zone: (START + timedelta(hours=hours, microseconds=us)).astimezone(zone),
    st.integers(0, 5),
    st.sampled_from([0, 1, 250_000]),
    st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30))]),
)
NAMES = st.sampled_from(["_default", "m", "n", "with,comma", 'a "quoted" name'])
KEYS = st.sampled_from(["a", "b", "c d"])
TEXTS = st.sampled_from(["x", "y", "", None, "line\r\nend", "ü", "1.5", "zz"])
NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -1, 2.5, -0.0, 2**53, float("nan"), float("inf"), 1e300, 3.25]),
    st.floats(allow_nan=False, width=32),
)


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    """Keywords of a Point."""
    return {
        "time": draw(TIMES),
        "measurement": draw(NAMES),
        "tags": draw(st.dictionaries(KEYS, TEXTS, max_size=3)),
        "fields": draw(st.dictionaries(KEYS, NUMBERS, max_size=3)),
    }


COMPARISONS = st.sampled_from([operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])


def longer(value: Any) -> Any:
    return value + value


def is_small(value: Any, limit: float = 2.0) -> bool:
    return value is not None and value < limit


def in_odd_hour(time: datetime) -> bool:
    """Named, so that the same query prints alike whoever built it."""
    return time.hour % 2 == 1


def swapped(part: dict[str, Any]) -> dict[str, Any]:
    return {"z": part.get("a", part.get("b"))}


# Each entry: package -> query, so that the same query can be built by the original as well.
SIMPLE = st.one_of(
    st.builds(lambda how, rhs: lambda q: how(q["time"](), rhs), COMPARISONS, TIMES),
    st.builds(lambda how, rhs: lambda q: how(q["measurement"](), rhs), COMPARISONS, st.one_of(NAMES, st.none())),
    st.builds(lambda how, key, rhs: lambda q: how(q["tag"]()[key], rhs), COMPARISONS, KEYS, TEXTS),
    st.builds(lambda how, key, rhs: lambda q: how(q["field"]()[key], rhs), COMPARISONS, KEYS, NUMBERS),
    st.builds(lambda key: lambda q: q["tag"]()[key].exists(), KEYS),
    st.builds(lambda key: lambda q: q["field"]()[key].exists(), KEYS),
    st.builds(lambda key: lambda q: q["field"]()[key].test(is_small, 3), KEYS),
    st.builds(lambda name: lambda q: q["measurement"]().matches(name), st.sampled_from(["m", "_d", "q"])),
    st.builds(lambda: lambda q: q["tag"]().noop()),
    st.builds(lambda: lambda q: q["time"]().test(in_odd_hour)),
)
# What the original gets wrong when it is indexed (D1, D2, D3), or where it fails as soon as it holds no points (a time
# compared with None): compared with the ground truth only.
MAPPED = st.one_of(
    st.builds(lambda how: lambda q: how(q["time"](), None), COMPARISONS),
    st.builds(lambda how, key, rhs: lambda q: how(q["field"]()[key].map(longer), rhs), COMPARISONS, KEYS, NUMBERS),
    st.builds(lambda how, key, rhs: lambda q: how(q["tag"]()[key].map(longer), rhs), COMPARISONS, KEYS, TEXTS),
    st.builds(lambda rhs: lambda q: q["tag"]().map(swapped).z == rhs, TEXTS),
    st.builds(lambda rhs: lambda q: q["field"]().map(swapped).z >= rhs, NUMBERS),
    st.builds(
        lambda how, rhs: lambda q: how(q["time"]().map(lambda t: t + timedelta(hours=1)), rhs),
        COMPARISONS,
        TIMES,
    ),
)


def compounds(base: Any) -> Any:
    return st.recursive(
        base,
        lambda inner: st.one_of(
            st.builds(lambda a, b: lambda q: a(q) & b(q), inner, inner),
            st.builds(lambda a, b: lambda q: a(q) | b(q), inner, inner),
            st.builds(lambda a: lambda q: ~a(q), inner),
        ),
        max_leaves=4,
    )


QUERIES = compounds(st.one_of(SIMPLE, MAPPED))
OURS = {"time": TimeQuery, "measurement": MeasurementQuery, "tag": TagQuery, "field": FieldQuery}


def made(keywords: dict[str, Any]) -> Point:
    """A Point of its own dicts."""
    return Point(**{**keywords, "tags": dict(keywords["tags"]), "fields": dict(keywords["fields"])})

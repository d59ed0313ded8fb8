"""Updates of a database's own points: any kind of value, naive times in UTC, errors of the tree."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lamina.errors import InvalidArgument
from lamina.points.point import Point
from lamina.points.updates import Update

OLD = datetime(2024, 1, 1, tzinfo=UTC)


def updated(**what: Any) -> Point | None:
    given = dict.fromkeys(("time", "measurement", "tags", "fields", "unset_fields", "unset_tags")) | what
    return Update(**given).applied(Point(time=OLD, measurement="m", tags={"a": "x"}, fields={"f": 1}))


def test_all_parts_are_set_merged_and_unset() -> None:
    new = updated(
        time=datetime(2025, 1, 1),
        measurement="n",
        tags={"b": None},
        fields=lambda old: {"f": old["f"] + 1, "t": "text", "ok": True},
        unset_tags="a",
    )
    assert new == Point(
        time=datetime(2025, 1, 1, tzinfo=UTC),
        measurement="n",
        tags={"b": None},
        fields={"f": 2, "t": "text", "ok": True},
    )


def test_what_changes_nothing_is_none() -> None:
    assert updated(fields={"f": 1}) is None
    assert updated(time=OLD.replace(tzinfo=None)) is None
    assert updated(unset_fields=["z"]) is None


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({}, "Must include one of"),
        ({"time": 5}, "Time must be"),
        ({"fields": {"f": [1]}}, "numbers, bools, strings or None, not"),
        ({"fields": lambda _: {"f": [1]}}, "valid FieldSet"),
        ({"measurement": lambda _: 5}, "Measurement must update to a string"),
    ],
)
def test_bad_values_are_refused(what: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        updated(**what)

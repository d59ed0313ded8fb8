"""What acts on all points at once, and what is known without reading them."""

from datetime import UTC, datetime, timedelta

import lamina
from lamina.points.point import Point
from lamina.settings import Settings

T0 = datetime(2024, 5, 1, tzinfo=UTC)
T0_US = 1_714_521_600_000_000


def some(n: int, measurement: str = "m") -> list[Point]:
    return [Point(time=T0 + timedelta(seconds=i), measurement=measurement, fields={"n": i}) for i in range(n)]


def listed(db: lamina.Database) -> list[tuple[str, int]]:
    return [(point.measurement, point.fields["n"]) for point in db.measurements.search(order="insertion")]


def test_all_points_are_replaced_at_one_moment() -> None:
    with lamina.open(":memory:") as db:
        db.measurements.insert([*some(3, "a"), *some(2, "b")])
        with db.snapshot() as before:
            assert db.measurements.replace_all([*some(1, "b"), *some(1, "c")]) == 2
            assert len(before.measurement("a")) == 3
            assert len(before.measurement("c")) == 0
        assert listed(db) == [("b", 0), ("c", 0)]
        assert db.measurements.list() == ["b", "c"]
        assert db.measurements.replace_all([]) == 0
        assert listed(db) == []


def test_so_many_that_they_go_past_the_log_replace_all_as_well() -> None:
    with lamina.open(":memory:", settings=Settings(bulk_points=50)) as db:
        db.measurements.insert(some(60, "a"))
        assert db.measurements.replace_all([*some(50, "b"), *some(50, "c")]) == 100
        assert (db.measurements.list(), len(listed(db))) == (["b", "c"], 100)


def test_the_latest_time_is_that_of_a_point_that_lives() -> None:
    with lamina.open(":memory:", settings=Settings(bulk_points=50)) as db:
        m = db.measurements["m"]
        assert m.latest_time() is None
        m.insert(some(60))
        m.insert(Point(time=T0 + timedelta(seconds=9), fields={"n": 0}))
        assert m.latest_time() == T0_US + 59_000_000
        assert m.remove(start=T0 + timedelta(seconds=50)) == 10
        assert db.measurements.latest_time() == T0_US + 49_000_000
        m.clear()
        assert m.latest_time() is None


def test_points_are_replaced_by_what_a_function_makes_of_them() -> None:
    with lamina.open(":memory:") as db:
        m = db.measurements["m"]
        m.insert(some(4))

        def doubled(point: Point) -> Point | None:
            n = point.fields["n"]
            return None if n == 2 else Point(time=point.time, measurement="m", fields={"n": 10 * n})

        assert m.replace(doubled) == 3
        assert listed(db) == [("m", 0), ("m", 10), ("m", 2), ("m", 30)]

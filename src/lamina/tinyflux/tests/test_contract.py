"""Corners of the API that the property tests do not reach."""

from __future__ import annotations

import copy
import io
import operator
import os
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lamina.tinyflux import (
    CSVStorage,
    FieldQuery,
    LaminaStorage,
    MeasurementQuery,
    MemoryStorage,
    Point,
    Storage,
    TagQuery,
    TimeQuery,
    TinyFlux,
    stores,
)
from lamina.tinyflux.queries import BaseQuery, CompoundQuery, SimpleQuery
from lamina.tinyflux.utils import FrozenDict, freeze

T0 = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("method", ["count", "contains", "get", "remove"])
@pytest.mark.parametrize("query", [TagQuery(), TagQuery().a, len, "q", None])
def test_what_is_no_query_is_refused(new_db: Callable[..., TinyFlux], method: str, query: Any) -> None:
    db = new_db()
    with pytest.raises(TypeError, match="Query must be SimpleQuery or CompoundQuery"):
        getattr(db, method)(query)
    with pytest.raises(TypeError, match="Query must be SimpleQuery or CompoundQuery"):
        getattr(db.measurement("m"), method)(query)
    with pytest.raises(ValueError, match="query must be a TinyFlux Query"):
        db.search(query)


def test_what_a_test_raises_comes_out(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple(Point(time=T0, measurement=m, tags={"a": a}) for m, a in [("m", "x"), ("n", None)])
    query = TagQuery().a.matches("x")
    for ask in (db.search, db.count):
        with pytest.raises(TypeError):
            ask(query)
        with pytest.raises(TypeError):
            ask((TimeQuery() < T0) & query)
    # Not asked of the other measurement, nor past the first match.
    assert db.count(query, "m") == 1
    assert db.contains(query)
    assert db.measurement("m").count(query) == 1


def test_a_function_that_changes_what_it_is_given_changes_nothing(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    if isinstance(db.storage, MemoryStorage):
        pytest.skip("there the objects are the caller's")
    db.insert(Point(tags={"a": "x"}))
    query = TagQuery().map(lambda tags: tags.clear() or {"b": "y"}).b == "y"
    assert db.get(query).tags == {"a": "x"}
    assert db.search(query)[0].tags == {"a": "x"}
    assert db.all()[0].tags == {"a": "x"}


def test_index_flag_follows_the_rules(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple([Point(time=T0), Point(time=T0)])
    assert (db.index.valid, len(db.index)) == (True, 2)
    db.insert(Point(time=T0 - timedelta(days=1)))
    assert (db.index.valid, len(db.index), db.index.empty, len(db)) == (False, 0, True, 3)
    db.count(TagQuery().noop())
    assert (db.index.valid, len(db.index)) == (True, 3)
    assert db.index._timestamps == sorted(p.time.timestamp() for p in db)
    db.update_all(tags={"a": "b"})
    assert db.index.valid
    assert db.index._tags == {"a": {"b": [0, 1, 2]}}
    assert db.index.lateset_time == T0
    db.remove_all()
    assert (db.index.valid, db.index.empty) == (True, True)
    off = new_db(auto_index=False)
    assert off.index.valid
    off.insert(Point(time=T0))
    assert not off.index.valid
    off.reindex()
    assert (off.index.valid, len(off.index)) == (True, 1)
    assert off.update_all(tags={"a": "b"}) == 1
    assert not off.index.valid


def test_a_file_that_may_only_be_written_counts_what_was_inserted(tmp_path: Path) -> None:
    with TinyFlux(tmp_path / "a.csv", access_mode="w") as db:
        db.insert_multiple([Point(measurement="m"), Point(measurement="n")])
        assert len(db) == 2
        assert len(db.measurement("m")) == 1
        with pytest.raises(OSError, match='Access mode is "w"'):
            db.all()
        with pytest.raises(io.UnsupportedOperation):
            list(db)
    with pytest.raises(OSError, match='Access mode is "a"'):
        TinyFlux(tmp_path / "a.csv", access_mode="a")
    with TinyFlux(tmp_path / "a.csv", access_mode="a", auto_index=False) as db:
        db.insert(Point())
    assert len(TinyFlux(tmp_path / "a.csv", access_mode="r")) == 3


def test_a_closed_file_says_so(tmp_path: Path) -> None:
    db = TinyFlux(tmp_path / "a.csv")
    db.close()
    db.close()
    for ask in (db.all, lambda: list(db), lambda: db.insert(Point()), lambda: db.update_all(tags={"a": "b"})):
        with pytest.raises(ValueError, match="I/O operation on closed file"):
            ask()


@pytest.mark.parametrize("storage", [CSVStorage, LaminaStorage, MemoryStorage])
def test_a_closed_database_can_still_be_shown(storage: Any, tmp_path: Path) -> None:
    args = () if storage is MemoryStorage else (tmp_path / "data",)
    db = TinyFlux(*args, storage=storage)
    db.insert_multiple([Point(), Point()])
    db.close()
    assert repr(db) == "<TinyFlux all_points_count=2, auto_index_ON=True, index_valid=True>"
    assert "name=_default" in repr(db.measurement("_default"))


def test_none_is_no_name_of_a_measurement(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple([Point(measurement="m"), Point(measurement="n"), Point(measurement="n")])
    assert db.drop_measurement(None) == db.measurement(None).remove_all() == 0  # type: ignore[arg-type]
    assert db.drop_measurement("n") == 2
    with pytest.raises(TypeError, match="must be string"):
        db.drop_measurement(1)  # type: ignore[arg-type]
    assert len(db) == 1


def test_an_instance_is_no_storage_class(tmp_path: Path) -> None:
    for storage in (MemoryStorage(), None):
        with pytest.raises(TypeError, match="not callable"):
            TinyFlux(tmp_path / "a.csv", storage=storage)
    assert os.listdir(tmp_path) == []


def test_no_tag_keys_are_all_of_them(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert(Point(tags={"k": "x"}))
    assert db.get_tag_values(None) == db.measurement("_default").get_tag_values(None) == {"k": ["x"]}  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [None, 0, "", "x", TagQuery(), lambda point: True])
def test_only_queries_are_combined(other: Any) -> None:
    query = TagQuery().k == "x"
    for combine in (operator.and_, operator.or_):
        with pytest.raises(RuntimeError, match="not a CompoundQuery or SimpleQuery"):
            combine(query, other)
        with pytest.raises(RuntimeError, match="not a CompoundQuery or SimpleQuery"):
            combine(~query, other)


def test_modes_and_encodings_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="binary mode"):
        TinyFlux(tmp_path / "a.csv", access_mode="rb+")
    with pytest.raises(LookupError):
        TinyFlux(tmp_path / "a.csv", encoding="no-such")
    with pytest.raises(ValueError, match="illegal newline value: 'x'"):
        TinyFlux(tmp_path / "a.csv", newline="x")
    with pytest.raises(FileNotFoundError):
        TinyFlux(tmp_path / "missing.csv", access_mode="r")
    with pytest.raises(TypeError, match="auto_index"):
        TinyFlux(tmp_path / "b.csv", auto_index=1)
    assert (tmp_path / "b.csv").exists()


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"2024-01-01,m\r\n2024-01-01,\xff\r\n")
    with pytest.raises(UnicodeDecodeError) as caught:
        TinyFlux(path)
    assert "byte 25" in caught.value.__notes__[0]


def test_nul_bytes_are_text(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert(Point(time=T0, tags={"a": "x\0y", "b": " blank ", "c": "\u2028"}))
    assert db.get(TagQuery().a == "x\0y").tags == {"a": "x\0y", "b": " blank ", "c": "\u2028"}


@pytest.mark.parametrize("how", [{"delimiter": "|"}, {"encoding": "utf-16"}, {"encoding": "utf-8-sig"}, {"quoting": 1}])
def test_other_dialects_and_encodings(tmp_path: Path, how: dict[str, Any]) -> None:
    with TinyFlux(tmp_path / "a.csv", **how) as db:
        for i in range(4):
            db.insert(Point(time=T0 + timedelta(hours=i), tags={"a": "ü|,"}, fields={"x": i}))
        assert db.update(FieldQuery().x == 1, tags={"a": "new"}) == 1
        assert db.remove(FieldQuery().x == 2) == 1
        assert [p.tags["a"] for p in db.all()] == ["ü|,", "new", "ü|,"]
    with TinyFlux(tmp_path / "a.csv", **how) as db:
        assert db.get_field_values("x") == [0.0, 1.0, 3.0]


def test_unflushed_inserts_reach_the_file_on_close_and_on_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    db = TinyFlux(path, flush_on_insert=False)
    db.insert(Point(fields={"x": 1}))
    assert len(db.all()) == 1
    assert path.stat().st_size > 0
    db.insert(Point(fields={"x": 2}))
    del db
    assert path.read_bytes().count(b"\r\n") == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anything")
def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch()
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        TinyFlux(path)


def test_lazy_points_are_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LARGE", 0)
    with TinyFlux(tmp_path / "a.csv") as db:
        db.insert(Point(time=T0, measurement="m", tags={"a": "x"}, fields={"x": 1}))
        whole = Point(time=T0, measurement="m", tags={"a": "x"}, fields={"x": 1.0})
        for change in (copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))):
            assert change(db.all()[0]) == whole
        assert repr(db.all()[0]) == repr(whole)
        p = db.all()[0]
        p.time = T0 + timedelta(1)
        assert (p.measurement, p.time) == ("m", T0 + timedelta(1))
        q = db.all()[0]
        db.remove_all()
        assert q == whole
        with pytest.raises(AttributeError):
            q.other  # noqa: B018
        with pytest.raises(AttributeError):
            q.other = 1  # type: ignore[attr-defined]


def test_iteration_survives_changes(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple(Point(time=T0, fields={"x": i}) for i in range(6))
    seen = []
    for p in db:
        seen.append(p.fields["x"])
        if len(seen) == 2:
            db.insert(Point(time=T0, fields={"x": 99}))
    assert seen[:6] == list(range(6))


class Rows(Storage):
    """The least a user's storage is: no temporary storage hooks, items of its own kind."""

    def __init__(self) -> None:
        self._initially_empty = True
        self.rows: list[Any] = []
        self.temporary: list[Any] = []
        self.appends = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def append(self, items: list[Any], temporary: bool = False) -> None:
        self.appends += not temporary
        (self.temporary if temporary else self.rows).extend(items)

    def read(self) -> list[Point]:
        return super().read()

    def reset(self) -> None:
        self.rows = []

    def _deserialize_measurement(self, item: Any) -> str:
        return str(item[1])

    def _deserialize_timestamp(self, item: Any) -> datetime:
        return datetime.fromisoformat(item[0])

    def _deserialize_storage_item(self, item: Any) -> Point:
        return Point()._deserialize_from_list(item)

    def _serialize_point(self, point: Point, *args: Any, **kwargs: Any) -> Any:
        return point._serialize_to_list()

    def _swap_temp_with_primary(self) -> None:
        self.rows, self.temporary = self.temporary, []

    def _write(self, items: list[Any]) -> None:
        self.rows = list(items)


def test_a_users_storage_works_end_to_end() -> None:
    db = TinyFlux(storage=Rows)
    db.insert_multiple(Point(time=T0, tags={"a": t}, fields={"x": i}) for i, t in enumerate("xyz"))
    assert db.storage.appends == 1
    assert db.update(TagQuery().a == "y", fields={"x": 5}) == 1
    assert db.remove(TagQuery().a == "x") == 1
    assert [p.fields["x"] for p in db.all()] == [5.0, 2.0]
    assert (len(db), db.count(FieldQuery().x > 2)) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        db.update_all(fields=lambda old: {"x": 1 / (old["x"] - 2)})
    assert db.get_field_values("x") == [5.0, 2.0]
    assert db.drop_measurement("_default") == 2


def test_hashes_and_texts_of_queries() -> None:
    a, b = TagQuery().a == "x", FieldQuery().b > 3
    assert repr(a) == "SimpleQuery('_tags', '==', ('a',), 'x')"
    assert repr(a & b) == "CompoundQuery(and_, 'SimpleQuery', 'SimpleQuery')"
    assert repr(~a) == "CompoundQuery(not_, 'SimpleQuery')"
    assert repr(TagQuery()) == "TagQuery()"
    assert a & b == b & a
    assert {a, TagQuery().a == "x"} == {a}
    assert a | b != a & b
    assert (~a)._hash == ("not", a._hash)
    assert (~(a & b))._hash[0] == "not_"
    assert TagQuery().noop() != TagQuery().noop()
    assert not (TagQuery().a.map(len) == "x").is_hashable()
    assert SimpleQuery("_tags", len, None, bool, len, None) != a
    for build, message in [
        (lambda: TagQuery() == "x", "Query has no path"),
        (lambda: BaseQuery() == "x", "no defined Point attribute"),
        (lambda: MeasurementQuery().a, "does not require a key"),
        (lambda: FieldQuery().a.matches("x"), "Regex query not supported for FieldQuery."),
        (lambda: TimeQuery().search("x"), "Regex query not supported for FieldQuery."),
        (lambda: TagQuery() & a, "logical-AND"),
        (lambda: CompoundQuery(a, "x", len, None), "not a CompoundQuery or SimpleQuery"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            build()
    for rhs in (5, 1.5, b"x"):
        with pytest.raises(TypeError, match=r"TagQuery comparison value must be string."):
            _ = TagQuery().a == rhs


def test_a_query_built_by_hand_is_asked_point_by_point(new_db: Callable[..., TinyFlux]) -> None:
    db = new_db()
    db.insert_multiple(Point(time=T0, fields={"x": i}) for i in range(4))
    query = SimpleQuery("_fields", len, None, lambda value: value["x"] > 1, lambda part: part, None)
    assert db.count(query) == 2
    assert db.count(query & (FieldQuery().x < 3)) == 1


def test_points_check_what_they_are_given() -> None:
    for kwargs, error, message in [
        ({"b": 1, "a": 2, "time": 3}, TypeError, "Unexpected kwargs a, b"),
        ({"time": None}, ValueError, "Time must be datetime object."),
        ({"measurement": 1}, ValueError, "Measurement must be a string."),
        ({"tags": []}, ValueError, "Tag set must be a mapping."),
        ({"tags": {1: "x"}}, ValueError, "only string keys"),
        ({"tags": {"a": 1}}, ValueError, "only string values or None"),
        ({"fields": {"a": True}}, ValueError, "only numeric values or None"),
    ]:
        with pytest.raises(error, match=message):
            Point(**kwargs)
    with pytest.raises(TypeError, match="keyword args"):
        Point(1)
    tags = {"a": "x"}
    assert Point(tags=tags).tags is tags
    assert Point().time is None
    assert Point(fields={}).time is not None


def test_frozen_things_stay() -> None:
    frozen = freeze({"a": [1, {2}], "b": {"c": 1}})
    assert hash(frozen) == hash(freeze({"b": {"c": 1}, "a": [1, {2}]}))
    for change in (lambda d: d.update(a=1), lambda d: d.pop("a"), lambda d: d.setdefault("x", 1)):
        with pytest.raises(TypeError, match="immutable"):
            change(FrozenDict(a=1))


def test_storage_is_exchangeable_in_a_subclass(tmp_path: Path) -> None:
    class InMemory(TinyFlux):
        default_storage_class = MemoryStorage

    assert isinstance(InMemory().storage, MemoryStorage)
    assert isinstance(TinyFlux(tmp_path / "a.csv").storage, CSVStorage)
    assert repr(InMemory()) == "<InMemory all_points_count=0, auto_index_ON=True, index_valid=True>"


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
def test_a_function_that_takes_points_out_of_memory_during_an_update_changes_no_others(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D11: the update is worked out again, with the points there are."""
    monkeypatch.setattr(stores, "LARGE", large)
    db = TinyFlux(storage=MemoryStorage)
    db.insert_multiple(Point(time=T0, tags={"n": str(n)}) for n in range(6))
    kept = [point for point in db if point.tags["n"] != "0"]

    def taking(tags: dict[str, str | None]) -> dict[str, str | None]:
        db.remove(TagQuery().n == "0")
        return {"seen": "1"}

    assert db.update_all(tags=taking) == 5
    assert list(db) == kept
    assert [point.tags for point in kept] == [{"n": str(n), "seen": "1"} for n in range(1, 6)]

"""What a Lamina directory does that other storages of the drop-in do not."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lamina
from lamina.errors import Closed, InvalidArgument
from lamina.points.queries import FieldQuery as AnyFieldQuery
from lamina.tinyflux import FieldQuery, LaminaStorage, Point, TagQuery, TinyFlux

T0 = datetime(2024, 5, 1, tzinfo=UTC)


def test_points_are_there_again_and_the_native_api_has_them(tmp_path: Path) -> None:
    with TinyFlux(tmp_path / "d", storage=LaminaStorage) as db:
        db.insert(Point(time=T0, measurement="weather", tags={"city": "Rome"}, fields={"temp": 20, "wind": 1.5}))
        db.insert(Point(time=T0, measurement="weather", tags={"city": "Oslo"}, fields={"temp": None}))
        db.update(TagQuery().city == "Rome", fields={"temp": 21})
    with lamina.open(tmp_path / "d") as native:
        rome, oslo = native.measurements["weather"].search(order="insertion")
        assert (rome.tags, rome.fields) == ({"city": "Rome"}, {"temp": 21, "wind": 1.5})
        assert (oslo.tags, oslo.fields) == ({"city": "Oslo"}, {"temp": None})
        native.measurements["weather"].insert(lamina.Point(time=T0, fields={"temp": 3}))
        with TinyFlux(native, storage=LaminaStorage) as db:
            assert db.count(FieldQuery().temp >= 3) == 2
            assert type(db.get(FieldQuery().temp == 21)) is Point
            assert type(db.get(FieldQuery().temp == 21).fields["temp"]) is int
        assert len(native.measurements["weather"]) == 3  # it was not closed with the drop-in


def test_text_and_bools_are_fields_here(tmp_path: Path) -> None:
    with TinyFlux(":memory:", storage=LaminaStorage) as db, TinyFlux(tmp_path / "a.csv") as strict:
        state = lamina.Point(time=T0, fields={"ok": True, "state": "idle", "n": 1})
        db.insert(state)
        assert db.all()[0].fields == {"ok": True, "state": "idle", "n": 1}
        assert type(db.all()[0].fields["ok"]) is bool
        assert db.count(AnyFieldQuery().state == "idle") == 1
        assert db.update(FieldQuery().n == 1, fields={"state": "busy"}) == 1
        assert db.get_field_values("state") == ["busy"]
        with pytest.raises(TypeError, match="Point"):
            strict.insert(state)
        with pytest.raises(ValueError, match="numeric"):
            Point(fields={"ok": True})


def test_two_databases_on_one_directory_see_each_other(tmp_path: Path) -> None:
    with TinyFlux(tmp_path, storage=LaminaStorage) as one, TinyFlux(tmp_path, storage=LaminaStorage) as other:
        one.insert_multiple(Point(time=T0, fields={"x": float(x)}) for x in range(10))
        assert other.remove(FieldQuery().x < 4) == 4
        assert [p.fields["x"] for p in one] == [4, 5, 6, 7, 8, 9]
        assert (len(one), len(other)) == (6, 6)


def test_an_update_keeps_the_order_of_insertion_also_across_measurements() -> None:
    with TinyFlux(":memory:", storage=LaminaStorage) as db:
        for n in range(6):
            db.insert(Point(time=T0, measurement="ab"[n % 2], fields={"n": n}))
        assert db.update(FieldQuery().n == 2, measurement="b") == 1
        assert db.update(FieldQuery().n == 1, measurement="c", fields={"n": 100}) == 1
        assert [(p.measurement, p.fields["n"]) for p in db] == [
            ("a", 0), ("c", 100), ("b", 2), ("b", 3), ("a", 4), ("b", 5),
        ]  # fmt: skip


def test_a_batch_is_stored_whole_or_not_at_all() -> None:
    with TinyFlux(":memory:", storage=LaminaStorage) as db:
        with pytest.raises(InvalidArgument, match="field 'x': int"):
            db.insert_multiple([Point(fields={"x": 1}), Point(fields={"x": 2**64})])
        assert len(db) == 0
        with pytest.raises(ZeroDivisionError):
            db.insert_multiple(Point(fields={"x": 1 / (3 - n)}) for n in range(4))
        assert len(db) == 0


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    db = TinyFlux(tmp_path, storage=LaminaStorage)
    db.close()
    with pytest.raises(Closed):
        db.all()
    with pytest.raises(Closed):
        db.insert(Point())


def test_the_engine_is_loaded_by_who_names_the_storage() -> None:
    code = "import sys; from lamina.tinyflux import *; print('lamina.engine' in sys.modules);"
    code += "from lamina.tinyflux import LaminaStorage; print('lamina.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


def test_the_file_of_a_program_is_no_directory_and_the_error_says_how_it_becomes_one(tmp_path: Path) -> None:
    file = tmp_path / "weather.csv"
    TinyFlux(file).close()
    with pytest.raises(NotADirectoryError) as caught:
        TinyFlux(file, storage=LaminaStorage)
    assert "lamina import tinyflux" in caught.value.__notes__[0]

"""TinyFlux's files into a database and back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina.errors import AlreadyExists, InvalidArgument
from lamina.tinyflux import Point, TinyFlux, transfer
from lamina.tinyflux.rows import TornRowWarning
from lamina.tinyflux.tests.strategies import made, points

T0 = datetime(2024, 5, 1, tzinfo=UTC)


def csv_of(path: Path, n: int) -> bytes:
    with TinyFlux(path) as db:
        db.insert_multiple(
            Point(
                time=T0 + timedelta(seconds=i),
                measurement="ab"[i % 2],
                tags={"host": f"h{i % 3}"} if i % 5 else {},
                fields={"x": float(i), "y": None} if i % 7 else {"x": -0.5},
            )
            for i in range(n)
        )
    return path.read_bytes()


@pytest.mark.parametrize("step", [64, 1000, 1 << 20])
def test_there_and_back_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(transfer, "STEP_BYTES", step)
    text = csv_of(tmp_path / "a.csv", 100)
    seen: list[tuple[int, int]] = []
    with lamina.open(":memory:") as db:
        assert transfer.import_csv(db.measurements, tmp_path / "a.csv", progress=lambda *at: seen.append(at)) == 100
        assert db.measurements.list() == ["a", "b"]
        assert transfer.export_csv(db.measurements, tmp_path / "b.csv") == 100
        assert transfer.export_csv(db.measurements["b"], tmp_path / "only.csv") == 50
    assert (tmp_path / "b.csv").read_bytes() == text
    assert seen[-1] == (len(text), len(text))
    assert b"".join(line for line in text.splitlines(True) if b",b" in line) == (tmp_path / "only.csv").read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.lists(points(), max_size=12), st.sampled_from([16, 100, 1 << 20]))
def test_any_file_of_ours_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, stored: list[dict[str, object]], step: int
) -> None:
    folder = tmp_path_factory.mktemp("there")
    with TinyFlux(folder / "a.csv") as db:
        db.insert_multiple(map(made, stored))
    with pytest.MonkeyPatch.context() as patch, lamina.open(":memory:") as db:
        patch.setattr(transfer, "STEP_BYTES", step)
        transfer.import_csv(db.measurements, folder / "a.csv")
        transfer.export_csv(db.measurements, folder / "b.csv")
    assert (folder / "b.csv").read_bytes() == (folder / "a.csv").read_bytes()


def test_whole_numbers_of_other_programs_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("2024-05-01T00:00:00,m,_field_n,7,_field_x,7.5\n")
    with lamina.open(":memory:") as db:
        transfer.import_csv(db.measurements, tmp_path / "a.csv")
        fields = db.measurements["m"].get().fields
    assert (fields, type(fields["n"])) == ({"n": 7, "x": 7.5}, int)


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ("2024-05-01T00:00:00,m,_field_n", IndexError, r"row 3 at byte \d+ of .*a.csv"),
        ("yesterday,m", ValueError, r"row 3 at byte \d+ of .*a.csv"),
        (f"2024-05-01T00:00:00,m,_field_n,{2**64}", InvalidArgument, r"field 'n': int 18446744073709551616.*row 3"),
    ],
)
def test_a_bad_row_is_named_and_nothing_of_its_stretch_inserted(
    tmp_path: Path, row: str, error: type[Exception], words: str
) -> None:
    good = "2024-05-01T00:00:00,m,_field_n,1.0\n"
    (tmp_path / "a.csv").write_text(good * 2 + row + "\n" + good)
    with lamina.open(":memory:") as db:
        with pytest.raises(error, match=words):
            transfer.import_csv(db.measurements, tmp_path / "a.csv")
        assert db.measurements.count() == 0


def test_half_a_row_at_the_end_is_passed_over_and_said(tmp_path: Path) -> None:
    text = csv_of(tmp_path / "a.csv", 10)
    (tmp_path / "a.csv").write_bytes(text + b"2024-05-0")
    with lamina.open(":memory:") as db, pytest.warns(TornRowWarning, match="9 bytes"):
        assert transfer.import_csv(db.measurements, tmp_path / "a.csv") == 10


def test_what_such_a_file_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with lamina.open(":memory:") as db:
        db.measurements.insert([lamina.Point(time=T0, fields={"x": 1}), lamina.Point(time=T0, fields={"ok": True})])
        with pytest.raises(InvalidArgument, match="field 'ok' = True of point 1"):
            transfer.export_csv(db.measurements, tmp_path / "b.csv")
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "b.csv").touch()
        with pytest.raises(AlreadyExists, match=r"b\.csv exists"):
            transfer.export_csv(db.measurements, tmp_path / "b.csv")

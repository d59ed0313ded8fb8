"""Nothing is lost: a program stopped, or an error, at any call; two handles on one file; caches that lie."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lamina.tinyflux import FieldQuery, Point, TagQuery, TimeQuery, TinyFlux, csvfile, stores
from lamina.tinyflux.rows import TornRowWarning

START = datetime(2024, 1, 1, tzinfo=UTC)


def points(n: int) -> list[Point]:
    return [Point(time=START + timedelta(seconds=i), tags={"k": f"v{i % 3}"}, fields={"i": float(i)}) for i in range(n)]


class Stopped(BaseException):
    """The process ends here: nothing after it runs, no handler either."""


class Faulty:
    """System calls; the one with number `at` fails. With `half`, a failing write writes half of its bytes first."""

    def __init__(self, at: int, failure: Callable[[], BaseException], half: bool) -> None:
        self.at, self.failure, self.half = at, failure, half
        self.calls = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(csvfile.Calls, name)

        def made(*args: Any) -> Any:
            if self.dead and name != "close":
                raise Stopped
            self.calls += 1
            if self.calls == self.at:
                error = self.failure()
                self.dead = isinstance(error, Stopped)
                if name == "write" and self.half:
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                raise error
            return call(*args)

        return made


CHANGES: dict[str, Callable[[TinyFlux], object]] = {
    "update": lambda db: db.update(FieldQuery().i == 3.0, tags={"k": "changed"}),
    "remove": lambda db: db.remove(TagQuery().k == "v1"),
    "insert": lambda db: db.insert_multiple(points(2)),
    "remove_all": lambda db: db.remove_all(),
}


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
@pytest.mark.parametrize("kind", ["stopped", "no space"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a handle of a "killed" process
@pytest.mark.parametrize("change", CHANGES)
def test_a_failure_at_any_call_leaves_the_file_old_or_new(
    change: str, kind: str, large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LARGE", large)

    def fresh(name: str) -> Path:
        path = tmp_path / name
        with TinyFlux(path) as db:
            db.insert_multiple(points(12))
        return path

    path = fresh("model.csv")
    old = path.read_bytes()
    with TinyFlux(path) as db:
        CHANGES[change](db)
    new = path.read_bytes()
    failure = Stopped if kind == "stopped" else lambda: OSError(errno.ENOSPC, "No space left on device")
    seen = set()
    for at in range(1, 60):
        path = fresh(f"{at}.csv")
        db = TinyFlux(path)
        faulty = Faulty(at, failure, half=True)
        monkeypatch.setattr(csvfile, "CALLS", faulty)
        try:
            CHANGES[change](db)
        except (OSError, Stopped):
            failed = True
        else:
            failed = False
        monkeypatch.setattr(csvfile, "CALLS", csvfile.Calls)
        now = path.read_bytes()
        if change == "insert" and kind == "stopped":
            # A row may be half written: it is not read, and the rows before it are whole.
            assert now.startswith(old)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TornRowWarning)
                with TinyFlux(path) as again:
                    assert again.all(sorted=False)[:12] == points(12)
        else:
            assert now in (old, new), (at, now)
            seen.add(now == new)
        if kind == "no space":
            # The handle goes on as if nothing had been tried, or as if it had been done.
            assert len(db) == now.count(b"\r\n")
            assert db.insert(Point(tags={"after": "fault"}, fields={})) == 1
            assert db.count(TagQuery().after == "fault") == 1
        if faulty.calls < at:
            assert now == new
            break
        assert failed or now == new
    else:
        pytest.fail("still failing after 60 calls")
    if change != "insert":
        assert seen == {True, False}
    left = {name for name in os.listdir(tmp_path) if not name.endswith(".csv")}
    assert all(name.endswith(".rewrite") for name in left) if kind == "stopped" else not left


def test_a_temporary_file_left_by_a_kill_is_removed_by_the_next_change(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    (tmp_path / ".a.csv.rewrite").write_text("left behind")
    with TinyFlux(path) as db:
        db.insert_multiple(points(3))
        db.remove(FieldQuery().i == 1.0)
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    "tags", [{"k": 'quo"ted'}, {"k": "two\nlines", "l": ",\r\n", "m": '"\n"'}], ids=["quote", "lines"]
)
@pytest.mark.parametrize("cut", range(2, 90))
def test_a_row_cut_by_a_crash_is_reported(cut: int, tags: dict[str, str | None], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with TinyFlux(path) as db:
        db.insert_multiple(points(3))
        db.insert(Point(time=START + timedelta(days=1), tags=tags, fields={"i": 12345.678}))
    whole = path.read_bytes()
    last = whole.rindex(b"2024")
    if len(whole) - cut <= last:
        return
    path.write_bytes(whole[:-cut])
    with pytest.warns(TornRowWarning, match="no line end"):
        db = TinyFlux(path)
    assert db.all()[:3] == points(3)
    read = len(db)
    db.insert(Point(time=START + timedelta(days=2)))
    assert len(db) == read + 1
    db.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with TinyFlux(path) as db:
            assert len(db) == read + 1


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
@pytest.mark.parametrize("last", ['5"', '""x"', '"5""x"'])
def test_a_quote_within_the_last_row_is_a_letter(
    large: int, last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LARGE", large)
    path = tmp_path / "a.csv"
    path.write_bytes(f"2024-01-01T00:00:00,m\r\n2024-01-01T00:00:01,m,_tag_size,{last}\r\n".encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with TinyFlux(path) as db:
            assert len(db) == 2
            db.insert(Point(time=START))
            assert (len(db), path.read_bytes().count(b"\r\n")) == (3, 3)


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
@pytest.mark.parametrize("text", ["two", "two\n", ",\n", '""', '""\n', "x" * 1000 + "\n"])
def test_a_quote_that_was_never_closed_swallows_no_point(
    large: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file of another program it lasts to the end, and is closed there."""
    monkeypatch.setattr(stores, "LARGE", large)
    path = tmp_path / "a.csv"
    path.write_bytes(f'2024-01-01T00:00:00,m\n2024-01-01T00:00:01,m,_tag_a,"{text}'.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRowWarning)
        with TinyFlux(path) as db:
            before = db.all()
            db.insert(Point(time=START + timedelta(days=1)))
            assert (len(db), db.all()[1]) == (3, before[1])
            assert db.update(TimeQuery() == START, tags={"k": "x"}) == 1
        with TinyFlux(path) as db:
            assert (len(db), db.all()[1]) == (3, before[1])


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
def test_two_handles_see_and_keep_each_others_points(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LARGE", large)
    path = tmp_path / "a.csv"
    a, b = TinyFlux(path), TinyFlux(path)
    for i, p in enumerate(points(10)):
        (a if i % 2 else b).insert(p)
    assert len(a) == len(b) == 10
    assert a.remove(FieldQuery().i < 5.0) == 5
    assert b.count(TimeQuery() >= START) == 5
    b.insert(Point(time=START + timedelta(days=1), fields={"i": 99.0}))
    assert b.update(FieldQuery().i == 99.0, fields={"i": 100.0}) == 1
    assert a.remove(FieldQuery().i == 5.0) == 1
    assert [p.fields["i"] for p in b.all()] == [6.0, 7.0, 8.0, 9.0, 100.0]
    a.remove_all()
    assert len(b) == 0
    b.insert_multiple(points(2))
    assert a.all() == points(2)


def test_an_update_is_worked_out_again_if_the_file_changed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    a, b = TinyFlux(path), TinyFlux(path)
    a.insert_multiple(points(3))
    calls = []

    def once(fields: dict[str, Any]) -> dict[str, Any]:
        if not calls:
            b.insert(Point(time=START + timedelta(days=1), fields={"i": 7.0}))
        calls.append(fields)
        return {"i": fields["i"] + 1}

    assert a.update_all(fields=once) == 4
    assert a.get_field_values("i") == [1.0, 2.0, 3.0, 8.0]


def test_a_foreign_rewrite_in_place_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LARGE", 0)
    path = tmp_path / "a.csv"
    db = TinyFlux(path)
    db.insert_multiple(points(5))
    assert db.count(FieldQuery().i == 3.0) == 1
    changed = path.read_bytes().replace(b"3.0\r\n", b"8.0\r\n") + b"2025-01-01T00:00:00,_default,_field_i,3.0\r\n"
    with open(path, "r+b") as f:
        f.write(changed)
    assert db.get_field_values("i") == [0.0, 1.0, 2.0, 8.0, 4.0, 3.0]


def test_a_rewrite_keeps_mode_bits_and_links(tmp_path: Path) -> None:
    real = tmp_path / "real.csv"
    link = tmp_path / "link.csv"
    real.touch()
    link.symlink_to(real)
    os.chmod(real, 0o640)
    with TinyFlux(link) as db:
        db.insert_multiple(points(3))
        db.remove(FieldQuery().i == 1.0)
    assert link.is_symlink()
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o640
    assert real.read_bytes().count(b"\r\n") == 2


def test_a_rewrite_syncs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(csvfile.Calls):
        synced = 0

        @staticmethod
        def fsync(fd: int) -> None:
            Counting.synced += not stat.S_ISDIR(os.fstat(fd).st_mode)
            os.fsync(fd)

    with TinyFlux(tmp_path / "a.csv") as db:
        db.insert_multiple(points(50))
        monkeypatch.setattr(csvfile, "CALLS", Counting)
        db.update(FieldQuery().i < 25.0, tags={"k": "z"})
        assert Counting.synced == 1


@pytest.mark.parametrize("large", [0, 10**9], ids=["columns", "list"])
def test_what_replaced_removed_points_is_read(large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LARGE", large)
    with TinyFlux(tmp_path / "a.csv") as db:
        db.insert_multiple(points(3))
        assert len(db.all()) == 3
        db.remove_all()
        db.insert_multiple(points(9)[3:])
        assert db.all() == points(9)[3:]


class TestCheckpoint:
    @pytest.fixture(autouse=True)
    def _columns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stores, "LARGE", 5)

    def fill(self, path: Path) -> None:
        with TinyFlux(path, checkpoint=True) as db:
            db.insert_multiple(points(40))
            db.insert(Point(time=START, tags={"k": None}, fields={"big": 3, "none": None}))

    def test_it_answers_as_the_file_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.csv"
        path.write_text(f"2020-01-01,m,_tag_k,x,_field_big,{2**70},_field_small,7\n")
        self.fill(path)
        with TinyFlux(path) as plain:
            expected = plain.all()
        monkeypatch.setattr(stores, "parse", None)  # would be called to read the file
        with TinyFlux(path, checkpoint=True) as db:
            assert db.all() == expected
            assert db.get(FieldQuery().big == 2**70).fields == {"big": 2**70, "small": 7}

    def test_only_what_was_appended_is_parsed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        self.fill(path)
        with TinyFlux(path) as db:
            db.insert(Point(time=START + timedelta(days=1), tags={"k": "new"}))
        with TinyFlux(path, checkpoint=True) as db:
            assert len(db) == 42
            assert db.count(TagQuery().k == "new") == 1

    def test_it_is_ignored_if_the_csv_differs(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        self.fill(path)
        path.write_bytes(path.read_bytes().replace(b",3.0\r\n", b",8.0\r\n"))
        with TinyFlux(path, checkpoint=True) as db:
            assert db.count(FieldQuery().i == 3.0) == 0
            assert db.count(FieldQuery().i == 8.0) == 2

    def test_it_is_ignored_if_any_of_its_bytes_is_wrong(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        self.fill(path)
        beside = tmp_path / ".a.csv.columns"
        good = beside.read_bytes()
        for at in range(0, len(good), 97):
            beside.write_bytes(good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1 :])
            with TinyFlux(path, checkpoint=True) as db:
                assert db.get_field_values("i") == [float(i) for i in range(40)]
        beside.write_bytes(good[:50])
        with TinyFlux(path, checkpoint=True) as db:
            assert len(db) == 41

    def test_without_asking_there_is_none(self, tmp_path: Path) -> None:
        with TinyFlux(tmp_path / "a.csv") as db:
            db.insert_multiple(points(40))
            db.remove(FieldQuery().i == 1.0)
        assert os.listdir(tmp_path) == ["a.csv"]


def test_room_that_was_given_before_power_was_lost_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(bytes(100))
    with pytest.warns(TornRowWarning, match="100 bytes"):
        db = TinyFlux(path)
    assert len(db) == 0
    db.insert(Point(time=START, fields={"i": 1.0}))
    db.close()
    assert path.read_bytes() == b"2024-01-01T00:00:00,_default,_field_i,1.0\r\n"


def test_a_file_has_its_name_durably_before_an_insert_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    opened: dict[int, str] = {}

    class Noting:
        def __getattr__(self, name: str) -> Any:
            def call(*args: Any) -> Any:
                folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
                calls.append(f"{opened[args[0]]} synced" if folder else name)
                made = getattr(csvfile.Calls, name)(*args)
                if name == "open":
                    opened[made] = os.path.basename(args[0])
                return made

            return call

    monkeypatch.setattr(csvfile, "CALLS", Noting())
    for above in (["x synced", tmp_path.name + " synced"], []):
        with TinyFlux(tmp_path / "x" / "y" / "a.csv", create_dirs=True) as db:
            assert [call for call in calls if call.endswith("synced")] == above
            calls.clear()
            db.insert(Point())
            assert calls[calls.index("write") :] == ["write", "fsync", "open", "y synced", "close", "fstat"]
            calls.clear()
            db.insert(Point())
            assert "y synced" not in calls
        calls.clear()


class Refusing:
    """The system's calls, but for syncing folders, or opening them."""

    def __init__(self, error: OSError, opening: bool) -> None:
        self._error = error
        self._opening = opening

    def __getattr__(self, name: str) -> Any:
        def made(*args: Any) -> Any:
            opened = name == "open" and self._opening and os.path.isdir(args[0])
            if opened or (name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)):
                raise self._error
            return getattr(csvfile.Calls, name)(*args)

        return made


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL, errno.ENOENT])
def test_a_folder_that_cannot_be_synced_holds_nobody_up(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csvfile, "CALLS", Refusing(OSError(code, "no"), code == errno.EACCES))
    with TinyFlux(tmp_path / "x" / "a.csv", create_dirs=True) as db:
        db.insert(Point(time=START))
    assert (tmp_path / "x" / "a.csv").read_bytes() == b"2024-01-01T00:00:00,_default\r\n"


def test_a_folder_whose_sync_fails_refuses_the_insert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TinyFlux(tmp_path / "a.csv") as db:
        monkeypatch.setattr(csvfile, "CALLS", Refusing(OSError(errno.EIO, "gone"), False))
        with pytest.raises(OSError, match="gone"):
            db.insert(Point(time=START))
        assert (tmp_path / "a.csv").read_bytes() == b""


def test_another_file_under_the_name_has_its_own_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []
    plain = csvfile.sync_folder
    monkeypatch.setattr(csvfile, "sync_folder", lambda path: (folders.append(path), plain(path)))
    with TinyFlux(tmp_path / "a.csv") as db:
        db.insert(Point(time=START))
        os.replace(tmp_path / "a.csv", tmp_path / "b.csv")
        (tmp_path / "a.csv").touch()
        db.insert(Point(time=START))
        assert folders == [str(tmp_path / "a.csv")] * 2


def test_folders_are_made_where_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/sub")
    for path in ("a/../b/x.csv", "link/../new/x.csv"):
        with TinyFlux(path, create_dirs=True) as db:
            db.insert(Point(time=START))
    assert (tmp_path / "b" / "x.csv").exists()
    assert (tmp_path / "real" / "new" / "x.csv").exists()

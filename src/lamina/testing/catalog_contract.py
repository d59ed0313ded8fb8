"""What every Catalog must do, as a pytest class: subclass it and supply the fixture `catalog`, a new one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import (
    SECTION_NUMBERS,
    TABLES,
    BurntRow,
    DatabaseRow,
    MeasurementRow,
    PinRow,
    PointStateRow,
    RecordSectionRow,
    RecordStateRow,
    SecretRow,
    SettingRow,
    StreamRow,
)
from lamina.errors import Closed, Conflict, InvalidArgument, Unavailable
from lamina.testing.catalog_rows import ONE_OF_EACH, bucket, entry, points, root, section, segment, stream, uuid

TOP = "\U0010ffff"
"""The last code point: a prefix that ends in it has no successor by counting up."""


def put(catalog: Catalog, *rows: Any, deletes: Any = (), **fields: Any) -> None:
    """One commit at the catalog's epoch."""
    with catalog.snapshot() as snapshot:
        delta = CatalogDelta(snapshot.database().epoch)
    delta.puts = list(rows)
    delta.deletes = list(deletes)
    for name, value in fields.items():
        setattr(delta, name, value)
    catalog.commit(delta)


def content(catalog: Catalog) -> dict[str, list[Any]]:
    """Every row of every table."""
    with catalog.snapshot() as snapshot:
        return {table: list(snapshot.rows(table)) for table in TABLES}


class CatalogContract:
    @pytest.fixture
    def catalog(self) -> Catalog:
        raise NotImplementedError("the subclass supplies the catalog")

    # rows

    def test_a_new_catalog_has_a_database_row_and_nothing_else(self, catalog: Catalog) -> None:
        held = content(catalog)
        assert held.pop("database") == [DatabaseRow(b"", 0, 0, "", 0, 0)]
        assert set(map(len, held.values())) == {0}

    def test_every_kind_of_row_comes_back_as_it_was_put(self, catalog: Catalog) -> None:
        database = DatabaseRow(bytes(16), 5, 0, "me", 6, 7)
        put(catalog, *ONE_OF_EACH, database)
        held = content(catalog)
        assert [row for rows in held.values() for row in rows] == sorted(
            [database, *ONE_OF_EACH], key=lambda row: list(TABLES.values()).index(type(row))
        )
        with catalog.snapshot() as snapshot:
            assert snapshot.database() == database
            assert snapshot.segment(3) == segment(3)
            assert snapshot.stream(1) == snapshot.stream_by_uuid(uuid(1)) == ONE_OF_EACH[1]
            assert snapshot.root(2) == ONE_OF_EACH[4]
            assert snapshot.burnt(uuid(99)) == BurntRow(uuid(99), 17)
            assert snapshot.pin("before/upgrade") == next(snapshot.pins()) == ONE_OF_EACH[6]
            assert snapshot.token("ci") == next(snapshot.tokens()) == ONE_OF_EACH[7]
            assert snapshot.setting("retention") == ONE_OF_EACH[8]
            assert snapshot.secret("cache") == ONE_OF_EACH[9]
            assert list(snapshot.segments()) == [segment(3)]
            assert [row.stream for row in snapshot.all_roots()] == [1, 2]
            assert list(snapshot.buckets()) == [ONE_OF_EACH[10]]
            assert snapshot.entry(2) == next(snapshot.entries(1)) == ONE_OF_EACH[11]
            assert snapshot.record_states([2]) == {2: ONE_OF_EACH[12]}
            assert snapshot.record_sections([2]) == {2: [ONE_OF_EACH[13]]}
            assert list(snapshot.sections_of_segment(3)) == [ONE_OF_EACH[13]]
            assert list(snapshot.replications()) == [ONE_OF_EACH[14]]
            assert list(snapshot.lifecycles()) == [ONE_OF_EACH[15]]
            assert [snapshot.measurement(4)] == list(snapshot.measurements()) == [ONE_OF_EACH[16]]
            assert snapshot.point_state(4) == ONE_OF_EACH[17]
            assert list(snapshot.point_sections(4)) == [ONE_OF_EACH[18]]
            assert list(snapshot.point_sections_of_segment(3)) == [ONE_OF_EACH[18]]
        assert list(catalog.check()) == []

    def test_absent_rows_are_none(self, catalog: Catalog) -> None:
        put(catalog, *ONE_OF_EACH)
        with catalog.snapshot() as snapshot:
            for id in (0, 5):
                assert snapshot.stream(id) is None
                assert snapshot.root(id) is None
                assert snapshot.segment(id) is None
                assert snapshot.stream_by_uuid(uuid(id)) is None
                assert snapshot.burnt(uuid(id)) is None
                assert snapshot.measurement(id) is None
                assert snapshot.point_state(id) is None
            for name in ("", "a", "z"):
                assert snapshot.pin(name) is None
                assert snapshot.token(name) is None
                assert snapshot.setting(name) is None
                assert snapshot.secret(name) is None
            assert snapshot.stream_by_tags("plant/a", {"name": "y"}) is None
            assert snapshot.stream_by_tags("plant", {"name": "x"}) is None

    def test_rows_come_by_key(self, catalog: Catalog) -> None:
        names = ["", "a", "B", "ä", "\U0001f600", "z", "\uffff"]
        put(catalog, *(SettingRow(name, {}) for name in names), *(root(id) for id in (300, 2, 70_000, 1)))
        held = content(catalog)
        assert [row.name for row in held["setting"]] == sorted(names)
        assert [row.stream for row in held["stream_root"]] == [1, 2, 300, 70_000]

    def test_a_put_replaces_and_a_delete_removes(self, catalog: Catalog) -> None:
        put(catalog, *ONE_OF_EACH)
        put(catalog, root(1, 12), stream(1, "new"), SecretRow("cache", b"2"))
        deletes = [("stream", 2), ("stream_root", 2), ("burnt_uuid", uuid(99)), ("pin", "no such pin")]
        put(catalog, deletes=deletes)
        with catalog.snapshot() as snapshot:
            assert snapshot.root(1) == root(1, 12)
            assert snapshot.stream_by_uuid(uuid(1)) == stream(1, "new")
            assert snapshot.secret("cache") == SecretRow("cache", b"2")
            assert snapshot.stream(2) is None
            assert snapshot.root(2) is None
            assert snapshot.burnt(uuid(99)) is None
            assert snapshot.stream_by_tags("plant/a", {"name": "s0002"}) is None

    def test_deletes_go_before_puts_and_the_later_put_wins(self, catalog: Catalog) -> None:
        put(catalog, stream(1))
        heir = stream(2, tags={"name": "s0001"})
        put(catalog, PinRow("p", 1, 1), heir, PinRow("p", 2, 2), deletes=[("stream", 1), ("pin", "p")])
        with catalog.snapshot() as snapshot:
            assert snapshot.pin("p") == PinRow("p", 2, 2)
            assert snapshot.stream_by_tags("plant/a", {"name": "s0001"}) == heir

    def test_rows_do_not_share_dicts_with_their_users(self, catalog: Catalog) -> None:
        tags = {"name": "a"}
        put(catalog, stream(1, tags=tags))
        tags["name"] = "changed"
        with catalog.snapshot() as snapshot:
            snapshot.stream(1).tags["name"] = "changed"  # type: ignore[union-attr]
            assert snapshot.stream(1).tags == {"name": "a"}  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "row",
        [
            root(1 << 63),
            root(1, points="7"),
            root(1, points=1.5),
            root(1, root="text"),
            stream(1, collection="\ud800"),
            stream(1, tags=None),
            stream(1, retention=7),
            stream(1, uuid="no uuid"),
            SettingRow("s", {"x": b"bytes"}),
            ONE_OF_EACH[7]._replace(ip_allowlist=("::1",)),
            ONE_OF_EACH[7]._replace(ip_allowlist=["::1", 7]),
            section(3, 0, 2)._replace(segment=4),
            section(3, 0, 2, t_min=1 << 63),
            points(3, 0, 2)._replace(segment=4),
        ],
        ids=[
            *("key", "text", "float", "blob", "surrogate", "tags", "retention", "uuid", "json"),
            *("tuple", "list", "segment", "time", "points"),
        ],
    )
    def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(self, catalog: Catalog, row: Any) -> None:
        with pytest.raises(InvalidArgument):
            put(catalog, PinRow("p", 1, 1), row)
        assert content(catalog)["pin"] == []
        put(catalog, PinRow("q", 1, 1))

    @pytest.mark.parametrize(
        "delete", [("pin", 7), ("stream", "x"), ("burnt_uuid", "x"), ("no table", 1), ("database", 0)]
    )
    def test_a_key_that_does_not_fit_is_refused(self, catalog: Catalog, delete: Any) -> None:
        with pytest.raises(InvalidArgument):
            put(catalog, deletes=[delete])

    def test_an_unknown_table_is_refused(self, catalog: Catalog) -> None:
        with catalog.snapshot() as snapshot, pytest.raises(InvalidArgument, match="sqlite_schema"):
            snapshot.rows("sqlite_schema")

    # transactions

    def test_a_stale_epoch_conflicts_and_changes_nothing(self, catalog: Catalog) -> None:
        first = catalog.acquire_epoch("one")
        second = catalog.acquire_epoch("two")
        assert second == first + 1
        delta = CatalogDelta(first)
        delta.puts.append(PinRow("p", 1, 1))
        with pytest.raises(Conflict, match=f"epoch {second}"):
            catalog.commit(delta)
        with catalog.snapshot() as snapshot:
            assert snapshot.pin("p") is None
            assert (snapshot.database().epoch, snapshot.database().instance) == (second, "two")

    def test_expected_roots_are_compared(self, catalog: Catalog) -> None:
        put(catalog, root(1, 11))
        put(catalog, root(1, 12), root(2, 20), expect_roots={1: 11, 2: 0})
        for wrong in ({1: 11}, {1: 0}, {2: 20, 3: 5}, {4: 1}):
            with pytest.raises(Conflict, match="root of stream"):
                put(catalog, root(2, 99), expect_roots=wrong)
        with catalog.snapshot() as snapshot:
            assert snapshot.root(1) == root(1, 12)
            assert snapshot.root(2) == root(2, 20)

    def test_expected_record_states_are_compared(self, catalog: Catalog) -> None:
        put(catalog, RecordStateRow(1, 11, 1), expect_record_states={1: 0})
        put(catalog, RecordStateRow(1, 12, 1), RecordStateRow(2, 20, 1), expect_record_states={1: 11, 2: 0})
        for wrong in ({1: 11}, {1: 0}, {2: 20, 3: 5}, {4: 1}):
            with pytest.raises(Conflict, match="sections of entry"):
                put(catalog, RecordStateRow(2, 99, 1), PinRow("p", 1, 1), expect_record_states=wrong)
        with catalog.snapshot() as snapshot:
            assert snapshot.record_states([1, 2, 3]) == {1: RecordStateRow(1, 12, 1), 2: RecordStateRow(2, 20, 1)}
            assert snapshot.pin("p") is None
        with pytest.raises(InvalidArgument):
            put(catalog, expect_record_states={"e": 1})

    def test_expected_point_states_are_compared(self, catalog: Catalog) -> None:
        put(catalog, PointStateRow(1, 11, 1), expect_point_states={1: 0})
        put(catalog, PointStateRow(1, 12, 1), PointStateRow(2, 20, 1), expect_point_states={1: 11, 2: 0})
        for wrong in ({1: 11}, {1: 0}, {2: 20, 3: 5}, {4: 1}):
            with pytest.raises(Conflict, match="sections of measurement"):
                put(catalog, PointStateRow(2, 99, 1), PinRow("p", 1, 1), expect_point_states=wrong)
        with catalog.snapshot() as snapshot:
            assert snapshot.point_state(1) == PointStateRow(1, 12, 1)
            assert snapshot.point_state(2) == PointStateRow(2, 20, 1)
            assert snapshot.pin("p") is None
        with pytest.raises(InvalidArgument):
            put(catalog, expect_point_states={"m": 1})

    def test_measurements_have_names_of_their_own(self, catalog: Catalog) -> None:
        put(catalog, MeasurementRow(1, "m", 3))
        with pytest.raises(Conflict):
            put(catalog, PinRow("p", 1, 1), MeasurementRow(2, "m", 3))
        put(catalog, MeasurementRow(1, "n", 3), MeasurementRow(2, "m", 3))
        put(catalog, MeasurementRow(3, "m", 4), deletes=[("measurement", 2)])
        assert content(catalog)["measurement"] == [MeasurementRow(1, "n", 3), MeasurementRow(3, "m", 4)]
        assert content(catalog)["pin"] == []

    def test_only_the_living_need_names_of_their_own(self, catalog: Catalog) -> None:
        put(catalog, bucket(1, name="b"), entry(1, 1, "e"), entry(2, 2, "e"))
        for twin in (bucket(2, name="b"), entry(3, 1, "e")):
            with pytest.raises(Conflict):
                put(catalog, PinRow("p", 1, 1), twin)
        put(catalog, bucket(2, name="b", dead=7), bucket(3, name="b", dead=7), entry(3, 1, "e", dead=7))
        put(catalog, bucket(1, name="b", dead=9), bucket(2, name="b"), entry(1, 1, "f"), entry(3, 1, "e"))
        with pytest.raises(Conflict):
            put(catalog, bucket(3, name="b"))
        with pytest.raises(Conflict):
            put(catalog, entry(4, 1, "f"))
        put(catalog, bucket(3, name="b"), entry(4, 1, "f"), deletes=[("bucket", 2), ("entry", 1)])
        held = content(catalog)
        assert held["pin"] == []
        assert held["bucket"] == [bucket(1, name="b", dead=9), bucket(3, name="b")]
        assert held["entry"] == [entry(2, 2, "e"), entry(3, 1, "e"), entry(4, 1, "f")]

    @pytest.mark.parametrize(
        "twin",
        [
            stream(2, uuid=uuid(1)),
            stream(2, tags={"name": "s0001"}),
            stream(2, tags={"unit": "", "name": "s0001"}),
        ],
        ids=["uuid", "tags", "tags with empty ones"],
    )
    def test_a_second_stream_of_one_identity_conflicts_and_all_is_rolled_back(
        self, catalog: Catalog, twin: StreamRow
    ) -> None:
        put(catalog, stream(1), PinRow("p", 1, 1))
        before = content(catalog)
        with pytest.raises(Conflict):
            put(catalog, stream(3), twin, PinRow("p", 2, 2), deletes=[("pin", "p")])
        assert content(catalog) == before
        put(catalog, stream(3))  # the catalog goes on

    def test_the_applied_seq_never_falls(self, catalog: Catalog) -> None:
        catalog.acquire_epoch("me")
        put(catalog, meta_applied_seq=7, last_wall_us=100)
        put(catalog, meta_applied_seq=5, last_wall_us=50)
        with catalog.snapshot() as snapshot:
            held = snapshot.database()
        assert (held.meta_applied_seq, held.last_wall_us) == (7, 50)
        put(catalog, held._replace(id=b"i" * 16, meta_applied_seq=1, epoch=0), meta_applied_seq=8)
        with catalog.snapshot() as snapshot:
            assert snapshot.database() == held._replace(id=b"i" * 16, meta_applied_seq=8)

    def test_reserved_numbers_never_repeat(self, catalog: Catalog) -> None:
        assert catalog.reserve("object", 1) == range(1, 2)
        assert catalog.reserve("object", 1000) == range(2, 1002)
        assert catalog.reserve("segment", 3) == range(1, 4)
        assert catalog.reserve("object", 1) == range(1002, 1003)
        assert catalog.reserve("ordinal", 1 << 36) == range(1, 1 + (1 << 36))
        assert catalog.reserve("ordinal", 1) == range(1 + (1 << 36), 2 + (1 << 36))

    def test_reserving_checks_its_arguments(self, catalog: Catalog) -> None:
        with pytest.raises(InvalidArgument, match="at least 1"):
            catalog.reserve("object", 0)
        with pytest.raises(InvalidArgument, match="'stream'"):
            catalog.reserve("stream", 1)  # type: ignore[arg-type]
        assert catalog.reserve("segment", (1 << 32) - 1).stop == 1 << 32
        with pytest.raises(Unavailable, match="0 are left"):
            catalog.reserve("segment", 1)

    def test_concurrent_reservations_are_disjoint(self, catalog: Catalog) -> None:
        given: list[int] = []

        def take() -> None:
            for _ in range(20):
                given.extend(catalog.reserve("object", 3))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(given) == list(range(1, 241))

    # queries over streams

    def test_tags_identify_without_empty_ones_and_in_any_order(self, catalog: Catalog) -> None:
        row = stream(1, tags={"unit": "V", "name": "a", "ingress": ""})
        put(catalog, row, stream(2, tags={}), stream(3, "other", tags={"unit": "V", "name": "a"}))
        with catalog.snapshot() as snapshot:
            assert snapshot.stream_by_tags("plant/a", {"name": "a", "distiller": "", "unit": "V"}) == row
            assert snapshot.stream_by_tags("plant/a", {"name": "a"}) is None
            assert snapshot.stream_by_tags("plant/a", {"name": ""}) == stream(2, tags={})

    def test_streams_are_found_by_collection_tags_and_annotations(self, catalog: Catalog) -> None:
        rows = [
            stream(1, "a", tags={"name": "x", "unit": "V"}, annotations={"k": "1", "e": ""}),
            stream(2, "a", tags={"name": "y", "unit": "A"}, annotations={"k": "2"}),
            stream(3, "ab", tags={"name": "x", "unit": "V"}, annotations={'a"k': "1", "v": '"k":"1"'}),
            stream(4, "b", tags={"name": "", "unit": ""}),
        ]
        put(catalog, *rows)
        with catalog.snapshot() as snapshot:

            def ids(*arguments: Any, **conditions: Any) -> list[int]:
                return [row.id for row in snapshot.streams(*arguments, **conditions)]

            assert ids() == [1, 2, 3, 4]
            assert ids("a") == [1, 2]
            assert ids("a", True) == [1, 2, 3]
            assert ids("", True) == [1, 2, 3, 4]
            assert ids("") == ids("c") == ids("c", True) == ids("A") == []
            assert ids(tags={"name": "x"}) == [1, 3]
            assert ids("a", tags={"name": "x"}) == [1]
            assert ids(tags={"name": None}) == [1, 2, 3]
            assert ids(tags={"name": ""}) == ids(tags={"unit": ""}) == [4]
            assert ids(tags={"unit": "V", "name": None}) == [1, 3]
            assert ids(tags={"none": ""}) == [1, 2, 3, 4]
            assert ids(tags={"none": None}) == ids(tags={"unit": "v"}) == []
            assert ids(annotations={"k": None}) == [1, 2]
            assert ids(annotations={"k": "1"}) == [1]
            assert ids(annotations={"e": ""}) == [1]
            assert ids(annotations={"k": ""}) == ids(annotations={"k": "1", "e": "x"}) == []
            assert ids("a", True, tags={"unit": "V"}, annotations={"v": None}) == [3]

    def test_streams_come_by_collection_name_and_id(self, catalog: Catalog) -> None:
        places = [("b", "z"), ("a", "y"), ("a", "y"), ("a", ""), ("\U0001f600", "a"), ("\uffff", "a"), ("a", "Y")]
        rows = [
            stream(id, collection, tags={"name": name, "n": str(id)}) for id, (collection, name) in enumerate(places, 1)
        ]
        put(catalog, *reversed(rows))
        with catalog.snapshot() as snapshot:
            found = [(row.collection, row.tags["name"], row.id) for row in snapshot.streams()]
        assert found == sorted(found)
        assert len(found) == len(places)

    def test_prefixes_are_plain_text_up_to_the_last_code_point(self, catalog: Catalog) -> None:
        names = [
            "a", "a%", "a%b", "a_", "a_b", "ab", "A", "a\0b", "", "%", "_", "ä", "a\ud7ff", "a\ud7ffx",
            "a\ue000", "a\uffff", "a\U0001f600", "a\U0001f600b", "a\U0001f601", f"a{TOP}", f"a{TOP}{TOP}b",
            TOP, f"{TOP}{TOP}", "b",
        ]  # fmt: skip
        put(catalog, *(stream(id, name) for id, name in enumerate(names, 1)))
        with catalog.snapshot() as snapshot:
            for prefix in [*names, "a\ud7fe", "zz", f"{TOP}{TOP}{TOP}", "\U0010fffe"]:
                expected = sorted(name for name in names if name.startswith(prefix))
                assert list(snapshot.collections(prefix)) == expected, prefix
                assert [row.collection for row in snapshot.streams(prefix, True)] == expected, prefix
                exact = [name for name in names if name == prefix]
                assert [row.collection for row in snapshot.streams(prefix)] == exact, prefix
            assert list(snapshot.collections()) == sorted(names)

    def test_text_without_utf8_form_is_refused(self, catalog: Catalog) -> None:
        with catalog.snapshot() as snapshot:
            for call in (
                lambda: snapshot.pin("\ud800"),
                lambda: snapshot.streams("\ud800"),
                lambda: snapshot.streams(tags={"name": "\ud800"}),
                lambda: snapshot.streams(annotations={"\ud800": None}),
                lambda: snapshot.collections("\ud800"),
                lambda: snapshot.stream_by_tags("a", {"\ud800": "x"}),
            ):
                with pytest.raises(InvalidArgument):
                    call()

    def test_a_collection_is_listed_once_while_it_has_streams(self, catalog: Catalog) -> None:
        put(catalog, *(stream(id, f"c{id % 3}") for id in range(1, 10)))
        with catalog.snapshot() as snapshot:
            assert list(snapshot.collections()) == ["c0", "c1", "c2"]
            assert snapshot.stream_count() == 9
        put(catalog, deletes=[("stream", id) for id in (1, 4, 7)])
        with catalog.snapshot() as snapshot:
            assert list(snapshot.collections("c")) == ["c0", "c2"]
            assert snapshot.stream_count() == 6

    def test_roots_of_many_streams_leave_absent_ones_out(self, catalog: Catalog) -> None:
        put(catalog, *(root(id) for id in range(2, 1000, 2)))
        with catalog.snapshot() as snapshot:
            assert snapshot.roots(range(1, 2000)) == {id: root(id) for id in range(2, 1000, 2)}
            assert snapshot.roots([]) == snapshot.roots([1, 5000]) == {}

    # queries over records

    def test_entries_are_those_of_a_bucket_by_id(self, catalog: Catalog) -> None:
        rows = [entry(id, 1 + id % 3, dead=id % 2) for id in range(1, 700)]
        put(catalog, *reversed(rows))
        with catalog.snapshot() as snapshot:
            for held in range(6):
                assert list(snapshot.entries(held)) == [row for row in rows if row.bucket == held]
            assert snapshot.entry(5) == rows[4]
            assert snapshot.entry(700) is snapshot.entry(0) is None

    def test_sections_of_many_entries_come_by_time_and_leave_absent_ones_out(self, catalog: Catalog) -> None:
        rows = [
            section(segment, number, 3 * number, t_min=(segment * 7919) % 13 - (1 << 63), dead=segment % 2)
            for segment in range(1, 30)
            for number in range(1, 9)
        ]
        put(catalog, *rows)
        by_time = sorted(rows, key=lambda row: (row.entry, row.t_min, row.id))
        with catalog.snapshot() as snapshot:
            for asked in ([], [1], [3], [24], [25], [2, 4], [9, 3, 9], range(100), [3, 6, 7], [21, 30], [-5, 12]):
                expected: dict[int, list[RecordSectionRow]] = {}
                for row in by_time:
                    if row.entry in asked:
                        expected.setdefault(row.entry, []).append(row)
                assert snapshot.record_sections(asked) == expected, asked
            with pytest.raises(InvalidArgument):
                snapshot.record_sections(["e"])  # type: ignore[list-item]

    def test_sections_are_found_by_segment(self, catalog: Catalog) -> None:
        rows = [section(segment, number, 1) for segment in (1, 2, 4) for number in (0, 7, SECTION_NUMBERS - 1)]
        put(catalog, *rows)
        with catalog.snapshot() as snapshot:
            for segment in range(6):
                assert list(snapshot.sections_of_segment(segment)) == [row for row in rows if row.segment == segment]

    def test_sections_of_points_come_by_time_and_by_segment(self, catalog: Catalog) -> None:
        rows = [
            points(segment, number, 3 * number, t_min=(segment * 7919) % 13 - 6, dead=segment % 2)
            for segment in range(1, 30)
            for number in range(1, 9)
        ]
        put(catalog, *reversed(rows), section(7, 0, 3), segment(1))
        by_time = sorted(rows, key=lambda row: (row.measurement, row.t_min, row.id))
        with catalog.snapshot() as snapshot:
            for asked in range(-2, 30):
                assert list(snapshot.point_sections(asked)) == [row for row in by_time if row.measurement == asked]
                found = list(snapshot.point_sections_of_segment(asked))
                assert found == [row for row in rows if row.segment == asked]

    def test_states_of_many_entries_leave_absent_ones_out(self, catalog: Catalog) -> None:
        rows = [RecordStateRow(entry, 5, 1) for entry in range(2, 1000, 2)]
        put(catalog, *rows)
        with catalog.snapshot() as snapshot:
            assert snapshot.record_states(range(2000)) == {row.entry: row for row in rows}
            assert snapshot.record_states([]) == snapshot.record_states([1, 5000]) == {}

    # snapshots

    def test_a_snapshot_stays_as_it_was(self, catalog: Catalog) -> None:
        put(catalog, stream(1), root(1))
        with catalog.snapshot() as before:
            put(catalog, stream(2), root(1, 12), deletes=[("stream", 1)], meta_applied_seq=5)
            with catalog.snapshot() as after:
                assert (before.root(1), after.root(1)) == (root(1), root(1, 12))
                assert [row.id for row in before.streams()] == [1]
                assert [row.id for row in after.streams()] == [2]
                assert before.stream_by_uuid(uuid(1)) == stream(1)
                assert after.stream_by_uuid(uuid(1)) is before.stream_by_uuid(uuid(2)) is None
                assert (before.database().meta_applied_seq, after.database().meta_applied_seq) == (0, 5)
            assert before.stream_count() == 1

    def test_a_running_iterator_does_not_see_later_commits(self, catalog: Catalog) -> None:
        put(catalog, *(root(id) for id in range(1, 2001)))
        with catalog.snapshot() as snapshot:
            found = snapshot.all_roots()
            assert next(found) == root(1)
            put(catalog, root(5000), deletes=[("stream_root", id) for id in range(1000, 2001)])
            assert [row.stream for row in found] == list(range(2, 2001))

    def test_a_closed_snapshot_answers_nothing(self, catalog: Catalog) -> None:
        put(catalog, *(root(id) for id in range(1, 1001)), stream(1))
        snapshot = catalog.snapshot()
        running: list[Any] = [
            snapshot.all_roots(),
            snapshot.streams(),
            snapshot.collections(),
            snapshot.entries(1),
            snapshot.sections_of_segment(1),
            snapshot.point_sections(1),
            snapshot.point_sections_of_segment(1),
        ]
        next(running[0])
        closer = threading.Thread(target=snapshot.close)
        closer.start()
        closer.join(10)
        snapshot.close()
        calls: list[Callable[[], object]] = [
            snapshot.database,
            snapshot.stream_count,
            lambda: snapshot.root(1),
            lambda: snapshot.roots([1]),
            lambda: snapshot.record_sections([1]),
            lambda: list(snapshot.pins()),
            *(partial(list, iterator) for iterator in running),
        ]
        for call in calls:
            with pytest.raises(Closed):
                call()
        with catalog.snapshot() as another:
            assert another.root(1) == root(1)

    def test_a_snapshot_serves_several_threads(self, catalog: Catalog) -> None:
        put(catalog, *(root(id) for id in range(1, 301)))
        wrong: list[object] = []
        with catalog.snapshot() as snapshot:

            def read() -> None:
                for id in range(1, 301):
                    if snapshot.root(id) != root(id):
                        wrong.append(id)
                if len(list(snapshot.all_roots())) != 300:
                    wrong.append("rows")

            threads = [threading.Thread(target=read) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert wrong == []

    def test_closing_the_catalog_closes_open_snapshots(self, catalog: Catalog) -> None:
        put(catalog, *(root(id) for id in range(1, 1001)))
        snapshot = catalog.snapshot()
        running = snapshot.all_roots()
        next(running)
        catalog.close()
        catalog.close()
        for call in (
            lambda: snapshot.root(1),
            lambda: list(running),
            catalog.snapshot,
            lambda: catalog.commit(CatalogDelta(0)),
            lambda: catalog.reserve("object", 1),
            lambda: catalog.acquire_epoch("x"),
        ):
            with pytest.raises(Closed):
                call()
        snapshot.close()

    # upkeep

    def test_check_finds_roots_of_no_stream(self, catalog: Catalog) -> None:
        put(catalog, stream(1), root(1), root(7))
        (finding,) = catalog.check()
        assert "stream_root" in finding
        assert "7" in finding

    def test_check_finds_sections_of_no_segment(self, catalog: Catalog) -> None:
        put(catalog, segment(1), section(1, 0, 1), section(2, 0, 1), points(1, 1, 1), points(3, 0, 1))
        for finding, table in zip(catalog.check(), ("record_section", "point_section"), strict=True):
            assert table in finding
            assert "no such segment" in finding

    def test_a_backup_is_a_catalog_with_the_same_content(self, catalog: Catalog, tmp_path: Any) -> None:
        from lamina.catalog.sqlite import SqliteCatalog

        catalog.acquire_epoch("me")
        put(catalog, *ONE_OF_EACH)
        catalog.reserve("object", 41)
        target = str(tmp_path / "copy of 100%?#.sqlite")
        catalog.backup(target)
        put(catalog, PinRow("later", 1, 1), deletes=[("pin", "before/upgrade")])
        copy = SqliteCatalog.open(target, create=False)
        try:
            expected = content(catalog) | {"pin": [ONE_OF_EACH[6]]}
            assert content(copy) == expected
            assert list(copy.check()) == []
            assert copy.reserve("object", 1) == range(42, 43)
        finally:
            copy.close()
        with pytest.raises(Unavailable, match="exists"):
            catalog.backup(target)

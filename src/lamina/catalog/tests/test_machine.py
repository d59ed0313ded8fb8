"""Model: the catalog in a file against the one in plain Python, over random commits and open snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamina.catalog.catalog import Catalog, CatalogDelta, CatalogSnapshot
from lamina.catalog.memory import MemoryCatalog
from lamina.catalog.rows import (
    TABLES,
    BurntRow,
    MeasurementRow,
    PinRow,
    PointStateRow,
    RecordStateRow,
    SettingRow,
    StreamRow,
)
from lamina.catalog.sqlite import SqliteCatalog
from lamina.errors import LaminaError
from lamina.testing.catalog_rows import bucket, entry, points, root, section, segment, uuid

IDS = st.integers(1, 6)
TEXTS = st.sampled_from(["", "a", "a%", "a_", "ab", "b", "ä", "\uffff", "\U0001f600", "\U0010ffff"])
TAGS = st.dictionaries(st.sampled_from(["name", "unit"]), st.sampled_from(["", "x", "y"]))
NOTES = st.dictionaries(st.sampled_from(["k", 'q"']), TEXTS, max_size=2)
CONDITIONS = st.none() | st.dictionaries(
    st.sampled_from(["name", "unit", "k", 'q"']), st.none() | st.sampled_from(["", "x", "a"]), max_size=2
)
STREAMS = st.builds(
    lambda id, twin, place, tags, notes: StreamRow(id, uuid(twin or id), place, tags, notes, 1, 2, 0, None),
    IDS,
    st.none() | IDS,
    TEXTS,
    TAGS,
    NOTES,
)
ROWS = st.one_of(
    STREAMS,
    STREAMS,
    st.builds(root, IDS, st.integers(10, 12)),
    st.builds(segment, IDS),
    st.builds(PinRow, TEXTS, IDS, IDS),
    st.builds(lambda id: BurntRow(uuid(id), id), IDS),
    st.builds(lambda name, n: SettingRow(name, {"n": n}), TEXTS, st.floats(allow_nan=False)),
    st.builds(lambda id, name, dead: bucket(id, name=name, dead=dead), IDS, TEXTS, st.integers(0, 1)),
    st.builds(lambda id, of, name, dead: entry(id, of, name, dead=dead), IDS, IDS, TEXTS, st.integers(0, 1)),
    st.builds(RecordStateRow, IDS, st.integers(10, 12), IDS),
    st.builds(MeasurementRow, IDS, TEXTS, IDS),
    st.builds(PointStateRow, IDS, st.integers(10, 12), IDS),
    st.builds(lambda segment, n, of, t: points(segment, n, of, t_min=t), IDS, IDS, IDS, IDS),
    st.builds(lambda segment, n, of, t: section(segment, n, of, t_min=t), IDS, IDS, IDS, IDS),
    st.builds(lambda segment, n, of, t: section(segment, n, of, t_min=t), IDS, IDS, IDS, IDS),
)
DELETES = st.one_of(
    st.tuples(
        st.sampled_from(
            ["stream", "stream_root", "segment", "bucket", "entry", "record_state", "measurement", "point_state"]
        ),
        IDS,
    ),
    st.builds(lambda segment, n: ("point_section", points(segment, n, 1).id), IDS, IDS),
    st.builds(lambda segment, n: ("record_section", section(segment, n, 1).id), IDS, IDS),
    st.tuples(st.sampled_from(["pin", "setting"]), TEXTS),
    st.builds(lambda id: ("burnt_uuid", uuid(id)), IDS),
)


def answers(snapshot: CatalogSnapshot, place: str, tags: Any, notes: Any) -> list[Any]:
    """What a snapshot says to every kind of question."""
    return [
        *(list(snapshot.rows(table)) for table in TABLES),
        *(list(snapshot.streams(where, prefix, tags, notes)) for where in (None, place) for prefix in (False, True)),
        list(snapshot.collections(place)),
        snapshot.roots(range(8)),
        snapshot.record_states(range(8)),
        snapshot.record_sections(range(8)),
        *(snapshot.record_sections([id, id + 2]) for id in range(6)),
        *(list(snapshot.sections_of_segment(id)) for id in range(8)),
        *((list(snapshot.entries(id)), snapshot.entry(id)) for id in range(8)),
        *((snapshot.measurement(id), snapshot.point_state(id)) for id in range(8)),
        *((list(snapshot.point_sections(id)), list(snapshot.point_sections_of_segment(id))) for id in range(8)),
        snapshot.stream_count(),
        *((snapshot.stream(id), snapshot.root(id), snapshot.segment(id)) for id in range(8)),
        *((snapshot.stream_by_uuid(uuid(id)), snapshot.burnt(uuid(id))) for id in range(8)),
        *(snapshot.stream_by_tags(place, {"name": name}) for name in ("", "x", "y")),
        (
            snapshot.pin(place),
            snapshot.token(place),
            snapshot.setting(place),
            snapshot.secret(place),
            snapshot.database(),
        ),
    ]


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "catalog.sqlite")
        self.file: Catalog = SqliteCatalog.open(self.path, create=True)
        self.model: Catalog = MemoryCatalog()
        self.epoch = 0
        self.held: list[tuple[CatalogSnapshot, CatalogSnapshot]] = []

    def both(self, call: Any) -> Any:
        """The same call on both; the same result, or an error of the same kind."""
        results: list[Any] = []
        for catalog in (self.file, self.model):
            try:
                results.append(call(catalog))
            except LaminaError as error:
                results.append(type(error))
        assert results[0] == results[1]
        return results[0]

    @rule(
        rows=st.lists(ROWS, max_size=6),
        deletes=st.lists(DELETES, max_size=3),
        expect=st.dictionaries(IDS, st.sampled_from([0, 0, 10, 11, 12]), max_size=2),
        states=st.dictionaries(IDS, st.sampled_from([0, 0, 10, 11, 12]), max_size=2),
        points=st.dictionaries(IDS, st.sampled_from([0, 0, 10, 11, 12]), max_size=1),
        seq=st.none() | IDS,
        stale=st.integers(0, 9),
    )
    def commit(
        self, rows: Any, deletes: Any, expect: Any, states: Any, points: Any, seq: int | None, stale: int
    ) -> None:
        delta = CatalogDelta(self.epoch - (stale == 0))
        delta.expect_record_states, delta.expect_point_states = states, points
        delta.puts, delta.deletes, delta.expect_roots, delta.meta_applied_seq = rows, deletes, expect, seq
        self.both(lambda catalog: catalog.commit(delta))

    @rule()
    def acquire(self) -> None:
        self.epoch = self.both(lambda catalog: catalog.acquire_epoch("x"))

    @rule(n=st.integers(0, 3), sequence=st.sampled_from(["object", "segment", "ordinal"]))
    def reserve(self, n: int, sequence: Any) -> None:
        self.both(lambda catalog: catalog.reserve(sequence, n))

    @rule()
    def hold(self) -> None:
        self.held.append((self.file.snapshot(), self.model.snapshot()))

    @precondition(lambda self: self.held)
    @rule(place=TEXTS, tags=CONDITIONS, notes=CONDITIONS, close=st.booleans(), data=st.data())
    def ask_held(self, place: str, tags: Any, notes: Any, close: bool, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        one, two = self.held[index]
        assert answers(one, place, tags, notes) == answers(two, place, tags, notes)
        if close:
            del self.held[index]
            one.close()
            two.close()

    @rule(place=TEXTS, tags=CONDITIONS, notes=CONDITIONS)
    def ask(self, place: str, tags: Any, notes: Any) -> None:
        with self.file.snapshot() as one, self.model.snapshot() as two:
            assert answers(one, place, tags, notes) == answers(two, place, tags, notes)

    @rule()
    def reopen(self) -> None:
        for one, two in self.held:
            one.close()
            two.close()
        self.held = []
        self.file.close()
        self.file = SqliteCatalog.open(self.path, create=False)

    @invariant()
    def same_size(self) -> None:
        with self.file.snapshot() as one, self.model.snapshot() as two:
            assert one.stream_count() == two.stream_count()

    def teardown(self) -> None:
        assert list(self.file.check()) == list(self.model.check())
        self.file.close()
        self.folder.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

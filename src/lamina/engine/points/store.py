"""What all measurements of an open database share: slots, opened sections, the way to log and catalog."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import Catalog, CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import MeasurementRow, PointSectionRow
from lamina.engine.metadata import Change, Metadata
from lamina.engine.points.ordinals import Ordinals
from lamina.engine.points.publish import PointPublisher
from lamina.engine.points.sections import newest_segment
from lamina.engine.points.slot import MeasurementSlot
from lamina.engine.readers import Readers
from lamina.errors import Corrupt, InvalidArgument
from lamina.points.deaths import read_deaths
from lamina.points.names import check_measurement_name
from lamina.points.section import NO_SEQS, NONE_FRESH, Section, section_of
from lamina.points.sectionread import OpenSection, SectionReader
from lamina.points.state import MeasurementState, empty_state
from lamina.settings import Settings
from lamina.storage.address import ADDRESS
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.log import Log, Op, Ticket
from lamina.time import Clock

if TYPE_CHECKING:
    # Sealing is loaded by the first seal: a database of streams never needs it.
    from lamina.engine.points.seal import PointSealer

KIND = "points"
"""Of segments."""

IDS = 64
"""Object ids are reserved so many at a time: one durable catalog transaction for 64 measurements made."""

OPEN_SECTIONS = 4096
"""Sections whose directory and common columns are kept in memory, fewer if they take more than their share of the
cache: the least recently used go first."""


ADDED_UP = 64
"""Sections opened between two looks at what all take in memory: adding up thousands costs milliseconds."""


class Host(Protocol):
    """What is needed of the open database."""

    def check_open(self) -> None: ...

    def submit(self, ops: Sequence[Op], *, essential: bool = False) -> Ticket: ...

    def check_writable(self, essential: bool = False) -> None: ...


class PointStore:
    """Thread-safe. Measurements are known by name once the first is used, their states when each is first read."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        log: Log,
        blobs: Blobs,
        metadata: Metadata,
        publisher: PointPublisher,
        ordinals: Ordinals,
        publish_lock: threading.Lock,
        readers: Readers,
        read: BlockReader,
        clock: Clock,
        settings: Settings,
        segment_id: Callable[[], int],
        database_id: bytes,
        epoch: int,
    ) -> None:
        self.catalog = catalog
        self.doubtful: set[int] = set()  # segments of which nobody knows whether the catalog has them
        self.log = log
        self.blobs = blobs
        self.metadata = metadata
        self.publisher = publisher
        self.ordinals = ordinals
        self.publish_lock = publish_lock
        self.readers = readers
        self.read = read
        self.clock = clock
        self.settings = settings
        self.segment_id = segment_id
        self.database_id = database_id
        self.epoch = epoch
        self._lock = threading.RLock()  # guards the two below
        self.slots: dict[int, MeasurementSlot] = {}
        self.by_name: dict[str, MeasurementSlot] = {}
        self._rows: dict[str, MeasurementRow] | None = None  # not yet loaded
        self._sections: OrderedDict[bytes, SectionReader] = OrderedDict()  # by place
        self._opened = 0
        self._sections_lock = threading.Lock()  # guards the two above
        self.unsettled: dict[bytes, str] = {}  # place of a section -> why recovery could not tell what died in it
        self._ids = iter(range(0))  # reserved object ids; used under the metadata lane
        self._host: Host
        self._held = threading.local()  # `here`: this thread holds object locks of measurements
        self._sealer: PointSealer | None = None

    @property
    def sealer(self) -> PointSealer:
        with self._lock:
            if self._sealer is None:
                from lamina.engine.points.seal import PointSealer

                self._sealer = PointSealer(self)
            return self._sealer

    # -- what there is -------------------------------------------------------------------------------------------

    def _load_names(self) -> dict[str, MeasurementRow]:
        """Rows of measurements that have no slot yet, by name. The lock is held."""
        if self._rows is None:
            with self.catalog.snapshot() as snapshot:
                rows = list(snapshot.measurements())
            self._rows = {row.name: row for row in rows if row.id not in self.slots}
        return self._rows

    def find(self, name: str) -> MeasurementSlot | None:
        """The measurement of a name, whether it holds points or not; None if it never did."""
        slot = self.by_name.get(name)
        if slot is not None:
            return slot
        with self._lock:
            row = self._load_names().get(name)
            return self._make(row) if row is not None else self.by_name.get(name)

    def all(self) -> list[MeasurementSlot]:
        """Every measurement that ever held points, by name."""
        with self._lock:
            waiting = self._load_names()
            if waiting:
                rows = sorted(waiting.values(), key=lambda row: row.id)
                with self.catalog.snapshot() as snapshot:
                    for row in rows:
                        self._make(row, snapshot)
            return sorted(self.slots.values(), key=lambda slot: slot.name)

    def count(self) -> int:
        """How many measurements ever held points."""
        with self._lock:
            return len(self._load_names()) + len(self.slots)

    def slot_of(self, id: int) -> MeasurementSlot | None:
        """At recovery: the slot of a measurement; None if there is none."""
        slot = self.slots.get(id)
        if slot is None:
            with self.catalog.snapshot() as snapshot:
                row = snapshot.measurement(id)
                if row is None:
                    return None
                with self._lock:
                    slot = self._make(row, snapshot)
        return slot

    def _make(self, row: MeasurementRow, snapshot: CatalogSnapshot | None = None) -> MeasurementSlot:
        """Load a measurement's state. The lock is held."""
        if snapshot is None:
            with self.catalog.snapshot() as snapshot:
                return self._make(row, snapshot)
        if row.id in self.slots:
            return self.slots[row.id]
        held = snapshot.point_state(row.id)
        sections = [section_of(section) for section in snapshot.point_sections(row.id) if not section.dead]
        return self._add(row, empty_state(tuple(sections), held.applied_seq if held is not None else 0))

    def _add(self, row: MeasurementRow, state: MeasurementState) -> MeasurementSlot:
        slot = MeasurementSlot(row.id, row.name, row.created_us, state)
        slot.described = max((newest_segment(section.row) for section in state.sections), default=0)
        self.slots[row.id] = self.by_name[row.name] = slot
        if self._rows is not None:
            self._rows.pop(row.name, None)
        return slot

    def ensure(self, names: Iterable[str]) -> list[MeasurementSlot]:
        """The measurements of these names, made where there are none. Raises InvalidArgument for a name that cannot
        be; Unavailable, NoSpace."""
        wanted = list(names)
        for name in wanted:
            check_measurement_name(name)
        while True:
            found = [self.find(name) for name in wanted]
            slots = [slot for slot in found if slot is not None]
            if len(slots) == len(wanted):
                return slots
            self._create([name for name, slot in zip(wanted, found, strict=True) if slot is None])

    def _create(self, names: Sequence[str]) -> None:
        self.check_writable()
        made: list[MeasurementRow] = []

        def decide(_: CatalogSnapshot) -> Change:
            now = self.clock.wall_us()
            made[:] = [MeasurementRow(self._next_id(), name, now) for name in names if self.find(name) is None]
            return Change(made)

        def applied() -> None:
            with self._lock:
                for row in made:
                    self._add(row, empty_state())

        self.metadata.change(decide, applied=applied)

    def _next_id(self) -> int:
        """An id for a measurement. The metadata lane is held."""
        id = next(self._ids, None)
        if id is None:
            self._ids = iter(self.catalog.reserve("object", IDS))
            id = next(self._ids)
        return id

    def forget(self, slot: MeasurementSlot) -> None:
        """A measurement that is gone from the catalog. The publish lock is held."""
        self.publisher.drop(slot)
        with self._lock:
            self.slots.pop(slot.id, None)
            if self.by_name.get(slot.name) is slot:
                del self.by_name[slot.name]
            self._rows = None

    def reconcile(self) -> None:
        """After recovery: metadata may have changed since names were loaded."""
        with self._lock:
            self._rows = None

    # -- the way to the log --------------------------------------------------------------------------------------

    def attach(self, host: Host) -> None:
        """The open database, through which everything is submitted."""
        self._host = host

    def submit(self, submitted: Sequence[Op], *, essential: bool = False) -> Ticket:
        """Raises Unavailable, NoSpace, Closed, TooBig."""
        self.ordinals.prepare()
        return self._host.submit(submitted, essential=essential)

    def check_open(self) -> None:
        self._host.check_open()

    def check_writable(self, essential: bool = False) -> None:
        self._host.check_writable(essential)

    @contextmanager
    def locked(self, slots: Iterable[MeasurementSlot]) -> Iterator[None]:
        """Hold the object locks of measurements, in the order of their ids. The metadata lane may be taken inside:
        nobody who holds it waits for one of these. Raises InvalidArgument: see `check_unheld`."""
        self.check_unheld()
        with ExitStack() as locks:
            for slot in sorted(set(slots), key=lambda slot: slot.id):
                locks.enter_context(slot.lock)
            self._held.here = True
            locks.callback(setattr, self._held, "here", False)
            yield

    def check_unheld(self) -> None:
        """Raises InvalidArgument where a function given to a change would change points itself, or have them moved:
        what the change has selected would no longer be there when it is carried out."""
        if getattr(self._held, "here", False):
            raise InvalidArgument(
                "a function that is called while points are changed may read and insert points, but not change, remove,"
                " flush or compact them, nor close the database"
            )

    # -- reading -------------------------------------------------------------------------------------------------

    def states(self, slots: Sequence[MeasurementSlot]) -> tuple[list[MeasurementState], int]:
        """The states of several measurements at one moment, and the seq of the last change inside any of them: a
        change of several is seen in all of them or in none."""
        with self.publish_lock:
            states = [slot.state for slot in slots]
        return states, max((state.seq for state in states), default=0)

    def deaths(self, row: PointSectionRow) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Rows of a section that died since it was written, as the catalog knows them, and when. Raises Corrupt."""
        if not row.deaths:
            return NONE_FRESH, NO_SEQS
        (block,) = self.read.blocks(np.frombuffer(row.deaths, ADDRESS))
        return read_deaths(block)

    def open_section(self, section: Section) -> OpenSection:
        """A section and what died in it; what was written is kept in memory. Raises Corrupt, NotFound."""
        key = section.row.place
        if key in self.unsettled:
            raise Corrupt(self.unsettled[key])
        with self._sections_lock:
            found = self._sections.get(key)
            if found is not None:
                self._sections.move_to_end(key)
        if found is None:
            found = SectionReader(section.row, self.read.blocks)
            self._keep(key, found)
        return OpenSection(section, found)

    def check_settled(self, states: Iterable[MeasurementState]) -> None:
        """Raises Corrupt where it is not known how many points live."""
        if self.unsettled:
            for state in states:
                for section in state.sections:
                    if section.row.place in self.unsettled:
                        raise Corrupt(self.unsettled[section.row.place])

    def _keep(self, key: bytes, reader: SectionReader) -> None:
        """Readers grow while they are used: what all take is added up now and then."""
        limit = self.settings.cache_bytes // 4
        with self._sections_lock:
            self._sections[key] = reader
            if len(self._sections) > OPEN_SECTIONS:
                self._sections.popitem(last=False)
            self._opened += 1
            if self._opened % ADDED_UP == 0:
                held = sum(kept.resident_bytes for kept in self._sections.values())
                while len(self._sections) > ADDED_UP and held > limit:
                    held -= self._sections.popitem(last=False)[1].resident_bytes

    def commit_sections(self, delta: CatalogDelta, segment: int) -> None:
        """Commit what says what is in a new segment. Where that fails it may be in the catalog all the same; this life
        has it in tails and older sections, and goes by those."""
        self.doubtful.add(segment)
        self.catalog.commit(delta)
        self.doubtful.discard(segment)

    def dead_sections(self, measurement: int, seq: int) -> list[PointSectionRow]:
        """Sections of which nothing lives any more but did at a seq."""
        with self.catalog.snapshot() as snapshot:
            rows = snapshot.point_sections(measurement)
            return [row for row in rows if row.dead > seq and row.segment not in self.doubtful]

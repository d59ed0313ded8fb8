"""What all buckets of an open database share: slots, indexes in memory, payload files, the way to log and catalog."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import Catalog, CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import BucketRow, EntryRow, RecordSectionRow
from lamina.engine.metadata import Change, Metadata
from lamina.engine.readers import Readers
from lamina.engine.records.entry_slot import EntrySlot
from lamina.engine.records.publish import RecordPublisher
from lamina.errors import Corrupt, NoSpace, NotFound
from lamina.records.names import is_meta
from lamina.records.row import Place, place_in
from lamina.records.section import Section, section_of
from lamina.records.state import EntryState, empty_state
from lamina.settings import Settings
from lamina.storage.address import ADDRESS
from lamina.storage.blobs import Blobs
from lamina.storage.crc import crc32c
from lamina.storage.files import Files
from lamina.storage.log import Log, Op, Ticket
from lamina.storage.payloadfile import payload_path
from lamina.storage.payloads import PayloadFiles
from lamina.storage.segment import segment_name
from lamina.time import Clock

if TYPE_CHECKING:
    # What reads records is loaded by the first bucket: a database of streams never needs it.
    from lamina.engine.records.attachments import Attachments
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.buckets import Buckets
    from lamina.engine.records.found import Found
    from lamina.records.index import IndexSection
    from lamina.records.source import SectionSource

KIND = "records"
"""Of index segments."""


SECTIONS = 16
"""Blocks of so many sections are read at a time: more would not be faster, and leave memory that nobody uses."""

LARGE = 65_536
"""Contents above go past the log, whose own look at the free space does not see them."""

IDS = 64
"""Object ids are reserved so many at a time: one durable catalog transaction for 64 entries made."""


class Host(Protocol):
    """What is needed of the open database."""

    @property
    def files(self) -> Files: ...

    @property
    def tails_full(self) -> bool: ...

    def submit(self, ops: Sequence[Op], *, essential: bool = False) -> Ticket: ...

    def check_writable(self, essential: bool = False) -> None: ...


class Replayed(NamedTuple):
    """Ops that recovery found in the log and replications may not have taken in: columns of one length, by seq."""

    entries: NDArray[np.uint64]
    types: NDArray[np.uint8]  # APPEND and LABELS
    seqs: NDArray[np.uint64]
    positions: NDArray[np.int64]  # of the bodies in the log
    lengths: NDArray[np.int64]


class Loaded(NamedTuple):
    """A section's index, and what the catalog says died in it."""

    columns: IndexSection
    deaths: tuple[NDArray[np.uint32], NDArray[np.uint64]] | None


class RecordStore:
    """Thread-safe."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        log: Log,
        blobs: Blobs,
        payloads: PayloadFiles,
        metadata: Metadata,
        publisher: RecordPublisher,
        publish_lock: threading.Lock,
        readers: Readers,
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
        self.payloads = payloads
        self.metadata = metadata
        self.publisher = publisher
        self.publish_lock = publish_lock
        self.readers = readers
        self.clock = clock
        self.settings = settings
        self.segment_id = segment_id
        self.database_id = database_id
        self.epoch = epoch
        self.lock = threading.RLock()  # guards the dictionaries below
        self.buckets: dict[int, Bucket] = {}  # living ones
        self.by_name: dict[str, Bucket] = {}
        self.slots: dict[int, EntrySlot] = {}  # entries of loaded buckets
        self._indexes: OrderedDict[tuple[int, bytes], Loaded] = OrderedDict()  # least recently used first
        self._indexes_lock = threading.Lock()  # guards _indexes
        self._ids = iter(range(0))  # reserved object ids; used under the metadata lane
        self._host: Host
        self.facade: Buckets  # set by it
        self._attachments: Attachments | None = None
        self.max_bytes: int | None = None  # of all buckets together; None: no limit
        self.buried: list[EntrySlot] = []  # removed entries whose space is to be given back; guarded by `lock`
        self.replayed: list[Replayed] = []  # filled by recovery where there are replications; theirs to empty

    @property
    def attachments(self) -> Attachments:
        if self._attachments is None:
            from lamina.engine.records.attachments import Attachments

            self._attachments = Attachments(self)
        return self._attachments

    # -- what there is -------------------------------------------------------------------------------------------

    def load_buckets(self) -> None:
        """Know every living bucket; their entries are loaded when one is first used."""
        with self.catalog.snapshot() as snapshot:
            rows = [row for row in snapshot.buckets() if not row.dead]
        with self.lock:
            for row in rows:
                self.add_bucket(row)

    def add_bucket(self, row: BucketRow) -> Bucket:
        from lamina.engine.records.bucket import Bucket

        bucket = Bucket(self, row)
        with self.lock:
            self.buckets[row.id] = bucket
            self.by_name[row.name] = bucket
        return bucket

    def load_entries(self, bucket: Bucket) -> dict[str, EntrySlot]:
        """Slots of a bucket's entries from the catalog. Called once per bucket, under the store's lock."""
        with self.catalog.snapshot() as snapshot:
            rows = [row for row in snapshot.entries(bucket.id) if not row.dead]
            ids = [row.id for row in rows]
            states = snapshot.record_states(ids)
            sections = snapshot.record_sections(ids)
        slots: dict[str, EntrySlot] = {}
        for row in rows:
            state = states.get(row.id)
            slot = self.make_slot(bucket, row, sections.get(row.id, ()), state.applied_seq if state else 0)
            slots[row.name] = slot
        return slots

    def make_slot(self, bucket: Bucket, row: EntryRow, sections: Sequence[RecordSectionRow], applied: int) -> EntrySlot:
        from lamina.records.manifest import decode_all_blocks, decode_files

        state = empty_state(tuple(section_of(section) for section in sections if not section.dead), applied)
        slot = EntrySlot(row.id, bucket, row.name, is_meta(row.name), row.created_us, state)
        for section in state.sections:
            slot.described = max(slot.described, section.row.segment, deaths_segment(section.row))
            slot.blocks.last = max(slot.blocks.last, section.t_max)
            bucket.files.update(decode_files(section.row.files))
        for first in range(0, len(state.sections), SECTIONS):
            some = state.sections[first : first + SECTIONS]
            slot.blocks.put_all(*decode_all_blocks([section.row.blocks for section in some]))
        slot.high = slot.blocks.last
        bucket.size += slot.blocks.size
        bucket.load += slot.blocks.size
        with self.lock:
            self.slots[row.id] = slot
        return slot

    def slot_of(self, entry: int) -> EntrySlot | None:
        """At recovery: the slot of an entry, its bucket loaded; None if there is no such living entry."""
        slot = self.slots.get(entry)
        if slot is not None:
            return slot
        with self.catalog.snapshot() as snapshot:
            row = snapshot.entry(entry)
            if row is None or row.dead:
                return None
            owner = bucket_row(snapshot, row.bucket)
        if owner is None or owner.dead:
            return None
        bucket = self.buckets.get(owner.id) or self.add_bucket(owner)
        bucket.load_now()
        slot = self.slots.get(entry)
        if slot is None:  # made by a change that was applied since the bucket was loaded
            slot = self.make_slot(bucket, row, (), 0)
            bucket.replace_slots({**bucket.slots, row.name: slot})
        return slot

    def reconcile(self) -> None:
        """After recovery: metadata may have changed since buckets were loaded."""
        with self.catalog.snapshot() as snapshot:
            living = {row.id: row for row in snapshot.buckets() if not row.dead}
            entries = {
                id: {row.id: row for row in snapshot.entries(id) if not row.dead}
                for id, bucket in self.buckets.items()
                if bucket.loaded
            }
        with self.lock:
            self.by_name.clear()
            for id in [id for id in self.buckets if id not in living]:
                self._lose(list(self.buckets.pop(id).slots.values()))
            for id, row in living.items():
                bucket = self.buckets.get(id)
                if bucket is None:
                    self.add_bucket(row)
                    continue
                bucket.take_over(row)
                self.by_name[row.name] = bucket
                if bucket.loaded:
                    rows = entries[id]
                    self._lose([slot for slot in bucket.slots.values() if slot.id not in rows])
                    slots = {}
                    for entry in rows.values():
                        slot = self.slots.get(entry.id) or self.make_slot(bucket, entry, (), 0)
                        slot.name, slot.meta = entry.name, is_meta(entry.name)
                        slots[entry.name] = slot
                    bucket.replace_slots(slots)

    def _lose(self, slots: Sequence[EntrySlot]) -> None:
        with self.publish_lock:
            for slot in slots:
                self.publisher.drop(slot)
                self.slots.pop(slot.id, None)

    # -- the way to log and catalog -----------------------------------------------------------------------------

    def attach(self, host: Host) -> None:
        """The open database, through which everything is submitted."""
        self._host = host

    def submit(self, submitted: Sequence[Op], *, essential: bool = False) -> Ticket:
        """Raises Unavailable, NoSpace, Closed."""
        return self._host.submit(submitted, essential=essential)

    def check_writable(self, size: int, essential: bool = False) -> None:
        """Raises Unavailable, Closed; NoSpace if the disk is full, or would be with a content of so many bytes."""
        self._host.check_writable(essential)
        if size > LARGE:
            free, total = self._host.files.free_bytes()
            reserve = self.settings.reserve(total)
            if reserve and free - size < reserve:
                raise NoSpace(f"{free} bytes free: a content of {size} and a reserve of {reserve} do not fit")

    def must_wait(self) -> bool:
        """Whether a writer would have to wait for tails to shrink."""
        return self._host.tails_full

    def next_id(self) -> int:
        """An id for a bucket or entry. The metadata lane is held."""
        id = next(self._ids, None)
        if id is None:
            self._ids = iter(self.catalog.reserve("object", IDS))
            id = next(self._ids)
        return id

    def total_bytes(self) -> int:
        """Of all buckets, as reported."""
        return sum(bucket.load for bucket in list(self.buckets.values()))

    # -- what goes ----------------------------------------------------------------------------------------------

    def death_seq(self, catalog: CatalogSnapshot) -> int:
        """The seq at which something removed now dies, if a named snapshot or an open reader looks back; else 0."""
        if self.readers.anybody(catalog):
            return self.log.published_seq + 1
        return 0

    def burying(self, slots: Sequence[EntrySlot], catalog: CatalogSnapshot) -> tuple[int, Change]:
        """The change that removes entries, or keeps them as dead where somebody looks back: then with the seq at which
        they die. Where they are kept, what the log alone has of them is sealed first. Raises OSError, Unavailable."""
        if not self.death_seq(catalog):
            return 0, Change(deletes=[("entry", slot.id) for slot in slots])
        self._lay_down(slots, next(iter(catalog.pins()), None) is not None)
        seq = self.death_seq(catalog) or self.log.published_seq + 1
        rows = [row for slot in slots if (row := catalog.entry(slot.id)) is not None]
        return seq, Change([row._replace(dead=seq) for row in rows])

    def _lay_down(self, slots: Sequence[EntrySlot], named: bool) -> None:
        """Recovery passes over ops of entries that are gone, so nothing may be in the log alone."""
        from lamina.engine.records.seal import RecordSealer

        with self.publish_lock:
            for slot in slots:
                slot.leaving = True
        try:
            self.log.barrier()
            RecordSealer(self).seal(slots)
        except OSError:
            if named:  # a full disk is no reason to keep everything for a query that may be over soon
                self.stay(slots)
                raise
        except BaseException:
            self.stay(slots)
            raise

    def stay(self, slots: Sequence[EntrySlot]) -> None:
        """They were not removed after all."""
        with self.publish_lock:
            for slot in slots:
                slot.leaving = False

    def bury(self, slots: Sequence[EntrySlot]) -> None:
        """Entries that are gone from the catalog are gone from memory; their space is given back by upkeep."""
        for slot in slots:
            bucket = slot.bucket
            with self.publish_lock, bucket.lock:
                self.publisher.drop(slot)
                bucket.size -= slot.blocks.size
                bucket.load -= slot.blocks.size - slot.evicting
                slot.evicting = 0
                self.slots.pop(slot.id, None)
        with self.lock:
            self.buried += slots
        self.publisher.wake()

    # -- reading -------------------------------------------------------------------------------------------------

    def loaded(self, section: Section, wait: bool = True) -> Loaded | None:
        """A section's index; None if it is not in memory and `wait` is false. Raises Corrupt, NotFound."""
        key = (section.row.id, section.row.deaths)
        with self._indexes_lock:
            found = self._indexes.get(key)
            if found is not None:
                self._indexes.move_to_end(key)
                return found
        if not wait:
            return None
        from lamina.records.index import IndexSection
        from lamina.records.manifest import decode_deaths

        row = section.row
        directory = self.read_block(row.place)
        index = IndexSection(self.blobs, segment_name(KIND, row.segment), directory)
        deaths = decode_deaths(self.read_block(row.deaths)) if row.deaths else None
        found = Loaded(index, deaths)
        with self._indexes_lock:
            self._indexes[key] = found
            held = sum(loaded.columns.resident_bytes for loaded in self._indexes.values())
            while held > self.settings.cache_bytes // 2 and len(self._indexes) > 1:
                _, oldest = self._indexes.popitem(last=False)
                held -= oldest.columns.resident_bytes
        return found

    def read_block(self, address: bytes) -> bytes:
        """A block of an index segment by its 20-byte address, verified."""
        segment, length, offset, crc = np.frombuffer(address, ADDRESS)[0].item()
        name = segment_name(KIND, segment)
        (data,) = self.blobs.read(name, [(offset, length)])
        if crc32c(data) != crc:
            raise Corrupt(f"{name}: block of {length} bytes at offset {offset}: expected CRC32C {crc:08x}, "
                          f"found {crc32c(data):08x}")  # fmt: skip
        return data

    def open_section(self, section: Section, seq: int) -> SectionSource:
        from lamina.records.source import SectionSource

        loaded = self.loaded(section)
        assert loaded is not None, "it was waited for"
        return SectionSource(section, loaded.columns, loaded.deaths, seq)

    def find(self, slot: EntrySlot, state: EntryState, time_us: int, seq: int, wait: bool = True) -> Found | None:
        """The record of a time as of a seq, None if there is none. Raises Pending if that needs a read and `wait` is
        false; Corrupt."""
        from lamina.engine.records.found import Found, Pending
        from lamina.records.source import SectionSource, TailSource

        if seq >= state.seq:
            index = self._find_in_tail(slot, state, time_us)
            if index is not None and index >= 0:
                return Found(None, index, TailSource.of_rows(state, np.array([index])))
        else:
            index = None
        if index is None and state.n:
            tail = TailSource(state, seq)
            picked = tail.select(time_us, time_us + 1)
            if len(picked):
                return Found(None, int(picked[0]), tail)
        for section in reversed(state.sections):
            if section.t_min <= time_us <= section.t_max:
                loaded = self.loaded(section, wait)
                if loaded is None:
                    raise Pending
                source = SectionSource(section, loaded.columns, loaded.deaths, seq)
                picked = source.select(time_us, time_us + 1)
                if len(picked):
                    return Found(section, int(picked[0]), source)
        return None

    def _find_in_tail(self, slot: EntrySlot, state: EntryState, time_us: int) -> int | None:
        """The row of a state's tail that lives at a time, -1 if there is none, None if the state is no longer that of
        the entry: its rows must be asked for as of its seq then."""
        if not state.n:
            return -1
        if state.ordered or state.tail.by_time is not None:
            index = state.find_in_tail(time_us)
            if index >= 0:
                return index
        with self.publish_lock:  # not between the death of a row and the swap of states
            return state.find_in_tail(time_us) if slot.state is state else None

    def _find_dead(self, slot: EntrySlot, time_us: int, seq: int) -> Found | None:
        """The record of a time as of a seq in sections of which nothing lives any more."""
        from lamina.engine.records.found import Found

        with self.catalog.snapshot() as snapshot:
            rows = snapshot.record_sections([slot.id]).get(slot.id, [])
        for section in (section_of(row) for row in rows if row.dead > seq):
            if section.t_min <= time_us <= section.t_max:
                source = self.open_section(section, seq)
                picked = source.select(time_us, time_us + 1)
                if len(picked):
                    return Found(section, int(picked[0]), source)
        return None

    def place_of(self, slot: EntrySlot, time_us: int, seq: int | None = None) -> Place:
        """Where the content of a record as of a seq, None: of the living one, lies now. Raises NotFound."""
        return place_in(self.row_of(slot, time_us, seq))

    def row_of(self, slot: EntrySlot, time_us: int, seq: int | None = None) -> np.void:
        """The row of a record, likewise."""
        state = slot.state
        found = self.find(slot, state, time_us, state.seq if seq is None else seq)
        if found is None and seq is not None:
            found = self._find_dead(slot, time_us, seq)
        if found is None:
            raise NotFound(f"Record {time_us} not found in entry {slot.bucket.name}/{slot.name}")
        row: np.void = found.source.take(np.array([found.at]))[0]
        return row

    def read_stored(self, file: int, where: int, length: int) -> bytes:
        """Stored bytes of a content, from its payload file or the log. Raises NotFound."""
        return self.payloads.read(file, where, length) if file else self.log.read(where, length)

    def read_stored_into(self, file: int, where: int, buffer: memoryview) -> None:
        """The same, into a buffer that they fill."""
        if file:
            self.payloads.read_into(file, where, buffer)
        else:
            buffer[:] = self.log.read(where, len(buffer))

    def files_in_tails(self) -> set[int]:
        """Payload files that rows of tails refer to."""
        found: set[int] = set()
        for slot in list(self.slots.values()):
            state = slot.state
            if state.n:
                found.update(np.unique(state.tail.rows["file"][: state.n]).tolist())
        found.discard(0)
        return found

    # -- who still looks -----------------------------------------------------------------------------------------

    @contextmanager
    def reader(self, seq: int | None = None) -> Iterator[int]:
        """Look as of a seq (None: now): what lived then stays readable inside."""
        held = self.begin_read(seq)
        try:
            yield held[0]
        finally:
            self.end_read(held)

    def begin_read(self, seq: int | None = None) -> tuple[int, int]:
        """(seq, lease): to be given to `end_read`."""
        return self.readers.begin(seq)

    def end_read(self, held: tuple[int, int]) -> None:
        self.readers.end(held)

    def commit_sections(self, delta: CatalogDelta, segment: int) -> None:
        """Commit what says what is in a new segment. Where that fails it may be in the catalog all the same; this life
        has it in tails and older sections, and goes by those."""
        self.doubtful.add(segment)
        self.catalog.commit(delta)
        self.doubtful.discard(segment)

    def pins(self) -> list[int]:
        """Seqs that named snapshots and open readers look as of, ascending."""
        return self.readers.pins()


def payload_name(file: int) -> str:
    """A payload file among the segments."""
    return payload_path(file).removeprefix("segments/")


def bucket_row(catalog: CatalogSnapshot, id: int) -> BucketRow | None:
    """There are few buckets."""
    return next((row for row in catalog.buckets() if row.id == id), None)


def deaths_segment(row: RecordSectionRow) -> int:
    """The segment in which the deaths of a section lie; 0: there are none."""
    return int(np.frombuffer(row.deaths, ADDRESS)["segment"][0]) if row.deaths else 0

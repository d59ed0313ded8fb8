"""One bucket: its entries, its quota, the way in for records."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.catalog.rows import BucketRow
from lamina.engine.records import changes, quota, tree
from lamina.engine.records.batch import Batch, Kind, try_open
from lamina.engine.records.commit import Commit, commit
from lamina.engine.records.entry import Entry, selected
from lamina.engine.records.settings import BucketInfo, BucketSettings, EntryInfo
from lamina.engine.records.write import Write, check_alive
from lamina.errors import InvalidArgument, LaminaError, NotFound
from lamina.records import ops
from lamina.records.blocks import BlockLimits
from lamina.records.labels import LabelSet
from lamina.records.size import LONGEST_OFFSETS, described_length, time_length
from lamina.records.source import LAST_TIME

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.selection import Selection
    from lamina.engine.records.store import RecordStore
    from lamina.records.condition import Condition
    from lamina.time import TimeLike

LABELS, LABEL_BYTES = 256, 65_536
"""Per record (architecture section 15): what single reads send back in headers."""

CONTENT_TYPE_BYTES = 4096
"""A content type travels in one header line of at most 8,000 bytes, beside the labels."""

DESCRIBED = 10_000
"""Label sets whose encoded form is kept: a few per entry in common use, a few MB at most."""


class Bucket:
    """A handle on a bucket; there is one per bucket and open database. Thread-safe.

    `bucket.entry(name)` is an entry, whether it exists yet or not: entries are made by the first write. Times are
    µs since the epoch, unsigned 64-bit.
    """

    def __init__(self, store: RecordStore, row: BucketRow) -> None:
        self.store = store
        self.id = row.id
        self.name = row.name
        self.created_us = row.created_us
        self.provisioned = row.provisioned
        self.lock = threading.Lock()  # guards size and load
        self.size = 0  # as reported: published records
        self.load = 0  # what the quota goes by: size, and what is on its way in and out
        self.files: set[int] = set()  # payload files with something of it, living or not; under the publish lock
        self._slots: dict[str, EntrySlot] | None = None  # None: not loaded yet; replaced as a whole
        self._described: dict[tuple[LabelSet, str], tuple[int, bytes]] = {}
        self.settings = BucketSettings().changed(row.settings)
        self.apply(self.settings)

    def apply(self, settings: BucketSettings) -> None:
        self.settings = settings
        self.limits = BlockLimits(settings.max_block_size, settings.max_block_records)
        self.seal_bytes = self.file_bytes = min(settings.seal_bytes, self.store.settings.seal_bytes)

    def __repr__(self) -> str:
        return f"<lamina.Bucket {self.name!r}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import bucket_html

        return bucket_html(self)

    # -- entries -------------------------------------------------------------------------------------------------

    @property
    def slots(self) -> Mapping[str, EntrySlot]:
        """Entries by name, attachments too."""
        slots = self._slots
        return slots if slots is not None else self.load_now()

    @property
    def loaded(self) -> bool:
        return self._slots is not None

    def take_over(self, row: BucketRow) -> None:
        """What the catalog says now."""
        self.name, self.provisioned = row.name, row.provisioned
        self.apply(BucketSettings().changed(row.settings))

    def load_now(self) -> Mapping[str, EntrySlot]:
        with self.store.lock:
            if self._slots is None:
                self._slots = self.store.load_entries(self)
            return self._slots

    def replace_slots(self, slots: dict[str, EntrySlot]) -> None:
        """After entries came, went or were renamed; the store's lock is held."""
        self._slots = slots

    def names(self) -> list[str]:
        """Names of all entries, attachments too, sorted by bytes."""
        return sorted(self.slots, key=str.encode)

    def entry(self, name: str) -> Entry:
        """A handle on an entry by name; reading one that does not exist raises NotFound, writing makes it."""
        return Entry(self, name)

    def find_entry(self, name: str) -> Entry | None:
        """The entry of a name, None if there is none. No read once the bucket was used."""
        return Entry(self, name) if name in self.slots else None

    def existing_entry(self, name: str) -> Entry:
        """Raises NotFound."""
        self.slot(name)
        return Entry(self, name)

    def slot(self, name: str) -> EntrySlot:
        slot = self.slots.get(name)
        if slot is None:
            raise NotFound(f"Entry '{name}' not found in bucket '{self.name}'")
        return slot

    def ensure_entries(self, names: Sequence[str]) -> list[Entry]:
        """The entries of these names; missing ones and their parents are made, durably, in one change.

        Raises InvalidArgument (name), NotFound (bucket removed), Unavailable, NoSpace."""
        tree.ensure(self, names)
        return [Entry(self, name) for name in names]

    def remove_entry(self, name: str) -> None:
        """Remove an entry with everything below it. Raises NotFound, InvalidArgument (attachments go with their
        parent)."""
        tree.remove(self, name)

    def rename_entry(self, old: str, new: str) -> None:
        """Move an entry with everything below it. Raises InvalidArgument (name), AlreadyExists (target exists, is the
        source, or lies inside it), NotFound."""
        tree.rename(self, old, new)

    # -- what it is ----------------------------------------------------------------------------------------------

    def update(self, settings: Mapping[str, Any]) -> None:
        """Change the given settings, None and absent ones stay. Raises Conflict (provisioned), InvalidArgument."""
        self.store.facade.update(self, settings)

    def info(self) -> BucketInfo:
        """Sizes and times now. Attachments count in the size alone."""
        infos = [slot_info(slot) for slot in self.slots.values() if not slot.meta]
        filled = [info for info in infos if info.record_count]
        return BucketInfo(
            self.name,
            len(infos),
            self.size,
            min((info.oldest_record for info in filled), default=0),
            max((info.latest_record for info in filled), default=0),
            self.provisioned,
            "READY",
        )

    def entry_infos(self) -> list[EntryInfo]:
        """By name (bytes), without attachments."""
        slots = sorted(self.slots.values(), key=lambda slot: slot.name.encode())
        return [slot_info(slot) for slot in slots if not slot.meta]

    def query(
        self,
        entries: Sequence[str] | None = None,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """Records of several entries, merged by time, then name: names and patterns (`line-*`, `**/camera`, `!test`),
        None or [] all. State of a condition, such as `$limit`, is kept per entry. Otherwise as `Entry.query`."""
        return selected(self, entries, start, stop, when, strict)

    # -- writing -------------------------------------------------------------------------------------------------

    def try_open_write(
        self, entry: Entry, time_us: int, size: int, labels: LabelSet, content_type: str
    ) -> Write | None:
        """`open_write` without waiting for anything; None: it would, so call open_write on another thread."""
        return self._open(entry.slot, time_us, size, labels, content_type, False)

    def try_open_batch(
        self, entry: Entry, times: list[int], kinds: Sequence[Kind], chosen: Sequence[int] | None = None
    ) -> Batch | None:
        """`try_open_write` of many inline records of an entry: times, and for each which of `kinds` it is; `chosen`
        None: all are kinds[0].

        All or none: None where one of them needs a closer look, because its time is not behind everything the entry
        has, because there is no room, because it is not inline, or because it is refused. Open them one by one
        then."""
        slot = self.slots.get(entry.name)
        return None if slot is None else try_open(self, slot, times, kinds, chosen)

    def open_write(self, entry: Entry, time_us: int, size: int, labels: LabelSet, content_type: str) -> Write:
        """Claim a time and room for a record of an existing entry.

        Checked in this order: limits, quota, free disk, rules of attachments, duplicate. Raises InvalidArgument,
        QuotaExceeded (HARD, or FIFO that cannot make room), NoSpace, Unavailable, AlreadyExists, NotFound (removed).
        Reads an index where the record is older than others.
        """
        write = self._open(entry.slot, time_us, size, labels, content_type, True)
        assert write is not None, "it was waited for"
        return write

    def _open(
        self, slot: EntrySlot, time_us: int, size: int, labels: LabelSet, content_type: str, wait: bool
    ) -> Write | None:
        store = self.store
        if not 0 <= time_us <= LAST_TIME:
            raise InvalidArgument(f"time {time_us}: expected 0 .. 2**64 - 1 µs")
        if not wait and (slot.meta or store.must_wait()):
            return None
        described, _ = self._describe(labels, content_type)
        base = described + time_length(time_us)
        need = size + base + LONGEST_OFFSETS
        quota.refuse(self, size)
        store.check_writable(size)
        check_alive(slot)
        if slot.meta:
            changes.check_attachment(slot, labels)
        if not changes.claim(slot, time_us, wait):
            return None
        try:
            claimed = quota.claim(self, need, size, wait)
        except LaminaError:
            slot.release([time_us])
            raise
        if not claimed:
            slot.release([time_us])
            return None
        return Write(self, slot, time_us, size, labels, content_type, base, need)

    def release(self, slot: EntrySlot, times: list[int], claimed: int) -> None:
        """Claims that came to nothing."""
        slot.release(times)
        with self.lock:
            self.load -= claimed

    def commit_writes(self, writes: Sequence[Write | Batch]) -> Commit:
        """Queue records whose contents are there; wait for what is returned, or give it a callback. Records of one
        call become readable together, unless they are more than 32 MiB. Raises Unavailable, NoSpace, Closed."""
        return commit(writes, self.store.submit)

    def _describe(self, labels: LabelSet, content_type: str) -> tuple[int, bytes]:
        key = (labels, content_type)
        found = self._described.get(key)
        if found is None:
            check_labels(labels, content_type)
            found = described_length(labels, content_type), ops.encode_tables([labels], [content_type])
            if len(self._described) >= DESCRIBED:
                self._described.clear()
            self._described[key] = found
        return found

    def _described_length(self, labels: LabelSet, content_type: str) -> int:
        """Bytes that the contract counts for these. Raises InvalidArgument above the limits."""
        return self._describe(labels, content_type)[0]

    def tables(self, labels: LabelSet, content_type: str) -> bytes:
        """The tables of an op with this one label set and content type."""
        return self._describe(labels, content_type)[1]

    # -- changing ------------------------------------------------------------------------------------------------

    def update_labels(self, updates: Sequence[tuple[str, int, Mapping[str, str]]]) -> list[LaminaError | None]:
        """Change labels of records, given as (entry, time, {label: new value, "" removes it}); durable when it
        returns. Per update None, or NotFound (entry, record), InvalidArgument (limits). What changes nothing is no
        change. Raises Unavailable."""
        return changes.update_labels(self, updates)

    def remove_records(self, records: Sequence[tuple[str, int]]) -> list[LaminaError | None]:
        """Remove records, given as (entry, time); durable when it returns. Per record None, NotFound, or
        InvalidArgument (attachments). Raises Unavailable."""
        return changes.remove_records(self, records)

    def remove_query(
        self, entries: Sequence[str] | None, start: int | None, stop: int | None, condition: Condition, strict: bool
    ) -> int:
        """Remove what a query selects; how many records. `entries`: names and patterns, None or [] all; start <= time
        < stop. Attachments stay. Raises in strict mode what the condition raises: entries before the failing one are
        done then."""
        return changes.remove_query(self, entries, start, stop, condition, strict)


def slot_info(slot: EntrySlot) -> EntryInfo:
    oldest, latest = changes.span(slot)
    blocks = slot.blocks
    return EntryInfo(slot.name, blocks.size, len(blocks), blocks.records, oldest, latest, "READY")


def check_labels(labels: LabelSet, content_type: str) -> None:
    """Raises InvalidArgument above the limits."""
    if len(labels) > LABELS:
        raise InvalidArgument(f"{len(labels)} labels: at most {LABELS} are allowed")
    size = sum(len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass"))
               for name, value in labels)  # fmt: skip
    if size > LABEL_BYTES:
        raise InvalidArgument(f"labels of {size} bytes: at most {LABEL_BYTES} are allowed")
    if not isinstance(content_type, str):
        raise InvalidArgument(f"content type {content_type!r}: expected text such as 'image/png'")
    if len(content_type) > CONTENT_TYPE_BYTES:
        raise InvalidArgument(f"content type of {len(content_type)} characters: at most {CONTENT_TYPE_BYTES}")

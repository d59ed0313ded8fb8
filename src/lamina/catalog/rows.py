"""What the catalog holds: one tuple type per table, and how a row travels as JSON in meta ops and
segments."""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple
from uuid import UUID


class DatabaseRow(NamedTuple):
    """The one row about the database itself."""

    id: bytes  # 16 random bytes
    created_us: int
    epoch: int  # +1 at every open for writing
    instance: str  # random name of the process that has it open, "" after a clean close
    meta_applied_seq: int  # meta ops up to here are in the tables
    last_wall_us: int  # wall clock when last persisted (law 11)


class SegmentRow(NamedTuple):
    """A file or object under segments/."""

    id: int
    kind: str  # "streams", "records" (index of records), "payload" (their contents), "points", "meta"
    name: str  # blob name
    bytes: int
    live_bytes: int
    min_seq: int
    max_seq: int
    epoch: int
    state: str  # "live", "retired" (replaced; kept while a reader or pin needs it)


class StreamRow(NamedTuple):
    """Metadata of a stream; changed through meta ops only."""

    id: int
    uuid: UUID
    collection: str
    tags: dict[str, str]
    annotations: dict[str, str]
    property_version: int
    created_us: int
    oldest_version: int  # versions below are not available; 0 = all are kept
    retention: dict[str, int] | None  # rule of this stream; None: the database's


class RootRow(NamedTuple):
    """Where a stream's flushed data lies; changed by flushes and compaction."""

    stream: int
    version: int  # of the last flushed change; 10 = nothing flushed
    root: bytes  # one tree row, 104 bytes; b"" = empty tree
    history: bytes  # address of the history's top node with its shape (streams/FORMAT.md); b"" = none
    applied_seq: int  # ops of this stream up to here are in the tree
    points: int
    codec: dict[str, Any]  # value codec learnt for this stream
    epoch: int


class BurntRow(NamedTuple):
    """The uuid of an obliterated stream."""

    uuid: UUID
    seq: int


class PinRow(NamedTuple):
    """A named snapshot."""

    name: str
    seq: int
    created_us: int


class TokenRow(NamedTuple):
    """An API token; the secret itself is not kept."""

    name: str
    id: str
    kind: str  # "sha256" (generated, 128 bit) or "scrypt" (chosen by a user)
    salt: bytes
    hash: bytes
    permissions: dict[str, Any]  # {"full_access": bool, "read": [...], "write": [...]}
    created_us: int  # of the value: rotation sets it anew
    expires_us: int  # 0 = never
    provisioned: bool
    ttl_s: int  # without use for so long it is dead; 0 = it lives
    last_access_us: int  # 0 = not known; up to a minute behind while in use
    ip_allowlist: list[str]  # addresses and CIDR blocks as they were given; empty: from anywhere


class BucketRow(NamedTuple):
    """A bucket of records; changed through meta ops only."""

    id: int
    name: str  # unique among the living
    settings: dict[str, Any]  # quota_type, quota_size, max_block_size, max_block_records
    provisioned: bool
    created_us: int
    dead: int  # seq of its removal, kept while a named snapshot needs it; 0 = alive


class EntryRow(NamedTuple):
    """An entry of a bucket; changed through meta ops only."""

    id: int
    bucket: int
    name: str  # unique within its bucket among the living
    created_us: int
    dead: int  # as BucketRow.dead


class RecordStateRow(NamedTuple):
    """How far the sections of an entry go; changed by sealing and compaction."""

    entry: int
    applied_seq: int  # ops of this entry up to here are in its sections
    epoch: int


class RecordSectionRow(NamedTuple):
    """Sealed records of one entry: a section of an index segment; changed by sealing and compaction."""

    id: int  # segment * 2**24 + number of the section in it
    entry: int
    segment: int
    place: bytes  # address of the section's directory (storage/address.py), 20 bytes
    t_min: int  # µs - 2**63: u64 times as signed numbers keep their order
    t_max: int  # inclusive, likewise
    records: int  # rows, dead ones included
    min_seq: int  # of its rows
    max_seq: int
    deaths: bytes  # address of the rows that died since (records/FORMAT.md); b"" = none
    cuts: bytes  # evictions that cut into it: (time, seq) pairs, u64 each
    blocks: bytes  # what it holds of each block of the contract: records/FORMAT.md
    files: bytes  # (payload file u64, living bytes u64) pairs
    dead: int  # seq at which the last of its rows died, kept while a snapshot needs it; 0 = alive
    epoch: int


class MeasurementRow(NamedTuple):
    """The name of a measurement of points; changed through meta ops only. Whether users see it, its points say."""

    id: int
    name: str  # unique
    created_us: int


class PointStateRow(NamedTuple):
    """How far the sections of a measurement go; changed by sealing and compaction."""

    measurement: int
    applied_seq: int  # ops of this measurement up to here are in its sections
    epoch: int


class PointSectionRow(NamedTuple):
    """Sealed points of one measurement: a section of a segment; changed by sealing and compaction."""

    id: int  # segment * 2**24 + number of the section in it
    measurement: int
    segment: int
    place: bytes  # address of the section's directory (storage/address.py), 20 bytes
    t_min: int  # µs
    t_max: int  # inclusive
    points: int  # rows, dead ones included
    ordinal_min: int
    ordinal_max: int  # inclusive
    min_seq: int  # of its rows
    max_seq: int
    deaths: bytes  # address of the rows that died since (points/FORMAT.md); b"" = none
    died: int  # rows that nobody sees alive any more
    dead: int  # seq at which the last of its rows died, kept while a snapshot needs it; 0 = alive
    epoch: int


class ReplicationRow(NamedTuple):
    """A replication task (contract reductstore 14)."""

    name: str
    settings: dict[str, Any]
    provisioned: bool
    queue_seq: int  # changes up to here have been taken into its queue or left out


class LifecycleRow(NamedTuple):
    """A lifecycle policy (contract reductstore 15)."""

    name: str
    settings: dict[str, Any]
    provisioned: bool
    last_run_us: int  # 0 = never


class SettingRow(NamedTuple):
    """A database-wide setting that survives restarts, such as the default retention rule."""

    name: str
    value: dict[str, Any]


class SecretRow(NamedTuple):
    """A key the database made for itself."""

    name: str
    value: bytes


Row = (
    DatabaseRow
    | SegmentRow
    | StreamRow
    | RootRow
    | BurntRow
    | PinRow
    | TokenRow
    | SettingRow
    | SecretRow
    | BucketRow
    | EntryRow
    | RecordStateRow
    | RecordSectionRow
    | MeasurementRow
    | PointStateRow
    | PointSectionRow
    | ReplicationRow
    | LifecycleRow
)

TABLES: dict[str, type[Any]] = {
    "database": DatabaseRow,
    "segment": SegmentRow,
    "stream": StreamRow,
    "stream_root": RootRow,
    "burnt_uuid": BurntRow,
    "pin": PinRow,
    "token": TokenRow,
    "setting": SettingRow,
    "secret": SecretRow,
    "bucket": BucketRow,
    "entry": EntryRow,
    "record_state": RecordStateRow,
    "record_section": RecordSectionRow,
    "replication": ReplicationRow,
    "lifecycle": LifecycleRow,
    "measurement": MeasurementRow,
    "point_state": PointStateRow,
    "point_section": PointSectionRow,
}
"""Table name -> row type. The key of a row is its first field (`database` has one row, key 0)."""

META_TABLES = (
    "stream",
    "burnt_uuid",
    "pin",
    "token",
    "setting",
    "secret",
    "bucket",
    "entry",
    "replication",
    "lifecycle",
    "measurement",
)
"""Tables that meta ops change and meta segments dump: what data segments cannot tell."""

ADDED: dict[str, dict[str, Any]] = {"token": {"ttl_s": 0, "last_access_us": 0, "ip_allowlist": []}}
"""Table -> field that came with a later format -> its value in rows written before: logs and dumps outlive formats."""

SECTION_NUMBERS = 1 << 24
"""Numbers of sections in a segment: the id of a RecordSectionRow or PointSectionRow is segment * SECTION_NUMBERS +
number, so the sections of a segment are a range of ids."""

_NAMES = {row: table for table, row in TABLES.items()}

HINTS: dict[str, dict[str, Any]] = {
    # NamedTuple wraps annotations that are strings in ForwardRef
    table: {name: getattr(hint, "__forward_arg__", hint) for name, hint in kind.__annotations__.items()}
    for table, kind in TABLES.items()
}
"""Table name -> field -> annotation as written."""


def table_of(row: Row) -> str:
    return _NAMES[type(row)]


def canonical_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags that make a stream's identity: sorted, without empty values (those count as absent)."""
    return {key: tags[key] for key in sorted(tags) if tags[key] != ""}


def to_json(row: Row) -> str:
    """Canonical JSON of a row: sorted keys, no spaces; bytes as hex, uuids dashed."""
    return json.dumps(row._asdict(), sort_keys=True, separators=(",", ":"), default=_plain, ensure_ascii=False)


def key_to_json(key: object) -> str:
    return json.dumps(key, separators=(",", ":"), default=_plain, ensure_ascii=False)


_JSON_TYPES: dict[str, tuple[type[Any], ...]] = {
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "bytes": (str,),
    "UUID": (str,),
    "dict[str, str]": (dict,),
    "dict[str, Any]": (dict,),
    "dict[str, int] | None": (dict, type(None)),
    "list[str]": (list,),
}
"""Annotation of a field -> exact types it may have in JSON."""


def from_json(table: str, text: str) -> Any:
    """The row that to_json wrote. Raises KeyError (table), TypeError or ValueError (fields)."""
    return from_fields(table, json.loads(text))


def from_fields(table: str, fields: Any) -> Any:
    """A row from what json.loads gave for it. Raises KeyError (table), TypeError or ValueError (fields)."""
    kind, hints = TABLES[table], HINTS[table]
    if type(fields) is dict:
        fields = copy.deepcopy(ADDED.get(table, {})) | fields
    if type(fields) is not dict or fields.keys() != hints.keys():
        raise ValueError(f"a row of {table} has the fields {', '.join(hints)}; found {fields!r:.200}")
    for name, hint in hints.items():
        value = fields[name]
        if type(value) not in _JSON_TYPES[hint]:
            raise TypeError(f"{table}.{name} is {hint}; found {value!r:.200}")
        if hint == "UUID":
            fields[name] = UUID(value)
        elif hint == "bytes":
            fields[name] = bytes.fromhex(value)
    return kind(**fields)


def key_from_json(table: str, text: str) -> Any:
    key = json.loads(text)
    return UUID(key) if table == "burnt_uuid" else key


def _plain(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    raise TypeError(f"{type(value).__name__} does not go into a catalog row")

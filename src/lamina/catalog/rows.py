"""What the catalog holds: one tuple type per table, and how a row travels as JSON in meta ops and
segments."""

from __future__ import annotations

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
    kind: str  # "streams", "meta"
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
    created_us: int
    expires_us: int  # 0 = never
    provisioned: bool


class SettingRow(NamedTuple):
    """A database-wide setting that survives restarts, such as the default retention rule."""

    name: str
    value: dict[str, Any]


class SecretRow(NamedTuple):
    """A key the database made for itself."""

    name: str
    value: bytes


Row = DatabaseRow | SegmentRow | StreamRow | RootRow | BurntRow | PinRow | TokenRow | SettingRow | SecretRow

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
}
"""Table name -> row type. The key of a row is its first field (`database` has one row, key 0)."""

META_TABLES = ("stream", "burnt_uuid", "pin", "token", "setting", "secret")
"""Tables that meta ops change and meta segments dump: what data segments cannot tell."""

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
}
"""Annotation of a field -> exact types it may have in JSON."""


def from_json(table: str, text: str) -> Any:
    """The row that to_json wrote. Raises KeyError (table), TypeError or ValueError (fields)."""
    return from_fields(table, json.loads(text))


def from_fields(table: str, fields: Any) -> Any:
    """A row from what json.loads gave for it. Raises KeyError (table), TypeError or ValueError (fields)."""
    kind, hints = TABLES[table], HINTS[table]
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

"""What a token may do, as entries of names: `bucket`, `prefix*`, `$streams`, `$streams/<collection prefix>*`.

    entry                       covers
    *, name, prefix*            buckets only, never streams or points
    $streams, $points           every stream, every measurement
    $streams/<prefix>*          collections that start with the prefix (a plain string prefix)
    $streams/<collection>       that collection
    $points/<prefix>*, <name>   measurements, likewise
    $<other>                    a system bucket, by its exact name

Writing does not include reading. Full access includes everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lamina.errors import InvalidArgument

STREAMS, POINTS = "$streams", "$points"

ENTRY_LIMIT = 1024
"""Entries of one list, and bytes of one entry: a bucket has at most 1,024 bytes, a collection 255."""

_BUCKET = re.compile(r"[*a-zA-Z0-9_\-]+")


class Permissions(NamedTuple):
    """Rights of one token."""

    full_access: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    @staticmethod
    def of(value: Permissions | Mapping[str, Any]) -> Permissions:
        """Checked permissions from {"full_access": bool, "read": [...], "write": [...]}, all optional.

        Raises InvalidArgument for an unknown member, a wrong type or an entry that can cover nothing.
        """
        members = value._asdict() if isinstance(value, Permissions) else dict(value)
        unknown = sorted(set(members) - set(Permissions._fields))
        if unknown:
            raise InvalidArgument(f"permissions: unknown member {unknown[0]!r}, expected full_access, read, write")
        full_access = members.get("full_access", False)
        if not isinstance(full_access, bool):
            raise InvalidArgument(f"permissions: full_access is {full_access!r}, expected true or false")
        return Permissions(full_access, _entries(members.get("read")), _entries(members.get("write")))

    def renamed(self, old: str, new: str) -> Permissions:
        """With another name for a bucket; patterns stay as they are."""
        return Permissions(self.full_access, _replaced(self.read, old, [new]), _replaced(self.write, old, [new]))

    def without(self, bucket: str) -> Permissions:
        """Without the name of a bucket; patterns stay as they are."""
        return Permissions(self.full_access, _replaced(self.read, bucket, []), _replaced(self.write, bucket, []))

    def to_json(self) -> dict[str, Any]:
        return {"full_access": self.full_access, "read": list(self.read), "write": list(self.write)}


def _entries(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidArgument(f"permissions: {value!r} is not a list of names")
    if len(value) > ENTRY_LIMIT:
        raise InvalidArgument(f"permissions: {len(value)} entries, at most {ENTRY_LIMIT} are allowed")
    for entry in value:
        if not isinstance(entry, str) or not (_utf8(entry) if entry.startswith("$") else _BUCKET.fullmatch(entry)):
            raise InvalidArgument(f"Permission can contain only bucket names or wildcard '*', got '{entry}'")
        if len(entry.encode("utf-8", "surrogatepass")) > ENTRY_LIMIT:
            raise InvalidArgument(f"permissions: an entry is longer than {ENTRY_LIMIT} bytes: {entry[:40]!r}...")
    return tuple(value)


def _utf8(text: str) -> bool:
    """Whether a text has a UTF-8 form: lone surrogates, which JSON can spell, have none."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _replaced(entries: tuple[str, ...], old: str, new: list[str]) -> tuple[str, ...]:
    if old not in entries:
        return entries
    return tuple(dict.fromkeys(name for entry in entries for name in (new if entry == old else [entry])))


def covers_bucket(entries: Sequence[str], bucket: str) -> bool:
    """Whether one of the entries covers a bucket (contract reductstore 13); $ buckets need their exact name."""
    if bucket in entries:
        return True
    if bucket.startswith("$"):
        return False
    return any(entry.endswith("*") and bucket.startswith(entry[:-1]) for entry in entries)


def covers_collection(entries: Sequence[str], collection: str) -> bool:
    """Whether one of the entries covers the streams of a collection."""
    return _covers(entries, STREAMS, collection)


def covers_measurement(entries: Sequence[str], name: str) -> bool:
    """Whether one of the entries covers the points of a measurement."""
    return _covers(entries, POINTS, name)


def _covers(entries: Sequence[str], wanted: str, name: str) -> bool:
    for entry in entries:
        if entry == wanted:
            return True
        kind, slash, pattern = entry.partition("/")
        if kind != wanted or not slash:
            continue
        if pattern.endswith("*"):
            if name.startswith(pattern[:-1]):
                return True
        elif name == pattern:
            return True
    return False

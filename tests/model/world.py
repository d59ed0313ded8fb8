"""What the contract says a server holds and answers, in plain Python: no blocks, no log, no files.

Every method gives the status and, where the contract has one, the message that the server must give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Labels = dict[str, str]
Outcome = tuple[int, str | None]
"""Status, and message; None: whatever it says."""

OK: Outcome = (200, None)
DEFAULT_TYPE = "application/octet-stream"
SETTINGS = {"quota_type": "NONE", "quota_size": 0, "max_block_size": 64_000_000, "max_block_records": 1024}


class Held(NamedTuple):
    content: bytes
    labels: Labels
    content_type: str


@dataclass
class Entry:
    records: dict[int, Held] = field(default_factory=dict)

    def bounds(self) -> tuple[int, int]:
        """Oldest and latest time, 0 and 0 without records."""
        return (min(self.records), max(self.records)) if self.records else (0, 0)


def is_meta(name: str) -> bool:
    return name == "$meta" or name.endswith("/$meta")


def name_error(name: str) -> str | None:
    segments = name.split("/")
    if "" in segments:
        return "Entry name must be non-empty and must not contain empty path segments"
    plain = segments[:-1] if segments[-1] == "$meta" else segments
    if not all(re.fullmatch(r"[A-Za-z0-9_-]+", segment) for segment in plain):
        return "Entry name can contain only letters, digits and [-,_,/] symbols or end with '/$meta'"
    return None


@dataclass
class Bucket:
    name: str
    settings: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)

    def ensure(self, name: str) -> Entry:
        """With all above it."""
        segments = name.split("/")
        for depth in range(1, len(segments) + 1):
            self.entries.setdefault("/".join(segments[:depth]), Entry())
        return self.entries[name]

    def below(self, name: str) -> list[str]:
        return [other for other in self.entries if other == name or other.startswith(name + "/")]

    def visible(self, name: str) -> dict[int, Held]:
        """What queries see of an entry."""
        records = self.entries[name].records
        if not is_meta(name):
            return records
        return {time: held for time, held in records.items() if held.labels.get("remove") != "true"}

    # -- writing

    def admit(self, name: str, time: int, labels: Labels) -> Outcome:
        """Whether a record may be written, quota aside; makes the entry."""
        error = name_error(name)
        if error is not None:
            return 422, error
        entry = self.ensure(name)
        if is_meta(name):
            if "key" not in labels:
                return 422, f"System entry '{name}' records must contain label 'key'"
            if labels.get("remove") == "true":
                message = "does not support writing records with label 'remove=true'; use record update"
                return 422, f"System entry '{name}' {message}"
        if time in entry.records:
            return 409, f"A record with timestamp {time} already exists"
        return OK

    def put(self, name: str, time: int, held: Held) -> None:
        entry = self.entries[name]
        if is_meta(name):
            key = held.labels["key"]
            for other in [t for t, old in entry.records.items() if old.labels["key"] == key]:
                del entry.records[other]
        entry.records[time] = held

    # -- changing

    def missing(self, name: str, time: int | None = None) -> Outcome | None:
        if name not in self.entries:
            return 404, f"Entry '{name}' not found in bucket '{self.name}'"
        if time is not None and time not in self.entries[name].records:
            return 404, f"Record {time} not found in entry {self.name}/{name}"
        return None

    def update(self, name: str, time: int, changes: Mapping[str, str]) -> Outcome:
        missing = self.missing(name, time)
        if missing is not None:
            return missing
        held = self.entries[name].records[time]
        labels = {**held.labels, **changes}
        self.entries[name].records[time] = held._replace(
            labels={label: value for label, value in labels.items() if value or label not in changes}
        )
        return OK

    def remove(self, name: str, time: int) -> Outcome:
        missing = self.missing(name)
        if missing is None and is_meta(name):
            return 422, f"Can't delete records from system entry '{name}'; use label update with remove=true"
        missing = missing or self.missing(name, time)
        if missing is not None:
            return missing
        del self.entries[name].records[time]
        return OK

    def remove_entry(self, name: str) -> Outcome:
        missing = self.missing(name)
        if missing is not None:
            return missing
        if is_meta(name):
            return 422, f"Can't delete system entry '{name}'; remove the parent entry instead"
        for other in self.below(name):
            del self.entries[other]
        return OK

    def rename_entry(self, old: str, new: str) -> Outcome:
        error = name_error(new)
        if error is not None:
            return 422, error
        taken = (409, f"Entry '{new}' already exists in bucket '{self.name}'")
        if new == old or new.startswith(old + "/"):
            return taken
        if old not in self.entries:
            return 404, f"Entry '{old}' not found in bucket '{self.name}'"
        if new in self.entries:
            return taken
        moved = {new + name[len(old) :]: self.entries.pop(name) for name in self.below(old)}
        if "/" in new:
            self.ensure(new.rpartition("/")[0])
        self.entries.update(moved)
        return OK

    # -- reading

    def select(self, names: list[str] | None) -> list[str]:
        """Entries by exact names, `*`, or `prefix*`; attachments by exact names only."""
        if not names:
            names = ["*"]
        return [
            entry
            for entry in sorted(self.entries)
            if entry in names
            or (not is_meta(entry) and any(n.endswith("*") and entry.startswith(n[:-1]) for n in names))
        ]

    def query(
        self, names: list[str], start: int | None, stop: int | None, when: Condition
    ) -> list[tuple[int, str, Held]]:
        """By (time, entry)."""
        found: list[tuple[int, str, Held]] = []
        for name in names:
            passing = (
                (time, held)
                for time, held in sorted(self.visible(name).items())
                if (start is None or time >= start) and (stop is None or time < stop)
            )
            found += [(time, name, held) for time, held in when.passing(passing)]
        return sorted(found, key=lambda item: item[:2])


class Condition(NamedTuple):
    """A condition in JSON and in Python."""

    json: dict[str, Any] | None
    passing: Callable[[Iterator[tuple[int, Held]]], Iterator[tuple[int, Held]]]


def _each(test: Callable[[int, Labels], bool]) -> Callable[..., Iterator[tuple[int, Held]]]:
    return lambda items: ((time, held) for time, held in items if test(time, held.labels))


def _first(n: int) -> Callable[..., Iterator[tuple[int, Held]]]:
    return lambda items: (item for i, item in enumerate(items) if i < n)


def _nth(n: int) -> Callable[..., Iterator[tuple[int, Held]]]:
    return lambda items: (item for i, item in enumerate(items, 1) if i % n == 0)


CONDITIONS = (
    Condition(None, lambda items: items),
    Condition({}, lambda items: items),
    Condition({"&l": {"$eq": "x"}}, _each(lambda _, labels: labels.get("l") == "x")),
    Condition({"&l": {"$gt": 1}}, _each(lambda _, labels: labels.get("l") in ("2", "7.5"))),
    Condition({"$has": ["m"]}, _each(lambda _, labels: "m" in labels)),
    Condition({"$not": [{"$has": ["m"]}]}, _each(lambda _, labels: "m" not in labels)),
    Condition({"$gte": ["$timestamp", 20]}, _each(lambda time, _: time >= 20)),
    Condition({"$limit": 2}, _first(2)),
    Condition({"$each_n": 3}, _nth(3)),
)
"""Few, but with and without state; what operators do is tested where they are."""


@dataclass
class World:
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def missing(self, name: str) -> Outcome:
        return 404, f"Bucket '{name}' is not found"

    def create(self, name: str, settings: Mapping[str, Any]) -> Outcome:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            return 422, "Bucket or entry name can contain only letters, digests and [-,_] symbols"
        if name in self.buckets:
            return 409, f"Bucket '{name}' already exists"
        given = {member: value for member, value in settings.items() if value is not None}
        self.buckets[name] = Bucket(name, {**SETTINGS, **given})
        return OK

    def update(self, name: str, settings: Mapping[str, Any]) -> Outcome:
        if name not in self.buckets:
            return self.missing(name)
        given = {member: value for member, value in settings.items() if value is not None}
        self.buckets[name].settings.update(given)
        return OK

    def remove(self, name: str) -> Outcome:
        return OK if self.buckets.pop(name, None) is not None else self.missing(name)

    def rename(self, old: str, new: str) -> Outcome:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", new):
            return 422, "Bucket or entry name can contain only letters, digests and [-,_] symbols"
        if new in self.buckets:
            return 409, f"Bucket '{new}' already exists"
        if old not in self.buckets:
            return self.missing(old)
        bucket = self.buckets.pop(old)
        bucket.name = new
        self.buckets[new] = bucket
        return OK

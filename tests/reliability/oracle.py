"""What must be readable after a crash, and comparing a database with it.

A workload is a list of steps. The model says what each step does to the *facts*: for every stream its version, oldest
kept version and metadata; for every named snapshot the version of each stream; for every bucket its records with
their labels, whose contents follow from their names; for every set of points all of them (points.py). After a crash
every acknowledged fact must be there. A step in flight is there as a whole or not at all. All versions hold exactly the
model's points.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from lamina import errors
from lamina.engine.database import Database
from lamina.testing.oracle import Change, Point, StreamModel
from lamina.time import LAST_TIME, MIN_TIME
from tests.reliability import points as sets

FIRST = 10
BURNT = "burnt"  # the fact of an obliterated stream

Points = list[Point]
Key = tuple[str, Any]  # ("stream", number), ("pin", name), ("bucket", number) or ("points", number)
Labels = tuple[tuple[str, str], ...]
Content = Callable[[int, int], Points]  # (stream, version) -> its points


class Fact(NamedTuple):
    """What there is to know of one living stream."""

    version: int
    oldest: int
    collection: str
    tags: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    property_version: int


class Stored(NamedTuple):
    """One record; its content is `content_of` the rest. `wrong`: what is the matter with it in the database."""

    entry: str
    time_us: int
    size: int
    labels: Labels
    wrong: str = ""


class Holdings(NamedTuple):
    """What there is to know of a bucket. Of one with a quota the model holds everything ever written: the oldest of
    each entry may have gone."""

    quota: int  # FIFO; 0: none
    records: tuple[Stored, ...]  # sorted
    size: int = 0  # as the database reports it


class Effect(NamedTuple):
    """What one step does: new facts (None: the key is gone) and the points of each new version."""

    facts: dict[Key, Any]
    points: dict[int, Points]


class Step(NamedTuple):
    """One call of a workload. `args` depend on the kind."""

    kind: str
    args: tuple[Any, ...] = ()


NOTHING = Effect({}, {})


def stream_uuid(number: int) -> UUID:
    return UUID(int=0xBEEF << 64 | number)


def bucket_name(number: int) -> str:
    return f"b{number}"


def content_of(bucket: int, entry: str, time_us: int, size: int) -> bytes:
    """Differs in every 64 KiB, and from that of every other record."""
    if size <= 64:
        return f"{bucket} {entry} {time_us} {size} {'-' * 64}".encode()[:size]
    return random.Random(f"{bucket} {entry} {time_us}").randbytes(size)


class Model:
    """Facts and points after the steps applied so far."""

    def __init__(self) -> None:
        self.facts: dict[Key, Any] = {}
        self.points: dict[int, list[Points]] = {}  # stream -> by version - FIRST

    def content(self, stream: int, version: int) -> Points:
        return self.points[stream][version - FIRST]

    def living(self) -> list[int]:
        return sorted(n for (kind, n), fact in self.facts.items() if kind == "stream" and fact != BURNT)

    def pins(self) -> dict[str, dict[Any, Any]]:
        return {name: fact for (kind, name), fact in self.facts.items() if kind == "pin"}

    def buckets(self) -> dict[int, Holdings]:
        return {number: fact for (kind, number), fact in self.facts.items() if kind == "bucket"}

    def sets(self) -> dict[int, sets.Rows]:
        return {number: fact for (kind, number), fact in self.facts.items() if kind == "points"}

    def fact(self, stream: int) -> Fact:
        found = self.facts["stream", stream]
        assert isinstance(found, Fact)
        return found

    def apply(self, effect: Effect) -> None:
        for key, value in effect.facts.items():
            if value is None:
                self.facts.pop(key, None)
            else:
                self.facts[key] = value
        for stream, points in effect.points.items():
            self.points.setdefault(stream, []).append(points)

    def effect(self, step: Step) -> Effect:
        """What the step would do now."""
        if step.kind in sets.EFFECTS:
            number, *args = step.args
            after = sets.EFFECTS[step.kind](self.facts.get(("points", number), ()), *args)
            return Effect({("points", number): after or None}, {})
        return getattr(self, f"_{step.kind}", lambda *_: NOTHING)(*step.args)

    def _create(self, stream: int, collection: str, name: str) -> Effect:
        fact = Fact(FIRST, 0, collection, (("name", name),), (), 1)
        return Effect({("stream", stream): fact}, {stream: []})

    def _insert(self, stream: int, times: Sequence[int], values: Sequence[float], policy: Any) -> Effect:
        return self._changed(stream, lambda model: model.insert(times, values, policy))

    def _insert_many(self, batches: Sequence[tuple[int, Sequence[int], Sequence[float]]]) -> Effect:
        whole = Effect({}, {})
        for stream, times, values in batches:
            one = self._insert(stream, times, values, "never")
            whole.facts.update(one.facts)
            whole.points.update(one.points)
        return whole

    def _delete(self, stream: int, start: int, end: int) -> Effect:
        return self._changed(stream, lambda model: model.delete(start, end))

    def _changed(self, stream: int, change: Callable[[StreamModel], int]) -> Effect:
        fact = self.fact(stream)
        model = StreamModel()
        model._changes = [Change(fact.version, self.content(stream, fact.version), [])]
        version = change(model)
        return Effect({("stream", stream): fact._replace(version=version)}, {stream: model._changes[-1].points})

    def _prune(self, stream: int, version: int) -> Effect:
        fact = self.fact(stream)
        allowed = min([version, *(pin.get(stream, FIRST) for pin in self.pins().values())])
        if allowed <= max(fact.oldest, FIRST):
            return NOTHING
        return Effect({("stream", stream): fact._replace(oldest=allowed)}, {})

    def _tags(self, stream: int, changes: Mapping[str, str], collection: str) -> Effect:
        fact = self.fact(stream)
        tags = tuple(sorted((dict(fact.tags) | dict(changes)).items()))
        changed = fact._replace(tags=tags, collection=collection, property_version=fact.property_version + 1)
        return Effect({("stream", stream): changed}, {})

    def _annotate(self, stream: int, changes: Mapping[str, str]) -> Effect:
        fact = self.fact(stream)
        kept = tuple(sorted((dict(fact.annotations) | dict(changes)).items()))
        changed = fact._replace(annotations=kept, property_version=fact.property_version + 1)
        return Effect({("stream", stream): changed}, {})

    def _obliterate(self, stream: int) -> Effect:
        return Effect({("stream", stream): BURNT}, {})

    def _pin(self, name: str) -> Effect:
        versions: dict[Any, Any] = {n: self.fact(n).version for n in self.living()}
        versions.update({("points", number): rows for number, rows in self.sets().items()})
        return Effect({("pin", name): versions}, {})

    def _unpin(self, name: str) -> Effect:
        return Effect({("pin", name): None}, {})

    def _bucket(self, number: int, quota: int) -> Effect:
        return Effect({("bucket", number): Holdings(quota, ())}, {})

    def _record(self, number: int, *new: Stored) -> Effect:
        return self._held(number, lambda record: record, new)

    _records = _record

    def _label(self, number: int, entry: str, time_us: int, labels: Mapping[str, str]) -> Effect:
        def changed(record: Stored) -> Stored:
            if (record.entry, record.time_us) != (entry, time_us):
                return record
            now = {name: value for name, value in (dict(record.labels) | dict(labels)).items() if value}
            return record._replace(labels=tuple(sorted(now.items())))

        return self._held(number, changed)

    def _unrecord(self, number: int, entry: str, time_us: int) -> Effect:
        return self._held(number, lambda record: None if record[:2] == (entry, time_us) else record)

    def _drop_entry(self, number: int, entry: str) -> Effect:
        return self._held(number, lambda record: None if record.entry == entry else record)

    def _drop_bucket(self, number: int) -> Effect:
        return Effect({("bucket", number): None}, {})

    def _held(self, number: int, change: Callable[[Stored], Stored | None], new: Sequence[Stored] = ()) -> Effect:
        before = self.facts["bucket", number]
        after = [found for record in before.records if (found := change(record)) is not None]
        return Effect({("bucket", number): before._replace(records=tuple(sorted([*after, *new])))}, {})


def observed(db: Database, keys: Iterable[Key]) -> dict[Key, Any]:
    """The database's facts for these keys; absent ones are None."""
    found: dict[Key, Any] = {}
    pins = {row.name for row in db.snapshots()}
    for kind, name in keys:
        if kind == "bucket":
            found[kind, name] = holdings(db, name)
        elif kind == "points":
            try:
                found[kind, name] = sets.held(db, name)
            except errors.LaminaError as error:
                found[kind, name] = repr(error)
        else:
            found[kind, name] = _stream_fact(db, name) if kind == "stream" else name in pins or None
    return found


def holdings(db: Database, number: int) -> Holdings | None:
    """Every record of a bucket, its content read and compared; None: there is no such bucket."""
    bucket = db.buckets.find(bucket_name(number))
    if bucket is None:
        return None
    found: list[Stored] = []
    for name in bucket.names():
        try:
            for record in bucket.entry(name).query():
                found.append(Stored(name, record.time_us, record.size, record.labels, _wrong(number, record)))
        except errors.LaminaError as error:
            found.append(Stored(name, 0, 0, (), str(error)))
    quota = bucket.settings.quota_size if bucket.settings.quota_type == "FIFO" else 0
    return Holdings(quota, tuple(sorted(found)), bucket.info().size)


def _wrong(bucket: int, record: Any) -> str:
    try:
        content = record.read()
    except errors.LaminaError as error:
        return str(error)
    expected = content_of(bucket, record.entry, record.time_us, record.size)
    return "" if content == expected else f"{DIFFERS} for {len(content)} bytes"


DIFFERS = "another content"


def same(seen: Any, value: Any) -> bool:
    """Whether what is seen is this fact."""
    if isinstance(value, Holdings):
        return isinstance(seen, Holdings) and seen.quota == value.quota and _holds(seen, value)
    return seen is True if isinstance(value, dict) else bool(seen == value)


def _holds(seen: Holdings, value: Holdings) -> bool:
    if not value.quota:
        return seen.records == value.records
    evicted = [record for record in value.records if record not in seen.records]
    if len(evicted) + len(seen.records) != len(value.records) or seen.size > value.quota:
        return False
    for entry in {record.entry for record in evicted}:
        kept = [record.time_us for record in seen.records if record.entry == entry]
        if kept and max(record.time_us for record in evicted if record.entry == entry) > kept[0]:
            return False
    # No more goes than the oldest blocks, of at most RING_BLOCK bytes before their last record.
    return not evicted or sum(record.size for record in seen.records) > value.quota - 3 * LARGEST - RING_BLOCK - 20_000


def loosely_held(db: Database, number: int, versions: Sequence[Holdings | None], reported: bool) -> str:
    """What of a bucket is wrong, or missing in silence, as far as it can be read; "" if nothing. `versions`: what it
    may hold, the acknowledged state first."""
    seen = holdings(db, number)
    if seen is None:
        return "" if reported or None in versions else f"bucket {number} is gone, nothing reported"
    wrong = [record for record in seen.records if record.wrong.startswith(DIFFERS)]
    if wrong:
        return f"bucket {number} answers {wrong[0]}"
    if reported or any(record.wrong for record in seen.records):
        return ""
    known = [version for version in versions if version is not None]
    if any(same(seen, version) for version in known):
        return ""
    return _told(("bucket", number), seen, known) + ", nothing reported"


LARGEST = 70_000
"""Bytes of the longest record of a workload: past the log, with a checksum array."""

RING_BLOCK = 70_000
"""`max_block_size` of buckets with a quota."""


def _stream_fact(db: Database, number: int) -> Any:
    uuid = stream_uuid(number)
    try:
        stream = db.streams.get(uuid)
        row = stream.row()
    except errors.StreamNotFound:
        with db.catalog.snapshot() as catalog:
            return BURNT if catalog.burnt(uuid) is not None else None
    return Fact(
        stream.version,
        row.oldest_version,
        row.collection,
        tuple(sorted(row.tags.items())),
        tuple(sorted(row.annotations.items())),
        row.property_version,
    )


def verify(
    db: Database,
    facts: Mapping[Key, Any],
    in_flight: Sequence[Effect],
    content: Content,
    rng: random.Random,
    versions: int = 2,
) -> list[str]:
    """Everything that is wrong. `versions`: how many kept versions of each stream are compared, besides the latest."""
    wrong: list[str] = []
    keys = dict.fromkeys([*facts, *(key for effect in in_flight for key in effect.facts)])
    seen = observed(db, keys)
    for effect in in_flight:
        done = {key for key, value in effect.facts.items() if same(seen[key], value)}
        changes = {key for key, value in effect.facts.items() if not same(facts.get(key), value)}
        if changes & done and changes - done:
            wrong.append(f"half a step: {sorted(map(str, done))} done, {sorted(map(str, changes - done))} not")
    pending: dict[int, tuple[int, Points]] = {}
    for effect in in_flight:
        for stream, points in effect.points.items():
            fact = effect.facts["stream", stream]
            pending[stream] = (fact.version, points)
    for key in keys:
        allowed = [facts.get(key), *(effect.facts[key] for effect in in_flight if key in effect.facts)]
        if not any(same(seen[key], value) for value in allowed):
            wrong.append(_told(key, seen[key], allowed))
    if db.degraded or db.version_gaps:
        wrong.append(f"reported damage: {list(db.degraded)} {db.version_gaps}")
    if wrong:
        return wrong
    for (kind, name), fact in seen.items():
        if kind == "stream" and isinstance(fact, Fact):
            wrong += _compare(db, name, fact, content, pending.get(name), rng, versions)
    wrong += _compare_pins(db, facts, seen, content, rng)
    return wrong


def _told(key: Key, seen: Any, allowed: Sequence[Any]) -> str:
    """Of a bucket and of points only how they differ from the first that is allowed."""
    if key[0] == "points" and isinstance(seen, tuple):
        first = allowed[0] or ()
        more = [row for row in seen if row not in first]
        less = [row for row in first if row not in seen]
        return f"{key}: {len(seen)} points, {len(allowed)} allowed; too much {more[:3]}, lacks {less[:3]}"
    if not isinstance(seen, Holdings) or not isinstance(allowed[0], Holdings):
        return f"{key}: found {seen}, allowed {allowed}"
    more = [record for record in seen.records if record not in allowed[0].records]
    less = [record for record in allowed[0].records if record not in seen.records]
    return (
        f"{key} (quota {seen.quota}, size {seen.size}): {len(allowed)} allowed; too much {more[:3]}, lacks {less[:3]}"
    )


def _compare(
    db: Database,
    number: int,
    fact: Fact,
    content: Content,
    pending: tuple[int, Points] | None,
    rng: random.Random,
    versions: int,
) -> list[str]:
    wrong: list[str] = []
    stream = db.streams.get(stream_uuid(number))
    kept = range(max(fact.oldest, FIRST), fact.version)
    chosen = [*rng.sample(kept, min(versions, len(kept))), fact.version]
    for version in chosen:
        latest_unacknowledged = pending is not None and version == pending[0]
        points = pending[1] if latest_unacknowledged and pending is not None else content(number, version)
        try:
            samples = stream.values(version=version)
            if samples.time.tolist() != [p.time for p in points] or samples.value.tolist() != [p.value for p in points]:
                wrong.append(
                    f"stream {number} at {version}: {len(samples)} points, expected {len(points)}; they differ"
                )
            elif version == fact.version and stream.count(MIN_TIME, LAST_TIME + 1, version=version) != len(points):
                wrong.append(f"stream {number} at {version}: count differs from the points")
        except errors.LaminaError as error:
            wrong.append(f"stream {number} at {version}: {error!r}")
    if fact.oldest > FIRST:
        try:
            stream.values(version=fact.oldest - 1)
            wrong.append(f"stream {number}: version {fact.oldest - 1} is readable, {fact.oldest} is the oldest")
        except errors.VersionNotAvailable:
            pass  # as promised
    return wrong


def _compare_pins(
    db: Database, facts: Mapping[Key, Any], seen: Mapping[Key, Any], content: Content, rng: random.Random
) -> list[str]:
    wrong: list[str] = []
    for (kind, name), versions in facts.items():
        if kind != "pin" or not seen[kind, name]:
            continue
        with db.open_snapshot(name) as snapshot:
            for number, version in versions.items():
                if isinstance(number, tuple):
                    if sets.held(snapshot, number[1]) != version:
                        wrong.append(f"snapshot {name}: points of set {number[1]} differ")
                    continue
                if not isinstance(seen.get(("stream", number)), Fact):
                    continue
                stream = db.streams.get(stream_uuid(number))
                if snapshot.version(stream) != version:
                    wrong.append(f"snapshot {name}: stream {number} at {snapshot.version(stream)}, expected {version}")
                elif rng.random() < 0.3:
                    with snapshot.stream(stream) as view:
                        if view.values().time.tolist() != [p.time for p in content(number, version)]:
                            wrong.append(f"snapshot {name}: stream {number} differs")
    return wrong

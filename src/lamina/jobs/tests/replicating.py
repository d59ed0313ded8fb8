"""Replications driven by hand: a destination without a network, and a database whose process or power can be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamina.engine.database import Database
from lamina.engine.tests.machine import SMALL, Machine
from lamina.errors import LaminaError
from lamina.jobs.replications import Replications
from lamina.jobs.sender import CONNECTION_ERROR, Destination, Failure, Outgoing, Unreachable

SETTINGS = {"src_bucket": "a", "dst_bucket": "b", "dst_host": "http://there:8383"}


class Wire:
    """Leads to a database in this process; `cut` makes it unreachable, `refuse` gives errors by time."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cut: Unreachable | None = None
        self.cut_after: int | None = None  # calls
        self.refuse: dict[int, Failure] = {}
        self.calls: list[tuple[str, str, list[int]]] = []
        self.destinations: list[Destination] = []

    def connect(self, destination: Destination) -> WireSender:
        self.destinations.append(destination)
        return WireSender(self, destination)

    def check(self) -> None:
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut = Unreachable(CONNECTION_ERROR, "cut")
                self.cut_after = None
        if self.cut is not None:
            raise self.cut


class WireSender:
    def __init__(self, wire: Wire, destination: Destination) -> None:
        self.wire = wire
        self.bucket = destination.bucket

    def prepare(self) -> None:
        self.wire.check()
        self.wire.db.buckets.create(self.bucket, exist_ok=True)

    def reach(self) -> None:
        self.wire.check()

    def write(self, entry: str, records: Sequence[Outgoing]) -> Mapping[int, Failure]:
        self.wire.check()
        self.wire.calls.append(("write", entry, [record.time_us for record in records]))
        failed = {}
        for record in records:
            try:
                if record.time_us in self.wire.refuse:
                    failed[record.time_us] = self.wire.refuse[record.time_us]
                    continue
                self.wire.db.buckets[self.bucket].entry(entry).write(
                    b"".join(record.content()),
                    record.time_us,
                    labels=dict(record.labels),
                    content_type=record.content_type,
                )
            except LaminaError as error:
                failed[record.time_us] = Failure(409, str(error))
        return failed

    def update(self, entry: str, updates: Sequence[tuple[int, Mapping[str, str]]]) -> Mapping[int, Failure]:
        self.wire.check()
        self.wire.calls.append(("update", entry, [time_us for time_us, _ in updates]))
        found = self.wire.db.buckets[self.bucket].update_labels([(entry, *update) for update in updates])
        return {time_us: Failure(404, str(error)) for (time_us, _), error in zip(updates, found, strict=True) if error}

    def close(self) -> None:
        pass


def replications(db: Database, wire: Wire, **options: Any) -> Replications:
    return Replications(db, wire.connect, own_port=8383, **options)


def settle(*all: Replications, rounds: int = 50) -> int:
    """Pump and send until nothing happens any more; how many batches were sent."""
    sent = 0
    for _ in range(rounds):
        moved = 0
        for each in all:
            each.pump()
            for task in each.tasks():
                while task.run_once():
                    moved += 1
        if not moved:
            return sent
        sent += moved
    raise AssertionError("does not settle")


def contents(db: Database, bucket: str) -> dict[tuple[str, int], tuple[bytes, dict[str, str]]]:
    """(entry, time) -> (content, labels) of a whole bucket."""
    held = db.buckets.find(bucket)
    if held is None:
        return {}
    return {
        (name, record.time_us): (record.read(), dict(record.labels))
        for name in held.names()
        for record in held.entry(name).query()
    }


class Replicating(Machine):
    """A machine with replications to a database elsewhere that never fails."""

    def __init__(self, **options: Any) -> None:
        import lamina

        super().__init__(SMALL)
        self.there = lamina.open(":memory:")
        self.wire = Wire(self.there)
        self.options = options
        self.jobs = replications(self.db, self.wire, **options)

    def again(self) -> None:
        """After a crash or a restart."""
        self.jobs = replications(self.db, self.wire, **self.options)

    def off(self) -> None:
        super().off()
        self.there.close()

"""The bucket `$system`: what the server tells of itself, as records (contract reductstore 16).

An event is a flat JSON object with `timestamp` (µs), `instance`, `status`, `message` and its payload; durations are in
seconds. That an event cannot be kept never disturbs what it tells of.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.engine.records.arguments import label_set
from lamina.engine.records.writegroup import WriteGroup
from lamina.errors import AlreadyExists, LaminaError

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry import Entry

log = logging.getLogger("lamina.jobs.system")
"""Not among the messages that become events: one that cannot be kept would make another."""

BUCKET = "$system"
CONTENT_TYPE = "application/json"
MESSAGE_LIMIT = 1000

_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_SEGMENT = 255


class Event(NamedTuple):
    """`entry` below the kind and the instance: `audit/<instance>/<entry>`."""

    kind: str
    entry: str
    status: int
    message: str
    payload: Mapping[str, Any]
    labels: Mapping[str, str] = {}


class SystemEvents:
    """Thread-safe."""

    def __init__(self, db: Database, instance: str, quota_size: int) -> None:
        """`quota_size`: bytes; the oldest events go."""
        self._db = db
        self._instance = instance
        self._quota = {"quota_type": "FIFO", "quota_size": quota_size}
        self._lock = threading.Lock()  # one writer at a time; guards the rest
        self._bucket: Bucket | None = None
        self._last_us: dict[str, int] = {}  # times are unique within an entry
        self.lost = 0  # events that could not be kept

    def keep(self, events: Sequence[Event]) -> None:
        """Write events in one commit, durably. Never raises: what cannot be kept is lost, and counted."""
        if not events:
            return
        try:
            with self._lock:
                self.lost += self._write(events)
        except (LaminaError, OSError) as error:
            self.lost += len(events)
            log.info("%d system events are lost: %s", len(events), error)

    def _write(self, events: Sequence[Event]) -> int:
        """How many were refused."""
        bucket = self._open()
        now_us = self._db.clock.wall_us()
        names = [f"{event.kind}/{segment(self._instance)}/{segment(event.entry)}" for event in events]
        entries = bucket.ensure_entries(list(dict.fromkeys(names)))
        by_name = {entry.name: entry for entry in entries}
        refused = 0
        with WriteGroup(bucket) as group:
            for name, event in zip(names, events, strict=True):
                time_us = self._last_us[name] = max(now_us, self._latest(by_name[name]) + 1)
                labels = label_set({"status": event.status, **event.labels})
                try:
                    group.add(by_name[name], time_us, _body(event, self._instance, time_us), labels, CONTENT_TYPE)
                except LaminaError:
                    refused += 1
        return refused

    def _latest(self, entry: Entry) -> int:
        """Time of the latest event of an entry; -1: none. A clock that was set back hides no event."""
        known = self._last_us.get(entry.name)
        if known is not None:
            return known
        info = entry.info()
        return info.latest_record if info.record_count else -1

    def _open(self) -> Bucket:
        """The bucket, made by the first event."""
        buckets = self._db.buckets
        bucket = buckets.find(BUCKET)
        if bucket is None:
            self._last_us.clear()
            try:
                return buckets.create(BUCKET, self._quota, system=True, provisioned=True)
            except AlreadyExists:
                bucket = buckets.get(BUCKET)
        if bucket is not self._bucket:
            buckets.update(bucket, self._quota, provisioned=True)  # the quota may have been configured anew
            self._bucket = bucket
        return bucket


def segment(text: str) -> str:
    """A text as part of an entry's name."""
    return _OTHER.sub("_", text)[:_SEGMENT] or "_"


def _body(event: Event, instance: str, time_us: int) -> bytes:
    members = {
        "timestamp": time_us,
        "instance": instance,
        "status": event.status,
        "message": event.message[:MESSAGE_LIMIT],
        **event.payload,
    }
    return json.dumps(members, ensure_ascii=False).encode("utf-8", "replace")

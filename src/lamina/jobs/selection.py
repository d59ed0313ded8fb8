"""Which records a replication takes: entries by patterns, records by a condition."""

from __future__ import annotations

from lamina.errors import LaminaError
from lamina.jobs.feed import Published
from lamina.jobs.replication_settings import ReplicationSettings
from lamina.records.condition import Evaluation

ENTRIES = 100_000
"""Entries of which is remembered whether they match; conditions begin anew when that is forgotten."""


class Selection:
    """Belongs to one thread at a time. Attachments go along with their parent, whatever the condition says."""

    def __init__(self, settings: ReplicationSettings) -> None:
        self._bucket = settings.src_bucket
        self._patterns = settings.patterns
        self._condition = settings.condition
        self._all = not self._condition.steps
        self._matches: dict[str, bool] = {}
        self._evaluations: dict[int, Evaluation] = {}

    def pick(self, change: Published) -> list[int]:
        """Which records of an op, as indexes. An error of the condition leaves a record out (contract 10.6)."""
        entry = change.entry
        if entry.bucket.name != self._bucket or not self._takes(entry.name):
            return []
        if entry.meta or self._all:
            return list(range(len(change.times)))
        evaluation = self._evaluations.get(entry.id)
        if evaluation is None:
            evaluation = self._evaluations[entry.id] = self._condition.start(True)
        picked = []
        for i, time_us in enumerate(change.times):
            try:
                if evaluation.one(time_us, dict(change.labels[i])):
                    picked.append(i)
            except LaminaError:
                continue
        return picked

    def _takes(self, name: str) -> bool:
        found = self._matches.get(name)
        if found is None:
            if len(self._matches) >= ENTRIES:
                self._matches.clear()
                self._evaluations.clear()
            found = self._matches[name] = self._patterns.matches(name)
        return found

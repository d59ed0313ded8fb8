"""Answers in batch protocol v2, in a way that every SDK reads alike (contract 9.5).

SDKs disagree on the order of contents where entries interleave, and on whose record is "previous". So each run of
consecutive records of one entry has an entry index of its own: index order and time order coincide. The first record
of a run says everything, and removes what the entry's previous record in this batch had and this one has not.
"""

from __future__ import annotations

from lamina.faces.reduct.batch2 import ENTRIES, LABELS, START
from lamina.faces.reduct.headers import Header, batch_type, batch_value, encode_name
from lamina.records.labels import NO_LABELS, LabelSet

HEADER_EXTRA = 2
"""Bytes counted for a header beside name and value (contract 8.4)."""


class Encoder:
    """The headers of one answer, made record by record in the order of the contents: by (time, entry name)."""

    def __init__(self) -> None:
        self.records: list[Header] = []
        self._runs: list[str] = []  # encoded names
        self._entry: str | None = None
        self._start = 0
        self._names: dict[str, int] = {}  # label -> index
        self._type = ""
        self._labels: LabelSet = NO_LABELS
        self._last: dict[str, LabelSet] = {}  # entry -> labels of its last record
        self.entries_bytes = 0
        self.names_bytes = 0

    def add(self, entry: str, time_us: int, size: int, content_type: str, labels: LabelSet) -> int:
        """Encode the next record; bytes by which all headers together have grown."""
        if not self.records:
            self._start = time_us
        before = self.entries_bytes + self.names_bytes
        if entry != self._entry:
            if self._entry is not None:
                self._last[self._entry] = self._labels
            self._entry = entry
            name = encode_name(entry)
            self._runs.append(name)
            self.entries_bytes += len(name) + 1
            value = b"%d,%b,%b" % (
                size,
                batch_type(content_type).encode(),
                self._delta(self._last.get(entry, NO_LABELS), labels, whole=True),
            )
        elif labels is self._labels or labels == self._labels:
            value = (
                b"%d" % size if content_type == self._type else b"%d,%b," % (size, batch_type(content_type).encode())
            )
        else:
            shown = b"" if content_type == self._type else batch_type(content_type).encode()
            value = b"%d,%b,%b" % (size, shown, self._delta(self._labels, labels))
        self._type, self._labels = content_type, labels
        header = b"x-reduct-%d-%d" % (len(self._runs) - 1, time_us - self._start), value
        self.records.append(header)
        grown = self.entries_bytes + self.names_bytes - before
        return len(header[0]) + len(value) + HEADER_EXTRA + grown

    def _delta(self, before: LabelSet, now: LabelSet, whole: bool = False) -> bytes:
        """Label changes by index. An empty value cannot be told: it would remove the label."""
        old, new = dict(before), dict(now)
        ops = []
        for name, value in now:
            if value and (whole or old.get(name) != value):
                ops.append((self._index(name), batch_value(value)))
        for name, value in before:
            if value and not new.get(name):
                ops.append((self._index(name), ""))
        ops.sort()
        return ",".join(f"{index}={value}" for index, value in ops).encode()

    def _index(self, name: str) -> int:
        index = self._names.get(name)
        if index is None:
            index = self._names[name] = len(self._names)
            self.names_bytes += len(encode_name(name)) + 1
        return index

    def headers(self) -> list[Header]:
        """All headers that say what the contents are; of an answer without records, those that SDKs demand."""
        entries = ",".join(self._runs).encode()
        found: list[Header] = [(ENTRIES, entries), (START, b"%d" % self._start)]
        if self._names:
            found.append((LABELS, ",".join(map(encode_name, self._names)).encode()))
        found += self.records
        return found

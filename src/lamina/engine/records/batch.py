"""Many records of one entry on their way in together: columns from the claim to the op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records import changes, quota
from lamina.engine.records.append import append_op
from lamina.engine.records.arguments import TOO_LONG, TOO_SHORT
from lamina.engine.records.write import INLINE, OP_BYTES, check_alive
from lamina.errors import InvalidArgument, LaminaError
from lamina.records.labels import LabelSet
from lamina.records.row import ROW, Rows
from lamina.records.size import LONGEST_OFFSETS, time_lengths
from lamina.storage.crc import crc32c_each

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.storage.log import Op


class Kind(NamedTuple):
    """What records may have in common, and mostly do."""

    size: int  # of the content
    content_type: str
    labels: LabelSet


class Batch:
    """Made by `Bucket.try_open_batch`. As `Write`, of inline records of an entry that become readable together."""

    __slots__ = ("_content", "_over", "bucket", "claimed", "entry", "rows", "sets", "size", "times", "types")

    def __init__(
        self,
        bucket: Bucket,
        entry: EntrySlot,
        times: list[int],
        rows: Rows,
        size: int,
        sets: list[LabelSet],
        types: list[str],
        claimed: int,
    ) -> None:
        self.bucket = bucket
        self.entry = entry
        self.times = times
        self.rows = rows  # complete but for the checksums
        self.sets = sets
        self.types = types
        self.size = size  # of all contents
        self.claimed = claimed
        self._content = b""
        self._over = False

    def __len__(self) -> int:
        return len(self.times)

    def set_content(self, content: bytes) -> None:
        """All contents, one behind the other. Raises InvalidArgument if it is not as long as announced."""
        if len(content) != self.size:
            raise InvalidArgument(TOO_LONG if len(content) > self.size else TOO_SHORT)
        self._content = content
        self.rows["crc"] = crc32c_each(content, self.rows["size"].tolist())

    def op(self) -> Op:
        contents = [self._content] if self.size else []
        return append_op(
            self.bucket, self.entry, self.rows.tobytes(), self.times, self.sets, self.types, contents, self.claimed
        )

    def abort(self) -> None:
        """Give up; nothing of the records remains. A no-op once they are committed or aborted."""
        if not self._over:
            self._over = True
            self.bucket.release(self.entry, self.times, self.claimed)

    def committed(self) -> None:
        """They are the log's now."""
        self._over = True

    def through(self, error: BaseException | None) -> None:
        """The log is done with them."""
        if error is not None:
            self.bucket.release(self.entry, self.times, self.claimed)


def try_open(
    bucket: Bucket, slot: EntrySlot, times: list[int], kinds: Sequence[Kind], chosen: Sequence[int] | None
) -> Batch | None:
    """See Bucket.try_open_batch."""
    store = bucket.store
    largest = max((kind.size for kind in kinds), default=0)
    if slot.meta or largest > INLINE or store.must_wait() or bucket.settings.quota_type == "HARD":
        return None
    try:
        at = np.array(times, np.uint64)
        if not len(at) or not (at[1:] > at[:-1]).all():
            return None
        rows, size, sets, types = _rows(bucket, at, kinds, chosen)
        need = size + int(rows["meta"].sum()) + len(times) * LONGEST_OFFSETS
        if size > OP_BYTES:
            return None
        quota.refuse(bucket, need)
        store.check_writable(largest)
        check_alive(slot)
        if not quota.claim(bucket, need, largest, wait=False):
            return None
    except (LaminaError, OverflowError):
        return None
    if not changes.claim_behind(slot, times):  # last: a claim of times leaves a mark, one of room does not
        bucket.release(slot, [], need)
        return None
    return Batch(bucket, slot, times, rows, size, sets, types, need)


def _rows(
    bucket: Bucket, times: NDArray[np.uint64], kinds: Sequence[Kind], chosen: Sequence[int] | None
) -> tuple[Rows, int, list[LabelSet], list[str]]:
    """Rows without checksums, the bytes of their contents, and the tables that they number. Raises InvalidArgument
    (labels, content type)."""
    set_ids: dict[LabelSet, int] = {}
    type_ids: dict[str, int] = {}
    table = [
        (
            size,
            bucket._described_length(labels, type),
            set_ids.setdefault(labels, len(set_ids)),
            type_ids.setdefault(type, len(type_ids)),
        )
        for size, type, labels in kinds
    ]
    size, described, set, type = table[0] if chosen is None else np.array(table, np.uint64)[chosen].T
    rows = np.zeros(len(times), ROW)
    rows["time"] = times
    rows["size"] = rows["stored"] = size
    ends = np.cumsum(rows["size"])
    rows["where"] = ends - rows["size"]
    rows["meta"] = time_lengths(times) + described
    rows["set"] = set
    rows["type"] = type
    return rows, int(ends[-1]), list(set_ids), list(type_ids)

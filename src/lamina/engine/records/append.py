"""The APPEND op of some records of an entry, and the note that rides on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.engine.records.publish import AppendNote
from lamina.records import ops
from lamina.storage.files import Buffer
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.records.labels import LabelSet


def append_op(
    bucket: Bucket,
    entry: EntrySlot,
    rows: bytes,
    times: list[int],
    sets: list[LabelSet],
    types: list[str],
    contents: Sequence[Buffer],
    claimed: int,
) -> Op:
    """`rows`: as `ops.ONE` packs them, `set` and `type` index the tables; `times` are theirs. `contents`: of the inline
    ones, one behind the other. `claimed`: bytes of quota."""
    limits = bucket.limits
    one = len(sets) == len(types) == 1
    tables = bucket.tables(sets[0], types[0]) if one else ops.encode_tables(sets, types)
    parts = ops.append_parts(rows, len(times), len(sets), len(types), tables, limits, contents)
    note = AppendNote(entry, rows, times, sets, types, limits, ops.contents_offset(len(times), len(tables)), claimed)
    return Op(ops.KIND, ops.APPEND, entry.id, parts, note)

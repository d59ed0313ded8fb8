"""Giving space back: segments that are mostly dead are copied out of, then deleted when nobody reads them any more.

Versions below a stream's oldest, and obliterated streams, leave dead blocks behind. A pass walks the inner rows of
all kept roots (0.1 B per point) to count live bytes per segment, and rewrites what lives in segments below half:
nodes above a moved block are written anew, subtrees that versions share stay shared, version numbers stay. A crash in
between leaves both copies; the next pass finds the old one dead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.rows import SegmentRow
from lamina.engine.slots import Slot, row_of
from lamina.errors import StreamNotFound
from lamina.storage.segment import SegmentWriter
from lamina.streams import compaction, history
from lamina.streams.history import Entry
from lamina.streams.node import NO_ROWS
from lamina.streams.state import FIRST_VERSION, Flushed

if TYPE_CHECKING:
    from lamina.engine.database import Database

LIVE_SHARE = 0.5
"""A segment with less live than this is rewritten: at most one byte is copied for each given back."""

BATCH_STREAMS = 256
"""Streams rewritten into one segment: their flushes wait meanwhile."""


class _Survey(NamedTuple):
    live: Counter[int]  # segment -> bytes
    touched: dict[int, frozenset[int]]  # stream -> segments it has blocks in
    pruned: set[int]  # streams whose history holds entries nobody may read any more


def compact(db: Database, progress: Callable[[int, int], None] | None = None) -> int:
    """One pass over all segments; bytes of the segments retired minus what was written instead."""
    db.upkeep.flush_all()
    with db.catalog.snapshot() as catalog:
        segments = {row.id: row for row in catalog.segments() if row.kind == "streams" and row.state == "live"}
    survey = _survey(db)
    victims = {id: row for id, row in segments.items() if survey.live[id] < LIVE_SHARE * row.bytes}
    streams = sorted(
        stream for stream, touched in survey.touched.items() if touched & victims.keys() or stream in survey.pruned
    )
    if not victims:
        return 0
    written = 0
    for begin in range(0, len(streams), BATCH_STREAMS):
        if db.closed:
            return -written  # the next pass finds what is left
        written += _rewrite(db, streams[begin : begin + BATCH_STREAMS], victims.keys())
        if progress is not None:
            progress(min(begin + BATCH_STREAMS, len(streams)), len(streams))
    _retire(db, list(victims.values()))
    return sum(row.bytes for row in victims.values()) - written


def _survey(db: Database) -> _Survey:
    survey = _Survey(Counter(), {}, set())
    for row in db.streams.rows():
        try:
            slot = db.streams.get(row.uuid).slot
        except StreamNotFound:
            continue
        lease = db.leases.take()
        try:
            flushed = slot.state.flushed
            kept, pruned = _kept(db, slot, flushed)
            roots = np.concatenate([flushed.root, *(entry.root for entry in kept)])
            live = compaction.reachable(roots, [flushed.history], db.read, flushed.runs)
        finally:
            db.leases.give_back(lease)
        survey.live.update(live)
        survey.touched[slot.id] = frozenset(live)
        if pruned:
            survey.pruned.add(slot.id)
    return survey


def _kept(db: Database, slot: Slot, flushed: Flushed) -> tuple[list[Entry], bool]:
    """Older roots that a kept version is read from, and whether there are others. A version is read from the first
    root at or above it."""
    entries = list(history.entries(flushed.history, db.read))
    kept = [entry for entry in entries if entry.version >= slot.oldest]
    return kept, len(kept) < len(entries)


def _rewrite(db: Database, streams: Sequence[int], victims: Set[int]) -> int:
    """Move what these streams have in the victims; bytes written."""
    sealer = db.sealer
    slots = [slot for id in streams if (slot := db.slots.living(id)) is not None]
    with sealer.locked(slots):
        alive = [slot for slot in slots if not slot.dead and slot.state.flushed.version > FIRST_VERSION]
        if not alive:
            return 0
        sealer.publish_roots([slot for slot in alive if slot.root_unpublished])
        writer = sealer.writer()
        delta = CatalogDelta(db.epoch)
        moved: list[Flushed] = []
        try:
            for slot in alive:
                moved.append(_moved(db, slot, victims, writer))
                sealer.describe(slot, moved[-1], writer)
                delta.puts.append(row_of(slot.id, moved[-1], db.epoch))
                delta.expect_roots[slot.id] = slot.cataloged
            row = sealer.finish(writer, moved)
        except BaseException:
            writer.abort()
            raise
        delta.puts.append(row)
        db.catalog.commit(delta)
        for slot, flushed in zip(alive, moved, strict=True):
            db.publisher.moved(slot, flushed)
        return row.bytes


def _moved(db: Database, slot: Slot, victims: Set[int], writer: SegmentWriter) -> Flushed:
    flushed = slot.state.flushed
    kept, _ = _kept(db, slot, flushed)
    latest = Entry(flushed.version, flushed.seq, flushed.time_us, flushed.points, flushed.root, flushed.runs)
    result = compaction.rewrite(kept, latest, victims, out=writer, read=db.read)
    root = result.latest.root if len(flushed.root) else NO_ROWS
    return flushed._replace(root=root, history=result.history, runs=result.latest.runs)


def _retire(db: Database, victims: Sequence[SegmentRow]) -> None:
    delta = CatalogDelta(db.epoch)
    delta.puts += [row._replace(state="retired", live_bytes=0) for row in victims]
    db.catalog.commit(delta)
    db.leases.retire([row.id for row in victims])
    db.upkeep.delete_retired()

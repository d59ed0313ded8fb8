"""From a tail to the tree: a stage of a stream becomes its next root, the root before goes into the history.

A flush writes leaves, nodes, runs and history of all due streams into one segment; the caller makes it durable and
publishes the result (catalog row, or ROOT op for a bulk insert). A root is built only on durable ones, so a stream with
several stages takes several flushes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import values as value_codecs
from lamina.columns import Times, Values
from lamina.storage.blocks import BlockReader
from lamina.storage.segment import SegmentWriter
from lamina.streams import history
from lamina.streams.node import ADDRESS, BIAS
from lamina.streams.shape import Shape
from lamina.streams.state import FIRST_VERSION, NO_RUNS, Flushed, Stage, StreamState, removal_of
from lamina.streams.tree import merge
from lamina.streams.view import Removal

Numbers = NDArray[np.uint64]


class Addition(NamedTuple):
    """A bulk insert that joins the flush as its last change. Times unbiased, sorted; `removed` as in ops.Insert."""

    version: int
    times: Times
    values: Values
    removed: Times | None = None


class _Source(NamedTuple):
    """What a root is made of: a removal from the root before, then points. Times biased, sorted."""

    removals: list[Removal]
    times: Times
    values: Values
    versions: Numbers | int  # per point, or one for all
    version: int  # of the last change inside
    seq: int  # of the last op inside; 0 if not known yet (bulk)
    run_versions: Numbers  # of the changes before the last
    run_seqs: Numbers


def flush(
    state: StreamState,
    *,
    out: SegmentWriter,
    read: BlockReader,
    shape: Shape,
    time_us: int,
    addition: Addition | None = None,
) -> Flushed:
    """The root after the first stage of `state`, with everything it needs written to `out` (not yet durable).

    An addition joins the stage; it needs a state of at most one stage, of none if it removes points.
    Cost: the touched leaves and their paths, and about 1 KB of history.
    """
    flushed = state.flushed
    source = _source(state, addition)
    codec = flushed.codec
    if codec is None or codec.degraded(source.values):
        codec = value_codecs.learn(source.values)
    root = merge(
        flushed.root,
        source.times,
        source.values,
        source.versions,
        source.removals,
        out=out,
        read=read,
        shape=shape,
        codec=codec,
    )
    older = flushed.history
    if flushed.version > FIRST_VERSION:
        entry = history.Entry(flushed.version, flushed.seq, flushed.time_us, flushed.points, flushed.root, flushed.runs)
        older = history.append(older, entry, out, read)
    points = int(root["count"][0]) if len(root) else 0
    runs = _write_runs(source, out)
    return Flushed(root, source.version, source.seq, time_us, points, older, runs, codec)


def _source(state: StreamState, addition: Addition | None) -> _Source:
    if addition is None:
        return _of_stage(state.stages[0])
    if not state.stages:
        return _of_addition(addition)
    assert len(state.stages) == 1, "the rest is flushed before"
    assert addition.removed is None, "a removal starts on a flushed root"
    return _joined(_of_stage(state.stages[0]), _of_addition(addition))


def _of_stage(stage: Stage) -> _Source:
    times, values, order = stage.sorted(stage.points)
    tail, last = stage.tail, stage.runs - 1
    version = int(tail.versions[last])
    versions: Numbers | int = version
    if last:
        versions = stage.run_versions(stage.points)
        versions = versions if order is None else versions[order]
    removals = [] if stage.removal is None else [stage.removal]
    return _Source(
        removals, times, values, versions, version, int(tail.seqs[last]), tail.versions[:last], tail.seqs[:last]
    )


def _of_addition(addition: Addition) -> _Source:
    version, none = addition.version, np.empty(0, np.uint64)
    removals = [] if addition.removed is None else [removal_of(version, addition.removed)]
    return _Source(removals, addition.times + BIAS, addition.values, version, version, 0, none, none)


def _joined(first: _Source, last: _Source) -> _Source:
    versions = np.concatenate(
        [np.broadcast_to(np.asarray(source.versions, np.uint64), source.times.shape) for source in (first, last)]
    )
    times = np.concatenate([first.times, last.times])
    values = np.concatenate([first.values, last.values])
    if len(first.times) and len(last.times) and last.times[0] < first.times[-1]:
        order = np.argsort(times, kind="stable")
        times, values, versions = times[order], values[order], versions[order]
    return _Source(
        first.removals,
        times,
        values,
        versions,
        last.version,
        0,
        np.append(first.run_versions, np.uint64(first.version)),
        np.append(first.run_seqs, np.uint64(first.seq)),
    )


def _write_runs(source: _Source, out: SegmentWriter) -> NDArray[np.void]:
    if not len(source.run_versions):
        return NO_RUNS
    address = np.zeros(1, ADDRESS)
    offset, length, crc = out.append(history.encode_runs(source.run_versions, source.run_seqs))
    address["segment"], address["length"], address["offset"], address["crc"] = out.id, length, offset, crc
    return address

"""The published state of one stream: the flushed tree plus what the log holds beyond it.

A `StreamState` is immutable and replaced as a whole when a group is published; readers take the reference once.
The columns of a `Tail` only grow, so an older state sees its own prefix.

Unflushed changes lie in **stages**. A removal (a delete, or REPLACE with a hit) opens a new stage, so within one stage
points are only added, and any version inside it is a prefix of its runs. A flush turns each stage into one root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.codecs.values import ValueCodec
from lamina.columns import Times, Values
from lamina.streams.node import ADDRESS, BIAS, NO_ROWS, Addresses, Rows
from lamina.streams.ops import Delete, Insert, Run
from lamina.streams.view import EMPTY_TIMES, EMPTY_VALUES, Removal, View

_T = TypeVar("_T", bound=np.generic)

FIRST_VERSION = 10
"""Version of a stream that was created and never written (contract section 3)."""


class Flushed(NamedTuple):
    """The latest root of a stream and the way to the older ones."""

    root: Rows  # length 0 or 1
    version: int
    seq: int  # of the last op inside
    time_us: int  # wall clock of the flush
    points: int
    history: bytes  # older roots (streams/history.py); b"" = none
    runs: Addresses  # block with (version, seq) of the changes inside this root before the last; length 0 = none
    codec: ValueCodec | None

    def pointer(self) -> bytes:
        """time, runs address and history as one value: what catalog row, ROOT op and segment directory store."""
        return _POINTER.pack(self.time_us) + self.runs.tobytes() + b"\0\0\0\0" + self.history


_POINTER = struct.Struct("<q")
NO_RUNS: Addresses = np.zeros(1, ADDRESS)
NEVER_FLUSHED = Flushed(NO_ROWS, FIRST_VERSION, 0, 0, 0, b"", NO_RUNS, None)


def split_pointer(pointer: bytes) -> tuple[int, Addresses, bytes]:
    """(time_us, runs address, history) of Flushed.pointer; an empty pointer is that of a stream never flushed."""
    if not pointer:
        return 0, NO_RUNS, b""
    if len(pointer) < 32:
        raise ValueError(f"pointer of {len(pointer)} bytes: at least 32")
    (time_us,) = _POINTER.unpack_from(pointer)
    return time_us, np.frombuffer(pointer, ADDRESS, 1, 8), bytes(pointer[32:])


class Tail:
    """Growable columns of one stage: points in arrival order, and a run (version, seq, end) per change."""

    __slots__ = ("ends", "seqs", "times", "values", "versions")

    def __init__(self, points: int = 16, runs: int = 16) -> None:
        self.times: Times = np.empty(points, np.int64)
        self.values: Values = np.empty(points, np.float64)
        self.versions: NDArray[np.uint64] = np.empty(runs, np.uint64)
        self.seqs: NDArray[np.uint64] = np.empty(runs, np.uint64)
        self.ends: NDArray[np.int64] = np.empty(runs, np.int64)

    def reserve(self, points: int, runs: int) -> None:
        if points > len(self.times):
            size = max(points, 2 * len(self.times))
            self.times, self.values = _grown(self.times, size), _grown(self.values, size)
        if runs > len(self.ends):
            size = max(runs, 2 * len(self.ends))
            self.versions, self.seqs = _grown(self.versions, size), _grown(self.seqs, size)
            self.ends = _grown(self.ends, size)


def _grown(array: NDArray[_T], size: int) -> NDArray[_T]:
    bigger: NDArray[_T] = np.empty(size, array.dtype)
    bigger[: len(array)] = array
    return bigger


class Stage(NamedTuple):
    """An optional removal, then additions: the first `points` rows and `runs` runs of a tail."""

    removal: Removal | None
    tail: Tail
    points: int
    runs: int
    ordered: bool  # times ascend in arrival order: no sort needed

    def upto(self, version: int) -> tuple[int, int]:
        """(points, runs) of the changes with a version <= this one."""
        runs = int(np.searchsorted(self.tail.versions[: self.runs], version, side="right"))
        return (int(self.tail.ends[runs - 1]) if runs else 0), runs

    def sorted(self, points: int) -> tuple[Times, Values, NDArray[np.intp] | None]:
        """The first `points` rows by biased time, ties in arrival order, and the permutation (None: as they are)."""
        times = self.tail.times[:points] + BIAS
        values = self.tail.values[:points]
        if self.ordered:
            return times, values, None
        order = np.argsort(times, kind="stable")
        return times[order], values[order], order

    def run_versions(self, points: int) -> NDArray[np.uint64]:
        """Version of each of the first `points` rows, in arrival order."""
        ends = self.tail.ends[: self.runs]
        return np.repeat(self.tail.versions[: self.runs], np.diff(ends, prepend=0))[:points]


class StreamState(NamedTuple):
    """Everything readable of a stream at one moment."""

    id: int
    flushed: Flushed
    stages: tuple[Stage, ...]
    version: int
    seq: int  # of the last op applied; 0 = none since it was loaded
    needed_seq: int  # oldest op of the log that is not in the tree; 0 = none

    @property
    def points(self) -> int:
        """Points not in the tree."""
        points = 0
        for stage in self.stages:  # not a sum over a generator: looked at twice by every insert
            points += stage.points
        return points

    @property
    def tail_bytes(self) -> int:
        """What the tails occupy, for the bound on all of them."""
        size = 0
        for stage in self.stages:
            size += 16 * stage.points + 24 * stage.runs + 64
        return size

    def insert(self, seq: int, change: Insert) -> StreamState:
        """With one insert more. Writes behind the rows this state covers: repeating it gives the same state."""
        n = len(change.times)
        stages = self.stages
        if change.removed is not None or not stages:
            removal = None if change.removed is None else removal_of(change.version, change.removed)
            last, kept = Stage(removal, Tail(max(n, 16)), 0, 0, True), stages
        else:
            last, kept = stages[-1], stages[:-1]
        tail, points, runs = last.tail, last.points, last.runs
        tail.reserve(points + n, runs + 1)
        ordered = last.ordered
        if n:
            tail.times[points : points + n] = change.times
            tail.values[points : points + n] = change.values
            if ordered and points and change.times[0] < tail.times[points - 1]:
                ordered = False
        tail.versions[runs] = change.version
        tail.seqs[runs] = seq
        tail.ends[runs] = points + n
        stage = Stage(last.removal, tail, points + n, runs + 1, ordered)
        return StreamState(self.id, self.flushed, (*kept, stage), change.version, seq, self.needed_seq or seq)

    def insert_runs(
        self,
        versions: NDArray[np.uint64],
        seqs: NDArray[np.uint64],
        counts: NDArray[np.int64],
        times: Times,
        values: Values,
    ) -> StreamState:
        """With many inserts more, at once (replay); equal to calling insert for each."""
        stages = self.stages or (Stage(None, Tail(len(times), len(versions)), 0, 0, True),)
        last = stages[-1]
        tail, points, runs = last.tail, last.points, last.runs
        n, k = len(times), len(versions)
        tail.reserve(points + n, runs + k)
        tail.times[points : points + n] = times
        tail.values[points : points + n] = values
        tail.versions[runs : runs + k] = versions
        tail.seqs[runs : runs + k] = seqs
        tail.ends[runs : runs + k] = points + np.cumsum(counts)
        joint = tail.times[max(points - 1, 0) : points + n]
        ordered = last.ordered and not bool((joint[1:] < joint[:-1]).any())
        stage = Stage(last.removal, tail, points + n, runs + k, ordered)
        return StreamState(
            self.id,
            self.flushed,
            (*stages[:-1], stage),
            int(versions[-1]),
            int(seqs[-1]),
            self.needed_seq or int(seqs[0]),
        )

    def delete(self, seq: int, change: Delete) -> StreamState:
        """With a removal more: it opens a stage, whose first run it is."""
        removal = Removal(change.version, change.start + BIAS, change.end + BIAS)
        tail = Tail()
        tail.versions[0], tail.seqs[0], tail.ends[0] = change.version, seq, 0
        stage = Stage(removal, tail, 0, 1, True)
        return StreamState(self.id, self.flushed, (*self.stages, stage), change.version, seq, self.needed_seq or seq)

    def flushed_to(self, flushed: Flushed, seq: int = 0) -> StreamState:
        """With a newer root: what it holds leaves the tail, later changes stay."""
        rest: list[Stage] = []
        for stage in self.stages:
            points, runs = stage.upto(flushed.version)
            if not runs:
                rest.append(stage)
            elif runs < stage.runs:
                rest.append(_cut(stage, points, runs))
        needed = int(rest[0].tail.seqs[0]) if rest else 0
        return StreamState(
            self.id, flushed, tuple(rest), max(self.version, flushed.version), max(self.seq, seq), needed
        )

    def view(self, version: int) -> View:
        """What is readable at a version >= flushed.version."""
        removals: list[Removal] = []
        parts: list[tuple[Times, Values]] = []
        for stage in self.stages:
            points, runs = stage.upto(version)
            if not runs:
                break
            if stage.removal is not None:
                removals.append(stage.removal)
                parts = [_without(times, values, stage.removal) for times, values in parts]
            if points:
                times, values, _ = stage.sorted(points)
                parts.append((times, values))
        times, values = _merged(parts)
        return View(self.flushed.root, version, removals, times, values)

    def version_at(self, seq: int) -> int | None:
        """The version current at a seq, if the log's tail knows: None when it lies inside the tree."""
        if seq < self.flushed.seq:
            return None
        found = self.flushed.version
        for stage in self.stages:
            runs = int(np.searchsorted(stage.tail.seqs[: stage.runs], seq, side="right"))
            if runs:
                found = int(stage.tail.versions[runs - 1])
        return found

    def runs(self) -> Iterator[Run]:
        """Every unflushed change, oldest first, as a TAIL op carries it."""
        for stage in self.stages:
            tail, begin = stage.tail, 0
            for i in range(stage.runs):
                end = int(tail.ends[i])
                version, seq = int(tail.versions[i]), int(tail.seqs[i])
                removal = stage.removal if i == 0 else None
                if removal is not None and removal.times is None:
                    yield Run(version, seq, Delete(version, removal.start - BIAS, removal.end - BIAS))
                else:
                    removed = removal.times - BIAS if removal is not None and removal.times is not None else None
                    yield Run(version, seq, Insert(version, tail.times[begin:end], tail.values[begin:end], removed))
                begin = end

    def changed_since(self, version: int, upto: int) -> tuple[Times, Times]:
        """Biased starts and ends of ranges that unflushed changes with version < v <= upto touch; may overlap, any
        order."""
        starts, ends = [EMPTY_TIMES], [EMPTY_TIMES]
        for stage in self.stages:
            removal = stage.removal
            if removal is not None and version < removal.version <= upto:
                if removal.times is None:
                    starts.append(np.array([removal.start]))
                    ends.append(np.array([removal.end]))
                else:
                    starts.append(removal.times)
                    ends.append(removal.times + 1)
            first, _ = stage.upto(version)
            last, _ = stage.upto(upto)
            added = stage.tail.times[first:last] + BIAS
            starts.append(added)
            ends.append(added + 1)
        return np.concatenate(starts), np.concatenate(ends)


def empty_state(stream: int, flushed: Flushed = NEVER_FLUSHED) -> StreamState:
    return StreamState(stream, flushed, (), flushed.version, flushed.seq, 0)


def removal_of(version: int, times: Times) -> Removal:
    """The removal that a REPLACE makes of its removed times (unbiased, sorted, distinct, at least one)."""
    assert len(times), "REPLACE without a hit is an INSERT"
    biased = times + BIAS
    return Removal(version, int(biased[0]), int(biased[-1]) + 1, biased)


def _cut(stage: Stage, points: int, runs: int) -> Stage:
    """A stage without its first points and runs, in a tail of its own; its removal was part of the first run."""
    kept_points, kept_runs = stage.points - points, stage.runs - runs
    tail = Tail(max(kept_points, 16), max(kept_runs, 16))
    tail.times[:kept_points] = stage.tail.times[points : stage.points]
    tail.values[:kept_points] = stage.tail.values[points : stage.points]
    tail.versions[:kept_runs] = stage.tail.versions[runs : stage.runs]
    tail.seqs[:kept_runs] = stage.tail.seqs[runs : stage.runs]
    tail.ends[:kept_runs] = stage.tail.ends[runs : stage.runs] - points
    times = tail.times[:kept_points]
    return Stage(None, tail, kept_points, kept_runs, not bool((times[1:] < times[:-1]).any()))


def _without(times: Times, values: Values, removal: Removal) -> tuple[Times, Values]:
    if removal.times is None:
        first, last = np.searchsorted(times, [removal.start, removal.end])
        if first == last:
            return times, values
        return np.delete(times, slice(first, last)), np.delete(values, slice(first, last))
    keep = ~np.isin(times, removal.times)
    return times[keep], values[keep]


def _merged(parts: Sequence[tuple[Times, Values]]) -> tuple[Times, Values]:
    """Parts in stage order as one sorted run; equal times keep stage order."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return EMPTY_TIMES, EMPTY_VALUES
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    order = np.argsort(times, kind="stable")
    return times[order], values[order]

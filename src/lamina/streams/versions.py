"""Which tree a version is read from: the tail, the latest root, or an older one out of the history."""

from __future__ import annotations

import numpy as np

from lamina.errors import InvalidArgument, VersionNotAvailable
from lamina.storage.blocks import BlockReader
from lamina.streams.node import NO_ROWS
from lamina.streams.state import FIRST_VERSION, StreamState
from lamina.streams.view import EMPTY_TIMES, EMPTY_VALUES, View

LATEST = 0
"""In place of a version: whatever is newest, unflushed points included."""


def view_at(state: StreamState, version: int, oldest: int, read: BlockReader) -> View:
    """Everything readable at a version. `oldest`: versions below were pruned.

    Raises VersionNotAvailable (never given, or pruned). Cost: none for what the tail or the latest root holds, else
    O(log16 flushes) block reads.
    """
    if not isinstance(version, int | np.integer):
        raise InvalidArgument(f"version {version!r}: expected an int, 0 for the latest")
    if version == LATEST or version == state.version:
        return state.view(state.version)
    if version > state.version or version < FIRST_VERSION:
        raise VersionNotAvailable(
            f"version {version} is not available: "
            f"the stream has versions {max(oldest, FIRST_VERSION)} to {state.version}"
        )
    if version < oldest:
        raise VersionNotAvailable(f"version {version} was pruned: the oldest kept is {oldest}")
    flushed = state.flushed
    if version >= flushed.version:
        return state.view(version)
    if version == FIRST_VERSION:
        return View(NO_ROWS, FIRST_VERSION, (), EMPTY_TIMES, EMPTY_VALUES)
    from lamina.streams import history  # here: most readers never look behind the latest root

    entry = history.find_version(flushed.history, version, read)
    root = flushed.root if entry is None else entry.root
    return View(root, version, (), EMPTY_TIMES, EMPTY_VALUES)


def version_at_seq(state: StreamState, seq: int, read: BlockReader) -> int:
    """The version that was current when op `seq` had been published; FIRST_VERSION if there was none yet."""
    found = state.version_at(seq)
    if found is not None:
        return found
    from lamina.streams import history

    flushed = state.flushed
    before, after = history.find_seq(flushed.history, seq, read)
    version = FIRST_VERSION if before is None else before.version
    runs = flushed.runs if after is None else after.runs
    address = runs.reshape(())[()]
    if int(address["length"]):
        block = read.block(int(address["segment"]), int(address["offset"]), int(address["length"]), int(address["crc"]))
        versions, seqs = history.decode_runs(block)
        inside = int(np.searchsorted(seqs, seq, side="right"))
        if inside:
            version = int(versions[inside - 1])
    return version

"""Seeded bugs of records, as patches for the time of a run; `mutants.py` says who has to find each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from lamina.engine.records import compact, space
from lamina.engine.records.entry_slot import EntrySlot
from lamina.engine.records.replay import RecordReplay
from lamina.engine.records.seal import RecordSealer
from lamina.records import checksum
from lamina.records import ops as record_ops
from lamina.storage.payloads import PayloadFiles


@contextmanager
def syncs_left_out(of_seals: bool) -> Iterator[None]:
    """Contents are not made durable by seals and compaction, or by nobody else."""
    sync_file = PayloadFiles.sync_file
    sealing = [False]

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            sealing[0] = True
            try:
                return call(*args, **options)
            finally:
                sealing[0] = False

        return noted

    def some(self: Any, file: Any, number: int) -> None:
        if sealing[0] != of_seals:
            sync_file(self, file, number)

    with (
        mock.patch.object(RecordSealer, "_seal", noting(RecordSealer._seal)),
        mock.patch.object(compact, "rewrite", noting(compact.rewrite)),
        mock.patch.object(PayloadFiles, "sync_file", some),
    ):
        yield


@contextmanager
def evict_not_logged() -> Iterator[None]:
    """An eviction is published, and its space given back, but the log is told of another one."""
    with mock.patch.object(record_ops, "evict_body", return_value=record_ops._U64.pack(0)):
        yield


@contextmanager
def lost_replacement() -> Iterator[None]:
    """Replay lets the old row of a label update die and forgets the new one."""

    def labels(self: Any, slot: Any, seq: int, body: bytes) -> None:
        times, *_ = record_ops.decode_labels(body)
        self._remove(slot, seq, record_ops.remove_body(times))

    with mock.patch.object(RecordReplay, "_labels", labels):
        yield


@contextmanager
def trim_ignores_records() -> Iterator[None]:
    with mock.patch.object(EntrySlot, "needed_seq", property(lambda self: 1 << 62)):
        yield


@contextmanager
def no_content_crc() -> Iterator[None]:
    with (
        mock.patch.object(checksum, "verify"),
        mock.patch.object(checksum._Content, "_check"),
    ):
        yield


@contextmanager
def no_array_crc() -> Iterator[None]:
    """The array of checksums behind a long content is believed as it lies there."""

    def take(self: Any, array: Any) -> None:
        self._array = np.frombuffer(array, "<u4").tolist()

    with mock.patch.object(checksum._Content, "_take_array", take):
        yield


@contextmanager
def punch_alive() -> Iterator[None]:
    """Evicted contents are punched with what else lies in their pages."""
    run = space._punch_run

    def wider(store: Any, found: Any) -> None:
        if found is not None:
            file, begin, end = found
            found = file, max(begin - begin % space.PAGE, space.PAGE), end + (-end % space.PAGE)
        run(store, found)

    with mock.patch.object(space, "_punch_run", wider):
        yield


@contextmanager
def forgotten_directory() -> Iterator[None]:
    """Sections that were evicted whole leave the catalog without a word to a rebuild."""
    leave_out = space._leave_out

    def silent(store: Any, slot: Any, ids: set[int]) -> None:
        leave_out(store, slot, ids)
        state = slot.state
        if not state.n and not any(section.changed for section in state.sections):
            with store.publish_lock:
                store.publisher.replace(slot, state, state._replace(needed=0))

    with mock.patch.object(space, "_leave_out", silent):
        yield

"""Seeded bugs of points, as patches for the time of a run; `mutants.py` says who has to find each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from lamina.engine.points import seal
from lamina.engine.points.ordinals import RESERVED, Ordinals
from lamina.engine.points.replay import PointReplay
from lamina.engine.points.slot import MeasurementSlot


@contextmanager
def trim_ignores_points() -> Iterator[None]:
    with mock.patch.object(MeasurementSlot, "needed_seq", property(lambda self: 1 << 62)):
        yield


@contextmanager
def deaths_forgotten_at_seal() -> Iterator[None]:
    """The catalog is told that ops are applied, and not what they let die in sections."""

    def amend(store: Any, section: Any, pins: Any, writer: Any) -> Any:
        return section.row._replace(epoch=store.epoch)

    with mock.patch.object(seal, "amend", amend):
        yield


@contextmanager
def deaths_forgotten_at_replay() -> Iterator[None]:
    """Replay lets only rows of the tail die."""
    with mock.patch.object(PointReplay, "_kill_sealed", lambda self, state, ordinals, seqs: state):
        yield


@contextmanager
def ordinals_given_again() -> Iterator[None]:
    """Every opening begins to number anew."""

    def prepare(self: Any) -> None:
        if not self._stop:
            self._next, self._stop = 1, RESERVED

    with mock.patch.object(Ordinals, "prepare", prepare):
        yield

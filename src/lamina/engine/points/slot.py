"""The place a measurement's published state hangs on."""

from __future__ import annotations

import threading

from lamina.points.state import MeasurementState


class MeasurementSlot:
    """One measurement. There is never a second slot for one."""

    __slots__ = ("applied", "created_us", "dead", "described", "id", "leaving", "lock", "name", "sealing", "state")

    def __init__(self, id: int, name: str, created_us: int, state: MeasurementState) -> None:
        self.id = id
        self.name = name
        self.created_us = created_us
        self.state = state  # replaced under the publish lock only
        self.leaving = False  # about to be forgotten: takes no more ops; set under the publish lock
        self.dead = False  # forgotten, because nothing was in it; likewise
        self.applied = state.seq  # seq up to which the catalog has it; changed under `sealing`
        self.described = 0  # segment with the newest directory known of it; a rebuild needs it; under `sealing`
        self.lock = threading.RLock()  # object lock: from resolving an update or removal to its publication
        self.sealing = threading.Lock()  # one seal or rewrite at a time; taken before `lock`

    @property
    def needed_seq(self) -> int:
        """The oldest op this measurement needs from the log; 0: none."""
        return self.state.needed

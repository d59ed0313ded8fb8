"""A disk in memory whose power can be cut."""

from __future__ import annotations

import random

from lamina.storage.memory import MemoryFiles
from lamina.testing.crashstates import Event, Mode, Volume, materialise
from lamina.testing.recording import Recorder


class SimulatedFiles(Recorder):
    """Files that remember what is durable and what is not.

    `crash` and `kill` give the files of the next life. This life's object goes on by itself and does not
    touch them, so one moment can be crashed in many ways.
    """

    def __init__(self) -> None:
        self._begin(MemoryFiles(), Volume(), None)

    def _begin(self, memory: MemoryFiles, volume: Volume, inodes: dict[str, int] | None) -> None:
        self._memory = memory
        self._volume = volume
        super().__init__(memory, self._apply, inodes)
        self._told = volume.applied

    def _apply(self, event: Event) -> int:
        self._volume.apply(event)
        return self._volume.applied - 1

    def crash(self, rng: random.Random, mode: Mode = "torn") -> SimulatedFiles:
        """Power is lost now and comes back: what survived is all there is, and it is durable."""
        with self._lock:
            survivors = self._volume.after_crash(mode, rng)
        life = SimulatedFiles.__new__(SimulatedFiles)
        life._begin(materialise(survivors), Volume(), None)
        return life

    def kill(self) -> SimulatedFiles:
        """The process dies, the machine does not: everything written is there, durable or not as before.
        Locks are free."""
        life = SimulatedFiles.__new__(SimulatedFiles)
        with self._lock:
            life._begin(self._memory.copy(), self._volume.copy(), self._inodes)
        return life

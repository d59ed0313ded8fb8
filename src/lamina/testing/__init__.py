"""Shipped helpers for tests of Lamina and of code that uses it.

Contract suites for every storage (`files_contract`, `blobs_contract`: they need pytest), files that record,
fail or lose power, a clock that a test turns, randomness that a seed repeats.
"""

from lamina.testing.clock import ManualClock
from lamina.testing.crashstates import MODES, CrashStates, Trace, materialise, write_state
from lamina.testing.faulty import FaultyFiles
from lamina.testing.random import SeededRandom
from lamina.testing.recording import RecordingFiles
from lamina.testing.simulated import SimulatedFiles

__all__ = [
    "MODES",
    "CrashStates",
    "FaultyFiles",
    "ManualClock",
    "RecordingFiles",
    "SeededRandom",
    "SimulatedFiles",
    "Trace",
    "materialise",
    "write_state",
]

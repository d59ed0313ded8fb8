"""What the demo measures: a feeder of a three-phase grid, a pump, and the hall they stand in.

Made up, but in the way of the real thing: regular clocks, the resolution of a converter, slow cycles under
noise, and rare events that a plot of means does not show. Every value follows from its stream and its index
alone, so a demo that was killed half way goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times, Values
from lamina.time import to_ns

END = to_ns("2025-06-02T12:00:00Z")
"""Every stream ends just before; a fixed time, so that the commands the demo prints always work."""

CHUNK = 1 << 18
"""Points per insert: past the log, and few enough that progress moves several times a second."""

SAG = 0.62
"""Where in the span the lines sag, as a fraction: the event that the demo zooms into."""

SAG_S = 0.4

Seconds = NDArray[np.float64]
Noise = np.random.Generator
Shape = Callable[[Seconds, float, Noise], Values]
"""Values at times since the start, in a stream that spans so many seconds."""


class Signal(NamedTuple):
    """One stream of the demo."""

    collection: str
    name: str
    unit: str
    rate: int  # points per second
    share: float  # of all points
    steps: int  # of the converter, per unit
    description: str
    shape: Shape

    def count(self, points: int) -> int:
        """How many of `points` fall to this stream."""
        return max(1, round(points * self.share))

    def start(self, points: int) -> int:
        """Time of the first point, ns."""
        return END - self.count(points) * 1_000_000_000 // self.rate

    def chunk(self, points: int, first: int) -> tuple[Times, Values]:
        """The chunk of points that holds index `first`, from there on. `first` < count(points)."""
        whole = first // CHUNK * CHUNK
        n = self.count(points)
        index = np.arange(whole, min(whole + CHUNK, n), dtype=np.int64)
        seed = [*(self.collection + self.name).encode(), whole // CHUNK]
        exact = self.shape(index / self.rate, n / self.rate, np.random.default_rng(seed))
        values = np.rint(exact * self.steps) / self.steps
        times = self.start(points) + index * 1_000_000_000 // self.rate
        return times[first - whole :], values[first - whole :]


def sag_time(signal: Signal, points: int) -> int:
    """When the sag begins, ns."""
    return signal.start(points) + round(SAG * signal.count(points) / signal.rate * 1e9)


def _sag(t: Seconds, span: float) -> NDArray[np.bool_]:
    return (t >= SAG * span) & (t < SAG * span + SAG_S)


def _wave(t: Seconds, period_s: float, phase: float = 0.0) -> Values:
    return np.sin(t * (2 * np.pi / period_s) + phase)


def _voltage(phase: int) -> Shape:
    depth = (0.41, 0.12, 0.07)[phase]

    def shape(t: Seconds, span: float, noise: Noise) -> Values:
        load = 22 * _wave(t, 1900, phase) + 9 * _wave(t, 130, 2 * phase)
        bank = 45.0 * ((t > 0.25 * span) & (t < 0.8 * span))  # a capacitor bank is switched in
        return (7200 + load + bank + noise.normal(0, 3, len(t))) * (1 - depth * _sag(t, span))

    return shape


def _current(phase: int) -> Shape:
    surge = (2.6, 0.5, 0.3)[phase]

    def shape(t: Seconds, span: float, noise: Noise) -> Values:
        starts = 60 * np.exp(-np.mod(t, 601.0) / 4)  # a motor starts every ten minutes
        load = 182 + 25 * _wave(t, 1900, phase + 3) + starts
        return (load + noise.normal(0, 0.8, len(t))) * (1 + surge * _sag(t, span))

    return shape


def _angle(phase: int) -> Shape:
    def shape(t: Seconds, span: float, noise: Noise) -> Values:
        drift = 140 * _wave(t, 2700) + 30 * _wave(t, 240)  # the integral of a frequency near its nominal value
        step = (4.0, 1.0, 0.5)[phase] * (t > SAG * span)
        return np.mod(drift + step - 120 * phase + noise.normal(0, 0.02, len(t)) + 180, 360) - 180

    return shape


def _vibration(t: Seconds, span: float, noise: Noise) -> Values:
    """A shaft at 29.6 Hz, its harmonic, and a bearing that begins to knock and gets worse."""
    turning = 0.35 * _wave(t, 1 / 29.6) + 0.12 * _wave(t, 1 / 59.2, 1)
    knocks = np.exp(-np.mod(t, 1 / 7.4) * 90) * _wave(t, 1 / 187)
    worse = 3.2 * np.clip(t / span - 0.4, 0, None) ** 2
    return turning + worse * knocks + noise.normal(0, 0.04, len(t))


def _temperature(mean: float, swing: float, warming: float) -> Shape:
    def shape(t: Seconds, span: float, noise: Noise) -> Values:
        day = swing * _wave(t, 86400, 0.7) + 0.15 * swing * _wave(t, 1500)
        return mean + day + warming * np.clip(t / span - 0.4, 0, None) ** 2 + noise.normal(0, 0.03, len(t))

    return shape


GRID = "demo/grid/feeder-7"
PUMP = "demo/plant/pump-3"
HALL = "demo/plant/hall"

SIGNALS: tuple[Signal, ...] = (
    *(Signal(GRID, f"voltage_l{p + 1}", "V", 120, 0.075, 100, "phase to neutral, rms", _voltage(p)) for p in range(3)),
    *(Signal(GRID, f"current_l{p + 1}", "A", 120, 0.075, 100, "line current, rms", _current(p)) for p in range(3)),
    *(
        Signal(GRID, f"angle_l{p + 1}", "deg", 120, 0.075, 1000, "voltage against GPS time", _angle(p))
        for p in range(3)
    ),
    Signal(PUMP, "vibration", "g", 1000, 0.25, 10_000, "bearing housing, radial", _vibration),
    Signal(PUMP, "temperature", "degC", 1, 0.025, 100, "bearing", _temperature(61, 2, 35)),
    Signal(HALL, "temperature_north", "degC", 1, 0.025, 100, "2 m above the floor", _temperature(22, 4, 0)),
    Signal(HALL, "temperature_south", "degC", 1, 0.025, 100, "2 m above the floor", _temperature(24, 5, 0)),
)

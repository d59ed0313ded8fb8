"""Prometheus text of a database, a registry of counters, and the process they live in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from lamina import __version__
from lamina.observe import BOUNDS_NS, Registry, Timer
from lamina.ops.health import Watched, health

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

COUNTERS = frozenset(
    (
        "points_inserted",
        "records_written",
        "record_bytes_written",
        "measurement_points_inserted",
        "flushes",
        "segment_bytes_written",
        "block_reads",
        "block_bytes_read",
    )
)
"""Figures of `Database.stats()` that only grow while the process lives; all others are gauges."""

STATES = ("starting", "ready", "degraded", "poisoned")


class Metrics:
    """Renders the same sources again and again; thread-safe.

    Every figure of `db.stats()` becomes `lamina_<name>`, one of COUNTERS `lamina_<name>_total`.
    """

    def __init__(self, registry: Registry) -> None:
        self.db: Watched | None = None  # set once it is open
        self._registry = registry
        self._collectors = CollectorRegistry()
        ProcessCollector(registry=self._collectors)
        PlatformCollector(registry=self._collectors)
        self._collectors.register(self)

    def render(self) -> bytes:
        """Prometheus text format 0.0.4. Reads counters, /proc and the free space of the volume: no lock held
        for long."""
        return generate_latest(self._collectors)

    def collect(self) -> Iterator[Metric]:
        """The collector protocol of prometheus_client."""
        yield InfoMetricFamily("lamina_build", "Version that runs", {"version": __version__})
        state = GaugeMetricFamily("lamina_state", "1 for the state the database is in", labels=["state"])
        now = health(self.db).state
        for name in STATES:
            state.add_metric([name], float(name == now))
        yield state
        yield from self._database()
        yield from _observed(self._registry)

    def _database(self) -> Iterator[Metric]:
        if self.db is None:
            return
        for name, value in sorted(self.db.stats().items()):
            kind = CounterMetricFamily if name in COUNTERS else GaugeMetricFamily
            yield kind(f"lamina_{name}", name.replace("_", " ").capitalize(), value=float(value))


def _observed(registry: Registry) -> Iterator[Metric]:
    """Metrics of one name and different labels form one family."""
    counters: dict[str, CounterMetricFamily] = {}
    timers: dict[str, HistogramMetricFamily] = {}
    for name, help, labels, what in registry:
        keys, values = [key for key, _ in labels], [value for _, value in labels]
        if isinstance(what, Timer):
            if name not in timers:
                timers[name] = HistogramMetricFamily(name, help, labels=keys)
            timers[name].add_metric(values, *_histogram(what))
        else:
            if name not in counters:
                counters[name] = CounterMetricFamily(name, help, labels=keys)
            counters[name].add_metric(values, what.value)
    yield from counters.values()
    yield from timers.values()


def _histogram(timer: Timer) -> tuple[Sequence[tuple[str, float]], float]:
    """Buckets as Prometheus counts them (each holds all smaller ones), and the sum in seconds."""
    counts, sum_ns = timer.read()
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip([*(repr(ns / 1e9) for ns in BOUNDS_NS), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets, sum_ns / 1e9

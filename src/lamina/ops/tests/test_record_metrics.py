"""Figures of records reach /metrics, those that only grow as counters."""

from __future__ import annotations

import lamina
from lamina.observe import Registry
from lamina.ops.metrics import Metrics


def test_records_are_counted():
    with lamina.open(":memory:", settings=lamina.Settings(background=False)) as db:
        db.buckets.create("b").entry("e").write(b"12345", 1)
        metrics = Metrics(Registry())
        metrics.db = db
        shown = metrics.render().decode()
    for line in (
        "lamina_buckets 1.0",
        "lamina_records_written_total 1.0",
        "lamina_record_bytes_written_total 5.0",
        "lamina_dirty_entries 1.0",
        "# TYPE lamina_records_written_total counter",
        "# TYPE lamina_record_tail_bytes gauge",
    ):
        assert line in shown

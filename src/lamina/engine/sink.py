"""The log's sink: each kind numbers and publishes its own ops."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.engine.points.publish import PointPublisher
from lamina.engine.publish import Publisher
from lamina.engine.records.publish import RecordPublisher
from lamina.points import ops as points
from lamina.records import ops as records
from lamina.storage.log import Op


class KindSink:
    """Streams, records and points; metadata need neither number nor publication."""

    def __init__(self, streams: Publisher, records: RecordPublisher, points: PointPublisher) -> None:
        self._streams = streams
        self._records = records
        self._points = points

    def number(self, first_seq: int, ops: Sequence[Op]) -> object:
        """See `Sink.number`. A submission is of one kind."""
        if ops[0].kind == records.KIND:
            self._records.number(ops)
            return None
        if ops[0].kind == points.KIND:
            self._points.number(ops)
            return None
        return self._streams.number(first_seq, ops)

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        kinds = {op.kind for op in ops}
        if records.KIND in kinds:
            self._records.publish(first_seq, ops)
        if points.KIND in kinds:
            self._points.publish(first_seq, ops)
        if kinds - {records.KIND, points.KIND}:
            self._streams.publish(first_seq, ops)

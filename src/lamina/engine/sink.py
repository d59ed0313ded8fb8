"""The log's sink: each kind numbers and publishes its own ops."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.engine.publish import Publisher
from lamina.engine.records.publish import RecordPublisher
from lamina.records import ops as records
from lamina.storage.log import Op


class KindSink:
    """Streams and records; metadata need neither number nor publication."""

    def __init__(self, streams: Publisher, records: RecordPublisher) -> None:
        self._streams = streams
        self._records = records

    def number(self, first_seq: int, ops: Sequence[Op]) -> object:
        """See `Sink.number`. A submission is of one kind."""
        if ops[0].kind == records.KIND:
            self._records.number(ops)
            return None
        return self._streams.number(first_seq, ops)

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        kinds = {op.kind for op in ops}
        if records.KIND in kinds:
            self._records.publish(first_seq, ops)
        if kinds != {records.KIND}:
            self._streams.publish(first_seq, ops)

"""ArrowMultiValues and MultiRawValues: the joins of `service.joins` on the wire."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID

import numpy as np

from lamina.errors import TooBig
from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.batches import ARROW_ROWS, BATCH_BYTES, POINTS
from lamina.faces.btrdb.calls import MESSAGE_LIMIT, parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.faces.btrdb.service import joins
from lamina.faces.btrdb.service.caller import Call


def arrow_multi_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ArrowMultiValuesParams, data)
    joins.check(asked.start, asked.end, asked.snapPeriodNs)
    versions = joins.checked_versions(asked.uuid, asked.versionMajor)
    template = asked.templateBytes
    if template:  # its columns can be judged before any uuid is
        arrow.Encoder(arrow.joined_schema([UUID(int=0)] * len(asked.uuid)), template)
    with ExitStack() as stack:
        views = joins.views(call, stack, asked.uuid, versions)
        uuids = [UUID(bytes=uuid) for uuid in asked.uuid]
        encoder = arrow.Encoder(arrow.joined_schema(uuids), template)
        rows = min(ARROW_ROWS, encoder.rows_limit())
        empty = True
        for times, columns in joins.table(views, asked.start, asked.end, asked.snapPeriodNs, rows):
            empty = False
            yield from encoder.messages(b"", 2, times, *columns)
        if empty:
            nothing = np.empty(0)
            yield from encoder.messages(b"", 2, nothing.astype(np.int64), *[nothing] * len(views))


def multi_raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.MultiRawValuesParams, data)
    joins.check(asked.start, asked.end, asked.periodNs)
    with ExitStack() as stack:
        views = joins.views(call, stack, asked.uuid, [asked.versionMajor] * len(asked.uuid))
        head = pb.MultiRawValuesResponse(
            versionMajor=[view.version for view in views], versionMinor=[0] * len(views)
        ).SerializeToString()
        row_bytes = 32 + 8 * len(views)
        if len(head) + row_bytes >= MESSAGE_LIMIT:
            raise TooBig(f"a row of {len(views)} streams does not fit a message of {MESSAGE_LIMIT} bytes")
        rows = max(1, min(POINTS, (BATCH_BYTES - len(head)) // row_bytes))
        empty = True
        for times, columns in joins.table(views, asked.start, asked.end, asked.periodNs, rows):
            empty = False
            yield wire.encode_rows(head, times, columns)
        if empty:
            yield head

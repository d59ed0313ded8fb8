"""GenerateCSV: the rows of `service.csv`, one message a row."""

from __future__ import annotations

from lamina.faces.btrdb.calls import parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.faces.btrdb.service import csv
from lamina.faces.btrdb.service.caller import Call


def generate_csv(call: Call, data: bytes) -> Messages:
    asked = parse(pb.GenerateCSVParams, data)
    query = csv.Query(
        asked.queryType,
        asked.startTime,
        asked.endTime,
        asked.windowSize,
        asked.depth,
        asked.includeVersions,
        [csv.Column(stream.version, stream.label, stream.uuid) for stream in asked.streams],
    )
    header = True
    for row in csv.generate_csv(call, query):
        yield pb.GenerateCSVResponse(isHeader=header, row=row).SerializeToString()
        header = False

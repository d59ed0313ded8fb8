"""Service path /grpcinterface.BTrDB: the methods by name. Where the messages are those of version 5, so is the code."""

from __future__ import annotations

from functools import partial

from lamina.faces.btrdb import csv, info, metadata_4, reads, writes
from lamina.faces.btrdb.calls import Streaming, Unary

SERVICE = "grpcinterface.BTrDB"

UNARY: dict[str, Unary] = {
    "Create": metadata_4.create,
    "Delete": writes.delete,
    "FaultInject": info.fault_inject,
    "Flush": writes.flush,
    "GetMetadataUsage": metadata_4.metadata_usage,
    "Info": info.info_4,
    "Insert": writes.insert_4,
    "ListCollections": metadata_4.list_collections,
    "Nearest": reads.nearest,
    "Obliterate": writes.obliterate,
    "SetStreamAnnotations": metadata_4.set_stream_annotations,
    "StreamInfo": metadata_4.stream_info,
}

STREAMING: dict[str, Streaming] = {
    "AlignedWindows": partial(reads.aligned_windows, stddev=False),
    "Changes": reads.changes,
    "GenerateCSV": csv.generate_csv,
    "LookupStreams": metadata_4.lookup_streams,
    "RawValues": reads.raw_values,
    "Windows": partial(reads.windows, stddev=False),
}

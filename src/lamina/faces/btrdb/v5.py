"""Service path /v5api.BTrDB: the methods by name."""

from __future__ import annotations

from lamina.faces.btrdb import csv, info, joins, metadata, reads, writes
from lamina.faces.btrdb.calls import Streaming, Unary

SERVICE = "v5api.BTrDB"

UNARY: dict[str, Unary] = {
    "ArrowInsert": writes.arrow_insert,
    "Create": metadata.create,
    "Delete": writes.delete,
    "FaultInject": info.fault_inject,
    "Flush": writes.flush,
    "GetCompactionConfig": info.get_compaction_config,
    "GetMetadataUsage": metadata.metadata_usage,
    "Info": info.info,
    "Insert": writes.insert,
    "Nearest": reads.nearest,
    "Obliterate": writes.obliterate,
    "SetCompactionConfig": info.set_compaction_config,
    "SetStreamAnnotations": metadata.set_stream_annotations,
    "SetStreamTags": metadata.set_stream_tags,
    "StreamInfo": metadata.stream_info,
}

STREAMING: dict[str, Streaming] = {
    "AlignedWindows": reads.aligned_windows,
    "ArrowAlignedWindows": reads.arrow_aligned_windows,
    "ArrowMultiValues": joins.arrow_multi_values,
    "ArrowRawValues": reads.arrow_raw_values,
    "ArrowWindows": reads.arrow_windows,
    "Changes": reads.changes,
    "GenerateCSV": csv.generate_csv,
    "ListCollections": metadata.list_collections,
    "LookupStreams": metadata.lookup_streams,
    "MultiRawValues": joins.multi_raw_values,
    "RawValues": reads.raw_values,
    "SQLQuery": metadata.sql_query,
    "Windows": reads.windows,
}
"""Subscribe is not among them: it needs the call's context (`subscribe.py`)."""

STATEMENTS = frozenset(("SQLQuery",))
"""Methods whose answers take long to begin."""

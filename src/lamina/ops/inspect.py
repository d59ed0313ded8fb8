"""`lamina inspect`: what is on disk, as lines a person can read. Takes no lock."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from lamina.errors import InvalidArgument
from lamina.ops.directory import Directory
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.local import LocalFiles
from lamina.storage.logfile import HEADER_BYTES, OPS, Framing, decode_header, decode_ops
from lamina.storage.segment import SegmentReader
from lamina.streams.segments import read_directory

OP_NAMES = {
    (0, 1): "meta PUT", (0, 2): "meta DEL", (0, 3): "PIN", (0, 4): "UNPIN", (1, 1): "INSERT", (1, 2): "REPLACE",
    (1, 3): "DELETE", (1, 4): "ROOT", (1, 5): "TAIL", (1, 6): "INSERT_MANY",
}  # fmt: skip
FRAMES_SHOWN = 20
STREAMS_SHOWN = 50


def inspect(path: str | os.PathLike[str]) -> Iterator[str]:
    """Lines about a database directory, a segment or a log file. Raises NotFound, Corrupt, InvalidArgument."""
    place = Path(path)
    if place.is_dir():
        yield from _directory(Directory(place))
    elif place.suffix == ".seg":
        yield from _segment(place)
    elif place.suffix == ".log" or ".log.damaged" in place.name:
        yield from _log_file(place)
    else:
        raise InvalidArgument(f"{place}: expected a database directory, a .seg or a .log file")


def _directory(directory: Directory) -> Iterator[str]:
    user = directory.user()
    yield f"database {directory.identity().hex()} at {directory.root}" + (f", in use by pid {user}" if user else "")
    catalog = directory.catalog()
    try:
        with catalog.snapshot() as snapshot:
            row = snapshot.database()
            yield f"created {_time(row.created_us)}, epoch {row.epoch}, meta applied up to seq {row.meta_applied_seq}"
            segments = list(snapshot.segments())
            total = sum(segment.bytes for segment in segments)
            kinds = Counter(segment.kind for segment in segments)
            shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
            yield f"segments: {shown}; {total:,} bytes"
            logs = list(directory.log_files())
            yield f"log: {len(logs)} files, {sum(path.stat().st_size for path in logs):,} bytes"
            for pin in snapshot.pins():
                yield f"snapshot {pin.name!r} at seq {pin.seq}, {_time(pin.created_us)}"
            count = snapshot.stream_count()
            yield f"streams: {count}"
            for index, stream in enumerate(snapshot.streams()):
                if index == STREAMS_SHOWN:
                    yield f"  ... and {count - STREAMS_SHOWN} more"
                    break
                root = snapshot.root(stream.id)
                flushed = f"{root.points:,} points in segments at version {root.version}" if root else "nothing flushed"
                yield f"  {stream.uuid}  {stream.collection}/{stream.tags.get('name', '')}  {flushed}"
    finally:
        catalog.close()


def _segment(place: Path) -> Iterator[str]:
    reader = SegmentReader(FileBlobs(LocalFiles(str(_root(place)))), "/".join(place.resolve().parts[-3:]))
    yield (
        f"segment {reader.id} ({reader.kind}), {reader.bytes:,} bytes, epoch {reader.epoch}, by {reader.writer}, "
        f"database {reader.database_id.hex()}"
    )
    for section in reader.sections:
        owner = UUID(bytes=section.uuid) if any(section.uuid) else "all metadata"
        line = f"  {owner}: version {section.version}, seq {section.min_seq} to {section.max_seq}"
        if reader.kind == "streams":
            flushed = read_directory(section.directory)
            line += f", {flushed.points:,} points, codec {flushed.codec.to_json() if flushed.codec else '-'}"
        yield line


def _root(place: Path) -> Path:
    """The database directory of DIR/segments/<kind>/<xx>/<id>.seg."""
    parts = place.resolve().parents
    if len(parts) < 4 or parts[2].name != "segments":
        raise InvalidArgument(f"{place}: expected DIR/segments/<kind>/<xx>/<id>.seg")
    return parts[3]


def _log_file(place: Path) -> Iterator[str]:
    data = place.read_bytes()
    header = decode_header(data[:HEADER_BYTES], str(place))
    yield (
        f"log file {place.name}: epoch {header.epoch}, base {header.base}, first seq {header.first_seq}, "
        f"database {header.database_id.hex()}, {len(data):,} bytes"
    )
    ops: Counter[str] = Counter()
    end, shown = HEADER_BYTES, 0
    for frame in Framing(header.salt, header.base).walk(data):
        names: Counter[str] = Counter()
        if frame.type == OPS:
            table = decode_ops(data, [frame])
            pairs = zip(table["kind"].tolist(), table["type"].tolist(), strict=True)
            names.update(OP_NAMES.get(pair, str(pair)) for pair in pairs)
            ops.update(names)
        if frame.offset != end:
            yield f"  {frame.offset - end} bytes at {end} are no valid frame"
        if shown < FRAMES_SHOWN:
            what = ", ".join(f"{n} {name}" for name, n in names.items()) or "mark"
            seqs = f"seq {frame.first_seq}, durable {frame.durable_seq}"
            yield f"  at {frame.offset}: {seqs}, {frame.length} bytes: {what}"
            shown += 1
        end = frame.end
    yield f"ops: {', '.join(f'{n:,} {name}' for name, n in ops.items()) or 'none'}; {len(data) - end:,} bytes behind"


def _time(us: int) -> str:
    return dt.datetime.fromtimestamp(us / 1e6, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""`lamina inspect`: what is on disk, as lines a person can read. Takes no lock."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import RecordSectionRow
from lamina.engine.points.sections import read_description
from lamina.engine.points.store import KIND as POINTS
from lamina.engine.records.sections import read_segment_directory
from lamina.engine.records.store import KIND as RECORDS
from lamina.errors import InvalidArgument
from lamina.ops.directory import Directory
from lamina.records.manifest import decode_blocks, decode_files
from lamina.records.section import section_of
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.local import LocalFiles
from lamina.storage.logfile import HEADER_BYTES, OPS, Framing, decode_header, decode_ops
from lamina.storage.payloadfile import FIRST, verify_head
from lamina.storage.segment import Section, SegmentReader
from lamina.streams.segments import read_directory

OP_NAMES = {
    (0, 1): "meta PUT", (0, 2): "meta DEL", (0, 3): "PIN", (0, 4): "UNPIN", (1, 1): "INSERT", (1, 2): "REPLACE",
    (1, 3): "DELETE", (1, 4): "ROOT", (1, 5): "TAIL", (1, 6): "INSERT_MANY", (2, 1): "records APPEND",
    (2, 2): "records LABELS", (2, 3): "records REMOVE", (2, 4): "records EVICT", (3, 1): "points INSERT",
    (3, 2): "points UPDATE", (3, 3): "points REMOVE", (3, 4): "points CLEAR", (3, 6): "points SECTION",
}  # fmt: skip
FRAMES_SHOWN = 20
STREAMS_SHOWN = 50
ENTRIES_SHOWN = 50
"""Of a bucket."""
MEASUREMENTS_SHOWN = 50


def inspect(path: str | os.PathLike[str]) -> Iterator[str]:
    """Lines about a database directory, a segment, a payload or log file. Raises NotFound, Corrupt, InvalidArgument."""
    place = Path(path)
    if place.is_dir():
        yield from _directory(Directory(place))
    elif place.suffix == ".seg":
        yield from _segment(place)
    elif place.suffix == ".dat":
        yield from _payload_file(place)
    elif place.suffix == ".log" or ".log.damaged" in place.name:
        yield from _log_file(place)
    else:
        raise InvalidArgument(f"{place}: expected a database directory, a .seg, .dat or .log file")


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
            yield from _buckets(directory, snapshot)
            yield from _measurements(snapshot)
    finally:
        catalog.close()


def _buckets(directory: Directory, snapshot: CatalogSnapshot) -> Iterator[str]:
    buckets = list(snapshot.buckets())
    yield f"buckets: {sum(not row.dead for row in buckets)}"
    living: Counter[int] = Counter()  # payload file -> bytes that a section needs
    for bucket in buckets:
        entries = list(snapshot.entries(bucket.id))
        sections = snapshot.record_sections([entry.id for entry in entries])
        for rows in sections.values():
            for row in rows:
                living.update(decode_files(row.files))
        quota = f"{bucket.settings.get('quota_type')} {bucket.settings.get('quota_size', 0):,} bytes"
        gone = f", removed at seq {bucket.dead}" if bucket.dead else ""
        yield f"  {bucket.name}: {len(entries)} entries, quota {quota}{gone}"
        for index, entry in enumerate(sorted(entries, key=lambda entry: entry.name.encode())):
            if index == ENTRIES_SHOWN:
                yield f"    ... and {len(entries) - ENTRIES_SHOWN} more"
                break
            yield f"    {entry.name}  {_sealed(sections.get(entry.id, []))}"
    payloads = [row for row in snapshot.segments() if row.kind == "payload"]
    if payloads:
        size = sum(row.bytes for row in payloads)
        needed = sum(living[row.id] for row in payloads)
        yield f"payload files: {len(payloads)}, {size:,} bytes when they were sealed, {needed:,} of them alive"
        unneeded = [row.name for row in payloads if not living[row.id]]
        if unneeded:
            yield f"  nothing sealed is alive in {', '.join(unneeded[:5])}{' ...' if len(unneeded) > 5 else ''}"


def _sealed(rows: Sequence[RecordSectionRow]) -> str:
    """What an entry has in segments; the log is not looked at."""
    if not rows:
        return "nothing sealed yet; newer records are in the log"
    records = sum(int(decode_blocks(row.blocks)[1].sum()) for row in rows)
    first = _time(min(section_of(row).t_min for row in rows))
    last = _time(max(section_of(row).t_max for row in rows))
    size = sum(sum(decode_files(row.files).values()) for row in rows)
    plural = "s" if len(rows) > 1 else ""
    return f"{records:,} records, {size:,} bytes in {len(rows)} section{plural}, {first} to {last}"


def _measurements(snapshot: CatalogSnapshot) -> Iterator[str]:
    """What measurements have in segments; the log is not looked at."""
    measurements = list(snapshot.measurements())
    yield f"measurements: {len(measurements)}"
    for index, measurement in enumerate(sorted(measurements, key=lambda row: row.name.encode())):
        if index == MEASUREMENTS_SHOWN:
            yield f"  ... and {len(measurements) - MEASUREMENTS_SHOWN} more"
            break
        rows = [row for row in snapshot.point_sections(measurement.id) if not row.dead]
        if not rows:
            yield f"  {measurement.name}  nothing sealed yet; newer points are in the log"
            continue
        points, died = sum(row.points for row in rows), sum(row.died for row in rows)
        first, last = min(row.t_min for row in rows), max(row.t_max for row in rows)
        plural = "s" if len(rows) > 1 else ""
        span = f"{_time(first)} to {_time(last)}"
        yield f"  {measurement.name}  {points - died:,} points in {len(rows)} section{plural}, {span}"


def _payload_file(place: Path) -> Iterator[str]:
    """A payload file says of itself only whose it is."""
    with place.open("rb") as file:
        head = file.read(FIRST)
    root = Directory(_root(place))
    verify_head(str(place), head, int(place.stem, 16), root.identity())
    size, held = place.stat().st_size, place.stat().st_blocks * 512
    yield f"payload file {int(place.stem, 16)}, {size:,} bytes, {held:,} of them on the disk"
    id = int(place.stem, 16)
    with closing(root.catalog()) as catalog, catalog.snapshot() as snapshot:
        for bucket in snapshot.buckets():
            for entry in snapshot.entries(bucket.id):
                for row in snapshot.record_sections([entry.id]).get(entry.id, []):
                    alive = decode_files(row.files).get(id, 0)
                    if alive:
                        yield f"  {bucket.name}/{entry.name}: {alive:,} bytes alive, section {row.id:x}"


def _segment(place: Path) -> Iterator[str]:
    reader = SegmentReader(FileBlobs(LocalFiles(str(_root(place)))), "/".join(place.resolve().parts[-3:]))
    yield (
        f"segment {reader.id} ({reader.kind}), {reader.bytes:,} bytes, epoch {reader.epoch}, by {reader.writer}, "
        f"database {reader.database_id.hex()}"
    )
    for section in reader.sections:
        if reader.kind == RECORDS:
            yield f"  entry {section.object_id}: {_described(section)}"
            continue
        if reader.kind == POINTS:
            yield f"  measurement {section.object_id}: {_described_points(section)}"
            continue
        owner = UUID(bytes=section.uuid) if any(section.uuid) else "all metadata"
        line = f"  {owner}: version {section.version}, seq {section.min_seq} to {section.max_seq}"
        if reader.kind == "streams":
            flushed = read_directory(section.directory)
            line += f", {flushed.points:,} points, codec {flushed.codec.to_json() if flushed.codec else '-'}"
        yield line


def _described(section: Section) -> str:
    """What an index segment says of one entry."""
    described = read_segment_directory(section.directory)
    rows = ", ".join(f"section {row.id:x} of {row.records:,} rows" for row in described.rows) or "no section"
    return f"up to seq {described.seq}: {rows}; {len(described.living)} sections from then on"


def _described_points(section: Section) -> str:
    """What a segment of points says of one measurement."""
    described = read_description(section.directory)
    if described is None:
        return "points of a bulk insert, which an op of the log commits"
    rows = ", ".join(f"section {row.id:x} of {row.points:,} rows" for row in described.rows) or "no section"
    return f"up to seq {described.seq}: {rows}; {len(described.living)} sections from then on"


def _root(place: Path) -> Path:
    """The database directory of DIR/segments/<kind>/<xx>/<id>.seg."""
    parts = place.resolve().parents
    if len(parts) < 4 or parts[2].name != "segments":
        raise InvalidArgument(f"{place}: expected DIR/segments/<kind>/<xx>/<id>.seg or .dat")
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
    if us >= 253_402_300_800_000_000:  # the year 10000, where calendars of Python end; records may be later
        return f"{us} us"
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")

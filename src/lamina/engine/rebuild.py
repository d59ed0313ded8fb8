"""A catalog from what segments and log say, for a directory that lost its own (reliability law 6).

Data: of every stream the root in the newest section that names it; of every entry and measurement the sections that the
newest segment with it names. Metadata: the newest meta segment plus the meta ops of the log. Everything sealed is found
again; what was only in a lost log is not. The directory is opened normally afterwards, which replays the log on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lamina.catalog import metafile
from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import BucketRow, EntryRow, MeasurementRow, RootRow, SegmentRow, StreamRow
from lamina.engine import metadata
from lamina.engine.points import store as points
from lamina.engine.points.rebuild import MissingPoints, PointsFound, points_in_log
from lamina.engine.records import store as records
from lamina.engine.records.rebuild import Missing, RecordsFound, files_in_log
from lamina.engine.slots import row_of
from lamina.engine.upkeep import DUMP_PLACE
from lamina.errors import Corrupt, LaminaError
from lamina.storage.blobs import BlobInfo, Blobs
from lamina.storage.crc import crc32c
from lamina.storage.log import Log
from lamina.storage.payloadfile import KIND as PAYLOAD
from lamina.storage.payloadfile import SUFFIX
from lamina.storage.segment import SegmentReader
from lamina.streams.segments import read_directory

Progress = Callable[[int, int], None]
"""(segments read, segments in all)"""


class Rebuilt:
    """What was found, before it is written."""

    def __init__(self) -> None:
        self.segments: list[SegmentRow] = []
        self.roots: dict[int, tuple[int, int, RootRow]] = {}  # stream -> (version, segment, row)
        self.records = RecordsFound()
        self.points = PointsFound()
        self.payloads: dict[int, int] = {}  # payload file -> bytes
        self.dump: tuple[int, SegmentRow] | None = None  # (seq, newest meta segment)
        self.damaged: list[tuple[str, str]] = []  # (blob name, what is wrong)
        self.highest_object = 0
        self.highest_segment = 0
        self.highest_epoch = 0


class Filled(NamedTuple):
    """What the new catalog holds."""

    streams: int
    roots: int
    entries: int
    sections: int
    measurements: int
    point_sections: int
    missing: list[Missing | MissingPoints]
    strange: list[str]  # names of segments and payload files that nothing in the catalog or the log refers to


def survey(blobs: Blobs, database_id: bytes, epoch: int, progress: Progress | None = None) -> Rebuilt:
    """Read the envelope of every segment. A damaged one is noted and passed over."""
    found = Rebuilt()
    infos = []
    for info in blobs.list(""):
        if info.name.startswith(PAYLOAD.decode() + "/"):
            _note_payload(found, info)
        else:
            infos.append(info)
    for done, info in enumerate(infos, 1):
        try:
            _survey_one(found, blobs, info, database_id, epoch)
        except LaminaError as error:
            found.damaged.append((info.name, str(error)))
        if progress is not None:
            progress(done, len(infos))
    return found


def _note_payload(found: Rebuilt, info: BlobInfo) -> None:
    """By its name: a payload file says of itself only whose it is."""
    digits = info.name.rpartition("/")[2].removesuffix(SUFFIX)
    try:
        id = int(digits, 16)
    except ValueError:
        return
    if records.payload_name(id) == info.name:
        found.payloads[id] = info.size
        found.highest_segment = max(found.highest_segment, id)


def _survey_one(found: Rebuilt, blobs: Blobs, info: BlobInfo, database_id: bytes, epoch: int) -> None:
    segment = SegmentReader(blobs, info.name)
    if segment.database_id != database_id:
        raise Corrupt(f"{info.name} belongs to database {segment.database_id.hex()}")
    found.highest_segment = max(found.highest_segment, segment.id)
    found.highest_epoch = max(found.highest_epoch, segment.epoch)
    max_seq = max((section.max_seq for section in segment.sections), default=0)
    min_seq = min((section.min_seq for section in segment.sections), default=0)
    row = SegmentRow(segment.id, segment.kind, info.name, info.size, info.size, min_seq, max_seq, segment.epoch, "live")
    if segment.kind == "meta":
        if found.dump is None or (max_seq, segment.id) > (found.dump[0], found.dump[1].id):
            found.dump = (max_seq, row)
        return
    found.highest_object = max([found.highest_object, *(section.object_id for section in segment.sections)])
    if segment.kind == records.KIND:
        found.segments.append(row)
        found.records.add(segment)
        return
    if segment.kind == points.KIND:
        found.segments.append(row)
        found.points.add(segment)
        return
    for section in segment.sections:
        flushed = read_directory(section.directory)
        before = found.roots.get(section.object_id)
        if before is None or (flushed.version, segment.id) > before[:2]:
            root = row_of(section.object_id, flushed._replace(seq=max(flushed.seq, section.max_seq)), epoch)
            found.roots[section.object_id] = (flushed.version, segment.id, root)
    found.segments.append(row)


def load_dump(blobs: Blobs, row: SegmentRow) -> Iterator[tuple[str, object]]:
    """(table, row) of a meta segment. Raises Corrupt."""
    segment = SegmentReader(blobs, row.name)
    offset, length, crc = DUMP_PLACE.unpack(segment.sections[0].directory)
    (data,) = blobs.read(row.name, [(offset, length)])
    if crc32c(data) != crc:
        raise Corrupt(f"{row.name}: dump at {offset}: CRC {crc32c(data):08x}, expected {crc:08x}")
    yield from metafile.load(data)


def rebuild(catalog: Catalog, blobs: Blobs, log: Log, found: Rebuilt, epoch: int) -> Filled:
    """Fill an empty catalog. Roots of streams and sections of entries and measurements whose metadata is lost are left
    out: their segments stay, unknown."""
    highest = found.highest_object
    applied = 0
    delta = CatalogDelta(epoch)
    if found.dump is not None:
        applied, row = found.dump
        delta.puts.append(row)
        delta.puts += [row for _, row in load_dump(blobs, row)]  # type: ignore[misc]
        delta.meta_applied_seq = applied
    catalog.commit(delta)
    highest = max([highest, *(_object(row) for row in delta.puts)])
    for seq, change in _meta_changes(log):
        if seq > applied:
            step = CatalogDelta(epoch)
            step.puts += change.puts
            step.deletes += change.deletes
            step.meta_applied_seq = seq
            catalog.commit(step)
        highest = max([highest, *(_object(row) for row in change.puts)])
    with catalog.snapshot() as snapshot:
        streams = {row.id for row in snapshot.rows("stream")}
        entries = {row.id for row in snapshot.rows("entry")}
        measurements = {row.id for row in snapshot.rows("measurement")}
    strange = [row for row in found.segments if row.kind == records.KIND]
    strange = [row for row in strange if not found.records.segments[row.id] & entries]
    logged = points_in_log(log.replay(0))
    unknown = found.points.strange(measurements, logged)
    strange += [row for row in found.segments if row.kind == points.KIND and row.id in unknown]
    roots = CatalogDelta(epoch)
    roots.puts += [row for row in found.segments if row not in strange]
    roots.puts += [row for stream, (_, _, row) in found.roots.items() if stream in streams]
    catalog.commit(roots)
    sections, files, lost = found.records.fill(catalog, entries, found.payloads, epoch)
    point_sections, lost_points = found.points.fill(catalog, measurements, logged, epoch)
    for name, last in (("object", highest), ("segment", found.highest_segment)):
        if last:
            catalog.reserve(name, last)  # type: ignore[arg-type]
    unnamed = sorted(found.payloads.keys() - files - files_in_log(log.replay(0)))
    names = [row.name for row in strange] + [records.payload_name(file) for file in unnamed]
    kept = sum(stream in streams for stream in found.roots)
    missing: list[Missing | MissingPoints] = [*lost, *lost_points]
    return Filled(len(streams), kept, len(entries), sections, len(measurements), point_sections, missing, names)


def _object(row: object) -> int:
    """The object id that a row takes; ids are never given again."""
    return row.id if isinstance(row, StreamRow | BucketRow | EntryRow | MeasurementRow) else 0


def _meta_changes(log: Log) -> list[tuple[int, metadata.Change]]:
    changes = []
    for frame in log.replay(0):
        for index, op in enumerate(frame.ops):
            if op["kind"] == metadata.KIND:
                begin = int(op["offset"])
                body = bytes(frame.body[begin : begin + int(op["length"]) - 16])
                seq = frame.first_seq + index
                changes.append((seq, metadata.decoded(int(op["type"]), seq, body)))
    return changes

"""`lamina doctor`: verify everything on disk, set damage aside, rebuild a lost catalog.

Verification reads every byte that any kept version needs and compares its checksum; it changes nothing, takes no lock
and works on a directory in use (it looks at one consistent state of the catalog).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from lamina.catalog.catalog import CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import RootRow, SegmentRow
from lamina.catalog.sqlite import SqliteCatalog
from lamina.engine import rebuild
from lamina.engine.open import CATALOG, IDENTITY, LOCK, open_database
from lamina.engine.points.store import KIND as POINTS
from lamina.engine.records.store import payload_name
from lamina.engine.seal import KIND
from lamina.engine.slots import flushed_of
from lamina.errors import Corrupt, LaminaError, NotFound, UnknownFormat
from lamina.ops.directory import Directory
from lamina.ops.finding import Finding
from lamina.ops.pointcheck import PointCheck
from lamina.ops.pointlog import bulk_sections
from lamina.ops.recordcheck import RecordCheck
from lamina.ops.recordlog import record_ops
from lamina.random import SystemRandom
from lamina.records.ops import APPEND, decode_append
from lamina.settings import Settings
from lamina.storage.blocks import BlockReader
from lamina.storage.commitlog import CommitLog
from lamina.storage.log import Op
from lamina.storage.logfile import HEADER_BYTES, Framing, decode_header
from lamina.storage.payloadfile import SUFFIX
from lamina.storage.recovery import judge
from lamina.storage.segment import SegmentReader, segment_name
from lamina.streams import history
from lamina.streams.node import INNER, ROW, Rows
from lamina.time import SystemClock

Progress = Callable[[int, int], None]
"""(done, all)"""

CACHE_BYTES = 256 << 20
"""Inner nodes shared by versions are read once."""


def verify(
    path: str | os.PathLike[str], progress: Progress | None = None, record_progress: Progress | None = None
) -> Iterator[Finding]:
    """Every finding, as it is found; none for a sound database. Progress: of streams, of sections of records.

    Raises NotFound (no database there), UnknownFormat (written by a newer Lamina).
    """
    directory = Directory(path)
    try:
        directory.identity()
    except UnknownFormat:
        raise
    except LaminaError as error:
        if not (directory.root / CATALOG).exists():
            raise
        yield Finding(IDENTITY, str(error))
    if not (directory.root / CATALOG).exists():
        yield Finding(CATALOG, "is missing: `lamina doctor --rebuild-catalog` makes it anew from segments and log")
        return
    try:
        catalog = directory.catalog()
    except UnknownFormat:
        raise
    except LaminaError as error:
        yield Finding(CATALOG, str(error))
        return
    try:
        for line in catalog.check():
            yield Finding(CATALOG, line)
        yield from _verify_log(directory)
        with catalog.snapshot() as snapshot:
            yield from _verify_segments(directory, snapshot)
            yield from _verify_trees(directory, snapshot, progress)
            yield from RecordCheck(directory, snapshot).findings(record_progress)
            yield from PointCheck(directory, snapshot).findings()
    except LaminaError as error:
        yield Finding(CATALOG, str(error))
    finally:
        catalog.close()


def _verify_segments(directory: Directory, snapshot: CatalogSnapshot) -> Iterator[Finding]:
    for row in snapshot.segments():
        if row.state == "live" and row.kind != "payload":  # contents: ops/recordcheck.py
            wrong = _wrong_with(directory, row)
            if wrong and _is_live(directory, row.id):
                yield Finding(f"segments/{row.name}", wrong)


def _wrong_with(directory: Directory, row: SegmentRow) -> str:
    try:
        segment = SegmentReader(directory.blobs, row.name)
        for section in segment.sections:
            section.directory  # noqa: B018 -- verified by reading
    except NotFound:
        return f"is missing; the catalog expects {row.bytes} bytes"
    except UnknownFormat:
        raise
    except LaminaError as error:
        return str(error)
    if segment.bytes != row.bytes:
        return f"has {segment.bytes} bytes, the catalog expects {row.bytes}"
    return ""


def _is_live(directory: Directory, segment: int) -> bool:
    """Whether the catalog still wants it: compaction goes on meanwhile."""
    with closing(directory.catalog()) as catalog, catalog.snapshot() as now:
        row = now.segment(segment)
        return row is not None and row.state == "live"


def _verify_trees(directory: Directory, snapshot: CatalogSnapshot, progress: Progress | None) -> Iterator[Finding]:
    read = BlockReader(directory.blobs, lambda id: segment_name(KIND, id), ROW, CACHE_BYTES)
    roots = list(snapshot.all_roots())
    for done, row in enumerate(roots, 1):
        stream = snapshot.stream(row.stream)
        place = f"stream {stream.uuid if stream is not None else row.stream}"
        try:
            _walk(row, stream.oldest_version if stream is not None else 0, read)
        except LaminaError as error:
            yield Finding(place, str(error))
        if progress is not None:
            progress(done, len(roots))


def _walk(row: RootRow, oldest: int, read: BlockReader) -> None:
    """Read every block that a kept version of the stream needs, each once. Raises Corrupt, NotFound."""
    flushed = flushed_of(row)
    roots, runs = [flushed.root], [flushed.runs]
    for entry in history.entries(flushed.history, read):
        if entry.version >= oldest:
            roots.append(entry.root)
            runs.append(entry.runs)
    blocks = np.concatenate(runs)
    read.blocks(blocks[blocks["length"] > 0])
    seen: set[bytes] = set()
    rows: Rows = np.concatenate(roots)
    if int(flushed.root["count"].sum()) != row.points:
        raise Corrupt(f"the catalog says {row.points} points, the root {int(flushed.root['count'].sum())}")
    while len(rows):
        fresh = []
        for i, key in enumerate(_keys(rows)):
            if key not in seen:
                seen.add(key)
                fresh.append(i)
        rows = rows[fresh]
        leaves = rows[rows["kind"] != INNER]
        for column in ("base", "delta"):
            for part in np.array_split(leaves[column], len(leaves) // 1024 + 1):
                read.blocks(part[part["length"] > 0])
        inner = rows[rows["kind"] == INNER]
        rows = read.nodes(inner["base"]) if len(inner) else inner


def _keys(rows: Rows) -> list[bytes]:
    """What tells subtrees apart: where they lie. Leaves of one base differ by their deltas."""
    return [base.tobytes() + delta.tobytes() for base, delta in zip(rows["base"], rows["delta"], strict=True)]


def _verify_log(directory: Directory) -> Iterator[Finding]:
    """Frames of every file, as recovery would judge them, without repairing anything. The end of the newest file of a
    database in use may be half written; that is no finding."""
    expected = 0
    for path in directory.log_files():
        place = f"log/{path.name}"
        data = path.read_bytes()
        try:
            header = decode_header(data[:HEADER_BYTES], place)
            frames = list(Framing(header.salt, header.base).walk(data))
        except UnknownFormat:
            raise
        except LaminaError as error:
            yield Finding(place, str(error))
            continue
        if expected and header.first_seq != expected:
            yield Finding(place, f"begins with seq {header.first_seq}, the file before ends before {expected}")
        verdict = judge(frames, header.first_seq, 0)
        for first, last in verdict.lost:
            yield Finding(place, f"acknowledged changes with seq {first} to {last} are unreadable")
        expected = verdict.next_seq
    for path in sorted((directory.root / "log").glob("*.damaged-*")):
        yield Finding(f"log/{path.name}", "was set aside by recovery: acknowledged changes in it were unreadable")


def repair(path: str | os.PathLike[str]) -> Iterator[str]:
    """Set aside what nothing refers to and what recovery left behind, under quarantine/; a line per step.

    Takes the lock. Opening the database once repairs the log (what is valid is salvaged). Data are never deleted.
    """
    directory = Directory(path)
    directory.identity()
    with open_database(path, create=False) as db:  # recovers the log and sweeps what a crash left
        for damage in db.degraded:
            yield f"{damage.path}: changes {damage.first_missing} to {damage.last_missing} are lost"
        for stream, (wanted, found) in db.version_gaps.items():
            yield f"stream {stream}: versions {wanted} to {found - 1} are lost"
    quarantine = directory.root / "quarantine"
    for place in sorted((directory.root / "log").glob("*.damaged-*")):
        _set_aside(place, quarantine, "bytes of the log that recovery could not read")
        yield f"log/{place.name} set aside in quarantine/"
    for name in sorted(directory.segment_names() - _known(directory)):
        _set_aside(directory.root / "segments" / name, quarantine, "a segment that the catalog does not know")
        yield f"segments/{name} set aside in quarantine/"
    yield "repair done"


def _known(directory: Directory) -> set[str]:
    """Files under segments/ that the catalog or, of contents and bulk inserts that are not sealed yet, the log refers
    to."""
    files: set[int] = set()
    for op in record_ops(directory):
        if op.type == APPEND:
            files.update(decode_append(op.body).rows["file"].tolist())
    bulk = {segment_name(POINTS, row.segment) for row in bulk_sections(directory)}
    with closing(directory.catalog()) as catalog, catalog.snapshot() as snapshot:
        return {row.name for row in snapshot.segments()} | {payload_name(file) for file in files} | bulk


def _set_aside(place: Path, quarantine: Path, reason: str) -> None:
    quarantine.mkdir(mode=0o700, exist_ok=True)
    place.rename(quarantine / place.name)
    (quarantine / f"{place.name}.reason").write_text(reason + "\n")


def rebuild_catalog(path: str | os.PathLike[str], progress: Progress | None = None) -> Iterator[str]:
    """Make the catalog anew from segments and log; a line per step. Takes the lock.

    The old catalog, if any, goes to quarantine/ once the new one is complete.
    """
    directory = Directory(path)
    database_id = directory.identity()
    lock = directory.files.lock(LOCK, f'{{"pid": {os.getpid()}}}'.encode())
    fresh = directory.root / "tmp" / "catalog.rebuilt"
    try:
        directory.files.make_folder("tmp")
        for place in sorted(fresh.parent.glob("catalog.rebuilt*")):
            place.unlink()
        found = rebuild.survey(directory.blobs, database_id, 0, progress)
        yield f"{len(found.segments)} segments read, {len(found.damaged)} damaged; {len(found.payloads)} payload files"
        yield from (f"segments/{name}: {text}" for name, text in found.damaged)
        epoch = max(found.highest_epoch, _log_epoch(directory))
        catalog = SqliteCatalog.open(str(fresh), create=True)
        try:
            filled = _fill(directory, catalog, database_id, found, epoch)
        finally:
            catalog.close()
        yield f"{filled.streams} streams found, {filled.roots} of them with data in segments"
        yield f"{filled.entries} entries of buckets found, with {filled.sections} sections of records"
        yield f"{filled.measurements} measurements found, with {filled.point_sections} sections of points"
        yield from map(str, filled.missing)
        yield from _keep_strange(directory, filled.strange)
        _exchange(directory, fresh)
        yield "catalog rebuilt; the next opening replays the log on top"
    finally:
        lock.release()


def _fill(
    directory: Directory, catalog: SqliteCatalog, database_id: bytes, found: rebuild.Rebuilt, epoch: int
) -> rebuild.Filled:
    clock = SystemClock()
    with catalog.snapshot() as snapshot:
        row = snapshot.database()
    delta = CatalogDelta(row.epoch)
    delta.puts.append(row._replace(id=database_id, created_us=clock.wall_us(), epoch=epoch))
    catalog.commit(delta)
    log = CommitLog.open(
        directory.files,
        database_id=database_id,
        epoch=epoch,
        applied_seq=0,
        sink=_NoSink(),
        settings=Settings(),
        clock=clock,
        random=SystemRandom(),
        inline=True,
    )
    try:
        return rebuild.rebuild(catalog, directory.blobs, log, found, epoch)
    finally:
        log.close()


def _keep_strange(directory: Directory, names: list[str]) -> Iterator[str]:
    """Opening the database would delete what nothing refers to; what did may just be lost."""
    for name in names:
        reason = "no index segment tells what is in it" if name.endswith(SUFFIX) else _STRANGE[name.partition("/")[0]]
        _set_aside(directory.root / "segments" / name, directory.root / "quarantine", reason)
        yield f"segments/{name} set aside in quarantine/: {reason}"


_STRANGE = {
    "records": "its entries are not known",
    "points": "its measurements are not known, or the op that committed it is lost",
}
"""Kind of segment -> why nothing refers to it."""


class _NoSink:
    """A rebuild reads the log and commits nothing."""

    def number(self, first_seq: int, ops: object) -> object:
        raise AssertionError("a rebuild submits nothing")

    def publish(self, first_seq: int, ops: list[Op] | object) -> None:
        raise AssertionError("a rebuild submits nothing")


def _log_epoch(directory: Directory) -> int:
    epochs = [0]
    for path in directory.log_files():
        data = path.read_bytes()
        try:
            header = decode_header(data[:HEADER_BYTES], path.name)
        except Corrupt:
            continue  # recovery mends it or reports it
        epochs.append(header.epoch)
        epochs += [frame.epoch for frame in Framing(header.salt, header.base).walk(data)]
    return max(epochs)


def _exchange(directory: Directory, fresh: Path) -> None:
    """The new catalog takes the old one's place; the old one is kept aside."""
    for old in sorted(directory.root.glob(f"{CATALOG}*")):
        _set_aside(old, directory.root / "quarantine", "the catalog before it was rebuilt")
    fresh.rename(directory.root / CATALOG)
    directory.files.sync_folder("")

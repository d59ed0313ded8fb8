"""Opening a database: the only place that chooses implementations of the seams.

Order: folder and identity file -> lock -> catalog -> epoch -> log, recovered -> replay -> files nobody knows deleted.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import SegmentRow
from lamina.engine.database import Database, Parts
from lamina.engine.leases import Leases
from lamina.engine.metadata import Metadata
from lamina.engine.points.ordinals import Ordinals
from lamina.engine.points.publish import PointPublisher
from lamina.engine.points.replay import PointReplay
from lamina.engine.points.store import KIND as POINTS
from lamina.engine.points.store import PointStore
from lamina.engine.publish import Publisher
from lamina.engine.readers import Readers
from lamina.engine.records.publish import RecordPublisher
from lamina.engine.records.replay import RecordReplay
from lamina.engine.records.store import RecordStore, payload_name
from lamina.engine.replay import Replay
from lamina.engine.seal import KIND, Sealer
from lamina.engine.segmentids import SegmentIds
from lamina.engine.sink import KindSink
from lamina.engine.slots import Slots
from lamina.errors import Corrupt, InvalidArgument, NotFound, UnknownFormat
from lamina.random import Random, SystemRandom
from lamina.settings import Durability, Settings
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.commitlog import CommitLog
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.files import Files
from lamina.storage.payloads import PayloadFiles
from lamina.storage.segment import segment_name
from lamina.streams.node import ROW
from lamina.streams.shape import Shape
from lamina.time import Clock, SystemClock

FORMAT = 1
"""Version of the directory as a whole: the number in the LAMINA file. Each file kind has its own besides."""

MIN_REPLAY_BATCH = 64 << 20
"""Ops are gathered into columns in batches of half the tails' bound, at least one log file's worth."""

IDENTITY, LOCK, CATALOG = "LAMINA", "LOCK", "catalog.sqlite"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_database(
    path: str | os.PathLike[str],
    *,
    durability: Durability | None = None,
    settings: Settings | None = None,
    create: bool = True,
    inline: bool = True,
    clock: Clock | None = None,
    random: Random | None = None,
    progress: Callable[[int], None] | None = None,
) -> Database:
    """Open the database in a directory, or a fresh one in memory for ":memory:".

    A missing directory is created (with `create=False`: NotFound). `durability`: "group" (default) acknowledges after
    the sync of the commit group, "os" after the write to the page cache, "strict" after a sync of its own.
    `inline`: callers commit on their own thread when nobody else does; a server wants a committer thread instead.
    Raises InvalidArgument (no path, or a folder with other things in it), Locked (another process has it),
    UnknownFormat (written by a newer Lamina), Corrupt, OSError.
    Cost: a few milliseconds, plus recovery of the log: 64 MiB of it in well under a second.
    """
    chosen = settings if settings is not None else Settings()
    if not isinstance(chosen, Settings):
        raise InvalidArgument(f"settings {settings!r}: expected lamina.Settings(...)")
    if durability is not None:
        chosen = chosen._replace(durability=durability)
    chosen.check()
    clock, random = clock or SystemClock(), random or SystemRandom()
    seams = (
        _memory(clock, random) if str(path) == ":memory:" else _local(os.fspath(path), chosen, create, clock, random)
    )
    return assemble(seams, chosen, inline=inline, progress=progress)


class Seams(NamedTuple):
    """Everything outside of the process that a database touches."""

    path: str
    files: Files
    blobs: Blobs
    catalog: Callable[[], Catalog]
    clock: Clock
    random: Random


def _memory(clock: Clock, random: Random) -> Seams:
    from lamina.catalog.memory import MemoryCatalog
    from lamina.storage.memory import MemoryFiles

    files = MemoryFiles()
    return Seams(":memory:", files, FileBlobs(files), MemoryCatalog, clock, random)


def _local(root: str, settings: Settings, create: bool, clock: Clock, random: Random) -> Seams:
    from lamina.storage.local import LocalFiles

    if not root or _URL.match(root):
        raise InvalidArgument(f"path {root!r}: expected that of a directory; a server's URL is for lamina.connect")
    root = os.path.abspath(root)  # the working directory may change while the database is open
    if not create and not os.path.exists(os.path.join(root, IDENTITY)):
        raise NotFound(f"there is no database at {root}")
    try:
        os.makedirs(root, 0o700, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "a database is a directory, this is a file", root) from None

    def catalog() -> Catalog:
        from lamina.catalog.sqlite import SqliteCatalog

        place = os.path.join(root, CATALOG)
        os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let everybody read it
        return SqliteCatalog.open(place, create=True)

    files = LocalFiles(root)
    return Seams(root, files, FileBlobs(files, settings.open_segments), catalog, clock, random)


def assemble(
    seams: Seams,
    settings: Settings,
    *,
    inline: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Database:
    """A database over any implementation of the seams. Raises as open_database."""
    instance = seams.random.token_bytes(8).hex()
    note = json.dumps({"pid": os.getpid(), "instance": instance}).encode()
    with ExitStack() as undo:
        lock = seams.files.lock(LOCK, note)
        undo.callback(lock.release)
        identity = _identity(seams.files)
        if identity is None:
            _refuse_strangers(seams)
        catalog = seams.catalog()
        undo.callback(catalog.close)
        database_id = _claim(seams, catalog, identity)
        epoch = catalog.acquire_epoch(instance)
        with catalog.snapshot() as snapshot:
            meta_applied_seq = snapshot.database().meta_applied_seq
            segments = {segment.id: segment for segment in snapshot.segments()}
        applied_seq = max([meta_applied_seq, *(segment.max_seq for segment in segments.values())])
        slots = Slots(catalog)
        publisher = Publisher(slots, settings.flush_points)
        record_publisher = RecordPublisher(slots.publish_lock, publisher.wake, settings.seal_records)
        ordinals = Ordinals(catalog)
        point_publisher = PointPublisher(slots.publish_lock, publisher.wake, ordinals, settings.seal_points)
        segment_ids = SegmentIds(catalog)
        payloads = PayloadFiles(
            seams.files,
            database_id=database_id,
            epoch=epoch,
            segment_id=segment_ids.next,
            open_limit=settings.open_segments,
        )
        undo.callback(payloads.close)
        log = CommitLog.open(
            seams.files,
            database_id=database_id,
            epoch=epoch,
            applied_seq=applied_seq,
            sink=KindSink(publisher, record_publisher, point_publisher),
            settings=settings,
            clock=seams.clock,
            random=seams.random,
            inline=inline,
            before_sync=payloads.sync_dirty,
        )
        undo.callback(log.close)
        dumped_seq = max((segment.max_seq for segment in segments.values() if segment.kind == "meta"), default=0)
        metadata = Metadata(catalog, log, seams.clock, epoch, meta_applied_seq, dumped_seq)
        leases = Leases()
        readers = Readers(catalog, log, leases)
        store = RecordStore(
            catalog=catalog,
            log=log,
            blobs=seams.blobs,
            payloads=payloads,
            metadata=metadata,
            publisher=record_publisher,
            publish_lock=slots.publish_lock,
            readers=readers,
            clock=seams.clock,
            settings=settings,
            segment_id=segment_ids.next,
            database_id=database_id,
            epoch=epoch,
        )
        point_store = PointStore(
            catalog=catalog,
            log=log,
            blobs=seams.blobs,
            metadata=metadata,
            publisher=point_publisher,
            ordinals=ordinals,
            publish_lock=slots.publish_lock,
            readers=readers,
            read=BlockReader(seams.blobs, lambda id: segment_name(POINTS, id), ROW, settings.cache_bytes // 4),
            clock=seams.clock,
            settings=settings,
            segment_id=segment_ids.next,
            database_id=database_id,
            epoch=epoch,
        )
        points = PointReplay(point_store)
        records = RecordReplay(store, log.proven_seq if settings.durability == "os" else None)
        recovered = Replay(
            records=records,
            points=points,
            catalog=catalog,
            slots=slots,
            publisher=publisher,
            meta=metadata,
            meta_applied_seq=meta_applied_seq,
            damaged=lambda: bool(log.damage),
            batch_bytes=max(settings.tails_bytes // 2, MIN_REPLAY_BATCH),
        ).run(log.replay(0), progress)
        store.reconcile()
        point_store.reconcile()
        read = BlockReader(seams.blobs, lambda id: segment_name(KIND, id), ROW, settings.cache_bytes)
        sealer = Sealer(
            blobs=seams.blobs,
            catalog=catalog,
            log=log,
            publisher=publisher,
            read=read,
            clock=seams.clock,
            shape=Shape(settings.leaf_points, settings.node_rows, settings.leaf_points // 4),
            database_id=database_id,
            epoch=epoch,
            segment_id=segment_ids.next,
        )
        begins_late = any(damage.first_missing == applied_seq + 1 for damage in log.damage)
        damaged = bool(log.damage or recovered.gaps)
        bulk = {segment_name(KIND, id): (KIND, id) for id in recovered.bulk_segments}
        bulk.update({segment_name(POINTS, id): (POINTS, id) for id in points.bulk_segments})
        found = _sweep(seams, catalog, segments, bulk, recovered.last_seq, store, epoch, damaged, begins_late)
        for row in found:
            keeper = sealer if row.kind == KIND else point_store.sealer
            keeper.bulk_segments[row.id] = row
        records.settle()
        parts = Parts(
            seams.path, database_id, epoch, settings, seams.files, seams.blobs, catalog, log, read, slots,
            publisher, sealer, metadata, leases, readers, store, point_store, seams.clock, seams.random, lock,
        )  # fmt: skip
        undo.pop_all()
    return Database(parts, recovered.gaps)


def _claim(seams: Seams, catalog: Catalog, identity: bytes | None) -> bytes:
    """The database's id: from identity file and catalog, which must agree, or a new one for a new directory."""
    with catalog.snapshot() as snapshot:
        row = snapshot.database()
    known = row.id if any(row.id) else None
    if identity is not None and known is not None and identity != known:
        raise Corrupt(
            f"{IDENTITY} belongs to database {identity.hex()}, {CATALOG} to {known.hex()}: restore both from one backup"
        )
    if identity is not None and known is None and _has_data(seams.files):
        raise Corrupt(
            f"{CATALOG} is missing or new, but the directory holds data: run `lamina doctor --rebuild-catalog`"
        )
    database_id = identity or known or seams.random.token_bytes(16)
    if known is None:
        delta = CatalogDelta(row.epoch)
        delta.puts.append(row._replace(id=database_id, created_us=seams.clock.wall_us()))
        catalog.commit(delta)
    if identity is None:
        _write_identity(seams.files, database_id)
    return database_id


def _refuse_strangers(seams: Seams) -> None:
    """A directory without identity is new, or its creation lost power before anything was acknowledged in it."""
    if _has_data(seams.files):
        raise Corrupt(
            f"{seams.path} has folders log or segments but no {IDENTITY} file: if it is no database of Lamina's, "
            "choose another directory, else restore it from a backup"
        )
    foreign = [info.name for info in seams.files.list("") if not _may_be_ours(info.name)]
    if foreign:
        raise InvalidArgument(
            f"{seams.path} is not empty and holds no database: there is {', '.join(foreign[:3])};"
            " choose an empty or new directory"
        )
    if any(info.name != IDENTITY for info in seams.files.list("tmp")):
        raise InvalidArgument(f"{seams.path} has a folder tmp that is not ours: a database needs one of its own")


def _may_be_ours(name: str) -> bool:
    """What a creation that did not finish may have left, and what every volume has."""
    known = (LOCK, "RESERVE", "tmp", "log", "segments", "lost+found")
    return name in known or name.startswith((CATALOG, "."))


def _has_data(files: Files) -> bool:
    return bool(files.list("log")) or bool(files.list("segments"))


def _identity(files: Files) -> bytes | None:
    """The id in the LAMINA file. Raises UnknownFormat, Corrupt."""
    try:
        file = files.open(IDENTITY, "read")
    except FileNotFoundError:
        return None
    try:
        text = file.read_at(0, 4096)
    finally:
        file.close()
    try:
        fields = json.loads(text)
        version, id = int(fields["format"]), bytes.fromhex(fields["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{IDENTITY} is not a line of JSON with format and id: {error}") from None
    if version > FORMAT:
        raise UnknownFormat(f"the directory has format {version}, this Lamina reads up to {FORMAT}: use a newer Lamina")
    return id


def _write_identity(files: Files, id: bytes) -> None:
    """Law 2: temporary, sync, rename, sync of the folder."""
    files.make_folder("tmp")
    temporary = f"tmp/{IDENTITY}"
    for info in files.list("tmp"):
        files.unlink(f"tmp/{info.name}")
    file = files.open(temporary, "create")
    try:
        file.write_at(0, [json.dumps({"format": FORMAT, "id": id.hex()}).encode() + b"\n"])
        file.sync()
    finally:
        file.close()
    files.rename(temporary, IDENTITY)
    files.sync_folder("")


def _sweep(
    seams: Seams,
    catalog: Catalog,
    segments: dict[int, SegmentRow],
    bulk: dict[str, tuple[str, int]],
    last_seq: int,
    store: RecordStore,
    epoch: int,
    damaged: bool,
    begins_late: bool,
) -> list[SegmentRow]:
    """Files of an unfinished publication go; bulk segments that the log commits (name -> kind and id) stay: rows of
    those that the catalog lacks. After damage nothing goes.

    Raises Corrupt if the catalog turns out to be older than the segments: what it does not know may be all there is.
    """
    blobs = seams.blobs
    for info in seams.files.list("tmp"):
        seams.files.unlink(f"tmp/{info.name}")
    known = {segment.name for segment in segments.values()}
    known.update(payload_name(file) for file in store.files_in_tails())
    found = list(blobs.list(""))
    unknown = [blob.name for blob in found if blob.name not in known and blob.name not in bulk]
    if unknown:
        _refuse_older(catalog, unknown, begins_late)
    kept = []
    for blob in found:
        if blob.name in bulk and blob.name not in known:
            kind, id = bulk[blob.name]
            kept.append(SegmentRow(id, kind, blob.name, blob.size, blob.size, 0, last_seq, epoch, "live"))
        elif blob.name not in known and not damaged:
            blobs.delete(blob.name)
    retired = [segment for segment in segments.values() if segment.state == "retired"]
    if retired:
        delta = CatalogDelta(epoch)
        delta.deletes += [("segment", segment.id) for segment in retired]
        for segment in retired:
            blobs.delete(segment.name)
        catalog.commit(delta)
    return kept


def _refuse_older(catalog: Catalog, unknown: Sequence[str], begins_late: bool) -> None:
    """A crash leaves unknown segments too, but with ids the catalog has reserved, and a log that begins where the
    catalog ends."""
    highest = max(int(name.rpartition("/")[2].partition(".")[0], 16) for name in unknown)
    (next_id,) = catalog.reserve("segment", 1)
    if begins_late or highest >= next_id:
        raise Corrupt(
            f"{CATALOG} is older than the segments, {len(unknown)} of which it does not know (restored from a backup?):"
            " run `lamina doctor --rebuild-catalog`"
        )

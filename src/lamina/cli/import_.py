"""`lamina import`; `lamina import tinyflux` is in tinyflux.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lamina.cli import tinyflux
from lamina.cli.default_command import group_with_default
from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.columns import Times, Values
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream
    from lamina.streams.policy import Policy


app = typer.Typer(
    cls=group_with_default("file"),
    help="Insert points or records of files. `lamina import DIR FILE ...` is `lamina import file DIR FILE ...`.",
)
app.command("tinyflux")(tinyflux.import_tinyflux)


@app.command("file")
def import_(
    dir: Annotated[str, typer.Argument(help="Database directory, not in use; made if absent.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="FILE.csv, .parquet, .arrow or .feather; records: a folder or .tar of an export.", exists=True
        ),
    ],
    stream: Annotated[
        str | None, typer.Argument(help="A stream: uuid, or COLLECTION/NAME, which is made if absent.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(help="Records into this bucket, which is made if absent, instead of a stream.")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Records: pass over those whose time is taken.")
    ] = False,
    time: Annotated[str, typer.Option(help="Column of times: ns since the epoch, timestamps, ISO 8601.")] = "time",
    value: Annotated[str, typer.Option(help="Column of values.")] = "value",
    unit: Annotated[str | None, typer.Option(help="Unit of a stream that is made.")] = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="never|equal|retain|replace",
            help="Points at equal times: keep all, drop exact repetitions, keep the old, keep the new.",
        ),
    ] = "never",
) -> None:
    """Insert the points of a file into a stream, or records of an export into a bucket. What was inserted before an
    error stays."""
    if Path(dir).is_file():
        raise InvalidArgument(f"{dir} is a file: expected the directory of the database first, then the file")
    if bucket is not None:
        if stream is not None or unit is not None:
            raise InvalidArgument("--bucket and a stream exclude each other")
        _records(dir, file, bucket, skip_existing)
        return
    if stream is None:
        raise InvalidArgument("expected a stream, or --bucket")
    if file.is_dir() or skip_existing:
        raise InvalidArgument("a folder and --skip-existing go with --bucket")
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.streams.policy import check_policy

    check_policy(policy)
    may_create = _check_name(stream, unit)
    chunks = _begun(_chunks(file, time, value), file)  # before anything is made: most mistakes show in the first one
    points = 0
    with lamina.open(dir, create=may_create) as db, bar("import", "points") as report:
        target = _stream(db, stream, unit)
        try:
            for times, values in chunks:
                target.insert(times, values, policy=cast("Policy", policy))
                points += len(times)
                report(points, 0)
        finally:
            print(f"{quantity(points, 'points')} inserted into {stream}, now at version {target.version}")


def _records(dir: str, source: Path, bucket: str, skip_existing: bool) -> None:
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.records.names import check_bucket_name
    from lamina.tables.recordimport import import_records

    check_bucket_name(bucket)
    with lamina.open(dir) as db, bar("import", "bytes") as report:
        done = import_records(db, bucket, source, skip_existing=skip_existing, progress=report)
    skipped = f", {quantity(done.skipped, 'records')} were there" if done.skipped else ""
    print(f"{quantity(done.records, 'records')} ({quantity(done.bytes, 'bytes')}) written into {bucket}{skipped}")


def _check_name(text: str, unit: str | None) -> bool:
    """Whether the stream may be made if it is absent: one that is named by its uuid may not. Raises InvalidArgument,
    InvalidCollection, InvalidTagValue."""
    from uuid import UUID

    from lamina.cli.stream import split
    from lamina.streams import names

    try:
        UUID(text)
    except ValueError:
        collection, name = split(text)
        names.check_collection(collection)
        names.check_tags({"name": name, "unit": unit or ""})
        return True
    return False


def _chunks(file: Path, time: str, value: str) -> Iterator[tuple[Times, Values]]:
    from lamina.tables.import_ import from_arrow, from_csv, from_parquet

    suffix = file.suffix.lower()
    if suffix == ".csv":
        return from_csv(file, time=time, value=value)
    if suffix in (".parquet", ".pq"):
        return from_parquet(file, time=time, value=value)
    if suffix in (".arrow", ".feather", ".ipc"):
        return from_arrow(file, time=time, value=value)
    raise InvalidArgument(f"{file}: expected a name that ends in .csv, .parquet, .arrow or .feather")


def _begun(chunks: Iterator[tuple[Times, Values]], file: Path) -> Iterator[tuple[Times, Values]]:
    """The same chunks, the first of which is read and checked by now."""
    from itertools import chain

    from lamina.streams.batch import checked

    chunks = _named(chunks, file)
    first = [checked(*chunk) for chunk in [next(chunks, None)] if chunk is not None]
    return chain(first, chunks)


def _named(chunks: Iterator[tuple[Times, Values]], file: Path) -> Iterator[tuple[Times, Values]]:
    """The same chunks; an error of the CSV parser, which counts columns from 0, tells the column's name too."""
    import csv
    import re

    try:
        yield from chunks
    except InvalidArgument as error:
        place = re.search(r"CSV column #(\d+)", str(error))
        if place is None:
            raise
        with file.open(newline="", encoding="utf-8-sig") as lines:
            column = next(csv.reader(lines))[int(place[1])]
        raise InvalidArgument(f"{file}, column {column!r}: {error}") from None


def _stream(db: Database, text: str, unit: str | None) -> Stream:
    from lamina.cli.stream import find_stream, split
    from lamina.errors import StreamNotFound

    try:
        stream = find_stream(db, text)
    except StreamNotFound:
        collection, name = split(text)  # an unknown uuid is refused here
        return db.streams.create(collection, name, unit=unit)
    if unit is not None and (stream.unit or "") != unit:
        has = f"the unit {stream.unit!r}" if stream.unit else "no unit"
        raise InvalidArgument(f"--unit {unit!r}: stream {text} exists and has {has}; leave --unit out to keep that")
    return stream

"""`lamina import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.columns import Times, Values
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream


def import_(
    dir: Annotated[str, typer.Argument(help="Database directory, not in use; made if absent.")],
    file: Annotated[Path, typer.Argument(help="FILE.csv, .parquet, .arrow or .feather.", exists=True, dir_okay=False)],
    stream: Annotated[str, typer.Argument(help="uuid, or COLLECTION/NAME, which is made if absent.")],
    time: Annotated[str, typer.Option(help="Column of times: ns since the epoch, timestamps, ISO 8601.")] = "time",
    value: Annotated[str, typer.Option(help="Column of values.")] = "value",
    unit: Annotated[str | None, typer.Option(help="Unit of a stream that is made.")] = None,
) -> None:
    """Insert the points of a file into a stream. What was inserted before an error stays."""
    import lamina
    from lamina.cli.progress import bar, quantity

    points = 0
    chunks = _chunks(file, time, value)
    with lamina.open(dir) as db, bar("import", "points") as report:
        target = _stream(db, stream, unit)
        try:
            for times, values in chunks:
                target.insert(times, values)
                points += len(times)
                report(points, 0)
        finally:
            print(f"{quantity(points, 'points')} inserted into {stream}, now at version {target.version}")


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


def _stream(db: Database, text: str, unit: str | None) -> Stream:
    from lamina.cli.stream import find_stream, split
    from lamina.errors import StreamNotFound

    try:
        return find_stream(db, text)
    except StreamNotFound:
        collection, name = split(text)  # an unknown uuid is refused here
        return db.streams.create(collection, name, unit=unit)

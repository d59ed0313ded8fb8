"""`lamina export`; `lamina export tinyflux` is in tinyflux.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.cli import tinyflux
from lamina.cli.default_command import group_with_default
from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.columns import Samples, Summaries
    from lamina.engine.view import StreamView


app = typer.Typer(
    cls=group_with_default("file"),
    help="Write points or records to files. `lamina export DIR ...` is `lamina export file DIR ...`.",
)
app.command("tinyflux")(tinyflux.export_tinyflux)


@app.command("file")
def export(
    dir: Annotated[str, typer.Argument(help="Database directory, not in use.")],
    stream: Annotated[str | None, typer.Argument(help="A stream: its uuid, or COLLECTION/NAME.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="FILE.csv or FILE.parquet; default: CSV on stdout. Records: a new folder or FILE.tar.",
        ),
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="Records of this bucket instead of a stream.")] = None,
    entry: Annotated[list[str] | None, typer.Option(help="Only of this entry; may be repeated.")] = None,
    when: Annotated[str | None, typer.Option(help="Records: only those that fulfil this condition, as JSON.")] = None,
    start: Annotated[
        str | None, typer.Option(help="From this time on: ISO 8601, ns (records: us); default: all.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    width: Annotated[str | None, typer.Option(help="Summaries of windows so wide, such as 1s, 5m.")] = None,
    pointwidth: Annotated[int | None, typer.Option(help="Summaries of aligned windows of 2**N ns.")] = None,
    version: Annotated[int, typer.Option(help="Of the stream; 0: the latest.")] = 0,
    iso: Annotated[bool, typer.Option("--iso", help="CSV: a second column with the time as text.")] = False,
) -> None:
    """Write points of a stream, or summaries of windows, to CSV or Parquet; or records of a bucket to a folder or tar
    archive, a file each, with their labels as lines of JSON."""
    if bucket is not None:
        if stream is not None or width is not None or pointwidth is not None or version or iso:
            raise InvalidArgument("--bucket goes with --entry, --when, --start, --end and --output only")
        _records(dir, bucket, output, entry or [], when, start, end)
        return
    if stream is None:
        raise InvalidArgument("expected a stream, or --bucket")
    if entry or when is not None:
        raise InvalidArgument("--entry and --when go with --bucket")
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.cli.stream import find_stream, time_or_ns

    if width is not None and pointwidth is not None:
        raise InvalidArgument("--width and --pointwidth exclude each other")
    write = _writer(output, iso)
    with lamina.open(dir, create=False) as db, find_stream(db, stream).at(version) as view:
        begins = time_or_ns(start) if start is not None else _first(view)
        ends = time_or_ns(end) if end is not None else None
        chunks, kind, total = _chunks(view, begins, ends, width, pointwidth)
        with bar("export", "rows") as report:
            rows = write(chunks, kind, lambda done: report(done, total))
    print(f"{quantity(rows, 'rows')} written", file=sys.stderr)


def _records(
    dir: str, bucket: str, output: Path | None, entries: list[str], when: str | None, start: str | None, end: str | None
) -> None:
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.cli.stream import time_or_ns
    from lamina.tables.recordexport import export_records

    if output is None:
        raise InvalidArgument("--output is needed with --bucket: a new folder, or FILE.tar")
    begins = time_or_ns(start) if start is not None else None
    ends = time_or_ns(end) if end is not None else None
    with lamina.open(dir, create=False) as db, bar("export", "bytes") as report:
        chosen = db.buckets[bucket]
        count, size = export_records(
            chosen, output, entries=entries, start=begins, stop=ends, when=when, progress=report
        )
    print(f"{quantity(count, 'records')} ({quantity(size, 'bytes')}) written to {output}", file=sys.stderr)


def _first(view: StreamView) -> int:
    """The time of the first point; 0 without points."""
    from lamina.time import MIN_TIME

    found = view.nearest(MIN_TIME)
    return found[0] if found else 0


def _chunks(
    view: StreamView, start: int | str, end: int | str | None, width: str | None, pointwidth: int | None
) -> tuple[Iterator[Samples] | Iterator[Summaries], type[Samples] | type[Summaries], int]:
    """What to write, its type, and how many rows that will be (0: not known). Without an end the last point is in
    the last window."""
    from lamina.columns import Samples, Summaries
    from lamina.time import LAST_TIME, to_interval_ns, to_ns

    kind = Samples if width is None and pointwidth is None else Summaries
    begins = to_ns(start)
    if end is None:
        last = view.nearest(LAST_TIME + 1, backward=True)
        ends = last[0] + 1 if last else begins
    else:
        ends = to_ns(end)
    if begins == ends:
        return iter(()), kind, 0
    if width is not None:
        step = max(1, to_interval_ns(width))
        count = -((begins - ends) // step) if end is None else (ends - begins) // step
        return view.iter_windows(begins, begins + count * step, width), Summaries, count
    if pointwidth is not None:
        if end is None and 0 <= pointwidth <= 62:
            ends = min(ends + (1 << pointwidth) - 1, LAST_TIME + 1)
        return view.iter_aligned_windows(begins, ends, pointwidth), Summaries, 0
    return view.iter_values(begins, ends), Samples, view.count(begins, ends)


def _writer(
    output: Path | None, iso: bool
) -> Callable[[Iterator[Samples] | Iterator[Summaries], type[Samples] | type[Summaries], Callable[[int], None]], int]:
    from lamina.tables.export import to_csv, to_parquet

    suffix = output.suffix.lower() if output is not None else ".csv"
    target = sys.stdout.buffer if output is None else output
    if suffix == ".csv":
        return lambda chunks, kind, progress: to_csv(chunks, target, iso=iso, kind=kind, progress=progress)
    if suffix in (".parquet", ".pq"):
        return lambda chunks, kind, progress: to_parquet(chunks, target, kind=kind, progress=progress)
    raise InvalidArgument(f"--output {output}: expected a name that ends in .csv or .parquet")

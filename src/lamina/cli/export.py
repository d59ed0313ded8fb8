"""`lamina export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.columns import Samples, Summaries
    from lamina.engine.view import StreamView


def export(
    dir: Annotated[str, typer.Argument(help="Database directory, not in use.")],
    stream: Annotated[str, typer.Argument(help="Its uuid, or COLLECTION/NAME.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="FILE.csv or FILE.parquet; default: CSV on stdout.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="From this time on: ISO 8601 or ns; default: all.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    width: Annotated[str | None, typer.Option(help="Summaries of windows so wide, such as 1s, 5m.")] = None,
    pointwidth: Annotated[int | None, typer.Option(help="Summaries of aligned windows of 2**N ns.")] = None,
    version: Annotated[int, typer.Option(help="Of the stream; 0: the latest.")] = 0,
    iso: Annotated[bool, typer.Option("--iso", help="CSV: a second column with the time as text.")] = False,
) -> None:
    """Write points of a stream, or summaries of windows, to CSV or Parquet."""
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

"""`lamina demo`: a database with real-looking data, and how to look at it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from lamina.cli.demo_data import Signal
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream
    from lamina.server.serve import Addresses

WIDTH = 54
"""Windows, and so characters, of a zoom: with its range it fits a terminal of 80."""


def demo(
    dir: Annotated[Path, typer.Option(help="Where the database goes; kept, and reused by the next demo.")] = Path(
        "demo-data"
    ),
    points: Annotated[
        int, typer.Option(min=1000, max=10_000_000_000, help="Points in all streams together.")
    ] = 10_000_000,
    serve: Annotated[bool, typer.Option(help="Serve it afterwards, until Ctrl-C.")] = True,
    seconds: Annotated[float | None, typer.Option(min=0, help="Serve so long instead of until Ctrl-C.")] = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: 8383, or any if that is taken.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: 4410, or any if that is taken.")
    ] = None,
) -> None:
    """Make a database with real-looking data, zoom into it, serve it, and show how to look at it."""
    import lamina
    from lamina.time import SystemClock

    console = _console()
    clock = SystemClock()
    began = clock.monotonic_ns()
    with lamina.open(dir) as db:
        stored = _store(db, points)
        took_s = (clock.monotonic_ns() - began) / 1e9
        _show_stored(console, dir, stored, took_s)
        _show_streams(console, db, points)
        _zoom(console, db, points)
        _store_records(console, db)
        _store_points(console, db)
    _show_native(console, dir)
    if serve:
        raise typer.Exit(_serve(console, dir, http_port, grpc_port, seconds))
    console.print(f"\nServe it with:  [bold]lamina serve {dir}[/bold]")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _stream(db: Database, signal: Signal) -> Stream:
    from lamina.errors import NotFound

    try:
        return db.streams[signal.collection, signal.name]
    except NotFound:
        about = {"description": signal.description, "rate": f"{signal.rate} Hz"}
        return db.streams.create(signal.collection, signal.name, unit=signal.unit, annotations=about)


def _store(db: Database, points: int) -> int:
    """Insert what is not there yet; the number of points inserted."""
    from lamina.cli.demo_data import END, SIGNALS
    from lamina.cli.progress import bar

    streams = [(signal, _stream(db, signal)) for signal in SIGNALS]
    have = {signal: stream.count(signal.start(points), END) for signal, stream in streams}
    before = sum(have.values())
    total = sum(signal.count(points) for signal in SIGNALS)
    done = 0
    with bar("storing", "points") as report:
        for signal, stream in streams:
            while have[signal] < signal.count(points):
                times, values = signal.chunk(points, have[signal])
                stream.insert(times, values)
                have[signal] += len(times)
                done += len(times)
                report(done, total - before)
    return done


def _show_stored(console: Console, dir: Path, stored: int, took_s: float) -> None:
    from lamina.cli.progress import quantity

    if not stored:
        console.print(f"Using the data that is in [bold]{dir}[/bold] already (remove it to start anew).\n")
        return
    on_disk = sum(file.stat().st_size for file in (dir / "segments").rglob("*") if file.is_file())
    console.print(
        f"Stored {quantity(stored, 'points')} in [bold]{dir}[/bold] in {took_s:.1f} s"
        f" ({quantity(stored / took_s, 'points')}/s): {quantity(on_disk, 'bytes')} on disk"
        f" for {quantity(stored * 16, 'bytes')} of times and values.\n"
    )


def _store_records(console: Console, db: Database) -> None:
    """Frames and reports of an inspection, and a search by labels."""
    from lamina.cli import demo_records
    from lamina.cli.progress import quantity
    from lamina.time import SystemClock

    clock = SystemClock()
    began = clock.monotonic_ns()
    count, size = demo_records.store(db)
    took_ms = (clock.monotonic_ns() - began) / 1e6
    name = f"{demo_records.BUCKET}/{demo_records.CAMERA}"
    done = f"stored {quantity(count, 'records')} ({quantity(size, 'bytes')}) in {took_ms:.0f} ms" if count else "there"
    console.print(f"\n[bold]{name}[/bold], frames of a filling line, and what the inspection says of each: {done}.")
    began = clock.monotonic_ns()
    bad = demo_records.bad_parts(db)
    took_ms = (clock.monotonic_ns() - began) / 1e6
    console.print(
        f"  refused and less than 80 % full: {len(bad)} of {demo_records.FRAMES},"
        f" parts {', '.join(bad[:5])}, ... in [green]{took_ms:.1f} ms[/green]"
    )


def _store_points(console: Console, db: Database) -> None:
    """What sensors said, by hall and day, and a search by tags and fields."""
    import numpy as np

    from lamina.cli import demo_points
    from lamina.cli.progress import quantity
    from lamina.cli.sparkline import sparkline
    from lamina.time import SystemClock

    clock = SystemClock()
    began = clock.monotonic_ns()
    count = demo_points.store(db)
    took_ms = (clock.monotonic_ns() - began) / 1e6
    done = f"stored {quantity(count, 'points')} with tags and fields in {took_ms:.0f} ms" if count else "there"
    console.print(f"\n[bold]{demo_points.MEASUREMENT}[/bold], what sensors in the halls say: {done}.")
    for hall, days in demo_points.hottest_by_day(db).items():
        line = sparkline(np.array(days), 0.0, 40.0)
        console.print(f"  {hall:5} [yellow]{line}[/yellow] hottest by day, {min(days):.1f} to {max(days):.1f} °C")
    began = clock.monotonic_ns()
    open_doors = demo_points.open_doors(db)
    took_ms = (clock.monotonic_ns() - began) / 1e6
    console.print(
        f"  above {demo_points.HOT:.0f} °C in the south hall with a door open: {open_doors} points"
        f" in [green]{took_ms:.1f} ms[/green]"
    )


def _show_streams(console: Console, db: Database, points: int) -> None:
    from rich.table import Table

    from lamina.cli.demo_data import END, SIGNALS

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("stream", "unit", "points", "rate", "from", "version"):
        table.add_column(name, justify="left" if name in ("stream", "unit") else "right", no_wrap=True)
    above = ""
    for signal in SIGNALS:
        if signal.collection != above:
            above = signal.collection
            table.add_row(f"[cyan]{above}[/cyan]")
        stream = db.streams[signal.collection, signal.name]
        start = signal.start(points)
        count, version = f"{stream.count(start, END):,}", str(stream.version)
        table.add_row("  " + signal.name, signal.unit, count, f"{signal.rate} Hz", _utc(start), version)
    console.print(table)


def _zoom(console: Console, db: Database, points: int) -> None:
    """Three zooms of one stream around an event: means and lowest values of its windows."""
    import numpy as np

    from lamina.cli.demo_data import END, SIGNALS, sag_time
    from lamina.cli.sparkline import sparkline
    from lamina.time import SystemClock

    signal = SIGNALS[0]
    stream = db.streams[signal.collection, signal.name]
    start, event, clock = signal.start(points), sag_time(signal, points), SystemClock()
    console.print(
        f"\n[bold]{signal.collection}/{signal.name}[/bold] in {WIDTH} windows, at three zooms."
        " The line sags once: means hide it, minima do not."
    )
    for span in (END - start, (END - start) // 40, 3_000_000_000):
        width = min(span, END - start) // WIDTH
        left = max(start, min(event - span // 3, END - span))
        began = clock.monotonic_ns()
        windows = stream.windows(left, left + WIDTH * width, width)
        took_ms = (clock.monotonic_ns() - began) / 1e6
        console.print(
            f"\n  {_utc(left)} + {WIDTH * width / 1e9:,.1f} s: {int(windows.count.sum()):,} points"
            f" in [green]{took_ms:.1f} ms[/green]"
        )
        for name, color in (("mean", "cyan"), ("min", "yellow")):
            column = np.where(windows.count == 0, np.nan, getattr(windows, name))
            low, high = float(np.nanmin(column)), float(np.nanmax(column))
            line = sparkline(column, low, high)
            console.print(f"  {name:4} [{color}]{line}[/{color}] {low:.0f} to {high:.0f} {signal.unit}")


def native_example(dir: Path) -> str:
    """Python that reads the demo through the native API."""
    return f"""\
import lamina

db = lamina.open({str(dir)!r})
s = db.streams["demo/plant/pump-3", "vibration"]
hour = s.windows("2025-06-02T11:00:00Z", "2025-06-02T12:00:00Z", width="1m")
print(hour.to_pandas())
second = s.values("2025-06-02T11:59:59Z", "2025-06-02T12:00:00Z")
print(second.time, second.value)
for record in db.buckets["demo"].entry("line-1/camera").query(when={{"&ok": {{"$eq": False}}}}):
    print(record.time_us, record.content_type, record.size, dict(record.labels))
climate = db.measurements["demo/climate"]
print(climate.windows("celsius", "2025-06-01", "2025-06-02", width="6h", by="hall").to_pandas())
print(climate.get(lamina.FieldQuery().celsius > 30))
"""


def client_example(address: str) -> str:
    """Python that reads the demo with the unmodified BTrDB client."""
    return f"""\
import btrdb

conn = btrdb.connect({address!r})
s, = conn.streams_in_collection("demo/grid/feeder-7", tags={{"name": "voltage_l1"}})
start, end = "2025-06-02T11:59:30Z", "2025-06-02T12:00:00Z"
for point, version in s.aligned_windows(start, end, pointwidth=32):
    print(point.time, point.min, point.mean, point.max, point.count)
print(len(s.values(start, end)), "points at version", s.version())
"""


def records_example(address: str) -> str:
    """Python that reads the demo's records with the unmodified ReductStore client."""
    return f"""\
import asyncio
from reduct import Client

async def main():
    async with Client("http://{address}") as client:
        bucket = await client.get_bucket("demo")
        async for record in bucket.query("line-1/inspection", when={{"&ok": {{"$eq": False}}}}):
            print(record.timestamp, record.labels["part"], await record.read_all())

asyncio.run(main())
"""


def curl_example(address: str) -> str:
    """A shell command that fetches the latest frame."""
    return f"curl -s http://{address}/api/v1/b/demo/line-1/camera -o frame.png"


def _show_native(console: Console, dir: Path) -> None:
    console.print("\n[bold]From Python, without a server[/bold] (one process at a time opens a directory):\n")
    _show_code(console, native_example(dir))


def _show_code(console: Console, code: str) -> None:
    """As a shell command: copied whole, it runs."""
    console.print(f"{sys.executable} - <<'EOF'\n{code}EOF", markup=False, style="dim")


def _serve(console: Console, dir: Path, http_port: int | None, grpc_port: int | None, seconds: float | None) -> int:
    from importlib.util import find_spec

    from lamina.server.config import Config
    from lamina.server.log import configure
    from lamina.server.serve import run

    def show(addresses: Addresses) -> None:
        console.print(f"\n[bold]With the unmodified BTrDB client[/bold], from another terminal ({addresses.grpc}):\n")
        if find_spec("btrdb") is None:
            console.print(f"{sys.executable} -m pip install 'btrdb\\[data]==5.34.2'", style="dim")
        _show_code(console, client_example(addresses.grpc))
        console.print(f"\n[bold]With the unmodified ReductStore client, or curl[/bold] ({addresses.http}):\n")
        if find_spec("reduct") is None:
            console.print(f"{sys.executable} -m pip install reduct-py", style="dim")
        _show_code(console, records_example(addresses.http))
        console.print(curl_example(addresses.http), markup=False, style="dim")
        until = "Ctrl-C ends it" if seconds is None else f"for {seconds:g} s"
        console.print(f"Health: http://{addresses.http}/ready   Figures: http://{addresses.http}/metrics   ({until})")

    configure("warning")
    config = Config(
        path=str(dir),
        http_port=_port(http_port, 8383),
        grpc_port=_port(grpc_port, 4410),
        no_auth=True,  # bound to loopback, and the demo has no token to show
        log_level="warning",
    )
    return run(config, on_ready=show, seconds=seconds)


def _port(asked: int | None, default: int) -> int:
    """The default port if it is free, else 0: a demo should not fail because of another one."""
    import socket

    if asked is not None:
        return asked
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", default))
        except OSError:
            return 0
    return default


def _utc(time: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(time // 1_000_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")

"""The demo: its data, and that what it prints can be run."""

import re
import struct
import subprocess
import sys
import urllib.request
import zlib

import numpy as np
import pytest
from typer.testing import CliRunner

import lamina
from lamina.cli import demo_data, demo_points, demo_records
from lamina.cli.app import app
from lamina.cli.demo import client_example, curl_example, native_example, records_example
from lamina.cli.demo_data import CHUNK, END, SIGNALS, sag_time
from lamina.cli.progress import quantity
from lamina.cli.sparkline import sparkline

LONG_S = 60.0


def demo(dir, points=20_000, *more):
    return CliRunner().invoke(app, ["demo", "--dir", str(dir), "--points", str(points), "--no-serve", *more])


def test_the_shares_of_all_signals_make_the_points_asked_for():
    assert sum(signal.count(10_000_000) for signal in SIGNALS) == 10_000_000


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_data_is_the_same_wherever_a_chunk_is_entered(signal):
    points = round(2.2 * CHUNK / signal.share)
    whole = [signal.chunk(points, first) for first in (0, CHUNK, 2 * CHUNK)]
    times = np.concatenate([chunk[0] for chunk in whole])
    assert len(times) == signal.count(points)
    assert (np.diff(times) > 0).all()
    assert times[0] == signal.start(points)
    assert END - 2_000_000_000 < times[-1] < END
    late = signal.chunk(points, CHUNK + 1000)
    np.testing.assert_array_equal(late[0], whole[1][0][1000:])
    np.testing.assert_array_equal(late[1], whole[1][1][1000:])


def test_a_demo_stores_shows_and_zooms(tmp_path):
    result = demo(tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "Stored 20 k points" in result.output
    assert all(signal.name in result.output for signal in SIGNALS)
    assert len(re.findall(r"^  min  [▁▂▃▄▅▆▇█ ]{54} 4\d\d\d to 7\d\d\d V$", result.output, re.MULTILINE)) == 3
    with lamina.open(tmp_path / "data") as db:
        assert sum(stream.count() for stream in db.streams) == 20_000
        voltage = db.streams["demo/grid/feeder-7", "voltage_l1"]
        sag = sag_time(SIGNALS[0], 20_000)
        assert voltage.values(sag, sag + 300_000_000).value.min() < 5000
        assert voltage.unit == "V"


def test_a_demo_that_was_stopped_goes_on_and_a_complete_one_is_reused(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_data, "CHUNK", 1000)
    with lamina.open(tmp_path) as db:
        signal = SIGNALS[0]
        stream = db.streams.create(signal.collection, signal.name, unit=signal.unit)
        stream.insert(*signal.chunk(20_000, 0))
        stream.insert(*(column[:100] for column in signal.chunk(20_000, 1000)))
    assert "Stored 18.9 k points" in demo(tmp_path).output
    assert "Using the data" in demo(tmp_path).output
    with lamina.open(tmp_path) as db:
        assert sum(stream.count() for stream in db.streams) == 20_000
        whole = db.streams[signal.collection, signal.name].values()
    np.testing.assert_array_equal(whole.value[1000:], signal.chunk(20_000, 1000)[1])


def test_a_demo_stores_points_once_and_finds_open_doors(tmp_path):
    with lamina.open(tmp_path) as db:  # one that was stopped after a day
        db.measurements[demo_points.MEASUREMENT].insert(demo_points.columns(0))
    first, second = demo(tmp_path, 1000), demo(tmp_path, 1000)
    assert "stored 93.6 k points with tags and fields" in first.output
    assert "sensors in the halls say: there." in second.output
    assert "with a door open: 330 points" in second.output
    assert len(re.findall(r"^  \w+ +[▁▂▃▄▅▆▇█]{15} hottest by day", first.output, re.MULTILINE)) == 3
    with lamina.open(tmp_path) as db:
        assert db.measurements[demo_points.MEASUREMENT].count() == demo_points.DAYS * demo_points.PER_DAY


def test_a_demo_stores_records_once_and_finds_the_bad_ones(tmp_path):
    first, second = demo(tmp_path, 1000), demo(tmp_path, 1000)
    assert "stored 480 records" in first.output
    assert "says of each: there." in second.output
    assert "refused and less than 80 % full: 14 of 240, parts 4716, 4733" in second.output
    with lamina.open(tmp_path) as db:
        frames = list(db.buckets["demo"].entry("line-1/camera").query())
        assert [record.time_us for record in frames] == [demo_records.time_us(n) for n in range(240)]
        assert frames[-1].time_us * 1000 < END
        assert frames[0].read() == demo_records.frame(0)
        assert db.buckets["demo"].settings.quota_type == "FIFO"


def test_frames_are_images():
    data = demo_records.frame(3)
    width, height = struct.unpack(">II", data[16:24])
    begin = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[begin - 4 : begin])
    lines = zlib.decompress(data[begin + 4 : begin + 4 + length])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(lines) == height * (width + 1)
    assert zlib.crc32(data[begin : begin + 4 + length]) == struct.unpack(">I", data[begin + 4 + length :][:4])[0]


@pytest.mark.slow
def test_the_native_example_runs(tmp_path):
    demo(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", native_example(tmp_path)], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stddev" in done.stdout
    assert done.stdout.count("image/png") == 14


@pytest.mark.slow
@pytest.mark.wire
def test_a_demo_serves_and_the_client_examples_run_against_it(tmp_path):
    pytest.importorskip("btrdb")
    pytest.importorskip("reduct")
    command = [sys.executable, "-m", "lamina.cli.main", "demo", "--dir", str(tmp_path), "--points", "100000"]
    with subprocess.Popen(
        [*command, "--seconds", "60", "--http-port", "0", "--grpc-port", "0"], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            shown = ""
            while "/metrics" not in shown:
                line = child.stdout.readline()
                assert line, shown
                shown += line
            address = re.search(r"btrdb\.connect\('([^']+)'\)", shown)[1]
            assert client_example(address) in shown
            done = subprocess.run(
                [sys.executable, "-c", client_example(address)],
                capture_output=True,
                text=True,
                timeout=LONG_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "3600 points at version" in done.stdout
            http = re.search(r"Health: http://(\S+)/ready", shown)[1]
            assert records_example(http) in shown
            assert curl_example(http) in shown
            with urllib.request.urlopen(curl_example(http).split()[2]) as answer:
                assert answer.read() == demo_records.frame(demo_records.FRAMES - 1)
            done = subprocess.run(
                [sys.executable, "-c", records_example(http)],
                capture_output=True,
                text=True,
                timeout=LONG_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.count('"limit": 0.85') == 14
        finally:
            child.terminate()
            assert child.wait(10) == 0


@pytest.mark.parametrize(
    ("n", "unit", "text"),
    [(0, "points", "0 points"), (999, "bytes", "999 B"), (1234, "bytes", "1.23 kB"), (2.5e7, "rows", "25 M rows")],
)
def test_quantities_have_three_digits(n, unit, text):
    assert quantity(n, unit) == text


def test_a_sparkline_spans_the_blocks_and_leaves_gaps():
    assert sparkline(np.array([0.0, 1.0, np.nan, 0.5, 2.0]), 0.0, 1.0) == "▁█ ▅█"
    assert sparkline(np.array([3.0, 3.0]), 3.0, 3.0) == "▅▅"

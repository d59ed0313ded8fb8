"""Export to and import from CSV, Parquet and Arrow."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lamina.columns import Samples, Summaries
from lamina.errors import InvalidArgument, InvalidValue
from lamina.tables import export, import_
from lamina.tables.export import to_csv, to_parquet
from lamina.tables.import_ import from_arrow, from_csv, from_parquet

TIMES = np.array([-(1 << 60), -1, 0, 1_600_000_000_123_456_789, (3 << 60) - 2], np.int64)
VALUES = np.array([0.1, -0.0, 1e300, 5e-324, 1 / 3])
POINTS = Samples(TIMES, VALUES)


def summaries():
    f8 = np.array([1.5, 2.5])
    return Summaries(np.array([0, 1 << 40]), f8, f8 + 1, f8 + 2, np.array([3, 1], np.uint64), f8 - 1.5)


def joined(parts):
    parts = list(parts)
    return Samples(np.concatenate([t for t, _ in parts]), np.concatenate([v for _, v in parts]))


def assert_same_bits(points):
    assert np.array_equal(points.time, TIMES)
    assert np.array_equal(points.value.view(np.int64), VALUES.view(np.int64))


@pytest.fixture(params=["pyarrow", "numpy"])
def library(request, monkeypatch):
    """Both ways of reading and writing CSV."""
    if request.param == "numpy":

        def absent(name, extra):
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(export, "library", absent)
        monkeypatch.setattr(import_, "library", absent)
    return request.param


def test_csv_reads_back_bit_for_bit(library, tmp_path):
    path = tmp_path / "points.csv"
    assert to_csv([Samples(TIMES[:2], VALUES[:2]), Samples(TIMES[2:], VALUES[2:])], path) == 5
    lines = path.read_text().splitlines()
    assert lines[0] == "time,value"
    assert [line.split(",")[0] for line in lines[1:]] == [str(t) for t in TIMES.tolist()]
    assert [float(line.split(",")[1]) for line in lines[1:]] == VALUES.tolist()
    assert_same_bits(joined(from_csv(path)))


def test_csv_of_summaries_with_iso_times(library):
    file = io.BytesIO()
    assert to_csv([summaries()], file, iso=True) == 2
    header, first, _ = file.getvalue().decode().splitlines()
    assert header == "time,time_iso,min,mean,max,count,stddev"
    assert first.split(",")[1] == "1970-01-01T00:00:00.000000000Z"
    assert [float(cell) for cell in first.split(",")[2:]] == [1.5, 2.5, 3.5, 3.0, 0.0]
    assert first.split(",")[5] == "3"
    file.seek(0)
    assert joined(from_csv(file, value="max")).value.tolist() == [3.5, 4.5]


def test_csv_without_points_is_a_header(library):
    for kind, header in ((Samples, b"time,value\n"), (Summaries, b"time,min,mean,max,count,stddev\n")):
        file = io.BytesIO()
        assert to_csv([], file, kind=kind) == 0
        assert file.getvalue() == header
        file.seek(0)
        assert list(from_csv(file, value=kind.fields[1])) == []


def test_csv_with_bad_cells_is_refused(library):
    with pytest.raises(InvalidArgument, match="there is no column 'value'; there are time, v"):
        list(from_csv(io.BytesIO(b"time,v\n1,2\n")))
    with pytest.raises(InvalidArgument):
        list(from_csv(io.BytesIO(b"time,value\n1,2\n2,x\n")))
    with pytest.raises(InvalidArgument):
        list(from_csv(io.BytesIO(b"time,value\n1.5,2\n")))
    with pytest.raises(InvalidArgument):  # a null with pyarrow
        list(from_csv(io.BytesIO(b"time,value\n1,\n")))


def test_csv_takes_iso_times_and_skips_other_columns():
    text = b"\xef\xbb\xbfname,at,v\nx,2020-01-01T00:00:00.000000001Z,2\ny,2020-01-02T00:00:00Z,3\n"
    points = joined(from_csv(io.BytesIO(text), time="at", value="v"))
    assert points.time.tolist() == [1_577_836_800_000_000_001, 1_577_923_200_000_000_000]


def test_csv_is_read_in_chunks(library, monkeypatch):
    monkeypatch.setattr(import_, "_BLOCK", 64)
    text = b"time,value\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(100))
    chunks = list(from_csv(io.BytesIO(text)))
    assert len(chunks) > 5
    assert joined(chunks).time.tolist() == list(range(100))


def test_parquet_reads_back_bit_for_bit(tmp_path):
    path = tmp_path / "points.parquet"
    seen = []
    assert to_parquet([POINTS], path, progress=seen.append) == 5
    assert seen == [5]
    assert parquet.read_schema(path).field("time").type == pa.timestamp("ns", tz="UTC")
    assert_same_bits(joined(from_parquet(path)))
    assert to_parquet([], path, kind=Summaries) == 0
    assert parquet.read_schema(path).names == list(Summaries.fields)


def test_parquet_joins_small_chunks_to_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROW_GROUP", 100)
    path = tmp_path / "points.parquet"
    chunks = (Samples(np.arange(i, i + 30), np.ones(30)) for i in range(0, 300, 30))
    assert to_parquet(chunks, path) == 300
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [100, 20, 100, 20, 60]


@pytest.mark.parametrize("write", [to_csv, to_parquet])
def test_a_chunk_alone_is_written_like_a_list_of_it(write):
    alone, listed = io.BytesIO(), io.BytesIO()
    assert write(POINTS, alone) == write([POINTS], listed) == len(POINTS)
    assert alone.getvalue() == listed.getvalue()


def test_chunks_are_taken_one_at_a_time_with_progress():
    order = []

    def chunks():
        for i in range(3):
            order.append(f"made {i}")
            yield Samples(np.array([i]), np.array([1.0]))

    to_csv(chunks(), io.BytesIO(), progress=lambda rows: order.append(f"written {rows}"))
    assert order == ["made 0", "written 1", "made 1", "written 2", "made 2", "written 3"]


@pytest.mark.parametrize("write", [to_csv, to_parquet])
def test_a_file_appears_whole_or_not_at_all(write, tmp_path):
    path = tmp_path / "out"
    path.write_text("old")

    def chunks():
        yield POINTS
        raise RuntimeError("stream is gone")

    with pytest.raises(RuntimeError):
        write(chunks(), path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    write([POINTS], path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert path.stat().st_size > 10


def test_arrow_of_every_shape(tmp_path):
    table = POINTS.to_arrow()
    path = tmp_path / "points.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    stream.seek(0)
    for source in (table, table.to_batches()[0], table.to_reader(), path, str(path), stream):
        assert_same_bits(joined(from_arrow(source)))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2], pa.int32()), [1, 2]),
        (pa.array([1, 2], pa.timestamp("s")), [1_000_000_000, 2_000_000_000]),
        (pa.array([1, 2], pa.timestamp("us", tz="Europe/Berlin")), [1000, 2000]),
        (pa.array([0, 1], pa.date32()), [0, 86_400_000_000_000]),
    ],
)
def test_times_are_converted_exactly(column, expected):
    [(times, values)] = from_arrow(pa.table({"time": column, "value": pa.array([1, 2], pa.int16())}))
    assert times.dtype == np.int64
    assert times.tolist() == expected
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("time", "value", "error"),
    [
        (pa.array([1.5]), pa.array([1.0]), InvalidArgument),
        (pa.array(["x"]), pa.array([1.0]), InvalidArgument),
        (pa.array([1]), pa.array(["x"]), InvalidArgument),
        (pa.array([1]), pa.array([None], pa.float64()), InvalidValue),
        (pa.array([None], pa.int64()), pa.array([1.0]), InvalidValue),
        (pa.array([1 << 62], pa.timestamp("s")), pa.array([1.0]), InvalidArgument),
        (pa.array([1 << 63], pa.uint64()), pa.array([1.0]), InvalidArgument),
        (pa.array([1]), pa.array([(1 << 53) + 1]), InvalidArgument),
    ],
)
def test_what_is_no_point_is_refused(time, value, error):
    with pytest.raises(error):
        list(from_arrow(pa.table({"time": time, "value": value})))


def test_other_bytes_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"garbage, not columns")
    for read in (from_parquet, from_arrow):
        with pytest.raises(InvalidArgument):
            list(read(path))

"""The published examples of data ingestion, word for word but for the import and the address, through `lamina.reduct`:
of a server, and of a directory."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compat.lamina_reduct import with_own_classes

from lamina.reduct import Batch, Client

PROGRAMS = sorted(
    path.stem.removeprefix("reduct_") for path in (Path(__file__).parent / "programs").glob("reduct_*.txt")
)

PRELUDE = "import asyncio, sys; asyncio.set_event_loop(asyncio.new_event_loop()); exec(sys.stdin.read())"
"""The examples ask for the current event loop, which Python 3.14 no longer makes by itself."""

OCTETS = "application/octet-stream"


@pytest.fixture(params=["directory", "server"])
def url(request, tmp_path):
    """Where the example goes; the token that it shows is that of the server."""
    if request.param == "server":
        return request.getfixturevalue("serve")(RS_API_TOKEN="my-token").url
    return str(tmp_path / "data")


@pytest.fixture
def example(url):
    """example(program): run it; the records of its entry afterwards, as [(time, content, content type, labels)]."""

    def run(name):
        text = with_own_classes(f"programs/reduct_{name}.txt")
        assert text.count("http://127.0.0.1:8383") == 1
        text = text.replace("http://127.0.0.1:8383", url)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PRELUDE], input=text, capture_output=True, text=True, timeout=60,
            check=False, env={"TZ": "UTC"},
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

        async def records():
            async with Client(url, api_token="my-token") as client:
                bucket = await client.get_bucket("my-bucket")
                return [
                    (record.timestamp, await record.read_all(), record.content_type, record.labels)
                    async for record in bucket.query("py-example")
                ]

        return asyncio.run(records())

    return run


def test_all_programs_are_here():
    assert PROGRAMS == ["annotating", "batching", "simple", "streaming"]


def test_examples_of_single_records(example):
    before = time.time() * 1e6
    (first,) = example("simple")
    assert before <= first[0] <= time.time() * 1e6
    assert first[1:] == (b"Some binary data", OCTETS, {})

    # As printed it announces the buffer's position, which is 0 before anything was read: an empty record
    _, second = example("streaming")
    assert second[1:] == (b"", OCTETS, {})

    *_, third = example("annotating")
    assert third[1:] == (b"Some binary data", "text/plain", {"name": "example", "score": "0.9"})


def test_example_of_a_batch(example):
    at = 1_706_868_000_000_000
    expected = [(at + i * 1_000_000, b"Records #%d" % (i + 1), OCTETS, {}) for i in range(3)]
    assert example("batching") == expected


def test_examples_of_the_bucket(url):
    async def main():
        async with Client(url, api_token="my-token") as client:
            bucket = await client.create_bucket("b")
            await bucket.write("entry", b"some_data", timestamp=123456789)
            async with bucket.read("entry", timestamp=123456789) as record:
                data = await record.read_all()
            assert data == b"some_data"

            await bucket.write("entry-1", b"some_data", timestamp="2021-09-10T10:30:00")

            async def sender():
                for chunk in [b"part1", b"part2", b"part3"]:
                    yield chunk

            await bucket.write("entry-1", sender(), content_length=15)
            async with bucket.read("entry-1") as record:
                assert await record.read_all() == b"part1part2part3"

            await bucket.write("entry-1", b"", "2022-01-01T01:00:00", labels={"label2": "x"})
            await bucket.update("entry-1", "2022-01-01T01:00:00", {"label1": "value1", "label2": ""})
            async with bucket.read("entry-1", "2022-01-01T01:00:00") as record:
                assert record.labels == {"label1": "value1"}

            batch = Batch()
            batch.add(1640995200000000, labels={"label1": "value1", "label2": ""})
            errors = await bucket.update_batch("entry-1", batch)
            assert [error.status_code for error in errors.values()] == [404]

            sizes = []
            async for record in bucket.query("entry-1", stop=time.time_ns() / 1000):
                sizes.append(sum([len(chunk) async for chunk in record.read(n=1024)]))
            assert sizes == [9, 0, 15]

            received = []
            async for record in bucket.subscribe("entry-1", poll_interval=0.1):
                received.append(await record.read_all())
                if len(received) == 3:
                    break
            assert received == [b"some_data", b"", b"part1part2part3"]

    asyncio.run(main())

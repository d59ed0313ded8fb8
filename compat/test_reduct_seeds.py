"""The published examples of data ingestion and of the bucket's documentation, as printed, with reduct-py 1.21.0.

Only host and port are replaced: the server of the tests picks its own.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compat.onloop import asynchronous
from reduct import Batch, Client

pytestmark = pytest.mark.wire

PROGRAMS = Path(__file__).parent / "programs"

PRELUDE = "import asyncio, sys; asyncio.set_event_loop(asyncio.new_event_loop()); exec(sys.stdin.read())"
"""The examples ask for the current event loop, which Python 3.14 no longer makes by itself."""


@pytest.fixture
def example(serve):
    """example(program): run it against a server of its own; the records of its entry afterwards, as
    [(time, content, content type, labels)]."""
    server = serve(RS_API_TOKEN="my-token")

    def run(name):
        text = (PROGRAMS / f"reduct_{name}.txt").read_text()
        assert text.count("127.0.0.1:8383") == 1
        text = text.replace("127.0.0.1:8383", server.address)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRELUDE], input=text, capture_output=True, text=True, timeout=60,
            check=False, env={"TZ": "UTC"},
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

        async def records():
            async with Client(server.url, api_token="my-token") as client:
                bucket = await client.get_bucket("my-bucket")
                return [
                    (record.timestamp, await record.read_all(), record.content_type, record.labels)
                    async for record in bucket.query("py-example")
                ]

        return asyncio.run(records())

    return run


OCTETS = "application/octet-stream"


def test_examples_of_single_records(example):
    """The same bucket and entry each time: `exist_ok`, and times that rise."""
    before = time.time() * 1e6
    (first,) = example("simple")
    assert before <= first[0] <= time.time() * 1e6
    assert first[1:] == (b"Some binary data", OCTETS, {})

    # As printed it announces IO_BUFFER.tell(), which is 0 before anything was read: the package sends nothing
    _, second = example("streaming")
    assert second[1:] == (b"", OCTETS, {})

    *_, third = example("annotating")
    assert third[1:] == (b"Some binary data", "text/plain", {"name": "example", "score": "0.9"})


def test_example_of_a_batch(example):
    at = 1_706_868_000_000_000
    expected = [(at + i * 1_000_000, b"Records #%d" % (i + 1), OCTETS, {}) for i in range(3)]
    assert example("batching") == expected


@asynchronous
async def test_examples_of_the_bucket(client, bucket):
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

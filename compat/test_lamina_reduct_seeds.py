"""The published examples of data ingestion, word for word but for the import and the address, through `lamina.reduct`:
of a server, and of a directory.

What they must leave behind is what test_reduct_seeds says.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from compat.lamina_reduct import reduct, retargeted, with_own_classes

from lamina.reduct import Client

PROGRAMS = sorted(
    path.stem.removeprefix("reduct_") for path in (Path(__file__).parent / "programs").glob("reduct_*.txt")
)

PRELUDE = "import asyncio, sys; asyncio.set_event_loop(asyncio.new_event_loop()); exec(sys.stdin.read())"
"""The examples ask for the current event loop, which Python 3.14 no longer makes by itself."""

__all__ = ["reduct"]

globals().update(retargeted("test_reduct_seeds"))


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

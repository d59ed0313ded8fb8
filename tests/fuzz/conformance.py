"""python -m tests.fuzz.conformance [--examples N] [--seed N] [schemathesis options]: the API against its description.

A server of its own on loopback, with tokens, and with replications that never reach anybody; then `schemathesis run`
over its /api/v1/openapi.json. LEFT_OUT says which checks do not hold here, and why.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.jobs import Jobs, JobsConfig
from lamina.jobs.sender import Destination, Sender, Unreachable
from lamina.server.tests.wired import wired
from tests.security.grounds import Grounds

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = {
    "unsupported_method": "HEAD is answered wherever GET is, and OPTIONS everywhere (contract 1.3, 1.5)",
    "positive_data_acceptance": "what a name leads to is not there in most requests, and times are taken",
    "negative_data_rejection": "members and parameters that are not known are ignored (contract 1.1)",
}
"""Checks of schemathesis that ask for something else than the contract."""


def run(*options: str, token: str, url: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    command = [program, "run", f"{url}/api/v1/openapi.json", "-H", f"Authorization: Bearer {token}", "--checks", "all"]
    command += ["--exclude-checks", ",".join(LEFT_OUT), "--no-color", *options]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.conformance_hooks", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **hooks})


def furnish(grounds: Grounds) -> None:
    """What most requests name."""
    db = grounds.db
    for name in ("b", "c"):
        bucket = db.buckets.create(name, {})
        for entry in ("e", "e/f"):
            for time in range(5):
                bucket.entry(entry).write(b"content", time, labels={"a": str(time)})
        bucket.entry("e/$meta").write(b"{}", 1, labels={"key": "k"})
    grounds.ask("full", "POST", "/b/b/e/q", b'{"query_type":"QUERY","ttl":86400}')
    grounds.ask("full", "POST", "/tokens/it", b'{"permissions":{"read":["b"]}}')
    target = b'{"src_bucket":"b","dst_bucket":"d","dst_host":"http://nowhere.example"}'
    grounds.ask("full", "POST", "/replications/it", target)
    grounds.ask("full", "POST", "/lifecycles/it", b'{"bucket":"b","older_than":"1h","type":"delete"}')


class _Nobody:
    """The way to a server that does not answer."""

    def __init__(self, destination: Destination) -> None:
        self._host = destination.host

    def _refuse(self, *_: object) -> None:
        raise Unreachable(-2, f"{self._host} is out of reach")

    prepare = reach = write = update = _refuse

    def close(self) -> None:
        """Nothing is open."""


def nobody(destination: Destination) -> Sender:
    sender: Sender = _Nobody(destination)  # type: ignore[assignment]
    return sender


@contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """URL, and a token with full access, while the block runs."""
    grounds = Grounds()
    jobs = Jobs(grounds.db, JobsConfig(), nobody)
    grounds.face.replications, grounds.face.lifecycles = jobs.replications, jobs.lifecycles
    furnish(grounds)
    value = grounds.authorization["full"]
    assert value is not None, "this one has a token"
    started: list[int] = []
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with wired(grounds.app) as server:
            started.append(server._port)
            ready.set()
            await ended.wait()

    # the requests of `furnish` ran on another loop: nothing of them is under way
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20), "not ready in time"
    try:
        yield f"http://127.0.0.1:{started[0]}", value.removeprefix("Bearer ")
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        loop.close()
        jobs.close()
        grounds.close()


def main() -> int:
    with serving() as (url, token):
        result = run(*sys.argv[1:], token=token, url=url)
    print(result.stdout, result.stderr, sep="\n")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())

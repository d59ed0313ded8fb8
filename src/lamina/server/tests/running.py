"""A server for tests: in this process on a thread of its own, or as a process."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

from lamina.server.config import Config
from lamina.server.serve import Addresses, serve

LONG_S = 20.0  # more than anything here takes, also on a busy machine

READY = re.compile(r"ready http=(\S+:\d+) grpc=(\S+:\d+)(?: grpcs=(\S+:\d+))?\n")


def config(path=":memory:", **changes):
    """On free ports of this machine."""
    return Config(**{"path": str(path), "http_port": 0, "grpc_port": 0, "grpc_tls_port": 0} | changes)


class Running:
    addresses: Addresses
    exit_code: int | None = None


@contextmanager
def server(settings):
    """A server in this process, ready; ended, with its exit code in `exit_code`, when the block ends."""
    running = Running()
    ready, failed = threading.Event(), []
    stop = []

    def note(addresses):
        running.addresses = addresses
        ready.set()

    async def main():
        stop.append((asyncio.get_running_loop(), asyncio.Event()))
        return await serve(settings, on_ready=note, stop=stop[0][1])

    def run():
        try:
            running.exit_code = asyncio.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(LONG_S), "not ready in time"
    if failed:
        thread.join(LONG_S)
        raise failed[0]
    try:
        yield running
    finally:
        loop, event = stop[0]
        loop.call_soon_threadsafe(event.set)
        thread.join(LONG_S)
        assert not thread.is_alive(), "not ended in time"
        if failed:
            raise failed[0]


def environment(**changes):
    """This process' environment without any setting of a server, so that tests do not depend on it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LAMINA_", "RS_"))}
    return kept | changes


def lamina(*arguments, **changes):
    """The command line, run to its end: CompletedProcess with text output."""
    return subprocess.run(
        [sys.executable, "-m", "lamina.cli.main", *map(str, arguments)],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=3 * LONG_S,
        check=False,
    )


@contextmanager
def process(*arguments, **changes):
    """`lamina ...` as a process with a pipe for stdout; killed at the end of the block if it still runs."""
    child = subprocess.Popen(
        [sys.executable, "-m", "lamina.cli.main", *map(str, arguments)],
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = threading.Timer(3 * LONG_S, child.kill)
    deadline.start()
    try:
        yield child
    finally:
        deadline.cancel()
        if child.poll() is None:
            child.kill()
        child.communicate()

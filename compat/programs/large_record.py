"""One large record up and down through a server process: speed, and the most memory that the server took.

    python -m compat.programs.large_record --gb 10 [--folder DIR]

Run from the root of the repository. DIR needs room for the record; default: the directory for temporary files.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from compat.reductserver import Http, ReductServer

PIECE = 1 << 20
GB = 1_000_000_000


class Measured(NamedTuple):
    up_s: float
    down_s: float
    peak_bytes: int


def pieces(size: int) -> Iterator[bytes]:
    """A content of so many bytes in which every piece is another one."""
    base = bytes(range(256)) * (PIECE // 256)
    for i in range(0, size, PIECE):
        piece = i.to_bytes(8, "big") + base[8:]
        yield piece[: size - i]


def measure(server: ReductServer, size: int) -> Measured:
    """Write a record of so many bytes and read it back; raises AssertionError where it comes back another."""
    api = Http(server.address)
    assert api("POST", "/b/large", {}).status == 200
    began = time.monotonic()
    answer = api("POST", "/b/large/x", pieces(size), {"Content-Length": str(size)}, ts=1)
    assert answer.status == 200, answer
    up_s = time.monotonic() - began
    api.close()
    began = time.monotonic()
    connection = http.client.HTTPConnection(server.address, timeout=60)
    connection.request("GET", "/api/v1/b/large/x?ts=1")
    stream = connection.getresponse()
    assert stream.getheader("content-length") == str(size)
    for expected in pieces(size):
        assert stream.read(len(expected)) == expected, "the content came back another"
    assert not stream.read(1)
    connection.close()
    return Measured(up_s, time.monotonic() - began, server.peak_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0)
    parser.add_argument("--folder", default=None)
    arguments = parser.parse_args()
    size = int(arguments.gb * GB)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        server = ReductServer(Path(folder) / "data")
        try:
            found = measure(server, size)
        finally:
            server.stop()
    print(f"{size / GB:g} GB: up {size / 1e6 / found.up_s:.0f} MB/s, down {size / 1e6 / found.down_s:.0f} MB/s, "
          f"server at most {found.peak_bytes / 1e6:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()

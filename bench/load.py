"""Servers as processes of their own, and what puts load on them: wrk, sockets, nginx for comparison.

What a server spends is read from the kernel's accounts of its process. Linux, with `wrk` and `nginx` on the path.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
CONTENT_TYPE = "application/octet-stream"
LABELS = {"robot": "alpha", "mode": "auto", "zone": "7", "ok": "true"}

_POST = """
local number = 0
function setup(thread) number = number + 1; thread:set("number", number) end
function init(arguments)
  path, size, count = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  at = tonumber(arguments[4]) + number * 1e10
  content = string.rep("x", size * count)
  head = " HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-length: " .. size * count .. "\\r\\n"
  labels = "LABELS"
  value = ": " .. size .. ",TYPE,BATCHED\\r\\n"
end
function request()
  if count == 1 then
    at = at + 1
    return "POST " .. path .. "?ts=" .. string.format("%d", at) .. head .. labels .. content
  end
  local lines = {}
  for i = 1, count do lines[i] = "x-reduct-time-" .. string.format("%d", at + i) .. value end
  at = at + count
  return "POST " .. path .. "/batch" .. head .. table.concat(lines) .. "\\r\\n" .. content
end
"""

_NGINX = """
worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_buffer_size 16m; client_max_body_size 0; keepalive_requests 1000000000; sendfile on;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} location /files/ {{ alias files/; }} }}
}}
"""


def touch(work: Path, size: int) -> bool:
    """Have so much free memory that was used a moment ago: in a virtual machine a page that the host has taken back
    costs the first write to it up to ten times what writing costs (2 s/GB measured), which says nothing of the server.
    True."""
    path = work / "touched"
    piece = bytes(1 << 20)
    with open(path, "wb", buffering=0) as file:
        for _ in range(0, size, len(piece)):
            file.write(piece)
    path.unlink()
    return True


class Spent(NamedTuple):
    """What some load cost the server: its CPU seconds, and seconds by the clock."""

    cpu: float
    clock: float


class Server:
    """A process with an HTTP port on loopback."""

    def __init__(self, process: subprocess.Popen[str], port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.folder = folder

    def cpu(self) -> float:
        """CPU seconds so far: user and system, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def spent(self, work: Callable[[], object]) -> Spent:
        cpu, clock = self.cpu(), time.perf_counter()
        work()
        clock = time.perf_counter() - clock
        return Spent(self.cpu() - cpu, clock)

    def post(self, path: str, body: bytes = b"") -> None:
        """One request. Raises RuntimeError for an answer that is not 200."""
        with self.connect() as connection:
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            read_head(connection)


@contextmanager
def lamina(folder: Path, durability: str) -> Iterator[Server]:
    """`lamina serve` on a new directory, with a bucket `bench`."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "lamina.cli.main", "serve", str(folder), "--http-port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(
        [*command, "--durability", durability, "--log-level", "error"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None, "a pipe"
        found = re.search(r"http=\S+:(\d+)", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        server = Server(process, int(found[1]), folder)
        server.post("/api/v1/b/bench")
        yield server
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """Discards bodies under /, serves what lies in FOLDER/files under /files/."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "nginx.conf").write_text(_NGINX.format(port=port))
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf"], text=True)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise RuntimeError(f"nginx does not answer on port {port} after 5 s")
        yield Server(process, port, folder)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


class Wrk(NamedTuple):
    """What wrk saw. Times in seconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float  # of the server, per request


def wrk(server: Server, connections: int, size: int, count: int = 1, seconds: int = 3) -> Wrk:
    """Writes of new records from so many connections: `count` a request, each of `size` bytes with four labels.
    Raises RuntimeError if one was not answered with 200."""
    labels = "".join(f"x-reduct-label-{name}: {value}\\r\\n" for name, value in LABELS.items())
    batched = ",".join(f"{name}={value}" for name, value in LABELS.items())
    text = _POST.replace("LABELS", f"{labels}content-type: {CONTENT_TYPE}\\r\\n\\r\\n")
    script = server.folder.with_suffix(".lua")
    script.write_text(text.replace("TYPE", CONTENT_TYPE).replace("BATCHED", batched))
    arguments = ["/api/v1/b/bench/entry", str(size), str(count), str(time.time_ns() // 1000)]
    url = f"http://127.0.0.1:{server.port}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url, "--", *arguments]
    before = server.cpu()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=seconds + 60).stdout
    spent = server.cpu() - before
    script.unlink()
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    requests = int(_found(r"(\d+) requests in", said))
    return Wrk(
        requests,
        float(_found(r"Requests/sec:\s+(\S+)", said)),
        _seconds(_found(r"^\s+50%\s+(\S+)", said)),
        _seconds(_found(r"^\s+99%\s+(\S+)", said)),
        spent / requests,
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said {text!r}")
    return found[1]


def _seconds(text: str) -> float:
    for unit, scale in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * scale
    raise RuntimeError(f"wrk said {text!r}")


def read_head(connection: socket.socket) -> bytes:
    """Everything up to the end of an answer's head, and what came with it. Raises RuntimeError if it is not 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            raise RuntimeError(f"the connection ended behind {data!r}")
        data += piece
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(data.decode("latin-1"))
    return data


def upload(server: Server, first_us: int, size: int, count: int, connections: int = 2) -> None:
    """`count` records of `size` bytes, each in a request of its own, over so many connections."""
    content = os.urandom(size)

    def some(number: int) -> None:
        with server.connect() as connection:
            for i in range(number, count, connections):
                path = f"/api/v1/b/bench/large?ts={first_us + i}"
                head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n"
                connection.sendall(head.encode())
                connection.sendall(content)
                read_head(connection)

    together(some, connections)


def download(server: Server, paths: list[str], size: int, connections: int = 2) -> None:
    """Read these over so many connections; each has `size` bytes."""

    def some(number: int) -> None:
        buffer = memoryview(bytearray(1 << 20))
        with server.connect() as connection:
            for path in paths[number::connections]:
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                got = len(read_head(connection).partition(b"\r\n\r\n")[2])
                while got < size:
                    got += connection.recv_into(buffer)

    together(some, connections)


def together(work: Callable[[int], None], count: int) -> None:
    """Call on so many threads; raises what one of them raised."""
    errors: list[BaseException] = []

    def caught(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=caught, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def available() -> bool:
    """Whether what puts the load on is there."""
    return shutil.which("wrk") is not None and shutil.which("nginx") is not None

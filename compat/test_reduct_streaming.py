"""Large records, slow readers and clients that go away: memory stays small, nothing half written can be read."""

import shutil
import socket
import threading
import time

import pytest
from compat.programs.large_record import GB, measure

pytestmark = pytest.mark.wire

MEMORY = 300_000_000


@pytest.mark.slow
def test_1_gb_up_and_down_in_little_memory(serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "data"
    if shutil.disk_usage(folder.parent).free < 3 * GB:
        pytest.skip("less than 3 GB of disk are free")
    server = serve(folder=folder)
    measured = measure(server, GB)
    server.stop()
    shutil.rmtree(folder)
    assert measured.peak_bytes < MEMORY, measured


def test_interrupted_uploads_leave_nothing(serve, http_to):
    """Of long records, and of batches; the room on the disk is given back, too."""
    server = serve()
    api = http_to(server)
    api("POST", "/b/cut")
    api.write("cut", "x", 1, b"before")
    host, port = server.address.split(":")
    for time_us in range(10, 20):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /api/v1/b/cut/x?ts={time_us} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 3_000_000)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = "POST /api/v1/b/cut/x/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n"
        head += "x-reduct-time-30: 100000,\r\nx-reduct-time-31: 100000,\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 150_000)
    times = [*range(10, 20), 30, 31]
    deadline = time.monotonic() + 20
    for time_us in times:  # taken, until the server has noticed
        while api("POST", "/b/cut/x", b"again", ts=time_us).status == 409 and time.monotonic() < deadline:
            threading.Event().wait(0.02)
    answer = api.read("cut", api.query("cut").json["id"])
    assert (answer.body, answer["x-reduct-last"]) == (b"before" + b"again" * len(times), "true")
    entry = api("GET", "/b/cut").json["entries"][0]
    assert entry["record_count"] == 1 + len(times)
    assert entry["size"] < 2000


def test_a_kill_in_the_middle_of_an_upload_leaves_nothing(serve, http_to, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "data"
    server = serve(folder=folder)
    api = http_to(server)
    api("POST", "/b/cut")
    api.write("cut", "x", 1, b"before" * 100_000)
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = "POST /api/v1/b/cut/x?ts=5 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 5_000_000)
        server.process.kill()
        server.process.communicate()
    again = http_to(serve(folder=folder))
    answer = again.read("cut", again.query("cut").json["id"])
    assert (answer.body, answer["x-reduct-last"]) == (b"before" * 100_000, "true")
    again.write("cut", "x", 5, b"again")


def test_slow_readers_hold_nobody_up(serve, http_to):
    """Twenty that ask for 50 MB and do not read: the server keeps little of it, others are served."""
    server = serve()
    api = http_to(server)
    api("POST", "/b/slow")
    size = 50_000_000
    api("POST", "/b/slow/x", (b"x" * 1_000_000 for _ in range(50)), {"Content-Length": str(size)}, ts=1)
    host, port = server.address.split(":")
    readers = []
    for _ in range(20):
        reader = socket.create_connection((host, int(port)), timeout=20)
        reader.sendall(b"GET /api/v1/b/slow/x?ts=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        readers.append(reader)
    assert readers[-1].recv(10).startswith(b"HTTP/1.1 2")
    began = time.monotonic()
    api.write("slow", "y", 1, b"meanwhile")
    assert api("GET", "/b/slow/y").body == b"meanwhile"
    assert time.monotonic() - began < 5
    assert server.peak_bytes() < MEMORY
    got = 0
    with readers[0] as reader:
        while got < size:
            got += len(reader.recv(1 << 20))
    for reader in readers:
        reader.close()

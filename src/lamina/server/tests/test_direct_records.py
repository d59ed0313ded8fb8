"""Long contents over the wire: in and out past the loop, the same bytes as the library gives, damage told."""

import http.client
import random
import socket

import pytest

import lamina
from lamina.server.tests.running import config, server

MIB = 1 << 20
SIZES = (10, 65_536, 65_537, 100_000, 100_000, MIB - 1, MIB, MIB + 1, MIB + 4096, 3 * MIB + 17, 9 * MIB, 17 * MIB)
PREFIX = "x-reduct-time-"


def contents():
    chance = random.Random(7)
    return [chance.randbytes(size) for size in SIZES]


class Client:
    def __init__(self, running):
        host, _, port = running.addresses.http.rpartition(":")
        self.address = host, int(port)
        self._connection = http.client.HTTPConnection(running.addresses.http, timeout=20)

    def request(self, method, path, body=b"", headers=()):
        self._connection.request(method, f"/api/v1/{path}", body, dict(headers))
        answer = self._connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def good(self, *arguments):
        status, headers, body = self.request(*arguments)
        assert status == 200, (status, headers)
        return headers, body

    def batches(self, entry):
        """Contents of all records, as a query gives them."""
        _, body = self.good("POST", f"b/b/{entry}/q", b'{"query_type":"QUERY"}')
        number = int(body.strip(b'{}"id: '))
        found, last = [], False
        while not last:
            headers, body = self.good("GET", f"b/b/{entry}/batch?q={number}")
            last = headers["x-reduct-last"] == "true"
            for name, value in headers.items():
                if name.startswith(PREFIX):
                    size = int(value.partition(",")[0])
                    found.append(body[:size])
                    body = body[size:]
            assert not body
        return found

    def close(self):
        self._connection.close()


@pytest.fixture
def client(tmp_path):
    with server(config(tmp_path / "db")) as running:
        client = Client(running)
        client.good("POST", "b/b")
        yield client
        client.close()


def batch_headers(sizes):
    return {f"{PREFIX}{i}": f"{size},application/octet-stream" for i, size in enumerate(sizes)}


@pytest.mark.parametrize("batched", [False, True])
def test_contents_come_back_as_they_went_whichever_way(tmp_path, batched):
    wanted = contents()
    with server(config(tmp_path / "db")) as running:
        client = Client(running)
        client.good("POST", "b/b")
        if batched:
            client.good("POST", "b/b/e/batch", b"".join(wanted), batch_headers(SIZES))
        else:
            for i, content in enumerate(wanted):
                client.good("POST", f"b/b/e?ts={i}", content)
        singles = [client.good("GET", f"b/b/e?ts={i}")[1] for i in range(len(wanted))]
        queried = client.batches("e")
        client.close()
    assert singles == wanted
    assert queried == wanted
    with lamina.open(tmp_path / "db") as db:
        entry = db.buckets.get("b").entry("e")
        assert [entry.read(i).read() for i in range(len(wanted))] == wanted


def test_of_a_batch_what_is_refused_is_skipped_and_the_rest_is_kept(client):
    wanted = contents()
    client.good("POST", "b/b/e?ts=5", b"before")
    headers, _ = client.good("POST", "b/b/e/batch", b"".join(wanted), batch_headers(SIZES))
    assert [name for name in headers if "error" in name] == ["x-reduct-error-5"]
    assert [client.good("GET", f"b/b/e?ts={i}")[1] for i in range(len(wanted))] == [
        *wanted[:5],
        b"before",
        *wanted[6:],
    ]


def damaged(tmp_path, at):
    """A database with a content of 4 MiB, of which one byte has changed on the disk."""
    content = random.Random(1).randbytes(4 * MIB)
    with lamina.open(tmp_path / "db") as db:
        db.buckets.create("b").entry("e").write(content, time=1)
    for path in (tmp_path / "db" / "segments" / "payload").rglob("*.dat"):
        data = bytearray(path.read_bytes())
        where = data.find(content[:64])
        if where >= 0:
            data[where + at] ^= 1
            path.write_bytes(data)
            return content
    raise AssertionError("no file has it")


def test_damage_in_the_first_part_is_an_error_and_nothing_is_sent(tmp_path):
    damaged(tmp_path, MIB - 1)
    with server(config(tmp_path / "db")) as running:
        client = Client(running)
        for _ in range(2):  # the connection stays
            status, headers, _ = client.request("GET", "b/b/e?ts=1")
            assert status >= 500
            assert "x-reduct-error" in headers
        client.close()


def test_damage_later_breaks_the_answer_off_before_it(tmp_path):
    content = damaged(tmp_path, 2 * MIB + 5)
    with server(config(tmp_path / "db")) as running:
        client = Client(running)
        with pytest.raises(http.client.IncompleteRead) as caught:
            client.request("GET", "b/b/e?ts=1")
        client.close()
    assert caught.value.partial == content[: 2 * MIB]


def test_an_upload_that_breaks_off_leaves_nothing_and_its_time_free(client):
    host, port = client.address
    with socket.create_connection((host, port)) as broken:
        broken.sendall(b"POST /api/v1/b/b/e?ts=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (8 * MIB))
        broken.sendall(bytes(5 * MIB))
    content = random.Random(2).randbytes(3 * MIB)
    while (found := client.request("POST", "b/b/e?ts=1", content))[0] == 409:
        pass  # the server has not heard of it yet
    assert found[0] == 200
    assert client.good("GET", "b/b/e?ts=1")[1] == content

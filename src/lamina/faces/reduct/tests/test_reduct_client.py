"""The way to another server: what goes over the wire, which addresses are refused, what an answer means."""

from __future__ import annotations

import gzip
import http.server
import socket
import threading

import pytest

from lamina.faces.reduct.batch1 import parse_items
from lamina.faces.reduct.client import HttpSender, SenderConfig, allowed_address, sender_factory
from lamina.jobs.sender import Destination, Failure, Outgoing, Unreachable


class There(http.server.ThreadingHTTPServer):
    """Notes requests; answers what `answers` says, else 200."""

    daemon_threads = True

    def __init__(self):
        self.requests = []
        self.answers = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self):
        return [(method, path) for method, path, _, _ in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        named = dict(headers)
        body = b""
        if named.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(named.get("content-length", 0)))
        self.server.requests.append((self.command, self.path, headers, body))
        status, extra = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def there():
    server = There()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def connect(there):
    senders = []

    def connect(host=None, *, token="secret", compression="none", **options):
        factory = sender_factory(SenderConfig(**({"allow_loopback": True} | options)))
        senders.append(factory(Destination(host or there.url, "dst", token, compression)))
        return senders[-1]

    yield connect
    for sender in senders:
        sender.close()


def record(time_us, content=b"abc", labels=(), content_type="text/plain", pieces=1):
    step = -(-len(content) // pieces) or 1
    parts = [content[i : i + step] for i in range(0, len(content), step)]
    return Outgoing(time_us, len(content), content_type, tuple(labels), lambda: iter(parts))


def items(request):
    return parse_items([(name.encode(), value.encode("latin-1")) for name, value in request[2]], "e")


def test_a_batch_goes_as_the_protocol_says(there, connect):
    sender = connect(f"{there.url}/base/")
    assert sender.write("a/b c", [record(5), record(6, b"", [("k", "v"), ("n", "1,2")], "")]) == {}
    ((method, path, headers, body),) = there.requests
    assert (method, path) == ("POST", "/base/api/v1/b/dst/a/b%20c/batch")
    named = dict(headers)
    assert named["authorization"] == "Bearer secret"
    assert named["x-reduct-time-5"] == "3,text/plain"
    assert named["x-reduct-time-6"] == '0,,k=v,n="1,2"'
    assert named["content-length"] == "3"
    assert body == b"abc"


def test_an_update_has_no_body_and_empty_values_remove(there, connect):
    connect(token="").update("e/$meta", [(7, {"a": "", "b": "x"})])
    ((method, path, headers, body),) = there.requests
    assert (method, path) == ("PATCH", "/api/v1/b/dst/e/$meta/batch")
    assert ("x-reduct-time-7", "0,,a=,b=x") in headers
    assert "authorization" not in dict(headers)
    assert body == b""


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_bodies_announce_their_plain_size(there, connect, coding):
    content = b"0123456789" * 100_000
    connect(compression=coding).write("e", [record(1, content, pieces=50), record(2)])
    headers, body = dict(there.requests[0][2]), there.requests[0][3]
    assert headers["content-encoding"] == coding
    assert headers["x-reduct-content-length"] == "1000003"
    assert "content-length" not in headers
    assert len(body) < 100_000
    from lamina.codecs import zstd

    plain = gzip.decompress(body) if coding == "gzip" else zstd.decode_up_to(body, 2_000_000)
    assert plain == content + b"abc"


@pytest.mark.parametrize("value", ["plain", "ä,ö", "a,b", 'say "so"', "", "a=b", "日本"])
def test_labels_arrive_as_they_are(there, connect, value):
    connect().write("e", [record(1, labels=[("Name ü", value), ("z", "last")])])
    (item,) = items(there.requests[0])
    assert dict(item.labels) == {"Name ü": value, "z": "last"}


def test_no_text_breaks_out_of_its_header(there, connect):
    evil = [("a\r\nx-evil: 1", "v\r\nx-evil: 2"), ("b", '"x",y=1\0'), ("c,d=e", "f")]
    connect().write("e\r\nx-evil: 3", [record(1, labels=evil, content_type="t\r\nx-evil: 4,z=1")])
    headers = dict(there.requests[0][2])
    assert "x-evil" not in headers
    (item,) = items(there.requests[0])
    assert len(item.labels) == 3


def test_errors_of_records_are_told_by_time(there, connect):
    there.answers = [(200, {"x-reduct-error-5": "409,A record with timestamp 5, you see", "x-reduct-error-9": "1,x"})]
    failed = connect().write("e", [record(5), record(6)])
    assert failed == {5: Failure(409, "A record with timestamp 5, you see")}


HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\nx-reduct-error-1: 409,there\r\n\r\n"


@pytest.mark.parametrize("cut", [*range(len(HEAD)), len(HEAD)])
def test_an_answer_that_ends_within_its_head_is_none(cut):
    """Or records whose error is in the rest would count as written."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            peer, _ = listening.accept()
            with peer:
                received = b""
                while not received.endswith(b"abc"):
                    received += peer.recv(65536)
                peer.sendall(HEAD[:cut])

        thread = threading.Thread(target=answer)
        thread.start()
        factory = sender_factory(SenderConfig(allow_loopback=True))
        sender = factory(Destination(f"http://127.0.0.1:{listening.getsockname()[1]}", "dst", "", "none"))
        try:
            if cut == len(HEAD):
                assert sender.write("e", [record(1)]) == {1: Failure(409, "there")}
            else:
                with pytest.raises(Unreachable):
                    sender.write("e", [record(1)])
        finally:
            sender.close()
            thread.join()


def test_a_refused_request_is_an_error_of_every_record(there, connect):
    there.answers = [(403, {"x-reduct-error": "no"})]
    assert connect().update("e", [(1, {}), (2, {})]) == {1: Failure(403, "no"), 2: Failure(403, "no")}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_some_answers_decide_nothing(there, connect, status):
    there.answers = [(status, {"x-reduct-error": "later"})]
    with pytest.raises(Unreachable) as raised:
        connect().write("e", [record(1)])
    assert (raised.value.code, str(raised.value)) == (status, "later")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_they_decide_nothing_for_a_single_record_either(there, connect, status):
    there.answers = [(200, {"x-reduct-error-1": "409,there", "x-reduct-error-2": f"{status},later"})]
    with pytest.raises(Unreachable) as raised:
        connect().write("e", [record(1), record(2)])
    assert (raised.value.code, str(raised.value)) == (status, "later")


def test_a_missing_bucket_is_made_first_and_when_it_goes_missing(there, connect):
    sender = connect()
    there.answers = [(404, {})]
    sender.prepare()
    sender.prepare()
    assert there.asked() == [("GET", "/api/v1/b/dst"), ("POST", "/api/v1/b/dst"), ("GET", "/api/v1/b/dst")]
    there.requests.clear()
    there.answers = [(200, {"x-reduct-error-2": "404,Bucket 'dst' is not found"}), (404, {})]
    assert sender.write("e", [record(1), record(2, b"two")]) == {}
    assert [method for method, _ in there.asked()] == ["POST", "GET", "POST", "POST"]
    assert there.requests[-1][3] == b"two"


def test_the_connection_is_kept_and_made_again_after_it_was_lost(there, connect):
    sender = connect()
    sender.reach()
    kept = sender._connection.sock
    sender.reach()
    assert sender._connection.sock is kept
    kept.shutdown(2)
    with pytest.raises(Unreachable):
        sender.reach()
    sender.reach()


def test_redirects_are_not_followed(there, connect):
    there.answers = [(307, {"location": "http://127.0.0.1:1/"})]
    assert connect().write("e", [record(1)])[1].status == 307
    assert len(there.requests) == 1


def test_a_content_that_cannot_be_read_breaks_the_request_off(there, connect):
    def broken():
        yield b"abc"
        raise ValueError("damaged")

    sender = connect()
    with pytest.raises(ValueError, match="damaged"):
        sender.write("e", [Outgoing(1, 10, "", (), broken)])
    assert sender.write("e", [record(1)]) == {}


def test_closing_ends_a_call_under_way(there, connect):
    sender = connect()
    entered, go_on = threading.Event(), threading.Event()
    ended = []

    def slow():
        entered.set()
        go_on.wait(20)
        yield b"abc"

    def send():
        try:
            sender.write("e", [Outgoing(1, 3, "", (), slow)])
        except Unreachable as error:
            ended.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    assert entered.wait(20)
    sender.close()
    go_on.set()
    thread.join(20)
    assert len(ended) == 1


def test_nobody_there_is_told_without_the_token(connect):
    with pytest.raises(Unreachable) as raised:
        connect("http://127.0.0.1:1").reach()
    assert raised.value.code == -2
    assert "secret" not in str(raised.value)


def test_certificates_are_checked_unless_configured_otherwise(tmp_path, there, connect):
    import ssl

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    there.socket = context.wrap_socket(there.socket, server_side=True)
    url = there.url.replace("http", "https").replace("127.0.0.1", "localhost")
    with pytest.raises(Unreachable, match="certificate verify failed"):
        connect(url).reach()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    connect(url, ca_path=str(tmp_path / "ca.pem")).reach()
    connect(url, verify_ssl=False).reach()
    with pytest.raises(Unreachable, match="certificates do not load"):
        connect(url, ca_path=str(tmp_path / "none.pem")).reach()


# -- where it may go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "224.0.0.1", "ff02::1"],
)  # fmt: skip
def test_link_local_and_metadata_addresses_are_refused_always(address):
    assert not allowed_address(address, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_loopback_depends(address):
    assert allowed_address(address, True)
    assert not allowed_address(address, False)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.5", "8.8.8.8", "2001:db8::1", "fd12::1"])
def test_other_addresses_are_allowed(address):
    assert allowed_address(address, False)


def test_the_address_that_was_looked_at_is_connected_to(there, monkeypatch):
    import socket

    resolved = []

    def once(host, port, *_, **__):
        address = host
        if host == "name.test":
            resolved.append(host)
            address = "127.0.0.1" if len(resolved) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connect = sender_factory(SenderConfig(allow_loopback=True))
    sender = connect(Destination(there.url.replace("127.0.0.1", "name.test"), "dst", "", "none"))
    assert isinstance(sender, HttpSender)
    monkeypatch.setattr(socket, "getaddrinfo", once)
    sender.reach()
    assert dict(there.requests[0][2])["host"].startswith("name.test:")
    sender.close()
    with pytest.raises(Unreachable, match=r"name\.test is not allowed: it is at 169"):
        sender.reach()
    assert resolved == ["name.test", "name.test"]

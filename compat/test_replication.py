"""Replication between two servers over HTTP, with a network that fails in between (contract reductstore 14)."""

import contextlib
import socket
import threading
import time

import pytest

pytestmark = [pytest.mark.wire, pytest.mark.slow]

WAIT_S = 40


class Network:
    """A way to a server that can be cut: connections break, and no new ones are taken."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self._open = set()
        self._lock = threading.Lock()  # guards _open
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _listen(self, port):
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    def cut(self):
        with contextlib.suppress(OSError):  # cut already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._open.clear()

    def mend(self):
        self._listener = self._listen(self.port)


def _pass_on(source, sink):
    with contextlib.suppress(OSError):  # cut: what this network is for
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def eventually(check):
    """Wait until it is true."""
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def network(there):
    network = Network(there.address)
    yield network
    network.cut()


@pytest.fixture
def here(serve):
    return serve(RS_REPLICATION_TIMEOUT="1", RS_INSTANCE_NAME="here")


@pytest.fixture
def there(reduct):
    return reduct


def records(api, bucket, entry="e"):
    """time -> (content, labels)"""
    id = api("POST", f"/b/{bucket}/{entry}/q", {"query_type": "QUERY"})
    if id.status != 200:
        return {}
    found = {}
    while (answer := api("GET", f"/b/{bucket}/{entry}", q=id.json["id"])).status == 200:
        found[int(answer["x-reduct-time"])] = (answer.body, answer.named("x-reduct-label-"))
    return found


def pending(api, name):
    return api("GET", f"/replications/{name}").json["info"]["pending_records"]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_nothing_is_lost_when_the_network_fails(here, there, network, http_to, compression):
    source, target = http_to(here), http_to(there)
    bucket = f"cut-{compression}"
    assert source("POST", f"/b/{bucket}").status == 200
    settings = {"src_bucket": bucket, "dst_bucket": bucket, "dst_host": network.url, "compression": compression}
    assert source("POST", f"/replications/{bucket}", settings).status == 200
    for i in range(40):
        source.write(bucket, "e", i, b"%d" % i, n=i)
    eventually(lambda: len(records(target, bucket)) == 40)
    network.cut()
    for i in range(40, 200):
        source.write(bucket, "e", i, b"%d" % i, n=i)
    big = bytes(range(256)) * 40_000
    source.write(bucket, "e", 1000, big)
    source("PATCH", f"/b/{bucket}/e", headers={"x-reduct-label-n": "", "x-reduct-label-m": "1"}, ts=3)
    info = lambda: source("GET", f"/replications/{bucket}").json["info"]  # noqa: E731
    eventually(lambda: not info()["is_active"])
    eventually(lambda: info()["pending_records"] == 162)
    network.mend()
    eventually(lambda: pending(source, bucket) == 0)
    assert records(target, bucket) == records(source, bucket)
    assert records(target, bucket)[3] == (b"3", {"m": "1"})
    assert info()["is_active"]
    assert source("DELETE", f"/replications/{bucket}").status == 200


def test_a_server_that_others_reach_sends_to_its_own_machine_where_a_setting_says_so(serve, there, http_to):
    everywhere = {"LAMINA_HOST": "0.0.0.0", "LAMINA_NO_AUTH": "true", "RS_REPLICATION_TIMEOUT": "1"}
    server = serve(**everywhere)
    source, target = http_to(server), http_to(there)
    source("POST", "/b/open")
    source("POST", "/replications/r", {"src_bucket": "open", "dst_bucket": "open", "dst_host": there.url})
    source("POST", "/b/open/e", b"x", ts=1)
    eventually(lambda: b"is not allowed" in source("GET", "/replications/r").body)
    server.stop()
    server = serve(folder=server.folder, RS_REPLICATION_ALLOW_LOOPBACK="true", **everywhere)
    eventually(lambda: records(target, "open") == {1: (b"x", {})})


def test_two_servers_settle(here, there, http_to):
    one, two = http_to(here), http_to(there)
    for api, other in ((one, there), (two, here)):
        assert api("POST", "/b/both").status == 200
        settings = {"src_bucket": "both", "dst_bucket": "both", "dst_host": other.url}
        assert api("POST", "/replications/both", settings).status == 200
    one.write("both", "e", 1, b"one", a=1)
    two.write("both", "e", 2, b"two")
    eventually(lambda: len(records(one, "both")) == len(records(two, "both")) == 2)
    two("PATCH", "/b/both/e", headers={"x-reduct-label-a": "2"}, ts=1)
    eventually(lambda: records(one, "both")[1] == (b"one", {"a": "2"}))
    eventually(lambda: pending(one, "both") == pending(two, "both") == 0)
    assert records(one, "both") == records(two, "both")


def test_what_waits_is_sent_after_a_restart(serve, there, network, http_to):
    server = serve(RS_REPLICATION_TIMEOUT="1")
    source, target = http_to(server), http_to(there)
    assert source("POST", "/b/again").status == 200
    network.cut()
    settings = {"src_bucket": "again", "dst_bucket": "again", "dst_host": network.url}
    assert source("POST", "/replications/again", settings).status == 200
    for i in range(10):
        source.write("again", "e", i, b"x")
    server.process.kill()
    server.process.wait()
    network.mend()
    source = http_to(serve(folder=server.folder, RS_REPLICATION_TIMEOUT="1"))
    eventually(lambda: pending(source, "again") == 0)
    assert records(target, "again") == records(source, "again")
    assert len(records(target, "again")) == 10


def test_calls_and_usage_show_in_the_system_bucket(here, http_to):
    api = http_to(here)
    assert api("GET", "/b/nowhere").status == 404
    asked = time.monotonic()
    audit = "audit/here/AUTHENTICATION-DISABLED"

    def told():
        return any(labels["status"] == "404" for _, labels in records(api, "$system", audit).values())

    eventually(told)
    assert time.monotonic() - asked < 6

"""The HTTP application, called as an ASGI application."""

import asyncio
import json

import pytest

from lamina.errors import PermissionDenied
from lamina.observe import Registry
from lamina.server.http import App
from lamina.time import SystemClock


class FakeDatabase:
    def __init__(self, poisoned=None, degraded=()):
        self.poisoned = poisoned
        self.degraded = degraded

    def stats(self):
        return {"streams": 3, "points_inserted": 12, "tail_bytes": 0}


def authenticate(header, address):
    if header.partition(" ")[2] != "right":
        raise PermissionDenied("no token has this value")


def app(db=None, authenticate=None, guarded=False):
    application = App(Registry(), SystemClock())
    if db is not None:
        application.open_with(db, authenticate, guarded=guarded)
    return application


def call(application, method, path, *headers, host="localhost:8383", peer=None):
    """(status, headers, body)"""
    sent = []
    raw = [(name.encode(), value.encode()) for name, value in headers]
    if host is not None:
        raw.append((b"host", host.encode()))
    scope = {"type": "http", "method": method, "path": path, "http_version": "1.1", "headers": raw}
    scope["client"] = (peer, 4000) if peer is not None else None

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, sent[1]["body"]


@pytest.mark.parametrize(
    ("db", "status", "reason"),
    [
        (None, 503, "starting up"),
        (FakeDatabase(), 200, ""),
        (FakeDatabase(degraded=["a gap"]), 200, ""),
        (FakeDatabase(poisoned=OSError(5, "Input/output error", "/secret/path")), 503, "EIO"),
    ],
)
def test_ready_says_whether_and_why_not(db, status, reason):
    answer = call(app(db), "GET", "/ready")
    assert answer[0] == status
    if reason:
        assert reason in json.loads(answer[2])["detail"]
        assert reason in answer[1]["x-reduct-error"]
        assert "/secret" not in answer[2].decode()


@pytest.mark.parametrize("db", [None, FakeDatabase(), FakeDatabase(poisoned=OSError(5, "x"))])
def test_alive_answers_in_every_state_with_an_empty_body(db):
    assert call(app(db), "GET", "/alive") == (200, {"content-length": "0"}, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/alive/", 404),
        ("HEAD", "/nothing", 404),
        ("POST", "/nothing", 405),
        ("POST", "/alive", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_other_paths_and_methods(method, path, status):
    answer = call(app(FakeDatabase()), method, path)
    assert answer[0] == status
    assert answer[1].get("allow") == ("GET, HEAD" if status == 405 else None)


def test_head_has_the_headers_of_get_and_no_body():
    for path in ("/alive", "/ready", "/nothing"):
        get, head = (call(app(), method, path) for method in ("GET", "HEAD"))
        assert head == (get[0], get[1], b"")


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost", None, 200),
        ("LOCALHOST:8383", None, 200),
        ("127.0.0.1:8383", None, 200),
        ("127.1.2.3", None, 200),
        ("[::1]:8383", None, 200),
        ("[::1]", None, 200),
        ("localhost:8383", "http://localhost:3000", 200),
        ("localhost:8383", "https://127.0.0.1", 200),
        ("localhost:8383", "http://[::1]:1", 200),
        ("evil.example", None, 403),
        ("localhost.evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("evil.example:127.0.0.1", None, 403),
        ("user@localhost", None, 403),
        ("10.0.0.1", None, 403),
        ("0.0.0.0", None, 403),
        ("::1", None, 403),
        ("", None, 403),
        ("localhost:8383", "http://evil.example", 403),
        ("localhost:8383", "null", 403),
        ("localhost:8383", "", 403),
        ("localhost:8383", "http://localhost.evil.example", 403),
        ("localhost:8383", "http://localhost@evil.example", 403),
        ("localhost:8383", "file://localhost", 403),
        ("localhost:8383", "http://[", 403),
        (None, None, 400),
    ],
)
def test_without_authentication_only_local_hosts_and_origins_are_answered(host, origin, status):
    guarded = app(FakeDatabase(), guarded=True)
    headers = [] if origin is None else [("origin", origin)]
    for path in ("/alive", "/metrics"):
        assert call(guarded, "GET", path, *headers, host=host)[0] == status


def test_an_open_server_does_not_look_at_hosts_and_origins():
    headers = [("origin", "http://a.example")]
    assert call(app(FakeDatabase()), "GET", "/alive", *headers, host="b.example")[0] == 200


def test_two_hosts_are_refused():
    assert call(app(FakeDatabase()), "GET", "/alive", ("host", "localhost"))[0] == 400


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer right", 200),
        ("bearer right", 200),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("Basic right", 401),
        (None, 401),
    ],
)
def test_metrics_need_a_valid_token_when_authentication_is_on(authorization, status):
    headers = [] if authorization is None else [("authorization", authorization)]
    answer = call(app(FakeDatabase(), authenticate), "GET", "/metrics", *headers)
    assert answer[0] == status
    assert (b"lamina_streams" in answer[2]) is (status == 200)


def test_alive_and_ready_need_no_token():
    for path in ("/alive", "/ready"):
        assert call(app(FakeDatabase(), authenticate), "GET", path)[0] == 200


def test_metrics_are_prometheus_text_with_figures_of_database_server_and_process():
    from prometheus_client.parser import text_string_to_metric_families

    application = app(FakeDatabase())
    call(application, "GET", "/alive")
    call(application, "GET", "/alive")
    status, headers, body = call(application, "GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert samples["lamina_streams",] == 3
    assert samples["lamina_points_inserted_total",] == 12
    assert samples["lamina_state", "ready"] == 1
    assert samples["lamina_state", "poisoned"] == 0
    assert samples["lamina_http_requests_total", "/alive", "200"] == 2
    assert samples["lamina_http_request_seconds_count", "/alive"] == 2
    assert samples["process_resident_memory_bytes",] > 0


def test_metrics_are_shown_to_a_token_that_is_bound_to_the_clients_address():
    seen = []

    def bound(header, address):
        seen.append(address)
        if address != "10.0.0.7":
            raise PermissionDenied("no token has this value")

    token = ("authorization", "Bearer right")
    assert call(app(FakeDatabase(), bound), "GET", "/metrics", token, peer="10.0.0.7")[0] == 200
    assert call(app(FakeDatabase(), bound), "GET", "/metrics", token, peer="10.0.0.8")[0] == 401
    assert seen == ["10.0.0.7", "10.0.0.8"]

"""Where requests may make this server connect to: replication targets, which anybody with full access writes down."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lamina.errors import InvalidArgument
from lamina.faces.reduct.client import SenderConfig, sender_factory
from lamina.jobs.replication_settings import ReplicationSettings
from lamina.jobs.sender import Destination, Sender, Unreachable

FORBIDDEN = (
    "169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "224.0.0.1", "ff02::1",
)  # fmt: skip
"""Never, whatever is configured."""

NEAR = ("127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1")
"""Only where the server itself listens on loopback."""

SPELLINGS = ("http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://169.254.43518/")
"""169.254.169.254, as some resolvers read it."""


def sender(host: str, **options: Any) -> Sender:
    return sender_factory(SenderConfig(timeout_s=0.5, **options))(Destination(host, "dst", "secret", "none"))


@pytest.fixture
def dialled(monkeypatch) -> list[Any]:
    """Addresses that were connected to; nothing is connected."""
    found: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> socket.socket:
        found.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket, "create_connection", connect)
    return found


def resolving(monkeypatch, *answers: str) -> list[str]:
    """Names resolve to these, one answer a call, the last one for ever; the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("address", FORBIDDEN)
@pytest.mark.parametrize("loopback", [False, True])
def test_secrets_of_the_machine_are_out_of_reach(dialled, monkeypatch, address, loopback):
    resolving(monkeypatch, address)
    for host in ("http://innocent.example/", "https://innocent.example:8443/base"):
        with pytest.raises(Unreachable, match="not allowed"):
            sender(host, allow_loopback=loopback).reach()
    assert dialled == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_an_address_are_the_address(dialled, spelling):
    with pytest.raises(Unreachable):
        sender(spelling).reach()
    assert not [address for address in dialled if address[0].startswith("169.254.")]


@pytest.mark.parametrize("address", NEAR)
def test_this_machine_is_out_of_reach_for_a_server_that_others_reach(dialled, monkeypatch, address):
    resolving(monkeypatch, address)
    with pytest.raises(Unreachable, match="not allowed"):
        sender("http://innocent.example/").reach()
    assert dialled == []
    with pytest.raises(Unreachable, match="nobody there"):
        sender("http://innocent.example/", allow_loopback=True).reach()
    assert [found[0] for found in dialled] == [address]


def test_the_address_that_was_looked_at_is_the_one_that_is_used(dialled, monkeypatch):
    """A name that changes its mind between the look and the connection is not asked twice."""
    asked = resolving(monkeypatch, "93.184.216.34", "169.254.169.254")
    one = sender("http://rebinding.example/")
    with pytest.raises(Unreachable, match="nobody there"):
        one.reach()
    assert (asked, [address[0] for address in dialled]) == (["rebinding.example"], ["93.184.216.34"])
    with pytest.raises(Unreachable, match="not allowed"):
        one.reach()
    assert len(dialled) == 1


class _Redirecting(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]]
    to: str

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("authorization", "")))
        self.send_response(302)
        self.send_header("location", self.to)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def redirecting() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Redirecting,), {"seen": [], "to": ""}))
    handler: Any = server.RequestHandlerClass
    handler.to = f"http://127.0.0.1:{server.server_address[1]}/elsewhere"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_answers_that_point_elsewhere_are_not_followed(redirecting):
    one = sender(f"http://127.0.0.1:{redirecting.server_address[1]}", allow_loopback=True)
    one.prepare()
    one.close()
    assert [path for path, _ in redirecting.RequestHandlerClass.seen] == ["/api/v1/b/dst"]


@pytest.mark.parametrize("token", ["a\r\nx-injected: 1", "a\nb", "a\0b", "ä€"])
def test_a_token_that_no_header_takes_is_told_without_the_token(redirecting, token):
    host = f"http://127.0.0.1:{redirecting.server_address[1]}"
    one = sender_factory(SenderConfig(timeout_s=0.5, allow_loopback=True))(Destination(host, "dst", token, "none"))
    with pytest.raises(Unreachable) as refused:
        one.reach()
    one.close()
    assert token not in str(refused.value)
    assert repr(token)[1:-1] not in str(refused.value)
    assert redirecting.RequestHandlerClass.seen == []


ODD_HOSTS = (
    "http://h x/", "http://h%20x/", "http://ä/", f"http://{'a' * 300}/", "http://a..b/", "http://h/€", "http://.../",
    "http://h:0/", "http://h\u3002x/", "http://\u2100/", "http://u:p@h/", "http://[fe80::1%eth0]/", "http://\x7f/",
    "http://h/%0d%0a", "http://h?x", "http:///x", "file:///etc/passwd", "gopher://h/", "http://[::1", "http://h:x/",
)  # fmt: skip


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_is_refused_or_out_of_reach_and_nothing_worse(dialled, monkeypatch, host):
    resolving(monkeypatch, "169.254.169.254")
    given = {"src_bucket": "b", "dst_bucket": "d", "dst_host": host}
    try:
        ReplicationSettings.of(given, "id").check("r", 8383, lambda _: True)
    except InvalidArgument:
        return
    with pytest.raises(Unreachable):
        sender(host).reach()
    assert dialled == []

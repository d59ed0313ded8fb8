"""Whose request it is."""

import pytest

from lamina.server.clientip import client_ip

LOCAL = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("192.168.1.1", True),
        ("169.254.1.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("::ffff:10.0.0.1", True),
        ("172.32.0.1", False),
        ("8.8.8.8", False),
        ("100.64.0.1", False),
        ("2001:db8::1", False),
        ("::ffff:8.8.8.8", False),
        ("", False),
    ],
)
def test_only_local_peers_speak_for_others(peer, believed):
    fields = {b"x-forwarded-for": b"1.2.3.4", b"forwarded": b"for=1.2.3.4"}
    assert client_ip(peer, fields) == ("1.2.3.4" if believed else peer)


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=1.2.3.4", "1.2.3.4"),
        ("For=1.2.3.4;proto=http;by=9.9.9.9", "1.2.3.4"),
        ("by=9.9.9.9; for=1.2.3.4:8080", "1.2.3.4"),
        ('for="[2001:db8::1]:80"', "2001:db8::1"),
        ('for="[2001:db8::1]"', "2001:db8::1"),
        ("for=2001:db8::1", "2001:db8::1"),
        ("for=unknown, for=_hidden, for=1.2.3.4, for=5.6.7.8", "1.2.3.4"),
        ("for=unknown", LOCAL),
        ("", LOCAL),
        ("for", LOCAL),
        ("for=999.1.1.1", LOCAL),
    ],
)
def test_the_first_address_that_parses_of_forwarded(forwarded, expected):
    assert client_ip(LOCAL, {b"forwarded": forwarded.encode()}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4 , 5.6.7.8", "1.2.3.4"),
        ("1.2.3.4:5", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("unknown, 5.6.7.8", LOCAL),
        ("", LOCAL),
    ],
)
def test_else_the_first_item_of_x_forwarded_for(value, expected):
    assert client_ip(LOCAL, {b"x-forwarded-for": value.encode()}) == expected


def test_forwarded_wins():
    fields = {b"forwarded": b"for=1.1.1.1", b"x-forwarded-for": b"2.2.2.2"}
    assert client_ip(LOCAL, fields) == "1.1.1.1"
    assert client_ip(LOCAL, fields | {b"forwarded": b"for=unknown"}) == "2.2.2.2"


def test_without_either_it_is_the_peer():
    assert client_ip(LOCAL, {}) == LOCAL

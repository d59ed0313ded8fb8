"""Which pages may read answers."""

import pytest

from lamina.server.cors import Cors


@pytest.mark.parametrize(
    ("text", "origin", "allowed"),
    [
        ("", b"https://a.example", False),
        ("*", b"https://a.example", True),
        ("*", b"null", True),
        ("https://a.example", b"https://a.example", True),
        (" https://a.example , https://b.example ", b"https://b.example", True),
        ("https://a.example", b"https://a.example.evil", False),
        ("https://a.example", b"http://a.example", False),
        ("https://a.example,", b"", False),
    ],
)
def test_origins(text, origin, allowed):
    headers = dict(Cors.parse(text).headers(origin))
    assert headers.get(b"access-control-allow-origin") == (origin if allowed else None)
    assert headers.get(b"access-control-expose-headers") == (b"*" if allowed else None)


def test_without_an_origin_there_is_nothing_to_say():
    assert Cors.parse("*").headers(None) == []


def test_nothing_configured_is_false():
    assert not Cors.parse(" , ")
    assert Cors.parse("*")

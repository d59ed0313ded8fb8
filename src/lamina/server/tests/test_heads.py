"""Heads of answers, and what may not be in them."""

import json

import pytest

from lamina.server import heads

OWN = [(b"server", b"S"), (b"x-reduct-api", b"1.21")]


def test_names_go_out_in_lower_case_and_the_servers_own_are_not_doubled():
    head = heads.encode(200, [(b"X-Reduct-Time", b"1"), (b"Server", b"mine"), (b"X-Reduct-Api", b"9")], OWN)
    assert head == b"HTTP/1.1 200 OK\r\nserver: S\r\nx-reduct-api: 1.21\r\nx-reduct-time: 1\r\n\r\n"


@pytest.mark.parametrize("status", [204, 299, 425, 507])
def test_every_status_has_a_line(status):
    assert heads.encode(status, [], []).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0b", b"a\x01", b"\x7f", b"\r\n", b"\n\n"])
def test_a_value_cannot_end_its_line(value):
    with pytest.raises(ValueError, match="x-label"):
        heads.encode(200, [(b"ok", b"1"), (b"x-label", value)], OWN)


@pytest.mark.parametrize("value", [b"", b"a\tb", b"caf\xc3\xa9", b"a: b, c"])
def test_other_values_go_out_as_they_are(value):
    assert b"x-label: " + value + b"\r\n" in heads.encode(200, [(b"x-label", value)], OWN)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa9", b"a\0", b"a(b"])
def test_a_name_is_a_token_each_time(name):
    for _ in range(2):
        with pytest.raises(ValueError, match="token"):
            heads.encode(200, [(name, b"1")], OWN)


def test_names_beyond_those_remembered_are_checked_all_the_same(monkeypatch):
    monkeypatch.setattr(heads, "_REMEMBERED", 0)
    assert b"x-never-seen: 1\r\n" in heads.encode(200, [(b"X-Never-Seen", b"1")], OWN)
    assert b"X-Never-Seen" not in heads._prefixes
    with pytest.raises(ValueError, match="token"):
        heads.encode(200, [(b"never seen", b"1")], OWN)


def test_a_refusal_is_an_error_of_the_contract():
    head, _, body = heads.refusal(400, 'a "b"', OWN).partition(b"\r\n\r\n")
    assert json.loads(body) == {"detail": "a 'b'"}
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 400 Bad Request"
    assert {
        b"server: S",
        b"x-reduct-api: 1.21",
        b'x-reduct-error: a "b"',
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
    } == set(lines[1:])


@pytest.mark.parametrize("message", ["é", "a\nb", "a\0"])
def test_a_message_that_no_header_can_carry_is_replaced(message):
    assert heads.error_value(message) == b"Unparsable message"
    assert json.loads(heads.error_body(message)) == {"detail": message}


def test_the_server_looks_like_the_one_that_clients_expect():
    assert dict(heads.OWN_HEADERS)["x-reduct-api"] == "1.21"
    assert dict(heads.OWN_HEADERS)["server"].startswith("ReductStore 1.21.0 (Lamina/")

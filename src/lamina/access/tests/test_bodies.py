"""Tokens on the wire: what is taken, what is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.access import DISABLED, Create, Permissions, TokenInfo, Tokens, issued_json, parse_create, token_json
from lamina.errors import InvalidArgument


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Create({"full_access": False, "read": [], "write": []}, None, None, [])),
        ({"full_access": True}, Create({"full_access": True, "read": [], "write": []}, None, None, [])),
        (
            {"read": ["a"], "write": None, "ip_allowlist": ["::1", "what"]},
            Create({"full_access": False, "read": ["a"], "write": []}, None, None, ["::1", "what"]),
        ),
        ({"permissions": {}}, Create({"full_access": False, "read": [], "write": []}, None, None, [])),
        (
            {
                "permissions": {"full_access": False, "read": ["*"], "write": ["a b"]},
                "expires_at": "2030-01-01T00:00:00.5Z",
                "ttl": 60,
                "ip_allowlist": [],
            },
            Create({"full_access": False, "read": ["*"], "write": ["a b"]}, 1_893_456_000_500_000_000, 60, []),
        ),
        (
            {"permissions": {"read": []}, "expires_at": None, "ttl": 0, "ip_allowlist": None},
            Create({"full_access": False, "read": [], "write": []}, None, 0, []),
        ),
    ],
)
def test_both_shapes_are_read(body, expected):
    assert parse_create(json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"\xff",
        b'{"a":' * 100_000,
        '{"read":["é"]}'.encode("utf-16"),
        b'{"read":["$\\ud800"]}',
        b'{"ip_allowlist":["\\ud800"]}',
        b'{"full_access":1}',
        b'{"full_access":null}',
        b'{"read":"a"}',
        b'{"read":[1]}',
        b'{"name":"x"}',
        b'{"ttl":60}',
        b'{"expires_at":"2030-01-01T00:00:00Z"}',
        b'{"permissions":null}',
        b'{"permissions":[]}',
        b'{"permissions":{},"read":[]}',
        b'{"permissions":{},"full_access":true}',
        b'{"permissions":{"ttl":1}}',
        b'{"permissions":{"read":{}}}',
        b'{"permissions":{},"ttl":-1}',
        b'{"permissions":{},"ttl":1.0}',
        b'{"permissions":{},"ttl":true}',
        b'{"permissions":{},"ttl":"60"}',
        b'{"permissions":{},"ttl":18446744073709551616}',
        b'{"permissions":{},"expires_at":7}',
        b'{"permissions":{},"expires_at":"tomorrow"}',
        b'{"permissions":{},"ip_allowlist":"::1"}',
        b'{"permissions":{},"ip_allowlist":[1]}',
    ],
)
def test_anything_else_is_an_invalid_body(body):
    with pytest.raises(InvalidArgument) as caught:
        parse_create(body)
    assert str(caught.value) == "Invalid body"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["permissions", "full_access", "read", "write", "ttl", "expires_at", "ip_allowlist", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@given(JSON)
def test_any_json_is_read_or_refused(value):
    try:
        found = parse_create(json.dumps(value).encode())
    except InvalidArgument:
        return
    assert found.permissions.keys() == {"full_access", "read", "write"}
    Permissions(**found.permissions)


def test_a_token_is_shown_with_the_members_of_the_contract():
    info = TokenInfo("ci", Permissions(False, ("a", "b*"), ()), 1_767_225_600_123_456, 0, False, 0, 0, (), False)
    bare = {
        "name": "ci",
        "value": "",
        "created_at": "2026-01-01T00:00:00.123456Z",
        "permissions": {"full_access": False, "read": ["a", "b*"], "write": []},
        "is_provisioned": False,
        "expires_at": None,
        "ttl": None,
        "last_access": None,
        "ip_allowlist": [],
        "is_expired": False,
    }
    assert token_json(info) == bare
    full = info._replace(
        provisioned=True,
        expires_us=1_767_225_600_000_000,
        ttl_s=60,
        last_access_us=1_767_225_601_000_000,
        ip_allowlist=("::1",),
        is_expired=True,
    )
    assert token_json(full) == bare | {
        "is_provisioned": True,
        "expires_at": "2026-01-01T00:00:00.000000Z",
        "ttl": 60,
        "last_access": "2026-01-01T00:00:01.000000Z",
        "ip_allowlist": ["::1"],
        "is_expired": True,
    }


def test_without_authentication_everybody_is_one_token():
    shown = token_json(DISABLED)
    assert shown["name"] == "AUTHENTICATION-DISABLED"
    assert shown["permissions"]["full_access"] is True
    assert shown["is_expired"] is False


def test_the_time_of_creation_is_one_text(db):
    tokens = Tokens(db)
    db.wall = 1_767_225_600_000_007
    answer = issued_json(tokens.issue("a", Permissions()))
    assert answer["created_at"] == token_json(tokens.get("a"))["created_at"] == "2026-01-01T00:00:00.000007Z"
    assert answer["value"].startswith("a-")
    assert answer.keys() == {"value", "created_at"}
    db.wall += 5
    assert issued_json(tokens.rotate("a"))["created_at"] == token_json(tokens.get("a"))["created_at"]
    assert token_json(tokens.get("a"))["created_at"] == "2026-01-01T00:00:00.000012Z"

"""Tokens over HTTP, and who may do what: every route against every kind of caller (contract 1.4, 13)."""

from __future__ import annotations

import json

import pytest

from lamina.faces.reduct.routes import ROUTES, Route
from lamina.faces.reduct.tests.asgi import Client

CALLERS = {
    "read here": {"read": ["here"]},
    "write here": {"write": ["here"]},
    "read elsewhere": {"read": ["other"]},
    "full": {"full_access": True},
}

ALLOWED = {
    "none": {"nobody", "wrong", *CALLERS},
    "any": set(CALLERS),
    "read": {"read here", "full"},
    "write": {"write here", "full"},
    "query": {"read here", "full"},  # of the body below
    "full": {"full"},
}


@pytest.fixture(scope="module")
def callers():
    client = Client(tokens=True)
    tokens = {name: client.tokens.create(name.replace(" ", "-"), permissions) for name, permissions in CALLERS.items()}
    yield client, tokens
    client.close()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
@pytest.mark.parametrize("caller", ["nobody", "wrong", *CALLERS])
def test_route_lets_in_who_may(callers, route: Route, caller: str):
    """Nothing exists that a request could name, so who is let in hears of that: rights are looked at first."""
    client, tokens = callers
    client.token = tokens.get(caller, "wrong-token" if caller == "wrong" else "")
    path = route.pattern
    for name, value in (("{bucket}", "here"), ("{entry*}", "e"), ("{file*}", "f"), ("{name}", "n")):
        path = path.replace(name, value)
    query = {"query_type": "QUERY"}
    link = {"bucket": "here", "query": query, "expire_at": 1, "record_entry": "e", "record_timestamp": 1}
    linking = route.method == "POST" and "/links/" in path
    right = "read" if linking else route.right
    body = link if linking else query if right == "query" else {}
    answer = client.request(route.method, path, json.dumps(body).encode())
    if client.db.buckets.find("here") is not None:
        client.db.buckets.remove("here")
    if caller in ALLOWED[right]:
        assert answer.status not in (401, 403)
    else:
        assert answer.status == (403 if caller in CALLERS else 401)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "No bearer token in request header"),
        ({"authorization": "Basic x"}, "No bearer token in request header"),
        ({"authorization": "Bearer"}, "No bearer token in request header"),
        ({"authorization": "Bearer "}, "Invalid token"),
        ({"authorization": "Bearer x"}, "Invalid token"),
    ],
)
def test_who_is_not_known_hears_why(callers, headers, message):
    client, _ = callers
    client.token = ""
    answer = client.get("/b/here", headers)
    assert (answer.status, answer.error) == (401, message)


def test_who_may_not_hears_what(callers):
    client, tokens = callers
    client.token = tokens["read elsewhere"]
    assert client.get("/b/here").error == "Token 'read-elsewhere' doesn't have read access to bucket 'here'"
    assert client.write("here/e", 1).error == "Token 'read-elsewhere' doesn't have write access to bucket 'here'"
    assert client.post("/b/here").error == "Token 'read-elsewhere' doesn't have full access"


def test_removal_by_query_needs_the_right_to_write(callers):
    client, tokens = callers
    removal = {"query_type": "REMOVE", "start": 0}
    for path in ("/b/here/e/q", "/io/here/q"):
        client.token = tokens["read here"]
        answer = client.post(path, removal)
        assert answer.error == "Token 'read-here' doesn't have write access to bucket 'here'"
        client.token = tokens["write here"]
        assert client.post(path, removal).status == 404
        answer = client.post(path, {"query_type": "QUERY"})
        assert answer.error == "Token 'write-here' doesn't have read access to bucket 'here'"


def test_unknown_paths_need_no_token(callers):
    client, _ = callers
    client.token = ""
    assert client.get("/nothing").error == "Not found"
    assert client.request("POST", "/info").status == 405


def test_list_shows_what_the_token_may_read(guarded):
    for name in ("cam-1", "cam-2", "x"):
        guarded.bucket(name)
    guarded.token = guarded.tokens.create("t", {"read": ["cam-*"], "write": ["x"]})
    assert [bucket["name"] for bucket in guarded.get("/list").json["buckets"]] == ["cam-1", "cam-2"]
    assert guarded.get("/info").json["bucket_count"] == 3
    assert guarded.head("/b/x").status == 200


def test_a_token_lives(guarded):
    created = guarded.post("/tokens/t", {"permissions": {"read": ["b"]}, "ttl": 60}).json
    shown = guarded.get("/tokens/t").json
    assert shown["created_at"] == created["created_at"]
    assert shown["permissions"] == {"full_access": False, "read": ["b"], "write": []}
    assert (shown["value"], shown["ttl"], shown["is_expired"]) == ("", 60, False)
    assert [token["name"] for token in guarded.get("/tokens").json["tokens"]] == ["admin", "t"]
    rotated = guarded.post("/tokens/t/rotate").json
    admin, guarded.token = guarded.token, created["value"]
    assert guarded.get("/me").error == "Invalid token"
    guarded.token = rotated["value"]
    assert guarded.get("/me").json["name"] == "t"
    guarded.token = admin
    assert guarded.delete("/tokens/t").status == 200
    assert guarded.get("/tokens/t").error == "Token 't' doesn't exist"


def test_tokens_that_cannot_be(guarded):
    assert guarded.post("/tokens/t", b"{").error == "Invalid body"
    assert guarded.post("/tokens/t", {"nonsense": 1}).error == "Invalid body"
    assert guarded.post("/tokens/admin", {}).error == "Token 'admin' already exists"
    assert guarded.post("/tokens/t", {"permissions": {}, "ttl": 0}).error == "Token TTL must be greater than zero"
    answer = guarded.delete("/tokens/admin")
    assert (answer.status, answer.error) == (
        409,
        "Can't remove token 'admin': at least one full-access token must remain",
    )


def test_permissions_follow_their_bucket(guarded):
    guarded.bucket("a")
    guarded.post("/tokens/t", {"read": ["a"], "write": ["a"]})
    guarded.put("/b/a/rename", {"new_name": "b"})
    assert guarded.get("/tokens/t").json["permissions"]["read"] == ["b"]
    guarded.delete("/b/b")
    assert guarded.get("/tokens/t").json["permissions"] == {"full_access": False, "read": [], "write": []}


def test_without_authentication_there_are_no_tokens(client):
    for header in ("", "Bearer ", "Bearer None", "Bearer undefined", "nonsense"):
        assert client.get("/list", {"authorization": header}).status == 200
    assert client.get("/tokens").json == {"tokens": []}
    me = client.get("/me").json
    assert (me["name"], me["permissions"]["full_access"]) == ("AUTHENTICATION-DISABLED", True)
    for answer in (client.post("/tokens/t", {}), client.get("/tokens/t"), client.post("/tokens/t/rotate")):
        assert (answer.status, answer.error) == (400, "Authentication is disabled")
    assert client.delete("/tokens/t").status == 200

"""Every route x every kind of caller, by sentences of the contract rather than by what the table of routes says.

A route that is new fails until it stands in NEEDS, and until RECIPES can make a request of it that succeeds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from lamina.faces.reduct.routes import ROUTES
from lamina.jobs import Jobs, JobsConfig
from tests.fuzz.conformance import nobody
from tests.security.grounds import HERE, RIGHTS, STRANGERS, Grounds

NOBODY, ANY, READ, WRITE, FULL = "nobody", "any", "read", "write", "full"

ENTRY, IO, BUCKET = "/b/{bucket}/{entry*}", "/io/{bucket}", "/b/{bucket}"

NEEDS: dict[str, str] = {
    # contract 1.4, 3
    **dict.fromkeys(("GET /alive", "HEAD /alive", "GET /ready", "HEAD /ready"), NOBODY),
    **dict.fromkeys(("GET /links/{file*}", "HEAD /links/{file*}"), NOBODY),
    **dict.fromkeys(("GET /info", "GET /list", "GET /me", "GET /openapi.json", f"HEAD {BUCKET}"), ANY),
    # 4
    **dict.fromkeys((f"POST {BUCKET}", f"PUT {BUCKET}", f"DELETE {BUCKET}", f"PUT {BUCKET}/rename"), FULL),
    f"GET {BUCKET}": READ,
    # 5 to 9
    **{f"{method} {ENTRY}{end}": READ for method in ("GET", "HEAD") for end in ("", "/batch")},
    **{f"{method} {ENTRY}{end}": WRITE for method in ("POST", "PATCH", "DELETE") for end in ("", "/batch")},
    f"PUT {ENTRY}/rename": WRITE,
    f"GET {ENTRY}/q": READ,
    f"DELETE {ENTRY}/q": WRITE,
    **dict.fromkeys((f"POST {IO}/write", f"PATCH {IO}/update", f"DELETE {IO}/remove"), WRITE),
    **dict.fromkeys((f"GET {IO}/read", f"HEAD {IO}/read"), READ),
    # what a query needs stands in its body
    **{f"POST {place}/q QUERY": READ for place in (ENTRY, IO)},
    **{f"POST {place}/q REMOVE": WRITE for place in (ENTRY, IO)},
    "POST /links/{file*}": READ,
    # 13 to 15
    **dict.fromkeys(("GET /tokens", "POST /tokens/{name}/rotate"), FULL),
    **{f"{method} /tokens/{{name}}": FULL for method in ("GET", "POST", "DELETE")},
    **{f"{method} /{kind}/{{name}}": FULL for kind in ("replications", "lifecycles")
       for method in ("GET", "POST", "PUT", "DELETE")},
    **{f"GET /{kind}": FULL for kind in ("replications", "lifecycles")},
    **{f"PATCH /{kind}/{{name}}/mode": FULL for kind in ("replications", "lifecycles")},
}  # fmt: skip

MAY = {
    "reader elsewhere": {NOBODY, ANY},
    "reader": {NOBODY, ANY, READ},
    "writer": {NOBODY, ANY, WRITE},
    "full": {NOBODY, ANY, READ, WRITE, FULL},
}
assert MAY.keys() == RIGHTS.keys()


class Request(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


def _json(**members: Any) -> bytes:
    return json.dumps(members).encode()


V2 = {"x-reduct-entries": "e", "x-reduct-start-ts": "7", "x-reduct-0-0": "0,"}
OLD = {**V2, "x-reduct-start-ts": "1"}
LINK = {"bucket": HERE, "entry": "e", "query": {"query_type": "QUERY"}, "expire_at": 1 << 40,
        "record_entry": "e", "record_timestamp": 1}  # fmt: skip

Recipe = Callable[[Grounds], Request]


def _opened(grounds: Grounds, path: str) -> int:
    answer = grounds.ask("full", "POST", path, _json(query_type="QUERY"))
    return answer.json["id"]


def _followed(grounds: Grounds, method: str) -> Request:
    url = grounds.ask("full", "POST", "/links/f", json.dumps(LINK).encode()).json["link"]
    return Request(method, url.partition("/api/v1")[2])


RECIPES: dict[str, Recipe] = {
    "POST /b/{bucket}": lambda g: Request("POST", "/b/fresh"),
    "PUT /b/{bucket}": lambda g: Request("PUT", f"/b/{HERE}", _json(quota_size=9)),
    "PUT /b/{bucket}/rename": lambda g: Request("PUT", f"/b/{HERE}/rename", _json(new_name="fresh")),
    f"PUT {ENTRY}/rename": lambda g: Request("PUT", f"/b/{HERE}/e/rename", _json(new_name="f")),
    f"POST {ENTRY}/batch": lambda g: Request("POST", f"/b/{HERE}/e/batch", b"xy", {"x-reduct-time-7": "2,"}),
    f"PATCH {ENTRY}/batch": lambda g: Request("PATCH", f"/b/{HERE}/e/batch", b"", {"x-reduct-time-1": "0,,a=b"}),
    f"DELETE {ENTRY}/batch": lambda g: Request("DELETE", f"/b/{HERE}/e/batch", b"", {"x-reduct-time-1": ""}),
    f"GET {ENTRY}/batch": lambda g: Request("GET", f"/b/{HERE}/e/batch?q={_opened(g, f'/b/{HERE}/e/q')}"),
    f"HEAD {ENTRY}/batch": lambda g: Request("HEAD", f"/b/{HERE}/e/batch?q={_opened(g, f'/b/{HERE}/e/q')}"),
    f"POST {ENTRY}/q QUERY": lambda g: Request("POST", f"/b/{HERE}/e/q", _json(query_type="QUERY")),
    f"POST {ENTRY}/q REMOVE": lambda g: Request("POST", f"/b/{HERE}/e/q", _json(query_type="REMOVE", start=0)),
    f"DELETE {ENTRY}/q": lambda g: Request("DELETE", f"/b/{HERE}/e/q?start=0"),
    f"POST {ENTRY}": lambda g: Request("POST", f"/b/{HERE}/e?ts=7", b"xy"),
    f"PATCH {ENTRY}": lambda g: Request("PATCH", f"/b/{HERE}/e?ts=1", b"", {"x-reduct-label-a": "b"}),
    f"POST {IO}/write": lambda g: Request("POST", f"/io/{HERE}/write", b"", {**V2, "content-length": "0"}),
    f"PATCH {IO}/update": lambda g: Request("PATCH", f"/io/{HERE}/update", b"", {**OLD, "x-reduct-0-0": "0,,a=b"}),
    f"DELETE {IO}/remove": lambda g: Request("DELETE", f"/io/{HERE}/remove", b"", OLD),
    f"POST {IO}/q QUERY": lambda g: Request("POST", f"/io/{HERE}/q", _json(query_type="QUERY")),
    f"POST {IO}/q REMOVE": lambda g: Request("POST", f"/io/{HERE}/q", _json(query_type="REMOVE", start=0)),
    **{f"{method} {IO}/read": lambda g, method=method: Request(
        method, f"/io/{HERE}/read", b"", {"x-reduct-query-id": str(_opened(g, f"/io/{HERE}/q"))}
    ) for method in ("GET", "HEAD")},
    "POST /links/{file*}": lambda g: Request("POST", "/links/f", json.dumps(LINK).encode()),
    **{f"{method} /links/{{file*}}": lambda g, method=method: _followed(g, method) for method in ("GET", "HEAD")},
    "POST /tokens/{name}": lambda g: Request("POST", "/tokens/fresh", _json(permissions={})),
    **{f"POST /{kind}/{{name}}": lambda g, kind=kind: Request("POST", f"/{kind}/fresh", _json(mode="enabled"))
       for kind in ("replications", "lifecycles")},
    **{f"PUT /{kind}/{{name}}": lambda g, kind=kind: Request("PUT", f"/{kind}/it", _json(mode="disabled"))
       for kind in ("replications", "lifecycles")},
    **{f"PATCH /{kind}/{{name}}/mode": lambda g, kind=kind: Request(
        "PATCH", f"/{kind}/it/mode", _json(mode="disabled")
    ) for kind in ("replications", "lifecycles")},
}  # fmt: skip
"""Requests that succeed for who may make them; the others need no more than their path."""


def request_of(key: str, grounds: Grounds) -> Request:
    recipe = RECIPES.get(key)
    if recipe is not None:
        return recipe(grounds)
    method, _, path = key.partition(" ")
    for name, value in (("{bucket}", HERE), ("{entry*}", "e"), ("{name}", "it")):
        path = path.replace(name, value)
    return Request(method, path)


def furnish(grounds: Grounds) -> None:
    """The same small world before every request."""
    for bucket in list(grounds.db.buckets.list()):
        grounds.db.buckets.remove(bucket.name)
    bucket = grounds.db.buckets.create(HERE, {})
    bucket.entry("e").write(b"x", 1)
    tokens = grounds.tokens
    assert tokens is not None
    for name in {info.name for info in tokens.list()} & {"it", "fresh"}:
        tokens.remove(name)
    tokens.create("it", {})
    for jobs in (grounds.replications, grounds.lifecycles):
        jobs.settings = {"it": {"mode": "enabled"}}


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    grounds = Grounds()
    yield grounds
    grounds.close()


@pytest.fixture
def own() -> Iterator[Grounds]:
    """For what the next test must not find."""
    grounds = Grounds()
    yield grounds
    grounds.close()


def test_every_route_stands_in_the_table_with_the_right_it_declares():
    declared = {f"{route.method} {route.pattern}": route.right for route in ROUTES}
    bodies = {"POST /links/{file*}"}
    for key, right in declared.items():
        if right == "query":
            assert {NEEDS[f"{key} QUERY"], NEEDS[f"{key} REMOVE"]} == {READ, WRITE}
        elif key not in bodies:
            assert {"none": NOBODY}.get(right, right) == NEEDS[key], key
    known = {key.removesuffix(" QUERY").removesuffix(" REMOVE") for key in NEEDS}
    assert known == declared.keys()


@pytest.mark.parametrize("key", NEEDS)
def test_every_route_does_what_the_token_allows_and_nothing_else(grounds, key, caplog):
    caplog.set_level(logging.DEBUG, logger="lamina")
    need, told = NEEDS[key], []
    for who in (*STRANGERS, *MAY):
        furnish(grounds)
        request = request_of(key, grounds)
        before = grounds.content()
        answer = grounds.ask(who, *request)
        told.append(str(answer))
        allowed = need in MAY.get(who, {NOBODY})
        if allowed:
            assert answer.status == 200, f"{who}: {answer}"
        else:
            assert answer.status == (403 if who in MAY else 401), f"{who}: {answer}"
            assert grounds.content() == before, f"{who}: the refused call changed something"
            assert answer.headers["x-reduct-error"]
            assert request.method == "HEAD" or answer.json["detail"]
            assert ("www-authenticate" in answer.headers) == (answer.status == 401)
    for secret in grounds.secrets:
        assert not any(secret in text for text in told)
        assert secret not in caplog.text


def test_head_is_what_get_is(grounds):
    """Every GET route answers HEAD, and lets in the same callers."""
    for route in ROUTES:
        if route.method != "GET":
            continue
        key = f"GET {route.pattern}"
        for who in ("nobody", "unknown", "reader elsewhere", "writer", "full"):
            furnish(grounds)
            got = grounds.ask(who, *request_of(key, grounds))
            need = NEEDS.get(f"HEAD {route.pattern}", NEEDS[key])
            headed = grounds.ask(who, *request_of(key, grounds)._replace(method="HEAD"))
            if need == NEEDS[key]:
                assert headed.status == got.status, (key, who)
            assert headed.body == b""


def test_the_servers_own_paths(grounds):
    for who in (*STRANGERS, *MAY):
        for path in ("/alive", "/ready"):
            assert grounds.ask(who, "GET", path, api=False).status == 200
        assert grounds.ask(who, "GET", "/metrics", api=False).status == (200 if who in MAY else 401), who
        assert grounds.ask(who, "GET", "/api/v1/nothing", api=False).status == 404
        assert grounds.ask(who, "POST", "/api/v1/nothing", api=False).status == 405


def test_methods_that_a_route_does_not_have_change_nothing(grounds):
    furnish(grounds)
    before = grounds.content()
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"}
    for pattern in sorted({route.pattern for route in ROUTES}):
        having = {route.method for route in ROUTES if route.pattern == pattern}
        for method in sorted(methods - having - ({"HEAD"} if "GET" in having else set())):
            path = request_of(f"{method} {pattern}", grounds).path
            answer = grounds.ask("nobody", method, path.replace("{file*}", "f"))
            assert answer.status in (401, 405), (method, pattern)
    assert grounds.content() == before


@pytest.mark.parametrize("change", ["removed", "rotated", "expired", "idle", "bucket removed", "bucket renamed"])
def test_what_is_taken_away_is_gone_at_the_next_call(grounds, change):
    """Within a second is what is asked for."""
    furnish(grounds)
    tokens = grounds.tokens
    tokens.remove("it")
    expires = grounds.clock.wall_us() * 1000 + 10**9 if change == "expired" else None
    value = tokens.create("it", {"read": [HERE]}, expires, ttl_s=1 if change == "idle" else None)
    mine = {"authorization": f"Bearer {value}"}
    for _ in range(2):
        assert grounds.request("GET", f"/b/{HERE}/e", headers=mine).status == 200
    if change == "removed":
        grounds.ask("full", "DELETE", "/tokens/it")
    elif change == "rotated":
        grounds.ask("full", "POST", "/tokens/it/rotate")
    elif change in ("expired", "idle"):
        grounds.clock.advance(1.1)
    elif change == "bucket removed":
        grounds.ask("full", "DELETE", f"/b/{HERE}")
        grounds.ask("full", "POST", f"/b/{HERE}")
    else:
        grounds.ask("full", "PUT", f"/b/{HERE}/rename", _json(new_name="fresh"))
        assert grounds.request("GET", "/b/fresh/e", headers=mine).status == 200
        grounds.ask("full", "POST", f"/b/{HERE}")
    answer = grounds.request("GET", f"/b/{HERE}/e", headers=mine)
    assert answer.status == (403 if change.startswith("bucket") else 401)


def test_what_the_environment_provisioned_is_not_changed_by_requests(own):
    grounds: Grounds = own
    furnish(grounds)
    db, tokens = grounds.db, grounds.tokens
    db.buckets.update(db.buckets.get(HERE), {}, provisioned=True)
    tokens.remove("it")
    tokens.create("it", {}, value="a-chosen-value-of-some-length", provisioned=True)
    before = grounds.content()
    refused = [
        ("PUT", f"/b/{HERE}", _json(quota_size=1)),
        ("PUT", f"/b/{HERE}/rename", _json(new_name="fresh")),
        ("DELETE", f"/b/{HERE}", b""),
        ("POST", "/tokens/it/rotate", b""),
        ("DELETE", "/tokens/it", b""),
    ]
    for method, path, body in refused:
        assert grounds.ask("full", method, path, body).status == 409, path
    assert grounds.content() == before


FOREIGN = [
    {"host": "example.com"},
    {"host": "localhost.example.com"},
    {"host": "127.0.0.1.example.com:8383"},
    {"host": "localhost:8383@example.com"},
    {"host": "10.0.0.1"},
    {"host": "[::2]"},
    {"host": ""},
    {"origin": "http://example.com"},
    {"origin": "null"},
    {"origin": "http://localhost@example.com"},
    {"origin": "file://"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_without_authentication_no_route_answers_a_page_of_another_site(headers):
    """DNS rebinding and requests across sites: the loopback guard stands before every route."""
    grounds = Grounds(tokens=False, guarded=True)
    try:
        grounds.db.buckets.create(HERE, {}).entry("e").write(b"x", 1)
        before = grounds.content()
        for route in ROUTES:
            path = route.pattern
            for name, value in (("{bucket}", HERE), ("{entry*}", "e"), ("{name}", "it"), ("{file*}", "f")):
                path = path.replace(name, value)
            answer = grounds.request(route.method, path, b"", headers)
            assert answer.status == 403, (route.method, path)
        assert grounds.request("OPTIONS", "/list", b"", headers).status == 403
        assert grounds.content() == before
        near = {"host": "127.0.0.1:8383", "origin": "http://localhost:3000"}
        assert grounds.request("GET", "/list", b"", near).status == 200
    finally:
        grounds.close()


def test_jobs_that_the_environment_provisioned_are_not_changed_by_requests(own):
    """But for their mode, which is allowed (contract 14)."""
    grounds = own
    furnish(grounds)
    jobs = Jobs(grounds.db, JobsConfig(system_events=False), nobody)
    grounds.face.replications, grounds.face.lifecycles = jobs.replications, jobs.lifecycles
    try:
        replication = {"src_bucket": HERE, "dst_bucket": "d", "dst_host": "http://nowhere.example"}
        lifecycle = {"type": "delete", "bucket": HERE, "older_than": "2h"}
        jobs.provision([("it", replication)], [("it", lifecycle)])
        for kind, settings in (("replications", replication), ("lifecycles", lifecycle)):
            before = grounds.ask("full", "GET", f"/{kind}/it").json
            assert before["info"]["is_provisioned"]
            assert grounds.ask("full", "PUT", f"/{kind}/it", _json(**settings, entries=["x"])).status == 409
            assert grounds.ask("full", "DELETE", f"/{kind}/it").status == 409
            assert grounds.ask("full", "POST", f"/{kind}/it", _json(**settings)).status == 409
            assert grounds.ask("full", "GET", f"/{kind}/it").json == before
            assert grounds.ask("full", "PATCH", f"/{kind}/it/mode", _json(mode="disabled")).status == 200
    finally:
        jobs.close()

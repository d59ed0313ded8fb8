"""The API as an OpenAPI 3.1 document, made from the table of routes."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from lamina.faces.reduct.call import JSON_TYPE, Call
from lamina.faces.reduct.config import VERSION
from lamina.faces.reduct.schemas import ANSWERS, NAMES, REF, REQUESTS, TEXT, U64, components

if TYPE_CHECKING:
    from lamina.faces.reduct.routes import Route

JSON = "application/json"
BYTES = "*/*"

SUMMARIES: dict[str, str] = {
    "GET /info": "What the server is: version, sizes, times, defaults of buckets",
    "GET /list": "Buckets that the token may read, by name",
    "GET /alive": "Whether the process answers",
    "HEAD /alive": "Whether the process answers",
    "GET /ready": "Whether reading and writing work",
    "HEAD /ready": "Whether reading and writing work",
    "GET /me": "The caller's token",
    "GET /openapi.json": "This document",
    "POST /b/{bucket}": "Create a bucket; an empty body means the default settings",
    "GET /b/{bucket}": "A bucket's sizes and times, settings and entries",
    "HEAD /b/{bucket}": "Whether there is such a bucket",
    "PUT /b/{bucket}": "Change settings of a bucket; members that are not given stay",
    "DELETE /b/{bucket}": "Remove a bucket with all it holds",
    "PUT /b/{bucket}/rename": "Rename a bucket",
    "PUT /b/{bucket}/{entry*}/rename": "Rename an entry with everything below it",
    "POST /b/{bucket}/{entry*}/batch": "Write records, one x-reduct-time-<ts> header each (protocol v1)",
    "GET /b/{bucket}/{entry*}/batch": "The next records of a query (protocol v1)",
    "HEAD /b/{bucket}/{entry*}/batch": "The next records of a query without contents (protocol v1)",
    "PATCH /b/{bucket}/{entry*}/batch": "Change labels of records (protocol v1)",
    "DELETE /b/{bucket}/{entry*}/batch": "Remove records (protocol v1)",
    "POST /b/{bucket}/{entry*}/q": "Query records of an entry, or remove what a query selects",
    "GET /b/{bucket}/{entry*}/q": "Query records of an entry by time",
    "DELETE /b/{bucket}/{entry*}/q": "Remove records of an entry by time",
    "POST /b/{bucket}/{entry*}": "Write a record; its entry is made if it is missing",
    "GET /b/{bucket}/{entry*}": "A record by time, the next of a query, or the latest",
    "HEAD /b/{bucket}/{entry*}": "The same without content",
    "PATCH /b/{bucket}/{entry*}": "Change labels of a record by x-reduct-label-<name> headers",
    "DELETE /b/{bucket}/{entry*}": "Remove a record, or without parameters the entry with everything below it",
    "POST /io/{bucket}/write": "Write records of several entries (protocol v2)",
    "GET /io/{bucket}/read": "The next records of a query over several entries (protocol v2)",
    "HEAD /io/{bucket}/read": "The same without contents",
    "PATCH /io/{bucket}/update": "Change labels of records of several entries (protocol v2)",
    "DELETE /io/{bucket}/remove": "Remove records of several entries (protocol v2)",
    "POST /io/{bucket}/q": "Query records of several entries, or remove what a query selects",
    "POST /links/{file*}": "Make a link that leads to a record of a query's result without a token",
    "GET /links/{file*}": "The record of a link, or a range of it",
    "HEAD /links/{file*}": "The same without content",
    "GET /tokens": "All tokens by name",
    "POST /tokens/{name}": "Make a token; its value is shown here only",
    "GET /tokens/{name}": "A token without its value",
    "DELETE /tokens/{name}": "Revoke a token",
    "POST /tokens/{name}/rotate": "A new value for a token; the old one is dead at once",
    "GET /replications": "All replications by name",
    "POST /replications/{name}": "Create a replication",
    "GET /replications/{name}": "A replication with settings and diagnostics",
    "PUT /replications/{name}": "Replace all settings of a replication",
    "PATCH /replications/{name}/mode": "Enable, pause or disable a replication",
    "DELETE /replications/{name}": "Remove a replication",
    "GET /lifecycles": "All lifecycle policies by name",
    "POST /lifecycles/{name}": "Create a lifecycle policy",
    "GET /lifecycles/{name}": "A lifecycle policy with its settings",
    "PUT /lifecycles/{name}": "Replace all settings of a lifecycle policy",
    "PATCH /lifecycles/{name}/mode": "Enable, disable or dry-run a lifecycle policy",
    "DELETE /lifecycles/{name}": "Remove a lifecycle policy",
}


def _query(name: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _header(name: str, schema: dict[str, Any], required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema}


_TS = _query("ts", U64)
_SPAN = [_query("start", U64), _query("stop", U64)]
_BATCH2 = [_header("x-reduct-entries", TEXT, True), _header("x-reduct-start-ts", U64, True),
           _header("x-reduct-labels", TEXT)]  # fmt: skip
_OPENING = [*_SPAN, _query("ttl", U64), _query("continuous", {"type": "boolean"})]
_QUERY_ID = [_header("x-reduct-query-id", U64, True)]
_LINK = [_query(name, TEXT, True) for name in ("ct", "s", "i", "n")] + [_query("e", TEXT), _TS]

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "POST /b/{bucket}/{entry*}": [_query("ts", U64, True)],
    "GET /b/{bucket}/{entry*}": [_TS, _query("q", U64)],
    "HEAD /b/{bucket}/{entry*}": [_TS, _query("q", U64)],
    "PATCH /b/{bucket}/{entry*}": [_query("ts", U64, True)],
    "DELETE /b/{bucket}/{entry*}": [_TS],
    "GET /b/{bucket}/{entry*}/batch": [_query("q", U64, True)],
    "HEAD /b/{bucket}/{entry*}/batch": [_query("q", U64, True)],
    "GET /b/{bucket}/{entry*}/q": _OPENING,
    "DELETE /b/{bucket}/{entry*}/q": _SPAN,
    "POST /io/{bucket}/write": _BATCH2,
    "GET /io/{bucket}/read": _QUERY_ID,
    "HEAD /io/{bucket}/read": _QUERY_ID,
    "PATCH /io/{bucket}/update": _BATCH2,
    "DELETE /io/{bucket}/remove": _BATCH2,
    "GET /links/{file*}": _LINK,
    "HEAD /links/{file*}": _LINK,
}

CONTENTS = frozenset(
    ("POST /b/{bucket}/{entry*}", "POST /b/{bucket}/{entry*}/batch", "POST /io/{bucket}/write",
     "GET /b/{bucket}/{entry*}", "GET /b/{bucket}/{entry*}/batch", "GET /io/{bucket}/read", "GET /links/{file*}")
)  # fmt: skip
"""Routes that carry contents of records rather than JSON: writes take, reads give."""

WITHOUT_BODY = frozenset(("POST /tokens/{name}/rotate",))

_REFUSALS = {
    "none": (),
    "any": (401,),
    "read": (401, 403),
    "write": (401, 403),
    "query": (401, 403),
    "full": (401, 403),
}


def document() -> dict[str, Any]:
    """The whole document."""
    from lamina.faces.reduct.routes import ROUTES

    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        path = route.pattern.replace("*}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lamina: ReductStore HTTP API", "version": VERSION},
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    key = f"{route.method} {route.pattern}"
    places = [
        {"name": name, "in": "path", "required": True, "schema": NAMES[name]}
        for name in re.findall(r"{(\w+)\*?}", route.pattern)
    ]
    takes = route.method in ("POST", "PUT") or (route.method == "PATCH" and route.pattern.endswith("/mode"))
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub('[^a-z0-9]+', '_', route.pattern).strip('_')}",
        "summary": SUMMARIES[key],
        "x-right": route.right,
        "parameters": places + PARAMETERS.get(key, []),
        "responses": _answers(route, key),
        "security": [] if route.right == "none" else [{"token": []}],
    }
    if takes and key not in WITHOUT_BODY:
        content = {BYTES: {}} if key in CONTENTS else {JSON: {"schema": REQUESTS[key]}}
        operation["requestBody"] = {"content": content, "required": key in CONTENTS or key not in EMPTY_BODY}
    return operation


def _answers(route: Route, key: str) -> dict[str, Any]:
    """By status. Every answer of the API says which version it speaks, every refusal why."""
    head = route.method == "HEAD"
    done: dict[str, Any] = {"description": "done"}
    if key in ANSWERS:
        done["content"] = {JSON: {"schema": ANSWERS[key]}}
    elif key in CONTENTS and route.method == "GET":
        done["content"] = {BYTES: {}}
    answers = {"200": done | {"headers": _VERSION}}
    for status, keys in MORE.items():
        if key in keys:
            answers[status] = {"description": keys[key], "headers": _VERSION}
            if status == "206":
                answers[status]["content"] = {BYTES: {}}
    refused: dict[str, Any] = {"description": "refused", "headers": {**_VERSION, "x-reduct-error": _REASON}}
    if not head:
        refused["content"] = {JSON: {"schema": {"$ref": REF.format(name="Error")}}}
    statuses = {*_REFUSALS[route.right], 404, 422, 429, 503}
    if route.method in ("POST", "PUT", "PATCH", "DELETE"):
        statuses |= {400, 409, 415}
    if key in CONTENTS and route.method == "POST":
        statuses |= {500, 507}  # a FIFO quota that cannot be kept; a full disk
    answers |= {str(status): refused for status in sorted(statuses)}
    return answers


_VERSION = {"x-reduct-api": {"required": True, "schema": TEXT}}
_REASON = {"required": True, "schema": TEXT}

EMPTY_BODY = frozenset(("POST /b/{bucket}", "PUT /b/{bucket}"))
"""Where no body means the defaults, or no change."""

_READS = {f"{method} {path}": "there is nothing, or nothing more" for method in ("GET", "HEAD")
          for path in ("/b/{bucket}/{entry*}", "/b/{bucket}/{entry*}/batch", "/io/{bucket}/read")}  # fmt: skip
_LINKS = ("GET /links/{file*}", "HEAD /links/{file*}")

MORE: dict[str, dict[str, str]] = {
    "204": _READS,
    "206": dict.fromkeys(_LINKS, "the range that was asked for"),
    "416": dict.fromkeys(_LINKS, "the range lies outside of the content"),
}
"""Statuses of some routes, and what they say."""


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


async def serve(call: Call) -> None:
    await call.answer(200, [JSON_TYPE], _encoded())

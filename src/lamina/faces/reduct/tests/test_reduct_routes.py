"""The table of routes: what each path leads to, and that the published document says the same."""

from __future__ import annotations

import pytest

from lamina.faces.reduct.openapi import CONTENTS, PARAMETERS, SUMMARIES, WITHOUT_BODY, document
from lamina.faces.reduct.routes import NO_MATCH, ROUTES, Router

KEYS = {f"{route.method} {route.pattern}" for route in ROUTES}


def found(method: str, path: str, base: str = "/") -> tuple[str, tuple[str, ...]] | None:
    match = Router(base).match(path.encode(), method)
    route = match.routes.get(method)
    return None if route is None else (route.pattern, match.values)


@pytest.mark.parametrize(
    ("method", "path", "pattern", "values"),
    [
        ("GET", "/api/v1/info", "/info", ()),
        ("POST", "/api/v1/b/x", "/b/{bucket}", ("x",)),
        ("POST", "/api/v1/b/x/y", "/b/{bucket}/{entry*}", ("x", "y")),
        ("POST", "/api/v1/b/x/y/z", "/b/{bucket}/{entry*}", ("x", "y/z")),
        ("POST", "/api/v1/b/x/y%2Fz", "/b/{bucket}/{entry*}", ("x", "y/z")),
        ("GET", "/api/v1/b/x/y/$meta", "/b/{bucket}/{entry*}", ("x", "y/$meta")),
        ("POST", "/api/v1/b/x/y/batch", "/b/{bucket}/{entry*}/batch", ("x", "y")),
        ("POST", "/api/v1/b/x/y/z/q", "/b/{bucket}/{entry*}/q", ("x", "y/z")),
        ("PUT", "/api/v1/b/x/y/rename", "/b/{bucket}/{entry*}/rename", ("x", "y")),
        ("PUT", "/api/v1/b/x/rename", "/b/{bucket}/rename", ("x",)),
        ("GET", "/api/v1/b/x/rename", "/b/{bucket}/{entry*}", ("x", "rename")),
        ("GET", "/api/v1/b/x/batch", "/b/{bucket}/{entry*}", ("x", "batch")),
        ("GET", "/api/v1/io/x/read", "/io/{bucket}/read", ("x",)),
        ("GET", "/api/v1/links/a/b.png", "/links/{file*}", ("a/b.png",)),
        ("POST", "/api/v1/tokens/t/rotate", "/tokens/{name}/rotate", ("t",)),
        ("PATCH", "/api/v1/replications/r/mode", "/replications/{name}/mode", ("r",)),
        ("GET", "/api/v1/b/x%20y/%ff", "/b/{bucket}/{entry*}", ("x y", "�")),
    ],
)
def test_a_path_leads_to_its_route(method, path, pattern, values):
    assert found(method, path) == (pattern, values)


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/info/x", "/api/v1/b", "/api/v1/b//x",
     "/api/v1/io/x/y", "/api/v1/tokens/", "/api/v2/info", "/x/api/v1/info", "/api/v1/b/x/"],
)  # fmt: skip
def test_other_paths_lead_nowhere(path):
    assert Router("/").match(path.encode(), "GET") is NO_MATCH


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/list", {"GET"}),
        ("PUT", "/api/v1/b/x/y", {"POST", "GET", "HEAD", "PATCH", "DELETE"}),
        ("PUT", "/api/v1/b/x/y/batch", {"POST", "GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", "/api/v1/b/x/y/rename", {"PUT"}),
    ],
)
def test_a_known_path_knows_its_methods(method, path, allowed):
    match = Router("/").match(path.encode(), method)
    assert set(match.routes) == allowed


def test_the_api_lies_under_the_base_path():
    assert found("GET", "/lamina/api/v1/info", "/lamina/") == ("/info", ())
    assert found("GET", "/api/v1/info", "/lamina/") is None


def test_matches_are_remembered_within_bounds():
    router = Router("/")
    for i in range(5000):
        router.match(b"/api/v1/b/x/%d" % i, "GET")
    router.match(b"/api/v1/b/x/" + b"y" * 1000, "GET")
    assert len(router._known) <= 4096


def test_no_route_stands_twice():
    assert len(KEYS) == len(ROUTES)


def test_every_route_is_in_the_document_and_no_other():
    paths = document()["paths"]
    told = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert told == {key.replace("*}", "}") for key in KEYS}
    assert set(SUMMARIES) == KEYS
    assert set(PARAMETERS) | CONTENTS | WITHOUT_BODY <= KEYS


def test_operations_of_the_document_have_names_of_their_own():
    names = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    for path, operations in document()["paths"].items():
        for operation in operations.values():
            places = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert places == {part[1:-1] for part in path.split("/") if part.startswith("{")}

"""What a client stores comes back in headers: nothing of it may end a line, or make a header of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.faces.reduct.tests.asgi import Answer
from tests.security.grounds import Grounds

EVIL = "v\r\nx-injected: 1\r\n\r\nHTTP/1.1 200 OK"


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    grounds = Grounds(tokens=False)
    grounds.bucket("b")
    yield grounds
    grounds.close()


def clean(answer: Answer) -> None:
    """Header names are tokens, values visible ASCII and spaces."""
    token = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
    assert "x-injected" not in answer.headers
    for name, value in answer.headers.items():
        assert token.issuperset(name), f"{name!r} is no name of a header"
        assert value.isascii(), value
        assert value.isprintable(), f"{name}: {value!r}"


def all_ways(grounds: Grounds, entry: str, time_us: int) -> list[Answer]:
    """One record by every way that puts it into headers."""
    path = f"/b/b/{entry}"
    span = {"start": time_us, "stop": time_us + 1}
    found = [grounds.get(f"{path}?ts={time_us}"), grounds.head(f"{path}?ts={time_us}")]
    found.append(grounds.get(f"{path}?q={grounds.query(path, **span)}"))
    found.append(grounds.get(f"{path}/batch?q={grounds.query(path, **span)}"))
    id = grounds.query("/io/b", entries=[entry], **span)
    found.append(grounds.get("/io/b/read", {"x-reduct-query-id": str(id)}))
    asked = {"bucket": "b", "entry": entry, "query": {"query_type": "QUERY"}, "expire_at": 1 << 40,
             "record_entry": entry, "record_timestamp": time_us}  # fmt: skip
    link = grounds.post("/links/f", json.dumps(asked).encode()).json["link"].partition("/api/v1")[2]
    found += [grounds.get(link), grounds.get(link, {"range": "bytes=0-0"})]
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = texts.filter(lambda text: text.strip() and not text.strip().startswith("@"))


@given(labels=st.dictionaries(names, texts, max_size=4), content_type=texts)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_any_label_and_any_content_type_come_back_as_clean_headers(grounds, labels, content_type):
    """As a batch of protocol v2 brings them: percent-encoded names may hold any byte."""
    time_us = grounds.clock.monotonic_ns()
    grounds.clock.advance(1)
    changes = ",".join(f'{i}="{value}"' for i, value in enumerate(labels.values()) if '"' not in value)
    headers = {
        "x-reduct-entries": "e",
        "x-reduct-start-ts": str(time_us),
        "x-reduct-labels": ",".join(quote(name, safe="") for name in labels) or "none",
        "x-reduct-0-0": f"1,{content_type},{changes}",
    }
    written = grounds.post("/io/b/write", b"x", headers)
    assert written.status in (200, 422)
    clean(written)
    if written.status == 200 and "x-reduct-error-0-0" not in written.headers:
        for answer in all_ways(grounds, "e", time_us):
            assert answer.status in (200, 206)
            clean(answer)


def test_a_whole_answer_inside_of_a_label_or_a_type_stays_inside(grounds):
    headers = {
        "x-reduct-entries": "f",
        "x-reduct-start-ts": "1",
        "x-reduct-labels": quote(f"n{EVIL}"),
        "x-reduct-0-0": f"1,text/{EVIL},0={EVIL}",
    }
    assert grounds.post("/io/b/write", b"x", headers).status == 200
    for answer in all_ways(grounds, "f", 1):
        assert answer.status in (200, 206)
        clean(answer)
    assert grounds.write("b/g", 1, b"x", {f"n{EVIL}": EVIL}, EVIL).status == 200  # of a careless HTTP server
    for answer in all_ways(grounds, "g", 1):
        clean(answer)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", f"/b/{quote(EVIL)}", {}, b""),
        ("GET", f"/b/b/{quote(EVIL)}", {}, b""),
        ("GET", "/b/b/e?ts=" + quote(EVIL), {}, b""),
        ("GET", "/tokens/" + quote(EVIL), {}, b""),
        ("GET", "/replications/" + quote(EVIL), {}, b""),
        ("POST", "/io/b/write", {"x-reduct-start-ts": EVIL, "x-reduct-entries": "e"}, b""),
        ("POST", "/io/b/write", {"x-reduct-start-ts": "1", "x-reduct-entries": quote(EVIL)}, b""),
        ("POST", "/io/b/write", {"x-reduct-start-ts": "1", "x-reduct-entries": "e", f"x-reduct-{EVIL}-1": "1"}, b""),
        ("POST", "/b/b/e/batch", {f"x-reduct-time-{EVIL}": "1,"}, b""),
        ("POST", "/b/b/e/q", {}, json.dumps({"query_type": "QUERY", "when": {EVIL: 1}}).encode()),
        ("POST", "/b/b/e/q", {}, json.dumps({"query_type": "QUERY", "ext": {EVIL: 1}}).encode()),
        ("POST", "/links/" + quote(EVIL), {}, json.dumps({"bucket": EVIL}).encode()),
        ("GET", "/links/f?ct=1&s=2&n=3&i=" + quote(EVIL), {}, b""),
        ("PUT", "/b/b/rename", {}, json.dumps({"new_name": EVIL}).encode()),
        ("GET", "/list", {"host": "localhost", "origin": EVIL}, b""),
    ],
)
def test_no_error_repeats_what_would_break_a_line(grounds, method, path, headers, body):
    clean(grounds.request(method, path, body, headers))


def test_a_link_does_not_lead_where_its_request_wants_to_inject(grounds):
    asked = {"bucket": "b", "entry": "f", "query": {"query_type": "QUERY"}, "expire_at": 1 << 40,
             "record_entry": "f", "record_timestamp": 1}  # fmt: skip
    for base in ("javascript:alert(1)", "//", "http://", "ftp://h/", "http://[", "\r\n", "http://a:b:c/", "http://h:x/",
                 f"http://h/{EVIL}", "http://h\t/", "http://hä/", "http://h/ a"):  # fmt: skip
        answer = grounds.post("/links/f", json.dumps({**asked, "base_url": base}).encode())
        assert answer.status == 422, base
        clean(answer)


def test_every_parameter_of_a_link_is_sealed(grounds):
    asked = {"bucket": "b", "entry": "f", "query": {"query_type": "QUERY"}, "expire_at": 1 << 40,
             "record_entry": "f", "record_timestamp": 1}  # fmt: skip
    link = grounds.post("/links/f", json.dumps(asked).encode()).json["link"].partition("/api/v1")[2]
    path, _, query = link.partition("?")
    parts = dict(part.split("=", 1) for part in query.split("&"))
    for name in parts:
        for changed in ("", "A", parts[name][:-1], parts[name] + "A", "%00", "é", quote(EVIL)):
            answer = grounds.get(path + "?" + "&".join(f"{k}={changed if k == name else v}" for k, v in parts.items()))
            if name != "ct" or changed:
                assert answer.status in (404, 422), (name, changed, answer)
            clean(answer)
        assert grounds.get(path + "?" + "&".join(f"{k}={v}" for k, v in parts.items() if k != name)).status == 422

"""Links to records of a query's result (contract 12)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from lamina.faces.reduct import FaceConfig
from lamina.faces.reduct.tests.asgi import Client

FUTURE = 4_000_000_000  # s


@pytest.fixture
def plant(guarded: Client) -> Client:
    guarded.bucket("b")
    for i in range(5):
        guarded.write("b/e", i, b"content %d" % i, {"n": str(i)}, "text/plain")
    return guarded


def link(client: Client, path: str = "/links/f.txt", **changes) -> str:
    body = {"bucket": "b", "entry": "e", "query": {"query_type": "QUERY"}, "record_entry": "e", "record_timestamp": 3,
            "expire_at": FUTURE, **changes}  # fmt: skip
    answer = client.post(path, body, {"host": "box:1234"})
    assert answer.status == 200, answer
    return answer.json["link"]


def follow(client: Client, url: str, method: str = "GET", headers=(), **changes: str | None):
    """Without a token; `changes` of the query's parameters, None removes one."""
    parts = urlsplit(url)
    query = {name: value for name, value in {**dict(parse_qsl(parts.query)), **changes}.items() if value is not None}
    token, client.token = client.token, ""
    try:
        return client.request(method, f"{parts.path}?{urlencode(query)}", headers=headers, api=False)
    finally:
        client.token = token


def test_link_leads_to_its_record_without_a_token(plant):
    url = link(plant, "/links/a%20b/f.txt")
    assert url.startswith("http://box:1234/api/v1/links/a%20b/f.txt?")
    answer = follow(plant, url)
    assert (answer.status, answer.body) == (200, b"content 3")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-reduct-time"] == "3"
    assert answer.headers["x-reduct-entry"] == "e"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.labels == {"n": "3"}
    head = follow(plant, url, "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, "9")


def test_link_over_several_entries(plant):
    plant.write("b/other", 3, b"other")
    url = link(plant, entry="", query={"query_type": "QUERY", "entries": ["e", "oth*"]}, record_entry="other")
    assert follow(plant, url).body == b"other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": {"query_type": "REMOVE"}}, "Only 'Query' type is supported for query links"),
        ({"record_entry": None}, "Both 'record_entry' and 'record_timestamp' must be provided in payload"),
        ({"record_timestamp": None}, "Both 'record_entry' and 'record_timestamp' must be provided in payload"),
        ({"base_url": "nonsense"}, "Invalid base_url provided for query link: no host in 'nonsense'"),
        ({"query": {"query_type": "QUERY", "when": {"$x": 1}}}, "Operator '$x' not supported"),
        ({"query": {"query_type": "QUERY", "ext": {"a": {}}}}, "Unknown extension 'a' in query id=0"),
    ],
)
def test_links_that_cannot_be(plant, changes, message):
    body = {"bucket": "b", "entry": "e", "query": {"query_type": "QUERY"}, "record_entry": "e", "record_timestamp": 3,
            "expire_at": 1, **changes}  # fmt: skip
    answer = plant.post("/links/f", body)
    assert (answer.status, answer.error) == (422, message)


def test_base_of_the_url_is_the_callers_or_the_configured_one():
    client = Client(config=FaceConfig(public_url="https://lamina.example/x/"))
    client.bucket("b")
    client.write("b/e", 3)
    assert link(client).startswith("https://lamina.example/x/api/v1/links/f.txt?")
    assert link(client, base_url="http://other").startswith("http://other/api/v1/links/f.txt?")
    client.close()


def test_expired_link(plant):
    answer = follow(plant, link(plant, expire_at=1))
    assert (answer.status, answer.error) == (422, "Query link has expired")


@pytest.mark.parametrize("name", ["ct", "s", "i", "n"])
def test_link_is_refused_without_any_of_its_parameters(plant, name):
    answer = follow(plant, link(plant), **{name: None})
    assert (answer.status, answer.error) == (422, f"Missing '{name}' parameter")
    assert follow(plant, link(plant), **{name: "xyz"}).status == 422


def test_record_that_is_not_in_the_result(plant):
    answer = follow(plant, link(plant, query={"query_type": "QUERY", "when": {"&n": {"$lt": 2}}}))
    assert (answer.status, answer.error) == (404, "Record e/3 not found in query result")


def test_identity_can_be_overridden_within_the_result(plant):
    url = link(plant, query={"query_type": "QUERY", "stop": 4})
    assert follow(plant, url, e="e", ts="1").body == b"content 1"
    assert follow(plant, url, e="e", ts="4").status == 404
    assert follow(plant, url, e="e").status == 422
    assert follow(plant, url, ts="1").status == 422


def test_link_is_worth_what_its_token_is_worth(plant):
    admin = plant.token
    plant.token = plant.post("/tokens/t", {"read": ["b"]}).json["value"]
    url = link(plant)
    plant.token = admin
    assert follow(plant, url).status == 200
    plant.tokens.forget_bucket("b")
    assert follow(plant, url).error == "Token 't' doesn't have read access to bucket 'b'"
    plant.delete("/tokens/t")
    assert follow(plant, url).error == "Token 't' doesn't exist"


def test_link_dies_with_the_value_of_its_token(plant):
    admin = plant.token
    plant.token = plant.post("/tokens/t", {"read": ["b"]}).json["value"]
    url = link(plant)
    plant.token = admin
    plant.post("/tokens/t/rotate")
    assert follow(plant, url).status == 422


def test_links_of_another_start_of_the_face_still_work(plant):
    url = link(plant)
    other = Client(plant.db, tokens=True)
    assert follow(other, url).body == b"content 3"
    other.face.close()


@pytest.mark.parametrize(
    ("given", "status", "span", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/9", b"cont"),
        ("bytes=8-", 206, "bytes 8-8/9", b"3"),
        ("bytes=-4", 206, "bytes 5-8/9", b"nt 3"),
        ("bytes=9-", 416, "bytes */9", None),
        ("bytes=0-1,3-4", 200, None, b"content 3"),
    ],
)
def test_ranges(plant, given, status, span, body):
    answer = follow(plant, link(plant), headers={"range": given})
    assert answer.status == status
    assert answer.headers.get("content-range") == span
    assert body is None or answer.body == body


def test_range_of_a_large_content(plant):
    content = bytes(range(256)) * 8192
    plant.write("b/big", 3, content)
    url = link(plant, entry="big", record_entry="big")
    answer = follow(plant, url, headers={"range": "bytes=70000-1800000"})
    assert (answer.status, answer.body) == (206, content[70000:1800001])


def test_query_runs_once_for_many_ranges(plant, monkeypatch):
    from lamina.faces.reduct import links

    runs = []
    find = links.find_in_result
    monkeypatch.setattr(links, "find_in_result", lambda *given: runs.append(1) or find(*given))
    url = link(plant)
    for start in range(5):
        follow(plant, url, headers={"range": f"bytes={start}-"})
    assert len(runs) == 1
    for _ in range(10):
        follow(plant, link(plant))
    assert len(plant.face.links._recent) == 8

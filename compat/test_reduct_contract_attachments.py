"""The wire contract, sections 11 and 12: attachments; query links."""

import time
from urllib.parse import parse_qsl, urlsplit

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def shown(api, bucket):
    """Attachments of the entry x as a query has them: {time: key}."""

    def of():
        id = api.query(bucket, entries=["x/$meta"]).json["id"]
        answer = api.read(bucket, id)
        if answer.status == 204:
            return []
        start = int(answer["x-reduct-start-ts"])
        deltas = [name.removeprefix("0-") for name in answer.named("x-reduct-") if name.startswith("0-")]
        return [start + int(delta) for delta in deltas]

    return of


# 11


def test_a_key_is_required(api, bucket):
    status, message = api("POST", f"/b/{bucket}/x/$meta", b"{}", ts=1).error
    assert (status, message) == (422, "System entry 'x/$meta' records must contain label 'key'")
    labels = {"x-reduct-label-key": "k", "x-reduct-label-remove": "true"}
    status, message = api("POST", f"/b/{bucket}/x/$meta", b"{}", labels, ts=1).error
    assert status == 422
    assert message.endswith("does not support writing records with label 'remove=true'; use record update")


@pytest.mark.parametrize("key", ["k", "1", "2.5", "$system", "true", "a b"])
def test_the_same_key_replaces(api, bucket, shown, key):
    api.write(bucket, "x/$meta", 1, b'{"v": 1}', key=key)
    api.write(bucket, "x/$meta", 2, b"{}", key="other")
    api.write(bucket, "x/$meta", 3, b'{"v": 2}', key=key)
    assert shown() == [2, 3]
    assert api("GET", f"/b/{bucket}/x/$meta", ts=1).status == 404


def test_keys_are_compared_as_texts(api, bucket, shown):
    for time_us, key in enumerate(("1", "1.0", "01", "true", "True")):
        api.write(bucket, "x/$meta", time_us, b"{}", key=key)
    assert len(shown()) == 5


def test_removal_is_a_label(api, bucket, shown):
    api.write(bucket, "x/$meta", 1, b"{}", key="k")
    assert api("PATCH", f"/b/{bucket}/x/$meta", None, {"x-reduct-label-remove": "true"}, ts=1).status == 200
    assert shown() == []
    answer = api("GET", f"/b/{bucket}/x/$meta", ts=1)
    assert answer.named("x-reduct-label-") == {"key": "k", "remove": "true"}
    opened = api("POST", f"/b/{bucket}/x/$meta/q", {"query_type": "QUERY"})
    assert api("GET", f"/b/{bucket}/x/$meta/batch", q=opened.json["id"]).status == 204


def test_nothing_else_removes(api, bucket):
    api.write(bucket, "x/$meta", 1, b"{}", key="k")
    record = 422, "Can't delete records from system entry 'x/$meta'; use label update with remove=true"
    assert api("DELETE", f"/b/{bucket}/x/$meta", ts=1).error == record
    answer = api("DELETE", f"/b/{bucket}/x/$meta/batch", None, {"x-reduct-time-1": ""})
    assert record in (answer.error, (422, answer.get("x-reduct-error-1") and answer["x-reduct-error-1"][4:]))
    headers = {"x-reduct-entries": "x%2F$meta", "x-reduct-start-ts": "1", "x-reduct-0-0": ""}
    answer = api("DELETE", f"/io/{bucket}/remove", None, headers)
    assert record in (answer.error, (422, answer.get("x-reduct-error-0-0") and answer["x-reduct-error-0-0"][4:]))
    assert api("DELETE", f"/b/{bucket}/x/$meta").error == (
        422, "Can't delete system entry 'x/$meta'; remove the parent entry instead",
    )  # fmt: skip
    remove = {"query_type": "REMOVE", "entries": ["x/$meta", "*"], "start": 0}
    assert api("POST", f"/io/{bucket}/q", remove).json == {"removed_records": 0}
    assert api("HEAD", f"/b/{bucket}/x/$meta", ts=1).status == 200


def test_attachments_of_the_bucket_itself(api, bucket):
    api.write(bucket, "$meta", 1, b"{}", key="k")
    assert api("GET", f"/b/{bucket}/$meta", ts=1).body == b"{}"
    assert api("GET", f"/b/{bucket}").json["entries"] == []


# 12


@pytest.fixture
def link(api, bucket):
    """link(**changes): the answer to asking for a link to record 5 of the entry x; **query changes the query."""
    for time_us in (1, 5, 9):
        api.write(bucket, "x", time_us, b"content at %d" % time_us, n=time_us)

    def make(query=None, name="file.bin", **changes):
        body = {
            "bucket": bucket, "entry": "x", "query": {"query_type": "QUERY"} | (query or {}), "record_entry": "x",
            "record_timestamp": 5, "expire_at": int(time.time()) + 1000,
        } | changes  # fmt: skip
        return api("POST", f"/links/{name}", {key: value for key, value in body.items() if value is not None})

    return make


def path_of(answer):
    parts = urlsplit(answer.json["link"])
    return f"/{parts.path}?{parts.query}"  # // in front: as it stands


def test_a_link_is_a_plain_get(reduct, api, link):
    answer = link()
    assert answer.json["link"].startswith(f"{reduct.url}/api/v1/links/file.bin?")
    assert {"ct", "s", "i", "n"} == {name for name, _ in parse_qsl(urlsplit(answer.json["link"]).query)}
    for method in ("GET", "HEAD"):
        followed = api(method, path_of(answer))
        assert followed.status == 200
        assert followed.body == (b"content at 5" if method == "GET" else b"")
        for name, value in (
            ("content-type", "application/octet-stream"), ("content-length", "12"), ("x-reduct-time", "5"),
            ("x-reduct-entry", "x"), ("x-reduct-label-n", "5"), ("content-disposition", "attachment"),
            ("accept-ranges", "bytes"),
        ):  # fmt: skip
            assert followed[name] == value


def test_names_with_slashes_and_base_urls(api, link):
    answer = link(name="a/b/c.txt", base_url="https://example.com/store/")
    assert answer.json["link"].startswith("https://example.com/store/api/v1/links/a/b/c.txt?")
    status, message = link(base_url="nonsense").error
    assert status == 422
    assert message.startswith("Invalid base_url provided for query link: ")


def test_refusals_of_links(bucket, api, link):
    assert link({"query_type": "REMOVE"}).error == (422, "Only 'Query' type is supported for query links")
    identity = 422, "Both 'record_entry' and 'record_timestamp' must be provided in payload"
    assert link(record_entry=None).error == link(record_timestamp=None).error == identity
    assert link(bucket="none").status == 404
    assert api("POST", "/links/x", b"{").status == 422


def test_several_entries(api, bucket, link):
    api.write(bucket, "y", 5, b"of y")
    answer = link({"entries": ["x", "y"]}, entry="", record_entry="y")
    assert api("GET", path_of(answer)).body == b"of y"


def test_another_record_by_parameters(api, link):
    path = path_of(link())
    assert api("GET", f"{path}&e=x&ts=9").body == b"content at 9"
    assert api("GET", f"{path}&e=x").status == api("GET", f"{path}&ts=9").status == 422


def test_links_that_lead_nowhere(api, bucket, link):
    assert link(expire_at=1).status == 200
    assert api("GET", path_of(link(expire_at=1))).error == (422, "Query link has expired")
    missing = 404, "Record x/5 not found in query result"
    assert api("GET", path_of(link({"start": 6}))).error == missing
    assert api("GET", path_of(link({"when": {"&n": {"$gt": 5}}}))).error == missing
    path = path_of(link())
    assert api("GET", path.replace("ct=", "xx=")).error == (422, "Missing 'ct' parameter")
    assert api("GET", path.replace("ct=", "ct=A")).status == 422
    assert api("GET", path.replace("&s=", "&s=A")).status == 422
    assert api("GET", path.replace("&n=", "&n=A")).status == 422


@pytest.mark.parametrize(
    ("asked", "status", "body", "shown"),
    [
        ("bytes=0-6", 206, b"content", "bytes 0-6/12"),
        ("bytes=8-", 206, b"at 5", "bytes 8-11/12"),
        ("bytes=-1", 206, b"5", "bytes 11-11/12"),
        ("bytes=0-999", 206, b"content at 5", "bytes 0-11/12"),
        ("bytes=12-", 416, None, "bytes */12"),
    ],
)
def test_ranges(api, link, asked, status, body, shown):
    answer = api("GET", path_of(link()), headers={"Range": asked})
    assert (answer.status, answer["content-range"]) == (status, shown)
    if body is not None:
        assert (answer.body, answer["content-length"]) == (body, str(len(body)))


def test_whose_link_it_is(secured_api):
    admin, stranger = secured_api(), secured_api(None)
    admin("POST", "/b/linked")
    admin.write("linked", "x", 5, b"content")
    value = admin("POST", "/tokens/issuer", {"permissions": {"read": ["linked"]}}).json["value"]
    nobody = admin("POST", "/tokens/nobody2", {}).json["value"]
    body = {"bucket": "linked", "entry": "x", "query": {"query_type": "QUERY"}, "record_entry": "x",
            "record_timestamp": 5, "expire_at": int(time.time()) + 1000}  # fmt: skip
    assert secured_api(nobody)("POST", "/links/f", body).status == 403
    path = path_of(secured_api(value)("POST", "/links/f", body))
    assert stranger("GET", path).body == b"content"
    admin("POST", "/tokens/issuer/rotate")
    assert stranger("GET", path).status == 422
    again = path_of(admin("POST", "/links/f", body))
    assert stranger("GET", again).status == 200
    fresh = admin("POST", "/tokens/issuer/rotate").json["value"]
    path = path_of(secured_api(fresh)("POST", "/links/f", body))
    admin("DELETE", "/tokens/issuer")
    assert stranger("GET", path).status == 404
    admin("DELETE", "/tokens/nobody2")
    admin("DELETE", "/b/linked")


def test_the_public_url(serve, http_to):
    api = http_to(serve(RS_PUBLIC_URL="https://store.example/x/"))
    api("POST", "/b/a")
    api.write("a", "x", 5, b"content")
    body = {"bucket": "a", "entry": "x", "query": {"query_type": "QUERY"}, "record_entry": "x",
            "record_timestamp": 5, "expire_at": int(time.time()) + 1000}  # fmt: skip
    assert api("POST", "/links/f", body).json["link"].startswith("https://store.example/x/api/v1/links/f?")

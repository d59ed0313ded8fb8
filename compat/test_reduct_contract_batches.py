"""The wire contract, section 7: the batch protocol of one entry."""

import socket

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def batch(api, bucket):
    """batch(method, {time: header value}, body): a request on the entry x."""

    def send(method, items, body=None, **more):
        headers = {f"x-reduct-time-{time_us}": value for time_us, value in items.items()} | more
        return api(method, f"/b/{bucket}/x/batch", body, headers)

    return send


@pytest.fixture
def labels(api, bucket):
    """The labels of the record of a time, as a query has them."""

    def of(time_us):
        return api("GET", f"/b/{bucket}/x", ts=time_us).named("x-reduct-label-")

    return of


def test_bodies_follow_in_ascending_time(api, bucket, batch):
    answer = batch("POST", {30: "3,text/plain", 4: "1,", 200: "2,image/png"}, b"afffss")
    assert (answer.status, answer.body, answer.named("x-reduct-error")) == (200, b"", {})
    found = {time_us: api("GET", f"/b/{bucket}/x", ts=time_us) for time_us in (4, 30, 200)}
    assert {time_us: answer.body for time_us, answer in found.items()} == {4: b"a", 30: b"fff", 200: b"ss"}
    assert [answer["content-type"] for answer in found.values()] == [
        "application/octet-stream",
        "text/plain",
        "image/png",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,,a=1,b=2", {"a": "1", "b": "2"}),
        ('0,,a="1,2",b=3', {"a": "1,2", "b": "3"}),
        ("0,, a = 1 , b = 2 ", {"a": "1", "b": "2"}),
        ("0,,a=1,2", {"a": "1"}),
        ("0,,a=", {"a": ""}),
        (" 0 ,text/plain,a=b=c", {"a": "b=c"}),
        ("0,text/plain", {}),
        ("0,", {}),
    ],
)
def test_grammar(batch, labels, value, expected):
    answer = batch("POST", {1: value}, b"")
    assert (answer.status, answer.named("x-reduct-error")) == (200, {})
    assert labels(1) == expected


@pytest.mark.parametrize(
    ("time", "value", "message"),
    [
        ("1", "0", "Invalid batched header"),
        ("1", "", "Invalid batched header"),
        ("abc", "0,", "Invalid header 'x-reduct-time-abc': must be an unix timestamp in microseconds"),
        ("1", "x,", "Invalid content length"),
    ],
)
def test_malformed(batch, time, value, message):
    for method in ("POST", "PATCH"):
        if (method, message) == ("PATCH", "Invalid content length"):
            continue  # it is ignored there
        assert batch(method, {time: value}, b"").error == (422, message)


def test_the_lengths_must_add_up(batch):
    message = "content-length header does not match the sum of the content-lengths in the headers"
    assert batch("POST", {1: "3,", 2: "4,"}, b"123456").error == (422, message)


def test_records_that_fail_are_skipped_and_named(api, bucket, batch):
    api.write(bucket, "x", 2, b"old")
    answer = batch("POST", {1: "3,", 2: "3,", 3: "3,"}, b"onetwothr")
    assert answer.status == 200
    assert answer.named("x-reduct-error-") == {"2": "409,A record with timestamp 2 already exists"}
    assert [api("GET", f"/b/{bucket}/x", ts=i).body for i in (1, 2, 3)] == [b"one", b"old", b"thr"]


def test_bad_names_and_missing_buckets_are_errors_of_records(api, bucket):
    items = {"x-reduct-time-1": "1,", "x-reduct-time-2": "1,"}
    answer = api("POST", "/b/none/x/batch", b"ab", items)
    assert answer.status == 200
    assert answer.named("x-reduct-error-") == dict.fromkeys("12", "404,Bucket 'none' is not found")
    answer = api("POST", f"/b/{bucket}/a%20b/batch", b"ab", items)
    assert answer.status == 200
    assert {value[:4] for value in answer.named("x-reduct-error-").values()} == {"422,"}


def test_empty_batches(batch):
    for method in ("POST", "PATCH", "DELETE"):
        if method == "POST":
            assert batch(method, {}, b"").status == 200
    assert batch("DELETE", {}).status == 404  # the entry is not there


def test_a_body_that_ends_early(reduct, api, bucket):
    host, port = reduct.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /api/v1/b/{bucket}/x/batch HTTP/1.1\r\nHost: localhost\r\nx-reduct-content-length: 6\r\n"
        head += "x-reduct-time-1: 3,\r\nx-reduct-time-2: 3,\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + b"4\r\nonet\r\n0\r\n\r\n")
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400")
    assert "x-reduct-error: Content is shorter than expected: no more data to read\r\n" in answer
    assert api("GET", f"/b/{bucket}/x", ts=2).status == 404


def test_update(api, bucket, batch, labels):
    api.write(bucket, "x", 1, b"one", a="1", b="2")
    api.write(bucket, "x", 2, b"two", a="1")
    answer = batch("PATCH", {1: "0,,a=9,b=", 2: '7,text/plain,c="x,y"', 3: "0,,a=1"})
    assert answer.status == 200
    assert answer.named("x-reduct-error-") == {"3": f"404,Record 3 not found in entry {bucket}/x"}
    assert (labels(1), labels(2)) == ({"a": "9"}, {"a": "1", "c": "x,y"})
    assert api("GET", f"/b/{bucket}/x", ts=2)["content-type"] == "application/octet-stream"


def test_remove(api, bucket, batch):
    for time_us in (1, 2, 3):
        api.write(bucket, "x", time_us)
    answer = batch("DELETE", {1: "", 3: "0,", 4: ""})
    assert answer.status == 200
    assert answer.named("x-reduct-error-") == {"4": f"404,Record 4 not found in entry {bucket}/x"}
    assert [api("HEAD", f"/b/{bucket}/x", ts=i).status for i in (1, 2, 3)] == [404, 200, 404]
    assert batch("DELETE", {}).status == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_missing_bucket_or_entry_fails_the_request(api, bucket, batch, method):
    assert batch(method, {1: "0,"}).error == (404, f"Entry 'x' not found in bucket '{bucket}'")
    answer = api(method, "/b/none/x/batch", None, {"x-reduct-time-1": "0,"})
    assert answer.error == (404, "Bucket 'none' is not found")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read(api, bucket, batch, method):
    batch("POST", {10: '2,text/plain,b=2,a="x,y",B=1', 2: "3,"}, b"abcde")
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    answer = api(method, f"/b/{bucket}/x/batch", q=id)
    assert answer.status == 200
    assert answer.named("x-reduct-time-") == {
        "2": "3,application/octet-stream", "10": 'text/plain,B=1,a="x,y",b=2'.join(("2,", "")),
    }  # fmt: skip
    assert answer["content-type"] == "application/octet-stream"
    assert answer["content-length"] == "5"
    assert answer["x-reduct-last"] == "true"
    assert answer.body == (b"abcde" if method == "GET" else b"")


def test_read_needs_a_query(api, bucket):
    api.write(bucket, "x", 1)
    assert api("GET", f"/b/{bucket}/x/batch").error == (422, "'q' parameter is required for batched reads")
    missing = "Query 99999 not found and it might have expired. Check TTL in your query request."
    assert api("GET", f"/b/{bucket}/x/batch", q=99999).error == (404, missing)

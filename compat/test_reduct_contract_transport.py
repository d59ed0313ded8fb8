"""The wire contract, sections 1 and 2: what holds for every answer; names; paths."""

import gzip
import http.client
import json
import socket

import pytest
from backports import zstd

pytestmark = pytest.mark.wire

MAX_TIME = 2**64 - 1


def raw(address, sent: bytes, until: bytes = b"\r\n\r\n") -> bytes:
    """What comes back for bytes as they stand, up to `until`."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        got = b""
        while until not in got:
            part = connection.recv(65536)
            if not part:
                break
            got += part
        return got


# 1.1


def test_a_connection_is_kept_until_somebody_closes_it(reduct):
    request = b"GET /api/v1/alive HTTP/1.1\r\nHost: localhost\r\n"
    kept = raw(reduct.address, (request + b"\r\n") * 2, b"\r\n\r\nHTTP/1.1 200")
    assert kept.count(b"HTTP/1.1 200") == 2
    closed = raw(reduct.address, request + b"Connection: close\r\n\r\n", b"never sent")  # reads to the end
    assert closed.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in closed.lower()


@pytest.mark.parametrize("time_us", [0, 1, 2**53 + 1, 2**63, MAX_TIME])
def test_times_are_unsigned_64_bit_numbers_also_in_json(api, bucket, time_us):
    api.write(bucket, "x", time_us, b"content")
    assert api("GET", f"/b/{bucket}/x", ts=time_us)["x-reduct-time"] == str(time_us)
    entry = api("GET", f"/b/{bucket}").json["entries"][0]
    assert (entry["oldest_record"], entry["latest_record"]) == (time_us, time_us)
    id = api.query(bucket, start=time_us).json["id"]
    assert api.read(bucket, id)["x-reduct-start-ts"] == str(time_us)


@pytest.mark.parametrize("time", ["-1", str(2**64), "1.5", "x", "", "1e3"])
def test_other_times_are_refused(api, bucket, time):
    assert api("POST", f"/b/{bucket}/x?ts={time}", b"").error == (422, "'ts' must be an unix timestamp in microseconds")


def test_json_answers_are_json_exactly(api, bucket):
    for path in ("/info", "/list", "/me", f"/b/{bucket}", "/tokens", "/replications", "/lifecycles"):
        answer = api("GET", path)
        assert (answer.status, answer["content-type"]) == (200, "application/json"), path


def test_unknown_members_are_ignored(api, bucket):
    assert api("PUT", f"/b/{bucket}", {"quota_size": 5, "colour": "red"}).status == 200
    api.write(bucket, "x", 1)
    assert api.query(bucket, colour="red").status == 200
    assert api("PUT", f"/b/{bucket}/rename", {"new_name": f"{bucket}-2", "colour": "red"}).status == 200


def test_a_body_needs_no_content_type(api, bucket):
    assert api("PUT", f"/b/{bucket}/rename", {"new_name": f"{bucket}-2"}).status == 200


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_compressed_bodies_are_undone(api, bucket, coding, compress):
    content = b"a lot of the same " * 1000
    headers = {"Content-Encoding": coding, "x-reduct-content-length": str(len(content))}
    assert api("POST", f"/b/{bucket}/x", compress(content), headers, ts=1).status == 200
    assert api("GET", f"/b/{bucket}/x", ts=1).body == content
    query = compress(json.dumps({"query_type": "QUERY"}).encode())
    assert api("POST", f"/io/{bucket}/q", query, {"Content-Encoding": coding}).status == 200


# 1.2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/info", 200), ("GET", "/b/none", 404), ("HEAD", "/b/none", 404), ("GET", "/nothing", 404),
     ("POST", "/nothing", 405), ("GET", "/alive", 200), ("OPTIONS", "/info", 200), ("PUT", "/info", 405)],
)  # fmt: skip
def test_every_answer_names_the_api_and_the_server(api, method, path, status):
    answer = api(method, path)
    assert answer.status == status
    assert answer["x-reduct-api"] == "1.21"
    assert answer["server"].startswith("ReductStore 1.21.0")


def test_answers_to_broken_requests_name_them_too(reduct):
    for sent in (b"rubbish\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"):
        assert b"\r\nx-reduct-api: 1.21\r\n" in raw(reduct.address, sent)


def test_header_names_are_lower_case(api, bucket):
    api.write(bucket, "x", 1, b"abc", Key="v")
    api.write(bucket, "x", 2, b"abc", Key="v")
    id = api.query(bucket).json["id"]
    for answer in (
        api("GET", "/info"),
        api("GET", f"/b/{bucket}/x"),
        api.read(bucket, id),
        api("POST", f"/b/{bucket}/x", b"abc", ts=1),
        api("POST", f"/b/{bucket}/x/batch", b"a", {"x-reduct-time-1": "1,"}),
        api("GET", "/nothing"),
        api("OPTIONS", "/info"),
    ):
        assert [name for name, _ in answer.headers if name != name.lower()] == []


# 1.3


def test_an_error_has_its_message_in_body_and_header(api):
    answer = api("GET", "/b/none")
    assert answer.error == (404, "Bucket 'none' is not found")
    assert answer.json == {"detail": "Bucket 'none' is not found"}
    assert answer["content-type"] == "application/json"


def test_quotes_in_a_message(api, bucket):
    api.write(bucket, "x", 1)
    id = api.query(bucket, when={"$eq": [{"$ref": "a"}, 1]}, strict=True).json["id"]
    answer = api.read(bucket, id)
    assert answer.error == (404, "Label '\"a\"' not found")
    assert answer.json == {"detail": "Label ''a'' not found"}


def test_a_message_that_is_no_header_value(api, bucket):
    answer = api.query(bucket, when={"$ümlaut": 1})
    assert answer.error == (422, "Unparsable message")
    assert "ümlaut" in answer.json["detail"]


def test_head_errors_have_no_body(api):
    answer = api("HEAD", "/b/none/x")
    assert answer.error == (404, "Bucket 'none' is not found")
    assert answer.body == b""


def test_204_carries_no_body_and_a_message(api, bucket):
    id = api.query(bucket).json["id"]
    answer = api.read(bucket, id)
    assert answer.error == (204, "No content")
    assert answer.body == b""
    assert answer.get("content-length") in (None, "0")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense", b'"text"', b"\xff\xfe", b"[" * 10_000])
def test_unparsable_json(api, bucket, body):
    for path in (f"/io/{bucket}/q", f"/b/{bucket}/x/q"):
        status, message = api("POST", path, body).error
        assert status == 422
        assert message.startswith("Invalid JSON: ")


def test_no_route(secured_api):
    stranger = secured_api(None)
    for path in ("//", "/", "//nothing", "/nothing", "//api/v2/info"):
        for method in ("GET", "HEAD"):
            if path == "//":
                continue
            assert stranger(method, path).error == (404, "Not found"), (method, path)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert stranger(method, "/nothing").error == (405, None)


def test_known_route_wrong_method(api, bucket):
    for method, path in (("POST", "/list"), ("PUT", f"/b/{bucket}/x"), ("PATCH", f"/b/{bucket}"), ("PUT", "/alive")):
        assert api(method, path).status == 405


# 1.5


def test_cors(serve, http_to):
    api = http_to(serve(RS_CORS_ALLOW_ORIGIN="https://a.example, https://b.example", RS_API_TOKEN="t"), "t")
    allowed = api("GET", "/info", headers={"Origin": "https://b.example"})
    assert allowed["access-control-allow-origin"] == "https://b.example"
    assert allowed["access-control-expose-headers"] == "*"
    foreign = api("GET", "/info", headers={"Origin": "https://c.example"})
    assert (foreign.status, foreign.get("access-control-allow-origin")) == (200, None)
    asked = api("OPTIONS", "//any/path", headers={"Origin": "https://a.example"})
    assert (asked.status, asked["access-control-allow-methods"], asked["access-control-allow-headers"]) == (
        200, "*", "*",
    )  # fmt: skip


# 1.6


def test_1100_headers_and_512_kb_are_taken(api, bucket):
    value = "1,text/plain,label=" + "v" * 420
    headers = {f"x-reduct-time-{i}": value for i in range(1100)}
    size = sum(len(name) + len(value) + 4 for name, value in headers.items())
    assert 480_000 < size < 512_000
    answer = api("POST", f"/b/{bucket}/x/batch", b"x" * 1100, headers)
    assert (answer.status, answer.named("x-reduct-error")) == (200, {})
    assert api("GET", f"/b/{bucket}").json["entries"][0]["record_count"] == 1100


def test_too_many_or_too_long_headers_are_431(api, bucket):
    many = {f"x-reduct-time-{i}": "0," for i in range(2000)}
    assert api("POST", f"/b/{bucket}/x/batch", b"", many).status == 431
    long = [(f"x-{i}", "v" * 60_000) for i in range(12)]
    assert api("GET", "/info", headers=long).status == 431


def test_answers_fit_into_the_clients(api, bucket):
    """http.client: 99 headers; aiohttp: 8,190 bytes a line; Node: 16 KiB in total."""
    for i in range(200):
        api.write(bucket, f"sensor-{i}-{'n' * 100}", i, b"", **{f"label-{i}-{'x' * 80}": "v" * 50})
    id = api.query(bucket).json["id"]
    names = []
    while (answer := api.read(bucket, id)).status == 200:
        assert len(answer.headers) <= 99
        assert max(len(name) + len(value) + 4 for name, value in answer.headers) <= 8_190
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers) < 16_384
        names += answer["x-reduct-entries"].split(",")
    assert len(names) == 200


def test_85_records_come_with_at_most_14_other_headers(api, bucket):
    api("POST", f"/b/{bucket}/x/batch", b"", {f"x-reduct-time-{i}": "0," for i in range(100)})
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    answer = api("GET", f"/b/{bucket}/x/batch", q=id)
    assert len(answer.named("x-reduct-time-")) == 85
    assert len(answer.headers) <= 99


def test_a_single_record_is_sent_whatever_its_labels(api, bucket):
    labels = ",".join(f"label{i}={'v' * 140}" for i in range(250))
    assert api("POST", f"/b/{bucket}/x/batch", b"abc", {"x-reduct-time-1": f"3,,{labels}"}).status == 200
    id = api.query(bucket).json["id"]
    answer = api.read(bucket, id)
    assert (answer.status, answer.body) == (200, b"abc"), answer
    assert answer["x-reduct-0-0"].count("=") == 250


# 1.7


def expect(address: str, path: str, length: int, body: bytes = b"") -> bytes:
    head = f"POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    return raw(address, head.encode() + body)


def test_expect_is_answered_with_the_error_itself(reduct, api, bucket):
    api.write(bucket, "x", 1, b"abc")
    api("PUT", f"/b/{bucket}", {"quota_type": "HARD", "quota_size": 1000})
    for path, status in (
        ("/b/none/x?ts=1", b"404"),
        (f"/b/{bucket}/x", b"422"),
        (f"/b/{bucket}/x?ts=1", b"409"),
        (f"/b/{bucket}/x?ts=2", b"400"),  # the quota
        (f"/b/{bucket}/x%20y?ts=2", b"422"),
    ):
        length = 10 if status != b"400" else 10_000_000
        assert expect(reduct.address, path, length).startswith(b"HTTP/1.1 " + status), path
    assert expect(reduct.address, f"/b/{bucket}/x?ts=2", 3).startswith(b"HTTP/1.1 100 Continue")


def test_expect_without_a_token(secured):
    assert expect(secured.address, "/b/x/y?ts=1", 10).startswith(b"HTTP/1.1 401")


def test_without_expect_the_body_is_read_before_the_error(api, bucket):
    """A client that sends everything before it looks gets the answer, and the connection goes on."""
    parts = (b"x" * 100_000 for _ in range(5))
    answer = api("POST", f"/b/{bucket}-none/x", parts, {"Content-Length": "500000"}, ts=1)
    assert answer.error == (404, f"Bucket '{bucket}-none' is not found")
    parts = (b"x" * 1_000_000 for _ in range(50))
    answer = api("POST", f"/b/{bucket}-none/x", parts, {"Content-Length": "50000000"}, ts=1)
    assert answer.error == (404, f"Bucket '{bucket}-none' is not found")


def test_records_always_have_a_content_length(api, bucket):
    api.write(bucket, "x", 1, b"abc" * 1000)
    asks = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    for method in ("GET", "HEAD"):
        answer = api(method, f"/b/{bucket}/x", headers=asks, ts=1)
        assert answer["content-length"] == "3000"
        assert answer.get("transfer-encoding") is None
        assert answer.get("content-encoding") is None
        assert len(answer.body) == (3000 if method == "GET" else 0)
        id = api.query(bucket).json["id"]
        assert api.read(bucket, id, method)["content-length"] == "3000"


# 2


@pytest.mark.parametrize("name", ["a b", "ä", "a.b", "a%2Fb", "a$"])
def test_bucket_names(api, name):
    answer = api("POST", f"/b/{name.replace(' ', '%20').replace('ä', '%C3%A4')}")
    assert answer.error == (422, "Bucket or entry name can contain only letters, digests and [-,_] symbols")


@pytest.mark.parametrize("name", ["A", "b_1-x", "9"])
def test_good_bucket_names(api, name, bucket):
    assert api("POST", f"/b/{bucket}{name}").status == 200


EMPTY_SEGMENT = "Entry name must be non-empty and must not contain empty path segments"
CHARACTERS = "Entry name can contain only letters, digits and [-,_,/] symbols or end with '/$meta'"


@pytest.mark.parametrize(
    ("entry", "message"),
    [("a//b", EMPTY_SEGMENT), ("%2Fa", EMPTY_SEGMENT), ("a%2F", EMPTY_SEGMENT), ("a%20b", CHARACTERS),
     ("a.b", CHARACTERS), ("$meta/a", CHARACTERS), ("a/$other", CHARACTERS), ("%C3%A4", CHARACTERS),
     ("..", CHARACTERS), ("a/%2E%2E/b", CHARACTERS), ("a%00b", CHARACTERS)],
)  # fmt: skip
def test_entry_names(api, bucket, entry, message):
    assert api("POST", f"/b/{bucket}/{entry}", b"x", ts=1).error == (422, message)
    assert api("GET", f"/b/{bucket}").json["entries"] == []


def test_writing_makes_the_parents(api, bucket):
    api.write(bucket, "a/b/c", 1, b"x")
    entries = api("GET", f"/b/{bucket}").json["entries"]
    assert [(entry["name"], entry["record_count"]) for entry in entries] == [("a", 0), ("a/b", 0), ("a/b/c", 1)]
    assert {entry["status"] for entry in entries} == {"READY"}


def test_slashes_may_be_encoded(api, bucket):
    api.write(bucket, "a%2Fb", 1, b"x")
    assert api("GET", f"/b/{bucket}/a/b", ts=1).body == b"x"
    assert api("GET", f"/b/{bucket}/%61%2fb", ts=1).body == b"x"


def test_http_client_itself_can_read_a_full_batch(reduct, api, bucket):
    """The standard library takes 99 headers at most and says so with an exception."""
    api("POST", f"/b/{bucket}/x/batch", b"", {f"x-reduct-time-{i}": "0," for i in range(85)})
    id = api.query(bucket).json["id"]
    connection = http.client.HTTPConnection(reduct.address)
    connection.request("GET", f"/api/v1/io/{bucket}/read", headers={"x-reduct-query-id": str(id)})
    assert connection.getresponse().status == 200
    connection.close()

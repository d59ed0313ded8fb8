"""The wire contract, sections 5 and 6: single records."""

import socket
import threading

import pytest

pytestmark = pytest.mark.wire

BAD_TIME = 422, "'ts' must be an unix timestamp in microseconds"


# 5: reading


def test_read_a_record(api, bucket):
    headers = {"Content-Type": "text/plain; charset=x", "x-reduct-label-Key": "value"}
    api("POST", f"/b/{bucket}/a/b", b"content", headers, ts=5)
    for method in ("GET", "HEAD"):
        answer = api(method, f"/b/{bucket}/a/b", ts=5)
        assert answer.status == 200
        assert {name: answer[name] for name in (
            "content-type", "content-length", "content-disposition", "x-reduct-time", "x-reduct-entry",
            "x-reduct-label-key",
        )} == {
            "content-type": "text/plain; charset=x", "content-length": "7", "content-disposition": "attachment",
            "x-reduct-time": "5", "x-reduct-entry": "a/b", "x-reduct-label-key": "value",
        }  # fmt: skip
        assert answer.body == (b"content" if method == "GET" else b"")


def test_the_latest_is_the_latest_in_time(api, bucket):
    for time_us in (5, 9, 7):
        api.write(bucket, "x", time_us, b"%d" % time_us)
    assert api("GET", f"/b/{bucket}/x").body == b"9"
    api("DELETE", f"/b/{bucket}/x", ts=9)
    assert api("GET", f"/b/{bucket}/x").body == b"7"
    assert api("HEAD", f"/b/{bucket}/x")["x-reduct-time"] == "7"


def test_errors_of_reading(api, bucket):
    api.write(bucket, "x", 1)
    for method in ("GET", "HEAD"):
        assert api(method, "/b/none/x", ts=1).error == (404, "Bucket 'none' is not found")
        assert api(method, f"/b/{bucket}/y", ts=1).error == (404, f"Entry 'y' not found in bucket '{bucket}'")
        assert api(method, f"/b/{bucket}/x", ts=2).error == (404, f"Record 2 not found in entry {bucket}/x")
        assert api(method, f"/b/{bucket}/x", ts="abc").error == BAD_TIME
        assert api(method, f"/b/{bucket}/x", q="abc").error == (422, "'query' must be a number")
    api("DELETE", f"/b/{bucket}/x", ts=1)
    assert api("GET", f"/b/{bucket}/x").status == 404


def test_time_wins_over_query(api, bucket):
    api.write(bucket, "x", 1, b"one")
    assert api("GET", f"/b/{bucket}/x", ts=1, q=99).body == b"one"


@pytest.fixture
def unfinished(reduct, api, bucket):
    """A record of 10 bytes at 1, of which 4 have been sent; the connection."""
    host, port = reduct.address.split(":")
    api.write(bucket, "x", 100)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /api/v1/b/{bucket}/x?ts=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(b"1234")
        yield connection


def test_a_record_that_is_being_written(api, bucket, unfinished):
    expected = 425, f"Record with timestamp 1 in {bucket}/x is still being written"
    assert api("GET", f"/b/{bucket}/x", ts=1).error == expected
    assert api("POST", f"/b/{bucket}/x", b"other", ts=1).error == (409, "A record with timestamp 1 already exists")
    id = api.query(bucket).json["id"]
    assert api.read(bucket, id)["x-reduct-start-ts"] == "100"
    unfinished.sendall(b"567890")
    assert unfinished.recv(1000).startswith(b"HTTP/1.1 200")
    assert api("GET", f"/b/{bucket}/x", ts=1).body == b"1234567890"


def test_an_interrupted_upload_leaves_nothing(api, bucket, unfinished):
    unfinished.close()
    for _ in range(200):
        answer = api("GET", f"/b/{bucket}/x", ts=1)
        if answer.status != 425:
            break
        threading.Event().wait(0.01)
    assert answer.error == (404, f"Record 1 not found in entry {bucket}/x")
    api.write(bucket, "x", 1, b"again, of another length")


# 5: changing labels


def test_patch_labels(api, bucket):
    api.write(bucket, "x", 1, b"abc", a="1", b="2", c="3")
    changes = {"x-reduct-label-a": "9", "x-reduct-label-b": "", "x-reduct-label-d": "4", "x-reduct-label-none": ""}
    assert api("PATCH", f"/b/{bucket}/x", b"ignored", changes, ts=1).status == 200
    answer = api("GET", f"/b/{bucket}/x", ts=1)
    assert answer.named("x-reduct-label-") == {"a": "9", "c": "3", "d": "4"}
    assert answer.body == b"abc"


def test_errors_of_patch_and_delete(api, bucket):
    api.write(bucket, "x", 1)
    for method in ("PATCH", "DELETE"):
        assert api(method, "/b/none/x", ts=1).error == (404, "Bucket 'none' is not found")
        assert api(method, f"/b/{bucket}/y", ts=1).error == (404, f"Entry 'y' not found in bucket '{bucket}'")
        assert api(method, f"/b/{bucket}/x", ts=2).error == (404, f"Record 2 not found in entry {bucket}/x")
        assert api(method, f"/b/{bucket}/x", ts="abc").error == BAD_TIME
        assert api(method, f"/b/{bucket}/x", other=1).error == (422, "'ts' parameter is required")
    assert api("PATCH", f"/b/{bucket}/x").error == (422, "'ts' parameter is required")
    assert api("HEAD", f"/b/{bucket}/x", ts=1).status == 200


def test_delete_a_record(api, bucket):
    api.write(bucket, "x", 1)
    api.write(bucket, "x", 2)
    assert api("DELETE", f"/b/{bucket}/x", ts=1).status == 200
    assert api("DELETE", f"/b/{bucket}/x", ts=1).status == 404
    assert api("GET", f"/b/{bucket}").json["entries"][0]["record_count"] == 1
    api.write(bucket, "x", 1, b"again")


# 5: entries


def test_delete_an_entry_and_all_below(api, bucket):
    for entry in ("a", "a/b", "a/b/c", "a-b", "ab"):
        api.write(bucket, entry, 1)
    api.write(bucket, "a/$meta", 1, b"{}", key="k")
    assert api("DELETE", f"/b/{bucket}/none").error == (404, f"Entry 'none' not found in bucket '{bucket}'")
    assert api("DELETE", f"/b/{bucket}/a").status == 200
    assert [entry["name"] for entry in api("GET", f"/b/{bucket}").json["entries"]] == ["a-b", "ab"]
    assert api("GET", f"/b/{bucket}/a/b", ts=1).status == 404
    assert api("GET", f"/b/{bucket}/a/$meta", ts=1).status == 404
    api.write(bucket, "a", 1, b"new")
    assert api("GET", f"/b/{bucket}").json["entries"][0]["record_count"] == 1


def test_rename_an_entry(api, bucket):
    for entry in ("a/b", "c"):
        api.write(bucket, entry, 1, entry.encode())
    api.write(bucket, "a/$meta", 1, b"{}", key="k")

    def rename(old, new):
        return api("PUT", f"/b/{bucket}/{old}/rename", {"new_name": new}).error

    def taken(name):
        return 409, f"Entry '{name}' already exists in bucket '{bucket}'"

    assert rename("none", "a b")[0] == rename("none", "a//b")[0] == rename("none", "")[0] == 422
    assert rename("none", "none") == taken("none")
    assert rename("a", "a/x") == taken("a/x")
    assert rename("none", "c") == (404, f"Entry 'none' not found in bucket '{bucket}'")
    assert rename("a", "c") == taken("c")
    assert rename("a", "new/place") == (200, None)
    names = [entry["name"] for entry in api("GET", f"/b/{bucket}").json["entries"]]
    assert names == ["c", "new", "new/place", "new/place/b"]
    assert api("GET", f"/b/{bucket}/new/place/b", ts=1).body == b"a/b"
    assert api("GET", f"/b/{bucket}/new/place/$meta", ts=1).body == b"{}"
    assert api("GET", f"/b/{bucket}/a/b", ts=1).status == 404
    assert api("PUT", f"/b/{bucket}/c/rename", b"nonsense").status == 422


# 6


def test_time_and_length_are_required(reduct, api, bucket):
    assert api("POST", f"/b/{bucket}/x", b"abc").error == (422, "'ts' parameter is required")
    assert api("POST", f"/b/{bucket}/x", b"abc", ts="1.0").error == BAD_TIME
    host, port = reduct.address.split(":")

    def send(extra):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /api/v1/b/{bucket}/x?ts=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            connection.sendall(f"{head}{extra}Connection: close\r\n\r\n".encode() + b"3\r\nabc\r\n0\r\n\r\n")
            return connection.makefile("rb").read().decode()

    assert "x-reduct-error: content-length header is required" in send("")
    assert "x-reduct-error: content-length header must be a number" in send("x-reduct-content-length: abc\r\n")
    assert send("x-reduct-content-length: 3\r\n").startswith("HTTP/1.1 200")
    assert api("GET", f"/b/{bucket}/x", ts=1).body == b"abc"


def test_an_empty_record(api, bucket):
    assert api("POST", f"/b/{bucket}/x", b"", ts=1).status == 200
    answer = api("GET", f"/b/{bucket}/x", ts=1)
    assert (answer.status, answer["content-length"], answer.body) == (200, "0", b"")


def test_content_type(api, bucket):
    api.write(bucket, "x", 1)
    assert api("GET", f"/b/{bucket}/x", ts=1)["content-type"] == "application/octet-stream"
    kind = 'multipart/x; Boundary="A B"'
    api("POST", f"/b/{bucket}/x", b"", {"Content-Type": kind}, ts=2)
    assert api("GET", f"/b/{bucket}/x", ts=2)["content-type"] == kind


def test_labels(api, bucket):
    api("POST", f"/b/{bucket}/x", b"", {"X-Reduct-Label-UPPER": 'Some, value="x"', "x-reduct-label-empty": ""}, ts=1)
    labels = api("GET", f"/b/{bucket}/x", ts=1).named("x-reduct-label-")
    assert labels == {"upper": 'Some, value="x"', "empty": ""}


def test_label_values_in_utf8(api, bucket):
    value = "größe".encode().decode("latin-1")
    assert api("POST", f"/b/{bucket}/x", b"", {"x-reduct-label-size": value}, ts=1).status == 200
    id = api.query(bucket, when={"&size": {"$eq": "größe"}}).json["id"]
    assert api.read(bucket, id).status == 200
    bad = api("POST", f"/b/{bucket}/x", b"", {"x-reduct-label-size": "\xff"}, ts=2)
    assert bad.error == (422, "Label values for x-reduct-label-size must be valid UTF-8 strings")


def test_existing_and_late(api, bucket):
    for time_us in (50, 100, 10, 75):
        api.write(bucket, "x", time_us, b"%d" % time_us)
    assert api("POST", f"/b/{bucket}/x", b"75", ts=75).error == (409, "A record with timestamp 75 already exists")
    id = api.query(bucket).json["id"]
    assert api.read(bucket, id).body == b"105075100"


def test_no_bucket(api):
    assert api("POST", "/b/none/x", b"abc", ts=1).error == (404, "Bucket 'none' is not found")


@pytest.mark.parametrize(("coding", "announced", "said"), [
    ("chunked", 10, "Content is smaller than in content-length"),
    ("chunked", 3, "Content is bigger than in content-length"),
])  # fmt: skip
def test_a_body_of_another_length(reduct, api, bucket, coding, announced, said):
    host, port = reduct.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /api/v1/b/{bucket}/x?ts=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n"
        body = b"5\r\nabcde\r\n0\r\n\r\n"
        connection.sendall(f"{head}x-reduct-content-length: {announced}\r\nConnection: close\r\n\r\n".encode() + body)
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400")
    assert f"x-reduct-error: {said}\r\n" in answer
    assert api("GET", f"/b/{bucket}/x", ts=1).status == 404
    api.write(bucket, "x", 1, b"of another length")


def test_read_your_write(api, bucket):
    for time_us in range(50):
        api.write(bucket, "x", time_us, b"x" * time_us)
        assert len(api("GET", f"/b/{bucket}/x").body) == time_us


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 5_000_000])
def test_every_size_comes_back(api, bucket, size):
    content = bytes(range(256)) * (size // 256 + 1)
    api.write(bucket, "x", 1, content[:size])
    assert api("GET", f"/b/{bucket}/x", ts=1).body == content[:size]


def test_what_a_browser_sends(api, bucket):
    """x-reduct-content-length is for who cannot set Content-Length; where both are there the latter counts."""
    headers = {"x-reduct-content-length": "99"}
    assert api("POST", f"/b/{bucket}/x", b"abc", headers, ts=1).status == 200
    assert api("GET", f"/b/{bucket}/x", ts=1).body == b"abc"

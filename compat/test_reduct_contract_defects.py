"""The wire contract, section 21: what the reference does wrong and this server must not."""

import socket
import time

import pytest

pytestmark = pytest.mark.wire


def read_all(api, bucket, **members):
    """Contents of all records of a query, in the order in which they are sent."""
    id = api.query(bucket, **members).json["id"]
    body = b""
    while (answer := api.read(bucket, id)).status == 200:
        body += answer.body
    return body


def test_defect_1_contents_of_interleaved_entries(api, bucket):
    for time_us in range(1, 9):
        api.write(bucket, "ab"[time_us % 2], time_us, b"%d" % time_us * time_us)
    id = api.query(bucket).json["id"]
    answer = api.read(bucket, id)
    # (index, time) and (time, index) are one and the same order
    keys = [name.split("-") for name in answer.named("x-reduct-") if name.replace("-", "").isdigit()]
    pairs = [(int(index), int(delta)) for index, delta in keys]
    assert sorted(pairs) == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    assert answer.body == b"".join(b"%d" % i * i for i in range(1, 9))


def test_defect_2_late_records_into_full_blocks(api, bucket):
    api("PUT", f"/b/{bucket}", {"max_block_records": 3})
    times = [*range(100, 200, 10), 105, 115, 101, 195, 50, 135, 51, 199, 152]
    for time_us in times:
        api.write(bucket, "x", time_us, b"%d;" % time_us)
    assert read_all(api, bucket) == b"".join(b"%d;" % time_us for time_us in sorted(times))
    assert read_all(api, bucket, start=101, stop=136) == b"101;105;110;115;120;130;135;"


def test_defect_3_bodies_of_another_length(reduct, api, bucket):
    host, port = reduct.address.split(":")
    for time_us, (announced, body) in enumerate(((10, b"5\r\nabcde\r\n0\r\n\r\n"), (2, b"5\r\nabcde\r\n0\r\n\r\n"))):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = (
                f"POST /api/v1/b/{bucket}/x?ts={time_us} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            )
            head += f"x-reduct-content-length: {announced}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400")
    assert read_all(api, bucket) == b""
    assert sum(entry["size"] for entry in api("GET", f"/b/{bucket}").json["entries"]) == 0


def test_defect_4_labels_that_are_no_header_names(api, bucket):
    headers = {
        "x-reduct-entries": "x", "x-reduct-start-ts": "1", "x-reduct-labels": "good,with%20space,%C3%BCmlaut,a%3Ab",
        "x-reduct-0-0": "3,,0=1,1=2,2=3,3=" + "größe".encode().decode("latin-1"),
    }  # fmt: skip
    assert api("POST", f"/io/{bucket}/write", b"abc", headers).status == 200
    for method in ("GET", "HEAD"):
        answer = api(method, f"/b/{bucket}/x", ts=1)
        assert (answer.status, answer["x-reduct-label-good"]) == (200, "1")
    assert api("GET", f"/b/{bucket}/x", ts=1).body == b"abc"
    assert read_all(api, bucket, when={"&with space": {"$eq": 2}}) == b"abc"
    assert read_all(api, bucket, when={"&ümlaut": {"$eq": 3}}) == b"abc"
    assert read_all(api, bucket, when={"&a:b": {"$eq": "größe"}}) == b"abc"


def test_defect_5_oldest_record_beside_an_empty_bucket(serve, http_to):
    api = http_to(serve())
    api("POST", "/b/empty")
    api("POST", "/b/full")
    api.write("full", "x", 77)
    assert api("GET", "/info").json["oldest_record"] == 77


def test_defect_5_errors_of_remove_belong_to_their_entry(api, bucket):
    api.write(bucket, "a", 1)
    headers = {"x-reduct-entries": "a,b", "x-reduct-start-ts": "1", "x-reduct-0-0": "", "x-reduct-1-0": ""}
    answer = api("DELETE", f"/io/{bucket}/remove", None, headers)
    assert list(answer.named("x-reduct-error-")) == ["1-0"]


def test_defect_5_numeric_keys_of_attachments(api, bucket):
    for time_us in (1, 2):
        api.write(bucket, "x/$meta", time_us, b"%d" % time_us, key="7")
    assert read_all(api, bucket, entries=["x/$meta"]) == b"2"


def test_defect_5_counters_of_continuous_queries(api, bucket):
    id = api.query(bucket, continuous=True, when={"$each_n": 3}, entries=["x"], ttl=10).json["id"]
    got = b""
    for time_us in range(1, 10):
        api.write(bucket, "x", time_us, b"%d" % time_us)
        if time_us % 2 == 0:  # runs dry again and again
            answer = api.read(bucket, id)
            got += answer.body if answer.status == 200 else b""
    got += api.read(bucket, id).body
    assert got == b"369"


def test_defect_5_empty_v2_batches(api, bucket):
    headers = {"x-reduct-entries": "", "x-reduct-start-ts": "0"}
    assert api("PATCH", f"/io/{bucket}/update", None, headers).status == 200


@pytest.mark.parametrize("when", [
    {"$eq": [9223372036854775808, 1]}, {"$eq": [{"$rem": [5, 0]}, 1]}, {"$gt": ["&n", -9223372036854775809]},
])  # fmt: skip
def test_defect_6_large_integers_and_remainders_by_zero(api, bucket, when):
    api.write(bucket, "x", 1, n=1)
    opened = api.query(bucket, when=when, strict=True)
    if opened.status == 200:
        opened = api.read(bucket, opened.json["id"])
    assert opened.status == 422
    assert api("GET", "/info").status == 200


def test_defect_7_only_metadata_read_with_get(api, bucket):
    api.write(bucket, "x", 1, b"content")
    id = api.query(bucket, only_metadata=True).json["id"]
    answer = api.read(bucket, id)
    assert (answer["content-length"], answer.body) == ("7", b"content")
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "only_metadata": True}).json["id"]
    assert api("GET", f"/b/{bucket}/x/batch", q=id).body == b"content"


def test_defect_8_idle_reads(api, bucket):
    id = api.query(bucket, continuous=True).json["id"]
    began = time.monotonic()
    answer = api.read(bucket, id)
    assert time.monotonic() - began < 2
    assert answer.error == (204, "No content")


def test_defect_9_single_reads_of_a_finished_query(api, bucket):
    api.write(bucket, "x", 1, b"content")
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    assert api("GET", f"/b/{bucket}/x", q=id).body == b"content"
    for _ in range(3):
        assert api("GET", f"/b/{bucket}/x", q=id).error == (204, "No content")


# 18


def test_the_role_is_shown_and_nothing_is_licensed(serve, http_to):
    info = http_to(serve(RS_INSTANCE_ROLE="STANDALONE"))("GET", "/info").json
    assert (info["instance_role"], info["license"]) == ("STANDALONE", None)

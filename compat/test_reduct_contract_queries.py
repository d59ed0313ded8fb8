"""The wire contract, section 8: queries, their batches, continuous ones, patterns of entries, old parameters."""

import threading
import time

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def ask(api, bucket):
    """ask(**members): all records of a query over the bucket, as (entry, time) in their order, through every batch."""

    def all_of(**members):
        opened = api.query(bucket, **members)
        assert opened.status == 200, opened
        found = []
        while (answer := api.read(bucket, opened.json["id"])).status == 200:
            names = [name.replace("%2F", "/") for name in answer["x-reduct-entries"].split(",")]
            start = int(answer["x-reduct-start-ts"])
            for name in (name for name, _ in answer.headers if name.startswith("x-reduct-")):
                index, _, delta = name.removeprefix("x-reduct-").rpartition("-")
                if index.isdigit() and delta.isdigit():
                    found.append((names[int(index)], start + int(delta)))
            if answer["x-reduct-last"] == "true":
                break
        else:
            assert answer.error == (204, "No content")
        return found

    return all_of


@pytest.fixture
def times(ask):
    return lambda **members: [time_us for _, time_us in ask(**members)]


@pytest.fixture
def ten(api, bucket):
    """Records of entry x at 0, 10, ..., 90, label n = 0 ... 9."""
    items = {f"x-reduct-time-{i * 10}": f"1,,n={i}" for i in range(10)}
    assert api("POST", f"/b/{bucket}/x/batch", b"0123456789", items).status == 200


# 8.1


def test_ids_rise_from_1(serve, http_to):
    api = http_to(serve())
    api("POST", "/b/x")
    api.write("x", "y", 1)
    ids = [
        api.query("x").json["id"],
        api("POST", "/b/x/y/q", {"query_type": "QUERY"}).json["id"],
        api.query("x").json["id"],
    ]
    assert ids == sorted(set(ids))
    assert ids[0] == 1


def test_an_id_belongs_to_its_entry_or_bucket(api, bucket, ten):
    api.write(bucket, "y", 1)
    v1 = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    v2 = api.query(bucket).json["id"]

    def unknown(id):
        return 404, f"Query {id} not found and it might have expired. Check TTL in your query request."

    assert api.read(bucket, v1).error == unknown(v1)
    assert api("GET", f"/b/{bucket}/y/batch", q=v1).error == unknown(v1)
    assert api("GET", f"/b/{bucket}/x/batch", q=v2).error == unknown(v2)
    assert api("GET", f"/b/{bucket}/x", q=v1).status == 200
    assert api("GET", f"/b/{bucket}/x/batch", q=v1).status == 200
    assert api("HEAD", f"/b/{bucket}/x/batch", q=99999).error == unknown(99999)


def test_query_type_is_required(api, bucket, ten):
    for path in (f"/io/{bucket}/q", f"/b/{bucket}/x/q"):
        for body in ({}, {"query_type": None}, {"query_type": "OTHER"}):
            status, message = api("POST", path, body).error
            assert status == 422
            assert message.startswith("Invalid JSON: ")


def test_the_interval_is_half_open(times, ten):
    assert times(start=20, stop=50) == [20, 30, 40]
    assert times(start=50) == [50, 60, 70, 80, 90]
    assert times(stop=20) == [0, 10]
    assert times(start=0, stop=0) == []
    assert times(start=None, stop=None, ttl=None, when=None, strict=None, continuous=None, ext=None) == list(
        range(0, 100, 10)
    )


def test_start_after_stop(api, bucket, ten, times):
    message = "Start time must be before stop time"
    assert api.query(bucket, start=2, stop=1).error == (422, message)
    assert api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "start": 2, "stop": 1}).error == (422, message)
    assert api("POST", f"/io/{bucket}/q", {"query_type": "REMOVE", "start": 2, "stop": 1}).error == (422, message)
    assert times(start=5000) == []  # [ref bug] 422 there


def test_the_url_form(api, bucket, ten):
    def read(**parameters):
        opened = api("GET", f"/b/{bucket}/x/q", **parameters)
        if opened.status != 200:
            return opened.error
        return sorted(map(int, api("GET", f"/b/{bucket}/x/batch", q=opened.json["id"]).named("x-reduct-time-")))

    assert read(start=20, stop=50) == [20, 30, 40]
    assert read(start="a") == (422, "'start' must be an unix timestamp in microseconds")
    assert read(stop="a") == (422, "'stop' must be an unix timestamp in microseconds")
    assert read(ttl="-1") == (422, "'ttl' must be in seconds as an unsigned integer")
    assert read(continuous="yes") == (422, "'continue' must be a bool value")


def test_missing_entries(api, bucket, ten, times):
    missing = 404, f"Entry 'none' not found in bucket '{bucket}'"
    assert api("POST", f"/b/{bucket}/none/q", {"query_type": "QUERY"}).error == missing
    assert api("GET", f"/b/{bucket}/none/q").error == missing
    assert times(entries=["none", "no*"]) == []
    assert api.query("none").error == (404, "Bucket 'none' is not found")
    removed = api("POST", f"/b/{bucket}/none/q", {"query_type": "REMOVE", "start": 0})
    assert removed.json == {"removed_records": 0}


def test_remove(api, bucket, ten, times):
    api.write(bucket, "y", 15, n=3)
    api.write(bucket, "x/$meta", 15, b"{}", key="k")

    def remove(path=f"/io/{bucket}/q", **members):
        answer = api("POST", path, {"query_type": "REMOVE", **members})
        return answer.json["removed_records"] if answer.status == 200 else answer.error

    unset = 422, "Define at least one query parameter to delete records"
    assert remove() == unset
    assert remove(start=None, when=None, entries=None) == unset
    assert remove(f"/b/{bucket}/x/q") == unset
    assert remove(start=10, stop=30) == 3
    assert times() == [0, *range(30, 100, 10)]
    assert remove(when={"&n": {"$gte": 8}}) == 2
    assert remove(f"/b/{bucket}/x/q", start=60, stop=80, continuous=True) == 2
    assert times() == [0, 30, 40, 50]
    assert remove(when={"&none": {"$eq": 1}}, strict=True) == (404, "Reference 'none' not found")
    assert remove(when={"&none": {"$eq": 1}}) == 0
    assert remove(entries=["x"]) == 4
    assert api("HEAD", f"/b/{bucket}/x/$meta", ts=15).status == 200


def test_remove_by_url(api, bucket, ten, times):
    assert api("DELETE", f"/b/{bucket}/x/q").error == (422, "Define at least one query parameter to delete records")
    assert api("DELETE", f"/b/{bucket}/x/q", start=20, stop=50).json == {"removed_records": 3}
    assert times() == [0, 10, 50, 60, 70, 80, 90]
    assert api("DELETE", f"/b/{bucket}/none/q", start=20).json == {"removed_records": 0}


def test_remove_needs_the_right_to_write(secured_api):
    admin = secured_api()
    admin("POST", "/b/rights")
    admin.write("rights", "x", 1)
    tokens = {right: admin("POST", f"/tokens/rights-{right}", {"permissions": {right: ["rights"]}}).json["value"]
              for right in ("read", "write")}  # fmt: skip
    reader, writer = secured_api(tokens["read"]), secured_api(tokens["write"])
    for path in ("/io/rights/q", "/b/rights/x/q"):
        remove = {"query_type": "REMOVE", "start": 100}
        assert reader("POST", path, remove).error == (
            403, "Token 'rights-read' doesn't have write access to bucket 'rights'",
        )  # fmt: skip
        assert writer("POST", path, remove).status == 200
        assert writer("POST", path, {"query_type": "QUERY"}).error == (
            403, "Token 'rights-write' doesn't have read access to bucket 'rights'",
        )  # fmt: skip
        assert reader("POST", path, {"query_type": "QUERY"}).status == 200


# 8.2


def test_single_reads_and_batches_alternate(api, bucket, ten):
    when = {"#batch_records": 3}
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "when": when}).json["id"]

    def one():
        answer = api("GET", f"/b/{bucket}/x", q=id)
        return answer.status, answer.body

    def batch():
        answer = api("GET", f"/b/{bucket}/x/batch", q=id)
        return answer.status, answer.body

    assert [one(), one(), batch(), one(), batch()] == [
        (200, b"0"), (200, b"1"), (200, b"234"), (200, b"5"), (200, b"678"),
    ]  # fmt: skip
    assert one() == (200, b"9")
    assert [one(), batch(), one()] == [(204, b"")] * 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_last_record_of_one_batch(api, bucket, ten, method):
    v1 = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    answer = api(method, f"/b/{bucket}/x/batch", q=v1)
    assert (answer.status, answer["x-reduct-last"]) == (200, "true")
    answer = api.read(bucket, api.query(bucket).json["id"], method)
    assert (answer.status, answer["x-reduct-last"]) == (200, "true")
    assert answer["content-length"] == "10"


def test_exhausted_again_and_again(api, bucket, ten):
    id = api.query(bucket).json["id"]
    api.read(bucket, id)
    assert [api.read(bucket, id).error for _ in range(3)] == [(204, "No content")] * 3


def test_headers_of_a_v2_read(api, bucket, ten):
    path = f"/io/{bucket}/read"
    required = 422, "x-reduct-query-id header is required for batched reads"
    assert api("GET", path).error == required
    assert api("GET", path, headers={"x-reduct-query-id": "abc"}).error == (422, "Invalid query id")


@pytest.mark.parametrize("strict", [True, False])
def test_errors_of_conditions(api, bucket, ten, strict):
    when = {"$or": [{"&n": {"$lt": 2}}, {"&none": {"$eq": 1}}]}
    id = api.query(bucket, when=when, strict=strict).json["id"]
    answer = api.read(bucket, id)
    if not strict:
        assert answer.body == b"01"
        return
    while answer.status == 200:
        answer = api.read(bucket, id)
    assert answer.error == (404, "Reference 'none' not found")


def test_ttl(api, bucket, ten):
    id = api.query(bucket, ttl=0).json["id"]
    assert api.read(bucket, id).status == 404
    when = {"#batch_records": 1}
    id = api.query(bucket, ttl=1, when=when).json["id"]
    for _ in range(4):  # each read is a new beginning
        time.sleep(0.4)
        assert api.read(bucket, id).status == 200
    time.sleep(1.3)
    assert api.read(bucket, id).status == 404


def test_over_several_entries_by_time_and_name(api, bucket, ask):
    for entry, time_us in (("b", 1), ("a", 2), ("b", 3), ("a", 3), ("c", 2)):
        api.write(bucket, entry, time_us)
    expected = [("b", 1), ("a", 2), ("c", 2), ("a", 3), ("b", 3)]
    assert ask() == ask(entries=[]) == ask(entries=["*"]) == expected
    assert ask(entries=["a", "b"]) == [item for item in expected if item[0] != "c"]


# 8.3


def test_continuous(api, bucket, ten, reduct, http_to):
    id = api.query(bucket, start=80, stop=85, continuous=True, ttl=10).json["id"]
    answer = api.read(bucket, id)
    assert (answer.body, answer["x-reduct-last"]) == (b"89", "false")
    began = time.monotonic()
    assert api.read(bucket, id).error == (204, "No content")
    assert time.monotonic() - began < 2
    writer = threading.Timer(0.2, lambda: http_to(reduct).write(bucket, "x", 1000, b"new"))
    writer.start()
    while (answer := api.read(bucket, id)).status == 204:
        assert time.monotonic() - began < 20
    assert (answer.body, answer["x-reduct-last"]) == (b"new", "false")
    writer.join()


def test_new_records_are_sent_at_once(api, bucket, ten, reduct, http_to):
    id = api.query(bucket, start=1000, continuous=True, ttl=10).json["id"]
    other = http_to(reduct)
    written = []

    def write():
        written.append(time.monotonic())
        other.write(bucket, "x", 2000, b"new")

    threading.Timer(0.3, write).start()
    answer = api.read(bucket, id)
    assert answer.body == b"new"
    assert time.monotonic() - written[0] < 0.5


def test_continuous_v1(api, bucket, ten):
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "continuous": True, "start": 90}).json["id"]
    answer = api("GET", f"/b/{bucket}/x/batch", q=id)
    assert (answer.body, answer["x-reduct-last"]) == (b"9", "true")
    assert api("GET", f"/b/{bucket}/x/batch", q=id).status == 204
    api.write(bucket, "x", 95, b"new")
    assert api("GET", f"/b/{bucket}/x/batch", q=id).body == b"new"


def test_continuous_sees_entries_that_are_made_later(api, bucket):
    id = api.query(bucket, continuous=True, entries=["later-*"], ttl=10).json["id"]
    assert api.read(bucket, id).status == 204
    api.write(bucket, "later-1", 5, b"new")
    assert api.read(bucket, id).body == b"new"


# 8.4


def test_100_empty_records_come_as_85_and_15(api, bucket):
    api("POST", f"/b/{bucket}/x/batch", b"", {f"x-reduct-time-{i}": "0," for i in range(100)})
    v1 = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY"}).json["id"]
    answers = [api("GET", f"/b/{bucket}/x/batch", q=v1) for _ in range(2)]
    assert [len(answer.named("x-reduct-time-")) for answer in answers] == [85, 15]
    assert [answer["x-reduct-last"] for answer in answers] == ["false", "true"]
    v2 = api.query(bucket).json["id"]
    answers = [api.read(bucket, v2) for _ in range(2)]
    assert [len(answer.named("x-reduct-0-")) for answer in answers] == [85, 15]
    assert [answer["x-reduct-last"] for answer in answers] == ["false", "true"]


def test_8_mb_end_a_batch_but_not_for_head(api, bucket):
    for time_us in range(5):
        api.write(bucket, "x", time_us, b"x" * 3_000_000)
    id = api.query(bucket).json["id"]
    answers = [api.read(bucket, id), api.read(bucket, id)]
    assert [len(answer.body) for answer in answers] == [9_000_000, 6_000_000]
    answer = api.read(bucket, api.query(bucket).json["id"], "HEAD")
    assert answer["content-length"] == "15000000"


def test_a_batch_holds_one_record_at_least(api, bucket):
    for time_us in range(2):
        api.write(bucket, "x", time_us, b"x" * 10_000_000)
    id = api.query(bucket).json["id"]
    assert [len(api.read(bucket, id).body) for _ in range(2)] == [10_000_000, 10_000_000]


def test_limits_from_the_environment(serve, http_to):
    api = http_to(serve(RS_IO_BATCH_MAX_RECORDS="3", RS_IO_BATCH_MAX_SIZE="1KB"))
    api("POST", "/b/x")
    for time_us in range(4):
        api.write("x", "y", time_us, b"x")
    for time_us in range(10, 13):
        api.write("x", "y", time_us, b"x" * 600)
    id = api.query("x").json["id"]
    assert [len(api.read("x", id).body) for _ in range(3)] == [3, 1201, 600]


# 8.5

NAMES = ("acc-a", "acc-a/sub", "a/x/b", "a/x/y/b", "a/b", "sensor-x-temp", "sensor-x-temps", "b")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a/b"], ["a/b"]),
        (["*"], NAMES),
        (["acc-*"], ["acc-a", "acc-a/sub"]),
        (["/a/*/b"], ["a/x/b"]),
        (["/a/**/b"], ["a/x/b", "a/x/y/b", "a/b"]),
        (["/a/**"], ["a/x/b", "a/x/y/b", "a/b", "a/x", "a/x/y", "a"]),
        (["sensor-*temp"], ["sensor-x-temp"]),
        (["*temp*"], ["sensor-x-temp", "sensor-x-temps"]),
        (["**"], NAMES),
        (["acc-*", "!acc-a"], ["acc-a/sub"]),
        (["!acc-*", "!a/**"], ["sensor-x-temp", "sensor-x-temps", "b"]),
    ],
)
def test_patterns(api, bucket, ask, patterns, expected):
    for name in NAMES:
        api.write(bucket, name, 1)
        api("POST", f"/b/{bucket}/{name}/$meta", b"{}", {"x-reduct-label-key": "k"}, ts=1)
    assert [entry for entry, _ in ask(entries=patterns)] == sorted(set(NAMES) & set(expected))


def test_attachments_match_by_their_exact_name_only(api, bucket, ask):
    api.write(bucket, "x/$meta", 1, b"{}", key="k")
    assert ask(entries=["x/*"]) == ask(entries=["**"]) == ask() == []
    assert ask(entries=["x/$meta"]) == [("x/$meta", 1)]


# 8.6


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"include": {"n": "3"}}, [30]),
        ({"include": {"n": 3}}, [30]),
        ({"include": {"n": "3", "none": "1"}}, []),
        ({"exclude": {"n": "3"}}, [0, 10, 20, 40, 50, 60, 70, 80, 90]),
        ({"each_n": 3}, [20, 50, 80]),
        ({"each_s": 0.00003}, [30, 60, 90]),
        ({"limit": 2}, [0, 10]),
        ({"exclude": {"n": "0"}, "each_n": 2, "limit": 3}, [20, 40, 60]),
        ({"when": {"&n": {"$gt": 5}}, "each_n": 4}, [90]),
        ({"when": {"&n": {"$gt": 5}}, "limit": 2}, [60, 70]),
    ],
)
def test_old_parameters(api, bucket, ten, times, members, expected):
    assert times(**members) == expected
    removed = api("POST", f"/b/{bucket}/x/q", {"query_type": "REMOVE", **members}).json["removed_records"]
    assert removed == len(expected)
    assert times() == sorted(set(range(0, 100, 10)) - set(expected))


def test_old_parameters_in_the_url(api, bucket, ten):
    id = api("GET", f"/b/{bucket}/x/q?each_n=2&limit=2&exclude-n=1").json["id"]
    assert api("GET", f"/b/{bucket}/x/batch", q=id).body == b"24"

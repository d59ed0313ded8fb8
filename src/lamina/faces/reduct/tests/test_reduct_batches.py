"""Batches over HTTP, protocols v1 and v2 (contract 7, 9)."""

from __future__ import annotations

import pytest

from lamina.faces.reduct import uploads
from lamina.faces.reduct.tests.asgi import Answer, Client, batch_times
from lamina.faces.reduct.tests.test_reduct_encode2 import decode


@pytest.fixture
def plant(client: Client) -> Client:
    client.bucket("b")
    return client


def headers1(records: dict[int, str]) -> list[tuple[str, str]]:
    return [(f"x-reduct-time-{time_us}", value) for time_us, value in records.items()]


def told(answer: Answer, by_time: bool = True):
    pairs = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return decode([pair for pair in pairs if not pair[0].startswith(b"x-reduct-error-")], answer.body,
                  by_time=by_time, by_name=True)  # fmt: skip


def test_batch_is_kept_and_read_in_time_order(plant):
    body = b"".join([b"three", b"seven", b""])
    answer = plant.post("/b/b/e/batch", body, headers1({7: "5,a/b,x=1", 3: "5,", 9: "0,a/b"}))
    assert (answer.status, answer.headers.get("x-reduct-error-3")) == (200, None)
    assert plant.get("/b/b/e?ts=3").body == b"three"
    assert plant.get("/b/b/e?ts=7").labels == {"x": "1"}
    id = plant.query("/b/b/e")
    read = plant.get(f"/b/b/e/batch?q={id}")
    assert read.status == 200
    assert read.body == b"threeseven"
    assert read.headers["x-reduct-time-3"] == "5,application/octet-stream"
    assert read.headers["x-reduct-time-7"] == "5,a/b,x=1"
    assert read.headers["x-reduct-last"] == "true"
    assert read.headers["content-type"] == "application/octet-stream"
    assert plant.get(f"/b/b/e/batch?q={id}").status == 204


def test_records_that_fail_are_skipped_and_told(plant):
    plant.write("b/e", 5, b"old")
    answer = plant.post("/b/b/e/batch", b"aaabbbccc", headers1({4: "3,", 5: "3,", 6: "3,"}))
    assert answer.status == 200
    assert answer.headers["x-reduct-error-5"] == "409,A record with timestamp 5 already exists"
    assert [plant.get(f"/b/b/e?ts={t}").body for t in (4, 5, 6)] == [b"aaa", b"old", b"ccc"]


def test_late_records_of_a_batch_are_kept(plant):
    plant.write("b/e", 1000)
    times = [1, 500, 1500]
    assert plant.post("/b/b/e/batch", b"abc", headers1(dict.fromkeys(times, "1,"))).status == 200
    assert plant.times("/b/b/e") == [1, 500, 1000, 1500]


def test_records_whose_place_must_be_read_are_opened_on_a_thread(plant):
    plant.write("b/e", 2)
    bucket = plant.db.buckets.get("b")
    opening = bucket.try_open_write
    bucket.try_open_batch = lambda *_: None
    bucket.try_open_write = lambda entry, time_us, *rest: None if time_us > 1 else opening(entry, time_us, *rest)
    answer = plant.post("/b/b/e/batch", b"abcd", headers1(dict.fromkeys(range(1, 5), "1,")))
    assert answer.headers["x-reduct-error-2"].startswith("409,")
    assert [plant.get(f"/b/b/e?ts={t}").body for t in (1, 2, 3, 4)] == [b"a", b"", b"c", b"d"]
    assert plant.write("b/e", 9, b"single").status == 200
    assert plant.get("/b/b/e?ts=9").body == b"single"


def test_batch_into_a_bucket_that_does_not_exist(plant):
    answer = plant.post("/b/nope/e/batch", b"ab", headers1({1: "1,", 2: "1,"}))
    assert answer.status == 200
    assert answer.headers["x-reduct-error-1"] == answer.headers["x-reduct-error-2"] == "404,Bucket 'nope' is not found"


def test_an_empty_batch_makes_no_entry(plant):
    assert plant.post("/b/b/new/batch").status == 200
    assert plant.get("/b/b/new?ts=1").status == 404
    assert plant.db.buckets.get("b").names() == []


def test_batch_into_a_name_that_cannot_be(plant):
    answer = plant.post("/b/b/a.b/batch", b"ab", headers1({1: "2,"}))
    assert answer.headers["x-reduct-error-1"].startswith("422,Entry name can contain only")


def test_sum_of_lengths_must_be_the_content_length(plant):
    answer = plant.post("/b/b/e/batch", b"abc", headers1({1: "2,"}))
    assert answer.status == 422
    assert answer.error == "content-length header does not match the sum of the content-lengths in the headers"


def test_body_that_ends_early_keeps_nothing(plant):
    answer = plant.request("POST", "/b/b/e/batch", [b"abc"], headers1({1: "2,", 2: "2,"}))
    assert (answer.status, answer.error) == (400, "Content is shorter than expected: no more data to read")
    assert plant.post("/b/b/e/batch", b"abcd", headers1({1: "2,", 2: "2,"})).headers.get("x-reduct-error-1") is None


def test_empty_batch_is_fine(plant):
    assert plant.post("/b/b/e/batch").status == 200


def test_large_records_of_a_batch_go_to_the_disk(plant):
    sizes = {1: 10, 2: 100_000, 3: 70_000, 4: 2_000_000, 5: 20}
    contents = {t: bytes([t]) * size for t, size in sizes.items()}
    whole = b"".join(contents.values())
    chunks = [whole[i : i + 40_001] for i in range(0, len(whole), 40_001)]
    plant.write("b/e", 3)
    answer = plant.request("POST", "/b/b/e/batch", chunks, headers1({t: f"{size}," for t, size in sizes.items()}))
    assert answer.status == 200
    assert answer.headers["x-reduct-error-3"].startswith("409,")
    for time_us in (1, 2, 4, 5):
        assert plant.get(f"/b/b/e?ts={time_us}").body == contents[time_us]
    id = plant.query("/b/b/e")
    read = plant.get(f"/b/b/e/batch?q={id}")
    assert read.body == b"".join(contents[t] for t in (1, 2, 4, 5))


def test_blocks_go_by_the_order_of_a_batch_whatever_its_records_are_stored_in(plant):
    sizes = {1: 10, 2: 100_000, 3: 7, 4: 70_000, 5: 0, 6: 20}
    contents = {t: bytes([t]) * size for t, size in sizes.items()}
    assert plant.request("PUT", "/b/b", b'{"max_block_records": 4}').status == 200
    for time_us, content in contents.items():
        plant.post(f"/b/b/singly?ts={time_us}", content)
    plant.post("/b/b/together/batch", b"".join(contents.values()), headers1({t: f"{n}," for t, n in sizes.items()}))
    singly, together = plant.get("/b/b").json["entries"]
    assert together | {"name": "singly"} == singly
    assert singly["block_count"] == 2


def test_large_records_are_durable_before_a_batch_is_committed_in_pieces(plant, monkeypatch):
    monkeypatch.setattr(uploads, "COMMIT_BYTES", 100)
    sizes = {1: 70_000, 2: 200, 3: 70_000, 4: 10}
    contents = {t: bytes([t]) * size for t, size in sizes.items()}
    headers = headers1({t: f"{size}," for t, size in sizes.items()})
    assert plant.post("/b/b/e/batch", b"".join(contents.values()), headers).status == 200
    for time_us, content in contents.items():
        assert plant.get(f"/b/b/e?ts={time_us}").body == content


def test_labels_of_many_records_change(plant):
    plant.post("/b/b/e/batch", b"", headers1({1: "0,,a=1", 2: "0,,a=1,b=2"}))
    answer = plant.patch("/b/b/e/batch", b"", headers1({1: "0,,a=9,c=3", 2: "0,,b=", 3: "0,,a=1"}))
    assert answer.status == 200
    assert answer.headers["x-reduct-error-3"] == "404,Record 3 not found in entry b/e"
    assert plant.head("/b/b/e?ts=1").labels == {"a": "9", "c": "3"}
    assert plant.head("/b/b/e?ts=2").labels == {"a": "1"}
    assert plant.patch("/b/b/nope/batch", b"", headers1({1: "0,"})).status == 404
    assert plant.patch("/b/nope/e/batch", b"", headers1({1: "0,"})).status == 404


def test_many_records_are_removed(plant):
    plant.post("/b/b/e/batch", b"", headers1({1: "0,", 2: "0,", 3: "0,"}))
    answer = plant.request("DELETE", "/b/b/e/batch", headers=headers1({1: "", 3: "", 4: ""}))
    assert answer.status == 200
    assert answer.headers["x-reduct-error-4"] == "404,Record 4 not found in entry b/e"
    assert "x-reduct-error-1" not in answer.headers
    assert plant.times("/b/b/e") == [2]
    assert plant.request("DELETE", "/b/b/e/batch").status == 200


START, ENTRIES = "x-reduct-start-ts", "x-reduct-entries"


def test_batch_over_entries_is_kept_and_read(plant):
    headers = [(ENTRIES, "a%2Fx,b"), (START, "100"), ("x-reduct-labels", "k"), ("x-reduct-1-0", "1,t,0=2"),
               ("x-reduct-0-0", "2,t,0=1"), ("x-reduct-0-5", "2")]  # fmt: skip
    answer = plant.post("/io/b/write", b"AABBC", headers)
    assert answer.status == 200
    assert (answer.headers[ENTRIES], answer.headers[START]) == ("a%2Fx,b", "100")
    id = plant.query("/io/b")
    read = plant.get("/io/b/read", {"x-reduct-query-id": str(id)})
    assert (
        told(read)
        == told(read, by_time=False)
        == [
            ("a/x", 100, "t", {"k": "1"}, b"AA"),
            ("b", 100, "t", {"k": "2"}, b"C"),
            ("a/x", 105, "t", {"k": "1"}, b"BB"),
        ]
    )
    assert read.headers["x-reduct-last"] == "true"
    assert plant.get("/io/b/read", {"x-reduct-query-id": str(id)}).status == 204


def test_interleaved_entries_read_right(plant):
    """Contract 21 item 1."""
    for time_us in range(6):
        plant.write(f"b/{'ab'[time_us % 2]}", time_us, b"%d" % time_us * (time_us + 1), {"n": str(time_us)})
    id = plant.query("/io/b")
    read = plant.get("/io/b/read", {"x-reduct-query-id": str(id)})
    assert read.headers[ENTRIES] == "a,b,a,b,a,b"
    expected = [("ab"[t % 2], t, "application/octet-stream", {"n": str(t)}, b"%d" % t * (t + 1)) for t in range(6)]
    assert told(read) == told(read, by_time=False) == expected


def test_new_entries_of_a_batch_are_made_in_one_change(plant):
    bucket = plant.db.buckets.get("b")
    ensure, made = bucket.ensure_entries, []
    bucket.ensure_entries = lambda names: made.append(list(names)) or ensure(names)
    headers = [(ENTRIES, "n1,n2,n3"), (START, "0"), *((f"x-reduct-{i}-0", "0,") for i in range(3))]
    assert plant.post("/io/b/write", b"", headers).status == 200
    assert made == [["n1", "n2", "n3"]]
    headers = [(ENTRIES, "m1,m.2,m3"), (START, "0"), *((f"x-reduct-{i}-0", "0,") for i in range(3))]
    answer = plant.post("/io/b/write", b"", headers)
    assert [name for name in answer.headers if "error" in name] == ["x-reduct-error-1-0"]
    assert plant.get("/b/b/m3").status == 200


def test_records_of_entries_that_fail_are_told_by_index_and_delta(plant):
    plant.write("b/a", 100)
    headers = [(ENTRIES, "a,b"), (START, "100"), ("x-reduct-0-0", "1,"), ("x-reduct-1-0", "1,")]
    answer = plant.post("/io/b/write", b"xy", headers)
    assert answer.headers["x-reduct-error-0-0"] == "409,A record with timestamp 100 already exists"
    assert "x-reduct-error-1-0" not in answer.headers
    answer = plant.post("/io/nope/write", b"xy", headers)
    assert answer.status == 200
    assert answer.headers["x-reduct-error-1-0"] == "404,Bucket 'nope' is not found"


def test_empty_v2_batch_is_answered_with_its_echo(plant):
    """Contract 21 item 5."""
    headers = [(ENTRIES, ""), (START, "0")]
    for method, verb in (("POST", "write"), ("PATCH", "update"), ("DELETE", "remove")):
        answer = plant.request(method, f"/io/b/{verb}", b"", headers)
        assert (answer.status, answer.headers[ENTRIES], answer.headers[START]) == (200, "", "0")


def test_content_length_is_demanded_of_a_v2_write(plant):
    headers = [(ENTRIES, "a"), (START, "0"), ("x-reduct-0-0", "1,")]
    assert plant.request("POST", "/io/b/write", [b"x"], headers).error == "content-length header is required"
    assert plant.post("/io/b/write", b"xy", headers).status == 422


def test_labels_of_many_entries_change(plant):
    for time_us in (1, 2):
        plant.write("b/a", time_us, b"", {"x": "0", "y": "0"})
    headers = [(ENTRIES, "a,nope"), (START, "1"), ("x-reduct-labels", "x,y,z"), ("x-reduct-0-0", "0,,0=x,1="),
               ("x-reduct-0-1", "0,,0=,2=y"), ("x-reduct-0-9", "0"), ("x-reduct-1-0", "0,")]  # fmt: skip
    answer = plant.patch("/io/b/update", b"", headers)
    assert answer.status == 200
    assert plant.head("/b/b/a?ts=1").labels == {"x": "x"}
    assert plant.head("/b/b/a?ts=2").labels == {"z": "y"}
    assert answer.headers["x-reduct-error-0-9"] == "404,Record 10 not found in entry b/a"
    assert answer.headers["x-reduct-error-1-0"] == "404,Entry 'nope' not found in bucket 'b'"
    assert plant.patch("/io/nope/update", b"", headers).status == 404


def test_errors_of_a_v2_removal_belong_to_their_entry(plant):
    """Contract 21 item 5: the reference tells them of every entry with this timestamp."""
    plant.write("b/a", 7)
    headers = [(ENTRIES, "a,c"), (START, "7"), ("x-reduct-0-0", ""), ("x-reduct-1-0", "")]
    answer = plant.request("DELETE", "/io/b/remove", headers=headers)
    assert answer.status == 200
    assert "x-reduct-error-0-0" not in answer.headers
    assert answer.headers["x-reduct-error-1-0"].startswith("404,")


def test_attachments_are_not_removed_by_delete(plant):
    plant.write("b/e", 1)
    headers = [("x-reduct-label-key", "k")]
    assert plant.post("/b/b/e/$meta?ts=1", b"{}", headers).status == 200
    message = "Can't delete records from system entry 'e/$meta'; use label update with remove=true"
    assert plant.delete("/b/b/e/$meta?ts=1").error == message
    assert plant.request("DELETE", "/b/b/e/$meta/batch", headers=headers1({1: ""})).error == message
    v2 = [(ENTRIES, "e%2F$meta"), (START, "1"), ("x-reduct-0-0", "")]
    assert plant.request("DELETE", "/io/b/remove", headers=v2).error == message
    assert plant.delete("/b/b/e/$meta").error.startswith("Can't delete system entry 'e/$meta'")


def test_batch_of_100_empty_records_is_read_as_85_and_15(plant):
    plant.post("/b/b/e/batch", b"", headers1(dict.fromkeys(range(100), "0,")))
    for path, id in (("/b/b/e/batch?q={}", plant.query("/b/b/e")), ("/io/b/read", plant.query("/io/b"))):
        for method in ("GET",):
            headers = {"x-reduct-query-id": str(id)}
            first = plant.request(method, path.format(id), headers=headers)
            second = plant.request(method, path.format(id), headers=headers)
            assert (first.headers["x-reduct-last"], second.headers["x-reduct-last"]) == ("false", "true")
            records = [[n for n in a.headers if n[-1].isdigit() and n.startswith("x-reduct-")] for a in (first, second)]
            assert [len(found) for found in records] == [85, 15]
            assert len(first.headers) <= 97, "99 lines are what requests and urllib take; the listener adds a date"


@pytest.mark.parametrize("path", ["/b/b/e", "/io/b"])
def test_headers_of_a_batch_stay_within_what_clients_take(plant, path):
    label = "v" * 700
    plant.post("/b/b/e/batch", b"", headers1({t: f"0,,a={label}{t}" for t in range(60)}))
    id = plant.query(path)
    seen, batches = 0, 0
    while True:
        url = f"/b/b/e/batch?q={id}" if path != "/io/b" else "/io/b/read"
        answer = plant.get(url, {"x-reduct-query-id": str(id)})
        records = [name for name in answer.headers if name.startswith("x-reduct-") and name[-1].isdigit()]
        assert len(records) >= 1
        assert sum(len(n) + len(v) + 4 for n, v in answer.headers.items()) < 16_000
        seen += len(records)
        batches += 1
        if answer.headers["x-reduct-last"] == "true":
            break
    assert (seen, batches) == (60, 3)


def test_list_of_entries_stays_within_a_header_line(plant):
    names = [f"{'n' * 250}/{'m' * 240}{i}" for i in range(40)]
    for i, name in enumerate(names):
        plant.write(f"b/{name}", i)
    id = plant.query("/io/b", entries=["*"])
    seen = []
    while (answer := plant.get("/io/b/read", {"x-reduct-query-id": str(id)})).status == 200:
        assert len(answer.headers[ENTRIES]) <= 8000
        seen += [time_us for _, time_us, *_ in told(answer)]
    assert seen == list(range(40))


def test_a_single_record_is_sent_whatever_its_labels(plant):
    plant.write("b/e", 1, b"x", {"a": "v" * 20_000})
    plant.write("b/e", 2, b"y")
    id = plant.query("/b/b/e")
    first = plant.get(f"/b/b/e/batch?q={id}")
    assert (batch_times(first), first.headers["x-reduct-last"]) == ([1], "false")
    assert batch_times(plant.get(f"/b/b/e/batch?q={id}")) == [2]


def test_head_of_a_batch_states_the_size(plant):
    plant.post("/b/b/e/batch", b"aabbb", headers1({1: "2,", 2: "3,"}))
    answer = plant.head(f"/b/b/e/batch?q={plant.query('/b/b/e', only_metadata=True)}")
    assert answer.headers["content-length"] == "5"
    assert batch_times(answer) == [1, 2]


def test_get_sends_bodies_even_if_only_metadata_was_announced(plant):
    """Contract 21 item 7."""
    plant.write("b/e", 1, b"abc")
    answer = plant.get(f"/b/b/e/batch?q={plant.query('/b/b/e', only_metadata=True)}")
    assert answer.body == b"abc"


@pytest.mark.parametrize("late", [False, True], ids=["on the loop", "on a thread"])
def test_batch_that_fails_while_it_is_opened_claims_nothing(plant, late):
    plant.write("b/e", 100 if late else 0)
    bucket = plant.db.buckets.get("b")
    name = "open_write" if late else "try_open_write"
    opening, opened = getattr(bucket, name), []

    def fail_third(*given):
        if len(opened) == 2:
            raise OSError("disk")
        opened.append(given)
        return opening(*given)

    setattr(bucket, name, fail_third)
    bucket.try_open_batch = lambda *_: None
    headers = headers1(dict.fromkeys((10, 20, 30), "1,"))
    if late:  # as for a record whose place in an index must be read
        bucket.try_open_write = lambda *_: None
    assert plant.post("/b/b/e/batch", b"abc", headers).status == 500
    for key in ("open_write", "try_open_write", "try_open_batch"):
        bucket.__dict__.pop(key, None)
    answer = plant.post("/b/b/e/batch", b"abc", headers)
    assert [name for name in answer.headers if "error" in name] == []

"""The wire contract, section 9: the batch protocol of several entries."""

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def io(api, bucket):
    """io(method, action, "a,b", 1000, {"0-5": "3,"}, body): a request of the batch protocol v2."""

    def send(method, action, entries, start, items, body=None, **headers):
        named = {f"x-reduct-{name}": value for name, value in items.items()}
        if entries is not None:
            named["x-reduct-entries"] = entries
        if start is not None:
            named["x-reduct-start-ts"] = str(start)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return api(method, f"/io/{bucket}/{action}", body, named | more)

    return send


@pytest.fixture
def stored(api, bucket):
    """What is stored under an entry and time: content, type and labels."""

    def of(entry, time_us):
        answer = api("GET", f"/b/{bucket}/{entry}", ts=time_us)
        return answer.body, answer["content-type"], answer.named("x-reduct-label-")

    return of


OCTETS = "application/octet-stream"


# 9.1, 9.2


def test_bodies_follow_by_entry_and_time(io, stored):
    items = {"1-0": "1,text/plain", "0-10": "2,image/png", "0-5": "3,", "1-7": "1"}
    answer = io("POST", "write", "a,b%2Fc", 1000, items, b"cccdd" + b"B" + b"E")
    assert (answer.status, answer.body, answer.named("x-reduct-error")) == (200, b"", {})
    assert (answer["x-reduct-entries"], answer["x-reduct-start-ts"]) == ("a,b%2Fc", "1000")
    assert stored("a", 1005) == (b"ccc", OCTETS, {})
    assert stored("a", 1010) == (b"dd", "image/png", {})
    assert stored("b/c", 1000) == (b"B", "text/plain", {})
    assert stored("b/c", 1007) == (b"E", "text/plain", {})


def test_an_unencoded_slash_is_taken(io, stored):
    assert io("POST", "write", "a/b", 1, {"0-0": "1,"}, b"x")["x-reduct-entries"] == "a%2Fb"
    assert stored("a/b", 1)[0] == b"x"


def test_labels_are_deltas(io, stored):
    items = {
        "0-0": "0,text/plain,0=x,1=y",
        "0-1": "0",
        "0-2": '0,,1=,2="p,q"',
        "0-3": "0,,plain=z",
        "0-4": "0,image/png",
        "1-0": "0,,0=other",
    }
    assert io("POST", "write", "a,b", 1, items, b"", x_reduct_labels="k,L%20m,n").status == 200
    assert stored("a", 1) == stored("a", 2) == (b"", "text/plain", {"k": "x", "l%20m": "y"})
    assert stored("a", 3) == (b"", "text/plain", {"k": "x", "n": "p,q"})
    assert stored("a", 4) == (b"", "text/plain", {"k": "x", "n": "p,q", "plain": "z"})
    assert stored("a", 5) == (b"", "image/png", {"k": "x", "n": "p,q", "plain": "z"})
    assert stored("b", 1) == (b"", OCTETS, {"k": "other"})


def test_without_a_dictionary_numbers_are_names(io, stored):
    assert io("POST", "write", "a", 1, {"0-0": "0,,0=x"}, b"").status == 200
    assert stored("a", 1)[2] == {"0": "x"}


def test_empty_values_are_dropped(io, stored):
    assert io("POST", "write", "a", 1, {"0-0": "0,,k=,l=1"}, b"").status == 200
    assert stored("a", 1)[2] == {"l": "1"}


@pytest.mark.parametrize(
    ("entries", "start", "items", "labels", "message"),
    [
        ("a", None, {"0-0": "0,"}, None, "x-reduct-start-ts header is required"),
        ("a", "x", {"0-0": "0,"}, None, "Invalid x-reduct-start-ts header"),
        (None, 1, {"0-0": "0,"}, None, "x-reduct-entries header is required"),
        ("", 1, {"0-0": "0,"}, None, "x-reduct-entries header is required"),
        ("a,,b", 1, {"0-0": "0,"}, None, "x-reduct-entries header must not contain empty entry names"),
        ("a", 1, {"1-0": "0,"}, None, "Invalid header 'x-reduct-1-0': entry index out of range"),
        ("a", 1, {"0-0": "x,"}, None, "Invalid batched header"),
        ("a", 1, {"0-0": "0,,k"}, None, "Invalid batched header"),
        ("a", 1, {"0-0": '0,,k="v'}, None, "Invalid batched header"),
        ("a%2", 1, {"0-0": "0,"}, None, "Invalid entry encoding in header name: 'a%2'"),
        ("a%zz", 1, {"0-0": "0,"}, None, "Invalid entry encoding in header name: 'a%zz'"),
        ("a", 1, {"0-0": "0,,0=x"}, "", "x-reduct-labels header is empty"),
        ("a", 1, {"0-0": "0,,3=x"}, "k", "Label index '3' is out of range"),
        ("a", 1, {"0-0": "0,,@k=x"}, None, "Label names must not start with '@': reserved for computed labels"),
        ("a", 1, {"0-0": "0,,0=x"}, "%40k", "Label names must not start with '@': reserved for computed labels"),
        ("a", 1, {"0-0": "0"}, None, "Content-type and labels must be provided for the first record of an entry"),
        ("a", 1, {"label-1": "x"}, None, "Invalid header 'x-reduct-label-1': entry index must be a number"),
        ("a", 1, {"time-5": "0,"}, None, "Invalid header 'x-reduct-time-5': entry index must be a number"),
    ],
)
def test_malformed(io, entries, start, items, labels, message):
    more = {} if labels is None else {"x_reduct_labels": labels}
    for method, action in (("POST", "write"), ("PATCH", "update")):
        assert io(method, action, entries, start, items, b"", **more).error == (422, message)


def test_the_lengths_must_add_up(io):
    message = "content-length header does not match the sum of the content-lengths in the headers"
    assert io("POST", "write", "a", 1, {"0-0": "3,"}, b"12345").error == (422, message)


def test_failures_are_named_by_their_index(api, bucket, io):
    api.write(bucket, "b", 1005)
    items = {"0-0": "1,", "0-5": "1,", "1-0": "1,", "1-5": "1,", "2-0": "1,"}
    answer = io("POST", "write", "a,b,bad%20name", 1000, items, b"12345")
    assert answer.status == 200
    errors = answer.named("x-reduct-error-")
    assert set(errors) == {"1-5", "2-0"}
    assert errors["1-5"] == "409,A record with timestamp 1005 already exists"
    assert errors["2-0"].startswith("422,")
    assert [api("GET", f"/b/{bucket}/{entry}", ts=ts).body for entry, ts in (("a", 1005), ("b", 1000))] == [b"2", b"3"]
    headers = {"x-reduct-entries": "a", "x-reduct-start-ts": "7", "x-reduct-0-0": "1,"}
    answer = api("POST", "/io/none/write", b"x", headers)
    assert (answer.status, answer.named("x-reduct-error-")) == (200, {"0-0": "404,Bucket 'none' is not found"})
    assert (answer["x-reduct-entries"], answer["x-reduct-start-ts"]) == ("a", "7")


def test_empty_batches_are_echoed(api, bucket):
    headers = {"x-reduct-entries": "", "x-reduct-start-ts": "0", "content-length": "0"}
    for method, action in (("POST", "write"), ("PATCH", "update"), ("DELETE", "remove")):
        answer = api(method, f"/io/{bucket}/{action}", None, headers)
        assert (answer.status, answer["x-reduct-entries"], answer["x-reduct-start-ts"]) == (200, "", "0")


# 9.3


def test_update_accumulates_per_entry(api, bucket, io, stored):
    for time_us in (1, 2, 3):
        api.write(bucket, "a", time_us, b"x", p="old", q="old", r="old")
    items = {"0-0": "0,,0=x,1=", "0-1": "0,,0=,2=y", "0-2": "0,"}
    answer = io("PATCH", "update", "a", 1, items, x_reduct_labels="p,q,r")
    assert (answer.status, answer.named("x-reduct-error")) == (200, {})
    assert [stored("a", time_us)[2] for time_us in (1, 2, 3)] == [
        {"p": "x", "r": "old"}, {"r": "y"}, {"r": "y"},
    ]  # fmt: skip


def test_errors_of_update_and_remove(api, bucket, io):
    api.write(bucket, "a", 1000)
    for method, action in (("PATCH", "update"), ("DELETE", "remove")):
        answer = io(method, action, "a,none", 1000, {"0-0": "0,", "0-5": "0,", "1-0": "0,"})
        assert answer.status == 200
        assert answer.named("x-reduct-error-") == {
            "0-5": f"404,Record 1005 not found in entry {bucket}/a",
            "1-0": f"404,Entry 'none' not found in bucket '{bucket}'",
        }
        headers = {"x-reduct-entries": "a", "x-reduct-start-ts": "1", "x-reduct-0-0": "0,"}
        assert api(method, f"/io/none/{action}", None, headers).error == (404, "Bucket 'none' is not found")


# 9.4


def test_remove_takes_empty_values(api, bucket, io):
    for time_us in (1, 2):
        api.write(bucket, "a", time_us)
    assert io("DELETE", "remove", "a", 1, {"0-0": ""}).named("x-reduct-error") == {}
    assert io("DELETE", "remove", "a", 1, {"0-1": "0"}).named("x-reduct-error") == {}
    assert api("GET", f"/b/{bucket}").json["entries"][0]["record_count"] == 0


# 9.5


def records_of(answer):
    """Headers of records, in the order of index and delta."""
    found = {}
    for name, value in answer.named("x-reduct-").items():
        index, _, delta = name.rpartition("-")
        if index.isdigit() and delta.isdigit():
            found[int(index), int(delta)] = value
    return {f"{index}-{delta}": found[index, delta] for index, delta in sorted(found)}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read(api, bucket, method):
    api(
        "POST",
        f"/b/{bucket}/b/batch",
        b"xy",
        {"x-reduct-time-1000": "1,text/plain,K=1,l=a", "x-reduct-time-1005": "1,text/plain,K=1"},
    )
    api("POST", f"/b/{bucket}/a/c", b"zzz", {"Content-Type": "image/png", "x-reduct-label-l": "a,b"}, ts=1010)
    answer = api.read(bucket, api.query(bucket).json["id"], method)
    assert answer["x-reduct-entries"] == "b,a%2Fc"
    assert answer["x-reduct-start-ts"] == "1000"
    assert answer["x-reduct-labels"].split(",") == ["K", "l"]
    assert records_of(answer) == {"0-0": "1,text/plain,0=1,1=a", "0-5": "1,,1=", "1-10": '3,image/png,1="a,b"'}
    assert (answer["x-reduct-last"], answer["content-type"], answer["content-length"]) == ("true", OCTETS, "5")
    assert answer.body == (b"xyzzz" if method == "GET" else b"")


def test_interleaved_entries_come_in_runs(api, bucket):
    for time_us, entry in ((1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "b")):
        api.write(bucket, entry, time_us, f"{entry}{time_us}".encode(), only=entry) if time_us < 3 else api.write(
            bucket, entry, time_us, f"{entry}{time_us}".encode()
        )
    answer = api.read(bucket, api.query(bucket).json["id"])
    assert answer["x-reduct-entries"] == "a,b,a,b"
    assert answer.body == b"a1b2a3b4b5"
    assert records_of(answer) == {
        "0-0": f"2,{OCTETS},0=a", "1-1": f"2,{OCTETS},0=b", "2-2": f"2,{OCTETS},0=",
        "3-3": f"2,{OCTETS},0=", "3-4": "2",
    }  # fmt: skip


def test_equal_times_come_by_name(api, bucket):
    for entry in ("b", "a", "c"):
        api.write(bucket, entry, 7, entry.encode())
    answer = api.read(bucket, api.query(bucket).json["id"])
    assert (answer["x-reduct-entries"], answer.body) == ("a,b,c", b"abc")


def test_a_batch_is_cut_where_the_names_fill_a_header(api, bucket):
    for i in range(60):
        api.write(bucket, f"{i:03}{'n' * 97}/{'n' * 199}", i)
    id = api.query(bucket).json["id"]
    sizes = []
    while (answer := api.read(bucket, id)).status == 200:
        sizes.append(len(answer["x-reduct-entries"]))
    assert len(sizes) == 3
    assert max(sizes) <= 8_000
    assert sizes[0] > 7_000

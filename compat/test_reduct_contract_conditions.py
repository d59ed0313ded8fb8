"""The wire contract, section 10: conditions, as queries answer them."""

import json
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.wire

S = 1_000_000
DAY = 1_767_254_400 * S  # Thursday 2026-01-01 08:00 UTC


@pytest.fixture
def matched(api, bucket):
    """matched(when): whether a record with these labels at this time passes; an error of the strict mode as it came."""

    def of(when, labels="n=5,f=2.5,s=abc,t=true,neg=-3,z=007,e=1e5,text=10 b", time_us=DAY, strict=True):
        path = f"/b/{bucket}/x"
        api("DELETE", path)
        assert api("POST", f"{path}/batch", b"", {f"x-reduct-time-{time_us}": f"0,,{labels}"}).status == 200
        body = {"query_type": "QUERY", "strict": strict, "when": when}
        opened = api("POST", f"{path}/q", body)
        if opened.status != 200:
            return opened.error
        answer = api("GET", f"{path}/batch", q=opened.json["id"])
        return {200: True, 204: False}.get(answer.status, answer.error)

    return of


@pytest.fixture
def found(api, bucket):
    """found(when): times of 0 ... 90 by 10 s, label n = 0 ... 9, that pass, through all batches."""
    items = {f"x-reduct-time-{i * 10 * S}": f"0,,n={i},odd={str(i % 2 == 1).lower()}" for i in range(10)}
    api("POST", f"/b/{bucket}/x/batch", b"", items)

    def of(when, **members):
        opened = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "when": when, **members})
        if opened.status != 200:
            return opened.error
        times = []
        while (answer := api("GET", f"/b/{bucket}/x/batch", q=opened.json["id"])).status == 200:
            times += [int(time_us) // (10 * S) for time_us in answer.named("x-reduct-time-")]
        return times if answer.status == 204 else answer.error

    return of


TRUE = [
    {},
    {"$eq": ["&n", 5]},
    {"&n": {"$eq": 5}},
    {"$and": [{"&n": {"$gt": 4}}, {"&n": {"$lte": 5}}]},
    {"&n": {"$gt": 4}, "&f": {"$lt": 3}},
    {"$or": [{"&n": {"$gt": 10}}, {"&s": {"$eq": "abc"}}]},
    {"$all_of": []},
    {"$not": [{"$any_of": []}]},
    {"$not": [{"&n": {"$gt": 10}}]},
    {"$none_of": [{"$eq": [1, 2]}]},
    {"$xor": [{"$eq": [1, 1]}, {"$eq": [1, 2]}]},
    {"$one_of": [{"$eq": [1, 1]}]},
    {"$in": ["&n", 1, 5, 9]},
    {"$nin": ["&n", 1, 2]},
    {"$ne": ["&s", "x"]},
    {"$gte": ["&f", 2.5]},
    {"&z": {"$eq": 7}},
    {"&e": {"$eq": 100000}},
    {"&t": {"$eq": True}},
    {"&t": {"$eq": 1}},
    {"&text": {"$eq": "10 b"}},
    {"$eq": [{"$add": ["&n", 1, 2]}, 8]},
    {"$eq": [{"$add": ["a", "b"]}, "ab"]},
    {"$eq": [{"$add": []}, 0]},
    {"$eq": [{"$mult": ["&n", 2.5]}, 12.5]},
    {"$eq": [{"$sub": ["&n", 7]}, -2]},
    {"$eq": [{"$div": [5, 2]}, 2.5]},
    {"$eq": [{"$div_num": [-7, 2]}, -3]},
    {"$eq": [{"$rem": [-10, 6]}, -4]},
    {"$eq": [{"$abs": "&neg"}, 3]},
    {"$contains": ["&s", "b"]},
    {"$starts_with": ["&s", "ab"]},
    {"$ends_with": ["&s", "bc"]},
    {"$contains": ["&f", "2.5"]},
    {"$exists": ["n", "f"]},
    {"$has": "n"},
    {"$not": [{"$has": ["n", "none"]}]},
    {"$eq": [{"$ref": "n"}, 5]},
    {"$eq": [{"$cast": ["&n", "string"]}, "5"]},
    {"$eq": [{"$cast": ["2.9", "float"]}, 2.9]},
    {"$eq": [{"$cast": ["&f", "int"]}, 2]},
    {"$eq": [{"$cast": [60_000_000, "duration"]}, "1m"]},
    {"$starts_with": [{"$cast": [{"$cast": [-5_400_000_000, "duration"]}, "string"]}, "-1h -30"]},
    {"$gt": ["$timestamp", DAY - 1]},
    {"$eq": ["$id", DAY]},
    {"$eq": [{"$hour": "$timestamp"}, 8]},
    {"$eq": [{"$hour": ["$timestamp", "Europe/Berlin"]}, 9]},
    {"$eq": [{"$minute": "$timestamp"}, {"$second": "$timestamp"}]},
    {"$eq": [{"$day": "$timestamp"}, {"$month": "$timestamp"}]},
    {"$eq": [{"$year": "$timestamp"}, 2026]},
    {"$eq": [{"$weekday": "$timestamp"}, 3]},
    {"$eq": ["1h 30m", 5_400_000_000]},
    {"$eq": ["1h -30m", "30m"]},
    {"$gt": [2.5, True]},
    {"$gt": ["b", "a"]},
]

FALSE = [
    {"&s": {"$lt": 5}},
    {"&s": {"$gt": 5}},
    {"&s": {"$eq": 5}},
    {"&n": {"$eq": "abc"}},
    {"$or": []},
    {"$xor": [True, True]},
    {"$eq": ["1h30m", 5_400_000_000]},
    {"$eq": ["2.5m", 150_000_000]},
    {"$not": [True, False]},
]


@pytest.mark.parametrize("when", TRUE, ids=json.dumps)
def test_true(matched, when):
    assert matched(when) is True


@pytest.mark.parametrize("when", FALSE, ids=json.dumps)
def test_false(matched, when):
    assert matched(when) is False


SYNTAX = {
    "Object notation must have exactly one operator": {"&n": {"$gt": 1, "$lt": 2}},
    "Unknown '$' literal '$limit'; use '$$' to escape a string value": {"$limit": {"$add": [1, 2]}},
    "Array type is not supported: [10,20]": {"&x": {"$in": [10, 20]}},
    "Null type is not supported: null": {"$eq": [1, None]},
    "Operator 'and' must start with '$'": {"and": [1]},
    "Operator '$xx' not supported": {"$xx": [1]},
    "$limit requires exactly one operand": {"$limit": [1, 2]},
    "$eq requires exactly two operands": {"$eq": [1]},
    "$in operator requires at least two operands": {"$in": [1]},
    "$nin operator requires at least two operands": {"$nin": [1]},
    "$exists requires at least one operand": {"$has": []},
    "$timestamp requires no operands": {"$id": [1]},
    "$hour requires one or two operands": {"$hour": []},
    "Directive '#x' is not supported": {"#x": 1},
    "Directive '#batch_records' cannot be null": {"#batch_records": None},
    "#ctx_before must be non-negative": {"#ctx_before": -1},
}


@pytest.mark.parametrize("message", SYNTAX)
def test_errors_at_creation(matched, message):
    assert matched(SYNTAX[message]) == (422, message)


@pytest.mark.parametrize(
    ("when", "start"),
    [
        ({"#ctx_before": "abc"}, "#ctx_before must be an integer or duration: "),
        ({"#batch_records": "abc"}, "#batch_records must be "),
        ({"#batch_records": -1}, "#batch_records must be "),
        ({"#batch_size": "abc"}, "#batch_size must be "),
        ({"#batch_timeout": "abc"}, "#batch_timeout must be "),
        ({"#select_labels": 5}, "#select_labels must be "),
        ({"#select_labels": []}, "#select_labels must be "),
        ({"#select_labels": "5m"}, "#select_labels must be "),
        ({"$eq": ["$xx", 1]}, "Unknown '$' literal '$xx'"),
        ({"$eq": [2**64, 1]}, ""),
    ],
)
def test_errors_at_creation_begin_with(matched, when, start):
    status, message = matched(when)
    assert status == 422
    assert message.startswith(start)


RUN = {
    "Reference 'none' not found": {"&none": {"$eq": 1}},
    "Reference '@none' not found": {"@none": {"$eq": 1}},
    "Label '\"none\"' not found": {"$eq": [{"$ref": "none"}, 1]},
    "Cannot divide by zero": {"$eq": [{"$div": [1, 0]}, 1]},
    "Value 'abc' could not be parsed as integer": {"$eq": [{"$cast": ["&s", "int"]}, 1]},
    "Value 'abc' could not be parsed as float": {"$eq": [{"$cast": ["&s", "float"]}, 1]},
    "Unknown type 'x'": {"$eq": [{"$cast": ["&s", "x"]}, 1]},
    "Invalid timezone: 'x'": {"$eq": [{"$hour": ["$timestamp", "x"]}, 1]},
    "$hour requires timezone to be a string": {"$eq": [{"$hour": ["$timestamp", 5]}, 1]},
    "Value '0' is not a valid operand for $each_n": {"$each_n": 0},
    "Cannot add string to integer": {"$eq": [{"$add": ["&s", 1]}, 1]},
    "Cannot multiply string by integer": {"$eq": [{"$mult": ["&s", 1]}, 1]},
    "Cannot subtract string": {"$eq": [{"$sub": ["&s", "a"]}, 1]},
    "Cannot divide string": {"$eq": [{"$div": ["&s", 1]}, 1]},
    "Cannot divide by string": {"$eq": [{"$div": [1, "&s"]}, 1]},
    "Cannot calculate absolute value of a string": {"$gt": [{"$abs": "&s"}, 1]},
}


@pytest.mark.parametrize("message", RUN)
def test_errors_at_run_time(matched, message):
    status = 404 if "not found" in message else 422
    assert matched(RUN[message]) == (status, message)
    assert matched(RUN[message], strict=False) is False


def test_errors_abort_or_and_not(matched):
    for when in ({"$or": [{"&none": {"$eq": 1}}, True]}, {"$not": [{"&none": {"$eq": 1}}]}):
        assert matched(when, strict=False) is False
        assert matched(when) == (404, "Reference 'none' not found")
    assert matched({"$or": [True, {"&none": {"$eq": 1}}]}) is True


def test_members_keep_their_order(found, api, bucket):
    assert found({"&odd": {"$eq": True}, "$each_n": 2}) == [3, 7]
    body = '{"query_type": "QUERY", "when": {"$each_n": 3, "&odd": {"$eq": true}}}'
    id = api("POST", f"/b/{bucket}/x/q", body).json["id"]
    assert sorted(api("GET", f"/b/{bucket}/x/batch", q=id).named("x-reduct-time-")) == [str(50 * S)]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"$each_n": 4}, [3, 7]),
        ({"$each_t": 30}, [3, 6, 9]),
        ({"$each_t": "30s"}, [3, 6, 9]),
        ({"$each_t": 0}, list(range(10))),
        ({"$limit": 3}, [0, 1, 2]),
        ({"$limit": 0}, []),
        ({"&n": {"$gt": 3}, "$limit": 2}, [4, 5]),
        ({"$gate": ["25s", {"$in": ["&n", 1, 2, 3, 4]}]}, [1, 2, 3]),
        ({"$gate": [25, {"$in": ["&n", 1, 3, 5, 6]}]}, [1, 3, 5, 6]),
        ({"&n": {"$eq": 5}, "#ctx_before": 2}, [3, 4, 5]),
        ({"&n": {"$eq": 5}, "#ctx_after": 2}, [5, 6, 7]),
        ({"&n": {"$eq": 5}, "#ctx_before": "10s", "#ctx_after": "20s"}, [4, 5, 6, 7]),
        ({"$in": ["&n", 4, 5], "#ctx_before": 1, "#ctx_after": 1}, [3, 4, 5, 6]),
    ],
)
def test_state_and_context(found, when, expected):
    assert found(when) == expected


def test_state_is_per_entry(api, bucket):
    for entry in "abc":
        for time_us in range(8):
            api.write(bucket, entry, time_us)
    id = api.query(bucket, when={"$limit": 5}).json["id"]
    answer = api.read(bucket, id)
    assert answer["x-reduct-last"] == "true"
    names = [name for name in answer.named("x-reduct-") if name.replace("-", "").isdigit()]
    assert len(names) == 15


def test_select_labels(api, bucket, found):
    for select, expected in (("n", ["n"]), (["odd", "n"], ["n", "odd"]), (["none"], [])):
        id = api.query(bucket, when={"#select_labels": select, "$limit": 1}).json["id"]
        names = api.read(bucket, id).get("x-reduct-labels")
        assert sorted(map(unquote, names.split(",") if names else [])) == expected


@pytest.mark.parametrize(
    ("directive", "first"),
    [({"#batch_records": 3}, 3), ({"#batch_records": [4]}, 4), ({"#batch_metadata_size": 100}, 1)],
)
def test_batch_directives(api, bucket, found, directive, first):
    id = api("POST", f"/b/{bucket}/x/q", {"query_type": "QUERY", "when": directive}).json["id"]
    batch = api("GET", f"/b/{bucket}/x/batch", q=id).named("x-reduct-time-")
    assert len(batch) == first


def test_batch_size(api, bucket):
    for time_us in range(5):
        api.write(bucket, "x", time_us, b"x" * 1000)
    for size, expected in (("1KB", 2000), (2000, 3000), ("2KiB", 3000)):
        id = api.query(bucket, when={"#batch_size": size}).json["id"]
        assert len(api.read(bucket, id).body) == expected
    for name in ("#batch_timeout", "#record_timeout", "#io_timeout"):
        for value in (0, 5, "500ms"):
            assert api.query(bucket, when={name: value}).status == 200


# 17


@pytest.mark.parametrize(
    ("ext", "message"),
    [
        ({"ros": {"x": 1}}, "Unknown extension 'ros' in query id={}"),
        ({"ros": {}, "when": {}}, "Unknown extension 'ros' in query id={}"),
        ([{"ros": {}}], "Unknown extension 'ros' in query id={} at step 0"),
        ({}, "Extension name is not found in query id={}"),
    ],
)
def test_extensions(api, bucket, ext, message):
    for members in ({"ext": ext}, {"when": {"#ext": ext}}):
        status, said = api.query(bucket, **members).error
        assert status == 422
        id = said.partition("id=")[2].partition(" ")[0]
        assert said == message.format(id)

"""Batches: what a program fills, and the client's half of both protocols against the server's half."""

import pickle
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.faces.reduct import batch1, batch2, encode2
from lamina.reduct import Batch, RecordBatch, ReductError
from lamina.reduct.batch import v1, v2
from lamina.reduct.batch.text import quoted

S = 1_000_000

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
VALUES = TEXT.filter(lambda text: not ('"' in text and ("," in text or text.startswith('"'))))
NAMES = TEXT.filter(lambda name: name and not name.startswith("@"))
PLAIN_NAMES = NAMES.filter(lambda name: not set(name) & set(',="') and name == name.strip())
TYPES = st.sampled_from(["application/octet-stream", "text/plain", "x/y; charset=utf-8"])
ENTRIES = st.text(st.sampled_from([*string.ascii_letters, *"/-_$ü ,"]), min_size=1, max_size=6).filter(
    lambda name: name == name.strip()
)
TIMES = st.integers(0, 2**63)


def stored(labels, *, empty):
    """Labels as the grammar carries them: without spaces at the ends; v2 drops empty ones."""
    found = {name: value.strip() for name, value in labels.items()}
    return found if empty else {name: value for name, value in found.items() if value}


def raw(headers):
    return [(name.encode(), value.encode()) for name, value in headers]


def text(headers):
    return [(name.decode(), value.decode()) for name, value in headers]


# What a program fills


def test_records_are_ordered_and_replaced():
    batch = RecordBatch()
    assert (len(batch), batch.size, batch.last_access, batch.items()) == (0, 0, 0.0, [])
    batch.add("b", 2, b"1")
    batch.add("a", 3, b"22", content_type="text/plain", labels={"n": 1})
    batch.add("a", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), b"333")
    batch.add("a", 3, b"4444")
    assert [(key, record.size) for key, record in batch.items()] == [(("a", 3), 4), (("a", S), 3), (("b", 2), 1)]
    assert (len(batch), batch.size) == (3, 8)
    assert batch.last_access > 1.7e9
    with pytest.raises(TypeError, match="'label'"):
        batch.add("a", 1, b"", label={})
    batch.clear()
    assert (len(batch), batch.size, batch.last_access) == (0, 0, 0.0)


def test_a_batch_does_not_know_its_entry():
    batch = Batch()
    batch.add("1970-01-01T00:00:05Z", "ü")
    ((key, record),) = batch.items()
    assert key == (None, 5 * S)
    assert (record.entry, record.size, record.content_type, record.labels) == (None, 2, "application/octet-stream", {})
    with pytest.raises(ValueError, match="isoformat"):
        batch.add("yesterday")


def test_errors_compare_and_travel():
    error = ReductError.from_header("409,a, b")
    assert (error.status_code, error.message, str(error)) == (409, "a, b", "Status 409: a, b")
    assert error == ReductError(409, "a, b") == pickle.loads(pickle.dumps(error))
    assert error != ReductError(408, "a, b")
    assert error != 409
    assert len({error, ReductError(409, "a, b")}) == 1
    with pytest.raises(ValueError, match="409"):
        ReductError.from_header("409")


# Protocol v1


@given(
    st.dictionaries(TIMES, st.tuples(st.binary(max_size=3), TYPES, st.dictionaries(PLAIN_NAMES, VALUES, max_size=3)))
)
def test_v1_is_understood_by_the_server(records):
    batch = Batch()
    for time_us, (content, content_type, labels) in records.items():
        batch.add(time_us, content, content_type, labels)
    items = batch1.parse_items(raw(v1.encode(batch.held())), "e")
    assert [(item.time_us, item.size, item.content_type, dict(item.labels)) for item in items] == [
        (time_us, len(content), content_type, stored(labels, empty=True))
        for time_us, (content, content_type, labels) in sorted(records.items())
    ]


@given(
    st.dictionaries(TIMES, st.tuples(st.integers(0, 2**40), TYPES, st.dictionaries(PLAIN_NAMES, VALUES, max_size=3)))
)
def test_v1_of_the_server_is_understood(records):
    headers = [
        batch1.encode_item(time_us, size, content_type, tuple(labels.items()))
        for time_us, (size, content_type, labels) in records.items()
    ]
    found = v1.decode(text(headers), "e")
    assert [(head.time_us, head.size, head.content_type) for head in found] == [
        (time_us, size, content_type) for time_us, (size, content_type, _) in sorted(records.items())
    ]


def test_v1_says_values_that_look_alike_as_they_are():
    batch = Batch()
    for i, value in enumerate((True, 1, 1.0, "1", None, 'a "b"')):
        batch.add(i, labels={"a": value})
    assert [value.rpartition("=")[2] for _, value in v1.encode(batch.held())] == [
        "True", "1", "1.0", "1", "None", 'a "b"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "content_type"),
    [({"a=b": "1"}, None), ({"a,b": "1"}, None), ({'"': "1"}, None), ({"": "1"}, None), ({"a": 'x,"'}, None),
     ({"a": '"x"y'}, None), ({"a": "x\r\ny: z"}, None), ({}, "a,b"), ({}, "a\nb")],
)  # fmt: skip
def test_v1_refuses_what_it_cannot_say(labels, content_type):
    batch = Batch()
    batch.add(1, b"", content_type, labels)
    with pytest.raises(ValueError, match=r"label|content type|control"):
        v1.encode(batch.held())


def test_values_in_quotes():
    assert [quoted(value) for value in ("a", "a,b", 'a"b', "")] == ["a", '"a,b"', 'a"b', ""]


# Protocol v2

TRIMMED_NAMES = NAMES.filter(lambda name: name == name.strip())
RECORDS = st.dictionaries(
    st.tuples(ENTRIES, TIMES),
    st.tuples(st.binary(max_size=3), TYPES, st.dictionaries(TRIMMED_NAMES, VALUES, max_size=3)),
    max_size=8,
)


def filled(records):
    batch = RecordBatch()
    for (entry, time_us), (content, content_type, labels) in records.items():
        batch.add(entry, time_us, content, content_type=content_type, labels=labels)
    return batch


@given(RECORDS)
def test_v2_is_understood_by_the_server(records):
    head = batch2.parse_head(raw(v2.encode(filled(records).held())))
    items = batch2.parse_items(head)
    assert [(item.entry, item.time_us, item.size, item.content_type, dict(item.labels)) for item in items] == [
        (entry, time_us, len(content), content_type, stored(labels, empty=False))
        for (entry, time_us), (content, content_type, labels) in sorted(records.items())
    ]


@given(RECORDS)
def test_every_record_of_an_update_changes_what_it_names(records):
    """Nothing that an earlier record of the entry changes is carried over."""
    head = batch2.parse_head(raw(v2.encode_update(filled(records).held())))
    found = [
        (head.entries[place.entry_index], head.time_us(place), dict(changes))
        for place, changes in batch2.parse_changes(head)
    ]
    assert found == [
        (entry, time_us, stored(labels, empty=True)) for (entry, time_us), (_, _, labels) in sorted(records.items())
    ]


@given(RECORDS)
def test_removals_are_understood_by_the_server(records):
    head = batch2.parse_head(raw(v2.encode_removal(filled(records).held())))
    assert [(head.entries[place.entry_index], head.time_us(place)) for place in head.places] == sorted(records)


@given(
    st.lists(
        st.tuples(ENTRIES, TIMES, st.integers(0, 2**40), TYPES, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=8
    )
)
def test_v2_of_the_server_is_understood(records):
    records.sort(key=lambda record: (record[1], record[0]))
    records = [record for i, record in enumerate(records) if not i or record[:2] != records[i - 1][:2]]
    encoder = encode2.Encoder()
    for entry, time_us, size, content_type, labels in records:
        encoder.add(entry, time_us, size, content_type, tuple(sorted((name, value) for name, value in labels.items())))
    found = v2.decode(text(encoder.headers()))
    assert [head[:4] for head in found] == [record[:4] for record in records]
    for head, record in zip(found, records, strict=True):
        assert set(head.labels) <= {name for name, value in record[4].items() if value}


def test_labels_of_an_answer_follow_the_entry_before_and_are_its_own():
    headers = {
        "x-reduct-entries": "a%2Fb,c", "x-reduct-start-ts": "10", "x-reduct-labels": "n,%40at",
        "x-reduct-0-0": "1,t/a,0=x,1=5", "x-reduct-0-2": "2", "x-reduct-0-1": '3,,0="y,z"', "x-reduct-1-0": "4,,",
        "x-reduct-0-3": "5,t/b,0=,other=1",
        "x-reduct-last": "true", "date": "now",
    }  # fmt: skip
    found = v2.decode(list(headers.items()))
    assert [tuple(head) for head in found] == [
        ("a/b", 10, 1, "t/a", {"n": "x", "@at": "5"}),
        ("a/b", 11, 3, "t/a", {"n": "y,z", "@at": "5"}),
        ("a/b", 12, 2, "t/a", {"n": "y,z", "@at": "5"}),
        ("a/b", 13, 5, "t/b", {"@at": "5", "other": "1"}),
        ("c", 10, 4, "application/octet-stream", {}),
    ]
    found[1].labels["mine"] = "1"
    assert "mine" not in found[2].labels


def test_errors_are_those_of_their_entry():
    headers = [
        ("x-reduct-entries", "a,b"), ("x-reduct-start-ts", "10"), ("x-reduct-error-1-0", "409,exists"),
        ("x-reduct-error-0-5", "404,no, none"),
    ]  # fmt: skip
    assert v2.errors(headers) == {"b": {10: ReductError(409, "exists")}, "a": {15: ReductError(404, "no, none")}}
    assert v1.errors([("x-reduct-error-7", "409,x"), ("date", "now")]) == {7: ReductError(409, "x")}
    assert v2.errors([]) == v1.errors([]) == {}

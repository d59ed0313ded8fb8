"""Every call of the native API x every kind of caller, by sentences of docs/connect.md rather than by what the table of
calls says.

A call that is new fails until it stands in NEEDS, and until EXAMPLES can make a request of it that succeeds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import lamina
from lamina.engine.records.record import mark_of
from lamina.faces.native import Face
from lamina.faces.native.answers import METHODS
from lamina.faces.reduct.tests.asgi import Answer
from lamina.points.batch import Grouped, batch_of_points
from lamina.wire import PREFIX, arrow, frames
from lamina.wire.calls import CALLS
from lamina.wire.points import encode_groups
from tests.security.grounds import ELSEWHERE, HERE, RIGHTS, STRANGERS, Grounds

ANY, READ, WRITE, USE, FULL = "any", "read", "write", "use", "full"

MAY = {
    "reader elsewhere": {ANY},
    "reader": {ANY, READ, USE},
    "writer": {ANY, WRITE, USE},
    "full": {ANY, READ, WRITE, USE, FULL},
}
assert MAY.keys() == RIGHTS.keys()

NEEDS: dict[str, set[str]] = {
    # what concerns the whole database, what makes, renames and removes buckets, what cannot be undone
    FULL: {
        "database/poisoned", "database/degraded", "database/version_gaps", "database/stats", "database/flush",
        "database/compact", "database/set_retention", "database/pin", "database/drop_snapshot",
        "stream/obliterate", "stream/set_oldest_version", "stream/set_retention",
        "buckets/create", "buckets/update", "buckets/rename", "buckets/remove",
    },
    # shows names of snapshots, or only what the token may read
    ANY: {
        "database/snapshot", "database/open_snapshot", "database/snapshots", "buckets/defaults", "buckets/list",
        "streams/count", "streams/find", "streams/find_rows", "streams/collections", "streams/usage",
        "view/close", "snapshot/close", "subscription/close", "subscription/remove", "subscription/overflowed",
        "subscription/get",
    },
    # handles are for readers and writers
    USE: {"streams/get", "streams/named", "stream/version", "stream/exists", "buckets/get", "buckets/find",
          "bucket/has_entry"},
    WRITE: {
        "streams/create", "streams/insert_many", "stream/insert", "stream/delete", "stream/flush", "stream/set_tags",
        "stream/set_annotations", "bucket/ensure_entries", "bucket/remove_entry", "bucket/rename_entry",
        "bucket/update_labels", "bucket/remove_records", "entry/write", "entry/write_many", "entry/remove_range",
    },
    READ: {
        "streams/subscribe", "stream/oldest_version", "stream/at", "stream/values", "stream/windows",
        "stream/aligned_windows", "stream/nearest", "stream/count", "stream/changes", "stream/row",
        "view/values", "view/windows", "view/aligned_windows", "view/nearest", "view/count", "view/changes_since",
        "snapshot/stream", "snapshot/version", "snapshot/bucket", "bucketview/entries", "bucketview/entry",
        "entryview/read", "entryview/query", "entryview/content", "entryview/contents", "subscription/add",
        "entryview/batches", "bucket/batches", "entry/batches",
        "bucket/names", "bucket/settings", "bucket/info", "bucket/entry_infos", "bucket/query", "entry/info",
        "entry/read", "entry/query", "record/content", "record/contents",
    },
}  # fmt: skip
QUESTIONS = ("search", "count", "windows", "tag_keys", "field_keys", "tag_values", "latest_time")
CHANGES = ("update", "remove", "clear")
NEEDS[ANY] |= {f"measurements/{name}" for name in (*QUESTIONS, "names", "has")} | {"snapshot/measurements"}
NEEDS[READ] |= {f"{kind}/{name}" for name in QUESTIONS for kind in ("measurement", "measurementview")}
NEEDS[WRITE] |= {f"measurement/{name}" for name in CHANGES} | {"measurements/insert"}
NEEDS[FULL] |= {f"measurements/{name}" for name in (*CHANGES, "replace_all")}
NEED = {name: need for need, names in NEEDS.items() for name in names}

POINTS = bytes(arrow.encode(arrow.POINTS, [[10, 11], [1.0, 2.0]]))  # type: ignore[list-item]


class NativeGrounds(Grounds):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.native = Face(self.db, self.tokens)
        authenticate = self.tokens.authenticate if self.tokens is not None else None
        self.app.open_with(self.db, authenticate, guarded=options.get("guarded", False), face=self.native)
        self.stream: Any = None
        self.opened: dict[str, str] = {}

    def close(self) -> None:
        self.native.close()
        super().close()

    def call(self, who: str, name: str, arguments: dict[str, Any], payload: bytes | None = None) -> Answer:
        text = json.dumps(arguments, default=str).encode()
        body = text if payload is None else frames.joined(text, payload)
        return self.ask(who, "POST", f"/{PREFIX}{name}", body, api=False)

    def handle(self, who: str, name: str, /, **arguments: Any) -> str:
        """What the caller opens, or, where it may not, what another has opened."""
        for asked in (who, "full"):
            answer = self.call(asked, name, arguments)
            if answer.status == 200:
                return answer.json[0]
        raise AssertionError(answer)

    def content(self) -> Any:
        rows = [(row, self.db.streams.get(row.uuid).version) for row in self.db.streams.rows()]
        points = [repr((p.time, p.measurement, p.tags, p.fields)) for p in self.db.measurements.search()]
        return super().content(), rows, points, [pin.name for pin in self.db.snapshots()]

    def furnish(self) -> None:
        """The same small world before every request."""
        db = self.db
        for bucket in list(db.buckets.list()):
            db.buckets.remove(bucket.name)
        for stream in list(db.streams):
            stream.obliterate()
        for pin in db.snapshots():
            db.drop_snapshot(pin.name)
        db.buckets.create(ELSEWHERE).entry("e").write(b"secret", 1)
        db.buckets.create(HERE).entry("e").write(b"x", 1)
        db.streams.create(ELSEWHERE, "s").insert([1], [1.0])
        self.stream = db.streams.create(f"{HERE}/x", "s")
        self.stream.insert([1, 2, 3], [1.0, 2.0, 3.0])
        secret = [lamina.Point(measurement=ELSEWHERE, tags={"secret": "secret"}, fields={"secret": 1})]
        db.measurements.replace_all([*secret, lamina.Point(measurement=HERE, tags={"t": "x"}, fields={"f": 1.0})])
        db.snapshot("kept").close()
        for owner in RIGHTS:
            for id in [id for id, held in self.native.handles._held.items() if held.owner == owner.replace(" ", "-")]:
                self.native.handles.drop(owner.replace(" ", "-"), id)

    # -- what requests are made of

    @property
    def bucket(self) -> list[Any]:
        return [self.db.buckets[HERE].id, HERE]

    @property
    def mark(self) -> list[int]:
        return list(mark_of(self.db.buckets[HERE].entry("e").read(1)))

    def view(self, who: str) -> str:
        return self.handle(who, "stream/at", stream=self.stream.uuid, version=0)

    def snapshot(self, who: str) -> str:
        return self.handle(who, "database/open_snapshot", name="kept")

    def bucketview(self, who: str) -> str:
        """Of the caller's own snapshot, or of another's."""
        for asked in (who, "full"):
            snapshot = self.snapshot(asked)
            answer = self.call(asked, "snapshot/bucket", {"snapshot": snapshot, "name": HERE})
            if answer.status == 200:
                return answer.json[0]
        raise AssertionError(answer)

    def entryview(self, who: str) -> str:
        for asked in (who, "full"):
            answer = self.call(asked, "bucketview/entry", {"bucketview": self.bucketview(asked), "name": "e"})
            if answer.status == 200:
                return answer.json[0]
        raise AssertionError(answer)

    def subscription(self, who: str) -> str:
        """Of nothing, which everybody may follow."""
        return self.handle(who, "streams/subscribe", uuids=[], capacity=5)


RANGE, WINDOWS = {"start": 0, "end": 10}, {"start": 0, "end": 10, "width": 2, "depth": 0}
SELECTION = {"start": None, "stop": None, "when": None, "strict": False}
COLUMNS = {**SELECTION, "contents": True, "labels": None, "batch_bytes": 1000}
FILTER = {"collection": None, "prefix": False, "tags": None, "annotations": None}
NEW = bytes(arrow.encode(arrow.NEW, [[7], [2], [0], [0]]))  # type: ignore[list-item]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "database/set_retention": {"rule": None},
    "database/pin": {"name": "fresh"},
    "database/open_snapshot": {"name": "kept"},
    "database/drop_snapshot": {"name": "kept"},
    "streams/create": {"collection": f"{HERE}/y", "name": "n", "unit": None, "uuid": None, "tags": None,
                       "annotations": None, "exist_ok": False},
    "streams/named": {"collection": f"{HERE}/x", "name": "s"},
    "streams/find": FILTER, "streams/find_rows": FILTER, "streams/collections": {"prefix": ""},
    "streams/usage": {"prefix": ""},
    "stream/insert": {"policy": "never"}, "stream/delete": RANGE,
    "stream/at": {"version": 0}, "stream/values": {**RANGE, "version": 0}, "stream/windows": {**WINDOWS, "version": 0},
    "stream/aligned_windows": {**RANGE, "pointwidth": 2, "version": 0},
    "stream/nearest": {"time": 2, "backward": False, "version": 0}, "stream/count": {**RANGE, "version": 0},
    "stream/changes": {"from_version": 10, "to_version": 0, "resolution": 0},
    "stream/set_tags": {"changes": {"unit": "V"}, "collection": None, "remove": [], "expected": None},
    "stream/set_annotations": {"changes": {"a": "b"}, "remove": [], "expected": None},
    "stream/set_oldest_version": {"version": 11}, "stream/set_retention": {"rule": {"versions": 5}},
    "view/values": RANGE, "view/windows": WINDOWS, "view/aligned_windows": {**RANGE, "pointwidth": 2},
    "view/nearest": {"time": 2, "backward": False}, "view/count": RANGE,
    "view/changes_since": {"from_version": 10, "resolution": 0},
    "snapshot/bucket": {"name": HERE}, "bucketview/entry": {"name": "e"}, "entryview/read": {"time": 1},
    "entryview/query": SELECTION, "subscription/remove": {"uuids": []}, "subscription/get": {"timeout_s": 0},
    "buckets/create": {"name": "fresh", "settings": None, "exist_ok": False, "members": {}},
    "buckets/get": {"name": HERE}, "buckets/find": {"name": HERE}, "buckets/update": {"settings": {"quota_size": 9}},
    "buckets/rename": {"old": HERE, "new": "fresh"}, "buckets/remove": {"name": HERE},
    "bucket/has_entry": {"name": "e"}, "bucket/query": {"entries": None, **SELECTION},
    "bucket/batches": {"entries": None, **COLUMNS}, "entry/batches": COLUMNS, "entryview/batches": COLUMNS,
    "bucket/ensure_entries": {"names": ["f"]}, "bucket/remove_entry": {"name": "e"},
    "bucket/rename_entry": {"old": "e", "new": "f"}, "bucket/update_labels": {"updates": [["e", 1, {"a": "b"}]]},
    "bucket/remove_records": {"records": [["e", 1]]},
    "entry/write": {"time": 7, "labels": {}, "content_type": "a/b", "size": 2},
    "entry/write_many": {"labels": [{}], "content_types": ["a/b"], "columns": len(NEW)},
    "entry/remove_range": SELECTION, "entry/read": {"time": 1}, "entry/query": SELECTION,
}  # fmt: skip

GROUPS, PARTS = encode_groups([Grouped(HERE, batch_of_points([lamina.Point(fields={"f": 2})], 5), np.arange(1))])
INSERTED = b"".join(PARTS)
ASKED = {"query": [">", "fields", ["f"], 0.5], "start": None, "end": None}
for kind in ("measurements", "measurement", "measurementview"):
    named = {} if kind == "measurements" else {"name": HERE}
    ARGUMENTS |= {f"{kind}/{name}": dict(named) for name in (*QUESTIONS, *CHANGES)}
    ARGUMENTS[f"{kind}/search"] |= {**ASKED, "order": "time", "limit": None}
    ARGUMENTS[f"{kind}/count"] |= ASKED
    ARGUMENTS[f"{kind}/remove"] |= ASKED
    ARGUMENTS[f"{kind}/windows"] |= {"field": "f", "start": None, "end": None, "width": 10**9, "by": ["t"]}
    ARGUMENTS[f"{kind}/tag_values"] |= {"keys": None}
    ARGUMENTS[f"{kind}/update"] |= {"query": ASKED["query"], "time": None, "measurement": None, "tags": {"t": "y"},
                                    "fields": None, "unset_tags": [], "unset_fields": []}  # fmt: skip
ARGUMENTS |= {"measurements/has": {"name": HERE}, "measurements/insert": {"groups": GROUPS},
              "measurements/replace_all": {"groups": GROUPS}}  # fmt: skip

PAYLOADS = {
    "measurements/insert": INSERTED,
    "measurements/replace_all": INSERTED,
    "stream/insert": POINTS,
    "streams/insert_many": POINTS,
    "entry/write": b"xy",
    "entry/write_many": NEW + b"xy",
}

OF_THE_WORLD: dict[str, Callable[[NativeGrounds, str], Any]] = {
    "stream": lambda g, who: g.stream.uuid,
    "uuid": lambda g, who: g.stream.uuid,
    "uuids": lambda g, who: [g.stream.uuid],
    "streams": lambda g, who: [g.stream.uuid],
    "counts": lambda g, who: [2],
    "capacity": lambda g, who: 5,
    "view": NativeGrounds.view,
    "snapshot": NativeGrounds.snapshot,
    "bucketview": NativeGrounds.bucketview,
    "entryview": NativeGrounds.entryview,
    "subscription": NativeGrounds.subscription,
    "bucket": lambda g, who: g.bucket,
    "entry": lambda g, who: "e",
    "mark": lambda g, who: g.mark,
    "marks": lambda g, who: [g.mark],
    "start": lambda g, who: 0,
    "stop": lambda g, who: None,
}


def request_of(grounds: NativeGrounds, who: str, name: str) -> tuple[dict[str, Any], bytes | None]:
    given = ARGUMENTS.get(name, {})
    arguments = {
        parameter.name: given[parameter.name] if parameter.name in given else OF_THE_WORLD[parameter.name](grounds, who)
        for parameter in CALLS[name].parameters
    }
    return json.loads(json.dumps(arguments, default=str)), PAYLOADS.get(name)


@pytest.fixture
def grounds() -> Iterator[NativeGrounds]:
    grounds = NativeGrounds()
    yield grounds
    grounds.close()


def test_every_call_has_a_method_and_stands_here_with_the_right_it_declares():
    assert NEED.keys() == CALLS.keys() == METHODS.keys()
    for name, call in CALLS.items():
        assert {"list": ANY}.get(call.right, call.right) == NEED[name], name


@pytest.mark.parametrize("name", CALLS)
def test_every_call_does_what_the_token_allows_and_nothing_else(grounds, name, caplog):
    caplog.set_level(logging.DEBUG, logger="lamina")
    told = []
    call_of = name.partition("/")[0]  # questions to all measurements show each what is its own
    for who in (*STRANGERS, *MAY):
        grounds.furnish()
        arguments, payload = request_of(grounds, who if who in MAY else "full", name)
        before = grounds.content()
        answer = grounds.call(who, name, arguments, payload)
        told.append(str(answer))
        if NEED[name] in MAY.get(who, ()):
            assert answer.status == 200, f"{who}: {answer}"
            assert (
                b"secret" not in answer.body or who == "full" or (who, call_of) == ("reader elsewhere", "measurements")
            )
        else:
            assert answer.status in ((403, 410) if who in MAY else (401,)), f"{who}: {answer}"
            assert grounds.content() == before, f"{who}: the refused call changed something"
            assert answer.json["error"] in ("PermissionDenied", "Unauthenticated", "Closed")
            assert ("www-authenticate" in answer.headers) == (answer.status == 401)
        assert answer.headers["cache-control"] == "no-store"
    for secret in grounds.secrets:
        assert not any(secret in text for text in told)
        assert secret not in caplog.text


def test_listings_show_what_may_be_read(grounds):
    grounds.furnish()
    shown = {
        "reader elsewhere": ([ELSEWHERE], [ELSEWHERE]),
        "reader": ([f"{HERE}/x"], [HERE]),
        "writer": ([], []),
        "full": ([ELSEWHERE, f"{HERE}/x"], [ELSEWHERE, HERE]),
    }
    for who, (collections, buckets) in shown.items():
        listed = grounds.call(who, "streams/collections", {"prefix": ""})
        found = [json.loads(bytes(p)) for kind, p in frames.frames(iter([listed.body])) if kind == frames.DATA]
        assert [name for page in found for name in page] == collections
        assert [name for _, name, _ in grounds.call(who, "buckets/list", {}).json] == buckets
        assert grounds.call(who, "streams/count", {}).json == len(collections)
        usage = {"name": len(collections)} if collections else {}
        assert grounds.call(who, "streams/usage", {"prefix": ""}).json == [usage, {}]


def test_ids_and_marks_of_others_lead_nowhere(grounds):
    """What a caller may read, with numbers of what it may not."""
    grounds.furnish()
    other = grounds.db.buckets[ELSEWHERE]
    mark = list(mark_of(other.entry("e").read(1)))
    for bucket in ([other.id, HERE], [other.id, ELSEWHERE], [99, HERE]):
        answer = grounds.call("reader", "bucket/names", {"bucket": bucket})
        assert answer.status in (403, 404), answer
        assert answer.status == 403 or ELSEWHERE not in answer.json["message"]
    asked = {"bucket": grounds.bucket, "mark": mark, "start": 0, "stop": None}
    assert grounds.call("reader", "record/content", asked).status == 404
    wrong = [mark[0], 1, 1 << 63, 5]
    assert grounds.call("reader", "record/content", {**asked, "mark": wrong}).status == 404
    mine = grounds.mark
    for start, stop in ((0, 1 << 70), (-5, None), (5, 2)):
        answer = grounds.call("reader", "record/content", {**asked, "mark": mine, "start": start, "stop": stop})
        assert (answer.status, answer.body) in ((200, b"x"), (200, b"")), (start, stop)


def test_long_contents_are_not_gathered_in_the_servers_memory(grounds):
    grounds.furnish()
    entry = grounds.db.buckets[HERE].entry("e")
    entry.write(bytes(70_000), 2)
    marks = [list(mark_of(entry.read(time))) for time in (1, 2)]
    answer = grounds.call("reader", "record/contents", {"bucket": grounds.bucket, "marks": marks})
    ((_, portion), _) = frames.frames(iter([answer.body]))
    told, contents = frames.split(portion)
    size, refused = json.loads(bytes(told))
    assert (size, bytes(contents)) == (1, b"x")
    assert refused["error"] == "InvalidArgument"


def test_a_stream_is_not_moved_to_where_its_writer_may_not_write(grounds):
    grounds.furnish()
    arguments = {**ARGUMENTS["stream/set_tags"], "stream": str(grounds.stream.uuid), "collection": ELSEWHERE}
    assert grounds.call("writer", "stream/set_tags", arguments).status == 403
    arguments = {"streams": [str(grounds.stream.uuid), str(grounds.db.streams[ELSEWHERE, "s"].uuid)], "counts": [1, 1]}
    assert grounds.call("writer", "streams/insert_many", arguments, POINTS).status == 403
    assert grounds.stream.version == 11


def test_a_stream_that_moves_away_is_not_delivered_any_more(grounds):
    grounds.furnish()
    uuid = str(grounds.stream.uuid)
    handle = grounds.handle("reader", "streams/subscribe", uuids=[uuid], capacity=5)
    grounds.stream.set_tags({"unit": "V"}, collection=ELSEWHERE)
    grounds.stream.insert([5], [5.0])
    answer = grounds.call("reader", "subscription/get", {"subscription": handle, "timeout_s": 0})
    ((_, portion), _) = frames.frames(iter([answer.body]))
    assert json.loads(bytes(frames.split(portion)[0])) == {"uuids": [], "counts": [], "overflowed": False}


def test_other_paths_and_methods(grounds):
    grounds.furnish()
    for name in ("", "nothing", "stream/__class__", "stream/insert/", "../api/v1/info", "database/close"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = grounds.ask("full", method, f"/{PREFIX}{name}", api=False)
            expected = 404 if name else 200 if method == "GET" else 405
            assert answer.status == expected, (name, method)
    for method in ("GET", "PUT", "DELETE"):
        assert grounds.ask("full", method, f"/{PREFIX}stream/version", api=False).status == 405
    assert grounds.ask("nobody", "GET", f"/{PREFIX}", api=False).status == 401
    told = grounds.ask("writer", "GET", f"/{PREFIX}", api=False).json
    assert told == {"lamina": lamina.__version__, "wire": 1, "id": grounds.db.id.hex()}


def test_without_authentication_no_call_answers_a_page_of_another_site():
    grounds = NativeGrounds(tokens=False, guarded=True)
    try:
        for headers in ({"host": "example.com"}, {"origin": "http://example.com"}):
            answer = grounds.request("POST", f"/{PREFIX}database/flush", b"{}", headers, api=False)
            assert answer.status == 403
    finally:
        grounds.close()


# -- what a request may hold


def bodies() -> Iterator[tuple[bytes, int]]:
    yield b"", 422
    yield b"[]", 422
    yield b"{", 422
    yield b"[" * 100_000, 422
    yield b'{"stream": "x"}', 422
    yield json.dumps({"stream": str(UUID(int=5)), "more": 1}).encode(), 422
    yield json.dumps({"stream": str(UUID(int=5))}).encode(), 404
    yield b"9" * 5000, 422
    yield b" " * (2 << 20), 413
    yield b'{"stream": "\xff"}', 422


@pytest.mark.parametrize(("body", "status"), list(bodies()), ids=lambda value: str(value)[:20])
def test_bodies_that_are_no_arguments_are_refused(grounds, body, status):
    answer = grounds.ask("full", "POST", f"/{PREFIX}stream/version", body, api=False)
    assert answer.status == status, answer


WRONG = (None, True, -1, 1 << 70, 1.5, "x", "\ud800", [], [[]], {}, {"a": {}}, [1, "x"])


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"database/compact", "subscription/get"}))
def test_no_argument_of_a_wrong_kind_is_a_defect(grounds, name):
    """Each parameter in turn; whatever the engine makes of it has a kind and a text."""
    grounds.furnish()
    arguments, payload = request_of(grounds, "full", name)
    for parameter in arguments:
        for value in WRONG:
            answer = grounds.call("full", name, {**arguments, parameter: value}, payload)
            assert answer.status < 500 or answer.json["error"] == "NoSpace", (parameter, value, answer)
            assert answer.status == 200 or answer.json["message"]


PAYLOADS_WRONG = [
    b"", b"x", POINTS[:-20], POINTS[:40], b"\xff" * 300, bytes(arrow.encode(arrow.NEW, [[1], [1], [1], [1]])),  # type: ignore[list-item]
    bytes(arrow.encode(arrow.POINTS, [[1], [float("nan")]])),  # type: ignore[list-item]
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS_WRONG, ids=len)
@pytest.mark.parametrize("name", ["stream/insert", "streams/insert_many", "entry/write_many", "measurements/insert"])
def test_payloads_that_are_none_are_refused_and_nothing_is_stored(grounds, name, payload):
    grounds.furnish()
    arguments, _ = request_of(grounds, "full", name)
    before = grounds.content()
    answer = grounds.call("full", name, arguments, payload)
    assert answer.status in (413, 422), answer
    assert grounds.content() == before


def test_numbers_that_lie_about_the_payload_are_refused(grounds):
    grounds.furnish()
    insert, _ = request_of(grounds, "full", "streams/insert_many")
    many, _ = request_of(grounds, "full", "entry/write_many")
    before = grounds.content()
    for counts in ([1], [3], [-1], [2, 0], []):
        assert grounds.call("full", "streams/insert_many", {**insert, "counts": counts}, POINTS).status == 422
    for changes in ({"columns": -1}, {"columns": 1 << 40}, {"columns": 5}, {"labels": []}, {"content_types": []}):
        assert grounds.call("full", "entry/write_many", {**many, **changes}, NEW + b"xy").status == 422, changes
    assert grounds.call("full", "entry/write_many", many, NEW + b"xyz").status == 422
    body = frames.LENGTH.pack(1 << 31) + b"{}"
    assert grounds.ask("full", "POST", f"/{PREFIX}stream/insert", body, api=False).status == 413
    body = frames.LENGTH.pack(100) + b"{}"
    assert grounds.ask("full", "POST", f"/{PREFIX}stream/insert", body, api=False).status == 422
    assert grounds.content() == before

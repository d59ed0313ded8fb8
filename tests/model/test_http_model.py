"""The HTTP API and a plain model of its contract side by side: any requests, restarts, kills and power losses."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from random import Random
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamina.engine.tests.machine import Machine
from lamina.faces.reduct import FaceConfig
from lamina.faces.reduct.config import BatchLimits
from lamina.faces.reduct.tests.asgi import Answer, Client
from lamina.settings import Settings
from lamina.testing import MODES
from tests.model import wire
from tests.model.world import CONDITIONS, DEFAULT_TYPE, OK, Bucket, Held, Labels, Outcome, World

EXAMPLES = int(os.environ.get("LAMINA_EXAMPLES", "0"))
"""Of the long version (docs/reliability.md); by default a few, the same in every run."""

TINY = Settings(seal_records=8, seal_bytes=150_000, log_file_bytes=4096, log_limit=32_768, background=False, min_free=0)
LAST_TIME = (1 << 64) - 1
BATCH = BatchLimits(records=4, content_bytes=100_000)
"""Answers are cut after a few records."""

BUCKETS = ("b", "c", "d", "no good")
ENTRIES = ("a", "b", "a/x", "a/x/y", "abc", "a/$meta", "$meta")
NEW_NAMES = (*ENTRIES, "n/o", "", "a//b", "a b", "/a", "$meta/a")
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"max_block_records": 3, "quota_type": None},
    {"quota_type": "HARD", "quota_size": 3000},
    {"quota_type": "HARD", "quota_size": 100_000},
    {"quota_type": "FIFO", "quota_size": 4000, "max_block_records": 2},
    {"quota_type": "NONE", "max_block_size": 2000},
)

TIMES = (0, 1_000_000, 10**15, 1 << 63, LAST_TIME)
SIZES = (0, 0, 1, 6, 11, 100, 700, 65_536, 65_537, 90_000)
VALUES = ("x", "2", "7.5", "true", "p,q", "a b")
CONTENT_TYPES = (DEFAULT_TYPE, "text/plain", "application/json; a=b")

seeds = st.integers(0, (1 << 32) - 1)
"""Rules make all their choices from one, and from where they stand: what Hypothesis chooses clings together, and then
requests hardly meet what is there."""


def some_time(r: Random) -> int:
    return r.randrange(31) if r.random() < 0.9 else r.choice(TIMES)


def some_span(r: Random) -> int | None:
    return some_time(r) if r.random() < 0.4 else None


def some_labels(r: Random) -> Labels:
    return {name: r.choice(VALUES) for name in ("l", "m", "key") if r.random() < 0.5}


def some_changes(r: Random) -> Labels:
    return {name: r.choice(("x", "2", "")) for name in ("l", "m", "new") if r.random() < 0.5}


def path(*names: str) -> str:
    return "/" + "/".join(quote(name, safe="/$") for name in names)


class HttpMachine(RuleBasedStateMachine):
    @initialize(seed=seeds)
    def boot(self, seed: int) -> None:
        self.seed, self.step = seed, 0
        self.machine = Machine(TINY)
        self.world = World()
        self.marks = count(1)
        self.following: list[tuple[int, Bucket, str, set[int]]] = []
        self.client: Client | None = None
        self.serve()
        r = self.choices(seed)
        for name in ("b", "c"):
            chosen = r.choice(SETTINGS)
            self.agree(self.ask("POST", f"/b/{name}", chosen), self.world.create(name, chosen))
        for _ in range(r.randrange(6)):
            r.choice((self.write, self.write_batch_v1, self.write_batch_v2))(seed=r.getrandbits(32))

    def choices(self, seed: int) -> Random:
        self.step += 1
        return Random(f"{self.seed} {self.step} {seed}")

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.leave()
            self.machine.off()

    def serve(self) -> None:
        self.client = Client(self.machine.db, config=FaceConfig(hold_s=0.0, threads=2, batch=BATCH))

    def leave(self) -> None:
        """The face ends; the database stays as it is."""
        self.following.clear()
        client, self.client = self.client, None
        if client is not None:
            client._runner.close()
            client.face.close()

    def ask(self, method: str, where: str, body: Any = b"", headers: Mapping[str, str] | None = None) -> Answer:
        assert self.client is not None, "served"
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        return self.client.request(method, where, data, headers or {})

    def agree(self, answer: Answer, expected: Outcome) -> bool:
        """Whether it was done, and both say so."""
        status, message = expected
        assert answer.status == status, (answer, expected)
        if status >= 300 and message is not None:
            assert answer.error == message
            assert answer.json == {"detail": message.replace('"', "'")}
        return status == 200

    def content(self, size: int) -> bytes:
        """Tells each record from every other, wherever one looks."""
        mark = next(self.marks).to_bytes(6, "big")
        return (mark * (size // 6 + 1))[:size]

    def held(self, size: int, given: Labels, entry: str) -> Held:
        found = dict(given)
        if entry.endswith("$meta") and size % 2:
            found.setdefault("key", "k")
        return Held(self.content(size), found, CONTENT_TYPES[size % 3])

    def some_bucket(self, r: Random) -> str:
        return r.choice(sorted(self.world.buckets) or ["b"]) if r.random() < 0.95 else "nowhere"

    def some_entry(self, r: Random, model: Bucket | None) -> str:
        """One with records, more often than not."""
        known = [name for name, entry in model.entries.items() if entry.records] if model is not None else []
        return r.choice(known) if known and r.random() < 0.85 else r.choice(ENTRIES)

    # -- buckets

    @rule(seed=seeds)
    def manage_buckets(self, seed: int) -> None:
        r = self.choices(seed)
        kind, name, chosen = r.random(), self.some_bucket(r), r.choice(SETTINGS)
        if kind < 0.5:
            name = r.choice(BUCKETS)
            self.agree(self.ask("POST", path("b", name), chosen), self.world.create(name, chosen))
        elif kind < 0.7:
            if self.agree(self.ask("PUT", path("b", name), chosen), self.world.update(name, chosen)):
                self.accept_eviction(self.world.buckets[name])
        elif kind < 0.85 and name != "b":
            self.forget(name)
            self.agree(self.ask("DELETE", path("b", name)), self.world.remove(name))
        else:
            self.forget(name)
            new = r.choice(BUCKETS)
            answer = self.ask("PUT", path("b", name) + "/rename", {"new_name": new})
            self.agree(answer, self.world.rename(name, new))

    def forget(self, bucket: str, entry: str | None = None) -> None:
        """What is followed there: what becomes of it then is not laid down."""
        self.following = [
            each for each in self.following
            if each[1].name != bucket or (entry is not None and not f"{each[2]}/".startswith(f"{entry}/"))
        ]  # fmt: skip

    # -- entries

    @rule(seed=seeds)
    def remove_entry(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name = r.choice(ENTRIES)
        self.forget(bucket, name)
        expected = model.remove_entry(name) if model is not None else self.world.missing(bucket)
        self.agree(self.ask("DELETE", path("b", bucket, name)), expected)

    @rule(seed=seeds)
    def rename_entry(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        old, new = r.choice(ENTRIES[:5]), r.choice(NEW_NAMES)
        self.forget(bucket, old)
        answer = self.ask("PUT", path("b", bucket, old) + "/rename", {"new_name": new})
        if model is None:
            assert answer.status in (404, 422)
            return
        if new.endswith("$meta"):  # whether an entry may become an attachment is not laid down; nothing may get lost
            if answer.status == 200:
                assert model.rename_entry(old, new) == OK
                self.leave_out_attachments(model, new)
            return
        self.agree(answer, model.rename_entry(old, new))

    def leave_out_attachments(self, model: Bucket, name: str) -> None:
        """Records without a key are none that the rules for attachments speak of."""
        self.agree(
            self.ask("PUT", path("b", model.name, name) + "/rename", {"new_name": "back"}),
            model.rename_entry(name, "back"),
        )

    # -- writing

    def over_quota(self, model: Bucket, size: int) -> bool:
        if model.settings["quota_type"] != "HARD":
            return False
        return self.ask("GET", path("b", model.name)).json["info"]["size"] + size > model.settings["quota_size"]

    def expect_write(self, model: Bucket, name: str, time: int, held: Held) -> Outcome:
        """Quota comes before the rules of attachments and before the time."""
        outcome = model.admit(name, time, held.labels)
        named = outcome[0] != 422 or "System" in str(outcome[1])
        if named and self.over_quota(model, len(held.content)):
            return 400, f"Quota of '{model.name}' exceeded"
        return outcome

    @rule(seed=seeds)
    def write(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name, time = r.choice(ENTRIES if r.random() < 0.9 else ("a b", "a//b", "$meta/a", "ä")), some_time(r)
        held = self.held(r.choice(SIZES), some_labels(r), name)
        expected = self.expect_write(model, name, time, held) if model is not None else self.world.missing(bucket)
        headers = {f"x-reduct-label-{label}": value for label, value in held.labels.items()}
        if held.content_type != DEFAULT_TYPE:
            headers["content-type"] = held.content_type
        answer = self.ask("POST", path("b", bucket, name) + f"?ts={time}", held.content, headers)
        if model is not None and self.fifo_decides(model, answer.status):
            return
        if self.agree(answer, expected):
            assert model is not None
            model.put(name, time, held)
            self.accept_eviction(model)

    def fifo_decides(self, model: Bucket, status: int) -> bool:
        """A FIFO bucket that cannot make room says 500; it may have let everything go for that."""
        if model.settings["quota_type"] != "FIFO" or status != 500:
            return False
        self.accept_eviction(model)
        return True

    @rule(seed=seeds)
    def write_batch_v1(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        if model is not None and model.settings["quota_type"] != "NONE":
            return  # which of them fit is the business of single writes
        name, split = r.choice(ENTRIES), r.random() < 0.5
        stamps = sorted({some_time(r) for _ in range(r.randrange(10))})
        items = {time: self.held(r.choice(SIZES), some_labels(r), name) for time in stamps}
        if name.endswith("$meta"):  # attachments of one batch must not replace each other
            items = dict(list(items.items())[:1])
        headers = {f"x-reduct-time-{time}": wire.write_value(held) for time, held in items.items()}
        body = b"".join(held.content for held in items.values())
        pieces: Any = [body[at : at + 7000] for at in range(0, len(body), 7000)] if split else body
        answer = self.ask("POST", path("b", bucket, name) + "/batch", pieces, headers)
        self.agree(answer, OK)
        errors = {n: v for n, v in answer.headers.items() if n.startswith("x-reduct-error-")}
        for time, held in items.items():
            expected = model.admit(name, time, held.labels) if model is not None else self.world.missing(bucket)
            self.agree_item(errors, f"x-reduct-error-{time}", expected)
            if expected == OK and model is not None:
                model.put(name, time, held)
        assert not errors

    def agree_item(self, errors: dict[str, str], header: str, expected: Outcome) -> None:
        status, message = expected
        found = errors.pop(header, None)
        assert found == (None if status == 200 else f"{status},{message}"), (header, expected)

    @rule(seed=seeds)
    def write_batch_v2(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        if model is not None and model.settings["quota_type"] != "NONE":
            return
        places = {(r.choice(ENTRIES[:5]), some_time(r)) for _ in range(r.randrange(12))}
        chosen = [(name, time, r.choice(SIZES)) for name, time in sorted(places)]
        given = some_labels(r)
        r.shuffle(chosen)
        names = list(dict.fromkeys(name for name, _, _ in chosen))
        start = min((time for _, time, _ in chosen), default=0)
        headers = self.v2_head(names, start)
        items = []
        for index, name in enumerate(names):
            first = True
            for _, time, size in sorted(item for item in chosen if item[0] == name):
                held = Held(self.content(size), given, "text/plain")
                delta = ",".join(f'{label}="{value}"' for label, value in given.items())
                value = f"{size},text/plain,{delta}" if first else f"{size}"
                headers[f"x-reduct-{index}-{time - start}"] = value
                items.append((index, name, time, held))
                first = False
        answer = self.ask("POST", path("io", bucket, "write"), b"".join(item[3].content for item in items),
                          {**headers, "content-length": str(sum(len(item[3].content) for item in items))})  # fmt: skip
        self.agree(answer, OK)
        errors = self.v2_errors(answer, names, start)
        for index, name, time, held in items:
            expected = model.admit(name, time, held.labels) if model is not None else self.world.missing(bucket)
            self.agree_item(errors, f"x-reduct-error-{index}-{time - start}", expected)
            if expected == OK and model is not None:
                model.put(name, time, held)
        assert not errors

    def v2_head(self, names: list[str], start: int) -> dict[str, str]:
        return {
            "x-reduct-entries": ",".join(quote(name, safe="$") for name in names),
            "x-reduct-start-ts": str(start),
        }

    def v2_errors(self, answer: Answer, names: list[str], start: int) -> dict[str, str]:
        assert answer.headers["x-reduct-start-ts"] == str(start)
        echoed = answer.headers["x-reduct-entries"]
        assert echoed == ",".join(quote(name, safe="$") for name in names)
        return {n: v for n, v in answer.headers.items() if n.startswith("x-reduct-error-")}

    # -- changing

    def known_time(self, r: Random, model: Bucket | None, name: str) -> int:
        """Of a record, if there is one."""
        known = sorted(model.entries[name].records) if model is not None and name in model.entries else []
        return r.choice(known) if known and r.random() < 0.85 else some_time(r)

    @rule(seed=seeds)
    def update(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name, given = self.some_entry(r, model), some_changes(r)
        time = self.known_time(r, model, name)
        headers = {f"x-reduct-label-{label}": value for label, value in given.items()}
        answer = self.ask("PATCH", path("b", bucket, name) + f"?ts={time}", b"", headers)
        self.agree(answer, model.update(name, time, given) if model is not None else self.world.missing(bucket))

    @rule(seed=seeds)
    def update_batch_v1(self, seed: int) -> None:
        """Or remove."""
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name, given, drop = self.some_entry(r, model), some_changes(r), r.random() < 0.3
        stamps = sorted({self.known_time(r, model, name) for _ in range(r.randrange(5))})
        headers = {f"x-reduct-time-{time}": "" if drop else wire.change_value(given) for time in stamps}
        answer = self.ask("DELETE" if drop else "PATCH", path("b", bucket, name) + "/batch", b"", headers)
        missing = model.missing(name) if model is not None else self.world.missing(bucket)
        if missing is None and drop and name.endswith("$meta"):
            assert model is not None
            missing = model.remove(name, 0)
        if missing is not None:
            self.agree(answer, missing)
            return
        assert model is not None
        self.agree(answer, OK)
        errors = {n: v for n, v in answer.headers.items() if n.startswith("x-reduct-error-")}
        for time in stamps:
            expected = model.remove(name, time) if drop else model.update(name, time, given)
            self.agree_item(errors, f"x-reduct-error-{time}", expected)
        assert not errors

    @rule(seed=seeds)
    def update_batch_v2(self, seed: int) -> None:
        """The first record of an entry says what changes, the others repeat it. Or remove."""
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        chosen = [name for _ in range(r.randrange(6)) if not (name := self.some_entry(r, model)).endswith("$meta")]
        wanted = sorted({(name, self.known_time(r, model, name)) for name in chosen})
        given, drop = some_changes(r), r.random() < 0.3
        names = list(dict.fromkeys(name for name, _ in wanted))
        start = min((time for _, time in wanted), default=0)
        headers = self.v2_head(names, start)
        seen: set[str] = set()
        for name, time in wanted:
            value = "0" if name in seen else wire.change_value(given)
            headers[f"x-reduct-{names.index(name)}-{time - start}"] = "" if drop else value
            seen.add(name)
        method, end = ("DELETE", "remove") if drop else ("PATCH", "update")
        answer = self.ask(method, path("io", bucket, end), b"", headers)
        if model is None:
            self.agree(answer, self.world.missing(bucket))
            return
        self.agree(answer, OK)
        errors = self.v2_errors(answer, names, start)
        for name, time in wanted:
            expected = model.remove(name, time) if drop else model.update(name, time, given)
            self.agree_item(errors, f"x-reduct-error-{names.index(name)}-{time - start}", expected)
        assert not errors

    @rule(seed=seeds)
    def remove_record(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name = self.some_entry(r, model)
        time = self.known_time(r, model, name)
        answer = self.ask("DELETE", path("b", bucket, name) + f"?ts={time}")
        self.agree(answer, model.remove(name, time) if model is not None else self.world.missing(bucket))

    @rule(seed=seeds)
    def remove_query(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        names = r.choice((None, ["a"], ["a*"], ["b", "abc"], ["*"], ["none"], ["a/$meta"]))
        start, stop, when = some_time(r), some_span(r), r.choice(CONDITIONS[:6])
        asked = {"query_type": "REMOVE", "entries": names, "start": start, "stop": stop, "when": when.json}
        answer = self.ask("POST", path("io", bucket, "q"), asked)
        if model is None:
            self.agree(answer, self.world.missing(bucket))
        elif stop is not None and start > stop:
            self.agree(answer, (422, "Start time must be before stop time"))
        else:
            chosen = [name for name in model.select(names) if not name.endswith("$meta")]
            gone = model.query(chosen, start, stop, when)
            for time, name, _ in gone:
                del model.entries[name].records[time]
            assert answer.json == {"removed_records": len(gone)}

    @rule(seed=seeds)
    def detach(self, seed: int) -> None:
        """Remove an attachment: by a label."""
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name = r.choice(ENTRIES[:5])
        meta = f"{name}/$meta"
        if model is not None and meta in model.entries and model.entries[meta].records:
            time = self.known_time(r, model, meta)
            headers = {"x-reduct-label-remove": "true"}
            answer = self.ask("PATCH", path("b", bucket, meta) + f"?ts={time}", b"", headers)
            self.agree(answer, model.update(meta, time, {"remove": "true"}))

    def accept_eviction(self, model: Bucket) -> None:
        """A FIFO bucket keeps its quota; what went for that are the oldest of an entry, never attachments."""
        if model.settings["quota_type"] != "FIFO":
            return
        assert self.ask("GET", path("b", model.name)).json["info"]["size"] <= model.settings["quota_size"]
        for name, entry in model.entries.items():
            if name.endswith("$meta"):
                continue
            found = {time for time, _, _ in self.read_v1(model, name, {}, "HEAD")}
            gone = entry.records.keys() - found
            assert found <= entry.records.keys()
            kept_older = [time for time in found if gone and time < max(gone)]
            newest = next(reversed(entry.records), None)  # a late record goes into a block of its time, or its own
            assert [time for time in kept_older if time != newest] == [], "something older was kept"
            for time in gone:
                del entry.records[time]

    # -- upkeep and lives

    @rule(kind=st.integers(0, 2))
    def tend(self, kind: int) -> None:
        db = self.machine.db
        (db.upkeep.run_once, db.flush, db.compact)[kind]()

    @rule(seed=seeds)
    def begin_another_life(self, seed: int) -> None:
        """After a clean end, a kill or a loss of power: whatever was answered with 200 is there."""
        r = self.choices(seed)
        self.leave()
        kind = r.randrange(4)
        if kind == 0:
            self.machine.restart()
        elif kind == 1:
            self.machine.kill()
        else:
            self.machine.lose_power(r, r.choice(MODES))
        self.serve()

    # -- reading

    @rule(seed=seeds)
    def read_one(self, seed: int) -> None:
        """By its time, or the latest."""
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name, method = self.some_entry(r, model), r.choice(("GET", "HEAD"))
        latest, time = r.random() < 0.2, self.known_time(r, model, name)
        answer = self.ask(method, path("b", bucket, name) + ("" if latest else f"?ts={time}"))
        if model is None or name not in model.entries or (latest and not model.entries[name].records):
            assert answer.status == 404
            return
        if latest:
            time = model.entries[name].bounds()[1]
        missing = model.missing(name, time)
        if missing is not None:
            assert (answer.status, answer.error) == missing
            return
        held = model.entries[name].records[time]
        assert answer.status == 200
        assert answer.body == (held.content if method == "GET" else b"")
        assert int(answer.headers["content-length"]) == len(held.content)
        assert answer.headers["content-type"] == held.content_type
        assert (answer.headers["x-reduct-time"], answer.headers["x-reduct-entry"]) == (str(time), name)
        assert answer.labels == held.labels

    def opened(self, where: str, asked: dict[str, Any], expected: Outcome) -> int | None:
        answer = self.ask("POST", where, {"query_type": "QUERY", **asked})
        return answer.json["id"] if self.agree(answer, expected) else None

    def read_v1(self, model: Bucket, name: str, asked: dict[str, Any], method: str, single: bool = False) -> wire.Read:
        where = path("b", model.name, name)
        id = self.opened(f"{where}/q", asked, OK)
        found: wire.Read = []
        while True:
            answer = self.ask(method, f"{where}{'' if single else '/batch'}?q={id}")
            if answer.status == 204:
                return found
            assert answer.status == 200, answer
            if single:
                time = int(answer.headers["x-reduct-time"])
                body = answer.body if method == "GET" else bytes(int(answer.headers["content-length"]))
                batch = [(time, name, Held(body, answer.labels, answer.headers["content-type"]))]
            else:
                batch = wire.batch_v1(answer, name, bodies=method == "GET")
            assert 0 < len(batch) <= BATCH.records
            found += batch
            if answer.headers["x-reduct-last"] == "true":
                assert self.ask(method, f"{where}/batch?q={id}").status == 204
                return found

    @rule(seed=seeds)
    def query_v1(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name, how = self.some_entry(r, model), r.choice(("batches", "heads", "singles"))
        start, stop, when = some_span(r), some_span(r), r.choice(CONDITIONS)
        asked = {"start": start, "stop": stop, "when": when.json}
        backwards = start is not None and stop is not None and start > stop
        if model is None or name not in model.entries or backwards:
            answer = self.ask("POST", path("b", bucket, name) + "/q", {"query_type": "QUERY", **asked})
            assert answer.status in (404, 422)
            return
        method = "HEAD" if how == "heads" else "GET"
        found = self.read_v1(model, name, asked, method, single=how == "singles")
        expected = model.query([name], start, stop, when)
        self.compare(found, expected, method)

    @rule(seed=seeds)
    def query_v2(self, seed: int) -> None:
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        names = r.choice((None, [], ["*"], ["a*"], ["a", "b"], ["abc", "none"], ["a/$meta", "a"]))
        start, stop, when, method = some_span(r), some_span(r), r.choice(CONDITIONS), r.choice(("GET", "HEAD"))
        asked = {"entries": names, "start": start, "stop": stop, "when": when.json}
        where = path("io", bucket)
        if model is None or (start is not None and stop is not None and start > stop):
            assert self.ask("POST", f"{where}/q", {"query_type": "QUERY", **asked}).status in (404, 422)
            return
        id = self.opened(f"{where}/q", asked, OK)
        found: wire.Read = []
        while True:
            answer = self.ask(method, f"{where}/read", b"", {"x-reduct-query-id": str(id)})
            if answer.status == 204:
                break
            assert answer.status == 200, answer
            batch = wire.batch_v2(answer, bodies=method == "GET")
            assert 0 < len(batch) <= BATCH.records
            found += batch
            if answer.headers["x-reduct-last"] == "true":
                break
        self.compare(found, model.query(model.select(names), start, stop, when), method)

    def compare(self, found: wire.Read, expected: list[tuple[int, str, Held]], method: str) -> None:
        if method == "HEAD":
            expected = [(t, n, held._replace(content=bytes(len(held.content)))) for t, n, held in expected]
        assert found == expected

    @precondition(lambda self: len(self.following) < 2)
    @rule(seed=seeds)
    def follow(self, seed: int) -> None:
        """A continuous query; `catch_up` reads it."""
        r = self.choices(seed)
        bucket = self.some_bucket(r)
        model = self.world.buckets.get(bucket)
        name = self.some_entry(r, model)
        if model is not None and name in model.entries and model.settings["quota_type"] != "FIFO":
            id = self.opened(path("b", bucket, name) + "/q", {"continuous": True, "ttl": 3600}, OK)
            assert id is not None
            self.following.append((id, model, name, set()))

    @precondition(lambda self: self.following)
    @rule(number=st.integers(0, 1))
    def catch_up(self, number: int) -> None:
        """Every record that came since comes once; late ones may."""
        id, model, name, seen = self.following[number % len(self.following)]
        where = path("b", model.name, name) + f"/batch?q={id}"
        while (answer := self.ask("HEAD", where)).status == 200:
            for time, _, _ in wire.batch_v1(answer, name, bodies=False):
                assert time not in seen or time not in model.entries[name].records, "given twice"
                seen.add(time)
        assert answer.status == 204, answer
        records = model.entries[name].records
        assert not [time for time in records if time not in seen and time > max(seen, default=-1)]

    # -- what holds at any time

    @invariant()
    def shown_as_it_is(self) -> None:
        if self.client is None:
            return
        listed = self.ask("GET", "/list").json["buckets"]
        assert [info["name"] for info in listed] == sorted(self.world.buckets)
        for info in listed:
            model = self.world.buckets[info["name"]]
            shown = self.ask("GET", path("b", model.name)).json
            assert shown["info"] == info
            assert shown["settings"] == model.settings
            plain = sorted(name for name in model.entries if not name.endswith("$meta"))
            assert [entry["name"] for entry in shown["entries"]] == plain
            assert info["entry_count"] == len(plain)
            filled = [name for name in plain if model.entries[name].records]
            bounds = [model.entries[name].bounds() for name in filled]
            assert info["oldest_record"] == min((low for low, _ in bounds), default=0)
            assert info["latest_record"] == max((high for _, high in bounds), default=0)
            for entry in shown["entries"]:
                records = model.entries[entry["name"]].records
                assert entry["record_count"] == len(records)
                assert (entry["oldest_record"], entry["latest_record"]) == model.entries[entry["name"]].bounds()
                assert (entry["block_count"] > 0) == bool(records)
                assert least_size(records) <= entry["size"] <= most_size(records)
            attached = [model.entries[name].records for name in model.entries if name.endswith("$meta")]
            entries = sum(entry["size"] for entry in shown["entries"])
            assert sum(map(least_size, attached)) <= info["size"] - entries <= sum(map(most_size, attached))
        total = self.ask("GET", "/info").json
        assert (total["usage"], total["bucket_count"]) == (sum(info["size"] for info in listed), len(listed))


def varint(number: int) -> int:
    """Bytes of it in protobuf."""
    return max(1, -(-number.bit_length() // 7))


def least_size(records: Mapping[int, Held]) -> int:
    """Contents and the metadata of section 4, offsets left out."""
    total = 0
    for time, held in records.items():
        seconds, nanos = divmod(time, 1_000_000)
        stamp = (1 + varint(seconds) if seconds else 0) + (1 + varint(nanos * 1000) if nanos else 0)
        size = 1 + varint(stamp) + stamp + 1 + varint(len(held.content_type)) + len(held.content_type)
        for label, value in held.labels.items():
            inner = sum(1 + varint(len(text)) + len(text) for text in (label, value) if text)
            size += 1 + varint(inner) + inner
        total += size + len(held.content)
    return total


def most_size(records: Mapping[int, Held]) -> int:
    """Two offsets of at most five bytes each (contents here are short), with their tags; empty texts may count."""
    return least_size(records) + 12 * len(records) + 4 * sum(len(held.labels) for held in records.values())


HttpMachine.TestCase.settings = settings(
    max_examples=EXAMPLES or 80,
    stateful_step_count=40,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestHttp = HttpMachine.TestCase

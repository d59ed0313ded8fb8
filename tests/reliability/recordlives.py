"""One client of `lamina serve` that writes records over HTTP and says what must be there after a kill."""

from __future__ import annotations

import http.client
import json
import random
import threading
from pathlib import Path
from typing import Any

from tests.reliability.oracle import LARGEST, Effect, Holdings, Model, Step, Stored, bucket_name, content_of

TIMEOUT_S = 20.0
ENTRIES = ("x", "x/y")
SIZES = (0, 30, 30, 3000, LARGEST)


class Refused(Exception):
    """An answer that is no success, while the server lives."""


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", headers: Any = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """An answer with its content. Raises Refused, and what tells that the server is gone."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    if not 200 <= answer.status < 300:
        raise Refused(f"{method} {path}: {answer.status} {content[:200]!r}")
    return answer, content


class RecordWriter:
    """Of one bucket. As `serverlives.Writer`, with the address of HTTP."""

    def __init__(self, number: int, seed: int, diary: Path) -> None:
        self.number = number
        self.model = Model()
        self.doubtful: Effect | None = None
        self.failed = ""
        self._rng = random.Random(f"records {seed} {number}")
        self._diary = diary.open("a", buffering=1)
        self._time = 0

    def load(self, address: str, stop: threading.Event) -> None:
        """Call after call until the server is gone."""
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
        while not stop.is_set():
            step = self._next()
            self.doubtful = self.model.effect(step)
            self._diary.write(f"B {step.kind}\n")
            try:
                self._perform(connection, step)
            except Refused as error:
                self.failed = f"{step.kind} was refused: {error}"
                return
            except (OSError, http.client.HTTPException) as error:
                if not stop.wait(2.0):
                    self.failed = f"{step.kind} failed while the server lived: {error!r}"
                return
            self._diary.write(f"A {step.kind}\n")
            self.model.apply(self.doubtful)
            self.doubtful = None

    def _next(self) -> Step:
        rng = self._rng
        held = self.model.buckets().get(self.number)
        if held is None:
            return Step("bucket", (self.number, 0))
        kind = rng.choices(("record", "label", "unrecord"), (10, 4, 2))[0] if held.records else "record"
        if kind == "record":
            self._time += rng.randrange(1, 5)
            return Step("record", (self.number, Stored(rng.choice(ENTRIES), self._time, rng.choice(SIZES), ())))
        record = rng.choice(held.records[-30:])
        if kind == "unrecord":
            return Step(kind, (self.number, *record[:2]))
        return Step(kind, (self.number, *record[:2], {rng.choice("ab"): rng.choice(("", "1", "2"))}))

    def _perform(self, connection: http.client.HTTPConnection, step: Step) -> None:
        place = f"/api/v1/b/{bucket_name(self.number)}"
        if step.kind == "bucket":
            call(connection, "POST", place, b"{}")
            return
        if step.kind == "record":
            record = step.args[1]
            content = content_of(self.number, record.entry, record.time_us, record.size)
            call(connection, "POST", f"{place}/{record.entry}?ts={record.time_us}", content)
            return
        _, entry, time_us, *labels = step.args
        headers = {f"x-reduct-label-{name}": value for name, value in labels[0].items()} if labels else {}
        call(connection, "PATCH" if labels else "DELETE", f"{place}/{entry}?ts={time_us}", b"", headers)

    def verify(self, address: str) -> list[str]:
        """What is wrong after a restart; the call in flight is settled by what is there."""
        effect, self.doubtful = self.doubtful, None
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
        key = "bucket", self.number
        before = self.model.facts.get(key)
        after = effect.facts[key] if effect is not None else before
        known = {record[:2] for held in (before, after) if held is not None for record in held.records}
        seen = self._seen(connection, known)
        if seen != before and seen == after and effect is not None:
            self.model.apply(effect)
        elif seen != before:
            lacks = [
                record for record in (before.records if before else ()) if seen is None or record not in seen.records
            ]
            return [
                f"bucket {self.number}: {seen and len(seen.records)} records, lacks {lacks[:3]}, in flight {effect}"
            ]
        return []

    def _seen(self, connection: http.client.HTTPConnection, known: set[tuple[str, int]]) -> Holdings | None:
        place = f"/api/v1/b/{bucket_name(self.number)}"
        connection.request("GET", place)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 404:
            return None
        count = sum(entry["record_count"] for entry in json.loads(text)["entries"])
        found: list[Stored] = []
        for entry, time_us in sorted(known):
            connection.request("GET", f"{place}/{entry}?ts={time_us}")
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 404:
                continue
            labels = sorted(
                (name[len("x-reduct-label-") :], value)
                for name, value in answer.getheaders()
                if name.startswith("x-reduct-label-")
            )
            right = answer.status == 200 and content == content_of(self.number, entry, time_us, len(content))
            wrong = "" if right else f"{answer.status} {content[:100]!r}"
            found.append(Stored(entry, time_us, len(content), tuple(labels), wrong))
        if count != len(found):
            found.append(Stored("", 0, 0, (), f"{count} records are counted"))
        return Holdings(0, tuple(sorted(found)))

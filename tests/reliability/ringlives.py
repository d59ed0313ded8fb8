"""Clients of a FIFO bucket of `lamina serve`: writers fill it with contents that go past the log, a reader queries it
meanwhile; and what must be there after a kill.

Times only grow, so what the quota leaves of an entry is its latest records, each with its content.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability.oracle import content_of
from tests.reliability.recordlives import TIMEOUT_S, Refused, call

PLACE = "/api/v1/b/ring"
NUMBER = 99  # of contents, where those of other buckets have the bucket's
QUOTA = 6_000_000
ENTRIES = ("a", "b", "a/c")
SIZES = (100, 70_000, 70_000, 300_000, 900_000)
BLOCK_RECORDS = 3
SETTINGS = {"quota_type": "FIFO", "quota_size": QUOTA, "max_block_records": BLOCK_RECORDS}
BLOCK = BLOCK_RECORDS * max(SIZES)  # bytes, at most
BATCH = 3

_HEAD = re.compile(r"x-reduct-time-(\d+)")

Work = Callable[[http.client.HTTPConnection], None]


class Ring:
    """All of them. As `recordlives.RecordWriter`."""

    def __init__(self, seed: int, diary: Path) -> None:
        self.failed = ""
        self._rng = random.Random(f"ring {seed}")
        self._diary = diary.open("a", buffering=1)
        self._lock = threading.Lock()
        self._time = 0
        self._sizes: dict[int, int] = {}
        self._written: dict[str, list[int]] = {entry: [] for entry in ENTRIES}
        self._doubtful: dict[str, list[int]] = {entry: [] for entry in ENTRIES}

    def load(self, address: str, stop: threading.Event) -> None:
        """Call after call until the server is gone."""
        if not self._time and not self._until_gone(self._create, address, stop, once=True):
            return
        jobs = [*(self._writing(entry) for entry in ENTRIES), self._read]
        threads = [threading.Thread(target=self._until_gone, args=(job, address, stop), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _until_gone(self, work: Work, address: str, stop: threading.Event, once: bool = False) -> bool:
        """Whether it was done to its end."""
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
        while not stop.is_set():
            try:
                work(connection)
            except Refused as error:
                self.failed = f"ring: refused: {error}"
                return False
            except (OSError, http.client.HTTPException) as error:
                if not stop.wait(2.0):
                    self.failed = f"ring: failed while the server lived: {error!r}"
                return False
            if once:
                return True
        return False

    def _create(self, connection: http.client.HTTPConnection) -> None:
        try:
            call(connection, "POST", PLACE, json.dumps(SETTINGS).encode())
        except Refused as error:
            if " 409 " not in str(error):  # by a call whose answer a kill took
                raise

    def _writing(self, entry: str) -> Work:
        def write(connection: http.client.HTTPConnection) -> None:
            with self._lock:
                times = [self._time + n for n in range(1, 1 + self._rng.choice((1, 1, BATCH)))]
                self._time = times[-1]
                self._sizes |= {time: self._rng.choice(SIZES) // len(times) for time in times}
                self._doubtful[entry] = times
            self._diary.write(f"B {entry} {times}\n")
            contents = [content_of(NUMBER, entry, time, self._sizes[time]) for time in times]
            if len(times) == 1:
                call(connection, "POST", f"{PLACE}/{entry}?ts={times[0]}", contents[0])
            else:
                heads = {f"x-reduct-time-{time}": f"{self._sizes[time]}," for time in times}
                answer, _ = call(connection, "POST", f"{PLACE}/{entry}/batch", b"".join(contents), heads)
                errors = [text for name, text in answer.getheaders() if name.startswith("x-reduct-error")]
                if errors:
                    raise Refused(f"batch of {entry}: {errors}")
            self._diary.write(f"A {entry} {times}\n")
            with self._lock:
                self._written[entry] += times
                self._doubtful[entry] = []

        return write

    def _read(self, connection: http.client.HTTPConnection) -> None:
        entry = self._rng.choice(ENTRIES)
        try:
            for _ in self._records(connection, entry):
                pass
        except Refused as error:
            if " 404 " not in str(error):  # before its first record
                raise

    def _records(self, connection: http.client.HTTPConnection, entry: str) -> Iterator[int]:
        """Times of what a query gives. Raises Refused for a content that is another."""
        _, told = call(connection, "POST", f"{PLACE}/{entry}/q", b'{"query_type": "QUERY"}')
        query = json.loads(told)["id"]
        last = False
        while not last:
            answer, body = call(connection, "GET", f"{PLACE}/{entry}/batch?q={query}")
            last = answer.status == 204 or answer.getheader("x-reduct-last") == "true"
            heads = {int(found[1]): text for name, text in answer.getheaders() if (found := _HEAD.fullmatch(name))}
            at = 0
            for time, text in sorted(heads.items()):
                size = int(text.partition(",")[0])
                if body[at : at + size] != content_of(NUMBER, entry, time, size):
                    raise Refused(f"{entry} {time}: {size} bytes that are not its content")
                at += size
                yield time

    def verify(self, address: str) -> list[str]:
        """What is wrong after a restart; what was in flight is settled by what is there."""
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
        left: set[int] = set()
        for entry, written in self._written.items():
            doubtful, self._doubtful[entry] = self._doubtful[entry], []
            try:
                found = list(self._records(connection, entry))
            except Refused as error:
                if " 404 " not in str(error):
                    return [f"ring: {error}"]
                found = []
            if found and found[-1] in doubtful:  # a batch is acknowledged as a whole, and stored record by record
                written += [time for time in doubtful if time in found]
            if found != written[len(written) - len(found) :]:
                return [f"ring: {entry} has {found[:5]} ... {found[-5:]}, written {written[-len(found) - 5 :]}"]
            left.update(found)
        acknowledged = [time for written in self._written.values() for time in written]
        kept = sum(self._sizes[time] for time in left)
        if acknowledged and max(acknowledged) not in left:
            return [f"ring: the latest record, {max(acknowledged)}, is gone"]
        if kept < min(QUOTA, sum(self._sizes[time] for time in acknowledged)) - 2 * BLOCK:
            return [f"ring: {kept} bytes left of a quota of {QUOTA}"]
        return []

"""The two ways of a small request, as a whole and by ASGI: the same answers, the same stored state, the same events."""

import asyncio
import re
from contextlib import asynccontextmanager

import pytest

import lamina
from lamina.access import Tokens
from lamina.errors import NoSpace
from lamina.faces.reduct import Face, FaceConfig
from lamina.faces.reduct.tests.asgi import JobsInMemory
from lamina.observe import Registry
from lamina.server.cors import Cors
from lamina.server.http import App
from lamina.server.ratelimit import Rate, RateLimits
from lamina.server.tests.wired import run, wired
from lamina.testing.clock import ManualClock


class Heard:
    """An observer."""

    def __init__(self):
        self.events = []

    def call(self, *event):
        self.events.append(("call", *event[:-1]))

    def wrote(self, *event):
        self.events.append(("wrote", *event))

    def read(self, *event):
        self.events.append(("read", *event))


class Stack:
    """A database with all that stands before it. `long`: nothing is taken as a whole."""

    def __init__(self, server, db, face, tokens, heard, registry):
        self.server = server
        self.db = db
        self.face = face
        self.tokens = tokens
        self.heard = heard
        self.registry = registry
        self.taken = 0
        self._wire = None
        take = face.take

        def counted(*request):
            done = take(*request)
            self.taken += done
            return done

        face.take = counted

    async def send(self, *data):
        """One request, or several on connections of their own at the same time; the answers."""
        wires = [await self.server.connect() for _ in data[1:]]
        if self._wire is None:
            self._wire = await self.server.connect()
        wires.insert(0, self._wire)
        for wire, request in zip(wires, data, strict=True):
            wire.send(request)
        answers = [
            await wire.answer(request.split(b" ")[0].decode()) for wire, request in zip(wires, data, strict=True)
        ]
        for wire in wires[1:]:
            wire.close()
        if "connection" in answers[0].headers:
            self._wire = None
        return [
            (answer.status, masked(sorted(answer.headers.items())), masked(answer.body.decode())) for answer in answers
        ]

    def stored(self):
        """Every record, and what its bucket counts."""
        self.db.barrier()  # an eviction for a write that was refused after all
        return [
            (bucket.info(), bucket.entry_infos(), [
                (record.entry, record.time_us, record.labels, record.content_type, record.read())
                for record in bucket.query()
            ], bucket.load, [(slot.name, slot.pending) for slot in bucket.slots.values()])
            for bucket in self.db.buckets.list()
        ]  # fmt: skip


def masked(shown):
    """Numbers of errors are drawn anew each time."""
    return re.sub(r"[0-9a-f]{12}", "NUMBER", str(shown))


@asynccontextmanager
async def stack(long, *, tokens=False, guarded=False, **configured):
    db = lamina.open(":memory:", inline=False, clock=ManualClock())
    heard, registry = Heard(), Registry()
    known = Tokens(db) if tokens else None
    jobs = JobsInMemory("Job")
    face = Face(db, known, FaceConfig(threads=2), replications=jobs, lifecycles=jobs, observer=heard)
    app = App(registry, db.clock, **configured)
    async with wired(app) as server:
        one = Stack(server, db, face, known, heard, registry)
        if long:
            face.take = None
        app.open_with(db, None, guarded=guarded, face=face)
        try:
            yield one
        finally:
            face.close()
            await asyncio.to_thread(db.close)


def both(script, **configured):
    """Run a script by both ways; how many requests were taken as a whole, and the answers."""

    async def main():
        found = []
        for long in (False, True):
            async with stack(long, **configured) as one:
                answers = await script(one)
                counts = [(metric.name, metric.labels, getattr(metric.what, "value", None)) for metric in one.registry]
                heard = sorted(map(masked, one.heard.events))  # requests sent together end in any order
                found.append((answers, one.stored(), heard, counts, one.taken))
        return found

    (*short, taken), (*long, none) = run(main())
    assert short == long
    assert none == 0
    return taken, short[0]


def post(path, body=b"abc", *lines, length=None):
    head = [b"POST /api/v1%s HTTP/1.1" % path.encode(), b"host: localhost", *lines]
    head.append(b"content-length: %d" % (len(body) if length is None else length))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def write(time_us, body=b"abc", *lines, to="b/e"):
    return post(f"/b/{to}?ts={time_us}", body, *lines)


LABELS = b"x-reduct-label-a: 1", b"x-reduct-label-b: x", b"content-type: text/plain"


def statuses(answers):
    return [status for status, _, _ in answers]


def test_records_of_all_sorts():
    async def script(one):
        one.db.buckets.create("b").ensure_entries(["e", "e/f"])
        answers = []
        for time_us in range(5, 9):
            answers += await one.send(write(time_us, b"%d" % time_us, *LABELS))
        answers += await one.send(
            write(0, b""),
        )
        answers += await one.send(write(9, b"x" * 65_536))
        answers += await one.send(write(10, b"\xff" * 1000, b"x-reduct-label-a: \xc3\xa4", to="b/e%2Ff"))
        answers += await one.send(write(11, b"", *LABELS))
        answers += await one.send(*[write(20 + n, b"%d" % n, *LABELS) for n in range(8)])
        answers += await one.send(write("12&q=1", b"xyz"))
        answers += await one.send(write("%31%33", b"xyz"))
        answers += await one.send(write(14, b"xyz", b"connection: close"))
        answers += await one.send(write(15, b"xyz", b"user-agent: me", b"accept: */*"))
        answers += await one.send(write(2**64 - 1, b"last"))
        return answers

    taken, answers = both(script)
    assert set(statuses(answers)) == {200}
    assert taken == 19


def test_what_has_to_wait_for_something():
    async def script(one):
        one.db.buckets.create("b", {"quota_type": "FIFO", "quota_size": 5000, "max_block_records": 2})
        answers = await one.send(write(5))  # the entry is not there
        answers += await one.send(write(6))
        await asyncio.to_thread(one.db.flush)
        answers += await one.send(write(4), write(5))  # older than what is sealed
        answers += await one.send(write(7, b"x" * 65_537))  # not inline, and larger than the quota
        for time_us in range(10, 20):  # the quota evicts
            answers += await one.send(write(time_us, b"x" * 1000))
        answers += await one.send(write(3))
        answers += await one.send(post("/b/b/e/$meta?ts=1", b"{}", b"x-reduct-label-key: k"))
        answers += await one.send(post("/b/b/e/$meta?ts=2", b"{}"))
        return answers

    taken, answers = both(script)
    assert set(statuses(answers)) >= {200, 409, 422, 500}
    assert 5 < taken < len(answers)


def batch(times, *, size=3, value=None, to="b/e", body=None):
    value = value or b"%d,text/plain,a=1" % size
    lines = [b"x-reduct-time-%d: %b" % (time_us, value) for time_us in times]
    return post(f"/b/{to}/batch", bytes(size * len(times)) if body is None else body, *lines)


def test_batches():
    async def script(one):
        one.db.buckets.create("b").ensure_entries(["e"])
        one.db.buckets.create("fifo", {"quota_type": "FIFO", "quota_size": 3000}).ensure_entries(["e"])
        one.db.buckets.create("hard", {"quota_type": "HARD", "quota_size": 300}).ensure_entries(["e"])
        lines = [b"x-reduct-time-%d: %d,,n=%d" % (n, n, n) for n in (27, 25, 26)]
        answers = await one.send(batch(range(10, 20)))
        answers += await one.send(post("/b/b/e/batch", b"x" * 78, *lines))
        answers += await one.send(
            *[batch(range(100 * n, 100 * n + 50), size=0 if n == 3 else 1024) for n in range(1, 5)]
        )
        taken = one.taken
        for request in (
            batch([1, 15, 2000]),  # late, there already
            batch([3000]),
            batch([3001, 3001]),
            batch(range(4000, 4010), to="b/new"),
            batch(range(5000, 5010), to="none/e"),
            batch(range(6000, 6010), body=b"abc"),
            batch(range(6000, 6010), value=b"x,"),
            batch(range(6000, 6010), value=b"3,,a=" + b"x" * 70_000),
            batch([6000, 6001], size=65_537),
            batch(range(10, 20), size=200, to="fifo/e"),
            batch(range(20, 30), size=200, to="fifo/e"),
            batch(range(10, 20), size=50, to="hard/e"),
            post("/b/b/e/batch", b""),
            *[batch(range(start, start + 100)) for start in (7000, 7100, 7150)],  # a series, known, partly there
            batch([*range(7300, 7350), *range(7200, 7250)]),
            batch(range(7400, 7500), value=b"3,x,a=2"),
            batch(range(7500, 7600), value=b"3"),
        ):
            answers += await one.send(request)
        return answers, taken in (0, 6)

    taken, (answers, as_whole) = both(script)
    assert as_whole
    assert set(statuses(answers)) >= {200, 422}
    assert taken == 10


def test_a_batch_whose_commit_fails():
    async def script(one):
        (entry,) = one.db.buckets.create("b").ensure_entries(["e"])
        submit = one.db.records.submit

        def failed(*_, **__):
            raise NoSpace("x")

        one.db.records.submit = failed
        answers = await one.send(batch(range(10, 20)), write(5))
        one.db.records.submit = submit
        answers += await one.send(batch(range(10, 20)))
        assert not entry.slot.pending
        return answers

    taken, answers = both(script)
    assert statuses(answers) == [507, 507, 200]
    assert taken == 2  # times that were claimed once need a closer look


REFUSED = {
    "no bucket": (404, write(1, to="none/e")),
    "no time": (422, post("/b/b/e")),
    "no number": (422, write("x")),
    "beyond the last time": (422, write(2**64)),
    "negative": (422, write(-1)),
    "an entry's name": (422, write(1, to="b/e%00x")),
    "no UTF-8": (422, write(1, b"abc", b"x-reduct-label-a: \xff")),
    "too many labels": (422, write(1, b"abc", *[b"x-reduct-label-%d: x" % n for n in range(300)])),
    "taken": (409, write(100)),
    "being written": (409, write(101)),
    "read while it is written": (425, b"GET /api/v1/b/b/e?ts=101 HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "a system entry": (422, write(1, to="b/$x")),
    "no route": (405, post("/x/b/e?ts=1")),
    "another method": (405, post("/b/b?ts=1").replace(b"POST", b"PATCH", 1)),
    "announced otherwise": (400, write(1, b"abc", b"x-reduct-content-length: 3", b"content-encoding: gzip")),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_write(what):
    status, request = REFUSED[what]

    async def script(one):
        bucket = one.db.buckets.create("b")
        (entry,) = bucket.ensure_entries(["e"])
        entry.write(b"abc", 100)
        bucket.open_write(entry, 101, 3, (), "text/plain")
        return await one.send(request) + await one.send(request) + await one.send(write(200))

    taken, answers = both(script)
    assert statuses(answers) == [status, status, 200]
    assert taken == 1


def test_quotas_and_limits_of_storage():
    async def script(one):
        for name, quota in ("hard", "HARD"), ("fifo", "FIFO"):
            one.db.buckets.create(name, {"quota_type": quota, "quota_size": 1000}).ensure_entries(["e"])
        answers = []
        for time_us in range(3):
            answers += await one.send(write(time_us, b"x" * 300, to="hard/e"))
            answers += await one.send(write(time_us, b"x" * 300, to="fifo/e"))
        answers += await one.send(write(9, b"x" * 400, to="hard/e"))
        answers += await one.send(write(9, b"x" * 1200, to="fifo/e"))
        one.db.records.max_bytes = 1000
        answers += await one.send(write(10, b"x" * 300, to="fifo/e"))
        answers += await one.send(write(10, b"x" * 300, to="none/e"))
        return answers

    _, answers = both(script)
    assert statuses(answers)[6:] == [400, 500, 500, 500]


def test_who_may_write():
    async def script(one):
        one.db.buckets.create("b").ensure_entries(["e"])
        one.db.buckets.create("c").ensure_entries(["e"])
        full = one.tokens.create("full", {"full_access": True})
        writer = one.tokens.create("writer", {"full_access": False, "read": [], "write": ["b"]})
        reader = one.tokens.create("reader", {"full_access": False, "read": ["b"], "write": []})
        bound = one.tokens.create("bound", {"full_access": True}, ip_allowlist=["10.0.0.1"])
        answers = []
        for n, token in enumerate((full, writer, reader, bound, "x", writer[:-1], "")):
            line = f"authorization: Bearer {token}".encode()
            for again in range(2):
                answers += await one.send(write(10 * n + again, b"abc", line))
                answers += await one.send(write(10 * n + again, b"abc", line, to="c/e"))
        answers += await one.send(write(1))
        one.tokens.remove("writer")
        answers += await one.send(write(99, b"abc", f"authorization: Bearer {writer}".encode()))
        forwarded = f"authorization: Bearer {bound}".encode(), b"x-forwarded-for: 10.0.0.1"
        answers += await one.send(write(100, b"abc", *forwarded))
        return answers

    taken, answers = both(script, tokens=True)
    assert statuses(answers[:4]) == [200] * 4
    assert statuses(answers[4:8]) == [200, 403, 200, 403]
    assert statuses(answers[8:12]) == [403] * 4
    assert statuses(answers[12:]) == [401] * 18 + [200]
    assert taken


def test_the_disk_is_full_or_has_failed():
    async def script(one):
        (entry,) = one.db.buckets.create("b").ensure_entries(["e"])
        submit = one.db.records.submit
        answers = []

        def failing(error):
            def failed(*_, **__):
                raise error

            return failed

        for number, error in enumerate((NoSpace("x"), lamina.errors.Unavailable("x"), RuntimeError("x"))):
            one.db.records.submit = failing(error)
            answers += await one.send(*[write(10 * number + n) for n in range(3)])
            one.db.records.submit = submit
            answers += await one.send(write(10 * number))
        one.db.upkeep.full = True
        answers += await one.send(write(50))
        one.db.upkeep.full = False
        one.db._fail(OSError("x"))
        answers += await one.send(write(51))
        one.db._failure = None
        assert not entry.slot.pending
        return answers

    taken, answers = both(script)
    assert statuses(answers) == [507] * 3 + [200] + [503] * 3 + [200] + [500] * 3 + [200, 507, 503]
    assert taken == 12


def test_an_entry_that_is_removed_before_the_commit():
    async def script(one):
        bucket = one.db.buckets.create("b")
        bucket.ensure_entries(["e"])
        commit = bucket.commit_writes

        def late(writes):
            with one.db.records.publish_lock:
                bucket.slots["e"].leaving = True
            return commit(writes)

        bucket.commit_writes = late
        answers = await one.send(write(1), write(2))
        bucket.slots["e"].leaving = False
        return answers

    taken, answers = both(script)
    assert statuses(answers) == [404, 404]
    assert taken == 2


def test_other_origins_and_hosts():
    async def script(one):
        one.db.buckets.create("b").ensure_entries(["e"])
        answers = []
        for n, line in enumerate((b"origin: https://a.example", b"origin: https://b.example", b"x-a: b")):
            for again in range(2):
                answers += await one.send(write(10 * n + again, b"abc", line))
        answers += await one.send(write(50).replace(b"localhost", b"evil.example"))
        answers += await one.send(write(51).replace(b"localhost", b"evil.example"))
        return answers

    taken, answers = both(script, guarded=True, cors=Cors.parse("https://a.example"))
    assert statuses(answers) == [200, 200, 403, 403, 200, 200, 403, 403]
    assert taken == 2


def test_rates_are_counted_once():
    async def script(one):
        one.db.buckets.create("b").ensure_entries(["e"])
        return [answer for n in range(5) for answer in await one.send(write(n))]

    taken, answers = both(script, rates=RateLimits(api=Rate(3, 60)))
    assert statuses(answers) == [200] * 3 + [429] * 2
    assert taken == 0

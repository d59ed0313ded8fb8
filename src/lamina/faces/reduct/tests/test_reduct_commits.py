"""Writes of one tick go to the log together."""

from __future__ import annotations

import asyncio

import pytest

from lamina.faces.reduct.commits import Commits


class Write:
    def __init__(self, entry):
        self.entry = entry


class Commit:
    def __init__(self, quick=False):
        self.error = None
        self.calls = []
        self.quick = quick

    def here(self):
        return self.quick

    def add_done_callback(self, call):
        self.calls.append(call)

    def done(self):
        for call in self.calls:
            call(self)


class Bucket:
    def __init__(self, quick=False):
        self.committed = []
        self.quick = quick

    def commit_writes(self, writes):
        commit = Commit(self.quick)
        self.committed.append((list(writes), commit))
        return commit


def test_single_writes_of_an_entry_are_one_submission_and_batches_stay_apart():
    async def main():
        commits, bucket = Commits(), Bucket()
        a, b, c, d, e = (Write(entry) for entry in "xxyxy")
        futures = [commits.add(bucket, writes) for writes in ([a], [b], [c], [d, e])]
        assert bucket.committed == []
        await asyncio.sleep(0)
        assert [writes for writes, _ in bucket.committed] == [[a, b], [c], [d, e]]
        loop = asyncio.get_running_loop()
        bucket.committed[1][1].error = OSError("disk")
        for _, commit in bucket.committed:
            await loop.run_in_executor(None, commit.done)
        ended = await asyncio.gather(*futures, return_exceptions=True)
        assert ended[:2] == [None, None]
        assert isinstance(ended[2], OSError)
        assert ended[3] is None

    asyncio.run(main())


def test_what_was_committed_on_the_loop_is_told_in_the_same_tick():
    async def main():
        commits, bucket = Commits(), Bucket(quick=True)
        told = []
        commits.call(bucket, Write("x"), told.append)
        future = commits.add(bucket, [Write("y")])
        await asyncio.sleep(0)
        assert told == [None]
        assert future.done()
        assert not bucket.committed[0][1].calls

    asyncio.run(main())


def test_a_commit_that_raises_holds_no_other_of_its_tick_up():
    class Broken(Bucket):
        def commit_writes(self, writes):
            commit = super().commit_writes(writes)
            if writes[0].entry == "x":
                commit.here = lambda: 1 // 0
            return commit

    async def main():
        commits, bucket = Commits(), Broken(quick=True)
        told = {"x": [], "y": []}
        for entry, calls in told.items():
            commits.call(bucket, Write(entry), calls.append)
        await asyncio.sleep(0)
        assert isinstance(told["x"][0], ZeroDivisionError)
        assert told["y"] == [None]

    asyncio.run(main())


def test_what_its_request_gave_up_is_not_committed():
    async def main():
        commits, bucket = Commits(), Bucket()
        a, b, c, d = (Write("x") for _ in range(4))
        first, second, batch = commits.add(bucket, [a]), commits.add(bucket, [b]), commits.add(bucket, [c, d])
        first.cancel()
        batch.cancel()
        await asyncio.sleep(0)
        other = commits.add(bucket, [Write("y")])
        other.cancel()
        await asyncio.sleep(0)
        ((writes, commit),) = bucket.committed
        assert writes == [b]
        commit.done()
        await second

    asyncio.run(main())


def test_submission_that_is_refused_fails_its_own_writes():
    async def main():
        commits, bucket = Commits(), Bucket()

        def refuse(writes):
            raise OSError("full")

        bucket.commit_writes = refuse
        with pytest.raises(OSError, match="full"):
            await commits.add(bucket, [Write("x")])

    asyncio.run(main())

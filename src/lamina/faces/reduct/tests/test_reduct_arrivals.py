"""Reads that wait for records of a continuous query."""

from __future__ import annotations

import asyncio

from lamina.faces.reduct.arrivals import Arrivals


class Query:
    """Keeps who wants to be called, once, when something comes."""

    def __init__(self):
        self.calls = []

    def on_change(self, call):
        self.calls.append(call)

    def change(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_every_change_wakes_everybody_who_waits():
    async def main():
        arrivals, query = Arrivals(), Query()
        for _ in range(3):
            waiting = [asyncio.ensure_future(arrivals.wait(query, 30)) for _ in range(2)]
            await asyncio.sleep(0)
            assert len(query.calls) == 1, "asked for once"
            await asyncio.get_running_loop().run_in_executor(None, query.change)
            await asyncio.wait_for(asyncio.gather(*waiting), 5)

    asyncio.run(main())


def test_waiting_ends_after_its_time_and_asks_once_only():
    async def main():
        arrivals, query = Arrivals(), Query()
        for _ in range(3):
            await arrivals.wait(query, 0.001)
        assert len(query.calls) == 1

    asyncio.run(main())


def test_a_query_that_is_over_is_forgotten():
    async def main():
        arrivals, query = Arrivals(), Query()
        await arrivals.wait(query, 0.001)
        query.calls.clear()
        del query
        assert len(arrivals._waiters) == 0

    asyncio.run(main())

"""The threads of the face end before its last callers do."""

from __future__ import annotations

import asyncio

import pytest

from lamina.errors import Closed
from lamina.faces.reduct.threads import Threads


def test_a_call_that_comes_after_the_end_is_told_so():
    async def late():
        threads = Threads(1)
        assert await threads.run(int, "7") == 7
        threads.close()
        with pytest.raises(Closed, match="the server is stopping"):
            threads.run(int, "7")

    asyncio.run(late())


def test_an_error_of_the_call_is_the_callers():
    def broken():
        raise RuntimeError("mine")

    async def call():
        threads = Threads(1)
        with pytest.raises(RuntimeError, match="mine"):
            await threads.run(broken)
        threads.close()

    asyncio.run(call())

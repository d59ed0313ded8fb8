"""Tests that are coroutines."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from reduct import Client


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test on a loop of its own, with a `client` and a `bucket` of its own; other parameters are fixtures."""
    others = [item for name, item in inspect.signature(test).parameters.items() if name not in ("client", "bucket")]

    def run(reduct: Any, **fixtures: Any) -> None:
        async def main() -> None:
            async with Client(reduct.url, timeout=120) as client:
                bucket = await client.create_bucket(f"py-{uuid4().hex[:12]}")
                await test(client, bucket, **fixtures)

        asyncio.run(main())

    server = inspect.Parameter("reduct", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([server, *others])  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run

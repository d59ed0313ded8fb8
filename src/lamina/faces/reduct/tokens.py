"""Tokens: list, make, show, rotate, revoke, and who one is (contract 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.access import DISABLED, Tokens, issued_json, parse_create, token_json
from lamina.faces.reduct.errors import Refused

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call


def _enabled(call: Call) -> Tokens:
    """Raises Refused on a server without authentication."""
    if call.face.tokens is None:
        raise Refused(400, "Authentication is disabled")
    return call.face.tokens


async def me(call: Call) -> None:
    if call.face.tokens is None:
        await call.answer_json(token_json(DISABLED))
    else:
        await call.answer_json(token_json(await call.run(call.face.tokens.get, call.principal.name)))


async def list_tokens(call: Call) -> None:
    infos = await call.run(call.face.tokens.list) if call.face.tokens is not None else []
    await call.answer_json({"tokens": [token_json(info) for info in infos]})


async def create(call: Call) -> None:
    tokens = _enabled(call)
    asked = parse_create(await call.body())
    issued = await call.run(
        lambda: tokens.issue(
            call.values[0], asked.permissions, asked.expires, ttl_s=asked.ttl_s, ip_allowlist=asked.ip_allowlist
        )
    )
    await call.answer_json(issued_json(issued))


async def get(call: Call) -> None:
    await call.answer_json(token_json(await call.run(_enabled(call).get, call.values[0])))


async def remove(call: Call) -> None:
    """DELETE; a server without authentication has nothing to remove, and says so with 200."""
    if call.face.tokens is not None:
        await call.run(call.face.tokens.remove, call.values[0])
    await call.done()


async def rotate(call: Call) -> None:
    await call.answer_json(issued_json(await call.run(_enabled(call).rotate, call.values[0])))

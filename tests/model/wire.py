"""Records out of answers, by the grammar of the contract (7, 9) and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from lamina.faces.reduct.tests.asgi import Answer
from tests.model.world import DEFAULT_TYPE, Held, Labels

Read = list[tuple[int, str, Held]]
"""(time, entry, record) in the order of the bodies."""


def pairs(text: str) -> list[tuple[str, str]]:
    """`name=value` separated by commas, values with commas in double quotes."""
    found = []
    while text:
        name, _, text = text.partition("=")
        if text.startswith('"'):
            value, _, text = text[1:].partition('"')
            text = text.removeprefix(",")
        else:
            value, _, text = text.partition(",")
        found.append((name, value))
    return found


def batch_v1(answer: Answer, entry: str, *, bodies: bool) -> Read:
    prefix = "x-reduct-time-"
    heads = sorted((int(n[len(prefix) :]), v) for n, v in answer.headers.items() if n.startswith(prefix))
    found: Read = []
    at = 0
    for time, value in heads:
        size, content_type, *rest = value.split(",", 2)
        content = answer.body[at : at + int(size)] if bodies else bytes(int(size))
        at += int(size)
        found.append((time, entry, Held(content, dict(pairs(rest[0] if rest else "")), content_type)))
    assert int(answer.headers["content-length"]) == at
    return found


def batch_v2(answer: Answer, *, bodies: bool) -> Read:
    """As an SDK that remembers what came before by entry index."""
    headers = answer.headers
    entries = [unquote(name) for name in headers["x-reduct-entries"].split(",")]
    start = int(headers["x-reduct-start-ts"])
    names = [unquote(name) for name in headers.get("x-reduct-labels", "").split(",")]
    heads = []
    for name, value in headers.items():
        parts = name.removeprefix("x-reduct-").split("-")
        if name.startswith("x-reduct-") and len(parts) == 2 and all(part.isdigit() for part in parts):
            heads.append((int(parts[0]), int(parts[1]), value))
    found: Read = []
    at, before = 0, -1
    content_type, labels = DEFAULT_TYPE, {}
    for index, delta, value in sorted(heads):
        size, *more = value.split(",", 2)
        if index != before:
            assert len(more) == 2, "the first record of an index says everything"
            before, labels = index, Labels()
        if more and more[0]:
            content_type = more[0]
        for key, changed in pairs(more[1] if len(more) > 1 else ""):
            label = names[int(key)]
            labels = {k: v for k, v in labels.items() if k != label} | ({label: changed} if changed else {})
        content = answer.body[at : at + int(size)] if bodies else bytes(int(size))
        at += int(size)
        found.append((start + delta, entries[index], Held(content, dict(labels), content_type)))
    assert int(headers["content-length"]) == at
    assert [item[0] for item in found] == sorted(item[0] for item in found), "orders of SDKs differ: bodies mix"
    return found


def write_value(held: Held) -> str:
    """A record's header in protocol v1."""
    texts = [f'{name}="{value}"' if "," in value else f"{name}={value}" for name, value in held.labels.items()]
    return ",".join([str(len(held.content)), held.content_type, *texts])


def change_value(changes: Mapping[str, str]) -> str:
    return ",".join(["0", "", *(f"{name}={value}" for name, value in changes.items())])

"""docs/api.md, made of the docstrings and signatures of the public API:

python -m tests.docs.reference        # writes it; a test compares
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import lamina
from lamina import errors
from lamina.wire.calls import CALLS

PAGE = Path(__file__).parents[2] / "docs" / "api.md"

HEAD = """# API reference

Made of the docstrings by `python -m tests.docs.reference`; a test compares it. The pages on [streams](streams.md),
[records](records.md) and [servers](connect.md) show how things go together. What `lamina.connect` gives has the same
classes with the same methods; `lamina.aio` has them awaited.
"""

CALLS_HEAD = """Version 1; [Against a server](connect.md#the-protocol) says how they travel. `?`: may be null; `any`: a
number, text, a boolean or null, which the engine judges; `...`: comes in portions. A body follows the JSON."""

FUNCTIONS = ("open", "connect")

CLASSES = {
    "Database": "lamina.engine.database",
    "Streams": "lamina.engine.streams",
    "Stream": "lamina.engine.stream",
    "StreamView": "lamina.engine.view",
    "Subscription": "lamina.engine.subscribe",
    "Snapshot": "lamina.engine.snapshot",
    "Buckets": "lamina.engine.records.buckets",
    "Bucket": "lamina.engine.records.bucket",
    "Entry": "lamina.engine.records.entry",
    "NewRecord": "lamina.engine.records.arguments",
    "Record": "lamina.engine.records.record",
    "Selection": "lamina.engine.records.selection",
    "RecordBatch": "lamina.engine.records.recordbatch",
    "BucketView": "lamina.engine.records.view",
    "EntryView": "lamina.engine.records.view",
    "BucketSettings": "lamina.engine.records.settings",
    "BucketInfo": "lamina.engine.records.settings",
    "EntryInfo": "lamina.engine.records.settings",
    "Measurements": "lamina.engine.points.measurements",
    "Measurement": "lamina.engine.points.measurement",
    "MeasurementView": "lamina.engine.points.view",
    "PointSet": "lamina.engine.points.pointset",
    "WindowTable": "lamina.points.windowtable",
    "StreamRow": "lamina.catalog.rows",
    "PinRow": "lamina.catalog.rows",
    "Samples": "lamina.columns",
    "Summaries": "lamina.columns",
    "Ranges": "lamina.columns",
    "Settings": "lamina.settings",
}
"""In the order of the page, with the module that has each."""

SPECIAL = ("__getitem__", "__len__", "__iter__", "__contains__")


def page() -> str:
    parts = [HEAD, "## lamina\n"]
    parts += [_function(f"lamina.{name}", getattr(lamina, name)) for name in FUNCTIONS]
    for name, module in CLASSES.items():
        parts.append(_class(name, getattr(importlib.import_module(module), name)))
    parts.append("## Errors\n\n[Errors](errors.md) says what to do about each.\n")
    parts.append(_errors())
    parts.append(f"## Calls of the protocol\n\n{CALLS_HEAD}\n")
    parts.append(_calls())
    return "\n".join(parts)


def _class(name: str, kind: type[Any]) -> str:
    shown = f"lamina.{name}" if name in lamina.__all__ else name
    parts = [f"## {shown}\n"]
    if hasattr(kind, "_fields"):
        rows = [f"{field}: {_annotation(kind, field)}" for field in kind._fields]
        parts.append("```text\n" + "\n".join(rows) + "\n```\n")
        if kind.__doc__ and not kind.__doc__.startswith(f"{name}("):
            parts.insert(1, f"{_text(kind)}\n")
    else:
        parts.append(f"{_text(kind)}\n")
    members = {member: found for base in reversed(kind.__mro__) if base.__module__.startswith("lamina")
               for member, found in vars(base).items()}  # fmt: skip
    allowed = _public(name)
    for member, found in members.items():
        if allowed is not None and member not in allowed:
            continue
        if member.startswith("_") and member not in SPECIAL:
            continue
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
        if isinstance(found, property) and found.__doc__:
            kind_of = inspect.signature(found.fget).return_annotation  # type: ignore[arg-type]
            parts.append(_entry(f"{member}: {kind_of}", found))
        elif inspect.isfunction(found) and found.__doc__:
            parts.append(_function(member, found))
    return "\n".join(parts)


def _public(name: str) -> set[str] | None:
    """Names that a client of a server has, too, are the public ones; None: all."""
    from lamina.aio.twin import TWINS, members

    return {*members(TWINS[name].of)} if name in TWINS else None


def _function(name: str, function: Any) -> str:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    parameters = _parameters(ast.unparse(definition.args))  # type: ignore[attr-defined]
    gives = inspect.signature(function).return_annotation
    shown = f"{name}({', '.join(parameters)}) -> {gives}"
    if len(shown) > 110:
        shown = f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f") -> {gives}"
    return _entry(shown, function)


def _parameters(text: str) -> list[str]:
    """Each by itself, without self: commas inside of brackets separate nothing."""
    depth, found = 0, [""]
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    parameters = [one.strip() for one in found if one.strip() not in ("", "self", "cls")]
    return [re.sub(r"=(?=[^=]*$)", " = ", one) if ":" in one else one for one in parameters]


def _entry(signature: str, found: Any) -> str:
    return f"```text\n{signature}\n```\n\n{_text(found)}\n"


def _text(found: Any) -> str:
    """Its docstring, with what is meant literally left as it is."""
    text = inspect.cleandoc(found.__doc__ or "")
    blocks = []
    for block in text.split("\n\n"):
        indented = all(line.startswith("    ") for line in block.splitlines())
        blocks.append(f"```text\n{textwrap.dedent(block)}\n```" if indented and block else block)
    return "\n\n".join(blocks).replace("**", r"\*\*")


def _annotation(kind: type[Any], field: str) -> str:
    found = kind.__annotations__[field]
    shown = getattr(found, "__forward_arg__", found)
    default = kind._field_defaults  # type: ignore[attr-defined]
    return f"{shown} = {default[field]!r}" if field in default else str(shown)


def _errors() -> str:
    rows = ["| class | is a | |", "|---|---|---|"]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.LaminaError):
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            rows.append(f"| `{name}` | {bases} | {' '.join(inspect.cleandoc(kind.__doc__ or '').split())} |")
    return "\n".join(rows) + "\n"


def _calls() -> str:
    rows = ["| call | right | arguments | body | gives |", "|---|---|---|---|---|"]
    for call in CALLS.values():
        arguments = ", ".join(f"{parameter.name}: {parameter.kind.name}" for parameter in call.parameters)
        body = "" if call.body == "none" else call.body
        rows.append(f"| `{call.name}` | {call.right} | {arguments} | {body} | {call.result.shown} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())

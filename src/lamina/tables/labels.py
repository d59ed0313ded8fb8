"""The label PostgreSQL gives a column of a result that has no name of its own."""

from __future__ import annotations

from typing import Any

TYPES = {  # sqlglot's name of a type -> PostgreSQL's, which labels a cast of something unnamed
    "TEXT": "text",
    "VARCHAR": "varchar",
    "SMALLINT": "int2",
    "INT": "int4",
    "BIGINT": "int8",
    "FLOAT": "float4",
    "DOUBLE": "float8",
    "DECIMAL": "numeric",
    "BOOLEAN": "bool",
    "UUID": "uuid",
}

_UNNAMED = "?column?"


def label(node: Any) -> tuple[str, int]:
    """PostgreSQL's name for an unnamed column and how sure it is of it (FigureColnameInternal, parse_target.c)."""
    from sqlglot import exp

    kind = type(node)
    if kind in (exp.Paren, exp.Filter):
        return label(node.this)
    if kind in (exp.Column, exp.Alias):
        return node.alias_or_name, 2
    if kind is exp.Anonymous:
        return (_UNNAMED, 0) if name_of(node) == "->" else (name_of(node), 2)
    if kind is exp.Subquery and isinstance(node.this, exp.Select) and node.this.expressions:
        return label(node.this.expressions[0])
    if kind is exp.Case:
        name, strength = label(node.args["default"]) if node.args.get("default") else (_UNNAMED, 0)
        return (name, 2) if strength == 2 else ("case", 1)
    if kind is exp.Cast:
        name, strength = label(node.this)
        return (name, 2) if strength == 2 else (TYPES[node.to.this.name], 1)
    if kind is exp.Trim:
        return {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position")), "btrim"), 2
    fixed = {exp.Exists: "exists", exp.Array: "array", exp.Substring: "substring", exp.StrPosition: "position"}
    return (fixed[kind], 2) if kind in fixed else (_UNNAMED, 0)


def name_of(call: Any) -> str:
    """Name of a function call in lower case; the parser leaves every call as it was written."""
    return str(call.this).lower()

"""How long the text that a statement makes may get, worked out before it runs.

An upper bound per row over all expressions, from the longest values in the table. Columns themselves are not
counted: DuckDB passes them on without copying.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina.tables.labels import label, name_of

ROW_MAKERS = frozenset(("skeys", "svals"))
"""Functions of hstore that answer a row per element."""

_TEXT_MAKERS = frozenset(("concat", "concat_ws", "lower", "upper", "left", "right", "reverse", "replace", "substr"))
_TEXT_MAKERS |= {"ltrim", "rtrim", "btrim", "split_part", "akeys", "avals"}


class Widths(NamedTuple):
    """Longest values of the relation in bytes."""

    columns: Mapping[str, int]  # `annotations`: all keys and values of one stream
    item: int  # one key or value of an annotation


class Growth:
    """The bound of one statement; `params` are the values of its parameters by number."""

    def __init__(self, params: Mapping[str, str], widths: Widths) -> None:
        self._params = params
        self._widths = widths
        self._made = 0

    def of(self, select: Any) -> int:
        """Bytes of text that the expressions of a SELECT and of those in it make per row, at most."""
        self._made = 0
        self._select_width(select, {})
        return self._made

    def _select_width(self, select: Any, outer: Mapping[str, int]) -> dict[str, int]:
        """Longest value in bytes of each column of a SELECT; adds what its expressions make to `self._made`."""
        from sqlglot import exp

        joins = select.args.get("joins") or []
        inner: dict[str, int] = {}
        for source in filter(None, [select.args.get("from_"), *joins]):
            relation = source.this
            while isinstance(relation, exp.Subquery):
                relation = relation.this
            found = self._widths.columns
            if isinstance(relation, exp.Select):
                found = self._select_width(relation, outer)
            for name, width in found.items():
                inner[name] = max(width, inner.get(name, 0))
        visible = {**outer, **{name: max(width, outer.get(name, 0)) for name, width in inner.items()}}
        result: dict[str, int] = {}
        for column in select.expressions:
            if column.is_star:
                result.update(inner)
            else:
                name = (column.alias_or_name or label(column)[0]).lower()
                result[name] = max(self._width(column, visible), result.get(name, 0))
        named = {**visible, **{name: max(width, visible.get(name, 0)) for name, width in result.items()}}
        for part in ("where", "group", "having", "order", "distinct", "limit", "offset"):
            if select.args.get(part) is not None:
                self._width(select.args[part], named)
        for join in joins:
            if join.args.get("on") is not None:
                self._width(join.args["on"], visible)
        return result

    def _width(self, node: Any, columns: Mapping[str, int]) -> int:
        """Longest value in bytes of an expression. An unknown name counts as the widest known one."""
        from sqlglot import exp

        if isinstance(node, exp.Column):
            return columns.get(node.name.lower(), max(columns.values(), default=0))
        if isinstance(node, exp.Literal):
            return len(node.name.encode())
        if isinstance(node, exp.Parameter):
            return len(self._params[node.name].encode())
        if isinstance(node, exp.Select):
            return max(self._select_width(node, columns).values(), default=0)
        if isinstance(node, exp.Connector):
            for part in node.flatten():  # a chain of thousands is one level deep, not thousands
                self._width(part, columns)
            return 0
        widths = [self._width(child, columns) for child in node.iter_expressions()]
        width = sum(widths)
        made = isinstance(node, exp.DPipe | exp.Concat | exp.Substring | exp.Trim | exp.Array | exp.Cast)
        if isinstance(node, exp.Anonymous):
            name = name_of(node)
            made = name in _TEXT_MAKERS
            if name in ("lower", "upper"):
                width *= 2  # a letter of two bytes may have a twin of three
            elif name == "concat_ws":
                width += widths[0] * len(widths)
            elif name == "replace":
                width = widths[0] * (1 + widths[2])
            elif name in ("->", *ROW_MAKERS):
                width = self._widths.item
        if made:
            self._made += width
        return width

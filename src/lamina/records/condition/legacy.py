"""Filters that clients before 1.16 send beside `when` (contract 8.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lamina.errors import InvalidArgument
from lamina.records.condition.expression import And, Constant, LabelIs, Node, Nodes, Not
from lamina.records.condition.literal import check_int, check_text, shown
from lamina.records.condition.stateful import EachN, EachT, Limit


class Legacy(NamedTuple):
    """None, or an empty map: not given."""

    include: Mapping[str, str] | None = None
    exclude: Mapping[str, str] | None = None
    each_s: float | None = None
    each_n: int | None = None
    limit: int | None = None


def filters(legacy: Legacy) -> Nodes:
    """What must hold of the labels. Raises InvalidArgument for members of the wrong type."""
    nodes: list[Node] = list(_labels("include", legacy.include))
    if excluded := _labels("exclude", legacy.exclude):
        nodes.append(Not((And(excluded),)))
    return tuple(nodes)


def thinning(legacy: Legacy) -> Nodes:
    """Which of the records that pass all filters are returned, `when` included: a limit counts results. Raises
    InvalidArgument for members of the wrong type."""
    nodes: list[Node] = []
    if legacy.each_s is not None:
        nodes.append(EachT((_number("each_s", legacy.each_s, whole=False),)))
    if legacy.each_n is not None:
        nodes.append(EachN((_number("each_n", legacy.each_n, whole=True),)))
    if legacy.limit is not None:
        nodes.append(Limit((_number("limit", legacy.limit, whole=True),)))
    return tuple(nodes)


def _labels(member: str, labels: Mapping[str, str] | None) -> Nodes:
    if labels is None:
        return ()
    if not isinstance(labels, Mapping):
        raise InvalidArgument(f"'{member}' must be an object of labels: {shown(labels)}")
    return tuple(LabelIs(check_text(name), check_text(text)) for name, text in labels.items())


def _number(member: str, value: float, *, whole: bool) -> Node:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value - value != 0:
        raise InvalidArgument(f"'{member}' must be {'an integer' if whole else 'a number'}: {shown(value)}")
    return Constant(check_int(value) if isinstance(value, int) else value)

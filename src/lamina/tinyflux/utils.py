"""Frozen containers and bisections: the names TinyFlux keeps in a module called `utils`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NoReturn


class FrozenDict(dict[Any, Any]):
    """A dict that refuses every change and hashes by its sorted items."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))

    def _immutable(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("object is immutable")

    __setitem__ = _immutable
    __delitem__ = _immutable
    __ior__ = _immutable
    clear = _immutable
    pop = _immutable
    popitem = _immutable
    setdefault = _immutable
    update = _immutable


def freeze(obj: object) -> object:
    """`obj` with every dict, list and set in it replaced by a hashable twin; the content of sets is left alone."""
    if isinstance(obj, dict):
        return FrozenDict((key, freeze(value)) for key, value in obj.items())
    if isinstance(obj, list):
        return tuple(freeze(item) for item in obj)
    if isinstance(obj, set):
        return frozenset(obj)
    return obj


def find_eq(sorted_list: Sequence[Any], x: Any) -> int | None:
    """Position of the leftmost item equal to x, or None."""
    at = bisect_left(sorted_list, x)
    return at if at < len(sorted_list) and sorted_list[at] == x else None


def find_lt(sorted_list: Sequence[Any], x: Any) -> int | None:
    """Position of the rightmost item below x, or None."""
    at = bisect_left(sorted_list, x)
    return at - 1 if at else None


def find_le(sorted_list: Sequence[Any], x: Any) -> int | None:
    """Position of the rightmost item at or below x, or None."""
    at = bisect_right(sorted_list, x)
    return at - 1 if at else None


def find_gt(sorted_list: Sequence[Any], x: Any) -> int | None:
    """Position of the leftmost item above x, or None."""
    at = bisect_right(sorted_list, x)
    return at if at < len(sorted_list) else None


def find_ge(sorted_list: Sequence[Any], x: Any) -> int | None:
    """Position of the leftmost item at or above x, or None."""
    at = bisect_left(sorted_list, x)
    return at if at < len(sorted_list) else None

"""Queries: builders that name a part of a Point, and the tests made from them.

`query(point)` is the ground truth: whatever way a database finds its points, a point is in the result exactly if
`query(point)` is truthy. Everything else kept here (`_kind`, `_path`) only lets columns answer the same faster.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn, Union

if TYPE_CHECKING:
    from lamina.points.point import Point

Query = Union["CompoundQuery", "SimpleQuery"]

_SYMBOLS: dict[Callable[..., Any], str] = {
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
}
COMPARISONS = frozenset(_SYMBOLS.values())
_RIGHT_SIDES: dict[str, tuple[Any, str]] = {
    "_time": (datetime, "TimeQuery comparison value must be datetime object."),
    "_measurement": (str, "MeasurementQuery comparison value must be string."),
    "_tags": (str, "TagQuery comparison value must be string."),
    "_fields": ((int, float, str), "FieldQuery comparison value must be a number, bool or string."),
}


_NO_QUERY = "One or more queries is not a CompoundQuery or SimpleQuery."


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class _Combining:
    """What simple and compound queries share: hash, equality, `&`, `|` and `~`."""

    _hash: Any
    _suffix = ""

    def is_hashable(self) -> bool:
        """Whether equal queries can be recognised: no function in a path, nothing unhashable to compare with."""
        return self._hash is not None

    def __hash__(self) -> int:
        return hash(self._hash)

    def __and__(self, other: Query) -> CompoundQuery:
        return self._combine("and", operator.and_, other)

    def __or__(self, other: Query) -> CompoundQuery:
        return self._combine("or", operator.or_, other)

    def __invert__(self) -> CompoundQuery:
        hashval = ("not" + self._suffix, self._hash) if self.is_hashable() else None
        return CompoundQuery(self, None, operator.not_, hashval)

    def _combine(self, name: str, how: Callable[..., Any], other: Any) -> CompoundQuery:
        if not isinstance(other, _Combining):  # not even a falsy one, which the constructor takes for none
            raise RuntimeError(_NO_QUERY)
        both = self.is_hashable() and other.is_hashable()
        hashval = (name + self._suffix, frozenset((self._hash, other._hash))) if both else None
        return CompoundQuery(self, other, how, hashval)


class CompoundQuery(_Combining):
    """Two queries joined by and / or, or one negated (`query2` is None). Each side counts by its truth value."""

    _suffix = "_"

    def __init__(self, query1: Any, query2: Any, operator: Callable[..., Any], hashval: Any) -> None:
        for query in (query1, query2):
            if (query is query1 or query) and not isinstance(query, _Combining):
                raise RuntimeError(_NO_QUERY)
        self.query1 = query1
        self.query2 = query2
        self.operator = operator
        self._hash = hashval

    def __call__(self, point: Point) -> bool:
        """Both sides are always evaluated: a user's function may raise, and must then always do so."""
        if self.query2:
            return bool(self.operator(bool(self.query1(point)), bool(self.query2(point))))
        return bool(self.operator(self.query1(point)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Combining) or not self._hash or not other._hash:
            return False
        return bool(self._hash == other._hash)

    __hash__ = _Combining.__hash__

    def __repr__(self) -> str:
        sides = [type(query).__name__ for query in (self.query1, self.query2) if query]
        return f"CompoundQuery({self.operator.__name__}, {', '.join(map(repr, sides))})"


class SimpleQuery(_Combining):
    """One test of one part of a point.

    `_kind` says what columns may assume about the test: a comparison symbol, "exists", "noop", "matches", "search"
    or "test" (a user's function); None for a query built by hand, about which nothing is known. `_path` is the path
    `_path_resolver` walks.
    """

    _kind: str | None = None
    _path: tuple[Any, ...] = ()

    def __init__(
        self,
        point_attr: str,
        operator: Callable[..., Any],
        rhs: Any,
        test: Callable[..., Any],
        path_resolver: Callable[[Any], Any],
        hashval: Any,
    ) -> None:
        self._point_attr = point_attr
        self._operator = operator
        self._rhs = rhs
        self._test = test
        self._path_resolver = path_resolver
        self._hash = hashval

    @property
    def point_attr(self) -> str:
        """The attribute of a Point this looks at: `_time`, `_measurement`, `_tags` or `_fields`."""
        return self._point_attr

    def __call__(self, point: Point) -> Any:
        """What the test returns; False if the path does not lead anywhere. Exceptions of a user's test propagate."""
        return self.check(getattr(point, self._point_attr))

    def check(self, part: Any) -> Any:
        """As calling it with a point whose attribute is `part`."""
        try:
            value = self._path_resolver(part)
        except Exception:
            return False
        return self._test(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimpleQuery) and bool(self._hash and other._hash and self._hash == other._hash)

    __hash__ = _Combining.__hash__

    def __repr__(self) -> str:
        return f"SimpleQuery{self._hash!r}" if self._hash else "SimpleQuery()"


class BaseQuery:
    """A builder: names a part of a point; a comparison or test on it gives a SimpleQuery. Immutable, not callable."""

    def __init__(self) -> None:
        self._point_attr: str | None = None
        self._path: tuple[Any, ...] = ()
        self._path_required = False
        self._hash: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __hash__(self) -> int:
        return hash(self._hash)

    def is_hashable(self) -> bool:
        """Whether what is built from this can be recognised as equal to another."""
        return self._hash is not None

    def __getattr__(self, item: str) -> Any:
        # Python and its libraries probe for special names; they are no keys (and `_path` may not be set yet).
        if (item.startswith("__") and item.endswith("__")) or "_path_required" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {item!r}; use [{item!r}] for a key")
        return self[item]

    def __getitem__(self, item: str) -> Any:
        if not self._path_required:
            raise RuntimeError("This query does not require a key.")
        return self._extended(item, keep_hash=True)

    def _extended(self, part: Any, *, keep_hash: bool) -> Any:
        query = type(self)()
        query._point_attr = self._point_attr
        query._path_required = self._path_required
        query._path = (*self._path, part)
        query._hash = ("path", query._path) if keep_hash and self.is_hashable() else None
        return query

    def map(self, func: Callable[[Any], Any]) -> Any:
        """A builder of what `func` makes of the value so far. Queries built from it are not hashable."""
        return self._extended(func, keep_hash=False)

    def _generate_simple_query(
        self,
        operator: Callable[..., Any],
        test_against_rhs: bool,
        rhs: Any,
        args: Any,
        hashval: Any,
        kind: str = "test",
    ) -> SimpleQuery:
        if self._path_required and not self._path:
            raise RuntimeError("Query has no path. Provide tag or field key to query.")
        attr = self._point_attr
        if not attr:
            raise RuntimeError("Query has no defined Point attribute. You may be attempting to initialize a BaseQuery.")
        if rhs and attr in _RIGHT_SIDES and not isinstance(rhs, _RIGHT_SIDES[attr][0]):
            raise TypeError(_RIGHT_SIDES[attr][1])

        test: Callable[[Any], Any]
        if test_against_rhs:

            def test(value: Any) -> Any:
                try:
                    return operator(value, rhs)
                except Exception:
                    return False

        elif args:

            def test(value: Any) -> Any:
                return operator(value, *args)

        else:
            test = operator

        known = self.is_hashable() and _hashable(hashval)
        query = SimpleQuery(attr, operator, rhs, test, resolver(self._path), hashval if known else None)
        query._kind = kind
        query._path = self._path
        return query

    def _compare(self, how: Callable[..., Any], rhs: Any) -> SimpleQuery:
        symbol = _SYMBOLS[how]
        return self._generate_simple_query(how, True, rhs, None, (self._point_attr, symbol, self._path, rhs), symbol)

    def __eq__(self, rhs: Any) -> SimpleQuery:  # type: ignore[override]
        return self._compare(operator.eq, rhs)

    def __ne__(self, rhs: Any) -> SimpleQuery:  # type: ignore[override]
        return self._compare(operator.ne, rhs)

    def __lt__(self, rhs: Any) -> SimpleQuery:
        return self._compare(operator.lt, rhs)

    def __le__(self, rhs: Any) -> SimpleQuery:
        return self._compare(operator.le, rhs)

    def __gt__(self, rhs: Any) -> SimpleQuery:
        return self._compare(operator.gt, rhs)

    def __ge__(self, rhs: Any) -> SimpleQuery:
        return self._compare(operator.ge, rhs)

    def __and__(self, other: Any) -> NoReturn:
        raise RuntimeError("Cannot logical-AND an empty query.")

    def __or__(self, other: Any) -> NoReturn:
        raise RuntimeError("Cannot logical-OR an empty query.")

    def __invert__(self) -> NoReturn:
        raise RuntimeError("Cannot logical-NOT an empty query.")

    def test(self, func: Callable[..., Any], *args: Any) -> SimpleQuery:
        """Points for which `func(value, *args)` is truthy. What it raises comes out of the search."""
        return self._generate_simple_query(func, False, None, args, (self._point_attr, "test", self._path, func, args))

    def matches(self, regex: str, flags: int = 0) -> SimpleQuery:
        """Points whose value starts with a match of `regex` (`re.match`). A None value raises TypeError."""
        return self._regex("matches", regex, flags)

    def search(self, regex: str, flags: int = 0) -> SimpleQuery:
        """Points whose value contains a match of `regex` (`re.search`). A None value raises TypeError."""
        return self._regex("search", regex, flags)

    def _regex(self, kind: str, regex: str, flags: int) -> SimpleQuery:
        import re  # costs more to import than the rest of this package, and few programs match patterns

        find = re.match if kind == "matches" else re.search

        def test(value: Any) -> bool:
            return find(regex, value, flags) is not None

        # Without flags the hash is the original's, which programs may print.
        key = (self._point_attr, kind, self._path, regex) + ((int(flags),) if flags else ())
        return self._generate_simple_query(test, False, None, None, key, kind)

    def _exists(self) -> SimpleQuery:
        return self._generate_simple_query(
            _always, False, None, None, (self._point_attr, "exists", self._path), "exists"
        )

    def noop(self) -> SimpleQuery:
        """Every point; something to start from when conditions are added in a loop."""
        query = SimpleQuery(self._point_attr or "_time", _always, None, _always, _same, ())
        query._kind = "noop"
        return query


class TagQuery(BaseQuery):
    """`TagQuery().city == "LA"`: tests of tags."""

    def __init__(self) -> None:
        super().__init__()
        self._point_attr = "_tags"
        self._path_required = True
        self._hash = ("tags",)

    def exists(self) -> SimpleQuery:
        """Points that have the key, whatever its value."""
        return self._exists()


class FieldQuery(BaseQuery):
    """`FieldQuery().temp > 20.0`: tests of fields."""

    def __init__(self) -> None:
        super().__init__()
        self._point_attr = "_fields"
        self._path_required = True
        self._hash = ("fields",)

    def exists(self) -> SimpleQuery:
        """Points that have the key, whatever its value."""
        return self._exists()

    def _regex(self, kind: str, regex: str, flags: int) -> SimpleQuery:
        raise RuntimeError("Regex query not supported for FieldQuery.")


class MeasurementQuery(BaseQuery):
    """`MeasurementQuery() == "weather"`: tests of the measurement's name."""

    def __init__(self) -> None:
        super().__init__()
        self._point_attr = "_measurement"
        self._hash = ("measurement",)


class TimeQuery(BaseQuery):
    """`TimeQuery() >= start`: tests of time. A naive datetime means UTC here, local time in the TinyFlux drop-in."""

    def __init__(self) -> None:
        super().__init__()
        self._point_attr = "_time"
        self._hash = ("time",)

    def _regex(self, kind: str, regex: str, flags: int) -> SimpleQuery:
        raise RuntimeError("Regex query not supported for FieldQuery.")


def _always(_: Any) -> bool:
    return True


def _same(value: Any) -> Any:
    return value


def resolver(path: tuple[Any, ...]) -> Callable[[Any], Any]:
    """A function that walks `path` from a value: a str looks up a key, anything else is called."""
    if not path:
        return _same
    if len(path) == 1 and isinstance(path[0], str):
        return operator.itemgetter(path[0])

    def resolve(value: Any) -> Any:
        for part in path:
            value = value[part] if isinstance(part, str) else part(value)
        return value

    return resolve


def runs_user_code(query: Query) -> bool:
    """Whether a function the user gave is part of the query: it may raise, and may change what it is handed."""
    if isinstance(query, SimpleQuery):
        return query._kind in (None, "test") or not all(isinstance(part, str) for part in query._path)
    return runs_user_code(query.query1) or bool(query.query2 and runs_user_code(query.query2))


def may_raise(query: Query) -> bool:
    """Whether evaluating the query may raise: tests of the user's, and patterns against None."""
    if isinstance(query, SimpleQuery):
        return query._kind not in COMPARISONS and query._kind not in ("exists", "noop")
    return may_raise(query.query1) or bool(query.query2 and may_raise(query.query2))


def in_zone(query: Query, offset_of: Callable[[datetime], timedelta]) -> Query:
    """The query with naive right-hand sides of time comparisons taken as local times of a zone, by its UTC offset."""
    if isinstance(query, SimpleQuery):
        rhs = query._rhs
        if query._point_attr != "_time" or not isinstance(rhs, datetime) or rhs.tzinfo or query._kind is None:
            return query
        return _zoned_time(query, rhs, offset_of(rhs))
    first = in_zone(query.query1, offset_of)
    second = in_zone(query.query2, offset_of) if query.query2 else None
    if first is query.query1 and second is query.query2:
        return query
    return CompoundQuery(first, second, query.operator, None)


def _zoned_time(query: SimpleQuery, naive: datetime, offset: timedelta) -> SimpleQuery:
    # A fixed offset, not astimezone(): the result may lie outside years 1..9999 and still be compared.
    aware = naive.replace(tzinfo=timezone(offset), fold=0)
    how = query._operator

    def test(value: Any) -> Any:
        try:
            # A function in the path may have made the stored, aware time naive: then both are.
            return how(value, aware if isinstance(value, datetime) and value.tzinfo else naive)
        except Exception:
            return False

    made = SimpleQuery("_time", how, aware, test, query._path_resolver, None)
    made._kind = query._kind
    made._path = query._path
    return made


def is_query(query: object) -> bool:
    """Whether it can be asked of a point: a simple or compound query, no builder."""
    return isinstance(query, _Combining)

"""Kinds of parameters: which JSON values a server takes for one, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from lamina.errors import InvalidArgument


class Kind(NamedTuple):
    """`read` gives the value from what JSON gave; it raises ValueError where that is none."""

    name: str
    expected: str
    read: Callable[[Any], Any]


def read(call: str, parameter: str, kind: Kind, value: object) -> Any:
    """A parameter from its JSON value. Raises InvalidArgument."""
    try:
        return kind.read(value)
    except ValueError:
        raise InvalidArgument(f"{call}: {parameter} {value!r:.200}: expected {kind.expected}") from None


def _of(*types: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) not in types:
            raise ValueError
        return value

    return check


def _or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.name}?", f"{kind.expected}, or null", lambda value: None if value is None else kind.read(value))


def _list(item: Kind, plural: str) -> Kind:
    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise ValueError
        return [item.read(member) for member in value]

    return Kind(f"[{item.name}]", f"a list of {plural}", check)


def _mapping(of: Kind, plural: str) -> Kind:
    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError
        return {name: of.read(member) for name, member in value.items()}

    return Kind(f"{{text: {of.name}}}", f"an object with {plural}", check)


def _uuid(value: Any) -> UUID:
    if type(value) is not str or len(value) != 36:
        raise ValueError
    return UUID(value)


def _capacity(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_MAIL:
        raise ValueError
    return value


def _bucket(value: Any) -> tuple[int, str]:
    if type(value) is not list or [type(member) for member in value] != [int, str]:
        raise ValueError
    return value[0], value[1]


def _changes(value: Any) -> list[tuple[str, int, dict[str, str]]]:
    if type(value) is not list or any(type(item) is not list or len(item) != 3 for item in value):
        raise ValueError
    return [(_of(str)(entry), _of(int)(time), TEXTS_BY_NAME.read(labels)) for entry, time, labels in value]


def _places(value: Any) -> list[tuple[str, int]]:
    if type(value) is not list or any(type(item) is not list or len(item) != 2 for item in value):
        raise ValueError
    return [(_of(str)(entry), _of(int)(time)) for entry, time in value]


def _marks(value: Any) -> list[tuple[int, int, int, int]]:
    if type(value) is not list or len(value) > MOST_MARKS:
        raise ValueError
    return [_mark(item) for item in value]


def _mark(value: Any) -> tuple[int, int, int, int]:
    """Numbers of 64 bits: entry id, time, seq, checksum."""
    if type(value) is not list or len(value) != 4:
        raise ValueError
    if any(type(number) is not int or not 0 <= number < 1 << 64 for number in value):
        raise ValueError
    return tuple(value)


def _groups(value: Any) -> list[tuple[str, int, int]]:
    if type(value) is not list or any(type(item) is not list or len(item) != 3 for item in value):
        raise ValueError
    return [(_of(str)(name), _of(int)(points), _of(int)(size)) for name, points, size in value]


def _query(value: Any) -> Any:
    from lamina.wire.queries import query_of

    return query_of(value)


MOST_MAIL = 65_536
"""Undelivered inserts that a server keeps for one subscription."""

MOST_MARKS = 4096
"""Records whose contents are asked for at once."""

INT = Kind("int", "a whole number", _of(int))
TEXT = Kind("text", "text", _of(str))
FLAG = Kind("bool", "true or false", _of(bool))
SECONDS = Kind("seconds", "a number of seconds", _of(int, float))
SCALAR = Kind("any", "a number or text", _of(int, float, str, bool, type(None)))
"""What the engine itself looks at, so that whatever is wrong gets the same text as embedded."""

UUID_KIND = Kind("uuid", "a uuid as text", _uuid)
HANDLE = Kind("handle", "a handle that a call gave", _of(str))
BUCKET = Kind("bucket", "[id, name] of a bucket", _bucket)
MARK = Kind("mark", "[entry id, time, seq, checksum] of a record", _mark)
MARKS = Kind("[mark]", f"at most {MOST_MARKS} of [entry id, time, seq, checksum]", _marks)
TEXTS = _list(TEXT, "texts")
INTS = _list(INT, "whole numbers")
UUIDS = _list(UUID_KIND, "uuids")
TEXTS_BY_NAME = _mapping(TEXT, "texts")
LABEL_SETS = _list(TEXTS_BY_NAME, "objects with texts")
FILTERS = _mapping(_or_null(TEXT), "texts or nulls")
MEMBERS = _mapping(SCALAR, "settings")
CONDITION = Kind("condition", "a condition as an object, or null", _of(dict, type(None)))
CAPACITY = Kind("int", f"a whole number from 0 to {MOST_MAIL}", _capacity)
LABEL_CHANGES = Kind("[[entry, time, labels]]", "a list of [entry, time, labels]", _changes)
PLACES = Kind("[[entry, time]]", "a list of [entry, time]", _places)
GROUPS = Kind("[[measurement, points, bytes]]", "a list of [measurement, points, bytes]", _groups)
QUERY = Kind("query", "a query of points as a tree of lists, of 200 tests at most", _query)
OPTIONAL_QUERY = _or_null(QUERY)
OPTIONAL_INT, OPTIONAL_TEXT, OPTIONAL_UUID = _or_null(INT), _or_null(TEXT), _or_null(UUID_KIND)
OPTIONAL_TEXTS, OPTIONAL_SECONDS = _or_null(TEXTS), _or_null(SECONDS)
OPTIONAL_TEXTS_BY_NAME, OPTIONAL_FILTERS, OPTIONAL_MEMBERS = (
    _or_null(TEXTS_BY_NAME),
    _or_null(FILTERS),
    _or_null(MEMBERS),
)

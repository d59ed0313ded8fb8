"""Members of a condition that change how its results are given: `#...`, at the top level only (contract 10.7)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from lamina.errors import InvalidArgument
from lamina.records.condition.literal import check_int, check_text, parse_duration, parse_size, shown
from lamina.records.condition.parse import parse_literal
from lamina.records.condition.value import Duration, short

MAX_CONTEXT = 1_000_000  # records before a match: a query remembers as many times, 8 bytes each

Span: TypeAlias = int | Duration
"""A number of records, or a length of time, bounds included."""

_NO_CONTEXT: tuple[Span, Span] = (0, Duration(0))


class Directives(NamedTuple):
    """None: not given, the server's own limit holds."""

    ctx_before: Span = 0
    ctx_after: Span = 0
    select_labels: frozenset[str] | None = None
    batch_records: int | None = None
    batch_size: int | None = None  # bytes
    batch_metadata_size: int | None = None  # bytes
    batch_timeout_s: float | None = None
    record_timeout_s: float | None = None
    io_timeout_s: float | None = None
    ext: object = None  # JSON as it was given (contract 17)

    @property
    def has_context(self) -> bool:
        """Whether records may be returned that do not match themselves."""
        return self.ctx_before not in _NO_CONTEXT or self.ctx_after not in _NO_CONTEXT


_COUNTS = {"#batch_records": "batch_records"}
_SIZES = {"#batch_size": "batch_size", "#batch_metadata_size": "batch_metadata_size"}
_TIMEOUTS = {"#batch_timeout": "batch_timeout_s", "#record_timeout": "record_timeout_s", "#io_timeout": "io_timeout_s"}
_CONTEXTS = {"#ctx_before": "ctx_before", "#ctx_after": "ctx_after"}


def parse_directives(members: dict[str, object]) -> Directives:
    """From members whose names begin with `#`. Raises InvalidArgument with the contract's messages."""
    given: dict[str, Any] = {}  # by field
    for name, value in members.items():
        if name not in _CONTEXTS | _COUNTS | _SIZES | _TIMEOUTS and name not in ("#select_labels", "#ext"):
            raise InvalidArgument(f"Directive '{short(name)}' is not supported")
        if value is None:
            raise InvalidArgument(f"Directive '{name}' cannot be null")
        if name == "#ext":
            if not isinstance(value, dict | list):
                raise InvalidArgument(f"#ext must be an object or a list: {shown(value)}")
            given["ext"] = value
        elif name == "#select_labels":
            given["select_labels"] = _names(name, value)
        else:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if name in _CONTEXTS:
                given[_CONTEXTS[name]] = _context(name, value)
            elif name in _COUNTS:
                given[_COUNTS[name]] = _count(name, value, "a non-negative integer")
            elif name in _SIZES:
                given[_SIZES[name]] = _size(name, value)
            else:
                given[_TIMEOUTS[name]] = _timeout(name, value)
    return Directives()._replace(**given)


def _context(name: str, value: object) -> Span:
    span: Span | None = None
    if isinstance(value, str):
        span = parse_duration(check_text(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        span = check_int(value)
    if span is None:
        raise InvalidArgument(f"{name} must be an integer or duration: {shown(value)}")
    if (span.us if isinstance(span, Duration) else span) < 0:
        raise InvalidArgument(f"{name} must be non-negative")
    if name == "#ctx_before" and isinstance(span, int) and span > MAX_CONTEXT:
        raise InvalidArgument(f"#ctx_before must be at most {MAX_CONTEXT} records: {span}")
    return span


def _names(name: str, value: object) -> frozenset[str]:
    names = set()
    for item in value if isinstance(value, list) else [value]:
        literal = parse_literal(item) if isinstance(item, str) else None
        if not isinstance(literal, str) or not literal:
            raise InvalidArgument(f"{name} must be the name of a label or a list of such: {shown(value)}")
        names.add(literal)
    if not names:
        raise InvalidArgument(f"{name} must be a list of at least one name")
    return frozenset(names)


def _count(name: str, value: object, expected: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{name} must be {expected}: {shown(value)}")
    return check_int(value)


def _size(name: str, value: object) -> int:
    size = parse_size(value) if isinstance(value, str) else value
    return _count(name, value if size is None else size, "a number of bytes or a size like '2MB' or '1KiB'")


def _timeout(name: str, value: object) -> float:
    """Seconds."""
    expected = "whole seconds or a duration, not negative"
    duration = parse_duration(check_text(value)) if isinstance(value, str) else None
    if duration is None:
        return float(_count(name, value, expected))
    _count(name, duration.us if duration.us >= 0 else value, expected)
    return duration.us / 1_000_000

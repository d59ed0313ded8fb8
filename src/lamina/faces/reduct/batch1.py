"""Batch protocol v1: a header per record, `x-reduct-time-<ts>: <length>,<type>[,<label>=<value>...]` (contract 7).

Values repeat from batch to batch, so what one says is remembered by its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import lt

from lamina.errors import InvalidArgument
from lamina.faces.reduct.headers import (
    CACHE_LIMIT,
    CACHED_BYTES,
    DEFAULT_TYPE,
    Header,
    batch_type,
    batch_value,
    number,
    visible,
)
from lamina.faces.reduct.wanted import Kind, Run, Wanted
from lamina.records.labels import LabelSet

TIME_PREFIX = b"x-reduct-time-"
ERROR_PREFIX = b"x-reduct-error-"

_NAME_ALSO = ',="'
"""Characters that would end a label's name."""


_values: dict[bytes, Kind] = {}
_suffixes: dict[tuple[str, LabelSet], bytes] = {}


def parse_run(headers: Iterable[Header], entry: str) -> Run:
    """The records of a write of an entry, by time. Raises InvalidArgument."""
    found = [header for header in headers if header[0].startswith(TIME_PREFIX)]
    texts = [name[len(TIME_PREFIX) :] for name, _ in found]
    if texts and b"".join(texts).isdigit() and max(map(len, texts)) < 20 and all(texts):
        times = list(map(int, texts))
        values = [value for _, value in found]
        numbers: dict[bytes, int] = {values[0]: 0}
        chosen = []
        if values.count(values[0]) < len(
            values
        ):  # else they are all the same, which comparing tells faster than hashing
            chosen = [numbers.setdefault(value, len(numbers)) for value in values]
        kinds = [_values.get(value) or _parse_value(value) for value in numbers]
    else:  # header by header, so that the first that is none is told
        times, kinds, chosen = [], [], list(range(len(found)))
        for name, value in found:
            times.append(_time(name))
            kinds.append(_parse_value(value))
    if not all(map(lt, times, times[1:])):
        order = sorted(range(len(times)), key=times.__getitem__)
        times = [times[i] for i in order]
        chosen = [chosen[i] for i in order] if chosen else chosen
    return Run(entry, times, kinds, chosen if len(kinds) > 1 else None)


def run_of(texts: Sequence[bytes], value: bytes, entry: str) -> Run | None:
    """`parse_run` of headers that all say the same of times in ascending order, given as digits behind the prefix;
    None: this they are not. Raises InvalidArgument."""
    if not texts or max(map(len, texts)) >= 20 or not all(texts):
        return None
    times = list(map(int, texts))
    if not all(map(lt, times, times[1:])):
        return None
    return Run(entry, times, [_values.get(value) or _parse_value(value)], None)


def parse_items(headers: Iterable[Header], entry: str) -> list[Wanted]:
    """The records of an update of an entry, by time. Raises InvalidArgument."""
    return [Wanted(entry, time_us, *kind) for time_us, kind in parse_run(headers, entry).records()]


def parse_times(headers: Iterable[Header]) -> list[int]:
    """The times of a removal, ascending; values do not count. Raises InvalidArgument."""
    return sorted(_time(name) for name, _ in headers if name.startswith(TIME_PREFIX))


def _time(name: bytes) -> int:
    time_us = number(name[len(TIME_PREFIX) :])
    if time_us is None:
        shown = name.decode("latin-1")
        raise InvalidArgument(f"Invalid header '{shown}': must be an unix timestamp in microseconds")
    return time_us


def _parse_value(value: bytes) -> Kind:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InvalidArgument("Invalid batched header") from None
    length, comma, rest = text.partition(",")
    if not comma:
        raise InvalidArgument("Invalid batched header")
    size = number(length.strip().encode())
    if size is None:
        raise InvalidArgument("Invalid content length")
    content_type, _, pairs = rest.partition(",")
    parsed = Kind(size, content_type.strip() or DEFAULT_TYPE, tuple(sorted(_parse_pairs(pairs).items())))
    if len(value) <= CACHED_BYTES:
        if len(_values) >= CACHE_LIMIT:
            _values.clear()
        _values[value] = parsed
    return parsed


def _parse_pairs(rest: str) -> dict[str, str]:
    """Labels separated by commas; a value that begins with a quote runs to the next one. What has no `=` is ignored:
    reduct-py does not quote values that hold commas."""
    labels = {}
    while rest:
        name, equals, value = rest.partition("=")
        if not equals:
            break
        if value.startswith('"'):
            value, quote, rest = value[1:].partition('"')
            if not quote:
                raise InvalidArgument("Invalid batched header")
            rest = rest.partition(",")[2]
        else:
            value, _, rest = value.partition(",")
        name = name.rpartition(",")[2].strip()
        if name:
            labels[name] = value.strip()
    return labels


def encode_item(time_us: int, size: int, content_type: str, labels: LabelSet) -> Header:
    """The header of a record that is read."""
    key = content_type, labels
    suffix = _suffixes.get(key)
    if suffix is None:
        suffix = _encode_suffix(content_type, labels)
        if len(suffix) <= CACHED_BYTES:
            if len(_suffixes) >= CACHE_LIMIT:
                _suffixes.clear()
            _suffixes[key] = suffix
    return b"x-reduct-time-%d" % time_us, b"%d%b" % (size, suffix)


def _encode_suffix(content_type: str, labels: LabelSet) -> bytes:
    pairs = sorted(f"{visible(name, also=_NAME_ALSO)}={batch_value(value)}" for name, value in labels)
    return "".join([",", batch_type(content_type), *(f",{pair}" for pair in pairs)]).encode()

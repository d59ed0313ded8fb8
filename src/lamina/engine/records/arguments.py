"""What a caller hands over as content, labels and condition, made into what the engine keeps; everything else refused.

Apart from the entry, because a client of a server prepares its arguments alike without an engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from lamina.errors import InvalidArgument
from lamina.records.labels import LabelSet
from lamina.storage.files import Buffer
from lamina.time import TimeLike, to_us

if TYPE_CHECKING:
    from lamina.records.condition import Condition

CONTENT_TYPE = "application/octet-stream"

CHUNK_BYTES = 1 << 20
"""A long content is taken in pieces of at most so many bytes."""

TOO_LONG = "Content is bigger than in content-length"
TOO_SHORT = "Content is smaller than in content-length"


class NewRecord(NamedTuple):
    """One of many for `Entry.write_many`."""

    time: TimeLike  # µs since the epoch, datetime, numpy.datetime64 or ISO 8601
    data: Buffer
    labels: Mapping[str, object] = {}
    content_type: str = CONTENT_TYPE


def buffer_of(data: object) -> Buffer | None:
    """What has bytes, as bytes, so that its length is their number; None for anything else."""
    if isinstance(data, (bytes, bytearray)):
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no buffer; one of a type that memoryview does not know
        return None
    return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.tobytes()


def content_of(data: Buffer | Iterable[Buffer], size: int | None) -> tuple[Iterable[Buffer], int]:
    """A content as pieces, and the bytes of all of them. Raises InvalidArgument."""
    known = buffer_of(data)
    if known is not None:
        return [known], len(known) if size is None else size
    if isinstance(data, str) or not isinstance(data, Iterable):
        raise no_bytes(data)
    if size is None:
        raise InvalidArgument(f"data is of type {type(data).__name__}: give size=, the bytes of all its pieces")
    return cast("Iterable[Buffer]", data), size


def bytes_of(data: object) -> Buffer:
    """`buffer_of`, or InvalidArgument."""
    found = buffer_of(data)
    if found is None:
        raise no_bytes(data)
    return found


def no_bytes(data: object) -> InvalidArgument:
    if isinstance(data, str):
        return InvalidArgument(f"data {data[:40]!r} is text: expected bytes, such as data.encode()")
    kind = type(data).__name__
    return InvalidArgument(f"data is of type {kind}: expected bytes, or an iterable of bytes with its size")


def condition_of(when: Mapping[str, Any] | str | None) -> Condition:
    """A condition given as a mapping or as JSON text, compiled. Raises InvalidArgument."""
    from lamina.records.condition import compile_condition

    return compile_condition(parsed(when))


def parsed(when: Mapping[str, Any] | str | None) -> Mapping[str, Any] | None:
    """A condition that may be given as JSON text. Raises InvalidArgument."""
    if not isinstance(when, str):
        return when
    try:
        found: Mapping[str, Any] = json.loads(when)
    except ValueError as error:
        raise InvalidArgument(f"when {when!r} is not JSON: {error}") from None
    return found


def label_text(value: object) -> str:
    """A label's value as it is kept. Raises InvalidArgument for bytes and containers."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if hasattr(value, "__iter__"):
        raise InvalidArgument(f"label value {value!r}: expected text, a number or a bool")
    return str(value)


def label_set(labels: Mapping[str, object] | None) -> LabelSet:
    """Labels as they are kept: pairs by name, without those that are None. Raises InvalidArgument."""
    if not labels:
        return ()
    given = mapping_of_labels(labels).items()
    return tuple(sorted((str(name), label_text(value)) for name, value in given if value is not None))


def label_changes(labels: Mapping[str, object]) -> dict[str, str]:
    """What `Entry.update` sets, as text; "" removes a label. Raises InvalidArgument."""
    given = mapping_of_labels(labels).items()
    return {str(name): "" if value is None else label_text(value) for name, value in given}


def mapping_of_labels(labels: Mapping[str, object]) -> Mapping[str, object]:
    if not isinstance(labels, Mapping):
        raise InvalidArgument(f"labels {labels!r}: expected a mapping of names to values")
    return labels


def bound_us(time: TimeLike | None) -> int | None:
    """A bound of a range; None: there is none. Raises InvalidArgument."""
    return None if time is None else to_us(time)

"""Tag sets, orders of field keys and texts as bytes: the same in ops and in sections (FORMAT.md, Tables)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from lamina.errors import Corrupt
from lamina.points.batch import Order, TagSet

_T = TypeVar("_T")

_U32 = struct.Struct("<I")
_NONE = 0xFFFFFFFF
"""The length of a tag value that is None."""
_NONE_BYTES = _U32.pack(_NONE)


def write_text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return _U32.pack(len(data)) + data


def write_texts(texts: Sequence[str]) -> bytes:
    """Without their number, which is known where they are read."""
    return b"".join(map(write_text, texts))


def write_tagsets(tagsets: Sequence[TagSet]) -> bytes:
    known: dict[str | None, bytes] = {None: _NONE_BYTES}

    def text(value: str | None) -> bytes:
        found = known.get(value)
        if found is None and value is not None:
            found = known[value] = write_text(value)
        return found or _NONE_BYTES

    return b"".join(
        b"".join((_U32.pack(len(tags)), *[part for key, value in tags for part in (text(key), text(value))]))
        for tags in tagsets
    )


def write_orders(orders: Sequence[Order], keys: Sequence[str]) -> bytes:
    """By the places of their keys in `keys`."""
    place = {key: number for number, key in enumerate(keys)}
    return b"".join(struct.pack(f"<{1 + len(order)}I", len(order), *[place[key] for key in order]) for order in orders)


class TableReader:
    """Reads tables front to back. `what` says in errors whose. Raises Corrupt; nothing is believed before it was
    compared with what is there."""

    __slots__ = ("_data", "at", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self.at = 0
        self.what = what

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        if self.at + layout.size > len(self._data):
            raise self.corrupt(f"{layout.size} bytes more, of {len(self._data)}")
        found = layout.unpack_from(self._data, self.at)
        self.at += layout.size
        return found

    def number(self) -> int:
        return self.unpack(_U32)[0]

    def bytes(self, length: int) -> bytes:
        if self.at + length > len(self._data):
            raise self.corrupt(f"{length} bytes more, of {len(self._data)}")
        self.at += length
        return self._data[self.at - length : self.at]

    def text(self) -> str:
        return self._text(self.number())

    def texts(self, count: int) -> list[str]:
        return self._list(count, 4, self.text)

    def tagsets(self, count: int) -> list[TagSet]:
        return self._list(count, 4, lambda: tuple(self._list(self.number(), 8, self._pair)))

    def orders(self, count: int) -> list[list[int]]:
        """Places of keys."""
        return self._list(count, 4, lambda: self._list(self.number(), 4, self.number))

    def end(self) -> None:
        if self.at != len(self._data):
            raise self.corrupt(f"the end, of {len(self._data)}")

    def corrupt(self, expected: str) -> Corrupt:
        return Corrupt(f"{self.what}: byte {self.at}: expected {expected}")

    def _list(self, count: int, least: int, read: Callable[[], _T]) -> list[_T]:
        if count * least > len(self._data) - self.at:
            raise self.corrupt(f"{count} entries in {len(self._data) - self.at} bytes")
        return [read() for _ in range(count)]

    def _pair(self) -> tuple[str, str | None]:
        key = self.text()
        length = self.number()
        return key, None if length == _NONE else self._text(length)

    def _text(self, length: int) -> str:
        try:
            return self.bytes(length).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.corrupt(f"UTF-8: {error}") from None


def named(orders: Sequence[Sequence[int]], keys: Sequence[str], reader: TableReader) -> list[Order]:
    """Orders of keys, by their places. Raises Corrupt: of keys that there are, each once."""
    if any(number >= len(keys) for order in orders for number in order):
        raise reader.corrupt(f"orders of {len(keys)} fields")
    if any(len(set(order)) != len(order) for order in orders):
        raise reader.corrupt("orders that name a field once")
    return [tuple(keys[number] for number in order) for order in orders]

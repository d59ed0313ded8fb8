"""Lists of texts in a block: any texts that Python holds, empty ones and such with NUL included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.errors import Corrupt, UnknownFormat
from lamina.records.stored import Cursor, Stored, store, write_number

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

SEPARATED, MEASURED = 0, 1
"""Forms: a NUL between two texts (cut apart at 20 ns a text); lengths in front, for texts that have NULs themselves."""

TEXT_BYTES = 60
"""Of a Python string besides its characters, with its place in a list."""


def write_texts(out: SegmentWriter, texts: Sequence[str]) -> bytes:
    """Write a list and return its description."""
    joined = "\0".join(texts)
    data = joined.encode("utf-8", "surrogatepass")
    if joined.count("\0") == max(len(texts) - 1, 0):
        return write_number(len(texts)) + bytes((SEPARATED,)) + store(out, data)
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.array([len(part) for part in parts], "<u4").tobytes()
    return write_number(len(texts)) + bytes((MEASURED,)) + store(out, lengths + b"".join(parts))


class Texts(NamedTuple):
    """What a description says of a list of texts."""

    n: int
    form: int
    stored: Stored

    @property
    def nbytes(self) -> int:
        """About what the decoded list takes."""
        return self.stored.size + self.n * TEXT_BYTES

    def decode(self, data: bytes, name: str) -> list[str]:
        """From the bytes at `stored`, of the object `name`. Raises Corrupt."""
        try:
            if self.form == SEPARATED:
                texts = data.decode("utf-8", "surrogatepass").split("\0") if self.n else []
            else:
                texts = self._cut(data)
        except UnicodeDecodeError as error:
            raise Corrupt(f"{name}: offset {self.stored.offset}: texts: {error}") from None
        if len(texts) != self.n:
            raise Corrupt(f"{name}: offset {self.stored.offset}: expected {self.n} texts, found {len(texts)}")
        return texts

    def _cut(self, data: bytes) -> list[str]:
        start = 4 * self.n
        ends = start + np.cumsum(np.frombuffer(data[:start], "<u4"), dtype=np.int64)
        if self.n and int(ends[-1]) != len(data):
            return []
        bounds = [start, *ends.tolist()]
        return [data[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds)]


def read_texts(cursor: Cursor, limit: int) -> Texts:
    """The description at the cursor, of at most `limit` texts. Raises Corrupt, UnknownFormat."""
    count, form = cursor.number(), cursor.byte()
    if form > MEASURED:
        raise UnknownFormat(f"{cursor.what}: texts of form {form}: this version reads 0..{MEASURED}")
    stored = cursor.stored()
    least = 4 * count if form == MEASURED else max(count - 1, 0)
    if count > limit or stored.size < least:
        raise cursor.corrupt(f"at most {limit} texts in {stored.size} bytes", count)
    return Texts(count, form, stored)

"""Listings in messages of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lamina.errors import TooBig
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.batches import BATCH_BYTES
from lamina.faces.btrdb.calls import MESSAGE_LIMIT

ELEMENTS = 1000
"""Streams, collections or rows of a message (contract section 1)."""


def packed(elements: Iterable[bytes]) -> Iterator[bytes]:
    """Messages with the elements in repeated field 2, as all listings have it; at least one message.

    Raises TooBig where a single element does not fit a message.
    """
    held: list[bytes] = []
    size = 0
    some = False
    for element in elements:
        if len(element) + 16 > MESSAGE_LIMIT:
            raise TooBig(f"the answer has an element of {len(element)} bytes, below {MESSAGE_LIMIT} are possible")
        if held and (size + len(element) > BATCH_BYTES or len(held) == 2 * ELEMENTS):
            yield b"".join(held)
            held, size, some = [], 0, True
        held += (wire.length_delimited(2, len(element)), element)
        size += len(element) + 5
    if held or not some:
        yield b"".join(held)

"""64 MiB set aside on the volume, so that a full disk does not keep unflushed points from becoming segments.

Flushing frees log space, so it must work when nothing else does: the reserve is given back to the volume for it, and
made again when there is room (reliability law 9).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.errors import NoSpace
from lamina.storage.files import Files

NAME = "RESERVE"
BYTES = 64 << 20
"""Enough for a flush of the largest tails that the limits allow in one step, and for the catalog's own pages."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Whether an error says that the volume (or the user's quota on it) is full."""
    return error.errno in _FULL


@contextmanager
def told_as_no_space(what: str) -> Iterator[None]:
    """Around the writing of what goes past the log: a disk that ends there is the caller's NoSpace, as it is where the
    log would not take it."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise NoSpace(f"the disk is full: {what} does not fit; reads go on, writes after space was freed") from error


class Reserve:
    """The file. Used by the upkeep thread only."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._held: bool | None = None  # not looked yet

    def ensure(self, min_free: int) -> None:
        """Have the reserve if the volume has that much to spare besides; errors of a full disk are no concern."""
        if self._held is None:
            self._held = any(info.name == NAME for info in self._files.list(""))
        if self._held or self._files.free_bytes()[0] < min_free + 2 * BYTES:
            return
        file = self._files.open(NAME, "create")
        try:
            file.allocate(BYTES)
        finally:
            file.close()
        self._held = True

    def release(self) -> bool:
        """Give the space back; False if there was none."""
        held = any(info.name == NAME for info in self._files.list(""))
        if held:
            self._files.unlink(NAME)
        self._held = False
        return held

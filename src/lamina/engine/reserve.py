"""64 MiB set aside on the volume, so that a full disk does not keep unflushed points from becoming segments.

Flushing frees log space, so it must work when nothing else does: the reserve is given back to the volume for it, and
made again when there is room (reliability law 9).
"""

from __future__ import annotations

import errno

from lamina.storage.files import Files

NAME = "RESERVE"
BYTES = 64 << 20
"""Enough for a flush of the largest tails that the limits allow in one step, and for the catalog's own pages."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Whether an error says that the volume (or the user's quota on it) is full."""
    return error.errno in _FULL


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

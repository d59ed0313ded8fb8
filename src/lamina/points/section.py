"""One sealed section of a measurement as the engine knows it: its catalog row, and what died in it since."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import PointSectionRow

SectionRows = NDArray[np.uint32]


class Section(NamedTuple):
    """Immutable; replaced when something in it dies. What the catalog does not know yet is `fresh` and `cleared`."""

    row: PointSectionRow
    fresh: SectionRows  # rows that died, not yet in the catalog; in the order they died
    fresh_seqs: NDArray[np.uint64]
    cleared: int  # seq at which all that still lived died, not yet in the catalog; 0: none
    known: bool = True  # the catalog has its row

    @property
    def changed(self) -> bool:
        """Whether the catalog has to be told."""
        return bool(len(self.fresh)) or self.cleared > 0 or not self.known

    @property
    def dead(self) -> int:
        """The seq from which nobody lives here any more; 0: somebody may."""
        return self.row.dead or self.cleared

    @property
    def living(self) -> int:
        """Rows that live now."""
        return 0 if self.dead else self.row.points - self.row.died - len(self.fresh)

    def kill(self, rows: SectionRows, seq: int) -> Section:
        """Rows that live die."""
        seqs = np.full(len(rows), seq, np.uint64)
        return self._replace(
            fresh=np.concatenate((self.fresh, rows)), fresh_seqs=np.concatenate((self.fresh_seqs, seqs))
        )

    def clear(self, seq: int) -> Section:
        """All die; itself if nobody lives."""
        return self if self.dead else self._replace(cleared=seq)


NONE_FRESH: SectionRows = np.empty(0, np.uint32)
NO_SEQS: NDArray[np.uint64] = np.empty(0, np.uint64)


def section_of(row: PointSectionRow) -> Section:
    """As the catalog has it."""
    return Section(row, NONE_FRESH, NO_SEQS, 0)

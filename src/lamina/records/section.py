"""One sealed section of an entry as the engine knows it: its catalog row, and what died in it since."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import RecordSectionRow

TIME_BIAS = 1 << 63
"""Catalog columns are signed: u64 times minus this keep their order."""

_CUT = struct.Struct("<QQ")


class Cut(NamedTuple):
    """An eviction that went into the section: rows up to `through` died at `seq`."""

    through: int
    seq: int


class Section(NamedTuple):
    """Immutable; replaced when something in it dies. What the catalog does not know yet is `fresh`."""

    row: RecordSectionRow
    cuts: tuple[Cut, ...]
    fresh: NDArray[np.uint32]  # rows that died, not yet in the catalog; in the order they died
    fresh_seqs: NDArray[np.uint64]
    fresh_cuts: int  # how many of the cuts the catalog lacks

    @property
    def t_min(self) -> int:
        return self.row.t_min + TIME_BIAS

    @property
    def t_max(self) -> int:
        return self.row.t_max + TIME_BIAS

    @property
    def changed(self) -> bool:
        return bool(len(self.fresh)) or self.fresh_cuts > 0

    def kill(self, index: NDArray[np.uint32], seq: int) -> Section:
        seqs = np.full(len(index), seq, np.uint64)
        return self._replace(
            fresh=np.concatenate((self.fresh, index)), fresh_seqs=np.concatenate((self.fresh_seqs, seqs))
        )

    def cut(self, through: int, seq: int) -> Section:
        """As this section is after an eviction; itself if it holds nothing so old that lives."""
        if through < self.t_min or any(cut.through >= through for cut in self.cuts):
            return self
        return self._replace(cuts=(*self.cuts, Cut(through, seq)), fresh_cuts=self.fresh_cuts + 1)

    def floor(self, seq: int) -> int:
        """Rows up to this time are dead as of a seq; -1: none by eviction."""
        return max((cut.through for cut in self.cuts if cut.seq <= seq), default=-1)


NONE_FRESH = np.empty(0, np.uint32)
NO_SEQS = np.empty(0, np.uint64)


def section_of(row: RecordSectionRow) -> Section:
    """As the catalog has it."""
    cuts = tuple(Cut(*pair) for pair in _CUT.iter_unpack(row.cuts))
    return Section(row, cuts, NONE_FRESH, NO_SEQS, 0)


def encode_cuts(cuts: tuple[Cut, ...]) -> bytes:
    return b"".join(_CUT.pack(*cut) for cut in cuts)

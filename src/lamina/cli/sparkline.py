"""A row of numbers as a row of characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCKS = np.array(list("▁▂▃▄▅▆▇█"))


def sparkline(values: NDArray[np.float64], low: float, high: float) -> str:
    """One block character per value, from `low` (lowest block) to `high`; NaN gives a space."""
    span = high - low
    scaled = (values - low) / span if span > 0 else np.where(np.isnan(values), np.nan, 0.5)
    level = np.clip(np.nan_to_num(scaled) * len(_BLOCKS), 0, len(_BLOCKS) - 1).astype(np.int64)
    return "".join(np.where(np.isnan(values), " ", _BLOCKS[level]).tolist())

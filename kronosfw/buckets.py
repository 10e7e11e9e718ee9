"""Buckets of the horizon: steps that are scored, calibrated and weighted together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bucket_names(bounds: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the buckets that end at these steps, such as ``1``, ``2-5`` and ``6+`` for (1, 5)."""
    starts = [1, *(bound + 1 for bound in bounds)]
    closed = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, bounds, strict=False)]
    return (*closed, f"{starts[-1]}+")


def buckets_of(steps: ArrayLike, bounds: Sequence[int]) -> NDArray[np.str_]:
    """Return the name of the bucket of each step ``[N]``, steps counted from 1; ``bounds`` increase."""
    names = np.array(bucket_names(bounds))
    found: NDArray[np.str_] = names[np.searchsorted(bounds, np.asarray(steps))]
    return found

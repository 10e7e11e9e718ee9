"""Quantiles at any level from the nine deciles that the model gives."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from kronosfw.types import Floats

DECILES = np.arange(1, 10) / 10


def at_levels(deciles: Floats, levels: Sequence[float]) -> Floats:
    """Return quantiles ``[H, Q]`` at levels in (0, 1) from deciles ``[H, 9]`` that increase.

    Between two deciles linear in the level. Below the first and above the last, where the model says nothing, the
    two outer ones are continued as under a normal distribution: linear in its quantile. Where the deciles increase,
    so do the results.
    """
    wanted = np.asarray(levels, dtype=np.float64)
    left = np.clip(np.searchsorted(DECILES, wanted, side="right") - 1, 0, len(DECILES) - 2)
    outside = (wanted < DECILES[0]) | (wanted > DECILES[-1])
    low, high = DECILES[left], DECILES[left + 1]
    between = (wanted - low) / (high - low)
    beyond = (_z(wanted) - _z(low)) / (_z(high) - _z(low))
    share = np.where(outside, beyond, between)
    found: Floats = deciles[:, left] * (1 - share) + deciles[:, left + 1] * share
    return found


def _z(levels: Floats) -> Floats:
    """Return the quantiles of the standard normal distribution."""
    return np.array([NormalDist().inv_cdf(level) for level in levels])

"""The stationary bootstrap of days."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from ...types import Floats
from .options import Noninferiority

FEWEST = 10
"""Days from which a block length can be estimated."""


def weights(options: Noninferiority, daily: Floats, steps: int) -> Floats:
    """Return how much each of D days counts in each draw ``[draws, D]``; rows add up to 1.

    Days are drawn in blocks of random length (Politis & Romano, Journal of the American Statistical Association 89,
    1994), whose mean, unless given, is that of Politis & White (Econometric Reviews 23, 2004) for the daily
    values, and at least the number of steps for which forecasts overlap, as far as a quarter of the days allows.
    """
    days = len(daily)
    block = options.block or max(_block(daily), min(steps, days // 4), 1)
    return _draws(days, min(block, days), options.resamples, options.seed)


def _block(daily: Floats) -> int:
    if len(daily) < FEWEST or np.ptp(daily) == 0:
        return 1
    with np.errstate(all="ignore"):
        length = float(optimal_block_length(daily)["stationary"].iloc[0])
    return round(length) if np.isfinite(length) else 1


@lru_cache(maxsize=32)
def _draws(days: int, block: int, draws: int, seed: int) -> Floats:
    bootstrap = StationaryBootstrap(block, np.arange(days), seed=np.random.default_rng(seed))
    counts = [np.bincount(positional[0], minlength=days) for positional, _ in bootstrap.bootstrap(draws)]
    shares = np.array(counts, dtype=np.float64) / days
    shares.flags.writeable = False
    return shares

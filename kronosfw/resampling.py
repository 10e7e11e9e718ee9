"""The stationary bootstrap of days."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError
from .types import Floats

FEWEST = 10
"""Days from which a block length can be estimated."""


def need_arch(what: str) -> None:
    """Raise ConfigError, with the way out, where the package arch is not installed."""
    if find_spec("arch") is None:
        raise ConfigError(f"{what} needs the package arch: pip install 'kronosfw[guard]'")


def block_length(daily: Floats, overlap: int) -> int:
    """Return the mean days in a block for values of D days ``[D]``, or ``[D, K]`` for several series at once.

    It is that of Politis & White (Econometric Reviews 23, 2004), the median of the series', and at least the number
    of days over which forecasts overlap, as far as a quarter of the days allows.
    """
    days = len(daily)
    return min(max(_optimal(daily.reshape(days, -1)), min(overlap, days // 4), 1), max(days, 1))


def _optimal(daily: Floats) -> int:
    moving = daily[:, np.ptp(daily, axis=0) > 0] if len(daily) >= FEWEST else daily[:, :0]
    if not moving.size:
        return 1
    need_arch("a bootstrap of days")
    from arch.bootstrap import optimal_block_length

    with np.errstate(all="ignore"):
        lengths = optimal_block_length(moving)["stationary"].to_numpy()
    return round(float(np.median(np.where(np.isfinite(lengths), lengths, 1.0))))


def day_weights(days: int, block: int, resamples: int, seed: int) -> Floats:
    """Return how much each of D days counts in each draw ``[resamples, D]``; rows add up to 1.

    Days are drawn in blocks of random length whose mean is ``block``, wrapped around at the end (Politis & Romano,
    Journal of the American Statistical Association 89, 1994).
    """
    return _counts(days, block, resamples, seed) / days


@lru_cache(maxsize=16)
def _counts(days: int, block: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each draw has each day; in so few bytes that years of days can be kept."""
    need_arch("a bootstrap of days")
    from arch.bootstrap import StationaryBootstrap

    bootstrap = StationaryBootstrap(block, np.arange(days), seed=np.random.default_rng(seed))
    counts = [
        np.bincount(positional[0], minlength=days).astype(np.uint16)
        for positional, _ in bootstrap.bootstrap(resamples)
    ]
    return np.array(counts)

"""The bootstrap of days as the guard's options have it."""

from __future__ import annotations

from ...resampling import block_length, day_weights
from ...types import Floats
from .options import Noninferiority


def weights(options: Noninferiority, daily: Floats, steps: int) -> Floats:
    """Return how much each of D days counts in each draw ``[draws, D]``; rows add up to 1.

    The block length, unless given, is the one for the daily values of forecasts that overlap for so many steps.
    """
    days = len(daily)
    block = min(options.block, days) if options.block else block_length(daily, steps)
    return day_weights(days, block, options.resamples, options.seed)

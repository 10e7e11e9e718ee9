"""The regime of volatility: how much prices have moved of late, against what is usual."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .types import Floats

SPAN, USUAL, FEWEST = 20, 250, 60
"""Returns whose volatility is meant, volatilities that tell what is usual, and the fewest that do."""
_CALM, _WILD = 0.75, 1.33


def volatility_ratios(close: Floats, cuts: NDArray[np.int64]) -> Floats:
    """Return, after each bar asked for, the volatility of the last 20 returns over its usual by then.

    The usual is the median 20-bar volatility of the 250 bars before; NaN with fewer than 60 to compare with.
    """
    ratios = np.full(len(cuts), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(close))
    if len(returns) < SPAN:
        return ratios
    volatility = sliding_window_view(returns, SPAN).std(axis=1)
    asked, place = np.unique(cuts, return_inverse=True)
    found = np.full(len(asked), np.nan)
    for i, last in enumerate((asked - SPAN).tolist()):
        before = volatility[max(last - USUAL, 0) : max(last, 0)]
        usual = np.median(before) if len(before) >= FEWEST else np.nan
        if usual > 0:
            found[i] = volatility[last] / usual
    return found[place]


def regime(ratio: float) -> str:
    """Return ``low`` for a ratio below 0.75, ``high`` above 1.33, ``normal`` between, ``unknown`` for none."""
    if not np.isfinite(ratio):
        return "unknown"
    if ratio < _CALM:
        return "low"
    return "high" if ratio > _WILD else "normal"

"""Bars of kronosfw as Kronos takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Bars, Times

from .kronos.candles import Floats, candles, stamps

PRICES = "open", "high", "low", "close"


def to_candles(bars: Bars) -> Floats:
    """Return candles ``[T, 6]``; raises ValueError where a price column or a figure is missing.

    Bars without volume, or with a gap in it, are taken as having none.
    """
    if missing := set(PRICES) - set(bars.columns):
        raise ValueError(f"the bars lack {', '.join(sorted(missing))}")
    prices = np.column_stack([bars.column(name) for name in PRICES])
    if not np.isfinite(prices).all():
        row, column = np.argwhere(~np.isfinite(prices))[0]
        raise ValueError(f"the {PRICES[column]} of {bars.times.time[row]} is {prices[row, column]}, not a number")
    volume, amount = (_complete(bars, name) for name in ("volume", "amount"))
    return candles(prices, volume, amount)


def to_stamps(times: Times, freq: str) -> NDArray[np.int64]:
    """Return time stamps ``[T, 5]``: a daily bar's session date, the UTC open of a shorter one."""
    return stamps(times.session if freq == "1d" else times.time)


def _complete(bars: Bars, name: str) -> Floats | None:
    if name not in bars.columns:
        return None
    column = bars.column(name)
    return column if np.isfinite(column).all() else None

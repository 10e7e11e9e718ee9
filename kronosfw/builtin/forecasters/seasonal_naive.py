"""Seasonal naive method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import freq
from ...types import Floats, Forecast, Window
from . import SeasonalNaive
from .common import log_close, unit_quantiles


class SeasonalNaiveForecaster:
    """The log close one season of m bars ago, and normal quantiles with standard deviation σ √k.

    σ is the root mean square of the seasonal differences and k = ⌊(h − 1)/m⌋ + 1 (Hyndman & Athanasopoulos,
    Forecasting: Principles and Practice, 3rd ed., §5.2 and §5.5). Needs two seasons of history.
    """

    max_context: int | None = None

    def __init__(self, options: SeasonalNaive) -> None:
        self._season = options.season

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        z = unit_quantiles(levels)
        return [window.forecast(levels, self._quantiles(window, z)) for window in windows]

    def _quantiles(self, window: Window, z: Floats) -> Floats:
        m = self._season or season(window)
        close = log_close(window, 2 * m)
        sigma = np.sqrt(np.mean((close[m:] - close[:-m]) ** 2))
        ahead = np.arange(window.horizon)
        centre = close[len(close) - m + ahead % m]
        quantiles: Floats = np.exp(centre[:, None] + sigma * np.sqrt(ahead // m + 1)[:, None] * z)
        return quantiles


def season(window: Window) -> int:
    """Return the bars in a season: a week of daily bars or a full session of shorter ones.

    Both are counted in the history, so that no list of markets is needed: weekdays with at least half as many
    bars as the busiest one, and the bars of the fullest session.
    """
    sessions = window.bars.times.session
    if not len(sessions):
        return 1
    if freq.is_daily(window.freq):
        count = np.bincount(sessions.astype(np.int64) % 7)
        return int((2 * count >= count.max()).sum())
    return int(np.unique(sessions, return_counts=True)[1].max())

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
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window: Window, levels: Sequence[float]) -> Floats:
        m = self._season or season(window)
        close = log_close(window, 2 * m)
        sigma = np.sqrt(np.mean((close[m:] - close[:-m]) ** 2))
        ahead = np.arange(window.horizon)
        centre = close[len(close) - m + ahead % m]
        z = unit_quantiles(levels, window.horizon)
        quantiles: Floats = np.exp(centre[:, None] + sigma * np.sqrt(ahead // m + 1)[:, None] * z)
        return quantiles


def season(window: Window) -> int:
    """Return the bars in a season: a week of daily bars or a full session of shorter ones.

    Both are counted in the history, so that no list of markets is needed: weekdays with at least half as many
    bars as the busiest one, and the bars of the fullest session. The first and the last session do not count,
    as the history may hold only a part of them.

    Raises ValueError if no session lies between those two.
    """
    sessions = window.bars.times.session
    if freq.is_daily(window.freq):
        count = np.bincount(sessions.astype(np.int64) % 7, minlength=7)
        return int((2 * count >= count.max()).sum())
    inside = np.unique(sessions, return_counts=True)[1][1:-1]
    if not len(inside):
        enough = 2 * freq.DAY // freq.minutes(window.freq) + 1
        raise ValueError(
            f"the {len(sessions)} bars of history hold no full session to count a season in: give this model a "
            f"`context` of at least {enough} bars, or a `season`"
        )
    return int(inside.max())

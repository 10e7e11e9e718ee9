"""Heterogeneous autoregression of range-based volatility."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Floats, Forecast, Window
from . import Har
from .common import log_prices, prices, unit_quantiles

SPANS = (1, 5, 22)
FEWEST_ROWS = 30


class HarForecaster:
    """Student's t around the last close; its scale comes from a HAR model (Corsi, J. Fin. Econometrics 7, 2009).

    For each step h the root of the mean variance over the next h bars is regressed on the same over the last
    1, 5 and 22. A prediction outside the range of the targets is put at its edge (Bollerslev, Patton &
    Quaedvlieg, J. Econometrics 192, 2016), which keeps it positive. Ranges miss part of what closes do, so the
    h-step variance is scaled by squared h-step returns over fitted variance, summed over the history.

    Needs ``22 + H + 30`` bars with open, high, low and close.
    """

    max_context: int | None = None

    def __init__(self, options: Har) -> None:
        self._df = options.df

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window: Window, levels: Sequence[float]) -> Floats:
        least = SPANS[-1] + window.horizon + FEWEST_ROWS
        logs = log_prices(window, ("open", "high", "low", "close"), least)
        sigma = volatility(logs, window.horizon)
        return prices(window, sigma[:, None] * unit_quantiles(levels, window.horizon, self._df))


def range_variance(logs: Floats) -> Floats:
    """Return each bar's variance ``[T − 1]`` from the logarithms of open, high, low and close ``[T, 4]``.

    Garman & Klass (Journal of Business 53, 1980) within the bar, plus the squared jump from the close before.
    """
    open_, high, low, close = logs.T
    jump = open_[1:] - close[:-1]
    inside = 0.5 * (high - low) ** 2 - (2 * np.log(2) - 1) * (close - open_) ** 2
    variance: Floats = jump**2 + np.maximum(inside[1:], 0)
    return variance


def volatility(logs: Floats, horizon: int) -> Floats:
    """Return the standard deviation of the log return over 1 … H bars, ``[H]``.

    Each comes from a regression of its own, so that one may fall below a shorter one; it is raised to that then:
    the variance of a sum of uncorrelated returns never falls.
    """
    longest = SPANS[-1]
    total = np.concatenate([[0.0], np.cumsum(range_variance(logs))])
    close = logs[1:, 3]
    origins = np.arange(longest, len(total))
    past = [np.sqrt((total[origins] - total[origins - k]) / k) for k in SPANS]
    features = np.column_stack([np.ones(len(origins)), *past])
    sigma = np.zeros(horizon)
    for h in range(1, horizon + 1):
        known = origins[:-h]
        target = np.sqrt((total[known + h] - total[known]) / h)
        fitted = regress(features, target)
        explained = np.sum(fitted[:-h] ** 2)
        if explained > 0:
            moved = close[known + h - 1] - close[known - 1]
            sigma[h - 1] = fitted[-1] * np.sqrt(np.sum(moved**2) / explained)
    growing: Floats = np.maximum.accumulate(sigma)
    return growing


def regress(features: Floats, target: Floats) -> Floats:
    """Return predictions for every row ``[N]``, fitted to the targets of the first rows and kept in their range."""
    weights = np.linalg.lstsq(features[: len(target)], target, rcond=None)[0]
    predictions: Floats = np.clip(features @ weights, target.min(), target.max())
    return predictions

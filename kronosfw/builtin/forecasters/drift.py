"""Drift method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Floats, Forecast, Window
from .common import log_close, prices, unit_quantiles


class DriftForecaster:
    """The mean log return continued, and normal quantiles with variance σ² h (1 + h/(T − 1)).

    σ² is the residuals' sum of squares over T − 2 (Hyndman & Athanasopoulos, Forecasting: Principles and
    Practice, 3rd ed., §5.2 and §5.5). Needs three bars.
    """

    max_context: int | None = None

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [window.forecast(levels, _quantiles(window, levels)) for window in windows]


def _quantiles(window: Window, levels: Sequence[float]) -> Floats:
    returns = np.diff(log_close(window, 3))
    h = np.arange(1, window.horizon + 1)[:, None]
    sigma = returns.std(ddof=1) * np.sqrt(h * (1 + h / len(returns)))
    return prices(window, returns.mean() * h + sigma * unit_quantiles(levels, window.horizon))

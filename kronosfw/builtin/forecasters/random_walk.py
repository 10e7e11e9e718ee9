"""Random walk of the log close with rolling or exponentially weighted volatility."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Floats, Forecast, Window
from . import RandomWalk
from .common import log_close, prices, unit_quantiles


class RandomWalkForecaster:
    """Quantiles σ √h z around the last close, without drift.

    σ is the standard deviation of the last ``window`` log returns, or with ``decay`` λ the root of the mean of
    all squared log returns weighted by λ^age (RiskMetrics Technical Document, 4th ed., 1996).
    """

    def __init__(self, options: RandomWalk) -> None:
        self._options = options
        self.max_context = options.window + 1 if options.decay is None else None

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        z = unit_quantiles(levels, self._options.df)
        return [window.forecast(levels, self._quantiles(window, z)) for window in windows]

    def _quantiles(self, window: Window, z: Floats) -> Floats:
        returns = np.diff(log_close(window, self._options.window + 1, self.max_context))
        steps = np.arange(1, window.horizon + 1)
        return prices(window, self._volatility(returns) * np.sqrt(steps)[:, None] * z)

    def _volatility(self, returns: Floats) -> float:
        if self._options.decay is None:
            return float(returns.std())
        weights = self._options.decay ** np.arange(len(returns))[::-1]
        return float(np.sqrt(weights @ returns**2 / weights.sum()))

"""Random walk of the log close with rolling or exponentially weighted volatility."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Floats, Forecast, Window
from . import RandomWalk
from .common import log_close, prices, unit_quantiles


class RandomWalkForecaster:
    """Quantiles σ √h z around the last close, without drift.

    σ is the root mean square of the last ``window`` log returns, or with ``decay`` λ of all of them, weighted by
    λ^age (RiskMetrics Technical Document, 4th ed., 1996). As nothing drifts, no mean is taken out.
    """

    def __init__(self, options: RandomWalk) -> None:
        self._options = options
        self.max_context = options.window + 1 if options.decay is None else None

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window: Window, levels: Sequence[float]) -> Floats:
        returns = np.diff(log_close(window, self._options.window + 1, self.max_context))
        weights = (self._options.decay or 1.0) ** np.arange(len(returns))[::-1]
        sigma = np.sqrt(weights @ returns**2 / weights.sum() * np.arange(1, window.horizon + 1))
        return prices(window, sigma[:, None] * unit_quantiles(levels, window.horizon, self._options.df))

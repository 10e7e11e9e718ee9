"""The forecaster ``ewma`` at work."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from kronosfw.types import Forecast, Window


class EwmaForecaster:
    """Quantiles σ √h z around the last close; σ² is the mean squared log return, weighted by decay ** age."""

    max_context = None

    def __init__(self, decay: float) -> None:
        self._decay = decay

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        z = np.array([NormalDist().inv_cdf(level) for level in levels])
        return [window.forecast(levels, self._quantiles(window, z)) for window in windows]

    def _quantiles(self, window: Window, z: np.ndarray) -> np.ndarray:
        close = window.bars.close
        if len(close) < 20 or not (close > 0).all():
            raise ValueError("ewma needs 20 closes, all of them positive numbers")
        returns = np.diff(np.log(close))
        sigma = np.sqrt(np.average(returns**2, weights=self._decay ** np.arange(len(returns))[::-1]))
        steps = np.arange(1, window.horizon + 1)[:, None]
        return close[-1] * np.exp(sigma * np.sqrt(steps) * z)

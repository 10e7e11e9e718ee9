"""Classical models through the package statsforecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from statsforecast.models import AutoARIMA, AutoETS, Theta

from ...types import Floats, Forecast, Window
from . import StatsForecast
from .common import log_close, prices, quiet

LEAST = 30
MODELS = {"auto_ets": AutoETS, "auto_arima": AutoARIMA, "theta": Theta}


class StatsForecaster:
    """Quantiles of the log close from the central intervals that the package gives; needs 30 bars.

    The models are called directly: no frame, no pool of workers, and nothing shared between windows. They see
    the log close less its last value: their fits depend on the level, and so else on the unit of the price.
    """

    max_context: int | None = None

    def __init__(self, options: StatsForecast) -> None:
        self._model = MODELS[options.model]

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return [window.forecast(levels, self._quantiles(window, levels)) for window in windows]

    def _quantiles(self, window: Window, levels: Sequence[float]) -> Floats:
        close = log_close(window, LEAST)
        central = [round(100 * abs(1 - 2 * level), 10) for level in levels]
        with quiet():
            model: Any = self._model(season_length=1)
            result = model.forecast(
                y=close - close[-1], h=window.horizon, level=sorted({c for c in central if c}) or None
            )
        columns = [
            result["mean" if not width else f"{'lo' if level < 0.5 else 'hi'}-{width}"]
            for level, width in zip(levels, central, strict=True)
        ]
        return prices(window, np.column_stack(columns).astype(np.float64))

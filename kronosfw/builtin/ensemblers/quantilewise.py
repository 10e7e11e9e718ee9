"""Mean and median of the members, quantile by quantile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Forecast, Window
from . import Mean
from .common import LearnsNothing, context, shared_columns, shares, stacked


class QuantileMean(LearnsNothing):
    """Weighted mean of quantiles (Vincentization): keeps the members' shape, averages place and width."""

    def __init__(self, options: Mean) -> None:
        self._weights = options.weights

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        weights = shares(members, self._weights)
        columns = shared_columns(members)
        quantiles = np.average(stacked(members, columns, levels), axis=0, weights=weights)
        return window.forecast(levels, quantiles, columns=columns, event_context=context(members, weights))


class QuantileMedian(LearnsNothing):
    """Median of quantiles: no single member can pull it away."""

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        columns = shared_columns(members)
        quantiles = np.median(stacked(members, columns, levels), axis=0)
        equal = shares(members, None)
        return window.forecast(levels, quantiles, columns=columns, event_context=context(members, equal))

"""Statistics of the last few values as of each."""

from __future__ import annotations

import numpy as np

from ...types import Floats


def trailing(values: Floats, window: int, fewest: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation (n − 1) of the last ``window`` values, up to and with each one ``[N]``.

    The deviation is NaN where there are fewer than ``fewest`` of them or they do not differ. Each is summed by
    itself and in the same order, so that no digit depends on what else is in the array.
    """
    total, squares = np.zeros(len(values)), np.zeros(len(values))
    count = np.minimum(np.arange(1, len(values) + 1), window)
    lags = range(min(window, len(values)))
    for lag in lags:
        total[lag:] += values[: len(values) - lag]
    mean = total / count
    for lag in lags:
        squares[lag:] += (values[: len(values) - lag] - mean[lag:]) ** 2
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    vary = (count >= fewest) & (deviation > 1e-12 * (1 + np.abs(mean)))
    return mean, np.where(vary, deviation, np.nan)

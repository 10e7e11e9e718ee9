"""Scores of quantile forecasts.

Pure functions of arrays. Leading axes are arbitrary and broadcast: ``actual`` is ``[...]``, ``quantiles`` is
``[..., Q]`` for increasing ``levels`` ``[Q]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .types import Floats


def pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return the pinball loss of each quantile ``[..., Q]``, in the unit of ``actual``.

    (τ − 1{y < q}) (y − q): Koenker & Bassett, Econometrica 46, 1978.
    """
    error = np.asarray(actual, dtype=np.float64)[..., None] - np.asarray(quantiles, dtype=np.float64)
    loss: Floats = (np.asarray(levels, dtype=np.float64) - (error < 0)) * error
    return loss


def scaled_pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return 2 × the mean pinball loss over the levels, over mean |actual| along the first axis, ``[N, ...]``.

    Give it returns: a loss on price levels hides everything. Its mean over N is the weighted quantile loss of
    Salinas et al. (International Journal of Forecasting 36, 2020), averaged over levels. Not finite where no
    outcome moves.
    """
    scale = np.abs(np.asarray(actual, dtype=np.float64)).mean(axis=0)
    scaled: Floats = crps_quantiles(actual, quantiles, levels) / scale
    return scaled


def crps_quantiles(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return 2 × the mean pinball loss over the levels ``[...]``: the CRPS as far as the levels tell.

    The CRPS is twice the integral of the pinball loss over all levels (Gneiting & Ranjan, Journal of Business &
    Economic Statistics 29, 2011), so levels should be evenly spaced.
    """
    score: Floats = 2 * pinball(actual, quantiles, levels).mean(axis=-1)
    return score


def covered(actual: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Return whether the outcome lies in ``[low, high]``, bounds included; its mean is the coverage."""
    y = np.asarray(actual)
    inside: NDArray[np.bool_] = (np.asarray(low) <= y) & (y <= np.asarray(high))
    return inside


def pit(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return the probability integral transform ``[...]``: the forecast's distribution function at the outcome.

    Linear between quantiles. Outside the outer ones, where the forecast says no more, it is the outer level: 0.1
    stands for "at most 0.1". Where quantiles coincide with the outcome it is midway between their levels.
    """
    q = np.asarray(quantiles, dtype=np.float64)
    p = np.asarray(levels, dtype=np.float64)
    above = np.asarray(actual, dtype=np.float64)[..., None] - q[..., :-1]
    gap = np.diff(q, axis=-1)
    passed = (1 + np.sign(above)) / 2
    np.divide(above, gap, out=passed, where=gap > 0)
    value: Floats = p[0] + (passed.clip(0, 1) * np.diff(p)).sum(axis=-1)
    return value


def direction_hit(actual: ArrayLike, median: ArrayLike, last: ArrayLike) -> Floats:
    """Return 1.0 where the median moves from ``last`` to the side the outcome does, else 0.0, ``[...]``.

    NaN where either of them does not move: no direction was called, or none came.
    """
    came = np.sign(np.asarray(actual, dtype=np.float64) - np.asarray(last))
    called = np.sign(np.asarray(median, dtype=np.float64) - np.asarray(last))
    agreement = came * called
    hit: Floats = np.where(agreement == 0, np.nan, (1 + agreement) / 2)
    return hit

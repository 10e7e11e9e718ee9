"""Scores of quantile forecasts.

Pure functions of arrays. Leading axes are arbitrary and broadcast: ``actual`` is ``[...]``, ``quantiles`` is
``[..., Q]`` for increasing ``levels`` ``[Q]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .types import Floats

YEAR = 252
"""Days of trading in a year."""


def pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return the pinball loss of each quantile ``[..., Q]``, in the unit of ``actual``.

    (τ − 1{y < q}) (y − q): Koenker & Bassett, Econometrica 46, 1978.
    """
    error = np.asarray(actual, dtype=np.float64)[..., None] - np.asarray(quantiles, dtype=np.float64)
    loss: Floats = (np.asarray(levels, dtype=np.float64) - (error < 0)) * error
    return loss


def weighted_quantile_loss(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return 2 × the sum of the pinball loss of each level over the sum of ``|actual|`` ``[Q]``.

    Sums run over all leading axes: Salinas et al., International Journal of Forecasting 36, 2020. Not finite where
    no outcome moves.
    """
    loss = pinball(actual, quantiles, levels)
    summed: Floats = 2 * loss.reshape(-1, loss.shape[-1]).sum(axis=0) / np.abs(np.asarray(actual)).sum()
    return summed


def scaled_pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> Floats:
    """Return 2 × the mean pinball loss over the levels, over mean |actual| along the first axis, ``[N, ...]``.

    Give it returns: a loss on price levels hides everything. Its mean over N is ``weighted_quantile_loss`` averaged
    over levels. Not finite where no outcome moves.
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


def crps_samples(actual: ArrayLike, samples: ArrayLike, *, fair: bool = False) -> Floats:
    """Return the CRPS of S samples ``[..., S]``, in the unit of ``actual`` ``[...]``.

    E|X − y| − ½ E|X − X′| (Gneiting & Raftery, Journal of the American Statistical Association 102, 2007). With
    ``fair`` the second mean leaves out the pairs of a sample with itself, so that on average the score does not
    depend on S (Ferro, Quarterly Journal of the Royal Meteorological Society 140, 2014); NaN for one sample.
    """
    x = np.sort(np.asarray(samples, dtype=np.float64), axis=-1)
    n = x.shape[-1]
    apart = np.abs(x - np.asarray(actual, dtype=np.float64)[..., None]).mean(axis=-1)
    # Σ|xᵢ − xⱼ| over ordered pairs, in one pass over sorted samples.
    spread = 2 * (x * (2 * np.arange(1, n + 1) - n - 1)).sum(axis=-1)
    pairs = n * (n - 1 if fair else n)
    score: Floats = apart - spread / (2 * pairs) if pairs else np.full(apart.shape, np.nan)
    return score


def interval_score(actual: ArrayLike, low: ArrayLike, high: ArrayLike, level: float) -> Floats:
    """Return the score of the central interval ``[low, high]`` of a nominal coverage ``level``, ``[...]``.

    Its width, and 2 / (1 − level) times the distance of an outcome outside: Winkler, Journal of the American
    Statistical Association 67, 1972.
    """
    y, left, right = (np.asarray(a, dtype=np.float64) for a in (actual, low, high))
    outside = np.maximum(left - y, 0) + np.maximum(y - right, 0)
    score: Floats = right - left + 2 / (1 - level) * outside
    return score


def covered(actual: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Return whether the outcome lies in ``[low, high]``, bounds included; its mean is the coverage."""
    y = np.asarray(actual)
    inside: NDArray[np.bool_] = (np.asarray(low) <= y) & (y <= np.asarray(high))
    return inside


def width(low: ArrayLike, high: ArrayLike, last: ArrayLike) -> Floats:
    """Return ``high − low`` as a share of the last close ``[...]``."""
    share: Floats = (np.asarray(high, dtype=np.float64) - np.asarray(low)) / np.abs(np.asarray(last))
    return share


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


def direction_rate(actual: ArrayLike, median: ArrayLike, last: ArrayLike) -> float:
    """Return the share of right calls among those that ``direction_hit`` judges; NaN where there is none."""
    hits = direction_hit(actual, median, last)
    judged = hits[np.isfinite(hits)]
    return float(judged.mean()) if judged.size else np.nan


def calibration_curve(actual: ArrayLike, quantiles: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the share of outcomes at or below each quantile ``[Q]``; of a calibrated model it is the level.

    Shares are over all leading axes; outcomes count by their ``weights`` ``[...]``, where these are given.
    """
    y = np.asarray(actual)
    below = y[..., None] <= np.asarray(quantiles)
    flat = below.reshape(-1, below.shape[-1])
    share: Floats = np.average(flat, axis=0, weights=None if weights is None else np.ravel(np.asarray(weights)))
    return np.minimum(share, 1.0)  # rounding may lift it above


def crossings(quantiles: ArrayLike) -> NDArray[np.intp]:
    """Return how many neighbouring quantiles are in the wrong order ``[...]``."""
    wrong: NDArray[np.intp] = (np.diff(np.asarray(quantiles), axis=-1) < 0).sum(axis=-1)
    return wrong


def mae(actual: ArrayLike, median: ArrayLike) -> float:
    """Return the mean absolute error over all axes, in the unit of ``actual``."""
    return float(np.abs(np.asarray(actual, dtype=np.float64) - np.asarray(median)).mean())


def mase(actual: ArrayLike, median: ArrayLike, history: ArrayLike, season: int = 1) -> float:
    """Return the mean absolute error of one series over that of the seasonal naive forecast within its history.

    ``history`` ``[T]`` is what was known before the forecasts; the scale is the mean of abs(xₜ − xₜ₋ₛ), s being the
    ``season``: Hyndman & Koehler, International Journal of Forecasting 22, 2006. NaN where it has no more than s
    values or never moves.
    """
    x = np.asarray(history, dtype=np.float64)
    scale = mae(x[season:], x[:-season]) if len(x) > season else 0.0
    return mae(actual, median) / scale if scale > 0 else np.nan


def strategy_returns(
    expected: ArrayLike, returned: ArrayLike, cost: float, first: ArrayLike | None = None
) -> Floats:
    """Return what the toy strategy earns on each of N forecasts one step ahead ``[N]``.

    It is long where the ``expected`` move is up, short where it is down and out where there is none, for one bar,
    and pays ``cost`` for each unit by which its position changes from one forecast to the next. Forecasts are in
    order of time, series after series; ``first`` marks the first of each series, before which there is no position:
    there is one series unless given.
    """
    position = np.sign(np.asarray(expected, dtype=np.float64))
    held = np.append(0.0, position)[: len(position)]
    turnover = np.abs(position - (held if first is None else np.where(first, 0.0, held)))
    earned: Floats = position * np.asarray(returned, dtype=np.float64) - cost * turnover
    return earned


def sharpe(weights: ArrayLike, daily: ArrayLike, periods: float = YEAR) -> Floats:
    """Return the yearly Sharpe ratio of D returns under each of some weightings ``[draws, D]``, ``[draws]``.

    Weights of a draw add up to 1; ``periods`` is how many such returns a year has. 0 where nothing moves. Sharpe,
    Journal of Business 39, 1966, without a riskless rate.
    """
    share, x = np.asarray(weights, dtype=np.float64), np.asarray(daily, dtype=np.float64)
    mean = share @ x
    spread = np.sqrt(np.maximum(share @ x**2 - mean**2, 0))
    ratio: Floats = np.sqrt(periods) * np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 1e-12)
    return ratio

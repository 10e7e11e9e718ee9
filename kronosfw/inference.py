"""What chance alone could make of figures that are means over days.

Forecasts of one day share a market, so days are the units that are drawn, not predictions. Axes: D days in order of
time, K series (models, mostly), R draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .resampling import FEWEST, block_length, day_weights, need_arch
from .types import Floats

LEVEL = 0.95
"""Of the intervals."""
SIZE = 0.10
"""Chance of a confidence set to lack the best model."""
_EQUAL = 1e-12
_LEAST_BLOCKS = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Days drawn again and again, in blocks."""

    block: int
    """Mean days in a block."""
    weights: Floats
    """How much each day counts in each draw ``[R, D]``; rows add up to 1."""

    @classmethod
    def of(cls, daily: Floats, overlap: int, resamples: int, seed: int) -> Bootstrap:
        """Draw days in blocks as long as daily values ``[D, K]`` and the days that forecasts overlap ask for."""
        block = block_length(daily, overlap)
        return cls(block, day_weights(len(daily), block, resamples, seed))

    def interval(self, sums: Floats, totals: Floats) -> Floats:
        """Return the ends of the 95 % interval of each ``ratio`` of ``[D, K]`` sums and totals ``[2, K]``.

        A ratio of sums is a mean over predictions of which days have unequal numbers. Days alone tell how far it
        may be from what it would be in the long run: NaN where fewer than two hold anything.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = (self.weights @ sums) / (self.weights @ totals)
        ends: Floats = np.where((totals > 0).sum(axis=0) > 1, self.ends(drawn), np.nan)
        return ends

    def ends(self, drawn: Floats) -> Floats:
        """Return the ends of the 95 % interval of each column of draws ``[R, K]``, of its finite ones ``[2, K]``.

        They are percentiles of the draws, farther out the fewer blocks there are, as Student's t is than the
        normal: the expanded percentile interval of Hesterberg (The American Statistician 69, 2015), its n the
        number of blocks.
        """
        from scipy.special import ndtr, stdtrit

        blocks = max(self.weights.shape[1] / self.block, _LEAST_BLOCKS)
        tail = ndtr(math.sqrt(blocks / (blocks - 1)) * stdtrit(blocks - 1, (1 - LEVEL) / 2))
        finite = (column[np.isfinite(column)] for column in drawn.T)
        tails = (tail, 1 - tail)
        found = [np.quantile(column, tails) if column.size else np.full(2, np.nan) for column in finite]
        return np.array(found).reshape(-1, 2).T


def ratio(sums: Floats, totals: Floats) -> Floats:
    """Return Σ sums / Σ totals over the first axis; NaN where the totals are 0."""
    above, below = np.broadcast_arrays(sums.sum(axis=0), totals.sum(axis=0))
    share: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return share


def by_day(sums: Floats, totals: Floats) -> Floats:
    """Return a figure for each day whose plain mean is the ``ratio`` ``[D, K]``.

    A day counts as much as it holds: it differs from the ratio by D (sums − ratio · totals) / Σ totals, as in the
    linearisation of a ratio estimator (Cochran, Sampling Techniques, 1977, 6.3). Where all days hold the same, it
    is the day's mean.
    """
    overall = ratio(sums, totals)
    with np.errstate(divide="ignore", invalid="ignore"):
        daily: Floats = overall + len(sums) * (sums - overall * totals) / totals.sum(axis=0)
    return daily


def diebold_mariano(daily: Floats, overlap: int = 1) -> tuple[float, float]:
    """Return the statistic and the two-sided p-value of the test that daily differences ``[D]`` have mean 0.

    Diebold & Mariano (Journal of Business & Economic Statistics 13, 1995) with the correction of Harvey, Leybourne
    & Newbold (International Journal of Forecasting 13, 1997) and Student's t with D − 1 degrees of freedom.
    ``overlap`` is the number of days over which forecasts overlap, h: autocovariances up to h − 1 enter. Where
    their sum is not positive, they are weighted down with their lag (Bartlett's weights), which makes it so.

    NaN where D ≤ h, with fewer than two days, or for differences that are not finite. Differences that are all the
    same have no spread: (0, 1) where they are 0, else (±inf, 0).
    """
    from scipy.special import stdtr

    days = len(daily)
    if days < 2 or days <= overlap or not np.isfinite(daily).all():
        return math.nan, math.nan
    mean = float(daily.mean())
    if np.ptp(daily) <= _EQUAL * np.abs(daily).max():
        return (0.0, 1.0) if mean == 0 else (math.copysign(math.inf, mean), 0.0)
    apart = daily - mean
    lags = np.arange(overlap)
    covariance = np.array([apart[lag:] @ apart[: days - lag] for lag in lags]) / days
    double = np.where(lags == 0, 1.0, 2.0)
    variance = float(double @ covariance)
    if variance <= 0:
        variance = float((double * (1 - lags / overlap)) @ covariance)
    corrected = (days + 1 - 2 * overlap + overlap * (overlap - 1) / days) / days
    statistic = mean / math.sqrt(variance / days) * math.sqrt(corrected)
    return statistic, float(2 * stdtr(days - 1, -abs(statistic)))


def confidence_set(losses: Floats, block: int, resamples: int, seed: int) -> NDArray[np.bool_] | None:
    """Return which of K models may be the best, by their daily losses ``[D, K]``, at 10 % ``[K]``.

    The model confidence set of Hansen, Lunde & Nason (Econometrica 79, 2011) with the range statistic, on a
    stationary bootstrap of days. It holds the best models with a chance of at least 90 %, and many where the days
    cannot tell them apart. None with fewer than two models or ten days. A model whose losses are not all finite is
    not in it. Of models that differ by the same on every day, which no bootstrap can judge, the lowest stands for
    all: those as low share its fate, those above are not in the set.
    """
    days, models = losses.shape
    finite = np.array([np.isfinite(column).all() for column in losses.T])
    if models < 2 or days < FEWEST or not finite.any():
        return None
    order = [int(k) for k in np.argsort(losses.mean(axis=0), kind="stable") if finite[k]]
    scale = _EQUAL * float(np.abs(losses[:, finite]).max())
    stands_for: dict[int, list[int]] = {}
    for k in order:
        twin = next((s for s in stands_for if np.ptp(losses[:, k] - losses[:, s]) <= scale), None)
        if twin is None:
            stands_for[k] = [k]
        elif np.abs(losses[:, k] - losses[:, twin]).max() <= scale:
            stands_for[twin].append(k)
    included = np.zeros(models, dtype=np.bool_)
    distinct = sorted(stands_for)
    for place in _lasting(losses[:, distinct], block, resamples, seed):
        included[stands_for[distinct[place]]] = True
    return included


def _lasting(losses: Floats, block: int, resamples: int, seed: int) -> list[int]:
    """Return the columns in the set; none differs from another by a constant."""
    if losses.shape[1] == 1:
        return [0]
    need_arch("a model confidence set")
    from arch.bootstrap import MCS

    found = MCS(losses, SIZE, reps=resamples, block_size=block, seed=seed)
    found.compute()
    return np.flatnonzero(found.pvalues["Pvalue"].sort_index() > SIZE).tolist()

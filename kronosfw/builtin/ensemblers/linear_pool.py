"""Mixture of the members' distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...types import Floats, Forecast, Window
from . import LinearPool
from .common import LearnsNothing, context, shared_columns, shares, stacked

GRID = (0.01, 0.025, *(i / 20 for i in range(1, 20)), 0.975, 0.99)


class MixturePool(LearnsNothing):
    """Quantiles of Σ wₘ Fₘ, the linear opinion pool (Stone, Annals of Mathematical Statistics 32, 1961).

    Members are asked for a dense grid of levels. Between its quantiles a distribution function is linear; beyond
    the outer ones the last piece goes on to 0 and to 1. Equal quantiles are a jump.
    """

    def __init__(self, options: LinearPool) -> None:
        self._weights = options.weights

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return sorted({*GRID, *levels})

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        weights = shares(members, self._weights)
        columns = shared_columns(members)
        grid = np.array(self.member_levels(levels))
        quantiles = _with_tails(stacked(members, columns, grid.tolist()), grid)
        full = np.concatenate([[0.0], grid, [1.0]])
        pooled = np.empty((window.horizon, len(columns), len(levels)))
        for h, c in np.ndindex(pooled.shape[:2]):
            pooled[h, c] = _invert(quantiles[:, h, c], full, weights, levels)
        return window.forecast(levels, pooled, columns=columns, event_context=context(members, weights))


def _with_tails(quantiles: Floats, grid: Floats) -> Floats:
    """Extend quantiles ``[..., Q]`` by those of levels 0 and 1, ``[..., Q + 2]``, along the outer pieces."""
    first, second, before, last = (quantiles[..., [i]] for i in (0, 1, -2, -1))
    low = first - (second - first) * grid[0] / (grid[1] - grid[0])
    high = last + (last - before) * (1 - grid[-1]) / (grid[-1] - grid[-2])
    return np.concatenate([low, quantiles, high], axis=-1)


def _invert(quantiles: Floats, grid: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Return the mixture's quantiles ``[L]`` from the members' ``[M, G]`` at levels ``[G]``.

    The mixture's distribution function is linear between all the members' quantiles; at each of them it is
    taken from the left and from the right, so that jumps stay upright.
    """
    x = np.unique(quantiles)
    right = weights @ np.array([np.interp(x, q, grid) for q in quantiles])
    left = weights @ np.array([1 - np.interp(-x, -q[::-1], 1 - grid[::-1]) for q in quantiles])
    # Rounding may put right a hair below left; interp wants what it searches in order.
    climbing = np.maximum.accumulate(np.column_stack([left, right]).ravel())
    pooled: Floats = np.interp(levels, climbing, np.repeat(x, 2))
    return pooled

"""Weights by greedy selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...metrics import pinball
from ...past import POOLED, Past, counted, enough, scored, too_few
from ...types import Floats, Forecast, Moment, Window
from . import Greedy
from .common import by_name, context, learned_shares, shared_columns, stacked

if TYPE_CHECKING:
    import pandas as pd


TOLERANCE = 1e-9
"""Share of the loss below which a gain is rounding: members that are alike keep equal weights."""


class GreedyMean:
    """Mean of quantiles with the weights that would have been best so far, found share by share."""

    learns = True

    def __init__(self, options: Greedy) -> None:
        self._options = options
        self._weights: dict[str, dict[str, float]] = {}
        self._counts: dict[str, int] = {}

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return levels

    def fit(self, past: pd.DataFrame, cutoff: Moment) -> None:
        known = scored(past, self._options.name, cutoff)
        self._counts = counted(known.asset_class)
        self._weights = {
            name: dict(zip(known.members, selected(known[rows], self._options.rounds).tolist(), strict=True))
            for name, rows in enough(known.asset_class, self._options.least).items()
        }

    @property
    def summary(self) -> tuple[str, ...]:
        """The weights, a line for each asset class."""
        return tuple(
            f"{name or 'all classes'}: {', '.join(f'{member} {share:.2f}' for member, share in weights.items())}"
            for name, weights in self._weights.items()
        )

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        members = by_name(members)
        learned = self._weights.get(window.asset_class, self._weights.get(POOLED))
        weights = learned_shares([m.model for m in members], learned or {})
        columns = shared_columns(members)
        quantiles = np.einsum("m,mhcq->hcq", weights, stacked(members, columns, levels))
        told = context(members, weights)
        if learned is None:
            told["note"] = too_few(window.asset_class, self._counts, self._options.least)
        return window.forecast(levels, quantiles, columns=columns, event_context=told)


def selected(past: Past, rounds: int) -> Floats:
    """Return the members' weights ``[K]``, which sum to 1, that made the pinball loss of their mean smallest.

    Each member has one share to begin with; each round gives one more to the member with which the mean is best,
    and the best mean on the way is kept: forward selection with replacement (Caruana et al., Proceedings of the
    21st International Conference on Machine Learning, 2004). Losses are in units of the scale; where a member is
    missing, the others share its weight.
    """
    quantiles, outcome = past.scaled
    there: NDArray[np.bool_] = np.isfinite(quantiles[..., 0])
    quantiles = np.where(there[..., None], quantiles, 0)

    def loss(total: Floats, shares: Floats) -> float:
        return float(pinball(outcome, total / shares[:, None], past.levels).mean())

    counts = np.ones(len(past.members))
    total, shares = quantiles.sum(axis=1), there.sum(axis=1).astype(np.float64)
    best, least = counts.copy(), loss(total, shares)
    for _ in range(rounds):
        losses = [loss(total + quantiles[:, k], shares + there[:, k]) for k in range(len(counts))]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        total, shares = total + quantiles[:, chosen], shares + there[:, chosen]
        if losses[chosen] < least * (1 - TOLERANCE):
            best, least = counts.copy(), losses[chosen]
    weights: Floats = best / best.sum()
    return weights

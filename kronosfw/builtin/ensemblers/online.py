"""Weights that follow the losses as they become known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...buckets import bucket_names, buckets_of
from ...past import Past, scored
from ...types import Floats, Forecast, Moment, Window
from . import Online
from .common import by_name, context, learned_shares, shared_columns, stacked

if TYPE_CHECKING:
    import pandas as pd


class OnlineMean:
    """Mean of quantiles with weights by asset class, bucket of the horizon and quantile level."""

    learns = True

    def __init__(self, options: Online) -> None:
        self._options = options
        self._members: tuple[str, ...] = ()
        self._weights: dict[tuple[str, str], Floats] = {}

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return levels

    def fit(self, past: pd.DataFrame, cutoff: Moment) -> None:
        known = scored(past, self._options.name, cutoff, self._options.levels)
        self._members = known.members
        classes = np.unique(known.asset_class)
        names = bucket_names(self._options.buckets)
        bucket = buckets_of(known.step, self._options.buckets)
        groups = {(str(c), name): (known.asset_class == c) & (bucket == name) for c in classes for name in names}
        groups = {group: rows for group, rows in groups.items() if rows.any()}
        number = np.zeros(len(known), dtype=np.int64)
        for i, rows in enumerate(groups.values()):
            number[rows] = i
        self._weights = dict(zip(groups, aggregated(known, number, len(groups)), strict=True))

    @property
    def summary(self) -> tuple[str, ...]:
        """The weights averaged over levels, a line for each asset class and bucket."""
        told = []
        for (name, bucket), weights in self._weights.items():
            shares = zip(self._members, weights.mean(axis=1), strict=True)
            told.append(f"{name}, steps {bucket}: {', '.join(f'{member} {share:.2f}' for member, share in shares)}")
        return tuple(told)

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        members = by_name(members)
        columns = shared_columns(members)
        buckets = buckets_of(np.arange(window.horizon) + 1, self._options.buckets).tolist()
        shares = np.stack([self._shares(members, window.asset_class, bucket, levels) for bucket in buckets])
        quantiles = np.einsum("hmq,mhcq->hcq", shares, stacked(members, columns, levels))
        steps: list[dict[str, Any]] = []
        for bucket, weights in zip(buckets, shares.mean(axis=2), strict=True):
            told = context(members, weights)
            if (window.asset_class, bucket) not in self._weights:
                told["note"] = f"equal weights: nothing is known of {window.asset_class} at steps {bucket} yet"
            steps.append(told)
        return window.forecast(levels, quantiles, columns=columns, event_context={"steps": steps})

    def _shares(
        self, members: Sequence[Forecast], asset_class: str, bucket: str, levels: Sequence[float]
    ) -> Floats:
        """Return the weights ``[M, Q]`` of those present, on straight lines between the levels learned."""
        learned = self._weights.get((asset_class, bucket), np.empty((0, len(self._options.levels))))
        between = [np.interp(levels, self._options.levels, weights) for weights in learned]
        known = dict(zip(self._members, between, strict=False))
        names = [m.model for m in members]
        at = [{name: weights[i] for name, weights in known.items()} for i in range(len(levels))]
        return np.stack([learned_shares(names, weights) for weights in at], axis=1)


def aggregated(past: Past, group: NDArray[np.int64], groups: int) -> Floats:
    """Return the weights ``[G, K, Q]`` after all that is known, for rows ``[N]`` that belong to groups 0 … G − 1.

    Bernstein Online Aggregation with the gradient trick (Wintenberger, Machine Learning 106, 2017), each member
    with a learning rate of its own as in the package opera. Feedback is delayed: a forecast was made with the
    weights of its cutoff, and outcomes known at the same moment enter together, as their mean. A member that is
    missing has neither gained nor lost.
    """
    quantiles, outcome = past.scaled
    there = np.isfinite(quantiles)
    quantiles = np.where(there, quantiles, 0)
    levels = np.array(past.levels)
    n_members, n_levels = quantiles.shape[1:]
    moments, first = np.unique(np.sort(past.realised_at), return_index=True)
    order = np.argsort(past.realised_at, kind="stable")
    seen = np.searchsorted(moments, past.as_of, side="right")

    shape = (groups, n_members, n_levels)
    history: Floats = np.full((len(moments) + 1, *shape), 1 / max(n_members, 1))
    regret, range_, variance = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for now, rows in enumerate(np.split(order, first[1:])[: len(moments)]):
        weights = history[seen[rows], group[rows]] * there[rows]
        total = weights.sum(axis=1)
        weights = np.where(total[:, None] > 0, weights, there[rows])
        weights /= np.maximum(weights.sum(axis=1), 1e-300)[:, None]
        combined = (weights * quantiles[rows]).sum(axis=1)
        slope = (outcome[rows, None] < combined) - levels
        gain = slope[:, None] * (combined[:, None] - quantiles[rows]) * there[rows]
        mean = np.zeros(shape)
        np.add.at(mean, group[rows], gain)
        mean /= np.maximum(np.bincount(group[rows], minlength=groups), 1)[:, None, None]

        range_ = np.maximum(range_, np.abs(mean))
        variance += mean**2
        with np.errstate(divide="ignore"):
            rate = np.minimum(1 / (2 * range_), np.sqrt(np.log(n_members) / variance))
        rate[variance == 0] = 0
        regret += (mean - rate * mean**2) / 2
        power = np.exp(rate * regret - (rate * regret).max(axis=1, keepdims=True))
        history[now + 1] = power / power.sum(axis=1, keepdims=True)
    final: Floats = history[-1]
    return final

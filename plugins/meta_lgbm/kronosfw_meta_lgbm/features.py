"""What the trees see: the same at a training as when members are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kronosfw.metrics import pinball
from kronosfw.past import SPREAD, Past, pooled_scale
from kronosfw.regimes import SPAN, regime, volatility_ratios
from kronosfw.types import Floats, Moments, Window

from .options import Boosted

REGIMES = {"low": 0.0, "normal": 1.0, "high": 2.0}
MARKET = ("volatility_ratio", "trend")
Observed = dict[str, float]
"""What was known of one step, by the name of the feature."""


def names(members: Sequence[str], channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the features, in the order of their columns."""
    return (
        "log_step",
        "regime",
        *MARKET,
        *channels,
        *(f"apart:{a}:{b}" for a, b in combinations(members, 2)),
        *(f"width:{name}" for name in members),
        *(f"lean:{name}" for name in members),
        *(f"recent:{name}" for name in members),
        "asset_class",
    )


def of_past(past: Past, classes: Sequence[str], options: Boosted) -> Floats:
    """Return the features of scored predictions ``[N, F]``; what was observed is in the ensembler's own rows."""
    return _table(
        step=past.step,
        regimes=past.regime.tolist(),
        observed=_columns([(context or {}).get("features") for context in past.context], options.channels),
        envelope=past.quantiles,
        recent=recent_losses(past, past.asset_class, past.as_of, options.recent_days),
        numbers=[_number(name, classes) for name in past.asset_class.tolist()],
    )


def of_window(
    window: Window,
    seen: Sequence[Observed],
    envelope: Floats,
    recent: Floats,
    classes: Sequence[str],
    options: Boosted,
) -> Floats:
    """Return the features of a window's steps ``[H, F]``.

    ``seen`` is what ``observed`` returned, ``envelope`` the members' returns at p10, p50 and p90 ``[H, K, 3]``,
    ``recent`` what ``recent_losses`` returned for the window's class and cutoff ``[K]``.
    """
    return _table(
        step=np.arange(window.horizon) + 1,
        regimes=[regime(step.get("volatility_ratio", np.nan)) for step in seen],
        observed=_columns(seen, options.channels),
        envelope=envelope,
        recent=np.tile(recent, (window.horizon, 1)),
        numbers=[_number(window.asset_class, classes)] * window.horizon,
    )


def _table(
    *,
    step: NDArray[np.int64],
    regimes: Sequence[str],
    observed: Floats,
    envelope: Floats,
    recent: Floats,
    numbers: Sequence[float],
) -> Floats:
    pooled = pooled_scale(envelope)[:, None]
    scale = np.where(pooled > 0, pooled, np.nan)
    lean = envelope[..., 1] / scale
    width = (envelope[..., 2] - envelope[..., 0]) / (SPREAD * scale)
    pairs = [np.abs(lean[:, i] - lean[:, j]) for i, j in combinations(range(lean.shape[1]), 2)]
    ordinal = [REGIMES.get(name, np.nan) for name in regimes]
    return np.column_stack([np.log(step), ordinal, observed, *pairs, width, lean, recent, numbers])


def recent_losses(past: Past, asset_class: NDArray[np.str_], at: Moments, days: int) -> Floats:
    """Return how much more each member lost than the mean of them, of late, as a share of that ``[N, K]``.

    The losses are those of the row's asset class whose outcomes became known within so many days before the row's
    moment ``at [N]``, and by then; NaN for a member without any.
    """
    quantiles, outcome = past.scaled
    loss = pinball(outcome[:, None], quantiles, past.levels).mean(axis=2)
    told = np.isfinite(loss)
    both = np.stack([np.where(told, loss, 0), told])
    mean = np.full((len(at), len(past.members)), np.nan)
    for name in np.unique(asset_class):
        mine, rows = past.asset_class == name, np.flatnonzero(asset_class == name)
        order = np.argsort(past.realised_at[mine], kind="stable")
        known_at = past.realised_at[mine][order]
        totals = np.zeros((2, len(order) + 1, len(past.members)))
        np.cumsum(both[:, mine][:, order], axis=1, out=totals[:, 1:])
        first = np.searchsorted(known_at, at[rows] - np.timedelta64(days, "D"), side="right")
        lost, number = totals[:, np.searchsorted(known_at, at[rows], side="right")] - totals[:, first]
        mean[rows] = np.divide(lost, number, out=np.full_like(lost, np.nan), where=number > 0)
    there = np.isfinite(mean)
    usual = np.where(there, mean, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    relative: Floats = mean / np.where(usual > 0, usual, np.nan)[:, None] - 1
    return relative


def observed(window: Window, channels: Sequence[str]) -> list[Observed]:
    """Return for each step what the tables will not tell later: the market's state and the events, where known.

    A channel that is known ahead is that of the target bar, another that of the last bar of the context.
    """
    market = {name: value for name, value in zip(MARKET, _state(window), strict=True) if np.isfinite(value)}
    steps = [dict(market) for _ in range(window.horizon)]
    if (covariates := window.covariates) is not None:
        for name in channels:
            if name not in covariates.names:
                continue
            column, last = covariates.names.index(name), len(window.bars) - 1
            for h, step in enumerate(steps):
                row = last + 1 + h if covariates.known_ahead[column] else last
                if not covariates.mask[row, column]:
                    step[name] = float(covariates.values[row, column])
    return steps


def _columns(steps: Sequence[Mapping[str, Any] | None], channels: Sequence[str]) -> Floats:
    """Return what was observed ``[N, R]``, NaN where it was not."""
    wanted = (*MARKET, *channels)
    rows = [[(step or {}).get(name, np.nan) for name in wanted] for step in steps]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(wanted))


def _number(asset_class: str, classes: Sequence[str]) -> float:
    return float(classes.index(asset_class)) if asset_class in classes else np.nan


def _state(window: Window) -> tuple[float, float]:
    """Return the ratio of volatility to its usual, and the last 20 bars' return over their volatility."""
    close = window.bars.close
    ratio = float(volatility_ratios(close, np.array([len(close) - 1]))[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(close[-SPAN - 1 :]))
    if len(returns) < SPAN or not returns.std() > 0:
        return ratio, np.nan
    return ratio, float(returns.sum() / (returns.std() * np.sqrt(SPAN)))

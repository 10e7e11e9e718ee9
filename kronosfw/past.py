"""Scored predictions as arrays: what ensemblers learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .types import ENVELOPE, Floats, Moment, Moments

if TYPE_CHECKING:
    import pandas as pd

SPREAD = 2.5631
"""p90 − p10 of the standard normal distribution."""
POOLED = ""
"""What all asset classes together are called where others are called by their name."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A row N for each cutoff, symbol and step, in that order; members K by name, levels Q increasing.

    Returns are simple ones since the last close, so that the mean of quantiles is the quantile of their mean.
    """

    members: tuple[str, ...]
    levels: tuple[float, ...]
    as_of: Moments
    realised_at: Moments
    symbol: NDArray[np.str_]
    asset_class: NDArray[np.str_]
    step: NDArray[np.int64]
    """From 1."""
    regime: NDArray[np.str_]
    event_active: Floats
    """1, 0, or NaN where that is not known. It is found after the fact: no model may see it."""
    quantiles: Floats
    """The members' returns ``[N, K, Q]``, NaN where a member, or one of its levels, is missing."""
    outcome: Floats
    """The return that came ``[N]``."""
    scale: Floats
    """The standard deviation the members expect ``[N]``: see ``pooled_scale``."""
    context: NDArray[np.object_]
    """The ensembler's own ``event_context`` ``[N]``, or None where it made no prediction."""

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, rows: NDArray[Any] | slice) -> Past:
        arrays = (f.name for f in fields(self) if f.name not in ("members", "levels"))
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})

    @property
    def scaled(self) -> tuple[Floats, Floats]:
        """The members' quantiles ``[N, K, Q]`` and the outcome ``[N]`` in units of the scale."""
        return self.quantiles / self.scale[:, None, None], self.outcome / self.scale


def pooled_scale(quantiles: Floats) -> Floats:
    """Return the mean width of the members' envelopes over that of a standard normal one, ``[...]``.

    ``quantiles`` are ``[..., K, 3]`` at ``ENVELOPE``, NaN where a member is missing; one is there at least.
    """
    scale: Floats = np.nanmean(quantiles[..., 2] - quantiles[..., 0], axis=-1) / SPREAD
    return scale


def scored(frame: pd.DataFrame, own: str, cutoff: Moment, levels: Sequence[float] = ENVELOPE) -> Past:
    """Return what ``Ensembler.fit`` is given as arrays; ``own`` is the name of the ensembler's own predictions.

    The order of the rows does not matter. What was realised after the cutoff is left out, and so is where no
    member's envelope had any width.
    """
    import pandas as pd

    frame = frame[_moments(frame["realised_at"]) <= cutoff]
    names = frame["model_name"].to_numpy(dtype=object)
    members = tuple(sorted(set(names) - {own}))
    model = pd.Index([*members, own]).get_indexer(pd.Index(names))
    symbol, symbols = pd.factorize(frame["symbol"].to_numpy(dtype=object), sort=True)
    as_of, step = _moments(frame["as_of"]), frame["step"].to_numpy(dtype=np.int64)

    # Its own rows come after the members': the first row of each group is a member's, if there is one.
    order = np.lexsort((model, step, symbol, as_of))
    key = np.stack([as_of.astype(np.int64), symbol, step])[:, order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    first = order[new]

    ours = model == len(members)
    context = np.full(len(first), None, dtype=object)
    context[group[ours]] = frame["event_context"].to_numpy(dtype=object)[ours]
    theirs = np.flatnonzero(~ours)
    theirs = np.flatnonzero(~ours)

    def placed(levels: Sequence[float]) -> Floats:
        array = np.full((len(first), len(members), len(levels)), np.nan)
        array[group[theirs], model[theirs]] = _returns(frame, theirs, levels)
        return array

    envelope = placed(ENVELOPE)
    last = frame["last_close"].to_numpy(dtype=np.float64)[first]
    outcome = (frame["realised"].to_numpy(dtype=np.float64)[first] - last) / np.abs(last)
    forecast = ~ours[first]
    scale = np.zeros(len(first))
    scale[forecast] = pooled_scale(envelope[forecast])
    past = Past(
        members=members,
        levels=tuple(levels),
        as_of=as_of[first],
        realised_at=_moments(frame["realised_at"])[first],
        symbol=np.array(symbols, dtype=np.str_)[symbol[first]],
        asset_class=_text(frame["asset_class"], first),
        step=step[first],
        regime=_text(frame["regime"], first),
        event_active=_flags(frame["event_active"])[first],
        quantiles=envelope if tuple(levels) == ENVELOPE else placed(levels),
        outcome=outcome,
        scale=scale,
        context=context,
    )
    return past[np.flatnonzero((scale > 0) & np.isfinite(outcome))]


def enough(asset_class: NDArray[np.str_], least: int) -> dict[str, NDArray[np.bool_]]:
    """Return the rows ``[N]`` of each asset class that has ``least`` of them, and of all together likewise."""
    found = {str(name): asset_class == name for name in np.unique(asset_class)}
    found[POOLED] = np.ones(len(asset_class), dtype=np.bool_)
    return {name: rows for name, rows in found.items() if rows.sum() >= least}


def too_few(asset_class: str, counts: Mapping[str, int], least: int) -> str:
    """Return a sentence on why members weigh alike; ``counts`` are scored predictions by asset class and in all."""
    mine, every = counts.get(asset_class, 0), counts.get(POOLED, 0)
    return (
        f"equal weights: {mine} scored predictions of {asset_class} and {every} in all are known, "
        f"learning takes {least}"
    )


def counted(asset_class: NDArray[np.str_]) -> dict[str, int]:
    """Return how many rows each asset class has, and all together."""
    names, counts = np.unique(asset_class, return_counts=True)
    return {**dict(zip(names.tolist(), counts.tolist(), strict=True)), POOLED: len(asset_class)}


def _moments(column: pd.Series[Any]) -> Moments:
    return column.to_numpy(dtype="datetime64[us]")


def _flags(column: pd.Series[Any]) -> Floats:
    flags: Floats = column.astype("boolean").to_numpy(dtype="float64", na_value=np.nan)  # type: ignore[assignment]
    return flags


def _text(column: pd.Series[Any], rows: NDArray[np.int64]) -> NDArray[np.str_]:
    return column.to_numpy(dtype=object)[rows].astype(np.str_)


def _returns(frame: pd.DataFrame, rows: NDArray[np.int64], levels: Sequence[float]) -> Floats:
    """Return some rows' quantiles ``[len(rows), Q]`` as returns since their last close, NaN where not told."""
    last = frame["last_close"].to_numpy(dtype=np.float64)[rows]
    told = dict(zip(ENVELOPE, ("p10", "p50", "p90"), strict=True))
    prices = np.full((len(rows), len(levels)), np.nan)
    further = {repr(level): i for i, level in enumerate(levels) if level not in told}
    for i, level in enumerate(levels):
        if level in told:
            prices[:, i] = frame[told[level]].to_numpy(dtype=np.float64)[rows]
    if further:
        for row, held in enumerate(frame["quantiles"].to_numpy(dtype=object)[rows]):
            close = (held or {}).get("close") or {}
            for name, i in further.items():
                prices[row, i] = close.get(name, np.nan)
    returns: Floats = (prices - last[:, None]) / np.abs(last)[:, None]
    return returns

"""What the built-in ensemblers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...types import Floats, Forecast, Moment

if TYPE_CHECKING:
    import pandas as pd


class LearnsNothing:
    """The part of an ensembler that one without training has."""

    learns = False

    def fit(self, past: pd.DataFrame, cutoff: Moment) -> None:
        """Do nothing."""

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return levels


def shared_columns(members: Sequence[Forecast]) -> tuple[str, ...]:
    """Return the columns that all members forecast, in the first one's order; ValueError if there is none."""
    columns = tuple(c for c in members[0].columns if all(c in m.columns for m in members))
    if not columns:
        raise ValueError("the members have no column in common")
    return columns


def stacked(members: Sequence[Forecast], columns: Sequence[str], levels: Sequence[float]) -> Floats:
    """Return the members' quantiles ``[M, H, C, Q]``."""
    return np.array([np.stack([m.at(levels, c) for c in columns], axis=1) for m in members])


def shares(members: Sequence[Forecast], weights: Mapping[str, float] | None) -> Floats:
    """Return the members' weights ``[M]``, which sum to 1; equal ones if none are given.

    Raises ValueError for a member that ``weights`` does not name, and where those present all have weight 0.
    """
    names = [m.model for m in members]
    if weights is None:
        return np.full(len(names), 1 / len(names))
    unknown = [name for name in names if name not in weights]
    if unknown:
        raise ValueError(f"the ensembler's `weights` do not name {', '.join(unknown)}; give 0 to leave it out")
    present = np.array([weights[name] for name in names])
    if not present.any():
        raise ValueError(f"the ensembler's `weights` are 0 for all members present: {', '.join(names)}")
    share: Floats = present / present.sum()
    return share


def context(members: Sequence[Forecast], weights: Floats) -> dict[str, Any]:
    """Return the ``event_context`` that says which members took part, and with what weight."""
    return {"weights": {m.model: float(w) for m, w in zip(members, weights, strict=True)}}


def by_name(members: Sequence[Forecast]) -> list[Forecast]:
    """Return the members in the order of their names, so that sums are the same in whatever order they came."""
    return sorted(members, key=lambda m: m.model)


def learned_shares(names: Sequence[str], learned: Mapping[str, float]) -> Floats:
    """Return the weights ``[M]`` of the members present, which sum to 1: others get what missing ones leave.

    A member of which nothing has been learned has no weight, unless that is so of all that are present.
    """
    present = np.array([learned.get(name, 0.0) for name in names])
    share: Floats = present / present.sum() if present.sum() > 0 else np.full(len(names), 1 / len(names))
    return share

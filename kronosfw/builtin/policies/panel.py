"""Scores of several arms, row beside row, and their means by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...types import Floats

KEYS = ["symbol", "as_of", "step"]
SCORES = ["crps", "abs_error", "median"]
ARMS = ("candidate", "incumbent", "base")
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The rows that all arms have, R of them over D days: a row is a symbol, an origin and a step."""

    arms: Mapping[Any, pd.DataFrame]
    """Scores of each arm, sorted by symbol, origin and step ``[R]``."""
    day: Codes
    """Which of the days, from the first, each row is of ``[R]``."""
    days: int
    pair: Codes
    """Which pair of symbol and step each row is of ``[R]``."""
    step: Codes
    """The step of each row ``[R]``."""
    event: NDArray[np.bool_]
    """Whether the bar was one with an event ``[R]``."""

    @property
    def steps(self) -> int:
        """The longest horizon."""
        return int(self.step.max(initial=1))

    def column(self, arm: Any, name: str) -> Floats:
        """Return one column of an arm ``[R]``."""
        values: Floats = self.arms[arm][name].to_numpy(dtype=np.float64)
        return values

    def difference(self, arm: Any, reference: Any, rows: NDArray[np.bool_] | None = None) -> Floats:
        """Return by how much the arm's CRPS lies above the reference's, as a share of the latter, by day ``[D]``.

        A day's figure is a mean over its rows (of those asked for, if any), each relative to the reference's mean
        over all days for its symbol and step, so that the volatile ones do not drown the others and the mean over
        rows is the relative difference. Days without any row are left out.
        """
        rows = np.ones(len(self.pair), dtype=np.bool_) if rows is None else rows
        own, other, pair = self.column(arm, "crps")[rows], self.column(reference, "crps")[rows], self.pair[rows]
        total = np.bincount(pair, other)
        scale = np.where(total > 0, total, np.bincount(pair, own)) / np.maximum(np.bincount(pair), 1)
        return self.daily((own - other) / np.where(scale > 0, scale, 1)[pair], rows)

    def daily(self, values: Floats, rows: NDArray[np.bool_] | None = None) -> Floats:
        """Return the mean of each day that has any of the rows, of values of all rows or of those given."""
        day = self.day if rows is None else self.day[rows]
        count = np.bincount(day)
        means: Floats = np.bincount(day, values)[count > 0] / count[count > 0]
        return means


def panel(scores: pd.DataFrame, arms: Sequence[Any], column: str = "arm") -> Panel:
    """Put the arms named in the column beside each other, on the rows that are finite in all."""
    key = scores.groupby(KEYS, sort=True).ngroup().to_numpy()
    finite = np.isfinite(scores[SCORES].to_numpy(dtype=np.float64)).all(axis=1)
    rows = {arm: np.flatnonzero(finite & (scores[column] == arm).to_numpy()) for arm in arms}
    common = reduce(np.intersect1d, (key[own] for own in rows.values()))
    rows = {arm: own[np.isin(key[own], common)] for arm, own in rows.items()}
    parts = {arm: scores.iloc[own[np.argsort(key[own])]] for arm, own in rows.items()}
    first = parts[arms[0]]
    days = np.unique(first["day"])
    day = np.searchsorted(days, first["day"])
    pair = np.asarray(first.groupby(["symbol", "step"], sort=True).ngroup(), dtype=np.intp)
    step, event = first["step"].to_numpy(dtype=np.intp), first["event_active"].to_numpy(dtype=np.bool_)
    return Panel(parts, day, len(days), pair, step, event)

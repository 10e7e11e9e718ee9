"""What a retraining gained, for the cadence: measured on the origins after the slot of the one before."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pandas as pd

from ...metrics import YEAR, sharpe, strategy_returns
from ...types import Floats, Trial
from .options import Cadence, Noninferiority
from .panel import Panel, panel
from .slots import ended

__all__ = ["YEAR", "gains", "profits", "sharpe"]


def gains(cadence: Cadence, resampling: Noninferiority, trial: Trial) -> dict[str, float]:
    """Return ``crps_gain`` and ``sharpe_gain`` with the ends of their intervals and the days behind them.

    ``crps_gain`` is by what share the candidate's CRPS lies below that of the arm that is never retrained;
    ``sharpe_gain`` by how much the yearly Sharpe ratio of the toy strategy lies above that with what serves. The
    intervals are those of the paired bootstrap, two-sided, and left out where the package arch is not installed.
    Empty where no two days are left.
    """
    before = max(ended(trial.history), default=None)
    scores = trial.scores
    if before is not None:
        scores = scores[scores["as_of"] > pd.Timestamp(before)]
    paired = panel(scores, ("candidate", "incumbent", "base"))
    if paired.days < 2:
        return {}
    crps = -paired.difference("candidate", "base")
    ours, theirs = (profits(paired, arm, cadence.cost) for arm in ("candidate", "incumbent"))
    even = np.full((1, len(ours)), 1 / max(len(ours), 1))
    apart = sharpe(even, ours) - sharpe(even, theirs)
    numbers = {"gain_days": float(paired.days), "crps_gain": float(crps.mean()), "sharpe_gain": float(apart[0])}
    if find_spec("arch") is not None:
        from .resampling import weights

        tails = (1 - resampling.level) / 2, (1 + resampling.level) / 2
        draws = weights(resampling, crps, paired.steps)
        numbers["crps_gain_low"], numbers["crps_gain_high"] = map(float, np.quantile(draws @ crps, tails))
        draws = weights(resampling, ours - theirs, 1)
        apart = sharpe(draws, ours) - sharpe(draws, theirs)
        numbers["sharpe_gain_low"], numbers["sharpe_gain_high"] = map(float, np.quantile(apart, tails))
    return numbers


def profits(paired: Panel, arm: str, cost: float) -> Floats:
    """Return what the toy strategy earns on each day ``[D]``, a mean over the symbols."""
    rows = paired.arms[arm][paired.step == 1]
    first = ~rows["symbol"].duplicated()
    earned = strategy_returns(rows["median"], rows["actual"], cost, first)
    by_symbol = pd.Series(earned, rows.index).groupby([rows["day"], rows["symbol"]]).sum()
    days: Floats = np.asarray(by_symbol.groupby(level=0).mean(), dtype=np.float64)
    return days

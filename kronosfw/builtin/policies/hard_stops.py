"""What no candidate is let through with, whatever else it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...types import Check, Trial
from .panel import KEYS, SCORES, Panel

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"incumbent": "what serves", "base": "the base"}


def faults(trial: Trial) -> Check:
    """Check that nothing was found wrong with the candidate before it was scored."""
    return Check(
        "faults", not trial.faults, "; ".join(trial.faults) or "the candidate's files and weights are sound"
    )


def finite(scores: pd.DataFrame) -> Check:
    """Check that the candidate has as many rows as any arm, all with finite scores."""
    mine = scores[scores["arm"] == "candidate"]
    wanted = len(scores[KEYS].drop_duplicates())
    values = mine[SCORES].to_numpy(dtype=np.float64)
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if not wanted:
        text = "the candidate was not scored"
    elif len(mine) != wanted:
        text = f"the candidate has {len(mine):,} of {wanted:,} forecasts"
    elif bad:
        text = f"{bad:,} of the candidate's {wanted:,} forecasts have scores that are not finite"
    else:
        return Check("finite", True, f"all {wanted:,} forecasts of the candidate have finite scores")
    return Check("finite", False, text)


def mae(panel: Panel, reference: str, limit: float) -> Check:
    """Check the plain rule: the candidate's MAE against that of ``incumbent`` or ``base``, means over all rows."""
    own, other = panel.column("candidate", "abs_error"), panel.column(reference, "abs_error")
    name, what = f"mae_{reference}", NAMES[reference]
    if not len(own):
        return Check(name, False, f"there is nothing to compare the MAE with that of {what} on", limit=limit)
    ours, theirs = float(own.mean()), float(other.mean())
    excess = ours / theirs - 1 if theirs > 0 else float(np.sign(ours))
    text = f"MAE {excess:+.1%} against {what}, at most {limit:+.1%} allowed"
    return Check(name, excess <= limit, text, excess, limit=limit)

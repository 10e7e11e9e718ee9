"""How much of what was learned to keep."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...types import Floats
from .panel import panel


def choose(scores: pd.DataFrame) -> float:
    """Return the smallest share whose CRPS is within one standard error of that of the best share.

    The CRPS of each symbol and step counts relative to that of the smallest share; the standard error is that of
    the mean daily difference. The rule is that of Breiman et al. (Classification and Regression Trees, 1984),
    toward what serves. Shares with scores that are not finite are left out; raises ValueError if none is left.
    """
    finite = np.isfinite(scores["crps"]).groupby(scores["share"]).all()
    shares = sorted(float(share) for share in finite.index[finite])
    if not shares:
        raise ValueError("no share has scores that are all finite")
    paired = panel(scores, shares, "share")
    daily = np.array([paired.difference(share, shares[0]) for share in shares])
    best = int(daily.mean(axis=1).argmin())
    apart = daily - daily[best]
    return next(s for s, d in zip(shares, apart, strict=True) if d.mean() <= _error(d, paired.steps))


def _error(daily: Floats, steps: int) -> float:
    """Return the standard error of the mean of values whose forecasts overlap, h steps each.

    With Bartlett's weights up to lag h − 1 (Newey & West, Econometrica 55, 1987), which are never negative.
    """
    n = len(daily)
    centred = daily - daily.mean()
    variance = centred @ centred
    for lag in range(1, min(steps, n)):
        variance += 2 * (1 - lag / steps) * (centred[lag:] @ centred[:-lag])
    return float(np.sqrt(max(variance, 0))) / n

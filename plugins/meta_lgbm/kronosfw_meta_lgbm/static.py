"""Scores that do not depend on the moment: the part of the weights that no tree has to find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from kronosfw.types import Floats

from .mixing import There, losses, slopes, softmax

RIDGE = 3e-4
"""Price of scores that differ: it takes the place of what little data cannot tell."""


def base_scores(
    quantiles: Floats, outcome: Floats, levels: Sequence[float], there: There, near: Floats | None = None
) -> Floats:
    """Return the scores s ``[K]`` whose mean loss plus ridge · Σ (s − near)² / 2 is smallest.

    ``near`` is where they are without data, and where the search begins: equal scores unless given.
    """
    n, k = there.shape
    start = np.zeros(k) if near is None else near

    def objective(scores: Floats) -> tuple[float, Floats]:
        every = np.broadcast_to(scores, (n, k))
        loss = losses(softmax(every, there), quantiles, outcome, levels).mean()
        gradient = slopes(every, quantiles, outcome, levels, there)[0].mean(axis=0)
        away = scores - start
        return float(loss + RIDGE * (away**2).sum() / 2), gradient + RIDGE * away

    found: Floats = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 50}).x
    return found

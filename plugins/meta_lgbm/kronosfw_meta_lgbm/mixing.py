"""The mean of quantiles under softmax weights: its loss, and the slopes of that.

Axes: N rows, K members, Q levels. Quantiles and outcomes are in units of the pooled scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kronosfw.metrics import pinball
from kronosfw.types import Floats

There = NDArray[np.bool_]
DAMPING = 0.02
"""What is added to the curvature, so that members that all say the same are no cause for a leap."""


def softmax(scores: Floats, there: There) -> Floats:
    """Return the weights ``[N, K]`` of the members that are there, 0 for the others."""
    known = np.where(there, scores, -np.inf)
    power = np.exp(known - known.max(axis=1, keepdims=True))
    weights: Floats = power / power.sum(axis=1, keepdims=True)
    return weights


def shrunk(weights: Floats, there: There, share: float) -> Floats:
    """Return the weights ``[N, K]`` that lie ``share`` of the way from equal ones to these."""
    equal = there / there.sum(axis=1, keepdims=True)
    mixed: Floats = (1 - share) * equal + share * weights
    return mixed


def mixed(weights: Floats, quantiles: Floats) -> Floats:
    """Return Q_τ = Σ w_k q_kτ ``[N, Q]``; members that are missing are NaN and have weight 0."""
    combined: Floats = np.einsum("nk,nkq->nq", weights, np.nan_to_num(quantiles))
    return combined


def losses(weights: Floats, quantiles: Floats, outcome: Floats, levels: Sequence[float]) -> Floats:
    """Return the pinball loss of the mean ``[N]``, summed over levels."""
    loss: Floats = pinball(outcome, mixed(weights, quantiles), levels).sum(axis=1)
    return loss


def slopes(
    scores: Floats, quantiles: Floats, outcome: Floats, levels: Sequence[float], there: There
) -> tuple[Floats, Floats]:
    """Return gradient and curvature ``[N, K]`` of ``losses`` in the scores.

    The gradient is Σ_τ (1{y < Q_τ} − τ) w_k (q_kτ − Q_τ). The curvature is that of Gauss and Newton: the second
    derivative of the expected loss in Q is the density at Q, here a standard normal one's at the level, times the
    square of what the score moves Q by. Both are 0 for a member that is missing, but for the damping.
    """
    weights = softmax(scores, there)
    combined = mixed(weights, quantiles)
    moves = weights[..., None] * np.where(there[..., None], quantiles - combined[:, None], 0)
    below = (outcome[:, None] < combined) - np.asarray(levels)
    normal = NormalDist()
    density = np.array([normal.pdf(normal.inv_cdf(level)) for level in levels])
    gradient = np.einsum("nq,nkq->nk", below, moves)
    return gradient, moves**2 @ density + DAMPING

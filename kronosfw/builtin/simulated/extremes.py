"""Highs and lows between a bar's open and its close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kronosfw.types import Floats

PIECES = 4


def extremes(change: Floats, variance: Floats, draw: Callable[[str], np.random.Generator]) -> tuple[Floats, Floats]:
    """Draw the highest and lowest point of Brownian bridges.

    ``change`` is the bridges' end ``[T]``, ``variance`` that of the motion over the whole bar ``[T]``; both
    results are ``[T]``, measured from the start, and enclose start and end but for rounding. ``draw`` gives a
    generator for each name it is asked for.

    The maximum M of a bridge from 0 to b with variance v has P(M > m) = exp(−2 m (m − b) / v) (Karatzas and
    Shreve, Brownian Motion and Stochastic Calculus, 1991, section 4.3), so M = (b + √(b² + 2 v E)) / 2 with E
    standard exponential, and the minimum likewise. Each has its exact distribution, and so have both together
    up to their dependence within one of ``PIECES`` pieces, into which each bridge is cut beforehand.
    """
    at = np.zeros_like(change)
    high, low = np.zeros_like(change), np.zeros_like(change)
    v = variance / PIECES
    for left in range(PIECES, 0, -1):
        step = (change - at) / left
        if left > 1:
            step += np.sqrt(v * ((left - 1) / left)) * draw(f"bridge {left}").standard_normal(len(change))
        up, down = (
            np.sqrt(step**2 + 2 * v * draw(f"{side} {left}").standard_exponential(len(change)))
            for side in ("high", "low")
        )
        np.maximum(high, at + (step + up) / 2, out=high)
        np.minimum(low, at + (step - down) / 2, out=low)
        at += step
    return high, low

"""From a window to what the model sees: one standardised series without gaps, and its covariates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Floats, Window

from .covariates import Channels, channels_of
from .options import TimesFm

LEAST = 16
"""Fewest closes from which anything can be told: half a patch of the model."""


@dataclass(frozen=True, eq=False)
class Series:
    """What the model sees of one window."""

    values: NDArray[np.float32]
    """The close ``[T]``, less ``mean`` and divided by ``scale``."""
    mean: float
    scale: float
    nonnegative: bool
    """Whether no close of the context is below 0."""
    horizon: int
    channels: Channels

    def prices(self, standardised: Floats) -> Floats:
        """Return what the model gives in units of the close; below 0 only where the close has been."""
        prices = standardised * self.scale + self.mean
        return np.maximum(prices, 0.0) if self.nonnegative else prices


def series_of(window: Window, room: int, options: TimesFm) -> Series:
    """Return the last ``room`` closes of a window and the covariates that belong to them.

    A close that is NaN or infinite is unknown: those before the first known one are left out, those between two
    known ones lie on the line through them, those after the last repeat it. Mean and scale are those of the context
    in float64: the model computes in float32, in which a price of 100,000 has two decimals.

    Raises ValueError where fewer than ``LEAST`` closes are known, or they are too large for a variance.
    """
    window = window.last(room)
    known = np.isfinite(window.bars.close)
    if known.sum() < LEAST:
        raise ValueError(f"{LEAST} known closes are needed, there are {known.sum()} in {len(window.bars)} bars")
    window = window.last(len(known) - int(np.argmax(known)))
    close = filled(window.bars.close)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(close.mean()), float(close.std()) or 1.0
    if not np.isfinite(scale):
        raise ValueError("the closes are too large to compute with")
    values = ((close - mean) / scale).astype(np.float32)
    nonnegative = bool((close >= 0).all())
    return Series(values, mean, scale, nonnegative, window.horizon, channels_of(window, options))


def filled(values: Floats) -> Floats:
    """Return values ``[T]`` without gaps: on the line between neighbours, at the ends as the nearest."""
    at, known = np.arange(len(values)), np.isfinite(values)
    return np.interp(at, at[known], values[known])

"""Candles as the model sees them, and back: columns, time stamps, normalisation.

A candle is open, high, low, close, volume, amount, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLUMNS = ("open", "high", "low", "close", "volume", "amount")
PRICES = slice(0, 4)
CLOSE = 3
CLIP = 5.0
EPSILON = 1e-5


@dataclass(frozen=True)
class Scale:
    """Mean and population standard deviation of each column over the context, ``[..., 6]``."""

    mean: Floats
    std: Floats

    @classmethod
    def of(cls, context: Floats) -> Scale:
        """Measure a context ``[..., T, 6]``."""
        return cls(context.mean(axis=-2), context.std(axis=-2))

    def normalise(self, candles: Floats) -> Floats:
        """Return candles ``[..., T, 6]`` in standard deviations from the mean, clipped to ±5."""
        z = (candles - self.mean[..., None, :]) / (self.std[..., None, :] + EPSILON)
        return np.clip(z, -CLIP, CLIP)

    def denormalise(self, z: Floats) -> Floats:
        """Return candles ``[..., T, 6]`` in the instrument's units."""
        return z * (self.std[..., None, :] + EPSILON) + self.mean[..., None, :]


def candles(prices: Floats, volume: Floats | None = None, amount: Floats | None = None) -> Floats:
    """Return candles ``[T, 6]`` of prices ``[T, 4]``.

    Without volume, volume and amount are 0, whatever amount was given; without amount it is volume times the mean
    of the four prices.
    """
    if volume is None:
        volume = amount = np.zeros(len(prices))
    elif amount is None:
        amount = volume * prices.mean(axis=1)
    return np.column_stack([prices, volume, amount])


def stamps(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return minute, hour, weekday (Monday is 0), day of the month and month of each moment, ``[T, 5]``."""
    minutes = times.astype("datetime64[m]").astype(np.int64)
    day = times.astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    return np.column_stack(
        [
            minutes % 60,
            minutes // 60 % 24,
            (day.astype(np.int64) + 3) % 7,
            (day - month.astype("datetime64[D]")).astype(np.int64) + 1,
            month.astype(np.int64) % 12 + 1,
        ]
    )

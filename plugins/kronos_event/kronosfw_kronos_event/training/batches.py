"""Training windows, drawn at random from long stretches of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kronos.candles import Floats, Scale


@dataclass(frozen=True)
class Stretch:
    """Consecutive bars of one symbol."""

    candles: Floats
    """``[N, 6]``"""
    stamps: NDArray[np.int64]
    """``[N, 5]``"""


Batch = Mapping[str, NDArray[Any]]
"""What an objective is called with, by name; the first axis counts windows."""


@dataclass(frozen=True)
class Windows:
    """Draws windows: stretches in proportion to how many windows they hold, prefixes and starts evenly.

    A window is normalised by the statistics of its first ``prefix`` bars alone, a number drawn for each, and only
    what comes after is a target. Statistics that include the targets would teach a false reversion to their mean.
    """

    stretches: Sequence[Stretch]
    length: int
    prefix: tuple[int, int]
    mirror: float = 0.0
    """Share of windows whose prices are turned upside down, 1 / price in units of the first close."""
    no_volume: float = 0.0
    """Share of windows that are shown without volume."""

    def __post_init__(self) -> None:
        if not any(self._rooms):
            raise ValueError(f"no stretch of bars is as long as a window, {self.length} bars")

    @cached_property
    def _rooms(self) -> NDArray[np.float64]:
        return np.array([max(len(s.candles) - self.length + 1, 0) for s in self.stretches], dtype=np.float64)

    def draw(self, size: int, seed: Sequence[int]) -> Batch:
        """Return the batch of ``size`` windows that belongs to a seed.

        ``candles [B, T, 6]`` are normalised by the first ``prefix [B]`` bars of each; ``stamps`` are ``[B, T, 5]``.
        """
        rng = np.random.default_rng(seed)
        rooms = self._rooms
        which = rng.choice(len(rooms), size, p=rooms / rooms.sum())
        starts = (rng.random(size) * rooms[which]).astype(np.int64)
        prefix = rng.integers(self.prefix[0], self.prefix[1] + 1, size)
        mirrored, bare = rng.random(size) < self.mirror, rng.random(size) < self.no_volume
        candles, stamps = [], []
        for i in range(size):
            rows = slice(starts[i], starts[i] + self.length)
            stretch = self.stretches[which[i]]
            window = stretch.candles[rows]
            if mirrored[i] and (window[:, :4] > 0).all():
                window = upside_down(window)
            if bare[i]:
                window = window * (1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
            candles.append(Scale.of(window[: prefix[i]]).normalise(window))
            stamps.append(stretch.stamps[rows])
        return {"candles": np.stack(candles).astype(np.float32), "stamps": np.stack(stamps), "prefix": prefix}


def upside_down(candles: Floats) -> Floats:
    """Return candles whose every log return has the opposite sign."""
    prices = candles[0, 3] ** 2 / candles[:, [0, 2, 1, 3]]
    volume = candles[:, 4]
    return np.column_stack([prices, volume, volume * prices.mean(axis=1)])

"""Where the simulated market's random numbers come from, and the two series made of them alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Floats

Draw = Callable[[str], np.random.Generator]
"""Gives the generator of a purpose."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one purpose.

    Each quantity of each symbol has a generator of its own and draws one number a bar from it, in order. So a
    bar's numbers depend neither on other symbols nor on how many bars come after it.
    """
    digest = hashlib.blake2b("|".join(names).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def autoregression(innovations: Floats, coefficient: float) -> Floats:
    """Return x ``[T]`` with x_t = coefficient · x_{t−1} + innovation_t, starting from x_{−1} = 0."""
    if coefficient == 1.0:
        return np.cumsum(innovations)
    steps = accumulate(innovations.tolist(), lambda x, e: coefficient * x + e)
    return np.fromiter(steps, np.float64, len(innovations))


def log_volatility(draw: Draw, n: int, persistence: float, spread: float) -> Floats:
    """Return a stationary first-order autoregression ``[n]`` with this standard deviation.

    It is shifted by −spread², so that the mean of exp(2 x), the variance, is 1.
    """
    innovations = draw("volatility").standard_normal(n) * spread
    innovations[1:] *= np.sqrt(1 - persistence**2)
    return autoregression(innovations, persistence) - spread**2


@dataclass(frozen=True, slots=True, eq=False)
class Shocks:
    """Shocks of variance 1 ``[T]``."""

    value: Floats
    variance: Floats
    """The variance with which each was drawn; given it, the shock is normal."""


def student_shocks(draw: Draw, factor: Floats, share: float, tails: float) -> Shocks:
    """Return shocks with a Student t of ``tails`` degrees of freedom, scaled to variance 1.

    ``factor [T]`` is the common factor with the symbol's sign, ``share`` its share of the variance. The t
    arises as a normal whose variance is inverse gamma.
    """
    own = draw("noise").standard_normal(len(factor))
    normal = np.sqrt(share) * factor + np.sqrt(1 - share) * own
    variance = (tails / 2 - 1) / draw("tails").standard_gamma(tails / 2, len(factor))
    return Shocks(normal * np.sqrt(variance), variance)


def common_normal(rng: np.random.Generator, cells: NDArray[np.int64]) -> Floats:
    """Return the standard normal of each bar's cell ``[T]``, the same for all that share the cell."""
    return rng.standard_normal(int(cells.max()) + 1)[cells]

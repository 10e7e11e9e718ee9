"""Random draws: which uniforms each series gets, and how a uniform becomes a token.

Shapes: G series, n paths, H steps, V tokens. All randomness is drawn here, on the host, from each series' own seed,
so a series' paths depend neither on the device nor on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Method = Literal["rqmc", "independent"]
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def uniforms(seeds: Sequence[int], steps: int, paths: int, method: Method) -> NDArray[np.float32]:
    """Return what is drawn for s1 and s2 of every step of every path, ``[2, H, G, n]`` in [0, 1).

    ``rqmc`` gives the n paths of a step one uniform from each n-th of the unit interval, each evenly spread within
    its n-th. For s1 they belong to the ranks of sorted paths, and near ranks get uniforms that are far apart: a
    lattice, shifted at random, so that every single one is uniform. This is Array-RQMC (L'Ecuyer, Lécot and Tuffin,
    Operations Research 56, 2008); with uniforms in random order it would make no difference that paths are sorted.
    For s2 the order is random. A longer horizon begins with the same uniforms as a shorter one.
    """
    drawn = np.stack([_of_one(seed, steps, paths, method) for seed in seeds], axis=2)
    return np.minimum(drawn.astype(np.float32), BELOW_ONE)


def _of_one(seed: int, steps: int, paths: int, method: Method) -> NDArray[np.float64]:
    """Return the uniforms of one series, ``[2, H, n]``."""
    rng = np.random.default_rng(seed)
    if method == "independent":
        return rng.random((steps, 2, paths)).swapaxes(0, 1)
    drawn = rng.random((steps, 3 * paths + 1))
    within, keys, shift = np.split(drawn, [2 * paths, 3 * paths], axis=1)
    lattice = (np.arange(paths) * GOLDEN_RATIO % 1).argsort().argsort()
    strata = np.stack([(lattice + (shift * paths).astype(int)) % paths, keys.argsort(axis=1)])
    return (strata + within.reshape(steps, 2, paths).swapaxes(0, 1)) / paths


@dataclass(frozen=True)
class Filter:
    """What is left of a distribution before a token is drawn from it."""

    temperature: float = 1.0
    top_k: int = 0
    """Keep this many of the likeliest tokens; 0 keeps all, 1 is greedy."""
    top_p: float = 1.0
    """Then keep the fewest whose share reaches this."""

    def __call__(self, logits: Tensor) -> Tensor:
        """Return weights ``[..., V]`` that add up to 1, or to less where tokens were dropped."""
        if 0 < self.top_k < logits.shape[-1]:
            kept, ids = logits.topk(self.top_k, dim=-1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, ids, kept)
        weights = torch.softmax(logits.float() / self.temperature, dim=-1)
        if self.top_p < 1:
            ordered, ids = weights.sort(dim=-1, descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            weights = torch.zeros_like(weights).scatter(-1, ids, ordered.where(before < self.top_p, 0))
        return weights


def invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the index ``[..., n]`` where each uniform falls in weights ``[..., n, V]``, or ``[..., 1, V]``.

    An index of weight 0 is never returned.
    """
    cdf = weights.double().cumsum(-1)
    total = cdf[..., -1:]
    values = uniform.unflatten(-1, (cdf.shape[-2], -1))
    at = torch.searchsorted(cdf, values * total, right=True)
    last = (cdf < total).sum(-1, keepdim=True)
    return torch.minimum(at, last).flatten(-2)

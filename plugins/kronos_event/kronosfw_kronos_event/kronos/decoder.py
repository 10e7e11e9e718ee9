"""From drawn paths to honest quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .candles import CLOSE, PRICES, Floats
from .draws import Method
from .sampler import Paths

QUANTILE_RULE: dict[Method, Literal["weibull", "hazen"]] = {"independent": "weibull", "rqmc": "hazen"}
"""numpy's name of the rule for paths drawn either way.

An outcome is below the i-th of n independent draws with chance i / (n + 1) (weibull). Stratified draws leave one
in each n-th of the distribution, so the i-th stands for (i - 1/2) / n (hazen). numpy's default is too narrow.
"""


def anchored(paths: Paths, close: float) -> Floats:
    """Return the paths ``[n, H, 6]`` shifted in price to start at the last close instead of its reconstruction.

    The tokenizer errs by about one bar's move on each bar; without this every path would begin with that jump.
    """
    candles = paths.candles.copy()
    candles[..., PRICES] += close - paths.start[CLOSE]
    return candles


def repaired(candles: Floats, least: float) -> Floats:
    """Return candles ``[..., 6]`` that can be: the only place where a drawn path is changed.

    No price is below ``least``, the high is the highest and the low the lowest of the four prices, volume and
    amount are not negative. The model promises none of this.
    """
    fixed = candles.copy()
    fixed[..., PRICES] = np.maximum(candles[..., PRICES], least)
    fixed[..., 1] = fixed[..., PRICES].max(axis=-1)
    fixed[..., 2] = fixed[..., PRICES].min(axis=-1)
    fixed[..., 4:] = np.maximum(candles[..., 4:], 0)
    return fixed


def quantiles(values: Floats, levels: Sequence[float], method: Method) -> Floats:
    """Return quantiles ``[..., Q]`` over the paths, the first axis of ``values [n, ...]``."""
    found = np.quantile(values, list(levels), axis=0, method=QUANTILE_RULE[method])
    return np.moveaxis(found, 0, -1)

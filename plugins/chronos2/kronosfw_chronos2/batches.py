"""Series of many windows as the model takes them, and its answers as prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kronosfw.types import Floats

from .series import Series


@dataclass(frozen=True)
class Rows:
    """A window's series, each centred and scaled by what is known of its past.

    The model does the same in single precision, where a price's moves may drown or a huge one overflow. Doing so
    first in double precision changes its numbers by rounding alone.
    """

    past: NDArray[np.float32]
    """``[R, T]``: targets, then what is known of the past alone, then what is known ahead."""
    future: NDArray[np.float32]
    """``[R, H]``, NaN for all but what is known ahead."""
    centre: Floats
    """``[V, 1, 1]``, of the targets."""
    scale: Floats

    @classmethod
    def of(cls, given: Series, symbol: str, horizon: int) -> Rows:
        """Scale the series; raises ValueError where a target's values are too large for that."""
        length = given.target.shape[1]
        whole = np.full((len(given.target) + len(given.past) + len(given.known), length + horizon), np.nan)
        past = np.vstack([given.target, *given.past.values()])
        whole[: len(past), :length] = past
        if given.known:
            whole[len(past) :] = np.stack(list(given.known.values()))
        with np.errstate(over="ignore", invalid="ignore"):
            centre = np.nanmean(whole[:, :length], axis=1, keepdims=True)
            scale = np.nanstd(whole[:, :length], axis=1, keepdims=True)
            flat = np.nanmax(whole[:, :length], axis=1) == np.nanmin(whole[:, :length], axis=1)
            scale[flat[:, None] | (scale == 0)] = 1
            scaled = ((whole - centre) / scale).astype(np.float32)
        targets = slice(len(given.target))
        if not np.isfinite(centre[targets] + scale[targets]).all():
            raise ValueError(f"{symbol}: its values are too large to be scaled")
        scaled[~np.isfinite(scaled)] = np.nan
        return cls(scaled[:, :length], scaled[:, length:], centre[targets][..., None], scale[targets][..., None])

    def prices(self, answer: Floats) -> Floats:
        """Return scaled values of the targets ``[V, Q, H]`` in their own units."""
        return answer * self.scale + self.centre


def padded(batch: Sequence[Rows], future: int) -> tuple[Tensor, Tensor]:
    """Return past ``[R, T]`` and future ``[R, future]`` of all windows' rows, NaN where there is nothing."""
    count, length = sum(len(rows.past) for rows in batch), max(rows.past.shape[1] for rows in batch)
    before, after = (np.full((count, n), np.nan, np.float32) for n in (length, future))
    start = 0
    for rows in batch:
        end = start + len(rows.past)
        before[start:end, length - rows.past.shape[1] :] = rows.past
        after[start:end, : rows.future.shape[1]] = rows.future
        start = end
    return torch.from_numpy(before), torch.from_numpy(after)


def footprint(batch: Sequence[Rows], patches: int, config: Any) -> int:
    """Return about how many bytes the model takes beside its weights for a batch and so many patches of future.

    These are what goes into a layer and comes out of it, and the scores of its attention over time and over rows.
    """
    rows = sum(len(one.past) for one in batch)
    tokens = ceil(max(one.past.shape[1] for one in batch) / config.chronos_config["input_patch_size"]) + 1 + patches
    numbers = 8 * config.d_model + 2 * config.d_ff + config.num_heads * (tokens + rows)
    return int(4 * rows * tokens * numbers)


def budget(device: torch.device) -> int:
    """Return the bytes that a batch may take: half of all a GPU has, and on a CPU 1 GiB.

    Never a share of what is free at the moment: the same inputs are to give the same batches.
    """
    return torch.cuda.get_device_properties(device).total_memory // 2 if device.type == "cuda" else 2**30


def between(native: Sequence[float], levels: Sequence[float]) -> Floats:
    """Return the matrix ``[native, levels]`` that interpolates quantiles linearly, and clamps outside."""
    return np.stack([np.interp(levels, native, one) for one in np.eye(len(native))])

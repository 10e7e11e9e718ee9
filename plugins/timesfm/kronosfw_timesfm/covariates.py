"""The covariates of a window as the model wants them: those whose past alone is known, and those known ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Covariates, Window

from .options import TimesFm

MOST = 31
"""Channels that may be shown beside a close: the model was made for 32 variates."""


@dataclass(frozen=True, eq=False)
class Block:
    """Channels of one kind ``[V, N]``, and where nothing is known of them; N is T, or T + H where known ahead."""

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Channels:
    """Covariates of a window of T bars and H steps."""

    past: Block
    known: Block

    def __len__(self) -> int:
        return len(self.past) + len(self.known)


def channels_of(window: Window, options: TimesFm) -> Channels:
    """Return the channels that the options ask for.

    Version 2.5 is shown those known ahead, and only with ``xreg``. A channel of which fewer than two different
    values are known in the context, or over context and horizon if it is known ahead, says nothing and is left out.
    Raises ValueError for a name that the encoders do not give, and where 3.0 would be shown more than ``MOST``.
    """
    bars, given = len(window.bars), window.covariates
    if given is None:
        nothing = np.zeros((bars + window.horizon, 0), np.float32)
        given = Covariates(nothing, nothing > 0, (), (), ())
    ahead = np.array(given.known_ahead, dtype=np.bool_)
    native = options.version == "3.0"
    behind = _chosen(given.names, ~ahead, native and options.past_covariates)
    ahead = _chosen(given.names, ahead, (native or options.xreg) and options.known_covariates)
    past = _block(given.values[:bars], given.mask[:bars], behind)
    known = _block(given.values, given.mask, ahead)
    if native and len(past) + len(known) > MOST:
        raise ValueError(
            f"{len(past) + len(known)} covariates are more than the {MOST} that the model takes; "
            "name those that matter as `past_covariates` and `known_covariates`"
        )
    return Channels(past, known)


def _chosen(names: tuple[str, ...], kind: NDArray[np.bool_], choice: bool | tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which channels are of a kind and asked for."""
    if isinstance(choice, bool):
        return kind & choice
    of_kind = [name for name, is_of_kind in zip(names, kind, strict=True) if is_of_kind]
    if foreign := [name for name in choice if name not in of_kind]:
        raise ValueError(f"no encoder gives {', '.join(foreign)}; there is {', '.join(of_kind) or 'none'}")
    return kind & np.isin(names, choice)


def _block(values: NDArray[np.float32], mask: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Block:
    """Return the channels ``[N, E]`` that are wanted and vary, one in each row."""
    highest = np.where(mask, -np.inf, values).max(axis=0, initial=-np.inf)
    lowest = np.where(mask, np.inf, values).min(axis=0, initial=np.inf)
    rows = wanted & (highest > lowest)
    return Block(values[:, rows].T, mask[:, rows].T)

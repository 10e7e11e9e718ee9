"""Examples as the package's `fit` learns from them, and how well weights forecast those they are validated with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from chronos.chronos2.preprocess import PreparedInput

from kronosfw.interfaces import Forecaster
from kronosfw.types import Example, Floats

from .batches import Rows
from .options import BaseModelOptions
from .series import columns, finite, series

LEVELS = (0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99)
"""The model's own quantile levels."""


@dataclass(frozen=True)
class Lessons:
    """What is learned from: each example at its own cutoff, and nothing but its own bars."""

    inputs: Sequence[PreparedInput]
    """``[R, T+H]`` each: targets, channels of the past alone, channels known ahead; NaN before the first bar."""
    context: int
    """T, the most bars that an example has."""
    horizon: int
    """H"""
    channels: tuple[str, ...]
    known_ahead: tuple[str, ...]

    @property
    def series(self) -> int:
        """R, the most series that an example has."""
        return max(len(one["context"]) for one in self.inputs)

    def fingerprint(self) -> str:
        """Return a digest of all that is learned."""
        said = hashlib.sha256()
        for one in self.inputs:
            said.update(f"{one['n_targets']} {one['n_future_covariates']} {tuple(one['context'].shape)}".encode())
            said.update(one["context"].numpy().tobytes())
        return said.hexdigest()


def lessons(examples: Sequence[Example], options: BaseModelOptions, most: int | None) -> Lessons:
    """Return the examples with at most so many bars of context, shown as the forecaster shows its windows.

    Raises ValueError where horizons differ, or an example is one that cannot be forecast.
    """
    horizon = examples[0].window.horizon
    shown, past, known = [], set[str](), set[str]()
    for i in range(len(examples)):
        example = examples[i]
        if len(example.target) != horizon:
            raise ValueError(f"examples must have one horizon; one has {len(example.target)} steps, not {horizon}")
        window = example.window if most is None else example.window.last(most)
        given = series(window, options)
        past |= given.past.keys()
        known |= given.known.keys()
        outcome = np.stack([finite(example.target.column(name)) for name in columns(options)])
        shown.append((Rows.of(given, window.symbol, horizon), outcome, len(given.known)))
    length = max(rows.past.shape[1] for rows, _, _ in shown)
    inputs = [_prepared(*one, length) for one in shown]
    return Lessons(inputs, length, horizon, (*sorted(past), *sorted(known)), tuple(sorted(known)))


def _prepared(rows: Rows, outcome: Floats, known: int, length: int) -> PreparedInput:
    """Return what `fit` is given, with what was learned of the targets in their place after the cutoff."""
    count, own, horizon = *rows.past.shape, rows.future.shape[1]
    context = np.full((count, length + horizon), np.nan, np.float32)
    context[:, length - own : length] = rows.past
    context[:, length:] = rows.future
    context[: len(outcome), length:] = (outcome - rows.centre[..., 0]) / rows.scale[..., 0]
    return PreparedInput(
        context=torch.from_numpy(context),
        future_covariates=torch.full((count, horizon), torch.nan),
        n_targets=len(outcome),
        n_covariates=count - len(outcome),
        n_future_covariates=known,
    )


def loss(forecaster: Forecaster, examples: Sequence[Example]) -> float:
    """Return the mean over examples, columns and steps of twice the pinball loss, averaged over the model's levels.

    Each figure counts relative to the mean size of the column's moves from bar to bar in the context, so no symbol
    drowns the others. Steps without an outcome do not count.
    """
    levels = np.array(LEVELS)
    found: list[Floats] = []
    for example, forecast in zip(examples, forecaster.forecast([e.window for e in examples], LEVELS), strict=True):
        for column in forecast.columns:
            moves = np.abs(np.diff(example.window.bars.column(column)))
            scale = max(float(np.mean(moves[np.isfinite(moves)])), np.finfo(float).tiny)
            errors = example.target.column(column)[:, None] - forecast.at(LEVELS, column)
            found.append(np.mean(2 * np.maximum(levels * errors, (levels - 1) * errors), axis=1) / scale)
    return float(np.nanmean(found))


def spread(examples: Sequence[Example], most: int) -> list[Example]:
    """Return at most so many of the examples, evenly spread."""
    count = len(examples)
    return [examples[i] for i in sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))})]

"""Forecasts windows with Chronos-2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kronosfw.types import Floats, Forecast, Window

from .batches import Rows, between, budget, footprint, padded
from .options import Chronos2
from .series import columns, series
from .weights import base, checkpoint


class Chronos2Forecaster:
    """Asks the model for its own quantile levels of many windows at once and interpolates between them.

    Without grouping a forecast depends on its own window, but for rounding: in single precision a row of a larger
    batch may differ in the seventh digit. With ``batch: 1`` it is the same to the last bit whatever is beside it.
    """

    def __init__(self, options: Chronos2) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._options = options
        self._resident: dict[Path | None, Chronos2Forecaster] = {None: self}
        self.pipeline = base(options)
        given = options.memory
        self._budget = budget(self.pipeline.model.device) if given is None else given * 2**20
        self.max_context: int | None = self.pipeline.model_context_length

    def with_checkpoint(self, path: Path | None) -> Chronos2Forecaster:
        """Return the forecaster with the weights in a folder: an adapter, merged into the base's, or a model.

        None stands for the base weights. What was asked for once stays in memory; what an adapter leaves as it is
        takes it once. Raises WeightsError where an adapter was trained for another base.
        """
        if path is not None and path not in self._resident:
            other = copy(self)
            other.pipeline = checkpoint(self._resident[None].pipeline, path, self._options)
            other.max_context = other.pipeline.model_context_length
            self._resident[path] = other
        return self._resident[path]

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        """Return one forecast for each window; raises ValueError for a window that cannot be forecast."""
        rows = [self._rows(window) for window in windows]
        weights = between(self.pipeline.quantiles, levels)
        found: dict[int, Forecast] = {}
        for batch in self._batches(windows, rows):
            answers = self._answers([rows[i] for i in batch], windows[batch[0]].horizon)
            for i, answer in zip(batch, answers, strict=True):
                native = np.sort(rows[i].prices(answer[..., : windows[i].horizon]), axis=1)
                quantiles = np.einsum("vqh,ql->hvl", native, weights)
                found[i] = windows[i].forecast(levels, quantiles, columns=columns(self._options))
        return [found[i] for i in range(len(windows))]

    def _rows(self, window: Window) -> Rows:
        most = self.pipeline.model_prediction_length
        if window.horizon > most:
            raise ValueError(
                f"{window.symbol}: {window.horizon} steps are asked for, and this model forecasts {most} at most"
            )
        window = window.last(self.pipeline.model_context_length)
        return Rows.of(series(window, self._options), window.symbol, window.horizon)

    def _patches(self, horizon: int) -> int:
        return ceil(horizon / int(self.pipeline.model_output_patch_size))

    def _batches(self, windows: Sequence[Window], rows: Sequence[Rows]) -> Iterator[list[int]]:
        """Yield positions of windows that are forecast at once, the same ones in whatever order they are given."""
        grouped = self._options.group_by == "asset_class"

        def kind(i: int) -> tuple[Any, ...]:
            """Tell what windows have in common that may share a batch: in a group, also the moment they know."""
            one = windows[i]
            return self._patches(one.horizon), *((one.asset_class, one.freq, str(one.cutoff)) if grouped else ())

        def place(i: int) -> tuple[Any, ...]:
            return *kind(i), *(() if grouped else (rows[i].past.shape[1],)), windows[i].symbol

        batch: list[int] = []
        for i in sorted(range(len(windows)), key=place):
            if batch and (
                kind(i) != kind(batch[0]) or not self._fits([rows[j] for j in (*batch, i)], windows[i].horizon)
            ):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _fits(self, batch: Sequence[Rows], horizon: int) -> bool:
        if self._options.batch is not None and len(batch) > self._options.batch:
            return False
        return footprint(batch, self._patches(horizon), self.pipeline.model.config) <= self._budget

    @torch.inference_mode()
    def _answers(self, batch: Sequence[Rows], horizon: int) -> list[Floats]:
        """Return the model's quantiles ``[V, Q, steps]`` of each window's targets, scaled as these are."""
        model, patches = self.pipeline.model, self._patches(horizon)
        past, future = padded(batch, patches * self.pipeline.model_output_patch_size)
        counts = torch.tensor([len(rows.past) for rows in batch])
        alone = self._options.group_by == "none"
        groups = torch.arange(len(batch)) if alone else torch.zeros(len(batch), dtype=torch.long)
        found = model(
            context=past.to(model.device),
            future_covariates=future.to(model.device),
            group_ids=groups.repeat_interleave(counts).to(model.device),
            num_output_patches=patches,
        ).quantile_preds
        answers = found.double().cpu().numpy()
        starts = (counts.cumsum(0) - counts).tolist()
        return [answers[start : start + len(rows.scale)] for start, rows in zip(starts, batch, strict=True)]

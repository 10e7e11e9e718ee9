"""Forecasts windows with Kronos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kronosfw.types import Bars, Forecast, Window

from .bars import to_candles, to_stamps
from .kronos.decoder import anchored, quantiles, repaired
from .kronos.devices import resolve_device, resolve_dtype
from .kronos.draws import Filter
from .kronos.generation import Options, Series
from .kronos.model import Kronos
from .kronos.sampler import Paths, Sampler
from .kronos.tokenizer import KronosTokenizer
from .options import KronosEvent
from .sources import source

COLUMNS = "open", "high", "low", "close", "return"
"""What is forecast; the return of step h is that of the close over the last close, less 1."""
FLOOR = 0.01

log = logging.getLogger(__name__)


class KronosForecaster:
    """Draws paths of candles for all windows at once and takes their quantiles.

    Needs finite prices, at least as many as the model was trained with (16 where that is not known), and a last
    close other than 0. Where every price of the context is positive, no path falls below ``FLOOR`` times the
    lowest.
    """

    def __init__(self, options: KronosEvent, checkpoint: Path | None = None) -> None:
        self._options, self._checkpoint = options, checkpoint
        self._source = found = source(options, checkpoint)
        self.max_context: int | None = min(found.context or found.max_context, found.max_context)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        device = resolve_device(options.device)
        dtype = resolve_dtype(options.dtype, device)
        tokenizer = KronosTokenizer.from_pretrained(
            found.tokenizer, revision=found.tokenizer_revision, device=device
        )
        model = Kronos.from_pretrained(found.model, revision=found.revision, device=device, dtype=dtype)
        self._sampler = Sampler(tokenizer, model, self._drawing(device), rotary=found.rotary)
        self._told = False

    def _drawing(self, device: torch.device) -> Options:
        o = self._options
        return Options(
            paths=o.samples,
            method=o.sampling,
            filter=Filter(o.temperature, o.top_k, o.top_p),
            max_context=self._source.max_context,
            sliding=o.sliding,
            chunk=o.chunk,
            memory=o.memory * 2**20 if o.memory else budget(device),
        )

    def with_checkpoint(self, path: Path | None) -> KronosForecaster:
        """Return a forecaster with the ``model`` and ``tokenizer`` in a folder; None for the base weights."""
        if path is None:
            return self if self._checkpoint is None else KronosForecaster(self._options)
        return KronosForecaster(self._options, path)

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        """Return one forecast for each window; raises ValueError for a window that cannot be forecast."""
        series = [self._series(window) for window in windows]
        drawn = self._sampler.sample(series)
        return [self._forecast(*one, levels) for one in zip(windows, series, drawn, strict=True)]

    def _series(self, window: Window) -> Series:
        bars = window.bars[-self.max_context :] if self.max_context else window.bars
        least, most = self._source.least, self._source.max_context
        if len(bars) < least:
            raise ValueError(f"{least} bars of context are needed, there are {len(bars)}")
        if self._options.sliding == "shorten":
            bars = self._shortened(bars, window.horizon)
        elif window.horizon >= most:
            raise ValueError(f"{window.horizon} steps are asked for, and this model draws {most - 1} at most")
        if not bars.close[-1]:
            raise ValueError("the last close is 0, from which no return can be told")
        return Series(to_candles(bars), to_stamps(bars.times.then(window.future), window.freq), self._seed(window))

    def _shortened(self, bars: Bars, horizon: int) -> Bars:
        """Return as many of the last bars as leave room for the horizon; raises ValueError if they are too few."""
        least, most = self._source.least, self._source.max_context
        fits = most - horizon + 1
        if fits < least:
            raise ValueError(
                f"{horizon} steps leave room for {max(fits, 0)} bars of context, and this model needs {least}: "
                f"ask for {most - least + 1} steps at most, or, up to {most - 1}, for `sliding: chunked`"
            )
        if len(bars) > fits and not self._told:
            self._told = True
            log.warning("context shortened to %d bars, so that %d steps fit the model", fits, horizon)
        return bars[-fits:]

    def _seed(self, window: Window) -> int:
        mixed = np.random.SeedSequence([window.seed, self._options.seed])
        return int(mixed.generate_state(1, np.uint64)[0]) if self._options.seed else window.seed

    def _forecast(self, window: Window, series: Series, paths: Paths, levels: Sequence[float]) -> Forecast:
        options, prices = self._options, series.candles[:, :4]
        last = window.bars.close[-1]
        candles = anchored(paths, last) if options.anchor else paths.candles
        if options.repair:
            candles = repaired(candles, FLOOR * prices.min() if (prices > 0).all() else -np.inf)
        change = candles[..., 3] / last - 1
        values = np.concatenate([candles[..., :4], change[..., None]], axis=-1)
        return window.forecast(
            levels,
            quantiles(values, levels, options.sampling),
            columns=COLUMNS,
            samples=values if options.keep_samples else None,
        )


def budget(device: torch.device) -> int:
    """Return the bytes that a batch may take.

    On a CPU small batches are the fastest, as they stay in its caches; a GPU gives half of all it has. Never a
    share of what is free at the moment: the same inputs are to give the same batches.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 2
    return 2**28

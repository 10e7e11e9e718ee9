"""Forecasts windows with Kronos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kronosfw.types import Bars, Forecast, Window

from .bars import to_candles, to_stamps
from .kronos.adapter import ABOUT as ADAPTER
from .kronos.adapter import Adapter, load_adapter
from .kronos.decoder import anchored, quantiles, repaired
from .kronos.devices import resolve_device, resolve_dtype
from .kronos.draws import Filter
from .kronos.events import Channels
from .kronos.generation import Options, Series
from .kronos.model import Kronos
from .kronos.sampler import Paths, Sampler
from .kronos.tokenizer import KronosTokenizer
from .options import KronosEvent
from .sources import Source, fingerprints, source

COLUMNS = "open", "high", "low", "close", "return"
"""What is forecast; the return of step h is that of the close over the last close, less 1."""
FLOOR = 0.01

log = logging.getLogger(__name__)


class KronosForecaster:
    """Draws paths of candles for all windows at once and takes their quantiles.

    Needs finite prices, at least as many as the model was trained with (16 where that is not known), and a last
    close other than 0. Where every price of the context is positive, no path falls below ``FLOOR`` times the
    lowest. Where a checkpoint has learned of events, the windows' covariates must be the channels that it was
    trained with.
    """

    def __init__(self, options: KronosEvent) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._options = options
        self._told = False
        self._resident: dict[Path | None, KronosForecaster] = {None: self}
        self._use(Loaded.of(options, source(options)), None)

    def _use(self, loaded: Loaded, adapter: Adapter | None) -> None:
        self._loaded, self._channels = loaded, adapter and adapter.channels
        found = loaded.source
        self._sampler = loaded.sampler.with_adapter(adapter) if adapter else loaded.sampler
        self.max_context: int | None = min(found.context or found.max_context, found.max_context)

    def with_checkpoint(self, path: Path | None) -> KronosForecaster:
        """Return a forecaster with what is in a folder: an adapter, which shares the base's weights, or a model.

        None stands for the base weights. What was asked for once stays in memory. Raises WeightsError where an
        adapter was trained for another base.
        """
        if path is not None and path not in self._resident:
            self._resident[path] = self._switched(path)
        return self._resident[path]

    def _switched(self, path: Path) -> KronosForecaster:
        base, found = self._resident[None]._loaded, source(self._options, path)
        same = replace(base.source, context=found.context, least=found.least) == found
        loaded = replace(base, source=found) if same else Loaded.of(self._options, found)
        adapter = load_adapter(path, loaded.model, loaded.fingerprints) if (path / ADAPTER).exists() else None
        other = copy(self)
        other._use(loaded, adapter)
        return other

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        """Return one forecast for each window; raises ValueError for a window that cannot be forecast."""
        series = [self._series(window) for window in windows]
        drawn = self._sampler.sample(series)
        return [self._forecast(*one, levels) for one in zip(windows, series, drawn, strict=True)]

    def _series(self, window: Window) -> Series:
        bars = window.bars[-self.max_context :] if self.max_context else window.bars
        least, most = self._loaded.source.least, self._loaded.source.max_context
        if len(bars) < least:
            raise ValueError(f"{least} bars of context are needed, there are {len(bars)}")
        if self._options.sliding == "shorten":
            bars = self._shortened(bars, window.horizon)
        elif window.horizon >= most:
            raise ValueError(f"{window.horizon} steps are asked for, and this model draws {most - 1} at most")
        learned = self._loaded.source.freq
        if learned not in (None, window.freq):
            raise ValueError(f"the checkpoint was trained on bars of {learned}, these are of {window.freq}")
        if not bars.close[-1]:
            raise ValueError("the last close is 0, from which no return can be told")
        events = channels_of(window.last(len(bars)), self._channels) if self._channels else None
        stamps = to_stamps(bars.times.then(window.future), window.freq)
        return Series(to_candles(bars), stamps, self._seed(window), events)

    def _shortened(self, bars: Bars, horizon: int) -> Bars:
        """Return as many of the last bars as leave room for the horizon; raises ValueError if they are too few."""
        least, most = self._loaded.source.least, self._loaded.source.max_context
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


@dataclass(frozen=True)
class Loaded:
    """A tokenizer and a model in memory, with a sampler that draws from them."""

    source: Source
    model: Kronos
    sampler: Sampler

    @classmethod
    def of(cls, options: KronosEvent, found: Source) -> Loaded:
        """Load the weights; raises WeightsError."""
        device = resolve_device(options.device)
        dtype = resolve_dtype(options.dtype, device)
        tokenizer = KronosTokenizer.from_pretrained(
            found.tokenizer, revision=found.tokenizer_revision, device=device
        )
        model = Kronos.from_pretrained(found.model, revision=found.revision, device=device, dtype=dtype)
        drawing = Options(
            paths=options.samples,
            method=options.sampling,
            filter=Filter(options.temperature, options.top_k, options.top_p),
            max_context=found.max_context,
            sliding=options.sliding,
            chunk=options.chunk,
            memory=options.memory * 2**20 if options.memory else budget(device),
        )
        return cls(found, model, Sampler(tokenizer, model, drawing, rotary=found.rotary))

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the files of model and tokenizer."""
        return fingerprints(self.source)


def channels_of(window: Window, channels: Channels) -> NDArray[np.float32]:
    """Return what an adapter is told of events in a window ``[T + H, I]``.

    Raises ValueError where they are not those that a checkpoint was trained with.
    """
    given = window.covariates
    if given is None:
        raise ValueError(
            f"the checkpoint was trained with event channels: name `encoders` that give {listed(channels.names)}"
        )
    if given.names != channels.names:
        lacking = [name for name in channels.names if name not in given.names]
        foreign = [name for name in given.names if name not in channels.names]
        said = [f"lack {listed(lacking)}"] * bool(lacking) + [f"give {listed(foreign)}"] * bool(foreign)
        raise ValueError(
            f"the checkpoint was trained with other event channels: the encoders "
            f"{' and '.join(said) or 'give them in another order'}"
        )
    if given.known_ahead != channels.known_ahead:
        raise ValueError("the checkpoint was trained with event channels of which others are known ahead")
    return channels.inputs(np.where(given.mask, np.float32(0), given.values), len(window.bars))


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def budget(device: torch.device) -> int:
    """Return the bytes that a batch may take.

    On a CPU small batches are the fastest, as they stay in its caches; a GPU gives half of all it has. Never a
    share of what is free at the moment: the same inputs are to give the same batches.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 2
    return 2**28

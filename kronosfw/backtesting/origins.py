"""From when a backtest forecasts which symbols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..calendars import Calendar, calendar
from ..config import Backtest, Config
from ..examples import at_midnight
from ..reading import stretch
from ..types import Moment, Moments


@dataclass(frozen=True, slots=True)
class Origin:
    """A cutoff and the symbols that are forecast as of it."""

    cutoff: Moment
    symbols: tuple[str, ...]


def origins(config: Config, options: Backtest, until: Moment) -> list[Origin]:
    """Return the origins in order of time.

    Those of a symbol are moments at which a bar of its own calendar is complete, so that its first target is a
    whole bar: every ``step``-th from ``start`` on whose last target is complete by ``until``, and ``warmup`` before
    ``start``. Whether the feed has the bars plays no part.
    """
    found: dict[Moment, list[str]] = {}
    cutoffs: dict[str, Moments] = {}
    for symbol in config.forecast_symbols:
        market = config.universe[symbol].market
        if market not in cutoffs:
            cutoffs[market] = _cutoffs(calendar(market), config, options, until)
        for cutoff in cutoffs[market]:
            found.setdefault(cutoff, []).append(symbol)
    return [Origin(cutoff, tuple(symbols)) for cutoff, symbols in sorted(found.items())]


def earliest(config: Config, options: Backtest) -> Moment:
    """Return a moment before which there is no origin, of whatever symbol."""
    return at_midnight(options.start) - stretch(options.warmup * options.step, config.freq)


def _cutoffs(trading: Calendar, config: Config, options: Backtest, until: Moment) -> Moments:
    start = at_midnight(options.start)
    before = options.warmup * options.step
    bars = trading.grid(earliest(config, options), until, config.freq)
    complete = bars.available_at[bars.available_at <= until]
    first = int(np.searchsorted(complete, start))
    last = len(complete) - config.horizon
    compared = complete[first + options.embargo : last : options.step][: options.origins]
    warmup = complete[max(first - before, first % options.step) : first : options.step]
    return np.concatenate([warmup, compared]) if len(compared) else compared


def chunks(origins: Sequence[Origin], windows: int) -> Iterator[list[Origin]]:
    """Yield the origins in order, at most so many windows at a time where an origin does not have more."""
    chunk: list[Origin] = []
    for origin in origins:
        if chunk and sum(len(o.symbols) for o in (*chunk, origin)) > windows:
            yield chunk
            chunk = []
        chunk.append(origin)
    if chunk:
        yield chunk


def by_symbol(origins: Sequence[Origin]) -> Mapping[str, int]:
    """Return how many origins each symbol has."""
    counts: dict[str, int] = {}
    for origin in origins:
        for symbol in origin.symbols:
            counts[symbol] = counts.get(symbol, 0) + 1
    return counts

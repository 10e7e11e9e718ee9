"""The simulated feed at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronosfw import freq as _freq
from kronosfw.errors import SymbolError, did_you_mean
from kronosfw.types import Fact, Span

from . import SimulatedFeed
from .paths import Path, Truth
from .randomness import generator
from .symbols import SYMBOLS
from .world import World


class SimulatedMarket:
    """Bars and facts of a simulated world.

    Every number follows from the options: it depends neither on the span or the symbols asked for nor on
    their order.
    """

    def __init__(self, options: SimulatedFeed) -> None:
        self._options = options
        self._world = World(options)

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, pd.DataFrame | SymbolError]]:
        """Yield the bars of each symbol, a SymbolError for one that this market does not have."""
        freq = _freq.normalise(freq)
        for symbol in symbols:
            try:
                self._check(symbol)
            except SymbolError as error:
                yield symbol, error
            else:
                path = self._world.path(symbol, freq)
                yield symbol, _frame(path, self._rows(symbol, freq, path, span))

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact]:
        """Yield schedule, consensus and figure of each release, and of the symbols' own reports."""
        known = [symbol for symbol in dict.fromkeys(symbols) if symbol in self._world.instruments]
        reports = [report for symbol in known for report in self._world.earnings(symbol)]
        for release in self._world.macro + reports:
            if release.at <= span.end and (span.start is None or release.at >= span.start):
                yield from release.facts()

    def truth(self, symbol: str, freq: str) -> Truth:
        """Return what all bars of a symbol are made of; raises SymbolError where the market does not have it."""
        self._check(symbol)
        return self._world.path(symbol, _freq.normalise(freq)).truth

    def _check(self, symbol: str) -> None:
        if symbol in self._world.instruments:
            return
        named = ", ".join({**SYMBOLS, **self._options.symbols})
        raise SymbolError(
            f"the simulated market has no '{symbol}'{did_you_mean(symbol, self._world.instruments) or '.'} "
            f"It has {named}; describe others under `feed.symbols`"
        )

    def _rows(self, symbol: str, freq: str, path: Path, span: Span) -> NDArray[np.int64]:
        """Return the positions of the bars in the span, without those left out."""
        time, missing = path.truth.times.time, self._options.missing
        kept = time <= span.end
        if span.start is not None:
            kept &= time >= span.start
        if missing:
            kept &= generator(self._options.seed, "missing", symbol, freq).random(len(time)) >= missing
        rows = np.flatnonzero(kept)
        return rows if span.last is None else rows[max(len(rows) - span.last, 0) :]


def _frame(path: Path, rows: NDArray[np.int64]) -> pd.DataFrame:
    prices = {name: getattr(path, name)[rows] for name in ("open", "high", "low", "close")}
    volume = path.volume[rows]
    return pd.DataFrame(
        {
            "time": pd.Series(path.truth.times.time[rows]).dt.tz_localize("UTC"),
            **prices,
            "volume": volume,
            "amount": volume * sum(prices.values()) / len(prices),
        }
    )

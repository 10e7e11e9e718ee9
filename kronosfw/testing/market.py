"""A small made-up market for the contracts: bars, facts, leaders and windows, and ways to change the future."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np

from ..calendars import calendar
from ..freq import minutes
from ..interfaces import EventEncoder
from ..types import Bars, Example, Fact, Moment, Times, Window, moment
from ..windows import Cutter, complete

START = moment("2023-01-02")
LEADERS = ("BTCUSDT", "SPY", "DXY", "VIX")
COLUMNS = ("open", "high", "low", "close", "volume")
KINDS = ("cpi", "nfp", "fomc", "earnings")
DAY = np.timedelta64(1, "D")


def random_bars(symbol: str, n: int = 400, *, freq: str = "1d", market: str = "24/7", seed: int = 0) -> Bars:
    """Return n bars of a random walk from 2023 on; equal arguments give equal bars."""
    rng = np.random.default_rng([seed, zlib.crc32(symbol.encode())])
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    opens = np.concatenate([[100.0], close[:-1]])
    spread = np.exp(np.abs(rng.normal(0, 0.01, (2, n))))
    high, low = np.maximum(opens, close) * spread[0], np.minimum(opens, close) / spread[1]
    values = np.stack([opens, high, low, close, rng.lognormal(8, 1, n)], axis=1)
    span = np.timedelta64(3 * minutes(freq) * n, "m") + 60 * DAY
    times = calendar(market).grid(START, START + span, freq)[:n]
    return Bars(symbol, times, values, COLUMNS)


def random_facts(symbols: Sequence[str] = (), seed: int = 0, kinds: Sequence[str] = KINDS) -> list[Fact]:
    """Return two years of monthly releases with schedule, consensus and outcome known one after the other."""
    rng = np.random.default_rng([seed, 7])
    facts = []
    for kind, hour in zip(kinds, cycle((13, 13, 19, 21)), strict=False):
        for month in range(28):
            at = START + np.timedelta64(int(30.4 * month + rng.integers(0, 9)) * 24 + hour, "h")
            forecast, surprise = rng.normal(2, 1), rng.normal(0, 0.3)
            about = tuple(symbols[:1]) if kind == "earnings" else ()
            base = Fact(kind, at, at - 300 * DAY, about, {"importance": 3.0}, f"{kind}:{month}")
            outcome = {"actual": forecast + surprise, "forecast": forecast, "previous": forecast - 0.1}
            facts += [
                base,
                replace(base, known_at=at - DAY, values={"forecast": forecast}),
                replace(base, known_at=at, values=outcome),
            ]
    return facts


@dataclass(frozen=True)
class SmallMarket:
    """Bars, leaders and facts to cut windows from."""

    bars: Mapping[str, Bars]
    leaders: Mapping[str, Bars]
    facts: Sequence[Fact]
    freq: str = "1d"
    market: str = "24/7"

    @classmethod
    def make(
        cls,
        n_symbols: int = 4,
        n: int = 400,
        *,
        freq: str = "1d",
        market: str = "24/7",
        kinds: Sequence[str] = KINDS,
    ) -> SmallMarket:
        """Return a market of some symbols with n bars each."""
        names = [f"S{i}" for i in range(n_symbols)]
        return cls(
            {name: random_bars(name, n, freq=freq, market=market) for name in names},
            {name: random_bars(name, n, freq=freq) for name in LEADERS},
            random_facts(names, kinds=kinds),
            freq,
            market,
        )

    def windows(
        self,
        cutoff: Moment,
        *,
        context: int = 256,
        horizon: int = 5,
        encoders: Sequence[EventEncoder] = (),
        seed: int = 0,
    ) -> list[Window]:
        """Return one window of each symbol, cut as the host cuts them."""
        cutter = Cutter(self.freq, context, horizon, seed, encoders, self.facts, self.leaders)
        return [
            cutter.window(bars, cutoff, asset_class="crypto", market=self.market) for bars in self.bars.values()
        ]

    def examples(self, cutoffs: Sequence[Moment], **shape: Any) -> list[Example]:
        """Return the windows at these cutoffs with what came after them."""
        examples = []
        for cutoff in cutoffs:
            for window in self.windows(cutoff, **shape):
                bars = self.bars[window.symbol]
                first = int(np.searchsorted(bars.times.time, window.future.time[0]))
                examples.append(Example(window, bars[first : first + window.horizon]))
        return examples

    def with_another_future(self, after: Moment, seed: int = 1) -> SmallMarket:
        """Return a market that is the same as far as anybody knew at a moment, and different in all else."""
        rng = np.random.default_rng(seed)
        return replace(
            self,
            bars={name: changed_after(bars, after, rng) for name, bars in self.bars.items()},
            leaders={name: changed_after(bars, after, rng) for name, bars in self.leaders.items()},
            facts=facts_changed_after(self.facts, after, rng),
        )


def changed_after(bars: Bars, after: Moment, rng: np.random.Generator) -> Bars:
    """Return bars of which all that were not complete at a moment have other values, and some are missing."""
    known = len(complete(bars, after))
    keep = np.ones(len(bars), dtype=np.bool_)
    keep[known:] = rng.random(len(bars) - known) < 0.8
    values = bars.values.copy()
    values[known:] *= rng.uniform(0.2, 5.0, (len(bars) - known, 1))
    return Bars(bars.symbol, bars.times[keep], values[keep], bars.columns)


def facts_changed_after(facts: Sequence[Fact], after: Moment, rng: np.random.Generator) -> list[Fact]:
    """Return facts of which all that were not known at a moment say something else, and some are missing."""
    changed = []
    for fact in facts:
        if fact.known_at <= after:
            changed.append(fact)
        elif rng.random() < 0.8:
            values = {name: float(rng.normal(0, 100)) for name in fact.values}
            moved = fact.scheduled_at + np.timedelta64(int(rng.integers(-72, 72)), "h")
            changed.append(replace(fact, values=values, scheduled_at=moved))
    return changed


def cutoff_at(times: Times, position: int) -> Moment:
    """Return the moment at which the bar in that position is complete."""
    cutoff: Moment = times.available_at[position]
    return cutoff

"""What kronos-nano is trained on: the simulated market, and real bars that were complete before 2024."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.types import Bars, Example, Span, Times, Window, moment

END = moment("2024-01-01")
"""No real bar from here on is read."""
VALIDATION = moment("2022-07-01")
"""Real bars from here to END validate; none of them is trained on."""
DAILY = {"BTC": "crypto", "SPY": "equity", "DXY": "forex", "GLD": "commodity", "QQQ": "equity", "VIX": "equity"}
COLUMNS = ("open", "high", "low", "close")
HOURS = (1, 2, 4, 6, 12, 24)
DAILY_WEIGHT, HOURLY_WEIGHT = 50, 5
"""How often the real bars count; with them about half of all training windows are real."""
SIMULATED = (("1d", 30, 4, "2014-01-01"), ("1h", 3, 0, "2022-07-01"), ("5min", 3, 0, "2023-11-15"))
"""Bar length, number of simulated worlds, further symbols of each class, first day."""


def corpus(folder: Path) -> tuple[list[Example], list[Example]]:
    """Return long stretches of bars to train and to validate with; ``folder`` holds the real ones."""
    train, validation = [], []
    for bars, freq, asset_class, weight in real(folder):
        known = bars.times.available_at < END
        later = known & (bars.times.time >= VALIDATION)
        train += [example(part(bars, known & ~later), freq, asset_class)] * weight
        if later.sum() > 300:
            validation.append(example(part(bars, later), freq, asset_class))
    for freq, worlds, count, start in SIMULATED:
        for seed in range(worlds):
            train += simulated(seed, freq, count, start)
    return train, validation


def real(folder: Path) -> Iterator[tuple[Bars, str, str, int]]:
    """Yield bars, their length, asset class and how often they count; hourly ones joined to longer ones as well."""
    for name, asset_class in DAILY.items():
        frame = pd.read_csv(folder / "bars_1d" / f"{name}.csv").rename(columns=str.lower)
        bars = to_bars(name, frame, pd.to_datetime(frame["date"]), np.timedelta64(1, "D"))
        yield bars, "1d", asset_class, DAILY_WEIGHT
    frame = pd.read_csv(folder / "bars_1h" / "BTCUSDT.csv").rename(columns=str.lower)
    frame = frame.set_index(pd.to_datetime(frame["datetime"]))
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    for hours in HOURS:
        for offset in range(0, hours, max(hours // 4, 1)):
            coarse = frame.resample(f"{hours}h", offset=f"{offset}h").agg(rules).dropna().iloc[1:-1]
            bars = to_bars("BTCUSDT", coarse, coarse.index, np.timedelta64(hours, "h"))
            yield bars, "1d" if hours == 24 else f"{hours}h", "crypto", HOURLY_WEIGHT


def simulated(seed: int, freq: str, count: int, start: str) -> Iterator[Example]:
    """Yield the bars of a world of its own: how volatility moves and how heavy the tails are differ by seed."""
    rng = np.random.default_rng([seed, 2024])
    persistence = rng.uniform(0.93, 0.99)
    world = SimulatedFeed(
        seed=1000 + seed,
        start=date.fromisoformat(start),
        end=date(2023, 12, 31),
        count=count,
        persistence=persistence,
        volatility_of_volatility=rng.uniform(0.25, 0.7) * np.sqrt(1 - persistence**2),
        tails=rng.uniform(3.5, 12),
    )
    symbols = world.instruments()
    for symbol, frame in world.build().bars(sorted(symbols), freq, Span(start=moment(start), end=END)):
        opens = frame["time"].dt.floor("D") if freq == "1d" else frame["time"]
        bars = to_bars(symbol, frame, opens, np.timedelta64(1, "m"))
        yield example(bars, freq, symbols[symbol].asset_class)


def to_bars(symbol: str, frame: pd.DataFrame, opens: pd.Series | pd.Index, length: np.timedelta64) -> Bars:
    """Return the bars of a table whose rows open at ``opens``."""
    time = opens.to_numpy("datetime64[us]")
    columns = (*COLUMNS, "volume") if "volume" in frame and frame["volume"].any() else COLUMNS
    return Bars(symbol, Times(time, time + length, time), frame[list(columns)], columns)


def part(bars: Bars, rows: NDArray[np.bool_]) -> Bars:
    """Return the consecutive bars where ``rows`` is true."""
    first, last = np.flatnonzero(rows)[[0, -1]]
    return bars[first : last + 1]


def example(bars: Bars, freq: str, asset_class: str) -> Example:
    """Return the bars as an example whose last bar is the target."""
    known, target = bars[:-1], bars[-1:]
    window = Window(known, target.times, known.times.available_at[-1], freq, asset_class, seed=0)
    return Example(window, target)

"""A plugin with a market that changes, a forecaster that is one number wide, and a trainer that fits the number."""

from __future__ import annotations

import json
import math
import time
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.stats import norm

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import FeedConfig, ForecasterConfig, TrainerConfig
from kronosfw.types import Snapshot

WEIGHTS = "volatility.json"
BASE = {"volatility": 0.02, "sound_until": "9999-12-31"}
BEGINNING = "2018-01-01"
NOW = datetime(2022, 1, 3, 6, tzinfo=UTC)
SLOT = datetime(2022, 1, 1, tzinfo=UTC)
"""When a retraining is due that is polled for at `NOW`."""
CONFIG = """
feed: {feed}
universe:
  C0: {{asset_class: crypto}}
  C1: {{asset_class: crypto}}
  E0: {{asset_class: equity, calendar: 24/7}}
  E1: {{asset_class: equity, calendar: 24/7}}
horizon: 2
context: 30
checks: {{min_history: 30}}
forecasters: [{{type: width}}]
ensembler: null
trainer: {trainer}
training: {{validate_from: 2021-03-01, until: 2021-04-01}}
retraining: {{days: 365, validate_days: 30, judge_days: 45, stride: 1}}
checkpoints: {checkpoints}
checkpoint_root: checkpoints
alerts: [{{type: log, on: [promoted, rejected, rolled_back, failed, damaged]}}]
store: sqlite:///kronosfw.db
"""
WILDER = "{type: weather, wild: 0.03, wild_from: 2021-05-01}"
CALM = "{type: weather}"
POISONED = (
    "{type: weather, wild: 0.03, wild_from: 2021-05-01, "
    "poisoned: [E0, E1], poisoned_from: 2021-11-10, poisoned_until: 2021-11-20, poisoned_age: 0}"
)


class Weather(FeedConfig):
    """Random walks around the clock: calm, and wild from a day on."""

    type: Literal["weather"] = "weather"
    calm: float = Field(0.02, description="Volatility of a day.")
    wild: float = Field(0.04, description="The same from `wild_from` on.")
    wild_from: date = Field(date(9999, 1, 1), description="The day on which it changes.")
    poisoned_from: date = Field(date(9999, 1, 1), description="First day on which the source is faulty.")
    poisoned_until: date = Field(date(9999, 1, 1), description="Day on which the fault is mended.")
    poisoned_age: int = Field(91, description="Age in days of the bars that the fault concerns, at least.")
    poisoned: tuple[str, ...] = Field((), description="Symbols that the fault concerns.")
    fails: tuple[str, ...] = Field((), description="Symbols that cannot be read.")

    def build(self):
        return WeatherFeed(self)


class WeatherFeed:
    def __init__(self, options):
        self.options = options

    def bars(self, symbols, freq, span):
        if set(symbols) & set(self.options.fails):
            raise OSError("the source is down")
        for symbol in symbols:
            yield symbol, self._frame(symbol, span)

    def facts(self, symbols, span):
        return iter(())

    def _frame(self, symbol, span):
        o = self.options
        end = pd.Timestamp(span.end).normalize()
        days = pd.date_range(BEGINNING, end, unit="us")
        rng = np.random.default_rng(zlib.crc32(symbol.encode()))
        shocks = rng.normal(size=10_000)[: len(days)]
        returns = np.where(days < pd.Timestamp(o.wild_from), o.calm, o.wild) * shocks
        if symbol in o.poisoned and pd.Timestamp(o.poisoned_from) <= end < pd.Timestamp(o.poisoned_until):
            returns = np.where(days < end - pd.Timedelta(days=o.poisoned_age), 4 * returns, returns)
        close = 100 * np.exp(np.cumsum(returns))
        first = np.concatenate([[100.0], close[:-1]])
        frame = pd.DataFrame({"time": days.tz_localize("UTC"), "open": first, "close": close})
        frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1), frame[["open", "close"]].min(axis=1)
        if span.start is not None:
            frame = frame[days >= pd.Timestamp(span.start)]
        return frame if span.last is None else frame.tail(span.last)


class Width(ForecasterConfig):
    """An envelope as wide as its weights say, whatever the bars."""

    type: Literal["width"] = "width"

    def build(self):
        return WidthForecaster(BASE)


class WidthForecaster:
    max_context = None

    def __init__(self, weights):
        self.weights = weights

    def with_checkpoint(self, path):
        return WidthForecaster(BASE if path is None else json.loads((path / WEIGHTS).read_text()))

    def forecast(self, windows, levels):
        return [self._forecast(window, levels) for window in windows]

    def _forecast(self, window, levels):
        width = self.weights["volatility"]
        if window.cutoff >= np.datetime64(self.weights["sound_until"]):
            width *= 3
        spread = width * np.sqrt(np.arange(1, window.horizon + 1))[:, None] * norm.ppf(levels)
        return window.forecast(levels, window.bars.close[-1] * np.exp(spread))


class Fit(TrainerConfig):
    """Fits the width to the examples, in three steps."""

    forecaster: ClassVar[str] = "width"
    type: Literal["fit"] = "fit"
    spoiled: dict[str, date] = Field(
        {}, description="By asset class, the day on which what was trained in the months before goes bad."
    )
    fault: str = Field("", description="What goes wrong.")
    pause: float = Field(0, description="Seconds that each step takes.")

    def build(self):
        return Fitter(self)


class Fitter:
    def __init__(self, options):
        self.options = options

    def train(self, train, validation, start, out):
        if self.options.fault == "raise":
            raise RuntimeError("the accelerator is on fire")
        weights = BASE if start is None else json.loads((start / WEIGHTS).read_text())
        fitted = moves(train)
        for step in (1, 2, 3):
            share = step / 3
            volatility = weights["volatility"] ** (1 - share) * fitted**share
            if self.options.fault == "nan":
                volatility = math.nan
            folder = out / f"step-{step}"
            write(folder, {"volatility": volatility, "sound_until": self._sound_until(validation)})
            if self.options.fault == "pickle":
                (folder / "weights.pkl").write_bytes(b"\x80\x04.")
            time.sleep(self.options.pause)
            yield Snapshot(step, folder, {"loss": abs(math.log(fitted / moves(validation))) + 1 / step}, 3)

    def blend(self, start, end, share, out):
        one = BASE if start is None else json.loads((start / WEIGHTS).read_text())
        other = json.loads((end / WEIGHTS).read_text())
        volatility = one["volatility"] ** (1 - share) * other["volatility"] ** share
        if self.options.fault == "extreme" and share > 1:
            volatility = math.nan
        write(out, one if share == 0 else {**other, "volatility": volatility})

    def _sound_until(self, validation):
        """Return the day from which the weights are bad: never, or once the guard has looked at them."""
        window = validation[len(validation) - 1].window
        day = self.options.spoiled.get(window.asset_class)
        if day is None or not 45 <= (day - pd.Timestamp(window.cutoff).date()).days < 75:
            return BASE["sound_until"]
        return day.isoformat()


def moves(examples):
    """Return the volatility of the first step of the examples."""
    steps = [math.log(e.target.close[0] / e.window.bars.close[-1]) for e in examples]
    return float(np.std(steps))


def write(folder: Path, weights) -> None:
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_text(json.dumps(weights))


@hookimpl
def register_feeds():
    return [Weather]


@hookimpl
def register_forecasters():
    return [Width]


@hookimpl
def register_trainers():
    return [Fit]

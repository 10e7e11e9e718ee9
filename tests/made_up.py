"""Made-up components to run with: a feed, a forecaster, an ensembler and an encoder that can go wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from kronosfw.errors import ConfigError
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig, EnsemblerConfig, FeedConfig, ForecasterConfig
from kronosfw.loading import load
from kronosfw.plugins import Plugins
from kronosfw.store import Store
from kronosfw.testing.market import random_bars
from kronosfw.types import moment

SYMBOLS = [f"S{i:02d}" for i in range(50)]


class Table(FeedConfig):
    """Fifty random walks, some of which may be spoilt."""

    type: Literal["table"] = "table"
    corrupt: tuple[str, ...] = Field((), description="Symbols whose rows are nonsense.")
    raising: tuple[str, ...] = Field((), description="Symbols that make the whole call raise.")
    late: dict[str, int] = Field({}, description="Bars missing at the end, by symbol.")
    newest: tuple[str, ...] = Field((), description="Symbols that have but the bar of today.")
    broken_facts: bool = Field(False, description="Whether facts raise.")
    calls: ClassVar[list[int]] = []

    def build(self):
        return TableFeed(self)


class TableFeed:
    def __init__(self, options):
        self.options = options

    def bars(self, symbols, freq, span):
        Table.calls.append(len(symbols))
        for symbol in symbols:
            if symbol in self.options.raising:
                raise RuntimeError(f"the disk under {symbol} is gone")
            bars = random_bars(symbol, 200)
            frame = pd.DataFrame(np.array(bars.values), columns=list(bars.columns))
            frame.insert(0, "time", pd.DatetimeIndex(bars.times.time).tz_localize("UTC"))
            if symbol in self.options.corrupt:
                frame.loc[50:, "close"] = np.nan
            frame = frame[: len(frame) - self.options.late.get(symbol, 0)]
            if symbol in self.options.newest:
                frame = frame[-1:].assign(time=pd.Timestamp.now("UTC").floor("D").as_unit("us"))
            frame = frame[frame["time"] <= pd.Timestamp(span.end, tz="UTC")]
            yield symbol, frame.tail(span.last) if span.last else frame

    def facts(self, symbols, span):
        if self.options.broken_facts:
            raise RuntimeError("no calendar today")
        return iter(())


class Fickle(ForecasterConfig):
    """Says the last close, with a width of one, unless told to fail."""

    type: Literal["fickle"] = "fickle"
    failing: tuple[str, ...] = Field((), description="Symbols that make the whole call raise.")
    hanging: tuple[str, ...] = Field((), description="Symbols over which it never ends.")
    deadly: tuple[str, ...] = Field((), description="Symbols that kill the process.")
    fault: str = Field("", description="What else goes wrong.")
    batches: ClassVar[list[int]] = []
    paths: ClassVar[dict[str, object]] = {}
    context: ClassVar[dict[str, object]] = {}

    def build(self):
        if self.fault == "build":
            raise RuntimeError("no weights")
        if self.fault == "package":
            raise ConfigError("fickle needs the package mood: pip install mood")
        return FickleForecaster(self)


class FickleForecaster:
    max_context = 50

    def __init__(self, options, path=None):
        self.options, self.path = options, path

    def with_checkpoint(self, path):
        if path is not None and (path / "broken").exists():
            raise OSError("truncated weights")
        return FickleForecaster(self.options, path)

    def forecast(self, windows, levels):
        Fickle.batches.append(len(windows))
        assert all(len(w.bars) <= 50 for w in windows)
        found = []
        for w in windows:
            Fickle.paths[w.symbol] = self.path
            if w.symbol in self.options.hanging:
                time.sleep(600)
            if w.symbol in self.options.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if w.symbol in self.options.failing:
                raise ValueError(f"{w.symbol} is in a mood")
            shift = np.linspace(1, -1, len(levels)) if self.options.fault == "crossing" else np.array(levels)
            quantiles = w.bars.close[-1] + np.tile(shift, (w.horizon, 1))
            found.append(w.forecast(levels, quantiles, event_context=Fickle.context))
        if self.options.fault == "fewer":
            found.pop()
        if self.options.fault == "swapped":
            found.reverse()
        if self.options.fault == "cutoff":
            return [replace(f, cutoff=moment("2001-01-01")) for f in found]
        if self.options.fault == "nan":
            return [w.forecast(levels, np.full((w.horizon, len(levels)), np.nan)) for w in windows]
        return found


class Learner(EnsemblerConfig):
    """Takes the first member, and remembers what it was given to learn from."""

    type: Literal["learner"] = "learner"
    fault: str = Field("", description="What goes wrong.")
    past: ClassVar[list[pd.DataFrame]] = []

    def build(self):
        if self.fault == "build":
            raise RuntimeError("no booster")
        return LearnerEnsembler(self.fault)


class LearnerEnsembler:
    learns = True

    def __init__(self, fault):
        self.fault = fault

    def member_levels(self, levels):
        if self.fault == "order":
            return [0.5, 0.1, 0.9, 0.25, 0.1]
        return [0.5] if self.fault == "levels" else sorted({*levels, 0.25})

    def fit(self, past, cutoff):
        if self.fault == "fit":
            raise SystemExit("left")
        Learner.past.append(past)

    def combine(self, window, members, levels):
        if self.fault == "garbage":
            return {"p50": 1.0}
        if window.symbol == "S07":
            raise RuntimeError("cannot combine S07")
        return members[0].only(levels)


class NeedsVix(EncoderConfig):
    """Wants a leader."""

    type: Literal["needs_vix"] = "needs_vix"
    broken: bool = Field(False, description="Whether it cannot be built.")
    leaderless: bool = Field(False, description="Whether it lacks an attribute.")

    def build(self):
        if self.broken:
            raise ImportError("no module named lexicon")

        class Encoder:
            names, known_ahead, groups, leaders, lookback = ("vix",), (False,), ("volatility",), ("VIX",), 0

            def encode(self, facts, leaders, times, known_at):
                return np.full((len(times), 1), float(len(leaders)), dtype=np.float32)

        if self.leaderless:
            del Encoder.leaders
        return Encoder()


class Components:
    @hookimpl
    def register_feeds(self):
        return [Table]

    @hookimpl
    def register_forecasters(self):
        return [Fickle]

    @hookimpl
    def register_ensemblers(self):
        return [Learner]

    @hookimpl
    def register_encoders(self):
        return [NeedsVix]


@pytest.fixture
def plugins():
    plugins = Plugins.installed()
    assert not plugins.add("components", Components()).problem
    Table.calls.clear()
    Fickle.batches.clear()
    Learner.past.clear()
    return plugins


@pytest.fixture
def configure(tmp_path, plugins):
    def make(**changes):
        sections = {
            "feed": "{type: table}",
            "universe": "{" + ", ".join(f"{s}: {{asset_class: crypto}}" for s in SYMBOLS) + "}",
            "horizon": "3",
            "context": "100",
            "forecasters": "[{type: random_walk}, {type: fickle}]",
            "ensembler": "{type: mean}",
            "store": "sqlite:///results.db",
            **changes,
        }
        path = tmp_path / "config.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
        return load(path, plugins)[0]

    return make


def stored(tmp_path: Path):
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        return store.predictions()

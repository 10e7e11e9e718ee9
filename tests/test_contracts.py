"""The built-in components keep the contracts that every plugin has to keep."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from kronosfw.builtin.ensemblers import LinearPool, Mean, Median
from kronosfw.builtin.feeds import CsvFeed, ParquetFeed, SqlFeed
from kronosfw.builtin.forecasters import Bootstrap, Drift, Garch, Har, RandomWalk, SeasonalNaive, StatsForecast
from kronosfw.builtin.notifiers import Command, Log, Webhook
from kronosfw.builtin.policies import Guard, Latest, Rolling
from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.testing import (
    CheckpointPolicyContract,
    EnsemblerContract,
    FeedContract,
    ForecasterContract,
    NotifierContract,
)
from kronosfw.testing.market import random_bars
from tests.listener import listening

SYMBOLS = ("AAA", "BBB", "CCC")


class TestRandomWalk(ForecasterContract):
    @pytest.fixture
    def options(self):
        return RandomWalk()


class TestRandomWalkOnDecayingVolatility(ForecasterContract):
    @pytest.fixture
    def options(self):
        return RandomWalk(decay=0.94, df=5)


class TestSeasonalNaive(ForecasterContract):
    @pytest.fixture
    def options(self):
        return SeasonalNaive()


class TestDrift(ForecasterContract):
    @pytest.fixture
    def options(self):
        return Drift()


class TestBootstrap(ForecasterContract):
    @pytest.fixture
    def options(self):
        return Bootstrap(samples=200, keep_samples=True)


class TestHar(ForecasterContract):
    @pytest.fixture
    def options(self):
        return Har()


@pytest.mark.skipif(importlib.util.find_spec("arch") is None, reason="the extra `garch` is not installed")
class TestGarch(ForecasterContract):
    @pytest.fixture
    def options(self):
        return Garch()


@pytest.mark.skipif(importlib.util.find_spec("statsforecast") is None, reason="the extra is not installed")
class TestStatsForecast(ForecasterContract):
    @pytest.fixture(params=["auto_ets", "auto_arima", "theta"])
    def options(self, request):
        return StatsForecast(model=request.param, context=100)


class TestMean(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return Mean()


class TestMedian(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return Median()


class TestLinearPool(EnsemblerContract):
    rtol = 0.05  # inverted on a grid of levels

    @pytest.fixture
    def options(self):
        return LinearPool()


class TestLatest(CheckpointPolicyContract):
    @pytest.fixture
    def options(self):
        return Latest()


@pytest.mark.skipif(importlib.util.find_spec("arch") is None, reason="the extra `guard` is not installed")
class TestRolling(CheckpointPolicyContract):
    @pytest.fixture
    def options(self):
        return Rolling()


class TestRollingByThePlainRule(CheckpointPolicyContract):
    @pytest.fixture
    def options(self):
        return Rolling(guard=Guard(noninferiority=None, shrinkage=None, canary=None))


class TestLog(NotifierContract):
    @pytest.fixture
    def options(self):
        return Log(on=("promoted",), level="error")


class TestWebhook(NotifierContract):
    @pytest.fixture
    def options(self):
        with listening() as server:
            yield Webhook(url=f"{server.url}/hook", headers={"X-Key": "a key"}, backoff=0)


class TestCommand(NotifierContract):
    @pytest.fixture
    def options(self):
        return Command(run=(sys.executable, "-c", "import json, sys; json.load(sys.stdin)"))


class TestSimulated(FeedContract):
    symbols = ("BTCUSDT", "SPY", "EURUSD")

    @pytest.fixture
    def options(self):
        return SimulatedFeed(start="2022-01-01", end="2024-01-01")


@pytest.fixture
def table():
    """One long table of three symbols."""
    import pandas as pd

    frames = []
    for symbol in SYMBOLS:
        bars = random_bars(symbol, 60)
        frame = pd.DataFrame(np.asarray(bars.values), columns=list(bars.columns))
        frame.insert(0, "symbol", symbol)
        frame.insert(0, "time", pd.DatetimeIndex(bars.times.time).tz_localize("UTC"))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


class TestCsv(FeedContract):
    symbols = SYMBOLS

    @pytest.fixture
    def options(self, tmp_path: Path, table):
        for symbol, rows in table.groupby("symbol"):
            rows.drop(columns="symbol").to_csv(tmp_path / f"{symbol}.csv", index=False)
        return CsvFeed(path=tmp_path / "*.csv")


class TestLongCsv(FeedContract):
    symbols = SYMBOLS

    @pytest.fixture
    def options(self, tmp_path: Path, table):
        table.to_csv(tmp_path / "bars.csv", index=False)
        return CsvFeed(path=tmp_path / "bars.csv")


class TestParquet(FeedContract):
    symbols = SYMBOLS

    @pytest.fixture
    def options(self, tmp_path: Path, table):
        table.to_parquet(tmp_path / "bars.parquet")
        return ParquetFeed(path=tmp_path / "bars.parquet")


class TestSql(FeedContract):
    symbols = SYMBOLS

    @pytest.fixture
    def options(self, tmp_path: Path, table):
        from sqlalchemy import create_engine

        engine = create_engine(f"sqlite:///{tmp_path}/bars.db")
        table.to_sql("bars", engine, index=False)
        engine.dispose()
        return SqlFeed(url=f"sqlite:///{tmp_path}/bars.db")

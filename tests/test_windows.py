"""Nothing known later than the cutoff is in a window, and an encoder that looks ahead is caught."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw.builtin.ensemblers import LinearPool
from kronosfw.builtin.forecasters import Bootstrap, Drift, Har, RandomWalk, SeasonalNaive
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig
from kronosfw.plugins import Plugins
from kronosfw.testing import EncoderContract
from kronosfw.testing.market import SmallMarket, cutoff_at, random_bars
from kronosfw.types import moment
from kronosfw.windows import complete, seed_for

MARKETS = {name: SmallMarket.make(n_symbols=2, n=300, market=name) for name in ("24/7", "XNYS")}
LEVELS = (0.1, 0.5, 0.9)


@dataclass
class Surprise:
    """The last surprise known, the schedule ahead, and a leader's last return."""

    leak: str = ""
    names: tuple[str, ...] = ("surprise", "scheduled", "btc")
    known_ahead: tuple[bool, ...] = (False, True, False)
    groups: tuple[str, ...] = ("surprise", "schedule", "leaders")
    leaders: tuple[str, ...] = ("BTCUSDT",)
    lookback: int = 2
    seen: list[int] = field(default_factory=list)

    def encode(self, facts, leaders, times, known_at):
        encoded = np.full((len(times), 3), np.nan, dtype=np.float32)
        opens, ends = times.time, times.available_at
        told = [f for f in facts if "actual" in f.values]
        released = np.array([self._known(f) for f in told], dtype="datetime64[us]")
        value = np.array([f.values["actual"] - f.values["forecast"] for f in told])
        order = np.argsort(released, kind="stable")
        last = np.searchsorted(released[order], known_at, side="right") - 1
        encoded[last >= 0, 0] = value[order][last[last >= 0]]
        if self.leak == "full-sample scaler" and len(value):
            encoded[:, 0] /= value.std() + 1
        encoded[:, 1] = 0
        for f in facts:
            if "importance" in f.values:
                encoded[(opens <= f.scheduled_at) & (f.scheduled_at < ends) & (f.known_at <= known_at), 1] += 1
        if "BTCUSDT" in leaders:
            bars = leaders["BTCUSDT"]
            returns = np.diff(np.log(bars.close), prepend=np.nan)
            join = bars.times.time if self.leak == "label join" else bars.times.available_at
            row = np.searchsorted(join, known_at, side="left") - 1
            encoded[row >= 0, 2] = returns[row[row >= 0]]
        if self.leak == "back-fill":
            encoded[:-1, 0] = encoded[1:, 0]
        return encoded

    def _known(self, fact):
        return fact.scheduled_at - np.timedelta64(10, "D") if self.leak == "actual early" else fact.known_at


class SurpriseConfig(EncoderConfig):
    """Surprises, schedule and a leader."""

    type: Literal["surprise"] = "surprise"

    def build(self):
        return Surprise()


class EncoderPlugin:
    @hookimpl
    def register_encoders(self):
        return [SurpriseConfig]


class TestSurprise(EncoderContract):
    @pytest.fixture
    def options(self):
        return SurpriseConfig()

    @pytest.fixture
    def plugins(self):
        plugins = Plugins()
        plugins.add("surprise", EncoderPlugin())
        return plugins


@pytest.mark.parametrize("leak", ["label join", "actual early", "full-sample scaler", "back-fill"])
def test_the_contract_catches_an_encoder_that_looks_ahead(leak):
    contract = EncoderContract()
    market = SmallMarket.make(n_symbols=1, n=340, market="XNYS")
    with pytest.raises(AssertionError, match="depends on the future"):
        contract.test_a_row_knows_nothing_later_than_its_bar(Surprise(leak), market)
    contract.test_a_row_knows_nothing_later_than_its_bar(Surprise(), market)


def equal(one, other):
    return (
        one.bars.values.tobytes() == other.bars.values.tobytes()
        and one.bars.times.available_at.tobytes() == other.bars.times.available_at.tobytes()
        and one.future.time.tobytes() == other.future.time.tobytes()
        and one.covariates.values.tobytes() == other.covariates.values.tobytes()
        and one.covariates.mask.tobytes() == other.covariates.mask.tobytes()
        and one.seed == other.seed
    )


@settings(max_examples=60)
@given(
    market=st.sampled_from(list(MARKETS)),
    bar=st.integers(150, 280),
    hours=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_what_happens_after_the_cutoff_changes_no_window_and_no_forecast(market, bar, hours, seed):
    """Bars, facts and leaders not known by the cutoff are changed or removed: everything stays, bit for bit."""
    before = MARKETS[market]
    cutoff = cutoff_at(before.bars["S0"].times, bar) + np.timedelta64(hours, "h")
    after = before.with_another_future(cutoff, seed)
    shape = {"context": 120, "encoders": [Surprise()]}
    windows, others = before.windows(cutoff, **shape), after.windows(cutoff, **shape)
    for window, other in zip(windows, others, strict=True):
        assert equal(window, other)
        assert (window.bars.times.available_at <= cutoff).all()
        assert (window.future.available_at > cutoff).all()
    pool = LinearPool().build()
    dense = pool.member_levels(LEVELS)
    for options in (RandomWalk(), Drift(), SeasonalNaive(), Bootstrap(samples=50), Har()):
        forecaster = options.build()
        one, two = (forecaster.forecast(w, dense) for w in (windows, others))
        assert [f.quantiles.tobytes() for f in one] == [f.quantiles.tobytes() for f in two]
        combined = [pool.combine(w, [f], LEVELS) for w, f in zip(windows, one, strict=True)]
        again = [pool.combine(w, [f], LEVELS) for w, f in zip(others, two, strict=True)]
        assert [f.quantiles.tobytes() for f in combined] == [f.quantiles.tobytes() for f in again]


def test_future_rows_hold_only_what_is_known_ahead():
    market = MARKETS["24/7"]
    (window, _) = market.windows(cutoff_at(market.bars["S0"].times, 200), context=100, encoders=[Surprise()])
    mask, values = window.covariates.mask[100:], window.covariates.values[100:]
    assert mask[:, [0, 2]].all()
    assert (values[:, [0, 2]] == 0).all()
    assert not mask[:, 1].any()


def test_a_bar_is_in_the_window_from_the_moment_it_is_complete():
    bars = random_bars("X", 50, market="XNYS")
    close = bars.times.available_at[20]
    assert len(complete(bars, close)) == 21
    assert len(complete(bars, close - np.timedelta64(1, "us"))) == 20


def test_seeds_belong_to_run_symbol_and_cutoff():
    a = seed_for(0, "BTC", moment("2024-01-01"))
    assert a == seed_for(0, "BTC", moment("2024-01-01")) == 5590400987135661547
    assert len({a, seed_for(1, "BTC", moment("2024-01-01")), seed_for(0, "ETH", moment("2024-01-01"))}) == 3
    assert 0 <= a < 2**63


def test_shorter_windows_keep_the_end():
    market = MARKETS["24/7"]
    (window, _) = market.windows(cutoff_at(market.bars["S0"].times, 200), context=100, encoders=[Surprise()])
    short = window.last(30)
    assert np.array_equal(short.bars.values, window.bars.values[-30:])
    assert np.array_equal(short.covariates.values, window.covariates.values[70:])
    assert window.last(1000) is window


def test_values_cannot_be_changed():
    bars = random_bars("X", 10)
    with pytest.raises(ValueError, match="read-only"):
        bars.values[0, 0] = 1.0

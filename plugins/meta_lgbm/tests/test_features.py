"""The trees see the same when they learn as when they are asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from kronosfw_meta_lgbm.features import names, observed, of_past, recent_losses
from kronosfw_meta_lgbm.meta import MetaLearner
from kronosfw_meta_lgbm.options import MetaLgbm

from kronosfw.builtin.encoders import Macro20
from kronosfw.metrics import pinball
from kronosfw.past import scored
from kronosfw.regimes import regime, volatility_ratios
from kronosfw.rows import as_datetime, prediction_rows
from kronosfw.testing.market import SmallMarket

from .made import START, past

LEVELS = (0.1, 0.5, 0.9)
LATE = np.datetime64("2040-01-01", "us")
OPTIONS = MetaLgbm(least=100, channels=("is_cpi", "days_to_fomc_sin", "vix_level_z", "spy_log_return"))


@pytest.fixture(scope="module")
def market() -> SmallMarket:
    return SmallMarket.make(n_symbols=2, n=420)


def cut(market: SmallMarket, bar: int):
    cutoff = market.bars["S0"].times.available_at[bar]
    encoder = Macro20(btc="BTCUSDT", spy="SPY", dxy="DXY", vix="VIX").build()
    return market.windows(cutoff, context=300, horizon=3, encoders=[encoder])


def forecasts(window, rng):
    for name in ("a", "b", "c"):
        steps = np.sqrt(np.arange(1, 4))[:, None]
        returns = 0.01 * rng.normal() + 0.02 * rng.uniform(0.5, 2) * steps * np.array([-1.28, 0, 1.28])
        yield replace(window.forecast(LEVELS, window.bars.close[-1] * np.exp(returns)), model=name)


def test_a_row_of_the_past_has_the_features_that_its_forecast_had(market):
    rng = np.random.default_rng(0)
    learner = MetaLearner(OPTIONS)
    rows, seen = [], {}
    for bar in range(320, 400, 4):
        for window in cut(market, bar):
            bars = market.bars[window.symbol]
            known = pd.DataFrame(rows) if rows else past(0, members={"a": (1, 1), "b": (1, 1), "c": (1, 1)})
            known = known[pd.to_datetime(known["realised_at"]).to_numpy("datetime64[us]") <= window.cutoff]
            learner.fit(known, window.cutoff)
            members = list(forecasts(window, rng))
            combined = replace(learner.combine(window, members, LEVELS), model="ensemble")
            if learner.learned.members:
                told = [step["features"] for step in combined.steps]
                seen[window.symbol, window.cutoff] = learner.features(window, members, told)
            ratio = float(volatility_ratios(bars.close, np.array([bar]))[0])
            for forecast in [*members, combined]:
                for row in prediction_rows(forecast, window, "1"):
                    target = bar + row["step"]
                    outcome = {
                        "realised": bars.close[target],
                        "realised_at": as_datetime(bars.times.available_at[target]),
                        "event_active": None,
                        "regime": regime(ratio),
                    }
                    rows.append(row | outcome)
    known = scored(pd.DataFrame(rows), "ensemble", LATE)
    features = of_past(known, ("crypto",), OPTIONS)
    assert features.shape == (120, len(names(known.members, OPTIONS.channels)))
    for (symbol, cutoff), then in seen.items():
        mine = (known.symbol == symbol) & (known.as_of == cutoff)
        assert features[mine, :-1] == pytest.approx(then[:, :-1], abs=1e-9, nan_ok=True)
    at = names(known.members, OPTIONS.channels).index
    for name in ("regime", "volatility_ratio", "trend", "is_cpi", "days_to_fomc_sin", "vix_level_z"):
        assert np.isfinite(features[:, at(name)]).any(), name
    assert 0 < np.nanmean(features[:, at("is_cpi")]) < 1


def test_channels_are_those_of_the_target_bar_or_of_the_last_one(market):
    window = cut(market, 340)[0]
    assert window.covariates is not None
    values, column = window.covariates.values, window.covariates.names.index
    steps = observed(window, OPTIONS.channels)
    ahead = values[-3:, column("days_to_fomc_sin")]
    assert [step["days_to_fomc_sin"] for step in steps] == ahead.tolist()
    assert len({step["vix_level_z"] for step in steps}) == 1
    assert steps[0]["vix_level_z"] == values[-4, column("vix_level_z")]


def test_what_is_masked_or_not_there_is_not_remembered(market):
    window = cut(market, 340)[0]
    assert window.covariates is not None
    blind = replace(window, covariates=window.covariates.without(["volatility"]))
    assert "vix_level_z" not in observed(blind, OPTIONS.channels)[0]
    assert "is_cpi" in observed(blind, OPTIONS.channels)[0]
    assert set(observed(replace(window, covariates=None), OPTIONS.channels)[0]) <= {"volatility_ratio", "trend"}
    assert observed(window.last(5), ("no_such",)) == [{}] * 3


def test_recent_losses_are_those_known_at_each_moment():
    frame = past(60, members={"a": (0.2, 1), "b": (1, 1), "c": (1, 2)}, classes=("crypto", "equity"), seed=3)
    gone = (frame["model_name"] == "b") & (frame["as_of"] < frame["as_of"].min() + pd.Timedelta(days=20))
    known = scored(frame[~gone], "ensemble", LATE)
    found = recent_losses(known, known.asset_class, known.as_of, 15)
    quantiles, outcome = known.scaled
    loss = pinball(outcome[:, None], quantiles, known.levels).mean(axis=2)
    for row in range(0, len(known), 7):
        by_then = (known.realised_at <= known.as_of[row]) & (known.asset_class == known.asset_class[row])
        lately = by_then & (known.realised_at > known.as_of[row] - np.timedelta64(15, "D"))
        if not lately.any():
            assert np.isnan(found[row]).all()
            continue
        there = np.isfinite(loss[lately]).any(axis=0)
        mean = np.array([np.nanmean(loss[lately, k]) if there[k] else np.nan for k in range(3)])
        assert found[row] == pytest.approx(mean / np.nanmean(mean) - 1, nan_ok=True)


def test_recent_losses_do_not_know_what_comes_later():
    frame = past(40, members={"a": (0.2, 1), "b": (1, 1)}, seed=4)
    later = frame["realised_at"] > pd.Timestamp(START + np.timedelta64(20, "D"), tz="UTC")
    changed = frame.assign(realised=np.where(later, 50.0, frame["realised"]))
    one, other = (scored(f, "ensemble", LATE) for f in (frame, changed))
    early = one.as_of <= START + np.timedelta64(20, "D")
    found = [recent_losses(p, p.asset_class, p.as_of, 15)[early] for p in (one, other)]
    assert np.array_equal(*found, equal_nan=True)

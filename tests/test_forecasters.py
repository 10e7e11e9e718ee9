"""The built-in forecasters: what all of them keep, then what each computes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from kronosfw.builtin.forecasters import Bootstrap, Drift, Garch, Har, RandomWalk, SeasonalNaive, StatsForecast
from kronosfw.builtin.forecasters.bootstrap import ewma_volatility, rescaled
from kronosfw.builtin.forecasters.common import unit_quantiles
from kronosfw.builtin.forecasters.har import range_variance, regress, volatility
from kronosfw.builtin.forecasters.seasonal_naive import season
from kronosfw.errors import ConfigError
from kronosfw.interfaces import ForecasterConfig
from kronosfw.types import Forecast, Window

from .windows_for_tests import daily, intraday, walk, window

LEVELS = (0.1, 0.5, 0.9)
PLAIN = (
    RandomWalk(),
    RandomWalk(decay=0.94, df=5),
    SeasonalNaive(),
    Drift(),
    Bootstrap(keep_samples=True),
    Bootstrap(block=5, rescale=False),
    Har(),
)
FITTED = (Garch(), *(StatsForecast(model=m) for m in ("auto_ets", "auto_arima", "theta")))
every = pytest.mark.parametrize("options", PLAIN + FITTED, ids=lambda o: f"{o.type}-{getattr(o, 'model', '')}")
plain = pytest.mark.parametrize("options", PLAIN, ids=lambda o: o.type)


def forecast(options: ForecasterConfig, one: Window, levels: tuple[float, ...] = LEVELS) -> Forecast:
    return options.build().forecast([one], levels)[0]


def same(a: Forecast, b: Forecast) -> bool:
    samples = (a.samples is None and b.samples is None) or np.array_equal(a.samples, b.samples)
    return a.symbol == b.symbol and samples and np.array_equal(a.quantiles, b.quantiles)


# What all of them keep


@every
def test_envelope_has_the_windows_shape_and_surrounds_the_last_close(options):
    one = window(walk(300))
    result = forecast(options, one, (0.025, 0.1, 0.5, 0.9, 0.975))
    assert result.quantiles.shape == (5, 1, 5)
    assert (result.symbol, result.columns, result.cutoff) == ("X", ("close",), one.cutoff)
    assert np.array_equal(result.time, one.future.time)
    quantiles = result.quantiles[:, 0]
    assert (np.diff(quantiles, axis=1) > 0).all()
    assert (quantiles > 0).all()
    assert (quantiles[:, 0] < one.bars.close[-1]).all()
    assert (quantiles[:, -1] > one.bars.close[-1]).all()


@every
def test_a_forecast_depends_on_its_window_alone(options):
    windows = [window(walk(n, seed=n), seed=n, symbol=str(n)) for n in (120, 300, 121)]
    forecaster = options.build()
    together = forecaster.forecast(windows, LEVELS)
    backwards = forecaster.forecast(windows[::-1], LEVELS)[::-1]
    alone = [forecast(options, one) for one in windows]
    assert all(map(same, together, alone))
    assert all(map(same, backwards, alone))
    assert not np.array_equal(together[0].quantiles, together[2].quantiles)


@every
def test_inputs_stay_as_they_are(options):
    values = walk(300)
    one = window(values)
    forecast(options, one)
    assert np.array_equal(one.bars.values, values)


@every
def test_a_short_history_is_refused(options):
    with pytest.raises(ValueError, match=r"\d+ bars of history are needed, there are 2"):
        forecast(options, window([100, 101]))
    with pytest.raises(ValueError, match="there are 0"):
        forecast(options, window(np.empty((0, 4))))


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_a_price_that_is_none_is_refused_with_its_place(options, bad):
    values = walk(300)
    values[-4, 3] = bad
    with pytest.raises(ValueError, match=rf"the close of 2021-02-23T00.* is {bad}, not a positive number"):
        forecast(options, window(values))


@pytest.mark.parametrize("options", [*PLAIN, *FITTED[1:]], ids=lambda o: o.type)
def test_a_history_that_never_moves_gives_its_last_price(options):
    quantiles = forecast(options, window(np.full(300, 250.0))).quantiles
    assert quantiles == pytest.approx(np.full((5, 1, 3), 250.0), rel=1e-6)


@pytest.mark.parametrize("options", FITTED[1:], ids=lambda o: o.model)
@pytest.mark.parametrize("factor", [1e-6, 7.0, 1e6])
def test_the_unit_of_the_price_does_not_matter_to_a_model_of_statsforecast(options, factor):
    values = walk(150, seed=3)
    one, other = forecast(options, window(values)), forecast(options, window(values * factor))
    assert other.quantiles == pytest.approx(one.quantiles * factor, rel=1e-5)


@plain
@given(factor=st.sampled_from([1e-6, 0.3, 7.0, 1e6]), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_the_price_does_not_matter(options, factor, seed):
    values = walk(150, seed=seed)
    one, other = forecast(options, window(values)), forecast(options, window(values * factor))
    assert other.quantiles == pytest.approx(one.quantiles * factor, rel=1e-6)


@plain
@given(
    steps=st.lists(st.sampled_from([0.0, 0.0, 1e-9, -0.02, 0.05, -1.5]), min_size=100, max_size=130),
    reach=st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=15, deadline=None)
def test_odd_histories_give_finite_ordered_envelopes(options, steps, reach):
    close = 100 * np.exp(np.cumsum(np.array(steps) - np.mean(steps)))
    values = np.column_stack([close, close * (1 + reach), close / (1 + reach), close])
    quantiles = forecast(options, window(values)).quantiles
    assert np.isfinite(quantiles).all()
    assert (quantiles > 0).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize(
    "options",
    [RandomWalk(window=150), RandomWalk(decay=0.99), Drift(), Bootstrap(), Bootstrap(rescale=False), Har(df=500)],
    ids=["flat", "ewma", "drift", "bootstrap", "history", "har"],
)
def test_eighty_percent_envelopes_of_a_gaussian_walk_hold_eighty_percent(options):
    n, horizon = 900, 5
    windows, outcomes = [], []
    for seed in range(n):
        values = walk(200 + horizon, seed=seed)
        windows.append(window(values[:200], seed=seed, symbol=str(seed)))
        outcomes.append(values[200:, 3])
    results = options.build().forecast(windows, LEVELS)
    quantiles = np.stack([result.at(LEVELS) for result in results])
    y = np.array(outcomes)
    inside = ((quantiles[..., 0] <= y) & (y <= quantiles[..., 2])).mean(axis=0)
    assert inside[[0, 4]] == pytest.approx([0.8, 0.8], abs=0.04)
    assert (y < quantiles[..., 1]).mean() == pytest.approx(0.5, abs=0.04)


def test_options_load_without_the_numeric_packages():
    code = (
        "import sys, kronosfw.builtin.forecasters, kronosfw.builtin.ensemblers\n"
        "print(sorted({'numpy', 'pandas', 'scipy', 'arch', 'statsforecast'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(("options", "package"), [(Garch(), "arch"), (StatsForecast(), "statsforecast")])
def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch, options, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = (
        rf"the {options.type} forecaster needs the package {package}: pip install 'kronosfw\[{options.type}\]'"
    )
    with pytest.raises(ConfigError, match=message):
        options.build()


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (RandomWalk, {"decay": 1.0}),
        (RandomWalk, {"df": 2.0}),
        (RandomWalk, {"window": 1}),
        (SeasonalNaive, {"season": 0}),
        (Bootstrap, {"samples": 1}),
        (Bootstrap, {"block": 0}),
        (Har, {"df": 2}),
        (StatsForecast, {"model": "prophet"}),
    ],
)
def test_options_out_of_range_are_refused(cls, options):
    with pytest.raises(ValidationError):
        cls(**options)


# The shape of an envelope


def test_unit_quantiles_are_normal_at_every_step_unless_degrees_of_freedom_are_given():
    assert unit_quantiles(LEVELS, 3) == pytest.approx(np.tile(stats.norm.ppf(LEVELS), (3, 1)))


def test_unit_quantiles_of_t_have_the_kurtosis_of_a_sum():
    for step, row in enumerate(unit_quantiles(LEVELS, 20, 6), 1):
        nu = 4 + 2 * step
        assert row == pytest.approx(stats.t(nu, scale=np.sqrt((nu - 2) / nu)).ppf(LEVELS))
        assert stats.t(nu).stats("k") == pytest.approx(stats.t(6).stats("k") / step)


@pytest.mark.parametrize("options", [Har(), Garch(), RandomWalk(df=5)], ids=lambda o: o.type)
def test_an_envelope_of_t_comes_closer_to_normal_with_each_step(options):
    quantiles = forecast(options, window(walk(400)), (0.5, 0.9, 0.99)).quantiles[:, 0]
    middle, shoulder, tail = np.log(quantiles / quantiles[:, [0]]).T
    normal = stats.norm.ppf(0.99) / stats.norm.ppf(0.9)
    assert not middle.any()
    assert (np.diff(tail / shoulder) < 0).all()
    assert (tail / shoulder > normal).all()


@pytest.mark.parametrize("df", [3, 4, 5, 8, 30])
def test_sums_of_t_are_covered_at_every_step(df):
    draws = np.random.default_rng(1).standard_t(df, size=(100_000, 20)) * np.sqrt((df - 2) / df)
    sums = draws.cumsum(axis=1) / np.sqrt(np.arange(1, 21))
    low, high = unit_quantiles((0.1, 0.9), 20, df).T
    assert ((low <= sums) & (sums <= high)).mean(axis=0) == pytest.approx(np.full(20, 0.8), abs=0.02)


# Random walk


def test_random_walk_is_volatility_times_the_root_of_the_step():
    close = walk(60)[:, 3]
    result = forecast(RandomWalk(window=20), window(close), (0.1, 0.5, 0.975))
    sigma = np.sqrt(np.mean(np.diff(np.log(close[-21:])) ** 2))
    expected = [
        [close[-1] * np.exp(sigma * np.sqrt(h) * stats.norm.ppf(p)) for p in (0.1, 0.5, 0.975)] for h in range(1, 6)
    ]
    assert result.quantiles[:, 0] == pytest.approx(np.array(expected), rel=1e-12)


def test_random_walk_with_decay_weights_squared_returns_by_age_and_scales_t_to_unit_variance():
    close = walk(80)[:, 3]
    result = forecast(RandomWalk(decay=0.9, df=5), window(close), (0.1,))
    returns = np.diff(np.log(close))
    weights = [0.9**age for age in range(len(returns))]
    sigma = np.sqrt(sum(w * r**2 for w, r in zip(weights, returns[::-1], strict=True)) / sum(weights))
    expected = close[-1] * np.exp(sigma * stats.t(5, scale=np.sqrt(3 / 5)).ppf(0.1))
    assert result.quantiles[0, 0, 0] == pytest.approx(expected, rel=1e-12)


def test_random_walk_reads_only_its_window():
    close = walk(60)[:, 3]
    clean = forecast(RandomWalk(), window(close))
    close[:-21] = np.nan
    assert same(clean, forecast(RandomWalk(), window(close)))
    assert RandomWalk().build().max_context == 21
    close[-21] = np.nan
    with pytest.raises(ValueError, match="not a positive number"):
        forecast(RandomWalk(), window(close))


# Seasonal naive and drift


def test_seasonal_naive_repeats_the_season_and_widens_with_each():
    close = walk(40)[:, 3]
    result = forecast(SeasonalNaive(season=3), window(close, horizon=7), (0.1, 0.5))
    assert result.quantiles[:, 0, 1] == pytest.approx(close[[-3, -2, -1, -3, -2, -1, -3]])
    logs = np.log(close)
    sigma = np.sqrt(np.mean((logs[3:] - logs[:-3]) ** 2))
    below = np.log(result.quantiles[:, 0, 0] / result.quantiles[:, 0, 1]) / stats.norm.ppf(0.1)
    assert below == pytest.approx(sigma * np.sqrt([1, 1, 1, 2, 2, 2, 3]))


def test_a_season_is_counted_in_the_history():
    closes = np.full(400, 100.0)
    assert season(window(closes)) == 5
    assert season(window(closes, times=daily(405, weekends=True))) == 7
    around_the_clock = intraday(405, minutes=60, a_session=24)
    assert season(window(closes, times=around_the_clock, freq="1h")) == 24
    exchange = intraday(405, minutes=5, a_session=78)
    assert season(window(closes, times=exchange, freq="5min")) == 78
    with pytest.raises(ValueError, match="156 bars of history are needed, there are 150"):
        forecast(SeasonalNaive(), window(closes[:150], times=exchange[70:225], freq="5min"))


@pytest.mark.parametrize(
    ("minutes", "a_session", "bars", "enough"), [(1, 1440, 400, 2881), (5, 288, 400, 577), (60, 7, 14, 49)]
)
def test_parts_of_sessions_are_no_season(minutes, a_session, bars, enough):
    times = intraday(2 * enough, minutes=minutes, a_session=a_session)
    middle = max(a_session - bars // 2, 0)
    few = window(np.full(bars, 100.0), times=times[middle : middle + bars + 5], freq=f"{minutes}min")
    message = (
        rf"the {bars} bars of history hold no full session .* `context` of at least {enough} bars, or a `season`"
    )
    with pytest.raises(ValueError, match=message):
        forecast(SeasonalNaive(), few)
    for start in range(0, a_session, max(a_session // 5, 1)):
        many = window(np.full(enough, 100.0), times=times[start : start + enough + 5], freq=f"{minutes}min")
        assert season(many) == a_session
        forecast(SeasonalNaive(), many)
    forecast(SeasonalNaive(season=7), few)


def test_one_saturday_session_makes_no_six_day_week():
    times = daily(105, weekends=True)
    weekdays = np.arange(105) % 7 < 5
    weekdays[5] = True
    times = times[weekdays]
    assert season(window(np.full(len(times) - 5, 1.0), times=times)) == 5


def test_drift_continues_the_line_with_the_variance_of_its_slope():
    close = walk(50)[:, 3]
    result = forecast(Drift(), window(close), (0.1, 0.5))
    y = np.log(close)
    h = np.arange(1, 6)
    slope = (y[-1] - y[0]) / 49
    residuals = y[1:] - y[:-1] - slope
    sigma = np.sqrt(np.sum(residuals**2) / (49 - 1) * h * (1 + h / 49))
    assert np.log(result.quantiles[:, 0, 1]) == pytest.approx(y[-1] + slope * h)
    assert np.log(result.quantiles[:, 0, 0]) == pytest.approx(y[-1] + slope * h + sigma * stats.norm.ppf(0.1))


# Bootstrap


def test_bootstrap_keeps_paths_only_if_asked_and_its_quantiles_are_theirs():
    one = window(walk(200))
    assert forecast(Bootstrap(), one).samples is None
    result = forecast(Bootstrap(samples=99, keep_samples=True), one)
    assert result.samples.shape == (99, 5, 1)
    ordered = np.sort(result.samples[:, :, 0], axis=0)
    assert result.quantiles[:, 0] == pytest.approx(ordered[[9, 49, 89]].T)  # i/(99 + 1) = 0.1, 0.5, 0.9


def test_bootstrap_draws_from_the_windows_seed():
    values = walk(200)
    one, again, other = (forecast(Bootstrap(), window(values, seed=seed)) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("rescale", [True, False])
def test_bootstrap_blocks_are_runs_of_the_centred_history(rescale):
    close = walk(60)[:, 3]
    returns = np.diff(np.log(close))
    if rescale:
        known = ewma_volatility(returns, 0.94)
        returns = returns / known[:-1] * known[-1]
    returns -= returns.mean()
    options = Bootstrap(samples=500, block=3, rescale=rescale, keep_samples=True)
    paths = forecast(options, window(close)).samples[:, :, 0]
    drawn = np.diff(np.log(np.column_stack([np.full(500, close[-1]), paths])), axis=1)
    rows = np.abs(drawn[:, :, None] - returns).argmin(axis=2)
    assert drawn == pytest.approx(returns[rows], abs=1e-9)
    assert (np.diff(rows[:, :3], axis=1) == 1).all()
    assert (np.diff(rows[:, 3:], axis=1) == 1).all()
    assert (rows[:, 3] != rows[:, 2] + 1).any()
    assert set(rows[:, 0]) == set(range(57)), "every block of three among 59 returns is drawn"


def test_bootstrap_rescales_to_the_present_volatility():
    sigma = np.where(np.arange(500) < 400, 0.03, 0.01)
    one = window(walk(500, sigma=sigma))
    spread = {
        rescale: np.log(np.divide(*forecast(Bootstrap(rescale=rescale), one).quantiles[0, 0, [2, 0]])) / 2.563
        for rescale in (True, False)
    }
    assert 0.007 < spread[True] < 0.014
    assert spread[False] > 0.02


def quiet_stretch(*lengths: int) -> np.ndarray:
    """Closes that move by 1 % a bar and stand still in turn, ``[sum + 1]``."""
    parts = [
        np.random.default_rng(i).normal(scale=0.01, size=n) if i % 2 == 0 else np.zeros(n)
        for i, n in enumerate(lengths)
    ]
    return 100 * np.exp(np.cumsum(np.concatenate([[0.0], *parts])))


@pytest.mark.parametrize(
    "lengths", [(0, 300, 600), (100, 800, 100), (0, 800, 200), (0, 150, 250), (125, 150, 125)], ids=str
)
def test_bootstrap_bears_a_quiet_stretch(lengths):
    close = quiet_stretch(*lengths)
    low, middle, high = np.log(forecast(Bootstrap(), window(close)).quantiles[:, 0] / close[-1]).T
    spread = 0.01 * np.sqrt(np.arange(1, 6)) * 2.563
    assert (np.abs(middle) < 0.05 * spread).all()
    assert (high - low < 1.5 * spread).all()
    moving = np.sqrt(np.mean(np.diff(close) != 0))
    assert high[-1] - low[-1] > 0.7 * moving * spread[-1]


def test_bootstrap_after_a_quiet_stretch_does_not_forget_that_prices_move():
    close = quiet_stretch(250, 150)
    low, _, high = np.log(forecast(Bootstrap(), window(close)).quantiles[0, 0] / close[-1])
    assert 0.05 < (high - low) / (0.01 * 2.563) < 0.15


@pytest.mark.parametrize("last", [(), (0.01, -0.01)], ids=["quiet", "busy"])
def test_bootstrap_bears_a_price_that_seldom_moves(last):
    returns = np.zeros(1000)
    returns[::300] = 0.02
    returns[1000 - len(last) :] = last
    close = 100 * np.exp(np.cumsum(returns))
    result = forecast(Bootstrap(), window(close), (0.01, 0.1, 0.5, 0.9, 0.99))
    lowest, low, middle, high, highest = np.abs(np.log(result.quantiles[-1, 0] / close[-1]))
    assert max(low, middle, high) < 0.001
    assert max(lowest, highest) < 0.05


def test_rescaling_leaves_ordinary_returns_alone_and_bounds_the_rest():
    returns = np.diff(np.log(walk(500)[:, 3]))
    volatility = ewma_volatility(returns, 0.94)
    assert rescaled(returns, 0.94) == pytest.approx(returns / volatility[:-1] * volatility[-1])
    returns[200:400], returns[400] = 0, 0.5
    after = rescaled(returns, 0.94)
    assert after[400] == pytest.approx(10 * ewma_volatility(returns, 0.94)[-1])
    assert np.abs(after).max() == after[400]
    assert not rescaled(np.zeros(30), 0.94).any()


def test_ewma_volatility_is_the_recursion():
    returns = np.random.default_rng(3).normal(size=30)
    variance = [np.mean(returns**2)]
    for r in returns:
        variance.append(0.9 * variance[-1] + 0.1 * r**2)
    assert ewma_volatility(returns, 0.9) == pytest.approx(np.sqrt(variance))


# HAR


def test_range_variance_is_garman_klass_plus_the_opening_jump():
    logs = np.log([[100, 100, 100, 100], [102, 107, 99, 104], [104, 104, 104, 104]])
    jump, reach, body = np.log(102 / 100), np.log(107 / 99), np.log(104 / 102)
    expected = jump**2 + reach**2 / 2 - (2 * np.log(2) - 1) * body**2
    assert range_variance(logs) == pytest.approx([expected, 0.0])


def test_har_finds_the_volatility_of_a_random_walk():
    estimates = [volatility(np.log(walk(1000, seed=seed)), 5) for seed in range(20)]
    assert np.mean(estimates, axis=0) == pytest.approx(0.01 * np.sqrt(np.arange(1, 6)), rel=0.04)
    assert np.std(estimates, axis=0)[0] < 0.001


def test_har_follows_volatility_that_clusters():
    rng = np.random.default_rng(5)
    level = np.zeros(2000)
    for t in range(1, 2000):
        level[t] = 0.98 * level[t - 1] + rng.normal(scale=0.12)
    sigma = 0.01 * np.exp(level)
    logs = np.log(walk(2000, seed=9, sigma=sigma))
    ends = np.arange(1100, 2000, 30)
    guesses = [volatility(logs[end - 1000 : end], 1)[0] for end in ends]
    assert np.corrcoef(np.log(guesses), np.log(sigma[ends]))[0, 1] > 0.85
    assert np.mean(np.log(guesses / sigma[ends])) == pytest.approx(0, abs=0.15)


def test_har_predicts_nothing_beyond_what_it_has_seen():
    x = np.array([2.0, 3, 5, 8, 9, -50])
    features = np.column_stack([np.ones(6), x])
    assert regress(features, x[:4]) == pytest.approx([2, 3, 5, 8, 8, 2])


def test_har_variance_of_a_sum_never_falls():
    estimates = np.array([volatility(np.log(walk(200, seed=seed)), 20) for seed in range(30)])
    assert (np.diff(estimates, axis=1) >= 0).all()
    assert (estimates > 0).all()


def test_har_bears_bars_without_a_range():
    values = walk(400)
    values[::3] = values[::3, [3]]
    sigma = volatility(np.log(values), 5)
    assert sigma == pytest.approx(0.01 * np.sqrt(np.arange(1, 6)), rel=0.25)


def test_har_needs_its_columns():
    with pytest.raises(ValueError, match="the bars lack high, low, open"):
        forecast(Har(), window(walk(300)[:, [3]], columns=["close"]))


# GARCH


def garch_returns(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    variance, returns = 1e-4, np.zeros(n)
    for t, z in enumerate(rng.standard_t(6, size=n) * np.sqrt(4 / 6)):
        returns[t] = np.sqrt(variance) * z
        variance = 2e-6 + (0.03 + 0.1 * (z < 0)) * returns[t] ** 2 + 0.9 * variance
    return returns


def test_garch_covers_and_reacts_to_falls_more_than_to_rises():
    returns = garch_returns(1500, 1)
    width = []
    for last in (-0.05, 0.05):
        close = 100 * np.exp(np.cumsum(np.append(returns, last)))
        quantiles = np.log(forecast(Garch(), window(close)).quantiles[:, 0] / close[-1])
        assert quantiles[:, 1] == pytest.approx(np.zeros(5), abs=1e-12)
        width.append(quantiles[:, 2] - quantiles[:, 0])
    after_fall, after_rise = width
    assert after_fall[0] > 1.3 * after_rise[0]
    assert (np.diff(after_fall / after_rise) < 0).all(), (
        "variance returns to its mean, whatever the last return was"
    )


def test_garch_coverage():
    inside = []
    for seed in range(12):
        returns = garch_returns(1030, seed)
        close = 100 * np.exp(np.cumsum(returns))
        for end in range(1000, 1030, 5):
            quantiles = forecast(Garch(), window(close[end - 600 : end], horizon=1)).at(LEVELS)[0]
            inside.append(quantiles[0] <= close[end] <= quantiles[2])
    assert np.mean(inside) == pytest.approx(0.8, abs=0.1)


def test_garch_centres_on_the_fitted_mean_if_asked():
    close = 100 * np.exp(np.cumsum(garch_returns(800, 2) + 0.002))
    middle = np.log(forecast(Garch(drift=True), window(close)).quantiles[:, 0, 1] / close[-1])
    assert middle / np.arange(1, 6) == pytest.approx(np.full(5, middle[0]))
    assert middle[0] == pytest.approx(0.002, abs=0.001)


@pytest.mark.parametrize(
    "close",
    [np.full(300, 5.0), 1.001 ** np.arange(300), np.append(np.full(300, 5.0), 6.0)],
    ids=["flat", "trend", "jump"],
)
def test_garch_refuses_returns_without_volatility(close):
    with pytest.raises(ValueError, match="half of the returns or more are equal"):
        forecast(Garch(), window(close))


def test_a_fit_that_does_not_converge_is_refused(monkeypatch):
    base = pytest.importorskip("arch.univariate.base")
    forecaster = Garch().build()
    with monkeypatch.context() as patch:
        patch.setattr(base.ARCHModel, "fit", partialmethod(base.ARCHModel.fit, options={"maxiter": 1}))
        with pytest.raises(ValueError, match="the GARCH fit did not converge"):
            forecaster.forecast([window(walk(300))], LEVELS)
    assert same(forecaster.forecast([window(walk(300))], LEVELS)[0], forecast(Garch(), window(walk(300))))


def test_contexts_of_the_volatility_models_are_their_own():
    assert (Har().context, Garch().context, RandomWalk().context) == (1000, 1500, None)


# statsforecast


def test_auto_arima_on_a_random_walk_is_the_random_walk():
    close = walk(400, seed=4)[:, 3]
    levels = (0.025, 0.1, 0.5, 0.9, 0.975)
    logs = np.log(forecast(StatsForecast(model="auto_arima"), window(close), levels).quantiles[:, 0] / close[-1])
    sigma = np.diff(np.log(close)).std()
    assert logs[:, 2] == pytest.approx(np.zeros(5), abs=2 * sigma)
    width = logs - logs[:, [2]]
    assert width == pytest.approx(
        sigma * np.sqrt(np.arange(1, 6))[:, None] * stats.norm.ppf(levels), rel=0.1, abs=1e-9
    )


@pytest.mark.parametrize("model", ["auto_ets", "auto_arima", "theta"])
def test_a_quantile_does_not_depend_on_the_others_asked_for(model):
    one = window(walk(120))
    many = forecast(StatsForecast(model=model), one, (0.025, 0.1, 0.5, 0.9))
    for level in many.levels:
        assert np.array_equal(forecast(StatsForecast(model=model), one, (level,)).at([level]), many.at([level]))


# The bar to beat


@pytest.mark.data
def test_baselines_reproduce_the_known_scores():
    folder = Path(__file__).parents[1] / "../shared/data"
    if not folder.is_dir():
        pytest.skip("the real bars are not here")
    path = Path(__file__).parents[1] / "benchmarks" / "baselines.py"
    spec = importlib.util.spec_from_file_location("baselines", path)
    baselines = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(baselines)
    series = [baselines.Series(folder, name) for name in baselines.SERIES]
    known = {RandomWalk(): (0.662, 0.801), RandomWalk(decay=0.94, df=5): (0.658, 0.789), Har(): (0.650, 0.809)}
    for options, (score, coverage) in known.items():
        losses, inside, _ = baselines.evaluate(options, series)
        assert losses.mean() == pytest.approx(score, abs=0.001)
        assert inside == pytest.approx(coverage, abs=0.005)

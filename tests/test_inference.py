"""Intervals and tests against closed forms, other implementations and the rates they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kronosfw import inference, resampling
from kronosfw.errors import ConfigError
from kronosfw.inference import Bootstrap, by_day, confidence_set, diebold_mariano, ratio

pytest.importorskip("arch", reason="the extra `guard` is not installed")


def moving_averages(days, overlap, seed, series=1):
    """Return daily values of forecasts that overlap, with mean 0."""
    noise = np.random.default_rng(seed).normal(size=(days + overlap - 1, series))
    return np.stack([noise[day : day + overlap].mean(axis=0) for day in range(days)])


def test_draws_are_in_blocks_and_add_up():
    weights = resampling.day_weights(50, 5, 300, 0)
    assert weights.shape == (300, 50)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (weights == resampling.day_weights(50, 5, 300, 0)).all()
    assert (weights != resampling.day_weights(50, 5, 300, 1)).any()
    together = [np.corrcoef(resampling.day_weights(200, b, 2000, 0)[:, [10, 11]].T)[0, 1] for b in (1, 10)]
    assert abs(together[0]) < 0.1
    assert together[1] > 0.7


def test_a_block_is_as_long_as_forecasts_overlap_or_values_hang_together():
    noise = np.random.default_rng(0).normal(size=(200, 9))
    assert resampling.block_length(noise, 1) <= 2
    assert resampling.block_length(noise, 21) == 21
    assert resampling.block_length(noise[:40], 21) == 10, "a quarter of the days"
    assert resampling.block_length(noise.cumsum(axis=0), 1) > 10
    assert resampling.block_length(np.zeros((200, 2)), 3) == 3
    assert resampling.block_length(np.full((200, 2), np.nan), 1) == 1
    assert resampling.block_length(noise[:1], 5) == 1


def test_without_arch_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr("kronosfw.resampling.find_spec", lambda name: None)
    resampling._counts.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[guard\]'"):
        resampling.day_weights(20, 2, 10, 0)
    with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[guard\]'"):
        confidence_set(np.random.default_rng(0).normal(size=(20, 2)), 2, 10, 0)


@given(st.integers(2, 40), st.integers(0, 99))
def test_days_make_up_the_ratio(days, seed):
    rng = np.random.default_rng(seed)
    totals = rng.integers(1, 9, (days, 1)).astype(float)
    sums = rng.normal(size=(days, 2)) * totals
    assert by_day(sums, totals).mean(axis=0) == pytest.approx(ratio(sums, totals))
    alike = np.full((days, 1), 3.0)
    assert by_day(sums, alike) == pytest.approx(sums / 3)


def test_interval_counts_predictions_rather_than_days():
    """One day in ten has a hundred times the rows of the others, and their mean."""
    totals = np.where(np.arange(100) % 10 == 0, 100.0, 1.0)[:, None]
    sums = totals * np.where(totals > 1, 1.0, 5.0)
    low, high = Bootstrap.of(sums / totals, 1, 2000, 0).interval(sums, totals)[:, 0]
    assert low < ratio(sums, totals)[0] < high
    assert high < 2 < (sums / totals).mean()


@pytest.mark.parametrize(("days", "overlap", "least"), [(60, 1, 0.92), (250, 5, 0.90), (60, 5, 0.82)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(days, overlap, least):
    held = []
    for seed in range(60):
        sums = moving_averages(days, overlap, seed, series=6)
        low, high = Bootstrap.of(sums, overlap, 400, 0).interval(sums, np.ones((days, 1)))
        held.append(np.mean((low <= 0) & (high >= 0)))
    assert least <= np.mean(held) <= 0.99


def test_interval_is_near_that_of_the_normal_where_days_are_independent():
    values = np.random.default_rng(5).normal(size=(400, 1))
    low, high = Bootstrap(1, resampling.day_weights(400, 1, 5000, 0)).interval(values, np.ones((400, 1)))[:, 0]
    expected = stats.norm.interval(0.95, values.mean(), values.std() / 20)
    assert (low, high) == pytest.approx(expected, abs=0.01)


def test_what_one_day_tells_has_no_ends():
    one = Bootstrap.of(np.ones((1, 2)), 1, 50, 0)
    assert np.isnan(one.interval(np.ones((1, 2)), np.ones((1, 1)))).all()
    bootstrap = Bootstrap.of(np.random.default_rng(0).normal(size=(30, 1)), 1, 200, 0)
    totals = np.zeros((30, 3))
    totals[4, 0] = totals[4, 1] = totals[9, 1] = 1
    ends = bootstrap.interval(0.5 * totals, totals)
    assert np.isnan(ends[:, [0, 2]]).all(), "one day that holds anything, and none"
    assert ends[:, 1] == pytest.approx([0.5, 0.5])
    assert np.isnan(ratio(totals, totals)[2])


def test_diebold_mariano_of_one_step_is_the_t_test():
    daily = np.random.default_rng(0).normal(0.1, 1, 50)
    expected = stats.ttest_1samp(daily, 0)
    assert diebold_mariano(daily) == pytest.approx((expected.statistic, expected.pvalue))


def test_diebold_mariano_by_hand():
    """T = 4, h = 2: mean 1, γ₀ = 1.5, γ₁ = (−1·0 + 0·2 + 2·−1)/4; Harvey's factor (4 + 1 − 4 + 2/4)/4."""
    daily = np.array([0.0, 1.0, 3.0, 0.0])
    variance = 1.5 + 2 * -0.5
    statistic, p_value = diebold_mariano(daily, 2)
    assert statistic == pytest.approx(1 / np.sqrt(variance / 4) * np.sqrt(1.5 / 4))
    assert p_value == pytest.approx(2 * stats.t.sf(statistic, 3))


def test_diebold_mariano_errs_no_more_often_than_it_says():
    for overlap in (1, 5):
        p_values = [diebold_mariano(moving_averages(120, overlap, seed)[:, 0], overlap)[1] for seed in range(300)]
        assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.11
    ignoring = [diebold_mariano(moving_averages(120, 5, seed)[:, 0])[1] for seed in range(300)]
    assert np.mean(np.array(ignoring) < 0.05) > 0.25


def test_diebold_mariano_where_covariances_do_not_add_up_to_anything():
    """Differences that swing from day to day: γ₀ + 2 γ₁ is negative, Bartlett's weights make it γ₀ + γ₁."""
    daily = np.tile([1.0, -1.0], 10) + np.linspace(0, 0.2, 20)
    apart = daily - daily.mean()
    assert apart @ apart + 2 * apart[1:] @ apart[:-1] < 0
    variance = (apart @ apart + apart[1:] @ apart[:-1]) / 20
    corrected = (20 + 1 - 4 + 2 / 20) / 20
    assert diebold_mariano(daily, 2)[0] == pytest.approx(daily.mean() / np.sqrt(variance / 20) * np.sqrt(corrected))


@pytest.mark.parametrize(
    ("daily", "expected"),
    [
        ([0.0] * 9, (0.0, 1.0)),
        ([0.1] * 9, (np.inf, 0.0)),
        ([-0.1] * 9, (-np.inf, 0.0)),
        ([0.3], (np.nan, np.nan)),
        ([], (np.nan, np.nan)),
        ([0.1, np.nan, 0.2], (np.nan, np.nan)),
        ([0.1, 0.3, 0.2], (np.nan, np.nan)),
    ],
)
def test_diebold_mariano_of_what_has_no_answer(daily, expected):
    overlap = 3 if len(daily) == 3 else 1
    assert diebold_mariano(np.array(daily), overlap) == pytest.approx(expected, nan_ok=True)


def daily_losses(*means, days=120, seed=0):
    rng = np.random.default_rng(seed)
    market = rng.gamma(4, 0.25, (days, 1))
    return market * (np.array(means) + 0.1 * rng.normal(size=(days, len(means))))


def test_confidence_set_leaves_out_what_is_worse():
    assert confidence_set(daily_losses(1.0, 1.0, 1.2), 2, 500, 0).tolist() == [True, True, False]
    assert confidence_set(daily_losses(1.2, 1.0), 2, 500, 0).tolist() == [False, True]


def test_confidence_set_seldom_lacks_the_best():
    sets = [confidence_set(daily_losses(1, 1, 1, 1.05, seed=seed, days=60), 1, 200, 0) for seed in range(80)]
    # all three are the best; each may be left out wrongly
    assert np.mean([found[:3].all() for found in sets]) > 0.8
    assert np.mean([found[3] for found in sets]) < 0.4


def test_confidence_set_of_models_that_do_not_differ_from_day_to_day():
    losses = daily_losses(1.0, 1.2)
    good, bad = losses.T
    twins = np.stack([good, bad, good, bad, good + 0.01], axis=1)
    assert confidence_set(twins, 2, 500, 0).tolist() == [True, False, True, False, False]
    assert confidence_set(np.stack([good, good], axis=1), 2, 500, 0).tolist() == [True, True]
    assert confidence_set(np.stack([good, good + 1], axis=1), 2, 500, 0).tolist() == [True, False]
    assert confidence_set(np.zeros((20, 2)), 2, 500, 0).tolist() == [True, True]


def test_confidence_set_where_it_cannot_be_made():
    losses = daily_losses(1.0, 1.0)
    assert confidence_set(losses[:, :1], 1, 100, 0) is None
    assert confidence_set(losses[: inference.FEWEST - 1], 1, 100, 0) is None
    assert confidence_set(np.full((20, 2), np.nan), 1, 100, 0) is None
    losses[3, 0] = np.nan
    assert confidence_set(losses, 1, 100, 0).tolist() == [False, True]

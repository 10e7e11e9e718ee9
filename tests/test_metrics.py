"""Scores against definitions, closed forms and what they must prefer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from kronosfw import metrics

LEVELS = np.array([0.1, 0.5, 0.9])
DENSE = (np.arange(999) + 1) / 1000
prices = st.floats(-1e3, 1e3, allow_subnormal=False)


def test_pinball_by_hand():
    loss = metrics.pinball([10.0, 10.0], [[8, 10, 11], [12, 12, 12]], LEVELS)
    assert loss == pytest.approx(np.array([[0.2, 0, 0.1], [1.8, 1.0, 0.2]]))


@given(arrays(float, 40, elements=prices))
def test_pinball_is_least_at_the_quantile(sample):
    for level in LEVELS:
        best = np.quantile(sample, level, method="inverted_cdf")
        candidates = np.append(sample, best)
        mean = metrics.pinball(sample[:, None], candidates[:, None], [level])[..., 0].mean(axis=0)
        assert mean[-1] <= mean.min() + 1e-9


def test_scaled_pinball_has_no_unit_and_keeps_the_steps_apart():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2)) * [1, 3]
    q = np.sort(rng.normal(size=(50, 2, 3)), axis=-1)
    score = metrics.scaled_pinball(y, q, LEVELS)
    assert score.shape == (50, 2)
    assert metrics.scaled_pinball(7 * y, 7 * q, LEVELS) == pytest.approx(score)
    by_hand = 2 * np.maximum(LEVELS * (y[..., None] - q), (LEVELS - 1) * (y[..., None] - q)).mean(axis=(0, 2))
    assert score.mean(axis=0) == pytest.approx(by_hand / np.abs(y).mean(axis=0))


def test_scaled_pinball_of_the_median_is_the_scaled_absolute_error():
    y, q = np.array([1.0, -2.0, 3.0]), np.array([[0.5], [0.5], [0.5]])
    assert metrics.scaled_pinball(y, q, [0.5]).mean() == pytest.approx(np.abs(y - 0.5).mean() / 2)


@pytest.mark.parametrize("y", [-2.0, 0.0, 0.7])
def test_crps_reaches_the_closed_form_of_a_normal(y):
    exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    quantiles = stats.norm.ppf(DENSE)
    assert metrics.crps_quantiles(y, quantiles, DENSE) == pytest.approx(exact, abs=0.003)


def test_covered_counts_its_bounds():
    assert metrics.covered([0.9, 1, 1.5, 2, 2.1, np.nan], 1, 2).tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("y", "expected"),
    [(-5, 0.1), (10, 0.1), (15, 0.3), (20, 0.5), (22, 0.58), (30, 0.9), (99, 0.9)],
)
def test_pit_is_linear_between_quantiles_and_stops_at_the_outer_levels(y, expected):
    assert float(metrics.pit(y, [10, 20, 30], LEVELS)) == pytest.approx(expected)


def test_pit_is_midway_where_quantiles_coincide():
    assert metrics.pit([5, 4, 6], np.full((3, 3), 5.0), LEVELS) == pytest.approx([0.5, 0.1, 0.9])
    assert metrics.pit([5.0], [[5.0, 5.0, 7.0]], LEVELS) == pytest.approx([0.3])


def test_pit_of_a_calibrated_forecast_is_uniform_and_of_a_narrow_one_is_not():
    y = np.random.default_rng(3).normal(size=4000)
    uniform = stats.kstest(metrics.pit(y, np.tile(stats.norm.ppf(DENSE), (4000, 1)), DENSE), "uniform")
    narrow = stats.kstest(metrics.pit(y, np.tile(0.8 * stats.norm.ppf(DENSE), (4000, 1)), DENSE), "uniform")
    assert uniform.pvalue > 0.01
    assert narrow.pvalue < 1e-6


def test_pit_of_nothing_is_nothing():
    assert np.isnan(metrics.pit(np.nan, [1, 2, 3], LEVELS))


def test_direction_is_judged_only_where_both_move():
    hits = metrics.direction_hit([11, 9, 11, 10, np.nan, 11], [12, 12, 9, 12, 12, 10], 10)
    assert hits == pytest.approx([1, 0, 0, np.nan, np.nan, np.nan], nan_ok=True)


def quantile_forecasts(n=40):
    rng = np.random.default_rng(1)
    return rng.normal(size=n), np.sort(rng.normal(size=(n, 3)), axis=-1)


def test_quantile_scores_are_those_of_scoringrules():
    rules = pytest.importorskip("scoringrules")
    y, q = quantile_forecasts()
    assert metrics.pinball(y, q, LEVELS) == pytest.approx(rules.quantile_score(y[:, None], q, LEVELS))
    assert metrics.crps_quantiles(y, q, LEVELS) == pytest.approx(rules.crps_quantile(y, q, LEVELS))
    expected = rules.interval_score(y, q[:, 0], q[:, 2], 0.2)
    assert metrics.interval_score(y, q[:, 0], q[:, 2], 0.8) == pytest.approx(expected)


@pytest.mark.parametrize(("fair", "estimator"), [(False, "nrg"), (True, "fair")])
def test_crps_of_samples_is_that_of_scoringrules(fair, estimator):
    rules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(2)
    y, samples = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, 17))
    expected = rules.crps_ensemble(y, samples, estimator=estimator)
    assert metrics.crps_samples(y, samples, fair=fair) == pytest.approx(expected)


def test_fair_crps_does_not_depend_on_the_number_of_samples():
    rng = np.random.default_rng(3)
    y = rng.normal(size=20_000)
    exact = 1 / np.sqrt(np.pi)
    few = rng.normal(size=(20_000, 3))
    assert metrics.crps_samples(y, few, fair=True).mean() == pytest.approx(exact, abs=0.01)
    assert metrics.crps_samples(y, few).mean() > exact + 0.1
    assert metrics.crps_samples([1.0], [[3.0]]) == pytest.approx([2.0])
    assert np.isnan(metrics.crps_samples([1.0], [[3.0]], fair=True))


def test_means_over_series_are_those_of_utilsforecast():
    losses = pytest.importorskip("utilsforecast.losses")
    y, q = quantile_forecasts()
    history = np.random.default_rng(4).normal(size=30).cumsum()
    frame = pd.DataFrame({"unique_id": "S0", "y": y, "low": q[:, 0], "m": q[:, 1], "high": q[:, 2]})
    frame = frame.assign(**{"m-lo-80": q[:, 0], "m-hi-80": q[:, 2]})
    past = pd.DataFrame({"unique_id": "S0", "ds": np.arange(30), "y": history})

    def of(table, column="m"):
        return table[column].item()

    assert metrics.mae(y, q[:, 1]) == pytest.approx(of(losses.mae(frame, ["m"])))
    for season in (1, 7):
        expected = of(losses.mase(frame, ["m"], season, past))
        assert metrics.mase(y, q[:, 1], history, season) == pytest.approx(expected)
    named = {"m": ["low", "m", "high"]}
    expected = of(losses.scaled_crps(frame, named, LEVELS))
    assert metrics.weighted_quantile_loss(y, q, LEVELS).mean() == pytest.approx(expected)
    assert metrics.covered(y, q[:, 0], q[:, 2]).mean() == pytest.approx(of(losses.coverage(frame, ["m"], 80)))
    shares = [of(losses.calibration(frame, {"m": name})) for name in named["m"]]
    assert metrics.calibration_curve(y, q) == pytest.approx(shares)


def test_weighted_quantile_loss_tells_each_level():
    y, q = np.array([1.0, -3.0]), np.array([[0.0, 2.0], [-1.0, 0.0]])
    assert metrics.weighted_quantile_loss(y, q, [0.5, 0.9]) == pytest.approx(
        [(0.5 * 1 + 0.5 * 2) * 2 / 4, (0.1 * 1 + 0.1 * 3) * 2 / 4]
    )


def test_scaled_error_of_what_has_no_scale_is_nothing():
    assert np.isnan(metrics.mase([1.0], [2.0], [5.0, 5.0, 5.0]))
    assert np.isnan(metrics.mase([1.0], [2.0], [5.0]))


def test_width_is_a_share_of_any_last_close():
    assert metrics.width([90, -11], [110, -9], [100, -10]) == pytest.approx([0.2, 0.2])


@given(arrays(float, (30, 5), elements=prices))
def test_quantiles_that_were_sorted_never_cross(q):
    assert metrics.crossings(np.sort(q, axis=-1)).sum() == 0
    assert metrics.crossings(q).tolist() == [sum(a > b for a, b in pairwise(row)) for row in q.tolist()]


def test_calibration_curve_counts_by_weight():
    y, q = [1.0, 2.0], [[1.0, 1.5], [1.0, 3.0]]
    assert metrics.calibration_curve(y, q) == pytest.approx([0.5, 1.0])
    assert metrics.calibration_curve(y, q, [3.0, 1.0]) == pytest.approx([0.75, 1.0])


def test_direction_rate_is_of_the_calls_made():
    assert metrics.direction_rate([11, 9, 11, 10], [12, 12, 12, 12], 10) == pytest.approx(2 / 3)
    assert np.isnan(metrics.direction_rate([11, 9], [10, 10], 10))


def test_the_strategy_begins_each_series_without_a_position():
    expected, returned = [0.1, 0.1, -0.1, 0.0, -0.2], [0.01, 0.02, 0.03, 0.04, 0.05]
    alone = metrics.strategy_returns(expected, returned, 0.001)
    assert alone == pytest.approx([0.01 - 0.001, 0.02, -0.03 - 0.002, -0.001, -0.05 - 0.001])
    both = metrics.strategy_returns(expected * 2, returned * 2, 0.001, [True, *[False] * 4] * 2)
    assert both == pytest.approx(np.tile(alone, 2))
    assert metrics.strategy_returns([], [], 0.001).tolist() == []

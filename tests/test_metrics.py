"""Scores against definitions, closed forms and what they must prefer."""

from __future__ import annotations

import numpy as np
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

"""The loss of the combination and its slopes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_meta_lgbm.mixing import losses, mixed, shrunk, slopes, softmax
from kronosfw_meta_lgbm.static import base_scores

LEVELS = (0.1, 0.5, 0.9)


def made(seed: int, n: int = 40, k: int = 4):
    rng = np.random.default_rng(seed)
    quantiles = rng.normal(size=(n, k, 1)) + rng.uniform(0.5, 2, (n, k, 1)) * np.array([-1.28, 0, 1.28])
    there = rng.random((n, k)) < 0.8
    there[np.arange(n), rng.integers(0, k, n)] = True
    quantiles[~there] = np.nan
    return rng.normal(size=(n, k)), quantiles, rng.normal(size=n), there


@given(st.integers(0, 10_000))
def test_the_gradient_is_the_slope_of_the_loss(seed):
    scores, quantiles, outcome, there = made(seed)
    combined = mixed(softmax(scores, there), quantiles)
    smooth = np.abs(outcome[:, None] - combined).min(axis=1) > 1e-3
    gradient, curvature = slopes(scores, quantiles, outcome, LEVELS, there)
    for k in range(scores.shape[1]):
        step = 1e-6 * (np.arange(scores.shape[1]) == k)
        up, down = (losses(softmax(s, there), quantiles, outcome, LEVELS) for s in (scores + step, scores - step))
        slope = (up - down) / 2e-6
        assert gradient[smooth, k] == pytest.approx(slope[smooth], abs=1e-6)
    assert (gradient[~there] == 0).all()
    assert (curvature > 0).all()
    assert np.isfinite(gradient).all()


@given(st.integers(0, 10_000), st.sampled_from((0.0, 0.25, 1.0)))
def test_weights_sum_to_one_over_the_members_that_are_there(seed, share):
    scores, _, _, there = made(seed)
    weights = shrunk(softmax(1e3 * scores, there), there, share)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (weights[~there] == 0).all()
    assert (weights >= 0).all()
    if share == 0:
        assert weights[0, there[0]] == pytest.approx(1 / there[0].sum())


def test_base_scores_find_the_member_that_is_right():
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=3000)
    width = np.array([0.4, 1.0, 2.5])
    quantiles = np.tile(width[:, None] * np.array([-1.2816, 0, 1.2816]), (3000, 1, 1))
    there = np.ones((3000, 3), dtype=bool)
    scores = base_scores(quantiles, outcome, LEVELS, there)
    weights = softmax(scores[None], there[:1])[0]
    assert weights @ width == pytest.approx(1, abs=0.06)


def test_base_scores_of_equal_members_are_equal():
    _, quantiles, outcome, _ = made(1, n=500)
    same = np.repeat(np.nan_to_num(quantiles[:, :1]), 3, axis=1)
    assert base_scores(same, outcome, LEVELS, np.ones((500, 3), dtype=bool)) == pytest.approx(0, abs=1e-12)

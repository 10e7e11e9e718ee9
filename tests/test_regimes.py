"""The regime of volatility, for scores and for ensemblers alike."""

from __future__ import annotations

import numpy as np
import pytest

from kronosfw.regimes import regime, volatility_ratios


def closes(n: int, last: float) -> np.ndarray:
    """Return n closes whose last 20 returns are so many times as volatile as those before."""
    returns = np.random.default_rng(0).normal(0, 0.01, n - 1)
    returns[-20:] *= last
    return 100 * np.exp(np.concatenate([[0], returns.cumsum()]))


@pytest.mark.parametrize(("last", "name"), [(0.4, "low"), (1.0, "normal"), (3.0, "high")])
def test_the_last_returns_are_held_against_what_is_usual(last, name):
    close = closes(400, last)
    ratio = volatility_ratios(close, np.array([399]))[0]
    assert regime(ratio) == name
    returns = np.diff(np.log(close))
    usual = np.median([returns[i - 20 : i].std() for i in range(399 - 250, 399)])
    assert ratio == pytest.approx(returns[-20:].std() / usual)


def test_a_bar_knows_nothing_of_those_after_it():
    close = closes(400, 3.0)
    cuts = np.array([350, 100, 350, 300])
    whole = volatility_ratios(close, cuts)
    assert whole[0] == whole[2]
    for cut, ratio in zip(cuts, whole, strict=True):
        assert volatility_ratios(close[: cut + 1], np.array([cut]))[0] == ratio


@pytest.mark.parametrize("n", [1, 10, 21, 79])
def test_with_little_to_compare_with_it_is_unknown(n):
    assert regime(volatility_ratios(closes(n, 1.0), np.array([n - 1]))[0]) == "unknown"


def test_prices_that_do_not_move_or_have_no_logarithm_are_unknown():
    assert regime(volatility_ratios(np.full(300, 5.0), np.array([299]))[0]) == "unknown"
    assert regime(volatility_ratios(-closes(300, 1.0), np.array([299]))[0]) == "unknown"

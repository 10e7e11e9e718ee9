"""The watch over what the policy `rolling` promoted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kronosfw.builtin.policies import Canary, Guard, Rolling
from kronosfw.builtin.policies.canary import BETS, evidence, outcomes, watch
from kronosfw.builtin.policies.panel import panel
from tests.panels import panel_of

paths = arrays(np.float64, st.integers(0, 40), elements=st.floats(-1, 1))


def scores(factor=1.0, **options):
    return panel_of({"serving": factor, "previous": 1.0}, **options)


def until(frame, days):
    return frame[frame["day"] < frame["day"].min() + pd.Timedelta(days=days)]


def test_harm_is_rolled_back_and_a_gain_confirmed():
    for factor, accepted, name in ((1.1, False, "harm"), (0.9, True, "gain")):
        verdict = watch(Canary(), scores(factor))
        assert verdict is not None
        assert verdict.accepted is accepted
        (check,) = verdict.checks
        assert check.name == name
        assert check.value >= check.limit == 20
        assert verdict.numbers["days"] < 63
        assert f"after {verdict.numbers['days']:.0f} days" in verdict.reasons[0]


def test_nothing_to_see_goes_on_until_the_days_are_over():
    frame = scores()
    assert watch(Canary(), until(frame, 62)) is None
    verdict = watch(Canary(), frame)
    assert verdict is not None
    assert verdict.accepted
    assert verdict.numbers["days"] == 63
    assert watch(Canary(days=10), until(frame, 10)).accepted
    assert watch(Canary(), frame.iloc[:0]) is None
    assert watch(Canary(), until(frame, 1)) is None


def test_the_first_day_that_suffices_decides_however_late_one_looks():
    frame = scores(1.1)
    verdict = watch(Canary(), frame)
    days = int(verdict.numbers["days"])
    assert watch(Canary(), until(frame, days)) == verdict
    assert watch(Canary(), until(frame, days - 1)) is None


def test_without_a_canary_everything_stays():
    policy = Rolling(guard=Guard(noninferiority=None, canary=None)).build()
    assert policy.watch(scores(2.0)).accepted


@pytest.mark.parametrize("step", [1, 2])
def test_no_outcome_depends_on_what_came_later(step):
    frame = scores(1.02, steps=2)
    whole = outcomes(panel(frame, ("serving", "previous")), step)
    for days in (5, 6, 7, 30, 62):
        part = outcomes(panel(until(frame, days), ("serving", "previous")), step)
        assert part == pytest.approx(whole[:days], abs=1e-12)
    assert (whole[: step + 4] == 0).all()
    assert (np.abs(whole) <= 1).all()
    assert (whole[step + 4 :] != 0).any()


def test_a_unit_knows_only_days_that_were_over():
    """The previous arm's losses of the last h − 1 days before a forecast, and of its own day, are no part of it."""
    frame = scores(1.02, steps=2, days=12)
    day = frame["day"].min() + pd.Timedelta(days=10)
    before = outcomes(panel(frame, ("serving", "previous")), 2)
    known = frame["day"] == day - pd.Timedelta(days=1)
    frame.loc[known, "crps"] *= 100
    after = outcomes(panel(frame, ("serving", "previous")), 2)
    assert after[10] == pytest.approx(before[10], abs=1e-12)
    assert after[11] != pytest.approx(before[11], abs=1e-3)


def test_the_same_weights_leave_no_evidence():
    frame = scores(apart=0.0)
    paired = panel(frame, ("serving", "previous"))
    assert (outcomes(paired, 1) == 0).all()
    assert watch(Canary(), frame).accepted


def test_a_symbol_that_comes_later_joins_later():
    frame = scores(1.1)
    late = (frame["symbol"] == "S0") & (frame["day"] < frame["day"].min() + pd.Timedelta(days=20))
    verdict = watch(Canary(), frame[~late])
    assert verdict is not None
    assert not verdict.accepted


@given(paths, st.integers(1, 6))
def test_evidence_is_never_negative_and_knows_no_later_day(z, step):
    whole = evidence(z, step)
    assert whole.shape == z.shape
    assert (whole > 0).all()
    for day in range(0, len(z), 7):
        assert evidence(z[: day + 1], step)[day] == pytest.approx(whole[day])


def test_evidence_by_hand():
    assert evidence(np.array([1.0, -1.0]), 1) == pytest.approx([np.mean(1 + BETS), np.mean(1 - BETS**2)])
    first = np.mean(1 + BETS)
    assert evidence(np.array([1.0, 0.0, 1.0]), 2) == pytest.approx(
        [(first + 1) / 2, (first + 1) / 2, (np.mean((1 + BETS) ** 2) + 1) / 2]
    )


@pytest.mark.parametrize("step", [1, 3])
def test_a_fair_game_seldom_makes_evidence(step):
    rng = np.random.default_rng(0)
    crossed = [evidence(rng.uniform(-1, 1, 120), step).max() >= 20 for _ in range(400)]
    assert np.mean(crossed) <= 0.05
    assert max(evidence(rng.uniform(-0.6, 1, 120), step).max() for _ in range(5)) >= 20

"""What the guard of the policy `rolling` lets pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from kronosfw.builtin.policies import Guard, Latest, Noninferiority, Rolling
from kronosfw.builtin.policies.gains import YEAR, profits, sharpe
from kronosfw.builtin.policies.panel import ARMS, panel
from kronosfw.types import Entry
from tests.panels import SLOT, panel_of, trial_of

pytest.importorskip("arch", reason="the extra `guard` is not installed")

PLAIN = Rolling(guard=Guard(noninferiority=None, shrinkage=None, canary=None)).build()


def judged(trial, **options):
    return Rolling(guard=Guard(noninferiority=Noninferiority(**options))).build().admit(trial)


def check(verdict, name):
    return next(c for c in verdict.checks if c.name == name)


def failed(verdict):
    return [c.name for c in verdict.checks if not c.passed]


def test_a_better_candidate_passes_with_all_that_speaks_for_it():
    verdict = judged(trial_of(0.98))
    assert verdict.accepted
    names = ["faults", "finite", "mae_incumbent", "mae_base", "days", "crps", "crps_quiet", "coverage"]
    assert [c.name for c in verdict.checks] == names
    crps = check(verdict, "crps")
    assert crps.value == pytest.approx(-0.02, abs=0.005)
    assert crps.low < crps.value < crps.high < crps.limit == 0.01
    assert "against what serves" in crps.text
    assert all(np.isfinite(value) for value in verdict.numbers.values())


def test_a_candidate_as_good_passes_and_the_same_one_too():
    assert judged(trial_of(1.0)).accepted
    assert judged(trial_of(1.0, apart=0.0)).accepted, "no difference has no block length"


def test_a_regression_is_rejected_by_its_upper_bound():
    verdict = judged(trial_of(1.05))
    assert not verdict.accepted
    assert failed(verdict) == ["crps", "crps_quiet"]
    assert verdict.reasons == tuple(check(verdict, name).text for name in failed(verdict))
    assert PLAIN.admit(trial_of(1.05)).accepted, "the plain rule is blind to it"


def test_noise_rejects():
    verdict = judged(trial_of(1.0, apart=1.0, days=20))
    assert not verdict.accepted
    assert check(verdict, "crps").value < check(verdict, "crps").high


def test_a_volatile_symbol_does_not_drown_the_others():
    """The most volatile symbol gains 4 %, the nine others, which weigh half of it together, lose 4 %."""
    trial = trial_of(1.0, symbols=10, apart=0.0)
    calm = (trial.scores["arm"] == "candidate") & (trial.scores["symbol"] != "S9")
    trial.scores.loc[trial.scores["arm"] == "candidate", "crps"] *= 0.96
    trial.scores.loc[calm, "crps"] *= 1.04 / 0.96
    assert check(judged(trial), "crps").value == pytest.approx(0.9 * 0.04 - 0.1 * 0.04, abs=1e-9)


def test_bars_without_an_event_have_a_bound_of_their_own():
    trial = trial_of(1.0, apart=0.0)
    quiet = (trial.scores["arm"] == "candidate") & ~trial.scores["event_active"]
    trial.scores.loc[quiet, "crps"] *= 1.03
    verdict = judged(trial, margin=0.05)
    assert failed(verdict) == ["crps_quiet"]
    assert check(verdict, "crps_quiet").value == pytest.approx(0.03)


@pytest.mark.parametrize(("event", "words"), [(False, "nothing to tell apart"), (True, "only 0 days")])
def test_bars_that_are_all_alike_are_not_told_apart(event, words):
    trial = trial_of()
    trial.scores["event_active"] = event
    quiet = check(judged(trial), "crps_quiet")
    assert quiet.passed
    assert words in quiet.text
    assert quiet.value is None


def cover(trial, arm, share):
    rows = trial.scores.index[trial.scores["arm"] == arm]
    trial.scores.loc[rows, "covered"] = np.random.default_rng(1).permutation(len(rows)) < share * len(rows)


@pytest.mark.parametrize(
    ("candidate", "incumbent", "passed"),
    [(0.79, 0.80, True), (0.70, 0.80, False), (0.90, 0.80, False), (0.70, 0.70, True), (0.70, 0.60, True)],
)
def test_coverage_near_80_percent_or_no_farther_off_than_what_serves(candidate, incumbent, passed):
    trial = trial_of()
    cover(trial, "candidate", candidate)
    cover(trial, "incumbent", incumbent)
    coverage = check(judged(trial), "coverage")
    assert coverage.passed is passed
    assert coverage.value == pytest.approx(candidate, abs=0.002)
    assert coverage.low < coverage.value < coverage.high


def test_coverage_that_could_be_chance_passes():
    """A month in which half of the days, all symbols at once, fall outside more often."""
    trial = trial_of(days=20)
    trial.scores["covered"] = True
    outside = trial.scores["day"].isin(trial.scores["day"].unique()[:7])
    trial.scores.loc[outside & (trial.scores["arm"] == "candidate"), "covered"] = False
    coverage = check(judged(trial), "coverage")
    assert coverage.passed
    assert "not shown to be farther off" in coverage.text


def test_too_few_days_are_inconclusive():
    verdict = judged(trial_of(0.9, days=19))
    assert failed(verdict) == ["days"]
    assert verdict.reasons == ("inconclusive: 19 days judged, at least 20 needed",)
    assert judged(trial_of(0.9, days=19), min_days=19).accepted


def test_faults_and_missing_or_broken_scores_stop_any_policy():
    good = trial_of(0.9)
    rows = good.scores.index[good.scores["arm"] == "candidate"]
    for column, value in (("crps", np.nan), ("abs_error", np.inf), ("median", np.nan)):
        scores = good.scores.copy()
        scores.loc[rows[3], column] = value
        for policy in (PLAIN, Latest().build()):
            verdict = policy.admit(replace(good, scores=scores))
            assert failed(verdict) == ["finite"]
            assert verdict.reasons == (
                f"1 of the candidate's {len(rows)} forecasts have scores that are not finite",
            )
    verdict = PLAIN.admit(replace(good, scores=good.scores.drop(rows[:5])))
    assert verdict.reasons == (f"the candidate has {len(rows) - 5} of {len(rows)} forecasts",)
    assert PLAIN.admit(replace(good, scores=good.scores.iloc[:0])).reasons == ("the candidate was not scored",)
    verdict = PLAIN.admit(replace(good, faults=("frozen weights changed", "a hash failed")))
    assert verdict.reasons == ("frozen weights changed; a hash failed",)


def test_scores_of_what_serves_that_are_not_finite_are_left_out():
    good = trial_of(1.0, apart=0.0)
    served = (good.scores["arm"] == "incumbent") & (good.scores["symbol"] == "S0")
    good.scores.loc[served, "crps"] = np.nan
    assert judged(good).accepted
    good.scores.loc[good.scores["arm"] == "incumbent", "crps"] = np.nan
    assert failed(judged(good)) == ["mae_incumbent", "mae_base", "days"]


@pytest.mark.parametrize(
    ("arm", "factor", "stops"),
    [("incumbent", 1.09, []), ("incumbent", 1.11, ["mae_incumbent"]), ("base", 1.11, ["mae_base"])],
)
def test_the_plain_rule_compares_with_what_serves_and_with_the_base(arm, factor, stops):
    trial = trial_of(1.0, apart=0.0)
    for name in ARMS:
        rows = trial.scores["arm"] == name
        trial.scores.loc[rows, "abs_error"] = 0.01 / (factor if name == arm else 1)
    verdict = PLAIN.admit(trial)
    assert failed(verdict) == stops
    excess = check(verdict, f"mae_{arm}")
    assert excess.value == pytest.approx(factor - 1)
    assert excess.limit == 0.10


def test_a_verdict_is_the_same_each_time_and_in_any_order():
    trial = trial_of(1.004)
    verdict = judged(trial)
    assert judged(trial) == verdict
    shuffled = replace(trial, scores=trial.scores.sample(frac=1, random_state=1))
    again = judged(shuffled)
    assert [(c.name, c.passed) for c in again.checks] == [(c.name, c.passed) for c in verdict.checks]
    assert check(again, "crps").high == pytest.approx(check(verdict, "crps").high, rel=1e-9)
    assert check(judged(trial, seed=1), "crps").high != check(verdict, "crps").high
    assert check(judged(trial, block=10), "crps").high != check(verdict, "crps").high


def test_power_and_false_alarms():
    equal = [judged(trial_of(1.0, seed=seed), resamples=200).accepted for seed in range(40)]
    worse = [judged(trial_of(1.02, seed=seed), resamples=200).accepted for seed in range(40)]
    assert np.mean(equal) >= 0.9
    assert np.mean(worse) <= 0.1


def test_gains_are_measured_after_the_slot_of_the_retraining_before():
    slot = datetime(2025, 2, 1, tzinfo=UTC)
    trial = trial_of(0.97, apart=0.0)
    late = trial.scores["as_of"] > pd.Timestamp(slot)
    trial.scores.loc[late & (trial.scores["arm"] == "candidate"), "crps"] *= 0.5
    whole = PLAIN.admit(trial).numbers
    assert whole["gain_days"] == 63
    assert 0.5 * 0.97 / 1.02 < 1 - whole["crps_gain"] < 0.97 / 1.02
    history = [Entry(SLOT, "rejected", slot=slot), Entry(SLOT, "failed", slot=SLOT)]
    numbers = PLAIN.admit(replace(trial, history=history)).numbers
    assert numbers["gain_days"] == 31
    assert numbers["days"] == 63
    assert numbers["crps_gain"] == pytest.approx(1 - 0.5 * 0.97 / 1.02)
    assert numbers["crps_gain_low"] < numbers["crps_gain"] < numbers["crps_gain_high"]
    assert numbers["sharpe_gain_low"] < numbers["sharpe_gain"] < numbers["sharpe_gain_high"]
    again = replace(trial, history=[Entry(SLOT, "promoted", slot=SLOT)])
    assert PLAIN.admit(again).numbers == {"days": 63.0}, "no day is left: nothing is measured twice"


def test_without_arch_gains_have_no_interval(monkeypatch):
    monkeypatch.setattr("kronosfw.builtin.policies.gains.find_spec", lambda name: None)
    assert set(PLAIN.admit(trial_of()).numbers) == {"days", "gain_days", "crps_gain", "sharpe_gain"}


def test_the_toy_strategy_pays_for_each_change_of_position():
    scores = panel_of({"candidate": 1.0}, days=4, symbols=2, steps=2)
    first = scores["step"] == 1
    for symbol, medians, actuals in (
        ("S0", [0.1, 0.1, -0.1, 0.0], [0.01, 0.02, 0.03, 0.04]),
        ("S1", [0.0, -0.1, -0.1, -0.1], [0.01, 0.02, 0.03, 0.04]),
    ):
        rows = first & (scores["symbol"] == symbol)
        scores.loc[rows, "median"], scores.loc[rows, "actual"] = medians, actuals
    earned = profits(panel(scores, ("candidate",)), "candidate", 0.001)
    first_symbol = np.array([0.01 - 0.001, 0.02, -0.03 - 0.002, -0.001])
    second_symbol = np.array([0.0, -0.02 - 0.001, -0.03, -0.04])
    assert earned == pytest.approx((first_symbol + second_symbol) / 2)
    even = np.full((1, 4), 0.25)
    assert sharpe(even, earned) == pytest.approx(np.sqrt(YEAR) * earned.mean() / earned.std())
    assert sharpe(even, np.full(4, 0.01)) == 0

"""What is served, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kronosfw_meta_lgbm.direction import chosen
from kronosfw_meta_lgbm.meta import strongest
from kronosfw_meta_lgbm.options import DirectionLgbm, MetaLgbm

from kronosfw.testing.market import SmallMarket

from .made import past
from .test_states import LATE, LEVELS, MEMBERS, every, frame, members, taught, windows

__all__ = ["frame", "taught", "windows"]


@every
def test_with_few_labels_weights_are_equal_and_it_is_said_why(options, windows):
    learner = options.build()
    learner.fit(past(20, members=MEMBERS), LATE)
    combined = learner.combine(windows[0], list(members(windows[0])), LEVELS)
    every_member = np.mean([m.at(LEVELS) for m in members(windows[0])], axis=0)
    assert combined.at(LEVELS) == pytest.approx(every_member)
    assert combined.contexts()[0]["note"] == (
        "equal weights: 240 scored predictions of crypto and 240 in all are known, learning takes 1000"
    )
    assert combined.steps[0]["weights"] == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert learner.state() is None


@every
def test_what_was_observed_is_told_whether_or_not_anything_is_learned(options, taught, windows):
    for learner in (options.build(), taught[options.type]):
        for step in learner.combine(windows[0], list(members(windows[0])), LEVELS).steps:
            assert set(step["features"]) == {"volatility_ratio", "trend"}


def test_weights_and_what_they_rest_on_are_told(taught, windows):
    combined = taught["meta_lgbm"].combine(windows[0], list(members(windows[0])), LEVELS)
    assert "note" not in combined.steps[0]
    for h, step in enumerate(combined.steps):
        weights = step["weights"]
        assert sum(weights.values()) == pytest.approx(1)
        mixed = sum(weights[m.model] * m.at(LEVELS)[h] for m in members(windows[0]))
        assert combined.at(LEVELS)[h] == pytest.approx(mixed)
        assert 1 <= len(step["contributions"]) <= 5
        assert all(set(parts) == set("abc") for parts in step["contributions"].values())


def test_it_says_so_where_nothing_learned_did_better(windows):
    learner = MetaLgbm(rounds=8, least=1000).build()
    learner.fit(past(120, members=dict.fromkeys("abc", (0.5, 1.0))), LATE)
    told = learner.combine(windows[0], list(members(windows[0])), LEVELS).steps[0]
    assert told["weights"] == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert told["note"] == "equal weights: on days past, nothing learned did better"
    assert learner.state() is not None


@pytest.mark.parametrize("best", "abc")
def test_the_weight_is_that_of_the_member_it_was_learned_of(best, windows):
    skill = {name: (0.1, 1.0) if name == best else (1.0, 1.0) for name in "abc"}
    learner = MetaLgbm(least=1000).build()
    learner.fit(past(120, members=skill), LATE)
    weights = learner.combine(windows[0], list(members(windows[0], "cab")), LEVELS).steps[0]["weights"]
    assert max(weights, key=weights.get) == best
    assert weights[best] > 0.5


def test_the_strongest_contributions_are_told():
    parts = np.array([[0.0, 0.1, -0.9, 0.3, 0.0, 0.2, 0.05], [0.0, 0.4, 0.1, 0.0, 0.0, -0.25, 0.06]])
    told = strongest(parts, "abcdefg", ("x", "y"))
    assert set(told) == set("bcdfg")
    assert told["c"] == {"x": -0.9, "y": 0.1}
    assert strongest(parts * 0, "abcdefg", ("x", "y")) == {}


@every
def test_missing_and_unknown_members_are_done_without(options, taught, windows):
    learner, window = taught[options.type], windows[0]
    weights = learner.combine(window, list(members(window, "ac")), LEVELS).steps[0]["weights"]
    assert sum(weights.values()) == pytest.approx(1)
    assert learner.combine(window, list(members(window, "b")), LEVELS).steps[0]["weights"] == {"b": 1.0}
    strangers = learner.combine(window, list(members(window, "xy")), LEVELS)
    assert strangers.steps[0]["weights"] == {"x": 0.5, "y": 0.5}
    assert "members" in strangers.contexts()[0]["note"]


def test_a_member_nothing_is_known_of_has_no_weight(taught, windows):
    combined = taught["meta_lgbm"].combine(windows[0], list(members(windows[0], "abcx")), LEVELS)
    assert combined.steps[0]["weights"]["x"] == 0


def test_another_asset_class_is_told_that_nothing_is_known_of_it(taught, windows):
    window = replace(windows[0], asset_class="equity")
    note = taught["meta_lgbm"].combine(window, list(members(window)), LEVELS).contexts()[0]["note"]
    assert "0 scored predictions of equity and 3600 in all" in note


def test_an_envelope_without_width_does_no_harm(taught, windows):
    flat = [replace(windows[0].forecast(LEVELS, np.full((3, 3), 100.0)), model=name) for name in "abc"]
    for learner in taught.values():
        assert learner.combine(windows[0], flat, LEVELS).at(LEVELS) == pytest.approx(100.0)


def test_other_levels_and_columns_are_combined_with_the_same_weights(windows):
    learner, window = MetaLgbm().build(), windows[0]
    levels = learner.member_levels((0.25, 0.75))
    assert list(levels) == [0.1, 0.25, 0.5, 0.75, 0.9]
    table = np.sort(np.random.default_rng(0).uniform(90, 110, (3, 2, 5)), axis=-1)
    both = [replace(window.forecast(levels, table + i, columns=("close", "high")), model=str(i)) for i in range(2)]
    combined = learner.combine(window, both, (0.25, 0.75))
    assert combined.columns == ("close", "high")
    assert combined.quantiles == pytest.approx(table[..., [1, 3]] + 0.5)


@pytest.mark.parametrize(
    ("up", "serves"), [(0.9, "c"), (0.55, "c"), (0.54, "d"), (0.5, "d"), (0.46, "d"), (0.45, "b"), (0.1, "b")]
)
def test_the_one_that_leans_most_serves_or_the_widest(up, serves):
    market = SmallMarket.make(n_symbols=1, n=200)
    window = market.windows(market.bars["S0"].times.available_at[150], context=100, horizon=1)[0]
    lean_and_width = {"a": (0.002, 0.01), "b": (-0.01, 0.02), "c": (0.004, 0.005), "d": (0.006, 0.05)}
    forecasts = [
        replace(
            window.forecast(LEVELS, window.bars.close[-1] * (1 + lean + width * np.array([[-1, 0, 1]]))), model=name
        )
        for name, (lean, width) in lean_and_width.items()
    ]
    weights = chosen(window, forecasts, np.array([up]), 0.55)
    assert weights[0].sum() == 1
    assert "abcd"[int(weights[0].argmax())] == serves


@every
def test_it_says_what_it_has_learned(options, taught):
    assert options.build().summary == ()
    (line,) = taught[options.type].summary
    assert line.startswith("crypto: 3,600 outcomes, ")


def test_the_direction_is_learned(taught, windows):
    """The past has low regimes before rises: in a calm market a rise is expected."""
    learner = taught["direction_lgbm"]
    told = [learner.combine(w, list(members(w)), LEVELS).steps[0] for w in windows]
    assert all(0 < step["up"] < 1 for step in told)
    assert all(sorted(step["weights"].values()) == [0, 0, 1] for step in told)
    assert DirectionLgbm(threshold=0.6).build() is not None

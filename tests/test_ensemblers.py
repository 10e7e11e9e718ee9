"""The built-in ensemblers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import optimize, stats

from kronosfw.builtin.ensemblers import LinearPool, Mean, Median
from kronosfw.interfaces import EnsemblerConfig
from kronosfw.types import Forecast

from .windows_for_tests import walk, window

LEVELS = (0.1, 0.5, 0.9)
WINDOW = window(walk(30), horizon=2)
every = pytest.mark.parametrize("options", [Mean(), Median(), LinearPool()], ids=lambda o: o.type)


def normal(model: str, levels: Sequence[float], mean: float = 100, sd: float = 1) -> Forecast:
    """A member that forecasts a normal distribution, √h as wide at step h."""
    spread = np.sqrt([1, 2])[:, None] * stats.norm.ppf(levels)
    return replace(WINDOW.forecast(levels, mean + sd * spread), model=model)


def constant(model: str, levels: Sequence[float], price: float) -> Forecast:
    return replace(WINDOW.forecast(levels, np.full((2, len(levels)), price)), model=model)


def combine(
    options: EnsemblerConfig, *members: tuple[str, float, float], levels: Sequence[float] = LEVELS
) -> Forecast:
    ensembler = options.build()
    asked = ensembler.member_levels(levels)
    return ensembler.combine(WINDOW, [normal(name, asked, mean, sd) for name, mean, sd in members], levels)


@every
def test_one_member_is_the_combination(options):
    result = combine(options, ("a", 100, 1))
    assert result.quantiles == pytest.approx(normal("a", LEVELS).quantiles, rel=1e-12)
    assert result.levels == LEVELS
    assert result.event_context == {"weights": {"a": 1.0}}
    assert np.array_equal(result.time, WINDOW.future.time)


@every
def test_it_learns_nothing_and_asks_for_the_levels_it_gives(options):
    ensembler = options.build()
    assert ensembler.learns is False
    assert set(ensembler.member_levels((0.1, 0.333, 0.5, 0.9))) >= {0.1, 0.333, 0.5, 0.9}
    assert list(ensembler.member_levels(LEVELS)) == sorted(ensembler.member_levels(LEVELS))


@every
def test_the_context_names_every_member_and_can_be_stored(options):
    result = combine(options, ("a", 100, 1), ("b", 101, 1), ("c", 102, 1), ("d", 103, 1))
    assert json.loads(json.dumps(result.event_context)) == {"weights": dict.fromkeys("abcd", 0.25)}


@every
def test_the_order_of_the_members_does_not_matter(options):
    members = [("a", 100, 1), ("b", 103, 2), ("c", 95, 0.5)]
    one, other = combine(options, *members), combine(options, *reversed(members))
    assert one.quantiles == pytest.approx(other.quantiles, rel=1e-12)


@every
def test_only_columns_that_all_members_share_are_combined(options):
    ensembler = options.build()
    levels = ensembler.member_levels(LEVELS)
    table = np.linspace(1, 2, 2 * 2 * len(levels)).reshape(2, 2, -1)
    wide = replace(WINDOW.forecast(levels, table + 5, columns=("high", "close")), model="wide")
    wider = replace(WINDOW.forecast(levels, table, columns=("close", "high")), model="wider")
    result = ensembler.combine(WINDOW, [wide, wider], LEVELS)
    assert result.columns == ("high", "close")
    assert result.quantiles.shape == (2, 2, 3)
    middle = np.stack([(wide.at([0.5], c) + wider.at([0.5], c)) / 2 for c in result.columns], axis=1)
    if not isinstance(options, LinearPool):
        assert result.quantiles[:, :, [1]] == pytest.approx(middle)
    assert ensembler.combine(WINDOW, [wide, normal("a", levels)], LEVELS).columns == ("close",)
    volume = replace(WINDOW.forecast(levels, table[:, 0], columns=("volume",)), model="v")
    with pytest.raises(ValueError, match="no column in common"):
        ensembler.combine(WINDOW, [wide, volume], LEVELS)


def test_mean_averages_quantiles_by_weight():
    result = combine(Mean(weights={"a": 3, "b": 1}), ("a", 100, 1), ("b", 108, 5))
    assert result.quantiles == pytest.approx(normal("", LEVELS, 102, 2).quantiles)
    assert result.event_context["weights"] == {"a": 0.75, "b": 0.25}


def test_median_ignores_a_member_far_off():
    result = combine(Median(), ("a", 100, 1), ("b", 101, 1), ("c", 1e6, 1))
    assert result.quantiles == pytest.approx(normal("", LEVELS, 101, 1).quantiles)


@pytest.mark.parametrize("cls", [Mean, LinearPool])
def test_weights_are_shared_out_among_the_members_present(cls):
    options = cls(weights={"a": 1, "b": 1, "gone": 2})
    with_gap = combine(options, ("a", 100, 1), ("b", 104, 1))
    assert with_gap.event_context == {"weights": {"a": 0.5, "b": 0.5}}
    assert with_gap.quantiles == pytest.approx(combine(cls(), ("a", 100, 1), ("b", 104, 1)).quantiles)


@pytest.mark.parametrize("cls", [Mean, LinearPool])
def test_a_member_with_weight_zero_does_not_count(cls):
    result = combine(cls(weights={"a": 1, "b": 0}), ("a", 100, 1), ("b", 200, 30))
    assert result.quantiles == pytest.approx(normal("", LEVELS).quantiles)


@pytest.mark.parametrize("cls", [Mean, LinearPool])
def test_weights_that_do_not_fit_the_members_are_refused(cls):
    with pytest.raises(ValueError, match="`weights` do not name b;"):
        combine(cls(weights={"a": 1, "bb": 1}), ("a", 100, 1), ("b", 100, 1))
    with pytest.raises(ValueError, match="`weights` are 0 for all members present: b"):
        combine(cls(weights={"a": 1, "b": 0}), ("b", 100, 1))


@pytest.mark.parametrize("cls", [Mean, LinearPool])
@pytest.mark.parametrize("weights", [{}, {"a": -1}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_out_of_range_are_refused(cls, weights):
    with pytest.raises(ValidationError):
        cls(weights=weights)


def test_linear_pool_inverts_the_mixture():
    levels = (0.05, 0.1, 0.3, 0.5, 0.9, 0.95)
    result = combine(LinearPool(weights={"a": 2, "b": 1}), ("a", 100, 1), ("b", 103, 2), levels=levels)
    for h, root in enumerate(np.sqrt([1, 2])):
        a, b = stats.norm(100, root), stats.norm(103, 2 * root)
        for level, value in zip(levels, result.at(levels)[h], strict=True):
            exact = optimize.brentq(lambda x, a=a, b=b, p=level: (2 * a.cdf(x) + b.cdf(x)) / 3 - p, 80, 130)
            assert value == pytest.approx(exact, abs=0.03 * root)


def test_linear_pool_is_wider_than_the_mean_when_members_disagree():
    members = [("a", 98, 1), ("b", 102, 1)]
    pool, mean = combine(LinearPool(), *members), combine(Mean(), *members)
    assert (pool.at([0.9]) - pool.at([0.1]) > 1.3 * (mean.at([0.9]) - mean.at([0.1]))).all()
    assert pool.at([0.5]) == pytest.approx(mean.at([0.5]), abs=0.01)


def test_linear_pool_keeps_jumps_upright():
    ensembler = LinearPool(weights={"a": 0.4, "b": 0.6}).build()
    levels = (0.1, 0.39, 0.41, 0.5, 0.9)
    asked = ensembler.member_levels(levels)
    result = ensembler.combine(WINDOW, [constant("a", asked, 90), constant("b", asked, 110)], levels)
    assert result.quantiles[0, 0].tolist() == [90, 90, 110, 110, 110]
    mixed = ensembler.combine(WINDOW, [constant("a", asked, 100), normal("b", asked)], levels)
    # Below 100 lies 0.6 × 0.5 of the mass, at 100 a lump of 0.4.
    assert mixed.quantiles[0, 0, 1:4].tolist() == [100, 100, 100]
    assert mixed.quantiles[0, 0, 0] == pytest.approx(100 + stats.norm.ppf(0.1 / 0.6), abs=0.02)


def test_linear_pool_reaches_levels_beyond_its_grid():
    result = combine(LinearPool(), ("a", 100, 1), ("b", 100, 1), levels=(0.001, 0.1, 0.5, 0.9, 0.999))
    assert result.quantiles[0, 0, [0, -1]] == pytest.approx(100 + stats.norm.ppf([0.001, 0.999]))


@every
@given(
    members=st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1e3)), min_size=1, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_every_combination_lies_within_its_members_and_in_order(options, members):
    ensembler = options.build()
    asked = ensembler.member_levels(LEVELS)
    forecasts = [normal(str(i), asked, mean, sd) for i, (mean, sd) in enumerate(members)]
    quantiles = ensembler.combine(WINDOW, forecasts, LEVELS).quantiles
    each = np.stack([f.at(LEVELS) for f in forecasts])[:, :, None]
    slack = 1e-9 * np.abs(each).max()
    assert (quantiles >= each.min(axis=0) - slack).all()
    assert (quantiles <= each.max(axis=0) + slack).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()

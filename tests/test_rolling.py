"""The policy `rolling`: options, what serves, what is kept, how much of a training is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from kronosfw.builtin.policies import Canary, Guard, Latest, Noninferiority, Rolling, Shrinkage
from kronosfw.errors import ConfigError
from kronosfw.types import Checkpoint
from tests.panels import panel_of

SHARES = (0.0, 0.5, 1.0, 1.5)


def version(number, asset_class="crypto", **state):
    name = f"2025-{number:02d}-01-0001"
    return Checkpoint(name, Path(asset_class or "base") / name, "any", asset_class, **state)


def shares_of(factors, **options):
    return panel_of(dict(zip(SHARES, factors, strict=True)), column="share", **options)


def test_all_is_on_unless_it_is_left_out():
    guard = Rolling.model_validate({"type": "rolling", "guard": None, "cadence": None}).guard
    assert guard == Guard(mae=0.1, noninferiority=Noninferiority(), shrinkage=Shrinkage(), canary=Canary())


@pytest.mark.parametrize("nothing", ["none", None])
def test_each_step_can_be_left_out(nothing):
    steps = {"noninferiority": nothing, "shrinkage": nothing, "canary": nothing}
    guard = Rolling.model_validate({"guard": steps}).guard
    assert (guard.noninferiority, guard.shrinkage, guard.canary) == (None, None, None)
    assert Rolling.model_validate({"guard": steps}).build().shares == ()
    for name in steps:
        alone = Rolling.model_validate({"guard": {name: nothing}}).guard
        assert [n for n in steps if getattr(alone, n) is None] == [name]


def test_shares_must_increase():
    for shares in ((0.5, 0), (0, 0, 1), (0,), (0, -1)):
        with pytest.raises(ValidationError):
            Shrinkage(shares=shares)
    with pytest.raises(ValidationError, match="0 and 1"):
        Shrinkage(shares=(0.5, 1))


def test_the_bootstrap_needs_arch(monkeypatch):
    monkeypatch.setattr("kronosfw.builtin.policies.options.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[guard\]'"):
        Rolling().build()
    assert Rolling(guard=Guard(noninferiority=None)).build().shares


def test_serves_the_active_one_of_the_class_then_the_active_pooled_one():
    policy = Rolling().build()
    old, new = version(1, active=True), version(2)
    base, newer = version(3, None, active=True), version(4, None)
    assert policy.select("crypto", [old, new, base, newer]) == old
    assert policy.select("crypto", [replace(old, active=False), new, base, newer]) == base
    assert policy.select("crypto", [replace(old, state="rejected"), base]) == base
    assert policy.select("crypto", [new, newer]) is None


def test_keeps_the_last_ones_the_last_that_may_serve_and_what_is_active():
    versions = [version(n, state="rejected" if n % 2 else "ready") for n in range(1, 10)]
    first, second, third, fifth = (versions[n - 1] for n in (1, 2, 3, 5))
    assert Rolling(keep=3).build().expire(versions[::-1]) == [first, second, third, fifth]
    versions[1] = replace(second, active=True)
    assert Rolling(keep=3).build().expire(versions) == [first, third, fifth]
    assert Latest(keep=3).build().expire(versions) == [first, third, fifth]
    pooled = [version(n, None) for n in range(1, 10)]
    assert Rolling(keep=1).build().expire(pooled) == []


def test_the_smallest_share_within_an_error_of_the_best():
    policy = Rolling(guard=Guard(noninferiority=None)).build()
    assert policy.share(shares_of((1.0, 0.97, 0.90, 0.94), apart=0.01)) == 1.0
    assert policy.share(shares_of((1.0, 0.90, 0.90, 0.94), apart=0.0)) == 0.5
    assert policy.share(shares_of((1.0, 1.01, 1.05, 1.1), apart=0.01)) == 0.0
    assert policy.share(shares_of((1.0, 0.98, 0.96, 0.90), apart=0.01)) == 1.5
    close = [policy.share(shares_of((1.0, 0.999, 0.998, 0.999), apart=0.1, seed=seed)) for seed in range(20)]
    assert np.mean([share == 0.0 for share in close]) > 0.5, "noise moves nothing"


def test_overlapping_forecasts_make_the_error_larger():
    """Differences that last several days say less than as many that do not."""
    scores = shares_of((1.0, 1.0, 1.0, 1.0), apart=0.0, days=40, steps=1)
    wave = np.where(np.arange(40) // 5 % 2 == 0, -0.03, 0.025)
    day = (scores["day"] - scores["day"].min()).dt.days.to_numpy()
    scores["crps"] = 0.01
    scores.loc[scores["share"] == 1.0, "crps"] *= 1 + wave[day[scores["share"] == 1.0]]
    policy = Rolling(guard=Guard(noninferiority=None)).build()
    assert policy.share(scores) == 0.0
    calm = scores.copy()
    calm.loc[calm["share"] == 1.0, "crps"] = 0.01 * (1 - 0.0025)
    assert policy.share(calm) == 1.0


def test_shares_with_scores_that_are_not_finite_are_left_out():
    policy = Rolling(guard=Guard(noninferiority=None)).build()
    scores = shares_of((1.0, 0.97, 0.90, 0.80), apart=0.01)
    scores.loc[scores.index[scores["share"] == 1.5][0], "crps"] = np.nan
    assert policy.share(scores) == 1.0
    scores["crps"] = np.nan
    with pytest.raises(ValueError, match="no share has scores"):
        policy.share(scores)

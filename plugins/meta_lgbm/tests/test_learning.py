"""What is learned: nothing where there is nothing, and who is good at what where that differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from kronosfw_meta_lgbm.features import of_past
from kronosfw_meta_lgbm.meta import MetaLearner, weights_of
from kronosfw_meta_lgbm.mixing import losses
from kronosfw_meta_lgbm.options import MetaLgbm

from kronosfw.past import POOLED, scored

from .made import past

LATE = np.datetime64("2040-01-01", "us")
GOOD, BAD = (0.1, 1.0), (1.0, 1.0)
BY_CLASS = {
    "a": {"crypto": GOOD, "equity": BAD},
    "b": {"crypto": BAD, "equity": GOOD},
    "c": (0.8, 1.0),
}
CLASSES = ("crypto", "equity")


def taught(frame, **options) -> MetaLearner:
    learner = MetaLearner(MetaLgbm(**{"least": 1000, **options}))
    learner.fit(frame, LATE)
    return learner


def fresh_weights(learner: MetaLearner, frame):
    """Return the weights that what was learned gives rows it has not seen, and those rows."""
    rows = scored(frame, "ensemble", LATE)
    features = of_past(rows, learner.learned.classes, learner._options)
    there = np.isfinite(rows.quantiles[..., 0])
    weights = np.empty(there.shape)
    for name in np.unique(rows.asset_class):
        mine = rows.asset_class == name
        lesson = learner.learned.lessons.get(name, learner.learned.lessons.get(POOLED))
        weights[mine] = weights_of(lesson, features[mine], there[mine])
    return weights, rows


def loss(weights, rows) -> float:
    quantiles, outcome = rows.scaled
    return float(losses(np.broadcast_to(weights, rows.quantiles.shape[:2]), quantiles, outcome, rows.levels).mean())


@pytest.mark.parametrize("seed", range(5))
def test_equal_members_get_equal_weights_or_nearly_so(seed):
    members = dict.fromkeys("abcd", (0.5, 1.0))
    learner = taught(past(150, members=members, seed=seed))
    weights, rows = fresh_weights(learner, past(200, members=members, seed=1000 + seed))
    assert loss(weights, rows) <= 1.01 * loss(np.full(4, 0.25), rows)


@pytest.mark.parametrize("least", [500, 1500])
def test_the_weight_goes_where_a_member_is_good(least):
    """By classes of their own, and by all classes together with the class as a feature."""
    shape = {"members": BY_CLASS, "classes": CLASSES, "symbols": 6}
    learner = taught(past(160, seed=1, **shape), least=least)
    assert set(learner.learned.lessons) == ({"crypto", "equity"} if least == 500 else {POOLED})
    weights, rows = fresh_weights(learner, past(200, seed=2, **shape))
    for name, good, bad in (("crypto", 0, 1), ("equity", 1, 0)):
        mean = weights[rows.asset_class == name].mean(axis=0)
        assert mean[good] > 0.5
        assert mean[bad] < mean[good] - 0.25
    learned = loss(weights, rows)
    assert learned < 0.97 * loss(np.full(3, 1 / 3), rows)
    assert learned < 0.97 * min(loss(np.eye(3)[k], rows) for k in range(3))


def test_trees_find_the_regime_in_which_a_member_is_good():
    members = {
        "a": {"low": GOOD, "normal": BAD, "high": BAD},
        "b": {"low": BAD, "normal": BAD, "high": GOOD},
        "c": (0.7, 1.0),
    }
    learner = taught(past(200, members=members, symbols=6, seed=1))
    assert learner.learned.lessons["crypto"].rounds > 0
    weights, rows = fresh_weights(learner, past(200, members=members, symbols=6, seed=2))
    assert weights[rows.regime == "low", 0].mean() > weights[rows.regime == "high", 0].mean() + 0.3
    assert weights[rows.regime == "high", 1].mean() > weights[rows.regime == "low", 1].mean() + 0.3
    assert loss(weights, rows) < 0.98 * loss(np.full(3, 1 / 3), rows)


def test_the_member_whose_envelope_is_honest_is_preferred():
    members = {"narrow": (0.0, 0.3), "honest": (0.0, 1.0), "wide": (0.0, 3.0)}
    weights, rows = fresh_weights(taught(past(100, members=members)), past(100, members=members, seed=9))
    assert weights.mean(axis=0) @ np.array([0.3, 1.0, 3.0]) == pytest.approx(1, abs=0.25)
    assert loss(weights, rows) < loss(np.full(3, 1 / 3), rows)


def test_a_member_that_is_missing_has_no_weight():
    frame = past(150, members=BY_CLASS, classes=CLASSES, seed=1)
    gone = (frame["model_name"] == "a") & (frame["symbol"] == "S0")
    weights, rows = fresh_weights(taught(frame[~gone], least=500), frame[~gone])
    assert (weights[rows.symbol == "S0", 0] == 0).all()
    assert weights.sum(axis=1) == pytest.approx(1)


def test_nothing_is_learned_from_what_comes_later_and_the_order_of_rows_does_not_matter():
    frame = past(150, members=BY_CLASS, classes=CLASSES, symbols=6, seed=1)
    cutoff = frame["realised_at"].max().to_datetime64().astype("datetime64[us]")
    later = past(50, members=dict.fromkeys("abc", (0.0, 5.0)), start=cutoff, seed=2)
    states = []
    for rows in (frame, frame.sample(frac=1, random_state=0), pd.concat([later, frame])):
        learner = MetaLearner(MetaLgbm(least=500))
        learner.fit(rows, cutoff)
        states.append(learner.state())
    assert states[0] is not None
    assert states[0] == states[1] == states[2]


def test_it_trains_anew_when_it_is_due_and_not_before():
    frame = past(100, members=BY_CLASS, classes=CLASSES, seed=1)
    end = frame["realised_at"].max().to_datetime64().astype("datetime64[us]")
    day = np.timedelta64(1, "D")
    learner = MetaLearner(MetaLgbm(least=300, refit_days=30))
    learner.fit(frame, end)
    first = learner.state()
    longer = past(130, members=BY_CLASS, classes=CLASSES, seed=1)
    learner.fit(longer, end + 29 * day)
    assert learner.state() == first
    learner.fit(longer, end + 30 * day)
    assert learner.learned.until == end + 30 * day
    learner.fit(longer[longer["model_name"] != "c"], end + 31 * day)
    assert learner.learned.members == ("a", "b")
    # A run as of a moment before: what was learned since is not to be had.
    learner.fit(longer[longer["model_name"] != "c"], end)
    assert learner.learned.until == end

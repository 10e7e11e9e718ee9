"""Validation never looks ahead, and prefers what is simple."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_meta_lgbm.folds import purged, simplest

DAY = np.timedelta64(1, "D")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=80), st.integers(1, 6))
def test_a_fold_learns_from_what_was_known_at_its_first_cutoff(rows, folds):
    as_of = np.datetime64("2024-01-01", "us") + np.array([day for day, _ in rows]) * DAY
    realised_at = as_of + np.array([step for _, step in rows]) * DAY
    validated = np.zeros(len(rows), dtype=int)
    for learn, ahead in purged(as_of, realised_at, folds):
        first = as_of[ahead].min()
        assert learn.any()
        assert (learn == (realised_at <= first)).all()
        assert not (learn & ahead).any()
        validated += ahead
    assert validated.max(initial=0) <= 1


def test_all_later_spans_validate_once():
    as_of = np.repeat(np.datetime64("2024-01-01", "us") + np.arange(100) * DAY, 3)
    folds = list(purged(as_of, as_of + DAY, 4))
    assert len(folds) == 4
    assert sum(ahead.sum() for _, ahead in folds) == 240


def test_the_first_is_chosen_where_all_are_as_good():
    as_of = np.datetime64("2024-01-01", "us") + np.arange(200) * DAY
    noise = np.random.default_rng(0).normal(size=(3, 200))
    assert simplest(np.ones((3, 200)), as_of) == 0
    assert simplest(noise[[0, 0, 0]], as_of) == 0


def test_a_better_one_is_chosen_only_if_many_days_say_so():
    rng = np.random.default_rng(1)
    days = np.datetime64("2024-01-01", "us") + np.arange(50) * DAY
    base = rng.normal(size=50)
    better = base - 0.3 + rng.normal(size=50) * 0.5
    assert simplest(np.stack([base, better]), days) == 1
    # The same figures are less evidence where all rows are of two days.
    two = np.where(np.arange(50) < 25, days[0], days[1])
    gains = np.where(np.arange(50) < 25, -2.0, 1.0)
    assert simplest(np.stack([base, base + gains]), two) == 0
    assert simplest(np.stack([base, base + gains + rng.normal(size=50) * 0.01]), days) == 1

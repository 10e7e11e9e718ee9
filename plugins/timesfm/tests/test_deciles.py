"""Levels between and beyond the deciles."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_timesfm.deciles import DECILES, at_levels

levels = st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, unique=True).map(sorted)


def test_deciles_are_kept_and_what_lies_between_is_on_the_line():
    deciles = np.array([[1.0, 2, 4, 4, 5, 6, 7, 8, 10]])
    np.testing.assert_array_equal(at_levels(deciles, tuple(DECILES)), deciles)
    np.testing.assert_allclose(at_levels(deciles, (0.15, 0.25, 0.35, 0.875)), [[1.5, 3, 4, 9.5]])


def test_a_normal_distribution_keeps_its_tails():
    normal = NormalDist(100, 7)
    deciles = np.array([[normal.inv_cdf(level) for level in DECILES]])
    tails = (0.001, 0.05, 0.95, 0.999)
    np.testing.assert_allclose(at_levels(deciles, tails), [[normal.inv_cdf(level) for level in tails]])


@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9).map(sorted), levels)
def test_order_is_kept(deciles, wanted):
    found = at_levels(np.array([deciles]), wanted)
    assert (np.diff(found) >= -1e-9 * (1 + np.abs(deciles).max())).all()

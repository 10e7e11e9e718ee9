"""Candles as the model sees them: columns, time stamps, normalisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kronosfw_kronos_event.kronos.candles import Floats, Scale, candles, stamps

PRICES = np.array([[10.0, 12.0, 9.0, 11.0], [11.0, 13.0, 10.0, 12.0]])

contexts = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(6)), elements=st.floats(-1e9, 1e9))


@given(contexts)
def test_scale_is_mean_and_population_deviation(context: Floats) -> None:
    scale = Scale.of(context)
    table = pd.DataFrame(context)
    np.testing.assert_allclose(scale.mean, table.mean(), rtol=1e-9, atol=1e-3)
    np.testing.assert_allclose(scale.std, table.std(ddof=0), rtol=1e-6, atol=1e-3)


@given(contexts)
def test_what_is_not_clipped_comes_back(context: Floats) -> None:
    scale = Scale.of(context)
    z = scale.normalise(context)
    assert np.abs(z).max() <= 5
    inside = np.abs(context - scale.mean) < 5 * scale.std
    back = scale.denormalise(z)
    np.testing.assert_allclose(back[inside], context[inside], rtol=1e-9, atol=1e-9 * np.abs(context).max())


def test_what_lies_far_out_is_clipped() -> None:
    scale = Scale(np.full(6, 100.0), np.full(6, 2.0))
    z = scale.normalise(np.array([[111.0, 89.0, 109.0, 91.0, 100.0, 1e9]]))
    np.testing.assert_allclose(z, [[5, -5, 4.5, -4.5, 0, 5]], rtol=1e-5)


def test_what_never_moves_is_zero() -> None:
    context = np.tile([3.0, 3.0, 3.0, 3.0, 0.0, 0.0], (4, 1))
    scale = Scale.of(context)
    np.testing.assert_array_equal(scale.normalise(context), np.zeros((4, 6)))
    np.testing.assert_array_equal(scale.denormalise(np.zeros((1, 6))), context[:1])


def test_many_contexts_at_once_are_measured_one_by_one() -> None:
    many = np.random.default_rng(0).lognormal(2, 1, (3, 7, 6))
    scale = Scale.of(many)
    for one, z, back in zip(many, scale.normalise(many), scale.denormalise(scale.normalise(many)), strict=True):
        np.testing.assert_allclose(z, Scale.of(one).normalise(one))
        np.testing.assert_allclose(back, one)


@given(st.lists(st.datetimes(pd.Timestamp(1930, 1, 1), pd.Timestamp(2120, 12, 31)), min_size=1))
def test_stamps(moments: list[pd.Timestamp]) -> None:
    index = pd.DatetimeIndex(np.array(moments, "datetime64[us]"))
    expected = np.column_stack([index.minute, index.hour, index.weekday, index.day, index.month])
    np.testing.assert_array_equal(stamps(index.to_numpy()), expected)


def test_candles_keep_what_is_given() -> None:
    found = candles(PRICES, np.array([100.0, 200.0]), np.array([7.0, 8.0]))
    np.testing.assert_array_equal(found, [[10, 12, 9, 11, 100, 7], [11, 13, 10, 12, 200, 8]])


def test_without_amount_it_is_volume_times_the_mean_price() -> None:
    found = candles(PRICES, np.array([100.0, 200.0]))
    np.testing.assert_array_equal(found[:, 4:], [[100, 1050], [200, 2300]])


def test_without_volume_both_are_zero_even_where_amount_is_given() -> None:
    for amount in (None, np.array([7.0, 8.0])):
        np.testing.assert_array_equal(candles(PRICES, amount=amount)[:, 4:], np.zeros((2, 2)))

"""Covariates of 3.0: which are shown, that they are seen, and that nothing later is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kronosfw_timesfm.covariates import channels_of
from kronosfw_timesfm.options import TimesFm
from pydantic import ValidationError

from kronosfw.builtin.encoders.macro20 import Macro20
from kronosfw.testing.forecasters import assert_equal
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Covariates

from .made import LEVELS, options30, save30, windows, with_channels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save30(tmp_path_factory.mktemp("30"))


def shown_to(version="3.0", **options):
    return TimesFm(version=version, accept_license=True, **options)


def changed(window, row, channel, value=3.0, masked=False):
    values, mask = window.covariates.values.copy(), window.covariates.mask.copy()
    values[row, channel] = 0 if masked else value
    mask[row, channel] = masked
    return replace(window, covariates=replace(window.covariates, values=values, mask=mask))


@pytest.mark.parametrize(("row", "channel"), [(-1, 0), (30, 0), (30, 1), (30, 2)])
def test_every_channel_reaches_the_model(folder, row, channel):
    forecaster = options30(folder).build()
    window = with_channels(windows(1)[0])
    (before,) = forecaster.forecast([window], LEVELS)
    (after,) = forecaster.forecast([changed(window, row, channel)], LEVELS)
    assert (before.quantiles != after.quantiles).any()


def test_an_unknown_value_is_not_a_zero(folder):
    forecaster = options30(folder).build()
    window = with_channels(windows(1)[0])
    (zero,) = forecaster.forecast([changed(window, 40, 1, value=0.0)], LEVELS)
    (unknown,) = forecaster.forecast([changed(window, 40, 1, masked=True)], LEVELS)
    assert (zero.quantiles != unknown.quantiles).any()


def test_without_channels_the_forecast_is_that_of_the_close(folder):
    (window,) = windows(1)
    shown = with_channels(window)
    blind = options30(folder, past_covariates=False, known_covariates=False).build()
    assert_equal(blind.forecast([shown], LEVELS), blind.forecast([window], LEVELS))
    forgotten = replace(shown, covariates=shown.covariates.without({"a", "b"}))
    assert_equal(options30(folder).build().forecast([forgotten], LEVELS), blind.forecast([window], LEVELS))


def test_what_is_shown_has_the_width_of_the_window():
    window = with_channels(windows(1)[0])
    channels = channels_of(window, shown_to())
    assert channels.past.values.shape == channels.past.mask.shape == (2, 100)
    assert channels.known.values.shape == channels.known.mask.shape == (1, 105)
    assert channels.past.mask[1].sum() == 7
    assert len(channels_of(window, shown_to(past_covariates=("surprise",), known_covariates=False))) == 1


def test_a_name_that_no_encoder_gives_and_too_many_channels_are_refused():
    window = with_channels(windows(1)[0])
    with pytest.raises(ValueError, match="no encoder gives surprize; there is leader, surprise, constant"):
        channels_of(window, shown_to(past_covariates=("surprize",)))
    values = np.random.default_rng(0).normal(size=(105, 32)).astype(np.float32)
    names = tuple(f"c{i}" for i in range(32))
    many = Covariates(values, np.zeros(values.shape, np.bool_), names, (True,) * 32, names)
    with pytest.raises(ValueError, match="32 covariates are more than the 31"):
        channels_of(replace(window, covariates=many), shown_to())
    assert len(channels_of(replace(window, covariates=many), shown_to(known_covariates=names[:31]))) == 31


def test_nothing_after_the_cutoff_matters(folder):
    market = SmallMarket.make(n_symbols=3, n=200)
    cutoff = cutoff_at(market.bars["S0"].times, 150)
    shape = {"context": 120, "encoders": [Macro20(btc="BTCUSDT").build()]}
    forecaster = options30(folder).build()
    before = market.windows(cutoff, **shape)
    after = market.with_another_future(cutoff).windows(cutoff, **shape)
    assert len(channels_of(before[0], shown_to())) > 5
    assert_equal(forecaster.forecast(after, LEVELS), forecaster.forecast(before, LEVELS))


def test_2_5_sees_what_is_known_ahead_and_that_with_xreg_alone():
    window = with_channels(windows(1)[0])
    assert len(channels_of(window, shown_to("2.5"))) == 0
    channels = channels_of(window, shown_to("2.5", xreg=True))
    assert (len(channels.past), len(channels.known)) == (0, 1)
    for unused in ("past_covariates", "known_covariates"):
        with pytest.raises(ValidationError, match=f"`{unused}` are for version 3.0"):
            shown_to("2.5", **{unused: ("leader",)})

"""Both versions: kronosfw's contract, gaps and bad numbers, batches, and what the package itself would say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kronosfw_timesfm.deciles import DECILES
from kronosfw_timesfm.options import TimesFm
from timesfm import ForecastConfig, TimesFM_2p5_200M_torch
from timesfm3 import TimesFM3Forecaster

from kronosfw.interfaces import Forecaster
from kronosfw.testing import ForecasterContract
from kronosfw.testing.forecasters import assert_equal, check_forecast
from kronosfw.types import Window

from .made import LEVELS, options25, options30, save25, save30, tiny_geometry, windows, with_channels, with_close


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with tiny_geometry():
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {"2.5": save25(tmp_path_factory.mktemp("25")), "3.0": save30(tmp_path_factory.mktemp("30"))}


@pytest.fixture(params=["2.5", "3.0"])
def options(request, folders) -> TimesFm:
    make = {"2.5": options25, "3.0": options30}[request.param]
    return make(folders[request.param])


@pytest.fixture
def forecaster(options) -> Forecaster:
    return options.build()


class TestVersion25(ForecasterContract):
    @pytest.fixture
    def options(self, folders):
        return options25(folders["2.5"])


class TestVersion30(ForecasterContract):
    @pytest.fixture
    def options(self, folders):
        return options30(folders["3.0"])


def levels_of(forecaster: Forecaster, window: Window) -> np.ndarray:
    return forecaster.forecast([window], LEVELS)[0].quantiles[:, 0]


def test_2_5_says_what_the_package_says(folders):
    window = windows(1, context=90, horizon=9)[0]
    (forecast,) = options25(folders["2.5"]).build().forecast([window], tuple(DECILES))
    model = TimesFM_2p5_200M_torch.from_pretrained(str(folders["2.5"]), torch_compile=False)
    model.compile(
        ForecastConfig(96, 9, True, use_continuous_quantile_head=True, fix_quantile_crossing=True),
    )
    _, expected = model.forecast(9, [window.bars.close])
    np.testing.assert_allclose(forecast.quantiles[:, 0], expected[0, :, 1:], rtol=1e-4)
    assert np.ptp(expected[0, :, 1:], axis=-1).min() > 1e-3


@pytest.mark.parametrize("covariates", [False, True])
def test_3_0_says_what_the_package_says(folders, covariates):
    window = windows(1, context=90, horizon=9)[0]
    shown: dict[str, list[np.ndarray]] = {}
    if covariates:
        window = with_channels(window)
        values = window.covariates.values.T
        shown = {"past_only_covariates": [values[1:2, :90]], "past_future_covariates": [values[:1]]}
    (forecast,) = (
        options30(folders["3.0"], past_covariates=["leader"] if covariates else False)
        .build()
        .forecast([window], tuple(DECILES))
    )
    model = TimesFM3Forecaster.from_pretrained(str(folders["3.0"]), device="cpu")
    close = window.bars.close
    standardised = (close - close.mean()) / close.std()
    (expected,) = model.predict_batch(
        [standardised], 9, return_quantiles=True, use_symmetric_averaging=True, **shown
    )
    np.testing.assert_allclose(forecast.quantiles[:, 0], expected.quantiles * close.std() + close.mean(), rtol=1e-5)


def test_the_context_matters(forecaster):
    window = windows(1)[0]
    close = window.bars.close.copy()
    close[40] *= 1.3
    assert (levels_of(forecaster, with_close(window, close)) != levels_of(forecaster, window)).all()


def test_unknown_closes_are_left_out_or_bridged(forecaster):
    window = windows(1)[0]
    close = window.bars.close.copy()
    close[:10], close[50:53], close[-2:] = np.nan, [np.nan, np.inf, -np.inf], np.nan
    bridged = close.copy()
    bridged[50:53] = np.linspace(close[49], close[53], 5)[1:-1]
    bridged[-2:] = close[-3]
    found = levels_of(forecaster, with_close(window, close))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, levels_of(forecaster, with_close(window, bridged).last(90)), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_history_that_says_nothing_is_refused_with_the_reason(forecaster, bad):
    window = windows(1)[0]
    close = np.full(len(window.bars), bad)
    close[:5] = -bad
    with pytest.raises(ValueError, match=r"known closes are needed, there are 0 in 100 bars|too large"):
        forecaster.forecast([with_close(window, close)], LEVELS)
    with pytest.raises(ValueError, match="16 known closes are needed, there are 15"):
        forecaster.forecast([window.last(15)], LEVELS)
    with pytest.raises(ValueError, match="16 known closes are needed, there are 0"):
        forecaster.forecast([window.last(0)], LEVELS)


def test_no_series_depends_on_another(folders, options):
    """Whatever stands beside a series and whatever its length, its numbers are the same bit for bit."""
    forecaster = options.build()
    whole = [with_channels(window, seed) for seed, window in enumerate(windows(4))]
    mixed = [window.last(n) for window, n in zip(whole, (100, 97, 64, 20), strict=True)]
    spiked = whole[1].bars.close.copy()
    spiked[::7], spiked[3], spiked[50] = 1e12, np.inf, np.nan
    poisoned = with_close(whole[1], spiked)
    together = forecaster.forecast([poisoned, *mixed, poisoned], LEVELS)
    alone = [forecaster.forecast([window], LEVELS)[0] for window in mixed]
    assert_equal(together[1:-1], alone)
    one_at_a_time = options.model_copy(update={"batch": 1}).build()
    assert_equal(one_at_a_time.forecast(mixed, LEVELS), alone)
    for forecast, window in zip(together, [poisoned, *mixed, poisoned], strict=True):
        check_forecast(forecast, window, LEVELS)


def test_horizons_may_differ_in_a_call(forecaster):
    shorter, longer = windows(1, horizon=5)[0], windows(1, horizon=300)[0]
    found = forecaster.forecast([longer, shorter], LEVELS)
    assert [len(forecast.time) for forecast in found] == [300, 5]
    assert_equal(found[1:], forecaster.forecast([shorter], LEVELS))


def test_only_a_close_that_was_negative_is_forecast_below_zero(forecaster):
    window = windows(1, horizon=50)[0]
    fall = np.linspace(3, 0, len(window.bars)) + np.random.default_rng(0).normal(0, 1, len(window.bars))
    assert levels_of(forecaster, with_close(window, fall)).min() < 0
    floored = np.maximum(fall, 0)
    assert levels_of(forecaster, with_close(window, floored)).min() == 0


def test_scale_of_the_prices_does_not_matter(forecaster):
    window = windows(1)[0]
    found = levels_of(forecaster, window)
    moved = levels_of(forecaster, with_close(window, window.bars.close / 64 + 4e6))
    np.testing.assert_allclose((moved - 4e6) * 64, found, rtol=1e-4)


def test_symmetry(folders, options):
    window = windows(1)[0]
    mirrored = with_close(window, -window.bars.close)
    expected = -levels_of(options.build(), window)[:, ::-1]
    np.testing.assert_allclose(levels_of(options.build(), mirrored), expected, rtol=1e-6)
    lopsided = options.model_copy(update={"symmetric": False}).build()
    assert np.abs(levels_of(lopsided, mirrored) + levels_of(lopsided, window)[:, ::-1]).max() > 1e-3


def test_what_does_not_fit_is_cut_or_refused(folders):
    forecaster = options25(folders["2.5"]).build()
    assert forecaster.max_context == 16_384 - 128
    assert options30(folders["3.0"]).build().max_context == 15_360
    (window,) = windows(1, horizon=1025)
    with pytest.raises(ValueError, match=r"1025 steps are asked for, and TimesFM 2\.5 gives quantiles of 1024"):
        forecaster.forecast([window], LEVELS)
    long = replace(windows(1, context=15_400, horizon=1024)[0], covariates=None)
    assert_equal(forecaster.forecast([long], LEVELS), forecaster.forecast([long.last(15_360)], LEVELS))

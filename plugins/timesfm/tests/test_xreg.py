"""The regression on known covariates before 2.5; needs jax and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kronosfw.testing.forecasters import assert_equal, check_forecast
from kronosfw.types import Covariates

from .made import LEVELS, options25, save25, tiny_geometry, windows, with_close

pytest.importorskip("jax", reason="xreg needs jax; pip install 'kronosfw-timesfm[xreg]'")
pytest.importorskip("sklearn", reason="xreg needs scikit-learn; pip install 'kronosfw-timesfm[xreg]'")


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    with tiny_geometry():
        yield options25(save25(tmp_path_factory.mktemp("25")), xreg=True).build()


@pytest.fixture(scope="module")
def eventful():
    """Windows whose close is higher by 10 wherever a flag, known ahead, is up; it is up at the third step."""
    flag = np.zeros((105, 1), np.float32)
    flag[::7] = flag[102] = 1
    flag[100:102] = flag[103:] = 0
    shown = Covariates(flag, np.zeros(flag.shape, np.bool_), ("flag",), (True,), ("schedule",))
    noise = np.random.default_rng(0).normal(100, 0.5, (3, 100))
    return [
        replace(with_close(window, close + 10 * flag[:100, 0]), covariates=shown)
        for window, close in zip(windows(3), noise, strict=True)
    ]


def test_what_is_known_ahead_moves_the_forecast(forecaster, eventful):
    for forecast, window in zip(forecaster.forecast(eventful, LEVELS), eventful, strict=True):
        check_forecast(forecast, window, LEVELS)
        values = window.covariates.values.copy()
        values[102] = 0
        quiet = replace(window, covariates=replace(window.covariates, values=values))
        (other,) = forecaster.forecast([quiet], LEVELS)
        difference = (forecast.quantiles - other.quantiles)[:, 0]
        np.testing.assert_allclose(difference[2], 10, atol=1)
        np.testing.assert_allclose(np.delete(difference, 2, axis=0), 0, atol=1e-3)


def test_no_series_depends_on_another(forecaster, eventful):
    together = forecaster.forecast(eventful, LEVELS)
    assert_equal([forecaster.forecast([window], LEVELS)[0] for window in eventful], together)


def test_without_covariates_it_is_the_model_alone(forecaster, tmp_path):
    (window,) = windows(1)
    with tiny_geometry():
        plain = options25(save25(tmp_path)).build()
    assert_equal(forecaster.forecast([window], LEVELS), plain.forecast([window], LEVELS))

"""The contract of a forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from ..errors import KronosfwError
from ..interfaces import Forecaster, ForecasterConfig
from ..types import Bars, Covariates, Forecast, Window
from .base import ComponentContract
from .market import SmallMarket, cutoff_at

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


class ForecasterContract(ComponentContract):
    """A forecast depends on its window and nothing else, and its quantiles are finite and in order."""

    kind = "forecaster"
    context: ClassVar[int] = 256
    """Bars of context that the contract's windows hold."""
    rtol: ClassVar[float] = 0.0
    """How far a batch may lie from one by one, relative; 0 means bit for bit."""

    @pytest.fixture
    def forecaster(self, options: ForecasterConfig) -> Forecaster:
        return options.build()

    @pytest.fixture
    def market(self) -> SmallMarket:
        return SmallMarket.make(n=self.context + 60)

    def cut(self, market: SmallMarket, forecaster: Forecaster, **shape: Any) -> list[Window]:
        """Return windows of the market as the host would hand them to the forecaster."""
        times = next(iter(market.bars.values())).times
        windows = market.windows(cutoff_at(times, self.context + 20), context=self.context, **shape)
        return [w.last(forecaster.max_context or self.context) for w in windows]

    @pytest.mark.parametrize("horizon", [1, 7])
    def test_gives_one_ordered_forecast_for_each_window(
        self, forecaster: Forecaster, market: SmallMarket, horizon: int
    ) -> None:
        windows = self.cut(market, forecaster, horizon=horizon)
        for forecast, window in zip(forecaster.forecast(windows, LEVELS), windows, strict=True):
            check_forecast(forecast, window, LEVELS)
            assert forecast.at((0.05,))[-1] < forecast.at((0.95,))[-1], "an envelope must have a width"

    def test_forecasts_intraday_bars(self, forecaster: Forecaster) -> None:
        market = SmallMarket.make(n_symbols=2, n=self.context + 60, freq="1h", market="24/7")
        windows = self.cut(market, forecaster)
        for forecast, window in zip(forecaster.forecast(windows, LEVELS), windows, strict=True):
            check_forecast(forecast, window, LEVELS)

    def test_batch_equals_one_by_one_in_any_order(self, forecaster: Forecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        together = forecaster.forecast(windows, LEVELS)
        backwards = forecaster.forecast(windows[::-1], LEVELS)[::-1]
        alone = [forecaster.forecast([w], LEVELS)[0] for w in windows]
        for one, other, third in zip(together, backwards, alone, strict=True):
            np.testing.assert_allclose(other.quantiles, one.quantiles, rtol=self.rtol, atol=0)
            np.testing.assert_allclose(third.quantiles, one.quantiles, rtol=self.rtol, atol=0)

    def test_same_inputs_give_the_same_numbers(
        self, options: ForecasterConfig, forecaster: Forecaster, market: SmallMarket
    ) -> None:
        windows = self.cut(market, forecaster)
        first = forecaster.forecast(windows, LEVELS)
        assert_equal(forecaster.forecast(windows, LEVELS), first)
        assert_equal(options.build().forecast(windows, LEVELS), first)

    def test_threads_do_not_disturb_each_other(self, forecaster: Forecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        expected = forecaster.forecast(windows, LEVELS)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: forecaster.forecast(windows, LEVELS), range(4)):
                assert_equal(found, expected)

    def test_nothing_after_the_cutoff_matters(self, forecaster: Forecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        other = self.cut(market.with_another_future(windows[0].cutoff), forecaster)
        assert_equal(forecaster.forecast(other, LEVELS), forecaster.forecast(windows, LEVELS))

    def test_inputs_are_not_changed(self, forecaster: Forecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        before = [(w.bars.values.tobytes(), w.future.time.tobytes()) for w in windows]
        given = list(windows)
        forecaster.forecast(given, LEVELS)
        assert given == windows, "the list of windows was changed"
        assert [(w.bars.values.tobytes(), w.future.time.tobytes()) for w in windows] == before

    def test_covariates_are_welcome(self, forecaster: Forecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        shape = (len(windows[0].bars) + windows[0].horizon, 2)
        values, mask = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        covariates = Covariates(values, mask, ("is_cpi", "spy_return"), (True, False), ("schedule", "leaders"))
        windows = [replace(w, covariates=covariates) for w in windows]
        for forecast, window in zip(forecaster.forecast(windows, LEVELS), windows, strict=True):
            check_forecast(forecast, window, LEVELS)

    @pytest.mark.parametrize("history", ["one bar", "short", "constant", "nan at the end", "nan inside", "all nan"])
    def test_a_poor_history_is_forecast_or_refused_with_a_reason(
        self, forecaster: Forecaster, market: SmallMarket, history: str
    ) -> None:
        good, *rest = self.cut(market, forecaster)
        bars = _poor(good.bars, history)
        poor = replace(good.last(len(bars)), bars=bars)
        try:
            (forecast,) = forecaster.forecast([poor], LEVELS)
            check_forecast(forecast, poor, LEVELS)
        except (ValueError, KronosfwError) as error:
            assert len(str(error)) > 10, "say why the history cannot be forecast"  # noqa: PT017
        assert_equal(
            forecaster.forecast(rest, LEVELS), [forecaster.forecast([w], LEVELS)[0] for w in rest], self.rtol
        )

    def test_base_weights_are_those_it_starts_with(self, forecaster: Forecaster, market: SmallMarket) -> None:
        if not hasattr(forecaster, "with_checkpoint"):
            pytest.skip("this forecaster has no checkpoints")
        windows = self.cut(market, forecaster)
        base = forecaster.with_checkpoint(None)
        assert_equal(base.forecast(windows, LEVELS), forecaster.forecast(windows, LEVELS))


def check_forecast(forecast: Forecast, window: Window, levels: Sequence[float]) -> None:
    """Assert that a forecast is one of this window, finite and ordered."""
    assert isinstance(forecast, Forecast)
    assert (forecast.symbol, forecast.cutoff, forecast.levels) == (window.symbol, window.cutoff, tuple(levels))
    assert np.array_equal(forecast.time, window.future.time)
    assert "close" in forecast.columns
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    if forecast.samples is not None:
        assert np.isfinite(forecast.samples).all()


def assert_equal(found: Sequence[Forecast], expected: Sequence[Forecast], rtol: float = 0.0) -> None:
    """Assert that forecasts are the same, number by number."""
    for one, other in zip(found, expected, strict=True):
        assert one.symbol == other.symbol
        np.testing.assert_allclose(one.quantiles, other.quantiles, rtol=rtol, atol=0)


def _poor(bars: Bars, history: str) -> Bars:
    if history == "one bar":
        return bars[-1:]
    if history == "short":
        return bars[-5:]
    values = bars.values.copy()
    if history == "constant":
        values[:] = 100.0
    elif history == "nan at the end":
        values[-3:] = np.nan
    elif history == "nan inside":
        values[len(bars) // 2] = np.nan
    else:
        values[:] = np.nan
    return Bars(bars.symbol, bars.times, values, bars.columns)

"""The forecaster: kronosfw's contract, what the model is shown, and what a forecast depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_chronos2.batches import Rows, between, budget, footprint
from kronosfw_chronos2.forecaster import Chronos2Forecaster
from kronosfw_chronos2.options import Chronos2
from kronosfw_chronos2.series import Series, series
from pydantic import ValidationError

from kronosfw.testing import ForecasterContract
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Bars, Covariates, Forecast, Window

from .tiny import LEVELS, make_tiny

OHLC = "open", "high", "low", "close"
NOISE = 1e-6
"""How far a batch may lie from one by one, relative."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"), dropout_rate=0.5)


@pytest.fixture(scope="module")
def forecaster(folder: Path) -> Chronos2Forecaster:
    return made(folder).build()


def made(folder: Path, **options: Any) -> Chronos2:
    return Chronos2(model=str(folder), threads=1, **options)


def windows(number: int = 3, horizon: int = 20, context: int = 100) -> list[Window]:
    market = SmallMarket.make(n_symbols=number, n=160)
    times = next(iter(market.bars.values())).times
    return market.windows(cutoff_at(times, 120), context=context, horizon=horizon)


def changed(window: Window, rows: Any, value: float, columns: Any = slice(None)) -> Window:
    values = window.bars.values.copy()
    values[rows, columns] = value
    return replace(window, bars=replace(window.bars, values=values))


def with_channels(window: Window, *, future: float = 1.0, masked: bool = False, known_ahead: bool = True) -> Window:
    """Return the window with a channel that comes every seventh bar, and on the first step if so wanted."""
    length = len(window.bars)
    values = (np.arange(length + window.horizon) % 7 == 0).astype(np.float32)[:, None]
    mask = np.zeros_like(values, dtype=np.bool_)
    values[length:], mask[length:] = future, masked
    given = Covariates(np.where(mask, np.float32(0), values), mask, ("is_cpi",), (known_ahead,), ("schedule",))
    return replace(window, covariates=given)


def quantiles(found: Sequence[Forecast]) -> list[np.ndarray]:
    return [one.quantiles for one in found]


class TestClose(ForecasterContract):
    rtol = NOISE

    @pytest.fixture
    def options(self, folder: Path) -> Chronos2:
        return made(folder)


class TestOneByOne(ForecasterContract):
    @pytest.fixture
    def options(self, folder: Path) -> Chronos2:
        return made(folder, targets="ohlc", batch=1)


@pytest.mark.parametrize("past", [True, False])
def test_numbers_are_those_of_the_package(folder: Path, past: bool) -> None:
    given = windows()
    pipeline = Chronos2Pipeline.from_pretrained(folder)
    inputs = []
    for window in given:
        column = window.bars.column
        inputs.append({"target": np.stack([column(name) for name in OHLC])})
        if past:
            channels = {"volume": column("volume"), "range": (column("high") - column("low")) / column("close")}
            inputs[-1]["past_covariates"] = channels
    expected = pipeline.predict(inputs, prediction_length=20)
    found = made(folder, targets="ohlc", past_covariates=past).build().forecast(given, LEVELS)
    for forecast, tensor in zip(found, expected, strict=True):
        assert forecast.columns == OHLC
        wanted = np.sort(tensor.numpy(), axis=1).transpose(2, 0, 1)
        np.testing.assert_allclose(forecast.quantiles, wanted, rtol=NOISE)


@given(levels=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9, unique=True).map(sorted))
def test_levels_lie_between_the_native_ones(levels: list[float]) -> None:
    native = np.sort(np.random.default_rng(0).normal(size=len(LEVELS)))
    found = native @ between(LEVELS, levels)
    np.testing.assert_allclose(found, np.interp(levels, LEVELS, native), atol=1e-12)
    np.testing.assert_allclose(native @ between(LEVELS, LEVELS), native)


def test_levels_beyond_the_outer_native_ones_are_those(forecaster: Chronos2Forecaster) -> None:
    (found,) = forecaster.forecast(windows(1), (0.001, 0.01, 0.99, 0.999))
    np.testing.assert_array_equal(found.at((0.001, 0.999)), found.at((0.01, 0.99)))


def test_what_is_forecast_is_deterministic_for_dropout_is_off(forecaster: Chronos2Forecaster) -> None:
    assert forecaster.pipeline.model.config.dropout_rate == 0.5
    assert not any(module.training for module in forecaster.pipeline.model.modules())
    first = forecaster.forecast(windows(), LEVELS)
    torch.manual_seed(5)
    for one, other in zip(first, forecaster.forecast(windows(), LEVELS), strict=True):
        np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_it_leaves_the_global_random_state_alone(forecaster: Chronos2Forecaster) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    forecaster.forecast(windows(), LEVELS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


class TestPoorSeries:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_unknown(self, forecaster: Chronos2Forecaster, value: float) -> None:
        window = windows(1)[0]
        found = forecaster.forecast([changed(window, 50, value)], LEVELS)[0]
        assert np.isfinite(found.quantiles).all()
        np.testing.assert_array_equal(
            found.quantiles, forecaster.forecast([changed(window, 50, np.nan)], LEVELS)[0].quantiles
        )
        assert (found.quantiles != forecaster.forecast([window], LEVELS)[0].quantiles).any()

    @pytest.mark.parametrize("length", [2, 5, 16, 17])
    def test_short_histories_are_forecast(self, forecaster: Chronos2Forecaster, length: int) -> None:
        (found,) = forecaster.forecast([windows(1)[0].last(length)], LEVELS)
        assert (np.diff(found.at((0.05, 0.95))) > 0).all()

    @pytest.mark.parametrize("known", [0, 1])
    def test_too_short_a_history_is_refused_by_name(self, forecaster: Chronos2Forecaster, known: int) -> None:
        poor = changed(windows(1)[0], slice(known, None), np.nan)
        with pytest.raises(ValueError, match=rf"S0: 2 known values of the close .* {known} are known"):
            forecaster.forecast([poor], LEVELS)

    def test_a_missing_column_is_refused_by_name(self, folder: Path) -> None:
        window = windows(1)[0]
        bars = Bars("S0", window.bars.times, window.bars.values[:, 3:4], ("close",))
        assert made(folder).build().forecast([replace(window, bars=bars)], LEVELS)
        with pytest.raises(ValueError, match="S0: the bars lack open, high, low"):
            made(folder, targets="ohlc").build().forecast([replace(window, bars=bars)], LEVELS)

    def test_values_that_cannot_be_scaled_are_refused_by_name(self, forecaster: Chronos2Forecaster) -> None:
        with pytest.raises(ValueError, match="S0: its values are too large"):
            forecaster.forecast([changed(windows(1)[0], 50, 1e300)], LEVELS)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1e100, 0.0])
    def test_a_poisoned_series_in_the_batch_changes_no_other(self, folder: Path, value: float) -> None:
        """Not one bit, whether it takes a healthy one's place or, one by one, comes on top."""
        first, second, third = windows()
        poison = changed(second, slice(10, 90, 3), value)
        together, alone = made(folder).build(), made(folder, batch=1).build()
        healthy = quantiles(together.forecast([first, second, third], LEVELS))
        poisoned = quantiles(together.forecast([first, poison, third], LEVELS))
        assert all(np.isfinite(one).all() for one in poisoned)
        np.testing.assert_array_equal(poisoned[0], healthy[0])
        np.testing.assert_array_equal(poisoned[2], healthy[2])
        few = quantiles(alone.forecast([first, third], LEVELS))
        more = quantiles(alone.forecast([first, poison, third], LEVELS))
        np.testing.assert_array_equal(few, [more[0], more[2]])


class TestBatches:
    @pytest.mark.parametrize("grouping", ["none", "asset_class"])
    def test_order_changes_nothing(self, folder: Path, grouping: str) -> None:
        forecaster = made(folder, group_by=grouping).build()
        given = mixed()
        found = forecaster.forecast(given, LEVELS)
        backwards = forecaster.forecast(given[::-1], LEVELS)[::-1]
        for one, other in zip(found, backwards, strict=True):
            assert one.symbol == other.symbol
            np.testing.assert_array_equal(one.quantiles, other.quantiles)

    @pytest.mark.parametrize("options", [{}, {"batch": 2}, {"memory": 1}])
    def test_without_grouping_a_window_stands_for_itself(self, folder: Path, options: dict[str, int]) -> None:
        """Whatever lengths, horizons and channels stand beside it."""
        forecaster = made(folder, **options).build()
        given = mixed()
        for window, found in zip(given, forecaster.forecast(given, LEVELS), strict=True):
            (alone,) = forecaster.forecast([window], LEVELS)
            np.testing.assert_allclose(found.quantiles, alone.quantiles, rtol=NOISE)

    def test_one_by_one_not_a_bit_depends_on_the_rest(self, folder: Path) -> None:
        forecaster = made(folder, batch=1).build()
        given = mixed()
        for window, found in zip(given, forecaster.forecast(given, LEVELS), strict=True):
            np.testing.assert_array_equal(found.quantiles, forecaster.forecast([window], LEVELS)[0].quantiles)

    def test_grouping_uses_the_group_and_no_other(self, folder: Path) -> None:
        forecaster = made(folder, group_by="asset_class").build()
        first, second, third = windows()
        stranger = replace(third, asset_class="rates")
        (alone,) = quantiles(forecaster.forecast([first], LEVELS))
        together = quantiles(forecaster.forecast([first, second, stranger], LEVELS))
        assert not np.allclose(together[0], alone, rtol=1e-4)
        another = changed(second, slice(40, 60), 300.0)
        assert not np.allclose(forecaster.forecast([first, another], LEVELS)[0].quantiles, together[0], rtol=1e-4)
        (strange,) = quantiles(forecaster.forecast([stranger], LEVELS))
        np.testing.assert_array_equal(together[2], strange)

    def test_a_group_knows_no_more_than_its_cutoff(self, folder: Path) -> None:
        """Several cutoffs in one call, as in a backtest, are groups of their own."""
        forecaster = made(folder, group_by="asset_class").build()
        market = SmallMarket.make(n_symbols=2, n=160)
        times = market.bars["S0"].times
        early, late = (market.windows(cutoff_at(times, at), context=100, horizon=20) for at in (118, 120))
        both = quantiles(forecaster.forecast([*late, *early], LEVELS))
        np.testing.assert_array_equal(
            both, quantiles(forecaster.forecast(late, LEVELS) + forecaster.forecast(early, LEVELS))
        )

    def test_a_group_of_one_is_no_group(self, folder: Path, forecaster: Chronos2Forecaster) -> None:
        (found,) = made(folder, group_by="asset_class").build().forecast(windows(1), LEVELS)
        np.testing.assert_array_equal(found.quantiles, forecaster.forecast(windows(1), LEVELS)[0].quantiles)

    def test_memory_bounds_a_batch(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []
        forecaster = made(folder, memory=1).build()
        answers = forecaster._answers

        def spied(batch: Sequence[Rows], horizon: int) -> Any:
            sizes.append(footprint(batch, 2, forecaster.pipeline.model.config))
            return answers(batch, horizon)

        monkeypatch.setattr(forecaster, "_answers", spied)
        forecaster.forecast(windows(60), LEVELS)
        assert len(sizes) > 1
        assert max(sizes) <= 2**20
        assert budget(torch.device("cpu")) == 2**30


def mixed() -> list[Window]:
    """Return windows of several lengths, horizons and sets of channels."""
    first, second, third, fourth = windows(4)
    (short,) = windows(1, horizon=3)
    return [first, second.last(37), with_channels(third), with_channels(fourth.last(64), known_ahead=False), short]


class TestCovariates:
    def test_a_known_ahead_channel_changes_the_forecast(self, forecaster: Chronos2Forecaster) -> None:
        window = windows(1)[0]
        shown = [with_channels(window, future=value) for value in (0.0, 1.0)]
        one, other = (forecaster.forecast([given], LEVELS)[0].quantiles for given in shown)
        assert not np.allclose(one, other, rtol=1e-5)

    def test_what_is_masked_does_not(self, forecaster: Chronos2Forecaster) -> None:
        window = windows(1)[0]
        masked = [with_channels(window, future=value, masked=True) for value in (0.0, 1.0)]
        one, other = (forecaster.forecast([given], LEVELS)[0].quantiles for given in masked)
        np.testing.assert_array_equal(one, other)
        shown = forecaster.forecast([with_channels(window)], LEVELS)[0].quantiles
        assert not np.allclose(one, shown, rtol=1e-5)

    def test_nothing_known_of_a_channel_is_no_channel(self, forecaster: Chronos2Forecaster) -> None:
        window = windows(1)[0]
        given = with_channels(window)
        without = replace(given, covariates=given.covariates.without({"schedule"}))
        one, other = (forecaster.forecast([one], LEVELS)[0].quantiles for one in (window, without))
        np.testing.assert_array_equal(one, other)

    def test_past_channels_change_the_forecast_by_their_past_alone(self, forecaster: Chronos2Forecaster) -> None:
        window = windows(1)[0]
        shown = [with_channels(window, future=value, known_ahead=False) for value in (0.0, 1.0)]
        one, other = (forecaster.forecast([given], LEVELS)[0].quantiles for given in shown)
        np.testing.assert_array_equal(one, other)
        assert not np.allclose(one, forecaster.forecast([window], LEVELS)[0].quantiles, rtol=1e-5)

    def test_those_of_the_bars(self) -> None:
        (window,) = windows(1)
        found = series(changed(window, 3, np.inf, 1), Chronos2())
        assert list(found.past) == ["volume", "range"]
        assert np.isnan(found.past["range"][3])
        column = window.bars.column
        np.testing.assert_allclose(
            found.past["range"][4:], ((column("high") - column("low")) / column("close"))[4:]
        )
        assert not series(changed(window, slice(None), 0.0, 4), Chronos2(past_covariates=("volume",))).past

    @pytest.mark.parametrize(
        ("options", "past", "known"),
        [
            ({}, {"volume", "range"}, {"is_cpi"}),
            ({"past_covariates": False, "known_covariates": False}, set(), set()),
            ({"past_covariates": ("range",), "known_covariates": ("is_cpi",)}, {"range"}, {"is_cpi"}),
        ],
    )
    def test_options_choose(self, options: dict[str, Any], past: set[str], known: set[str]) -> None:
        found = series(with_channels(windows(1)[0]), Chronos2(**options))
        assert (set(found.past), set(found.known)) == (past, known)

    def test_a_name_that_there_is_not(self) -> None:
        with pytest.raises(ValueError, match="S0: `known_covariates` names is_nfp, and there is only is_cpi"):
            series(with_channels(windows(1)[0]), Chronos2(known_covariates=("is_nfp",)))

    def test_time_travel(self, forecaster: Chronos2Forecaster) -> None:
        """Bars after the cutoff and channels not known ahead say nothing."""
        market = SmallMarket.make(n_symbols=2, n=160)
        cutoff = cutoff_at(market.bars["S0"].times, 120)
        for one, other in zip(
            market.windows(cutoff, context=100, horizon=5),
            market.with_another_future(cutoff).windows(cutoff, context=100, horizon=5),
            strict=True,
        ):
            shown = with_channels(one, future=0.0, known_ahead=False), with_channels(other, known_ahead=False)
            found = [forecaster.forecast([given], LEVELS)[0].quantiles for given in shown]
            np.testing.assert_array_equal(*found)


class TestLimits:
    def test_a_longer_horizon_than_the_models_is_refused(self, forecaster: Chronos2Forecaster) -> None:
        market = SmallMarket.make(n_symbols=1, n=160)
        cutoff = cutoff_at(market.bars["S0"].times, 120)
        with pytest.raises(ValueError, match="S0: 1025 steps are asked for, and this model forecasts 1024 at most"):
            forecaster.forecast(market.windows(cutoff, context=100, horizon=1025), LEVELS)
        (found,) = forecaster.forecast(market.windows(cutoff, context=100, horizon=1024), LEVELS)
        assert np.isfinite(found.quantiles).all()

    def test_the_context_is_capped_by_the_model(self, tmp_path: Path) -> None:
        config = make_tiny(tmp_path) / "config.json"
        said = json.loads(config.read_text())
        said["chronos_config"]["context_length"] = 32
        config.write_text(json.dumps(said))
        forecaster = made(tmp_path).build()
        assert forecaster.max_context == 32
        whole, cut = windows(1)[0], windows(1)[0].last(32)
        one, other = (forecaster.forecast([given], LEVELS)[0].quantiles for given in (whole, cut))
        np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("wrong", [{"device": "gpu"}, {"dtype": "int8"}, {"batch": 0}, {"targets": "open"}])
    def test_options_are_checked(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Chronos2(**wrong)

    def test_bfloat16_is_near(self, folder: Path, forecaster: Chronos2Forecaster) -> None:
        (coarse,) = made(folder, dtype="bfloat16").build().forecast(windows(1), LEVELS)
        (fine,) = forecaster.forecast(windows(1), LEVELS)
        width = np.ptp(fine.quantiles)
        assert 0 < np.abs(coarse.quantiles - fine.quantiles).max() < 0.1 * width

    def test_large_prices_keep_their_small_moves(self, forecaster: Chronos2Forecaster) -> None:
        """The model would lose them in single precision."""
        (window,) = windows(1)
        values = window.bars.values.copy()
        values[:, :4] = 1e9 + values[:, :4] / 100
        plain, large = (
            replace(window, bars=Bars("S0", window.bars.times, given[:, 3:4], ("close",)))
            for given in (window.bars.values, values)
        )
        one, other = (forecaster.forecast([given], LEVELS)[0].quantiles for given in (plain, large))
        np.testing.assert_allclose((other - 1e9) * 100, one, rtol=1e-4)


@pytest.mark.parametrize("level", [0.1, 0.0, -5.0, 1e9])
def test_constant_targets_keep_their_level(level: float) -> None:
    given = Series(np.full((1, 8), level), {}, {})
    rows = Rows.of(given, "S0", 3)
    assert not rows.past.any()
    np.testing.assert_allclose(rows.prices(np.zeros((1, 21, 3))), level, rtol=1e-12)


def test_moves_too_small_to_square_are_no_moves() -> None:
    rows = Rows.of(Series(np.array([[0.0, 1e-200] * 4]), {}, {}), "S0", 3)
    assert not rows.past.any()

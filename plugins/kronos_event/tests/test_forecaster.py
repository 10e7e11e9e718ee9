"""The forecaster: kronosfw's contract, anchoring, repair, quantiles, sources of weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kronosfw_kronos_event.forecaster import COLUMNS
from kronosfw_kronos_event.kronos.decoder import anchored, quantiles, repaired
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.sampler import Paths
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.sources import source
from pydantic import ValidationError

from kronosfw.testing import ForecasterContract
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Bars, Window

GOLDEN = Path(__file__).parent / "golden"
LEVELS = (0.1, 0.5, 0.9)


def tiny(**options) -> KronosEvent:
    weights = {"model": str(GOLDEN / "model"), "tokenizer": str(GOLDEN / "tokenizer"), "max_context": 64}
    return KronosEvent(**{"threads": 1, "samples": 8, **weights, **options})


def windows(number: int = 3, horizon: int = 5, **shape) -> list[Window]:
    market = SmallMarket.make(n_symbols=number, n=120)
    times = next(iter(market.bars.values())).times
    return market.windows(cutoff_at(times, 100), context=60, horizon=horizon, **shape)


class TestRandomWeights(ForecasterContract):
    rtol = 1e-4

    @pytest.fixture
    def options(self):
        return tiny()


class TestIndependentDraws(ForecasterContract):
    rtol = 1e-4

    @pytest.fixture
    def options(self):
        return tiny(sampling="independent", top_k=20, top_p=0.9, temperature=0.8, keep_samples=True)


class TestNano(ForecasterContract):
    rtol = 1e-4

    @pytest.fixture
    def options(self):
        return KronosEvent(threads=1, samples=10)


def test_candles_and_returns_are_forecast():
    (forecast,) = tiny(keep_samples=True).build().forecast(windows(1), LEVELS)
    assert forecast.columns == COLUMNS
    assert forecast.samples.shape == (8, 5, 5)
    assert tiny().build().forecast(windows(1), LEVELS)[0].samples is None
    last = windows(1)[0].bars.close[-1]
    np.testing.assert_allclose(forecast.at(LEVELS, "return"), forecast.at(LEVELS, "close") / last - 1, atol=1e-12)
    expected = quantiles(forecast.samples, LEVELS, "rqmc")
    np.testing.assert_array_equal(forecast.quantiles, np.sort(expected, axis=-1))


def test_drawn_candles_are_possible():
    (forecast,) = tiny(keep_samples=True, samples=100).build().forecast(windows(1), LEVELS)
    prices = forecast.samples[..., :4]
    assert (prices[..., 1] == prices.max(axis=-1)).all()
    assert (prices[..., 2] == prices.min(axis=-1)).all()
    (raw,) = tiny(keep_samples=True, samples=100, repair=False).build().forecast(windows(1), LEVELS)
    assert (raw.samples[..., 1] < raw.samples[..., :4].max(axis=-1)).any(), "the raw draw is to be seen"
    np.testing.assert_array_equal(raw.samples[..., [0, 3]], prices[..., [0, 3]])


def test_repair_keeps_prices_above_the_floor_and_volume_above_zero():
    broken = np.array([[5.0, 4.0, 6.0, -3.0, -1.0, -2.0]])
    np.testing.assert_array_equal(repaired(broken, 0.5), [[5.0, 6.0, 0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_array_equal(repaired(broken, -np.inf)[0, 2:4], [-3.0, -3.0])


def test_paths_start_at_the_last_close():
    start = np.array([10.0, 11.0, 9.0, 10.5, 5.0, 50.0])
    paths = Paths(np.tile(start, (2, 3, 1)), start)
    moved = anchored(paths, 12.0)
    np.testing.assert_allclose(moved[..., :4], start[:4] + 1.5 + np.zeros((2, 3, 1)))
    np.testing.assert_array_equal(moved[..., 4:], paths.candles[..., 4:])


def test_anchoring_shifts_every_price_by_the_same():
    (with_anchor,) = tiny(repair=False).build().forecast(windows(1), LEVELS)
    (without,) = tiny(repair=False, anchor=False).build().forecast(windows(1), LEVELS)
    shift = with_anchor.quantiles[:, :4] - without.quantiles[:, :4]
    np.testing.assert_allclose(shift, shift[0, 0, 0])
    assert abs(shift[0, 0, 0]) > 1e-6


@pytest.mark.parametrize("method", ["independent", "rqmc"])
def test_quantile_rule_covers_what_it_says(method):
    """An 80 % envelope of 30 draws holds 80 % of outcomes drawn the same way."""
    rng = np.random.default_rng(0)
    repeats, n = 20_000, 30
    if method == "independent":
        u = rng.random((n, repeats))
    else:
        u = (np.arange(n)[:, None] + rng.random((n, repeats))) / n
    low, high = quantiles(u, (0.1, 0.9), method).T
    covered = (high - low).mean()
    assert covered == pytest.approx(0.8, abs=0.003)
    default = np.quantile(u, (0.1, 0.9), axis=0)
    assert np.diff(default, axis=0).mean() < 0.8 - 0.01


def test_levels_are_given_as_asked_for():
    levels = (0.01, 0.25, 0.5, 0.77, 0.99)
    (forecast,) = tiny().build().forecast(windows(1), levels)
    assert forecast.levels == levels


def test_the_seed_of_a_window_decides():
    (window,) = windows(1)
    forecaster = tiny().build()
    one, other = forecaster.forecast([window, replace(window, seed=window.seed + 1)], LEVELS)
    assert not np.array_equal(one.quantiles, other.quantiles)


def test_windows_of_different_lengths_and_horizons_share_a_batch():
    long, short = windows(1)[0], windows(1, horizon=2)[0].last(30)
    forecaster = tiny().build()
    together = forecaster.forecast([long, short], LEVELS)
    for forecast, window in zip(together, (long, short), strict=True):
        (alone,) = forecaster.forecast([window], LEVELS)
        np.testing.assert_allclose(forecast.quantiles, alone.quantiles, rtol=1e-4)


def test_gaps_in_volume_count_as_no_volume():
    (window,) = windows(1)
    values = window.bars.values.copy()
    volume = window.bars.columns.index("volume")
    values[3, volume] = np.nan
    gap = replace(window, bars=Bars(window.symbol, window.bars.times, values, window.bars.columns))
    kept = [i for i, name in enumerate(window.bars.columns) if name not in ("volume", "amount")]
    columns = tuple(window.bars.columns[i] for i in kept)
    bare = replace(window, bars=Bars(window.symbol, window.bars.times, window.bars.values[:, kept], columns))
    one, other = tiny().build().forecast([gap, bare], LEVELS)
    np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_negative_prices_are_forecast():
    (window,) = windows(1)
    values = window.bars.values.copy()
    values[:, :4] -= values[:, :4].mean()
    below = replace(window, bars=Bars(window.symbol, window.bars.times, values, window.bars.columns))
    (forecast,) = tiny().build().forecast([below], LEVELS)
    assert np.isfinite(forecast.quantiles).all()


@pytest.mark.parametrize("sliding", ["shorten", "exact", "chunked"])
def test_contexts_longer_than_the_model_knows(sliding):
    (window,) = windows(1, horizon=20)
    (forecast,) = tiny(sliding=sliding, chunk=8).build().forecast([window], LEVELS)
    assert np.isfinite(forecast.quantiles).all()


@pytest.mark.parametrize("horizon", [50, 70])
def test_a_horizon_that_leaves_too_few_bars_is_refused_with_the_limit(horizon):
    with pytest.raises(ValueError, match="this model needs 16: ask for 49 steps at most"):
        tiny().build().forecast(windows(1, horizon=horizon), LEVELS)


@pytest.mark.parametrize("sliding", ["exact", "chunked"])
def test_a_horizon_beyond_the_model_is_refused_with_the_limit(sliding):
    with pytest.raises(ValueError, match="this model draws 63 at most"):
        tiny(sliding=sliding).build().forecast(windows(1, horizon=64), LEVELS)


def test_nano_refuses_fewer_bars_than_it_was_trained_with():
    with pytest.raises(ValueError, match="32 bars of context are needed, there are 31"):
        KronosEvent(threads=1).build().forecast([windows(1)[0].last(31)], LEVELS)


def test_the_model_folder_of_a_pair_knows_what_the_pair_says(tmp_path):
    for part in ("model", "tokenizer"):
        shutil.copytree(GOLDEN / part, tmp_path / part)
    about = {"max_context": 64, "context": 50, "rotary": True, "least": 8}
    (tmp_path / "about.json").write_text(json.dumps(about))
    found = source(KronosEvent(model=str(tmp_path / "model"), tokenizer=str(tmp_path / "tokenizer")))
    assert (found.max_context, found.rotary, found.least) == (64, True, 8)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kronos-nan", "did you mean 'kronos-nano'"),
        ("./nowhere", "there is no folder /"),
        ("out", "the newest is .*step-0000020"),
    ],
)
def test_a_model_that_is_not_there_is_said_to_be_missing(tmp_path, name, said):
    for step in (10, 20):
        (tmp_path / "out" / f"step-00000{step}").mkdir(parents=True)
    options = KronosEvent.model_validate({"model": name}, context={"folder": tmp_path})
    with pytest.raises(WeightsError, match=said):
        options.build()


def test_more_positions_than_trained_for_are_warned_of(caplog):
    source(KronosEvent(max_context=300))
    assert "trained for 127 positions" in caplog.text


def test_a_shortened_context_is_told_once(caplog):
    forecaster = tiny().build()
    forecaster.forecast(windows(3, horizon=20), LEVELS)
    forecaster.forecast(windows(3, horizon=20), LEVELS)
    assert [r.getMessage() for r in caplog.records] == [
        "context shortened to 45 bars, so that 20 steps fit the model"
    ]


def test_checkpoints_are_folders_with_both_parts(tmp_path):
    for part in ("model", "tokenizer"):
        shutil.copytree(GOLDEN / part, tmp_path / part)
    (tmp_path / "about.json").write_text(
        json.dumps({"max_context": 64, "context": 50, "rotary": False, "least": 8})
    )
    nano = KronosEvent(threads=1, samples=8).build()
    assert nano.with_checkpoint(None) is nano
    served = nano.with_checkpoint(tmp_path)
    assert served.max_context == 50
    given = windows(2)
    expected = tiny().build().forecast([window.last(50) for window in given], LEVELS)
    for found, other in zip(served.forecast(given, LEVELS), expected, strict=True):
        np.testing.assert_array_equal(found.quantiles, other.quantiles)
    assert served.with_checkpoint(None).max_context == nano.max_context
    by_path = source(KronosEvent(model=str(tmp_path), rotary_dependency=True, max_context=60))
    assert (by_path.max_context, by_path.context, by_path.rotary) == (60, 50, True)


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"max_context": 0, "context": 5, "rotary": true, "least": 1}'])
def test_a_folder_that_says_nonsense_about_itself_is_refused(tmp_path, said):
    (tmp_path / "model").mkdir()
    (tmp_path / "about.json").write_text(said)
    with pytest.raises(WeightsError, match=r"about\.json does not say"):
        KronosEvent(model=str(tmp_path)).build()


def test_relative_folders_are_meant_from_the_configuration_file(tmp_path):
    (tmp_path / "weights").mkdir()
    for name in ("weights", "./weights"):
        options = KronosEvent.model_validate({"model": name}, context={"folder": tmp_path})
        assert options.model == str(tmp_path / "weights")
    hub = KronosEvent.model_validate({"model": "NeoQuasar/Kronos-base"}, context={"folder": tmp_path})
    assert hub.model == "NeoQuasar/Kronos-base"


def test_another_seed_draws_other_paths():
    one, other, again = (tiny(seed=seed).build().forecast(windows(1), LEVELS)[0] for seed in (0, 1, 1))
    assert not np.array_equal(one.quantiles, other.quantiles)
    np.testing.assert_array_equal(other.quantiles, again.quantiles)


def test_a_last_close_of_zero_is_refused():
    (window,) = windows(1)
    values = window.bars.values.copy()
    values[-1, window.bars.columns.index("close")] = 0.0
    zero = replace(window, bars=Bars(window.symbol, window.bars.times, values, window.bars.columns))
    with pytest.raises(ValueError, match="the last close is 0"):
        tiny().build().forecast([zero], LEVELS)


def test_published_models_bring_their_tokenizer_and_context():
    mini = source(KronosEvent(model="NeoQuasar/Kronos-mini"))
    assert (mini.tokenizer, mini.max_context) == ("NeoQuasar/Kronos-Tokenizer-2k", 2048)
    assert source(KronosEvent(model="NeoQuasar/Kronos-base", max_context=300)).max_context == 300


def test_an_unknown_model_needs_a_tokenizer():
    with pytest.raises(WeightsError, match="name it as `tokenizer`"):
        KronosEvent(model="somebody/else").build()


def test_model_and_tokenizer_must_belong_together():
    with pytest.raises(ValueError, match="bits"):
        KronosEvent(model=str(GOLDEN / "model"), tokenizer=str(source(KronosEvent()).tokenizer)).build()


@pytest.mark.parametrize("bad", [{"device": "gpu"}, {"temperature": 0}, {"top_p": 0}, {"samples": 1}])
def test_impossible_options_are_refused(bad):
    with pytest.raises(ValidationError):
        KronosEvent(**bad)


def test_kronos_needs_neither_kronosfw_nor_pandas():
    """What runs on a bare GPU machine imports torch, numpy and safetensors alone."""
    code = """
import sys
foreign = "kronosfw", "pandas", "pydantic", "huggingface_hub", "accelerate", "peft", "scipy", "sqlalchemy", "yaml"
for name in foreign:
    sys.modules[name] = None
import kronosfw_kronos_event.kronos.sampler, kronosfw_kronos_event.kronos.decoder
import kronosfw_kronos_event.training.loop, kronosfw_kronos_event.training.objectives
import kronosfw_kronos_event.training.samples, kronosfw_kronos_event.training.adapting
"""
    subprocess.run([sys.executable, "-c", code], check=True)

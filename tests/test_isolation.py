"""What fails is set apart, and the rest goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kronosfw.errors import ConfigError, DataError, PluginError
from kronosfw.isolation import isolate
from kronosfw.pipeline import run
from kronosfw.scoring import score
from kronosfw.testing.market import random_bars
from tests.made_up import SYMBOLS, Fickle, Table, stored


def test_one_corrupt_symbol_among_fifty(configure, plugins, tmp_path):
    report = run(configure(feed="{type: table, corrupt: [S13]}"), plugins)
    assert report.exit_code == 3
    assert len(report.served) == 49
    (failure,) = report.failures
    assert failure.symbol == "S13"
    assert "rows needed repair (nonfinite" in failure.reason
    assert len(stored(tmp_path)) == 49 * 3 * 3
    assert {row["symbol"] for row in stored(tmp_path)} == set(SYMBOLS) - {"S13"}


def test_a_feed_that_raises_loses_only_the_symbol_at_fault(configure, plugins):
    report = run(configure(feed="{type: table, raising: [S00, S31]}"), plugins)
    assert [f.symbol for f in report.failures] == ["S00", "S31"]
    assert report.failures[0].reason == "RuntimeError: the disk under S00 is gone"
    assert len(report.served) == 48
    assert len(Table.calls) < 30, "halving, not one by one"


def test_a_forecaster_that_raises_loses_only_the_window_at_fault(configure, plugins):
    forecasters = "[{type: random_walk}, {type: fickle, failing: [S20, S21]}]"
    report = run(configure(forecasters=forecasters), plugins)
    assert [(f.symbol, f.model) for f in report.failures] == [("S20", "fickle"), ("S21", "fickle")]
    assert len(report.served) == 50, "the other members still serve the symbol"
    ensemble = [f for f in report.forecasts if f.model == "ensemble"]
    assert len(ensemble) == 50
    assert len(Fickle.batches) < 30
    clean = run(configure(forecasters="[{type: random_walk}, {type: fickle}]"), plugins)
    kept = {(f.symbol, f.model): f.quantiles.tobytes() for f in clean.forecasts}
    for f in report.forecasts:
        if f.symbol not in ("S20", "S21"):
            assert kept[f.symbol, f.model] == f.quantiles.tobytes()


def test_a_listing_of_today_does_not_take_down_the_rest(configure, plugins):
    """A symbol whose only bar is still under way has nothing to forecast from."""
    universe = "{S00: {asset_class: crypto}, S01: {asset_class: crypto}, S02: {asset_class: crypto}}"
    config = configure(universe=universe, feed="{type: table, late: {S01: 199}}", checks="{max_repaired: 1}")
    report = run(config, plugins, as_of=datetime(2023, 6, 1, tzinfo=UTC))
    assert [f.symbol for f in report.failures] == ["S01"]
    early = run(configure(universe=universe, feed="{type: table, newest: [S01]}"), plugins)
    assert [(f.symbol, f.reason) for f in early.failures] == [("S01", early.failures[0].reason)]
    assert "no bar is complete by" in early.failures[0].reason or "no bars by" in early.failures[0].reason
    assert early.served == ("S00", "S02")


@pytest.mark.parametrize("context", [{"x": float("nan")}, {"x": "a\x00b"}, {1: 2, "a": 3}, {"x": object()}])
def test_a_context_that_no_store_takes_fails_that_forecast_alone(configure, plugins, context):
    Fickle.context = context
    try:
        report = run(configure(), plugins)
    finally:
        Fickle.context = {}
    assert {f.model for f in report.failures} == {"fickle"}
    assert len(report.served) == 50


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("build", "RuntimeError: no weights"),
        ("nan", "are not finite"),
        ("cutoff", "returned a forecast of another window"),
        ("fewer", "returned 0 forecasts for 1 windows"),
    ],
)
def test_a_broken_forecaster_does_not_take_down_the_rest(configure, plugins, fault, reason):
    report = run(configure(forecasters=f"[{{type: fickle, fault: {fault}}}, {{type: random_walk}}]"), plugins)
    assert report.exit_code == 3
    assert len(report.served) == 50
    assert {f.model for f in report.failures} == {"fickle"}
    assert all(reason in f.reason for f in report.failures)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("build", "RuntimeError: no booster"),
        ("levels", "asks the members for other quantile levels"),
        ("fit", "SystemExit: left"),
        ("garbage", "returned a dict where a Forecast was expected"),
    ],
)
def test_a_broken_ensembler_leaves_the_members(configure, plugins, tmp_path, fault, reason):
    report = run(configure(ensembler=f"{{type: learner, fault: {fault}}}"), plugins)
    assert report.exit_code == 3
    assert {f.model for f in report.failures} == {"ensemble"}
    assert all(reason in f.reason for f in report.failures)
    assert {row["model_name"] for row in stored(tmp_path)} == {"random_walk", "fickle"}


def test_what_a_run_cannot_do_without_is_named(configure, plugins):
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    with pytest.raises(PluginError, match="encoder needs_vix: ImportError: no module named lexicon") as raised:
        run(configure(encoders="[{type: needs_vix, broken: true}]", universe=universe), plugins)
    assert raised.value.exit_code == 2
    with pytest.raises(PluginError, match="encoder needs_vix: TypeError: Encoder has no leaders"):
        run(configure(encoders="[{type: needs_vix, leaderless: true}]", universe=universe), plugins)


def test_forecasts_of_another_window_are_refused(configure, plugins):
    report = run(configure(forecasters="[{type: fickle, fault: swapped}, {type: random_walk}]"), plugins)
    assert {f.model for f in report.forecasts if f.symbol == "S00"} >= {"random_walk", "ensemble"}
    closes = {s: random_bars(s, 200).close[-1] for s in SYMBOLS}
    for f in report.forecasts:
        assert abs(f.at((0.5,))[0, 0] / closes[f.symbol] - 1) < 0.2


def test_too_few_symbols_write_nothing(configure, plugins, tmp_path):
    config = configure(feed=f"{{type: table, corrupt: [{', '.join(SYMBOLS[:30])}]}}")
    with pytest.raises(DataError, match="20 of 50 symbols could be forecast") as raised:
        run(config, plugins)
    assert raised.value.exit_code == 5
    assert not stored(tmp_path)


def test_facts_that_fail_matter_only_where_they_are_used(configure, plugins):
    broken = "{type: table, broken_facts: true}"
    config = configure(feed=broken)
    assert run(config, plugins, as_of=datetime(2023, 6, 1, tzinfo=UTC)).exit_code == 0
    with pytest.raises(DataError, match="facts: RuntimeError: no calendar today"):
        score(config, as_of=None, progress=lambda *_: None)
    assert score(configure(), as_of=None, progress=lambda *_: None).scored == 450, "nothing was scored without them"
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    with pytest.raises(DataError, match="no calendar today"):
        run(configure(feed=broken, encoders="[{type: needs_vix}]", universe=universe), plugins)


def test_isolation_halves_until_the_culprit_stands_alone():
    calls = []

    def call(items):
        calls.append(len(items))
        if 13 in items:
            raise ValueError("thirteen")
        return [item * 2 for item in items]

    results, errors = isolate(list(range(64)), call)
    assert list(errors) == [13]
    assert results == {i: 2 * i for i in range(64) if i != 13}
    assert len(calls) == 13
    assert isolate([], call) == ({}, {})


def test_a_missing_package_is_a_mistake_of_the_config(configure, plugins):
    with pytest.raises(ConfigError, match="pip install mood"):
        run(configure(forecasters="[{type: random_walk}, {type: fickle, fault: package}]"), plugins)

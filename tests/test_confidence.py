"""The confidence in a forecast: from its width against earlier ones and from coverage, as known by then."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kronosfw.backtesting import backtest
from kronosfw.confidence import with_confidence
from kronosfw.pipeline import run
from kronosfw.report import print_run, run_as_json
from kronosfw.scoring import score
from kronosfw.store import Store
from kronosfw.testing.market import SmallMarket, cutoff_at

MARKET = SmallMarket.make(1, 80)
(WINDOW,) = MARKET.windows(cutoff_at(MARKET.bars["S0"].times, 60), horizon=2)
CLOSE = WINDOW.bars.close[-1]
AS_OF = datetime(2023, 6, 1, tzinfo=UTC)


def told(widths, coverage=0.8, n=100, *, now=0.1, symbol="S0", price=CLOSE):
    """Return what is told of a forecast whose last step is ``now`` wide, relative to the close."""
    half = CLOSE * np.array([[5.0], [now / 2]])
    forecast = WINDOW.forecast((0.1, 0.5, 0.9), CLOSE + half * [-1, 0, 1], event_context={"note": "mine"})
    halves = price * (np.array(widths) / 2)
    before = pd.DataFrame({"symbol": symbol, "p10": price - halves, "p90": price + halves, "last_close": price})
    (found,) = with_confidence([forecast], {"S0": WINDOW}, before, {"crypto": (coverage, n)})
    assert found.event_context["note"] == "mine"
    assert (found.quantiles == forecast.quantiles).all()
    return found.event_context.get("confidence")


def test_the_share_of_earlier_envelopes_that_were_wider():
    assert told([0.2] * 15 + [0.05] * 5) == {"value": 0.75, "width_rank": 0.75, "coverage": 0.8, "n": 100}
    assert told([0.2] * 15 + [0.05] * 5, price=7.0)["width_rank"] == 0.75, "widths are shares of the close"
    assert told([0.2] * 20)["width_rank"] == 1.0
    assert told([0.05] * 20)["width_rank"] == 0.0
    assert told([0.2] * 5 + [0.1] * 10 + [0.05] * 5)["width_rank"] == 0.5, "equal ones count half"
    assert told([0.1] * 20)["width_rank"] == 0.5


@pytest.mark.parametrize(("coverage", "factor"), [(0.8, 1.0), (0.6, 0.75), (1.0, 0.75), (0.4, 0.5), (0.0, 0.0)])
def test_coverage_off_its_mark_lessens_it(coverage, factor):
    found = told([0.2] * 10 + [0.05] * 10, coverage)
    assert found["value"] == pytest.approx(0.5 * factor)
    assert (found["width_rank"], found["coverage"]) == (0.5, coverage)


def test_with_too_little_history_there_is_none():
    assert told([0.2] * 20, n=50)
    assert told([0.2] * 19) is None
    assert told([0.2] * 20, n=49) is None
    assert told([0.2] * 20, symbol="S1") is None, "each symbol has its own"
    assert told([]) is None


@settings(max_examples=25)
@given(
    widths=st.lists(st.floats(0.001, 10), min_size=20, max_size=40),
    now=st.floats(0.001, 10),
    coverage=st.floats(0, 1),
    n=st.integers(50, 9999),
)
def test_it_lies_between_0_and_1_and_a_narrower_one_has_no_less(widths, now, coverage, n):
    found = told(widths, coverage, n, now=now)
    assert 0 <= found["value"] <= found["width_rank"] <= 1
    assert told(widths, coverage, n, now=now / 2)["value"] >= found["value"]
    assert told(widths[::-1], coverage, n, now=now) == found


@pytest.fixture
def practised(configure, plugins):
    """Return a configuration with a backtest behind it whose forecasts a run is held against."""

    def make(**changes):
        sections = {
            "universe": "{S00: {asset_class: crypto}, S01: {asset_class: crypto}}",
            "forecasters": "[{type: bootstrap}]",
            "ensembler": "null",
            "backtest": "{start: 2023-05-01, end: 2023-06-01}",
            **changes,
        }
        config = configure(**sections)
        assert backtest(config, plugins).exit_code == 0
        return config

    return make


def confidences(report, model="bootstrap"):
    return {f.symbol: f.event_context.get("confidence") for f in report.forecasts if f.model == model}


def test_a_run_has_it_and_only_what_is_served(practised, plugins):
    config = practised(forecasters="[{type: random_walk}, {type: bootstrap}]", ensembler="{type: mean}")
    report = run(config, plugins, as_of=AS_OF)
    found = confidences(report, "ensemble")
    assert all(0 <= its["value"] <= 1 for its in found.values())
    with Store(config.store.get_secret_value()) as store:
        known = store.past(AS_OF, models=["ensemble"])
        rows = store.predictions(model_name="ensemble", as_of=AS_OF)
    assert {its["n"] for its in found.values()} == {len(known)}
    assert {its["coverage"] for its in found.values()} == {known["covered"].mean()}
    assert all(row["event_context"]["confidence"] == found[row["symbol"]] for row in rows)
    assert set(confidences(report).values()) == set(confidences(report, "random_walk").values()) == {None}


def test_only_earlier_envelopes_and_outcomes_count(practised, plugins):
    """Forecasts of later moments, its own of an earlier run, and scores that came later change nothing."""
    config = practised()
    before = confidences(run(config, plugins, as_of=AS_OF))
    for day in range(1, 6):
        run(config, plugins, as_of=AS_OF + timedelta(days=day))
    score(config, as_of=AS_OF + timedelta(days=9), progress=lambda *_: None)
    assert confidences(run(config, plugins, as_of=AS_OF)) == before


def test_what_two_have_written_of_one_outcome_counts_once(practised, plugins):
    """A forecast in earnest takes the place of what a backtest wrote for the same cutoff."""
    config = practised()
    n = confidences(run(config, plugins, as_of=AS_OF))["S00"]["n"]
    for day in range(10, 20):
        run(config, plugins, as_of=AS_OF - timedelta(days=day))
    score(config, as_of=AS_OF, progress=lambda *_: None)
    assert confidences(run(config, plugins, as_of=AS_OF))["S00"]["n"] == n


def test_without_history_nothing_is_shown(configure, plugins):
    config = configure(universe="{S00: {asset_class: crypto}}")
    report = run(config, plugins, as_of=AS_OF)
    assert set(confidences(report, "ensemble").values()) == {None}
    assert "confidence" not in shown(report, config)
    assert all("confidence" not in forecast for forecast in run_as_json(report)["forecasts"])


def shown(report, config):
    console = Console(file=io.StringIO(), width=120)
    print_run(report, config, console)
    return console.file.getvalue()


def test_what_a_person_and_a_program_see(practised, plugins):
    config = practised()
    report = run(config, plugins, as_of=AS_OF)
    found = confidences(report)
    plain = {f["symbol"]: f["confidence"] for f in run_as_json(report)["forecasts"]}
    assert plain == found
    lines = {line.split()[0]: line for line in shown(report, config).splitlines() if line.strip()}
    assert "confidence" in lines["symbol"]
    for symbol, its in found.items():
        assert f" {its['value']:.0%} " in lines[symbol]
    contexts = [{**f.event_context} for f in report.forecasts]
    del contexts[0]["confidence"]
    one = [replace(f, event_context=c) for f, c in zip(report.forecasts, contexts, strict=True)]
    lines = shown(replace(report, forecasts=tuple(one)), config).splitlines()
    assert " – " in next(line for line in lines if line.strip().startswith("S00")), "one that has none"

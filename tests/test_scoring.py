"""Stored forecasts are scored against what came: losses, event bars, regimes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.cli import call
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.scoring import score
from kronosfw.store import Store
from kronosfw.testing.market import random_bars
from kronosfw.types import Span, moment

from .test_cli import SMALL, write_bars

_ALL = Span(end=moment("2030-01-01"), start=moment("2000-01-01"))
CALENDAR = """\
event,kind,scheduled_at,known_at,symbols,actual,forecast,previous,importance
a,cpi,2023-04-02T12:30Z,2023-01-01,,,,,3
a,cpi,2023-04-02T12:30Z,2023-04-02T12:30Z,,3.1,3.0,2.9,
b,pmi,2023-04-03T12:30Z,2023-01-01,,,,,2
b,pmi,2023-04-03T12:30Z,2023-04-03T12:30Z,,51,50,49,
c,earnings,2023-04-04T00:00Z,2023-01-01,BBB,,,,
d,fomc,2023-04-03T18:00Z,2023-01-01,CCC,,,,3
d,fomc,2023-04-04T18:00Z,2023-04-02T18:00Z,CCC,,,,3
e,speech,2023-04-02T18:00Z,2023-05-01,,,,,3
e,speech,2023-04-03T18:00Z,2023-05-02,AAA,,,,3
f,speech,2023-04-03T18:00Z,2023-01-01,AAA,,,,1
f,speech,2023-04-03T18:00Z,2023-04-05,AAA,,,,3
g,rumour,2012-01-01T18:00Z,2011-01-01,,,,,3
"""


@pytest.fixture(params=[["--as-of", "2023-04-05"], []], ids=["at once", "years later"])
def scored(tmp_path: Path, request: pytest.FixtureRequest):
    """Three days from 2 April on, scored against a calendar."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    (tmp_path / "calendar.csv").write_text(CALENDAR)
    path = tmp_path / "config.yaml"
    path.write_text(SMALL.replace('"bars/*.csv"}', '"bars/*.csv", calendar: calendar.csv}'))
    assert call(["run", str(path), "--as-of", "2023-04-02"]) == 0
    assert call(["score", str(path), *request.param]) == 0
    return sqlite3.connect(tmp_path / "results.db")


def test_important_events_make_event_bars(scored):
    rows = scored.execute(
        "select symbol, step, event_active from signal_evaluations where model_name = 'ensemble' order by 1, 2"
    ).fetchall()
    active = {(symbol, step) for symbol, step, event in rows if event}
    everywhere = {("AAA", 1), ("BBB", 1), ("CCC", 1)}
    assert active == everywhere | {("BBB", 3), ("CCC", 3)}, "moved from step 2; what was told later plays no part"
    assert len(rows) == 9


def test_losses_are_shares_of_the_last_close(scored):
    rows = scored.execute(
        "select p.p10, p.p50, p.p90, p.last_close, e.realised, e.pinball, e.crps, e.abs_error, e.covered "
        "from ml_predictions p join signal_evaluations e using (symbol, as_of, model_name, model_version, step)"
    ).fetchall()
    assert len(rows) == 27
    for p10, p50, p90, last, y, pinball, crps, abs_error, covered in rows:
        levels, q = np.array([0.1, 0.5, 0.9]), np.array([p10, p50, p90])
        expected = np.maximum(levels * (y - q), (levels - 1) * (y - q)).mean() / last
        assert pinball == pytest.approx(expected)
        assert crps == pytest.approx(2 * expected)
        assert abs_error == pytest.approx(abs(y - p50) / last)
        assert bool(covered) == (p10 <= y <= p90)


def test_scoring_fills_the_evaluations_and_repeats_nothing(configure, plugins, tmp_path):
    config = configure(quantiles="[0.05, 0.1, 0.5, 0.9, 0.95]")
    run(config, plugins, as_of=datetime(2023, 5, 1, tzinfo=UTC))
    report = score(config, as_of=None, progress=lambda *_: None)
    assert (report.scored, report.waiting) == (450, 0)
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        row = next(r for r in store.evaluations() if r["symbol"] == "S00" and r["model_name"] == "random_walk")
        prediction = next(
            r for r in store.predictions() if r["symbol"] == "S00" and r["model_name"] == "random_walk"
        )
    bars = random_bars("S00", 200)
    i = int(np.flatnonzero(bars.times.time == np.datetime64("2023-05-01"))[0])
    assert row["step"] == prediction["step"] == 1
    assert row["realised"] == bars.close[i]
    assert row["covered"] == (prediction["p10"] <= bars.close[i] <= prediction["p90"])
    assert row["abs_error"] == pytest.approx(abs(bars.close[i] - prediction["p50"]) / prediction["last_close"])
    assert row["regime"] in ("low", "normal", "high")
    assert row["event_active"] is None, "the feed has no calendar"
    assert score(config, as_of=None, progress=lambda *_: None).scored == 0


def test_events_bear_on_the_first_bar_complete_after_them(plugins, tmp_path):
    """A release at 8:30 in New York is in the day of a market that never shuts and in the session that follows."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "feed: {type: simulated, start: 2023-01-01, end: 2025-06-01, releases: [nfp]}\n"
        "universe: {SPY: {asset_class: equity}, BTCUSDT: {asset_class: crypto}}\n"
        "horizon: 4\nforecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    config = load(path, plugins)[0]
    releases = {f.scheduled_at for f in config.feed.build().facts(("BTCUSDT",), _ALL) if f.kind == "nfp"}
    assert np.datetime64("2025-04-04T12:30") in releases
    run(config, plugins, as_of=datetime(2025, 4, 2, tzinfo=UTC))
    score(config, as_of=None, progress=lambda *_: None)
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        rows = store.predictions()
        active = {(r["symbol"], r["step"]) for r in store.evaluations() if r["event_active"]}
    assert {(r["symbol"], str(r["session"])) for r in rows if (r["symbol"], r["step"]) in active} == {
        ("SPY", "2025-04-04"),
        ("BTCUSDT", "2025-04-04"),
    }


def test_the_simulated_market_runs_and_its_envelope_is_honest(plugins, tmp_path):
    """80 % of outcomes fall into the random walk's envelope, give or take the noise of 240 of them."""
    assert SimulatedFeed().type == "simulated"
    path = tmp_path / "config.yaml"
    path.write_text(
        "feed: {type: simulated, start: 2021-01-01, end: 2023-12-31, releases: []}\n"
        "universe: {EURUSD: {asset_class: forex}, SPY: {asset_class: equity}, BTCUSDT: {asset_class: crypto}}\n"
        "horizon: 1\nforecasters: [{type: random_walk, df: 5}]\nstore: sqlite:///results.db\n"
    )
    config = load(path, plugins)[0]
    for day in pd.date_range("2022-03-01", periods=80, freq="7D", tz="UTC"):
        run(config, plugins, as_of=day.to_pydatetime())
    report = score(config, as_of=None, progress=lambda *_: None)
    (model,) = report.models
    assert model.n == 240
    assert 0.72 < model.coverage < 0.88

"""Six real daily markets, from files to scores."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from kronosfw.cli import call

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data"
CONFIG = str(ROOT / "examples/real_daily.yaml")
MODELS = {"random_walk", "har", "bootstrap", "ensemble"}

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real bars are not here (see CONTRIBUTING.md)"),
]


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Forecast as of the Tuesday before Thanksgiving 2024, after the close in New York."""
    monkeypatch.setenv("KRONOSFW_DATA", str(DATA.resolve()))
    url = f"sqlite:///{tmp_path}/real.db"
    assert call(["run", CONFIG, "--store", url, "--as-of", "2024-11-26T22:00Z"]) == 0
    return url, sqlite3.connect(tmp_path / "real.db")


def test_targets_keep_each_markets_holidays(database):
    _, db = database
    rows = db.execute("select model_name, symbol, session, target_available_at from ml_predictions").fetchall()
    counts = Counter((model, symbol) for model, symbol, *_ in rows)
    assert {model for model, _ in counts} == MODELS
    assert len(counts) == 6 * len(MODELS)
    assert set(counts.values()) == {5}
    new_york = ["2024-11-27", "2024-11-29", "2024-12-02", "2024-12-03", "2024-12-04"]
    for symbol in ("SPY", "GLD", "QQQ", "VIX"):
        assert sorted({str(day) for _, s, day, _ in rows if s == symbol}) == new_york
    assert sorted({str(day) for _, s, day, _ in rows if s == "BTC"}) == [
        f"2024-11-{day}" for day in (26, 27, 28, 29, 30)
    ]
    closes = {str(day): end for _, s, day, end in rows if s == "SPY"}
    assert closes["2024-11-27"].startswith("2024-11-27T21:00")
    assert closes["2024-11-29"].startswith("2024-11-29T18:00"), "the day after Thanksgiving closes early"


def test_running_again_changes_no_row_and_scoring_fills_the_evaluations(database, capsys):
    url, db = database
    before = db.execute("select * from ml_predictions order by 1, 2, 3, 4, 5, 6").fetchall()
    assert call(["run", CONFIG, "--store", url, "--as-of", "2024-11-26T22:00Z"]) == 0
    assert db.execute("select * from ml_predictions order by 1, 2, 3, 4, 5, 6").fetchall() == before
    assert call(["score", CONFIG, "--store", url]) == 0
    assert "120 predictions scored" in capsys.readouterr().out
    assert db.execute("select count(*) from signal_evaluations").fetchone() == (120,)
    (spy,) = db.execute(
        "select realised from signal_evaluations where symbol = 'SPY' and model_name = 'har' and step = 2"
    ).fetchone()
    assert spy == pytest.approx(602.55, abs=0.01)


def test_a_forecast_as_of_the_past_is_the_one_that_would_have_been_made(database, tmp_path, monkeypatch):
    """Files cut off after the cutoff give the same numbers as files that go on."""
    _, db = database
    cut = tmp_path / "data"
    (cut / "bars_1d").mkdir(parents=True)
    (cut / "calendar").mkdir()
    for path in (DATA / "bars_1d").glob("*.csv"):
        lines = path.read_text().splitlines()
        kept = [lines[0], *(line for line in lines[1:] if line[:10] <= "2024-11-26")]
        (cut / "bars_1d" / path.name).write_text("\n".join(kept) + "\n")
    calendar = DATA / "calendar" / "us_macro_schedule.csv"
    (cut / "calendar" / calendar.name).write_text(calendar.read_text())
    monkeypatch.setenv("KRONOSFW_DATA", str(cut))
    url = f"sqlite:///{tmp_path}/cut.db"
    assert call(["run", CONFIG, "--store", url, "--as-of", "2024-11-26T22:00Z"]) == 0
    query = "select symbol, model_name, step, p10, p50, p90 from ml_predictions order by 1, 2, 3"
    assert sqlite3.connect(tmp_path / "cut.db").execute(query).fetchall() == db.execute(query).fetchall()

"""Which bars count as event bars, and which regime a forecast was made in."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from kronosfw.cli import call

from .test_cli import SMALL, write_bars

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
"""


@pytest.fixture
def scored(tmp_path: Path):
    """Three days from 2 April on, scored against a calendar."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    (tmp_path / "calendar.csv").write_text(CALENDAR)
    path = tmp_path / "config.yaml"
    path.write_text(SMALL.replace('"bars/*.csv"}', '"bars/*.csv", calendar: calendar.csv}'))
    assert call(["run", str(path), "--as-of", "2023-04-02"]) == 0
    assert call(["score", str(path), "--as-of", "2023-04-05"]) == 0
    return sqlite3.connect(tmp_path / "results.db")


def test_important_events_make_event_bars(scored):
    rows = scored.execute(
        "select symbol, step, event_active from signal_evaluations where model_name = 'ensemble' order by 1, 2"
    ).fetchall()
    active = {(symbol, step) for symbol, step, event in rows if event}
    everywhere = {("AAA", 1), ("BBB", 1), ("CCC", 1)}
    assert active == everywhere | {("BBB", 3), ("CCC", 3)}, "moved from step 2, and nothing told only in May"
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

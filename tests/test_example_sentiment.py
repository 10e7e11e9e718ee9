"""The encoder that docs/events.md builds, and its scores beside a calendar of releases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronosfw.calendars import calendar
from kronosfw.cli import call
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.testing import EncoderContract
from kronosfw.testing.market import random_bars
from kronosfw.types import Fact, moment
from kronosfw.windows import encoded, known
from tests.test_example_kinds import MODULES, with_examples
from tests.windows_for_tests import windows_of

Sentiment = MODULES["sentiment"].Sentiment


class TestSentiment(EncoderContract):
    kinds = ("sentiment",)

    @pytest.fixture
    def options(self):
        return Sentiment(figure="actual")

    @pytest.fixture
    def plugins(self):
        return with_examples()


def score(about: str, published: str, value: float, **changes: object) -> Fact:
    given = {"kind": "sentiment", "symbols": ("AAA",), "event": f"AAA {about}", **changes}
    at, known_at = moment(f"2024-{about}"), moment(f"2024-{published}")
    return Fact(scheduled_at=at, known_at=known_at, values={"score": value}, **given)


def rows(*scores: Fact, **options: object) -> np.ndarray:
    """Encode the days of March 2024, each as of the midnight that ends it: row d − 1 is the day d."""
    times = calendar("24/7").grid(moment("2024-02-29"), moment("2024-04-01"), "1d")
    assert len(times) == 33
    facts = known(scores, "AAA", times.available_at[-1])
    return encoded([Sentiment(**options).build()], facts, {}, times, times.available_at)[1:-1]


def test_a_score_is_known_from_its_publication_on_and_fades():
    """About noon of the 2nd and published on the 4th: the row of the 4th has it, two and a half days old."""
    found = rows(score("03-02T12:00", "03-04T09:00", 0.8), half_life_days=2.5)
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3:9, 0], 0.8 * 0.5 ** (np.arange(2.5, 8.5) / 2.5), rtol=1e-6)


def test_what_is_published_as_a_bar_ends_is_in_that_bar():
    found = rows(score("03-02T12:00", "03-05T00:00", 0.8))
    assert np.isnan(found[:5, 0]).tolist() == [True, True, True, False, False]


def test_a_change_falls_on_the_bar_of_the_publication_alone():
    found = rows(score("03-02T00:00", "03-02T06:00", 0.5), score("03-09T00:00", "03-10T06:00", -0.25))
    assert np.isnan(found[:2, 1]).all(), "there was none before the first"
    assert found[2:12, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, -0.75, 0, 0]


def test_a_correction_counts_from_its_own_publication_on():
    first, corrected = score("03-04T00:00", "03-04T06:00", 0.5), score("03-04T00:00", "03-07T06:00", 0.125)
    before, after = rows(first), rows(first, corrected)
    np.testing.assert_array_equal(after[:6], before[:6])
    np.testing.assert_array_equal(after[6:20, 0], before[6:20, 0] / 4)
    assert after[6, 1] == -0.375


def test_a_correction_of_an_older_score_changes_nothing():
    scores = score("03-02T00:00", "03-02T06:00", 0.5), score("03-09T00:00", "03-09T06:00", -0.25)
    late = score("03-02T00:00", "03-12T06:00", 0.9)
    np.testing.assert_array_equal(rows(*scores, late), rows(*scores))


def test_a_stale_score_is_unknown():
    scores = score("03-02T00:00", "03-02T06:00", 0.5), score("03-20T00:00", "03-20T06:00", 0.7)
    found = rows(*scores, stale_after_days=4)
    assert np.flatnonzero(~np.isnan(found[:, 0])).tolist() == [1, 2, 3, 4, 19, 20, 21, 22]
    assert np.isnan(found[[1, 19], 1]).all(), "the score before is as unknown"
    assert np.isnan(rows(score("03-02T00:00", "03-20T06:00", 0.5), stale_after_days=4)).all()


def test_other_symbols_kinds_and_figures_say_nothing():
    about, at = "03-02T00:00", "03-02T06:00"
    others = score(about, at, 0.5, symbols=("BBB",)), score(about, at, 0.5, kind="mood")
    assert np.isnan(rows(*others)).all()
    assert np.isnan(rows(score(about, at, 0.5), figure="other")).all()
    assert rows(*others, kind="mood")[1, 0] > 0


def test_two_series_have_channels_of_their_own():
    news, posts = (Sentiment(kind=kind).build() for kind in ("news", "posts"))
    assert (news.names, news.groups) == (("news", "news_change"), ("news", "news"))
    assert set(news.names).isdisjoint(posts.names)


SCORES = """event,kind,scheduled_at,known_at,symbols,score,importance
AAA-49,sentiment,2024-12-02T00:00Z,2024-12-03T09:00Z,AAA,0.5,0
AAA-50,sentiment,2024-12-09T00:00Z,2024-12-10T09:00Z,AAA,-0.25,0
AAA-50,sentiment,2024-12-09T00:00Z,2024-12-12T09:00Z,AAA,-0.5,0
AAA-51,sentiment,2024-12-16T00:00Z,2024-12-17T09:00Z,AAA,1,0
"""
RELEASES = """DateTime,Currency,Impact,Event,Actual,Forecast,Previous
2024-12-11T13:30:00+00:00,USD,High Impact Expected,CPI m/m,0.3%,0.2%,0.2%
2024-12-15T13:30:00+00:00,USD,High Impact Expected,CPI m/m,0.1%,0.3%,0.3%
"""
CONFIG = """
feed: {type: csv, path: "bars/*.csv"}
facts: {type: csv, calendar: [releases.csv, sentiment.csv]}
universe: {AAA: {asset_class: crypto}, BBB: {asset_class: crypto}}
encoders: [{type: macro20, btc: null, spy: null, dxy: null, vix: null}, {type: sentiment, half_life_days: 7}]
forecasters: [{type: drift}]
context: 60
horizon: 3
store: sqlite:///results.db
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a configuration whose paths are meant from its own folder, and go elsewhere."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB"):
        bars = random_bars(symbol, 720)
        frame = pd.DataFrame(np.array(bars.values), columns=list(bars.columns))
        frame.insert(0, "time", np.datetime_as_string(bars.times.time, "D"))
        frame.to_csv(tmp_path / "bars" / f"{symbol}.csv", index=False)
    (tmp_path / "sentiment.csv").write_text(SCORES)
    (tmp_path / "releases.csv").write_text(RELEASES)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path / "bars")
    return path


def test_scores_and_releases_in_one_run(file):
    """Two files of facts and two encoders; the cutoff is the end of 13 December."""
    config, plugins = load(file, with_examples())
    report = run(config, plugins, as_of=datetime(2024, 12, 14, tzinfo=UTC))
    assert report.exit_code == 0
    windows = windows_of(config, plugins, datetime(2024, 12, 14, tzinfo=UTC))
    mine, other = (windows[symbol].covariates for symbol in ("AAA", "BBB"))
    assert mine.names[20:] == ("sentiment", "sentiment_change")

    def shown(covariates, name):
        """Return the last four days of the context and the three to come, None where nothing is known."""
        i = covariates.names.index(name)
        return [
            None if masked else v
            for v, masked in zip(covariates.values[-7:, i], covariates.mask[-7:, i], strict=True)
        ]

    faded = [s * 0.5 ** (age / 7) for s, age in ((-0.25, 2), (-0.25, 3), (-0.5, 4), (-0.5, 5))]
    assert shown(mine, "sentiment") == [*map(pytest.approx, faded), None, None, None]
    assert shown(mine, "sentiment_change") == [-0.75, 0, -0.25, 0, None, None, None]
    assert shown(other, "sentiment") == [None] * 7
    assert shown(mine, "is_cpi") == shown(other, "is_cpi") == [0, 1, 0, 0, 0, 1, 0]


def test_the_command_explains_both_encoders(file, monkeypatch, capsys):
    monkeypatch.setattr(Plugins, "installed", lambda disable=(): with_examples())
    assert call(["run", str(file), "--as-of", "2024-12-14", "--explain", "--json"]) == 0
    forecasts = json.loads(capsys.readouterr().out)["forecasts"]
    moved = {f["symbol"]: set(f["steps"][-1]["moved"]) for f in forecasts}
    assert "sentiment" in moved["AAA"]
    assert "sentiment" not in moved["BBB"]

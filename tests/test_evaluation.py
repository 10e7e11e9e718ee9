"""Walk-forward scores: right figures, on the right windows, and nothing later than it should be."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from kronosfw import evaluation, metrics
from kronosfw.loading import load
from kronosfw.pipeline import silent
from kronosfw.types import moment
from tests import volatility

CONFIG = """
feed: {type: weather}
universe: {A: {asset_class: crypto}, B: {asset_class: equity, calendar: 24/7}}
horizon: 3
context: 20
forecasters: [{type: width}]
store: sqlite:///kronosfw.db
"""
FIRST, UNTIL = moment("2021-03-01"), moment("2021-04-01")


@pytest.fixture
def config(tmp_path, plugins):
    assert not plugins.add("volatility", volatility).problem
    (tmp_path / "kronosfw.yaml").write_text(CONFIG)
    return load(tmp_path / "kronosfw.yaml", plugins)[0]


@pytest.fixture
def course(config):
    return evaluation.course(config, ["A", "B"], 20, FIRST, UNTIL, 0, silent)


def arm(width):
    return volatility.WidthForecaster({"volatility": width, "sound_until": "9999-12-31"})


def scored(course, batch=100, **arms):
    return evaluation.scores(arms, course.examples, course.events, 20, batch, lambda done: None)


def test_the_origins_of_a_span(course):
    """From the first close in the span to the last whose third bar to come is complete by its end."""
    for track in course.tracks:
        assert track.cutoffs[0] == FIRST
        assert track.ends[-1] == UNTIL
        assert len(track.origins) == 31 - 3 + 1


def test_an_embargo_leaves_out_the_first_bars(config, course):
    later = evaluation.course(config, ["A", "B"], 20, FIRST, UNTIL, 5, silent)
    for one, other in zip(course.tracks, later.tracks, strict=True):
        assert np.array_equal(other.origins, one.origins[5:])


def test_the_scores_are_those_of_the_metrics(course):
    frame, failed = scored(course, narrow=arm(0.01), wide=arm(0.04))
    assert failed == {"narrow": {}, "wide": {}}
    assert len(frame) == 2 * len(course.examples) * 3
    example = course.examples[7]
    forecast = arm(0.04).forecast([example.window], evaluation.LEVELS)[0]
    last, actual = example.window.bars.close[-1], example.target.close
    rows = frame[
        (frame["arm"] == "wide")
        & (frame["symbol"] == example.window.symbol)
        & (frame["as_of"].dt.tz_localize(None) == example.window.cutoff)
    ]
    q = forecast.at(evaluation.LEVELS)
    assert rows["step"].tolist() == [1, 2, 3]
    assert rows["crps"].to_numpy() == pytest.approx(metrics.crps_quantiles(actual, q, evaluation.LEVELS) / last)
    assert rows["abs_error"].to_numpy() == pytest.approx(np.abs(actual - q[:, 4]) / last)
    assert rows["covered"].tolist() == ((q[:, 0] <= actual) & (actual <= q[:, 8])).tolist()
    assert rows["median"].to_numpy() == pytest.approx(q[:, 4] / last - 1)
    assert rows["actual"].to_numpy() == pytest.approx(actual / last - 1)
    assert not rows["event_active"].any()


def test_batches_do_not_matter(course):
    one, other = scored(course, a=arm(0.02))[0], scored(course, batch=7, a=arm(0.02))[0]
    assert one.equals(other)


def test_what_one_arm_cannot_forecast_is_scored_for_none(course):
    class Picky(volatility.WidthForecaster):
        def forecast(self, windows, levels):
            if any(w.symbol == "B" for w in windows):
                raise RuntimeError("not B")
            return super().forecast(windows, levels)

    frame, failed = scored(course, fine=arm(0.02), picky=Picky(volatility.BASE))
    assert set(frame["symbol"]) == {"A"}
    assert (frame.groupby("arm").size() == 3 * 29).all()
    assert len(failed["picky"]) == 29
    assert failed["fine"] == {}


def test_nothing_later_than_the_end_is_read(config, monkeypatch):
    asked = []
    frame = volatility.WeatherFeed._frame

    def noted(self, symbol, span):
        asked.append(span.end)
        return frame(self, symbol, span)

    monkeypatch.setattr(volatility.WeatherFeed, "_frame", noted)
    evaluation.course(config, ["A", "B"], 20, FIRST, UNTIL, 0, silent)
    assert asked
    assert max(asked) <= UNTIL


def test_a_forecaster_that_remembers_later_bars_is_found_out(course):
    assert evaluation.leaks(arm(0.02), course, 20) == []

    class Remembering(volatility.WidthForecaster):
        latest: ClassVar[dict] = {}

        def _forecast(self, window, levels):
            seen = self.latest.get(window.symbol)
            if seen is None or seen.cutoff < window.cutoff:
                self.latest[window.symbol] = window
            spread = self.latest[window.symbol].bars.close.std() * np.linspace(-1, 1, len(levels))
            return window.forecast(levels, window.bars.close[-1] + np.tile(spread, (window.horizon, 1)))

    told = evaluation.leaks(Remembering(volatility.BASE), course, 20)
    assert len(told) == 2
    assert "changes with what came after it" in told[0]


def test_a_table_of_scores_can_be_kept(course, tmp_path):
    frame, _ = scored(course, a=arm(0.02))
    frame.to_parquet(tmp_path / "scores.parquet")
    assert list(frame.columns) == [c for c in frame.columns if c in evaluation.COLUMNS]
    assert set(frame.columns) == set(evaluation.COLUMNS)

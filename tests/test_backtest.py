"""Backtests: the same as runs, nothing learned too early, resumed to the same rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from kronosfw.backtesting import backtest
from kronosfw.backtesting.origins import chunks, origins
from kronosfw.builtin.forecasters import RandomWalk
from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.errors import ConfigError, DataError, Interrupted
from kronosfw.interfaces import FeedConfig, Weights
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.rows import as_datetime
from kronosfw.scoring import score
from kronosfw.store import Store
from kronosfw.types import moment

END = datetime(2025, 6, 1, tzinfo=UTC)
CONFIG = """
feed: {feed}
universe:
  BTCUSDT: {{asset_class: crypto}}
  ETHUSDT: {{asset_class: crypto}}
  SPY: {{asset_class: equity}}
horizon: 3
context: 120
forecasters:
  - {{type: random_walk}}
  - {{type: drift}}
  - {{type: bootstrap}}
ensembler: {ensembler}
calibration: {{trust: 20, memory: 60}}
horizon_buckets: [1]
backtest: {backtest}
store: sqlite:///results.db
"""
FEED = "{type: simulated, start: 2023-06-01, end: 2025-06-30}"
SPAN = "{start: 2025-01-01, end: 2025-02-14, step: 2, ensemblers: [{type: greedy, name: greedy}]}"


class Changed(FeedConfig):
    """The simulated market until a moment, and another one after it."""

    type: Literal["changed"] = "changed"
    of: SimulatedFeed = Field(description="The market that is changed.")
    turn: datetime = Field(description="The moment, a midnight, from which on it is another.")
    factor: float = Field(description="How much wilder it is then.")
    seed: int = Field(description="Makes it the one it is.")

    def build(self):
        return ChangedFeed(self)


class ChangedFeed:
    def __init__(self, options):
        self.options, self.feed = options, options.of.build()

    def bars(self, symbols, freq, span):
        for symbol, frame in self.feed.bars(symbols, freq, span):
            later = (frame["time"] >= self.options.turn).to_numpy()
            rng = np.random.default_rng(self.options.seed)
            moves = np.exp(0.05 * self.options.factor * rng.standard_normal(later.sum()).cumsum())
            for name in ("open", "high", "low", "close"):
                frame.loc[later, name] *= moves
            yield symbol, frame

    def facts(self, symbols, span):
        turn = moment(self.options.turn.replace(tzinfo=None))
        return (f for f in self.feed.facts(symbols, span) if f.known_at <= turn)


KEY = ["symbol", "as_of", "model_name", "step"]
FIGURES = ["p10", "p50", "p90", "last_close", "quantiles", "event_context", "realised", "pinball", "covered", "pit"]


def configured(
    folder: Path, feed: str = FEED, ensembler: str = "{type: online}", backtest: str = SPAN, more: str = ""
):
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(feed=feed, ensembler=ensembler, backtest=backtest) + more, "utf-8")
    return load(path)


def table(folder: Path, **equal: object) -> pd.DataFrame:
    """Return all that was predicted and scored, without who wrote it and when."""
    with Store(f"sqlite:///{folder / 'results.db'}") as store:
        past = store.past(datetime(2030, 1, 1, tzinfo=UTC), **equal)
    return past[KEY + FIGURES].sort_values(KEY, ignore_index=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("undisturbed")
    report = backtest(*configured(folder))
    assert report.exit_code == 0, report.failures
    return folder, table(folder)


def test_every_model_is_forecast_and_scored_at_every_origin(done):
    _, rows = done
    models = {"random_walk", "drift", "bootstrap", "ensemble", "ensemble_calibrated", "greedy", "greedy_calibrated"}
    assert set(rows["model_name"]) == models
    counts = rows.groupby(["model_name", "symbol"]).size().unstack()
    assert (counts["BTCUSDT"] == 3 * 21).all()
    assert (counts["SPY"] == 3 * 13).all()


def test_origins_are_complete_bars_of_each_market(tmp_path):
    config, _ = configured(tmp_path)
    planned = origins(config, config.backtest, moment("2025-03-15"))
    first = {symbol: next(o.cutoff for o in planned if symbol in o.symbols) for symbol in config.universe}
    assert {s: str(c)[:16] for s, c in first.items()} == {
        "BTCUSDT": "2025-01-01T00:00",
        "ETHUSDT": "2025-01-01T00:00",
        "SPY": "2025-01-02T21:00",
    }
    assert [o.cutoff for o in planned] == sorted({o.cutoff for o in planned})
    assert [o for chunk in chunks(planned, 7) for o in chunk] == planned
    assert all(sum(len(o.symbols) for o in chunk) <= 7 for chunk in chunks(planned, 7))


@pytest.mark.parametrize(
    ("more", "first", "count"),
    [
        ("origins: 4", "2025-01-01", 4),
        ("embargo: 3", "2025-01-04", 34),
        ("warmup: 5", "2024-12-22", 41),
        ("warmup: 5, origins: 4, embargo: 4", "2024-12-22", 9),
    ],
)
def test_origins_may_be_fewer_later_or_have_a_warmup(tmp_path, more, first, count):
    config, _ = configured(tmp_path, backtest="{start: 2025-01-01, end: 2025-03-15, step: 2, " + more + "}")
    mine = [o.cutoff for o in origins(config, config.backtest, moment("2025-03-15")) if "BTCUSDT" in o.symbols]
    assert (str(mine[0])[:10], len(mine)) == (first, count)
    apart = np.diff(mine)
    assert (apart == np.timedelta64(2, "D")).sum() >= len(apart) - 1
    compared = [cutoff for cutoff in mine if cutoff >= moment("2025-01-01")]
    assert len(mine) - len(compared) == (5 if "warmup" in more else 0)


def test_what_only_warms_up_is_not_compared(tmp_path):
    short = "{start: 2025-01-01, end: 2025-02-01, step: 2"
    cold = backtest(*configured(tmp_path / "cold", backtest=short + "}"))
    warm = backtest(*configured(tmp_path / "warm", backtest=short + ", warmup: 10}"))
    lines = [{line.model: line for line in r.board.lines if line.by == "all"} for r in (cold, warm)]
    assert lines[0]["drift"] == lines[1]["drift"]
    assert lines[0]["ensemble"].loss != lines[1]["ensemble"].loss
    assert len(table(tmp_path / "warm")) > len(table(tmp_path / "cold"))


@pytest.mark.parametrize("ensembler", ["{type: online}", "{type: linear_pool}"])
def test_it_is_what_runs_and_scorings_would_have_made(tmp_path, ensembler):
    """Run as of each origin and score in between: the same numbers, contexts and scores, bit for bit."""
    span = "{start: 2025-01-01, end: 2025-02-20, step: 3}"
    config, plugins = configured(tmp_path / "backtest", ensembler=ensembler, backtest=span)
    backtest(config, plugins)
    live, plugins = configured(tmp_path / "live", ensembler=ensembler, backtest=span)
    for origin in origins(config, config.backtest, moment("2025-02-20")):
        cutoff = as_datetime(origin.cutoff)
        score(live, as_of=cutoff, progress=lambda *_: None)
        assert run(live, plugins, as_of=cutoff, symbols=origin.symbols).exit_code == 0
    score(live, as_of=datetime(2025, 2, 20, tzinfo=UTC), progress=lambda *_: None)
    rehearsed, served = table(tmp_path / "backtest"), table(tmp_path / "live")
    pd.testing.assert_frame_equal(rehearsed, served, check_exact=True)
    moved = [
        context["calibration"]["high"] for context in served["event_context"] if "calibration" in (context or {})
    ]
    assert any(moved), "something was calibrated"


@settings(max_examples=4)
@given(day=st.integers(0, 44), factor=st.floats(0.2, 5), seed=st.integers(0, 9))
def test_the_future_changes_nothing_before_it(done, tmp_path_factory, day, factor, seed):
    """Fit, calibrate and forecast together: whatever comes after a moment, all made by then stays as it is."""
    _, before = done
    turn = pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta(days=day)
    folder = tmp_path_factory.mktemp("other")
    config, plugins = configured(folder)
    changed = Changed(of=config.feed, turn=turn.to_pydatetime(), factor=factor, seed=seed)
    config = config.model_copy(update={"feed": changed})
    assert backtest(config, plugins).exit_code == 0
    after = table(folder)
    made = before["as_of"] <= turn
    assert made.any()
    forecast = [*KEY, "p10", "p50", "p90", "last_close", "quantiles", "event_context"]
    pd.testing.assert_frame_equal(
        before.loc[made, forecast].reset_index(drop=True),
        after.loc[after["as_of"] <= turn, forecast].reset_index(drop=True),
        check_exact=True,
    )
    later = ~made & (before["as_of"] > turn + pd.Timedelta(days=5))
    assert not later.any() or (before.loc[later, "p50"].to_numpy() != after.loc[later, "p50"].to_numpy()).any()


class StopAfter:
    """Progress that ends the work after some origins."""

    def __init__(self, origins: int) -> None:
        self.left = origins

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "origins":
            self.left -= 1
            if self.left < 0:
                raise Interrupted("enough")


@pytest.mark.parametrize("stops", [(18,), (24, 6), (12, 12, 6)])
def test_stopped_and_gone_on_with_it_ends_with_the_same_rows(done, tmp_path, stops):
    _, undisturbed = done
    config, plugins = configured(tmp_path, more="batch: 16\n")
    for origins_ in stops:
        with pytest.raises(Interrupted, match="the same command goes on"):
            backtest(config, plugins, progress=StopAfter(origins_))
    first = backtest(config, plugins)
    assert first.resumed
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed, check_exact=True)
    again = backtest(config, plugins, progress=StopAfter(0))
    assert again.board == first.board, "nothing is done again"


def test_processes_change_no_number(done, tmp_path):
    _, undisturbed = done
    report = backtest(*configured(tmp_path, more="batch: 40\n"), workers=2)
    assert report.exit_code == 0
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed, check_exact=True)


@pytest.mark.postgres
def test_postgres_holds_the_same(done, tmp_path, postgres_url):
    _, undisturbed = done
    config, plugins = configured(tmp_path)
    config = config.model_copy(update={"store": SecretStr(postgres_url), "batch": 16})
    with pytest.raises(Interrupted):
        backtest(config, plugins, progress=StopAfter(18))
    assert backtest(config, plugins).resumed
    with Store(postgres_url) as store:
        past = store.past(datetime(2030, 1, 1, tzinfo=UTC))
    found = past[KEY + FIGURES].sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(found, undisturbed, check_exact=True)


def test_a_purge_keeps_the_last_outcomes_from_being_learned(done, tmp_path):
    """With a purge longer than the span nothing is learned: all members weigh the same, nothing is calibrated."""
    span = SPAN.replace("step: 2", "step: 2, purge: 100")
    assert backtest(*configured(tmp_path, backtest=span)).exit_code == 0
    rows = table(tmp_path)
    for context in rows.loc[rows["model_name"] == "greedy", "event_context"]:
        assert set(context["weights"].values()) == {1 / 3}
    moved = [c["calibration"] for c in rows.loc[rows["model_name"] == "greedy_calibrated", "event_context"]]
    assert {m["high"] for m in moved} == {0.0}


def test_a_symbol_that_fails_is_told_of_and_the_others_go_on(tmp_path):
    text = CONFIG.replace("  SPY:", "  NONE: {{asset_class: crypto}}\n  SPY:")
    path = tmp_path / "config.yaml"
    path.write_text(text.format(feed=FEED, ensembler="{type: mean}", backtest=SPAN), "utf-8")
    report = backtest(*load(path))
    assert report.exit_code == 3
    assert [(f.symbol, f.stage) for f in report.failures] == [("NONE", "data")]
    assert {line.group for line in report.board.lines if line.by == "symbol"} == {"BTCUSDT", "ETHUSDT", "SPY"}


def test_a_short_history_fails_only_where_it_is_short(tmp_path):
    feed = "{type: simulated, start: 2024-11-20, end: 2025-06-30}"
    report = backtest(*configured(tmp_path, feed=feed, ensembler="{type: mean}"))
    told = {f.symbol: f.reason for f in report.failures}
    assert told.keys() == {"BTCUSDT", "ETHUSDT", "SPY"}
    assert "short history" in told["SPY"]
    assert "origin" in told["SPY"]
    assert report.board.lines


class Old(RandomWalk):
    """A random walk whose weights know the first weeks."""

    weights: ClassVar[Weights] = Weights(licence="none", trained_until="2025-01-20")


def test_what_has_seen_the_days_and_all_that_is_made_of_it_is_no_evidence(tmp_path):
    config, plugins = configured(tmp_path, backtest="{start: 2025-01-25, end: 2025-02-20, step: 2, warmup: 4}")
    members = (Old(name="random_walk"), *config.forecasters[1:])
    report = backtest(config.model_copy(update={"forecasters": members}), plugins)
    assert report.seen == {
        "random_walk": "its weights were trained until 2025-01-20, after the first origin",
        "ensemble": "it is made of random_walk",
        "ensemble_calibrated": "it is made of random_walk",
    }
    later, plugins = configured(tmp_path / "later", backtest="{start: 2025-01-25, end: 2025-02-20, step: 2}")
    assert backtest(later.model_copy(update={"forecasters": members}), plugins).seen == {}


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ("null", "has no `backtest`"),
        ("{start: 2025-06-29}", "the backtest has no origin"),
        ("{start: 2025-01-01, end: 2999-01-01}", "lies in the future"),
    ],
)
def test_mistakes_are_told(tmp_path, span, message):
    with pytest.raises(ConfigError, match=message):
        backtest(*configured(tmp_path, backtest=span))


def test_without_a_model_there_is_nothing_to_do(tmp_path, configure, plugins):
    config = configure(forecasters="[{type: fickle, fault: build}]", backtest="{start: 2023-04-01}")
    with pytest.raises(DataError, match="no model can be used"):
        backtest(config, plugins)

"""The meta-learner in backtests and runs: the same numbers wherever it learned, and nothing learned too early."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from kronosfw.backtesting import backtest
from kronosfw.errors import Interrupted
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.scoring import score
from kronosfw.store import Store

CONFIG = """
feed: {{type: simulated, start: 2024-01-01, end: {end}}}
universe:
  BTCUSDT: {{asset_class: crypto}}
  ETHUSDT: {{asset_class: crypto}}
  SPY: {{asset_class: equity, forecast: false}}
  DXY: {{asset_class: forex, forecast: false}}
  VIX: {{asset_class: equity, forecast: false}}
horizon: 3
context: 60
encoders: [{{type: macro20}}]
forecasters: [{{type: random_walk}}, {{type: drift}}, {{type: bootstrap}}]
ensembler: {{type: meta_lgbm, least: 100, refit_days: 8, rounds: 8, leaf_rows: 20, folds: 2}}
calibration: {{trust: 20}}
backtest: {{start: 2025-01-01, end: {end}, step: 2}}
store: sqlite:///results.db
"""
END = "2025-03-10"
KEY = ["symbol", "as_of", "model_name", "step"]


def configured(folder: Path, end: str = END):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG.format(end=end), "utf-8")
    return load(folder / "config.yaml")


def table(folder: Path) -> pd.DataFrame:
    with Store(f"sqlite:///{folder / 'results.db'}") as store:
        past = store.past(datetime(2030, 1, 1, tzinfo=UTC))
    return past[[*KEY, "p10", "p50", "p90", "event_context", "crps"]].sort_values(KEY, ignore_index=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    report = backtest(*configured(folder))
    assert report.exit_code == 0, report.failures
    return table(folder)


def test_it_learns_on_the_way(undisturbed):
    """Equal weights with a note while labels are few, then weights of its own with what they rest on."""
    own = undisturbed.loc[undisturbed["model_name"] == "ensemble", "event_context"]
    noted = own.map(lambda context: "note" in context)
    assert noted.iloc[0]
    assert not noted.iloc[-1]
    weights = pd.DataFrame(own[~noted].map(lambda context: context["weights"]).tolist())
    assert weights.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert any("features" in context for context in own)


class StopAfter:
    def __init__(self, origins):
        self.left = origins

    def __call__(self, stage, done, total):
        self.left -= stage == "origins"
        if self.left < 0:
            raise Interrupted("enough")


@pytest.mark.parametrize("stops", [(12, 6), (22,), (30,)])
def test_stopped_and_gone_on_with_it_gives_the_same_bits(undisturbed, tmp_path, stops):
    config, plugins = configured(tmp_path)
    config = config.model_copy(update={"batch": 8})
    for origins in stops:
        with pytest.raises(Interrupted):
            backtest(config, plugins, progress=StopAfter(origins))
    assert backtest(config, plugins).resumed
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed, check_exact=True)


def test_runs_and_scorings_make_the_same(undisturbed, tmp_path):
    """What a run restores from the store is what a backtest had in its memory."""
    config, plugins = configured(tmp_path)
    for cutoff in sorted(undisturbed["as_of"].unique()):
        moment = pd.Timestamp(cutoff).to_pydatetime()
        score(config, as_of=moment, progress=lambda *_: None)
        assert run(config, plugins, as_of=moment).exit_code == 0
    score(config, as_of=datetime(2025, 3, 10, tzinfo=UTC), progress=lambda *_: None)
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed, check_exact=True)


def test_what_comes_later_changes_nothing(undisturbed, tmp_path):
    """A backtest that ends earlier has seen nothing of what came then, and makes the same until then."""
    report = backtest(*configured(tmp_path, end="2025-02-20"))
    assert report.exit_code == 0
    early = table(tmp_path)
    until = undisturbed["as_of"] <= early["as_of"].max()
    pd.testing.assert_frame_equal(early, undisturbed[until].reset_index(drop=True), check_exact=True)

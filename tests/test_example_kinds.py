"""The examples of the other kinds of component, which the plugin tutorial shows, keep their contracts."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronosfw import builtin, yamlfile
from kronosfw.alerts import alert_as_json, raise_alert
from kronosfw.checkpoints import Shelf
from kronosfw.config import Config
from kronosfw.errors import DataError
from kronosfw.loading import model
from kronosfw.mistakes import validate
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.testing import (
    CheckpointPolicyContract,
    EncoderContract,
    EnsemblerContract,
    FeedContract,
    ForecasterContract,
    NotifierContract,
    TrainerContract,
)
from kronosfw.testing.market import SmallMarket, random_bars
from kronosfw.testing.notifiers import ALERT
from kronosfw.types import Checkpoint, Entry, Trial
from tests.windows_for_tests import windows_of

KINDS = Path(__file__).parents[1] / "examples" / "kinds"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", KINDS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES = {path.stem: load(path.stem) for path in sorted(KINDS.glob("*.py"))}


def with_examples() -> Plugins:
    plugins = Plugins()
    plugins.add("builtin", builtin)
    for name, module in MODULES.items():
        plugin = plugins.add(name, module)
        assert not plugin.problem
    return plugins


def config(text: str, plugins: Plugins, folder: Path) -> Config:
    head = "feed: {type: simulated}\nuniverse: {BTCUSDT: {asset_class: crypto}, SPY: {asset_class: equity}}\n"
    document = yamlfile.parse(f"{head}store: sqlite:///results.db\n{text}", str(folder / "config.yaml"))
    return validate(model(plugins), document)


class Registered:
    @pytest.fixture
    def plugins(self):
        return with_examples()


class TestFeed(Registered, FeedContract):
    symbols = ("AAA", "BRK.B")

    @pytest.fixture
    def options(self, tmp_path):
        for name, symbol in (("AAA", "AAA"), ("BRK%2EB", "BRK.B")):
            bars = random_bars(symbol, 40)
            frame = pd.DataFrame(bars.values[:, :4], columns=list(bars.columns[:4]))
            rows = [
                {"time": f"{time}Z", **row}
                for time, row in zip(bars.times.time, frame.to_dict("records"), strict=True)
            ]
            (tmp_path / f"{name}.json").write_text(json.dumps(rows), "utf-8")
        return MODULES["feed"].JsonFeed(folder=tmp_path)


class TestEncoder(Registered, EncoderContract):
    @pytest.fixture
    def options(self):
        return MODULES["encoder"].EventFlag(event="cpi")

    def test_marks_each_release_once(self, encoder):
        market = SmallMarket.make(n_symbols=1, n=345, market="XNYS")
        times, cutoff = self.times(market)
        encoded = self.encode(encoder, market, times, cutoff)
        moments = {f.scheduled_at for f in market.facts if f.kind == "cpi"}
        inside = [m for m in moments if times.available_at[0] <= m < times.available_at[-2]]
        assert encoded[1:-1].sum() == len(inside) > 10
        assert encoded[self.context : -1].sum() == sum(m >= cutoff for m in inside)


class TestForecaster(Registered, ForecasterContract):
    @pytest.fixture
    def options(self):
        return MODULES["trainer"].TunedWalk()


class TestTrainer(Registered, TrainerContract):
    @pytest.fixture
    def options(self):
        return MODULES["trainer"].DecayTrainer()

    def test_its_weights_serve(self, trainer, examples, tmp_path):
        (snapshot,) = self.snapshots(trainer, examples, None, tmp_path / "out")
        base = MODULES["trainer"].TunedWalk().build()
        tuned = base.with_checkpoint(snapshot.path)
        windows = [e.window for e in examples[1]]
        decay = json.loads((snapshot.path / "decay.json").read_text())
        assert decay != 0.94
        found, usual = (f.forecast(windows, (0.1, 0.5, 0.9))[0].quantiles for f in (tuned, base))
        assert not np.array_equal(found, usual)

    def test_its_weights_move(self, trainer, tmp_path):
        for name, decay in (("start", "0.9"), ("end", "0.8")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "decay.json").write_text(decay)
        for start, share, expected in (
            ("start", 0, 0.9),
            ("start", 1, 0.8),
            ("start", 1.5, 0.75),
            (None, 0, 0.94),
            (None, 0.5, 0.87),
            (None, -9, 0.999),
        ):
            trainer.blend(start and tmp_path / start, tmp_path / "end", share, tmp_path)
            assert json.loads((tmp_path / "decay.json").read_text()) == pytest.approx(expected, rel=1e-12)


class TestEnsembler(Registered, EnsemblerContract):
    @pytest.fixture
    def options(self):
        return MODULES["ensembler"].InverseLoss()

    def test_weighs_by_past_loss(self, ensembler, window, members):
        past = pd.DataFrame({"model_name": ["calm", "calm", "wild"], "crps": [0.005, 0.015, 0.03]})
        ensembler.fit(past, window.cutoff)
        combined = ensembler.combine(window, members[:2], (0.1, 0.5, 0.9))
        assert combined.event_context["weights"] == pytest.approx({"calm": 0.75, "wild": 0.25})


class TestPolicy(Registered, CheckpointPolicyContract):
    @pytest.fixture
    def options(self):
        return MODULES["policy"].Best()

    @pytest.mark.parametrize(
        ("candidate", "faults", "accepted"),
        [
            (0.010, (), True),
            (0.011, (), False),
            (0.009, ("a file is cut short",), False),
            (float("nan"), (), False),
            (float("inf"), (), False),
        ],
    )
    def test_admits_what_is_no_worse_and_has_no_fault(self, policy, candidate, faults, accepted):
        checkpoint = Checkpoint("2025-01-01-0001", Path(), "tuned_walk", "crypto")
        scores = frame("arm", candidate=[0.0, 2 * candidate], incumbent=[0.01, 0.01], base=[1.0, 1.0])
        trial = Trial(checkpoint, None, None, scores, datetime(2025, 6, 30, tzinfo=UTC), faults)
        verdict = policy.admit(trial)
        assert verdict.accepted is accepted
        assert verdict.reasons[: len(faults)] == faults
        assert [check.name for check in verdict.checks] == ["crps"]

    def test_chooses_the_share_with_the_lowest_loss(self, policy):
        assert policy.share(frame("share", **{"0.5": [0.02, 0.02], "1.0": [0.01, 0.02]})) == 1
        assert policy.share(frame("share", **{"0.5": [0.02, 0.02], "1.0": [0.01, 0.04]})) == 0.5

    def test_watches_for_so_many_cutoffs(self, policy):
        for cutoffs, worse, said in ((0, 1, None), (19, 1, None), (20, 1, True), (20, 1.1, False)):
            scores = frame("arm", serving=[0.01 * worse] * cutoffs, previous=[0.01] * cutoffs)
            verdict = policy.watch(scores)
            assert (verdict and verdict.accepted) is said

    def test_serves_what_was_promoted_else_the_newest_of_the_class(self, policy):
        def one(version, asset_class, active=False):
            return Checkpoint(version, Path(version), "tuned_walk", asset_class, active=active)

        pooled, old, new = one("3", None), one("1", "crypto"), one("2", "crypto")
        assert policy.select("crypto", [pooled, old, new]) == new
        assert policy.select("equity", [pooled, old, new]) == pooled
        for active in (one("1", "crypto", True), one("4", None, True)):
            assert policy.select("crypto", [pooled, active, new]) == active

    def test_trains_every_seven_days(self, policy):
        def at(day):
            return datetime(2025, 6, day, 9, tzinfo=UTC)

        history = [Entry(at(2), "promoted", slot=at(1)), Entry(at(9), "failed", slot=at(8))]
        assert policy.due([], at(3)) == datetime(2025, 6, 3, tzinfo=UTC)
        assert policy.due(history, at(7)) is None
        assert policy.due(history, at(10)) == at(8)
        assert policy.due(history, at(29)) == at(29)
        assert policy.due([*history, Entry(at(10), "rejected", slot=at(8))], at(14)) is None


def frame(column, **crps):
    """Return scores of arms, or shares, at a row for each cutoff."""
    days = pd.date_range("2025-01-01", periods=max(map(len, crps.values())), tz="UTC")
    rows = [(arm, day, value) for arm, values in crps.items() for day, value in zip(days, values, strict=True)]
    made = pd.DataFrame(rows, columns=[column, "as_of", "crps"])
    return made.astype({"share": float}) if column == "share" else made


class TestNotifier(Registered, NotifierContract):
    @pytest.fixture
    def options(self, tmp_path):
        return MODULES["notifier"].Journal(path=tmp_path / "alerts.jsonl")


def test_alerts_reach_the_journal_and_the_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = with_examples()
    text = "forecasters: [{type: drift}]\nalerts: [{type: journal, path: alerts.jsonl, on: [rejected]}]\n"
    settings = config(text, plugins, tmp_path)
    raise_alert(ALERT, settings, plugins)
    raise_alert(replace(ALERT, kind="promoted", text="It serves."), settings, plugins)
    assert [json.loads(line) for line in Path("alerts.jsonl").read_text().splitlines()] == [alert_as_json(ALERT)]
    assert Path("runs.log").read_text().splitlines()[1] == "crypto promoted: It serves."


def test_observers_note_a_run_and_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = with_examples()
    settings = config("forecasters: [{type: drift}]\nhorizon: 60\n", plugins, tmp_path)
    run(settings, plugins)
    with pytest.raises(DataError):
        run(settings, plugins, as_of=datetime(1950, 1, 1, tzinfo=UTC))
    begun, wide, ended, again, failed, *_ = Path("runs.log").read_text().splitlines()
    assert begun == "run of 2 symbols as of latest"
    assert wide.startswith("wide: BTCUSDT by drift, ")
    assert ended == "exit code 0, 0 failures"
    assert again == "run of 2 symbols as of 1950-01-01 00:00:00+00:00"
    assert failed.startswith("failed: no symbol can be used")


def test_command_is_added(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    group = click.Group()
    with_examples().notify("register_commands", cli=group)
    Path("runs.log").write_text("one\ntwo\n")
    result = CliRunner().invoke(group, ["last-run"])
    assert (result.exit_code, result.output) == (0, "two\n")


def test_a_trained_checkpoint_serves_and_the_ensemble_weighs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = with_examples()
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "decay.json").write_text("0.8")
    shelf = Shelf(tmp_path / "checkpoints", None)
    shelf.publish(weights, {"forecaster": "tuned_walk"}, day="2025-01-01", identity="0123456789ab")
    text = """
forecasters: [{type: tuned_walk}, {type: drift}]
encoders: [{type: event_flag}]
ensembler: {type: inverse_loss}
checkpoints: {type: best}
checkpoint_root: checkpoints
"""
    report = run(config(text, plugins, tmp_path), plugins)
    assert report.exit_code == 0
    by_model = {f.model: f for f in report.forecasts if f.symbol == "SPY"}
    assert by_model["ensemble"].event_context["weights"] == {"tuned_walk": 0.5, "drift": 0.5}
    window = windows_of(config(text, plugins, tmp_path), plugins)["SPY"]
    assert window.covariates is not None
    assert window.covariates.names == ("is_cpi",)
    expected = MODULES["trainer"].Walk(0.8).forecast([window], (0.1, 0.5, 0.9))[0]
    np.testing.assert_array_equal(by_model["tuned_walk"].quantiles, expected.quantiles)

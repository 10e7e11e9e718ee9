"""A training ends in one version, whatever happens on the way, and the version serves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kronosfw.checkpoints import discover
from kronosfw.errors import ConfigError, DataError, Interrupted, PluginError
from kronosfw.files import locked
from kronosfw.pipeline import run
from kronosfw.report_training import print_training, training_as_json
from kronosfw.training import train
from tests import walking_trainer
from tests.test_example_kinds import MODULES
from tests.test_plugins import install
from tests.walking_trainer import Walking

UNIVERSE = (
    "{S00: {asset_class: crypto}, S01: {asset_class: equity, calendar: 24/7}, "
    "S02: {asset_class: equity, calendar: 24/7}}"
)
TRAINING = "{validate_from: 2023-06-01}"


@pytest.fixture
def setting(configure, plugins, tmp_path):
    """Return what makes a configuration with a trainer, and others on request."""
    assert not plugins.add("walking", walking_trainer).problem
    for name in ("trainer", "encoder"):
        assert not plugins.add(name, MODULES[name]).problem
    Walking.calls.clear()
    Walking.steps.clear()

    def make(**changes):
        sections = {
            "universe": UNIVERSE,
            "trainer": "{type: walking}",
            "training": TRAINING,
            "checkpoint_root": "checkpoints",
            **changes,
        }
        return configure(**{k: v for k, v in sections.items() if v is not None})

    return make


def manifest(report) -> dict:
    return json.loads((report.path / "manifest.json").read_text())


def test_what_was_trained_serves(setting, plugins, tmp_path):
    members = {"forecasters": "[{type: tuned_walk}]", "ensembler": None, "checkpoints": "{type: latest}"}
    config = setting(trainer="{type: decay}", **members)
    before = run(config, plugins)
    report = train(config, plugins)
    assert (report.exit_code, report.trained, report.asset_class) == (0, True, None)
    (found,) = discover(tmp_path / "checkpoints")
    assert (found.version, found.path, found.forecaster) == (report.version, report.path, "tuned_walk")
    assert found.metrics == {"loss": report.best.metrics["loss"]}
    after = run(config, plugins)
    assert after.versions["tuned_walk"]["crypto"].endswith(f"@base/{report.version}")
    pairs = zip(before.forecasts, after.forecasts, strict=True)
    assert all(not np.array_equal(one.quantiles, other.quantiles) for one, other in pairs)
    assert list((tmp_path / "checkpoints" / "training").iterdir()) == []


def test_an_asset_class_gets_weights_of_its_own(setting, plugins, tmp_path):
    members = {"forecasters": "[{type: tuned_walk}]", "ensembler": None, "checkpoints": "{type: latest}"}
    config = setting(trainer="{type: decay}", **members)
    report = train(config, plugins, asset_class="equity")
    assert report.path.parents[1] == tmp_path / "checkpoints" / "rolling" / "equity"
    assert {e.asset_class: e.symbols for e in report.train} == {"equity": 2}
    versions = run(config, plugins).versions["tuned_walk"]
    assert f"@equity/{report.version}" in versions["equity"]
    assert "@" not in versions["crypto"]


def test_a_version_tells_where_it_comes_from(setting, plugins):
    report = train(setting(encoders="[{type: event_flag}]"), plugins)
    told = manifest(report)
    assert told["forecaster"] == "random_walk"
    assert told["trainer"]["type"] == "walking"
    assert told["metrics"] == {"loss": 1.0, "train_loss": 1 / 3}
    assert told["train"]["validate_from"] == "2023-06-01"
    assert told["train"]["examples"] == {
        part: sum(e.examples for e in getattr(report, part)) for part in ("train", "validation")
    }
    assert told["train"]["from"] == f"{min(e.first for e in report.train)}Z"
    assert told["train"]["until"] == f"{max(e.last for e in report.validation)}Z"
    assert (told["parent"], told["format"]) == (None, 1)
    assert told["files"].keys() == {"weights.txt", "metrics.jsonl"}
    for name, stated in told["files"].items():
        content = (report.path / name).read_bytes()
        assert stated == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert [json.loads(line)["step"] for line in (report.path / "metrics.jsonl").read_text().splitlines()] == [
        10,
        20,
        30,
    ]


def test_training_again_finds_the_version(setting, plugins):
    first = train(setting(), plugins)
    again = train(setting(), plugins)
    assert (first.trained, again.trained) == (True, False)
    assert len(Walking.calls) == 1
    assert (again.version, again.snapshots, again.best) == (first.version, first.snapshots, first.best)


def test_what_was_trained_later_is_newer(setting, plugins, tmp_path):
    versions = [train(setting(seed=str(i)), plugins).version for i in range(5)]
    assert versions == sorted(versions) == [c.version for c in discover(tmp_path / "checkpoints")]


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": "{type: walking, losses: [3, 2, 1.5]}"},
        {"training": "{validate_from: 2023-06-02}"},
        {"training": "{validate_from: 2023-06-01, stride: 4}"},
        {"training": "{validate_from: 2023-06-01, until: 2023-07-10}"},
        {"encoders": "[{type: event_flag}]"},
        {"seed": "1"},
        {"context": "90"},
        {"horizon": "2"},
        {"trainer": "{type: walking, context: 90}"},
        {"feed": "{type: table, late: {S01: 30}}"},
        {"universe": UNIVERSE.replace("S02", "S03")},
    ],
    ids=str,
)
def test_other_inputs_are_another_version(setting, plugins, changes):
    assert train(setting(**changes), plugins).version[-12:] != train(setting(), plugins).version[-12:]


@pytest.mark.parametrize(
    "changes", [{"batch": "7"}, {"forecasters": "[{type: har}]"}, {"min_symbols": "0.1"}], ids=str
)
def test_what_no_weight_depends_on_changes_nothing(setting, plugins, changes):
    assert train(setting(**changes), plugins).version == train(setting(), plugins).version


def test_the_best_snapshot_is_published_and_patience_ends(setting, plugins, tmp_path):
    losses = "[3, 1, 2, 1, 2, 0.5, 2, 2, 2]"
    training = "{validate_from: 2023-06-01, patience: 3}"
    report = train(setting(trainer=f"{{type: walking, losses: {losses}}}", training=training), plugins)
    assert Walking.steps == [1, 2, 3, 4, 5]
    assert report.best.step == 20
    endless = "{validate_from: 2023-06-01, patience: }"
    report = train(setting(trainer=f"{{type: walking, losses: {losses}}}", training=endless), plugins)
    assert Walking.steps == list(range(1, 10))
    assert report.best.step == 60


def test_snapshots_that_are_neither_best_nor_newest_are_deleted(setting, plugins, tmp_path):
    seen = []

    def watch(stage, done, total):
        if stage == "training" and done % 10 == 0:
            assert total == 40
            out = Walking.calls[-1][-1]
            seen.append(sorted(p.name for p in out.glob("step-*")))

    train(setting(trainer="{type: walking, losses: [3, 1, 2, 4]}"), plugins, progress=watch)
    assert seen == [["step-1"], ["step-2"], ["step-2", "step-3"], ["step-2", "step-4"]]


def test_without_losses_the_last_snapshot_is_published(setting, plugins):
    report = train(setting(trainer="{type: walking, fault: loss}"), plugins)
    assert report.best.step == 30
    assert manifest(report)["metrics"] == {"accuracy": 1.0}


def test_a_loss_that_is_not_finite_is_never_the_best(setting, plugins):
    report = train(setting(trainer="{type: walking, losses: [nan, 2, inf]}"), plugins)
    assert report.best.step == 20
    assert [r.metrics["loss"] for r in report.snapshots] == [None, 2.0, None]
    with pytest.raises(PluginError, match="no validation loss was finite"):
        train(setting(trainer="{type: walking, losses: [nan, nan]}"), plugins)
    assert len(discover(report.path.parents[2])) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nothing", "trainer walking ended without a snapshot"),
        ("data", "trainer walking: no example is long enough"),
        ("type", "trainer walking: TypeError: yielded a dict where a Snapshot was expected"),
        ("outside", "trainer walking: a snapshot must be a folder with files below the one given"),
        ("bare", "trainer walking: a snapshot must be a folder with files below the one given"),
        ("empty", "trainer walking: a snapshot must be a folder with files below the one given"),
        ("same", "trainer walking: step 20 was written over another snapshot, in same"),
        ("reserved", "a snapshot may not hold manifest.json"),
    ],
)
def test_a_trainer_that_breaks_its_contract_is_named(setting, plugins, tmp_path, fault, message):
    with pytest.raises(PluginError, match=message):
        train(setting(trainer=f"{{type: walking, fault: {fault}}}"), plugins)
    assert discover(tmp_path / "checkpoints") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": None}, r"without `training: \{validate_from: 2025-01-01\}` in the configuration"),
        ({"trainer": None}, r"without `trainer: \{type: …\}` in the configuration"),
        (
            {"checkpoint_root": None, "training": None},
            "validate_from: 2025-01-01}` and `checkpoint_root: checkpoints`",
        ),
        (
            {"trainer": "{type: homeless}"},
            r'trainer homeless: Homeless does not say .* `forecaster: ClassVar\[str\] = "…"`',
        ),
        (
            {"trainer": "{type: stranger}"},
            "trainer stranger makes weights of the forecaster 'oracle', which is not installed",
        ),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_train_says_why(setting, plugins, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(setting(**changes), plugins)


def test_an_asset_class_that_is_not_there_is_a_mistake(setting, plugins):
    with pytest.raises(
        ConfigError, match="no symbol to forecast is of the asset class 'equty'; did you mean 'equity'"
    ):
        train(setting(), plugins, asset_class="equty")


def test_symbols_that_cannot_be_used_are_left_out_and_named(setting, plugins):
    report = train(setting(feed="{type: table, corrupt: [S01]}"), plugins)
    assert report.exit_code == 3
    assert [f.symbol for f in report.failures] == ["S01"]
    report = train(setting(feed="{type: table, late: {S02: 120}}"), plugins)
    assert [(f.symbol, f.stage) for f in report.failures] == [("S02", "window")]
    assert "none of its 80 bars has 100 of context and 3 to come" in report.failures[0].reason
    with pytest.raises(DataError, match=r"1 of 3 symbols can be learned from, min_symbols is 0.5"):
        train(setting(feed="{type: table, corrupt: [S01, S02]}"), plugins)


def test_there_must_be_examples_on_both_sides(setting, plugins):
    with pytest.raises(DataError, match=r"no example to train with: .* give a later date or more bars"):
        train(setting(training="{validate_from: 2023-03-01}"), plugins)
    with pytest.raises(DataError, match=r"no example to validate with: .* give an earlier date or more bars"):
        train(setting(training="{validate_from: 2023-07-19}"), plugins)


def test_a_moment_bounds_what_is_read(setting, plugins):
    moment = datetime(2023, 7, 1, tzinfo=UTC)
    by_option = train(setting(), plugins, as_of=moment)
    assert max(e.last for e in by_option.validation) <= np.datetime64("2023-07-01")
    assert by_option.version.startswith("2023-07-01-0001-")
    by_file = train(setting(training="{validate_from: 2023-06-01, until: 2023-07-01}"), plugins)
    assert by_file.validation == by_option.validation
    assert by_file.version.startswith("2023-07-01-0002-")
    with pytest.raises(ConfigError, match="lies in the future"):
        train(setting(), plugins, as_of=datetime(2190, 1, 1, tzinfo=UTC))


def test_bars_before_the_first_cutoff_are_read_for_its_context(setting, plugins):
    report = train(setting(training="{validate_from: 2023-06-20, start: 2023-05-20, stride: 1}"), plugins)
    assert {str(e.first)[:10] for e in report.train} == {"2023-05-20"}


def test_training_goes_on_from_a_version(setting, plugins, tmp_path):
    first = train(setting(), plugins)
    second = train(setting(), plugins, start=first.path)
    assert Walking.calls[-1][2] == first.path
    assert manifest(second)["parent"].startswith(f"{first.version}@")
    assert second.version != first.version
    with pytest.raises(ConfigError, match=r"holds weights of random_walk, trainer decay makes tuned_walk's"):
        train(setting(trainer="{type: decay}"), plugins, start=first.path)
    with pytest.raises(ConfigError, match="there are no weights to start from"):
        train(setting(), plugins, start=tmp_path / "nowhere")
    (first.path / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"manifest.json: cannot be understood"):
        train(setting(), plugins, start=first.path)


def stop_at(step):
    def progress(stage, done, total):
        if stage == "training" and done >= step:
            raise Interrupted("asked to")

    return progress


def test_a_training_that_is_stopped_goes_on(setting, plugins, tmp_path):
    whole = train(setting(checkpoint_root="undisturbed"), plugins)
    with pytest.raises(Interrupted, match=r"stopped on a signal at step 15; the same command goes on"):
        train(setting(), plugins, progress=stop_at(15))
    assert discover(tmp_path / "checkpoints") == []
    report = train(setting(), plugins)
    assert Walking.steps == [2, 3]
    assert files(report.path) == files(whole.path)


def test_patience_counts_the_snapshots_from_before_a_stop(setting, plugins):
    losses = "[2, 1, 3, 3, 0.5]"
    sections = {
        "trainer": f"{{type: walking, losses: {losses}}}",
        "training": "{validate_from: 2023-06-01, patience: 2}",
    }
    with pytest.raises(Interrupted):
        train(setting(**sections), plugins, progress=stop_at(40))
    Walking.steps.clear()
    report = train(setting(**sections), plugins)
    assert Walking.steps == []
    assert report.best.step == 20


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_version_is_there_as_a_whole_or_not_at_all(setting, plugins, tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(ConfigError, match=r"checkpoint_root .*checkpoints: No space left on device"):
            train(setting(), plugins)
    assert discover(tmp_path / "checkpoints") == []
    staging = tmp_path / "checkpoints" / "base" / "staging"
    assert list(staging.iterdir()) == []
    (staging / "half").mkdir()
    (staging / "half" / "weights.txt").write_text("of a crash")
    assert train(setting(), plugins).trained
    assert list(staging.iterdir()) == []


def test_a_journal_that_cannot_be_read_is_no_traceback(setting, plugins):
    with pytest.raises(Interrupted):
        train(setting(), plugins, progress=stop_at(20))
    work = Walking.calls[-1][-1]
    (work / "metrics.jsonl").write_text("nonsense\n")
    with pytest.raises(ConfigError, match=r"metrics.jsonl: cannot be understood .* delete .* to train anew"):
        train(setting(), plugins)


def test_two_processes_do_not_train_the_same(setting, plugins):
    with pytest.raises(Interrupted):
        train(setting(), plugins, progress=stop_at(10))
    work = Walking.calls[-1][-1]
    with (
        locked(work.with_name(f".{work.name}.lock")),
        pytest.raises(Interrupted, match="another process trains the same"),
    ):
        train(setting(), plugins)
    assert train(setting(), plugins).trained


def shown(report, config, width=80) -> str:
    console = Console(width=width, file=io.StringIO(), emoji=False)
    print_training(report, config, console)
    return console.file.getvalue()


def test_a_person_sees_what_was_learned_from_and_what_came_of_it(setting, plugins):
    losses = [round(5 - i / 10, 1) for i in range(29)] + [9.0]
    config = setting(trainer=f"{{type: walking, losses: {losses}}}", feed="{type: table, corrupt: [S01]}")
    report = train(config, plugins)
    text = shown(report, config)
    assert "failed S01: " in text
    rows = [line.split() for line in text.splitlines()]
    splits = [tuple(row[:3]) for row in rows if row[:1] in (["train"], ["validate"])]
    assert splits == [(what, name, "1") for what in ("train", "validate") for name in ("crypto", "equity")]
    table = [row for row in rows if row and row[0].isdigit() and row[1:2] != ["snapshots"]]
    assert len(table) == 12
    assert [row[0] for row in table[:1] + table[-2:]] == ["10", "290", "300"]
    assert [row for row in table if "best" in row] == [["290", "0.034483", "2.2", "←", "best"]]
    assert "30 snapshots in all" in text
    assert str(report.path) in text.replace("\n", "")
    assert text.endswith("put into the configuration:\n  checkpoints: {type: latest}\n")
    assert "was there already" in shown(train(config, plugins), config)


def test_a_program_is_told_the_same(setting, plugins):
    feed = "{type: table, corrupt: [S01]}"
    config = setting(checkpoints="{type: latest}", forecasters="[{type: fickle}]", feed=feed)
    report = train(config, plugins)
    told = json.loads(json.dumps(training_as_json(report), allow_nan=False))
    assert (told["version"], told["path"], told["best"]) == (report.version, str(report.path), 30)
    assert [row["step"] for row in told["snapshots"]] == [10, 20, 30]
    assert {row["asset_class"] for row in told["train"]} == {"crypto", "equity"}
    assert [(row["of"], row["check"], row["count"]) for row in told["data"]] == [("S01", "nonfinite", 150)]
    assert [row["symbol"] for row in told["failures"]] == ["S01"]
    assert told["validation"][0]["last"] <= "2023-07-21"
    assert "forecasters: [{type: random_walk}]" in shown(report, config)
    assert "checkpoints:" not in shown(report, config)


CONFIG = """\
feed: {type: simulated, start: 2022-01-01, end: 2023-12-31}
universe: {BTCUSDT: {asset_class: crypto}, SPY: {asset_class: equity}}
context: 100
horizon: 3
forecasters: [{type: har}]
trainer: {type: walking, pause: PAUSE, losses: [6, 5, 4, 3, 2, 1]}
training: {validate_from: 2023-07-01}
checkpoint_root: checkpoints
store: sqlite:///results.db
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a configuration, and the plugin on the path of the processes started there."""
    install(tmp_path, "kronosfw-walking", Path(walking_trainer.__file__).read_text("utf-8"))
    (tmp_path / "config.yaml").write_text(CONFIG.replace("PAUSE", "0.15"))
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from kronosfw.cli import call; sys.exit(call(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "train", "config.yaml", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_killed_training_ends_in_the_same_version(folder, tmp_path_factory):
    killed = 0
    for snapshot in ("step-2", "step-5"):
        process = start(folder)
        wait_for(folder, f"checkpoints/training/*/{snapshot}", process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed == 2, "it was to be killed in the middle"
    assert discover(folder / "checkpoints") == []
    process = start(folder, "--json")
    told = json.loads(process.communicate()[0])
    assert (process.returncode, told["trained"], told["best"]) == (0, True, 60)
    (again,) = discover(folder / "checkpoints")
    (folder / "checkpoints").rename(folder / "first")
    assert "← best" in start(folder).communicate()[0]
    (undisturbed,) = discover(folder / "checkpoints")
    assert undisturbed.version == again.version == told["version"]
    assert files(folder / "first" / "base" / "versions") == files(folder / "checkpoints" / "base" / "versions")


def test_a_signal_stops_a_training(folder):
    process = start(folder)
    wait_for(folder, "checkpoints/training/*/step-2", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "the same command goes on from" in err
    assert discover(folder / "checkpoints") == []


def test_the_options_of_the_command(folder):
    (folder / "config.yaml").write_text(CONFIG.replace("PAUSE", "0"))
    process = start(folder, "--class", "crypto", "--as-of", "2023-11-01", "--json")
    told = json.loads(process.communicate()[0])
    assert process.returncode == 0
    assert told["version"].startswith("2023-11-01-0001-")
    assert Path(told["path"]).parts[-4:-1] == ("rolling", "crypto", "versions")
    assert [row["asset_class"] for row in told["train"]] == ["crypto"]

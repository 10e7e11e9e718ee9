"""``kronosfw backtest`` as a user has it: what it says, how it ends, and what is left of it when it is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from kronosfw.backtesting import backtest
from kronosfw.cli import call
from kronosfw.errors import DataError
from kronosfw.plugins import Plugins
from tests import pupil
from tests.made_up import FickleForecaster
from tests.test_cli import TALKATIVE
from tests.test_plugins import install, kronosfw

CONFIG = """\
feed: {type: simulated, start: 2024-09-01, end: 2025-06-30}
universe: {BTCUSDT: {asset_class: crypto}, SPY: {asset_class: equity}}
horizon: 2
context: 60
checks: {min_history: 60}
forecasters: [{type: random_walk}, {type: bootstrap}]
ensembler: {type: online}
calibration: {trust: 20}
horizon_buckets: [1]
batch: 3
backtest: {start: 2025-01-01, end: 2025-02-01}
store: sqlite:///results.db
"""
MODELS = ["random_walk", "bootstrap", "ensemble", "ensemble_calibrated"]
TABLES = {
    "ml_predictions": "created_at",
    "signal_evaluations": "scored_at",
    "runs": "started_at finished_at report",
    "states": "created_at",
}
"""With the columns that tell when something was done, and how long it took."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration, as a user has it."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the command writes where nothing disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "config.yaml").write_text(CONFIG)
    assert call(["backtest", str(folder / "config.yaml"), "--json"]) == 0
    return tables(folder / "results.db")


@pytest.fixture
def pupils(folder, monkeypatch):
    """The same with a further ensembler that keeps what it has learned."""
    plugins = Plugins.installed()
    plugins.add("pupils", pupil)
    monkeypatch.setattr(Plugins, "installed", lambda *_, **__: plugins)
    further = "ensemblers: [{type: pupil, name: pupil, days: 4}]}"
    (folder / "config.yaml").write_text(CONFIG.replace("end: 2025-02-01}", f"end: 2025-02-01, {further}"))
    return folder


def tables(path):
    """Return all rows of a store, but for when they were written."""
    found = {}
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        for name, stamps in TABLES.items():
            rows = [dict(row) for row in db.execute(f"select * from {name}")]
            found[name] = sorted(
                (sorted((k, v) for k, v in row.items() if k not in stamps.split()) for row in rows), key=repr
            )
        reports = [json.loads(report) for (report,) in db.execute("select report from runs")]
    found["reports"] = [{k: v for k, v in report.items() if k != "seconds"} for report in reports]
    return found


def written(path):
    """Return how many predictions are stored."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("select count(*) from ml_predictions").fetchone()[0]


def wait_for(path, rows, alive):
    """Wait until more than so many predictions are stored."""
    while alive():
        try:
            if written(path) > rows:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.002)
    raise AssertionError("it has ended too early")


def test_tells_people(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert call(["backtest", "config.yaml"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0].startswith(
        "2 symbols, 18 to 30 origins each from 2025-01-01 00:00 to 2025-01-30 00:00 UTC, 2 bars"
    )
    assert [line.split()[0] for line in lines if line.startswith(" ")][1:5] == MODELS
    assert f"in sqlite:///{folder}/results.db" in lines[-1]
    assert "gone on with" not in lines[-1]
    assert call(["-v", "backtest", "config.yaml"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[:-1] == lines[:-1], "once it is done it only prints its tables again"
    assert ", gone on with, in sqlite" in again[-1]


def test_tells_programs(folder, capsys):
    assert call(["backtest", "config.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["origins"] == {"BTCUSDT": 30, "SPY": 18}
    assert (told["first_origin"], told["last_origin"]) == ("2025-01-01T00:00:00+00:00", "2025-01-30T00:00:00+00:00")
    whole = [line for line in told["scores"]["lines"] if line["by"] == "all"]
    assert [line["model"] for line in whole] == MODELS
    assert {line["rows"] for line in whole} == {96}
    assert (told["exit_code"], told["failures"], told["no_evidence"]) == (0, [], {})
    assert set(told["seconds"]) == {"random_walk", "bootstrap", "ensemble"}
    assert written(folder / "results.db") == 384


@pytest.mark.parametrize(
    ("old", "new", "arguments", "code", "said"),
    [
        ("backtest:", "# backtest:", (), 2, "the configuration has no `backtest`"),
        ("end: 2025-02-01", "end: 2999-01-01", (), 2, "lies in the future"),
        ("", "", ("--workers", "0"), 2, "'--workers': 0 is not in the range 1<=x<=256"),
        ("BTCUSDT:", "NONE:", ("--store", "sqlite:////proc/none.db"), 6, "unable to open database file"),
        ("{BTCUSDT: {asset_class: crypto}, SPY", "{NONE", (), 5, "no symbol can be used"),
    ],
)
def test_a_mistake_ends_with_one_message_and_its_code(folder, capsys, old, new, arguments, code, said):
    (folder / "config.yaml").write_text(CONFIG.replace(old, new))
    assert call(["backtest", "config.yaml", *arguments]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_symbol_that_fails_is_told_of(folder, capsys):
    (folder / "config.yaml").write_text(CONFIG.replace("{BTCUSDT", "{NONE: {asset_class: crypto}, BTCUSDT"))
    assert call(["backtest", "config.yaml"]) == 3
    first = capsys.readouterr().out
    assert "failed NONE: " in first
    assert call(["backtest", "config.yaml", "--json"]) == 3, "told again where nothing is done again"
    assert [f["symbol"] for f in json.loads(capsys.readouterr().out)["failures"]] == ["NONE"]


def test_where_everything_failed_the_next_time_begins_anew(configure, plugins, monkeypatch):
    config = configure(
        universe="{S00: {asset_class: crypto}}",
        forecasters="[{type: fickle}]",
        ensembler="null",
        backtest="{start: 2023-05-01, end: 2023-05-12}",
    )
    with monkeypatch.context() as broken:
        broken.delattr(FickleForecaster, "forecast")
        for _ in range(2):
            with pytest.raises(DataError, match="no forecast could be scored"):
                backtest(config, plugins)
    report = backtest(config, plugins)
    assert (report.exit_code, report.failures, report.origins) == (0, (), {"S00": 9})


def test_two_stores_hold_the_same(pupils, capsys):
    for name in ("one.db", "other.db"):
        assert call(["backtest", "config.yaml", "--store", f"sqlite:///{name}"]) == 0
    one, other = (tables(pupils / name) for name in ("one.db", "other.db"))
    assert one == other
    assert len(one["ml_predictions"]) == 576
    assert one["states"] == []


def ended_by(number, path, rows, *options, after=0.0):
    """Run the command in a process of its own, with its own group, and send a signal to it.

    It is sent some seconds after more than so many predictions are there; returns exit code and group.
    """
    process = multiprocessing.get_context("fork").Process(target=_lead, args=("backtest", "config.yaml", *options))
    process.start()
    wait_for(path, rows, process.is_alive)
    time.sleep(after)
    os.kill(process.pid, number)
    process.join()
    return process.exitcode, process.pid


def _lead(*arguments):
    os.setsid()
    sys.exit(call(list(arguments)))


def test_killed_again_and_again_it_ends_with_the_same_rows(pupils, capsys):
    assert call(["backtest", "config.yaml", "--store", "sqlite:///undisturbed.db"]) == 0
    path, rng, rows = pupils / "results.db", random.Random(7), -1
    for _ in range(5):
        assert ended_by(signal.SIGKILL, path, rows, after=rng.uniform(0, 0.1))[0] == -signal.SIGKILL
        assert written(path) % 6 == 0, "of an origin there is all or nothing"
        rows = written(path)
    assert 0 < rows < 576
    assert call(["backtest", "config.yaml"]) == 0
    assert tables(path) == tables(pupils / "undisturbed.db")


def test_with_processes_it_leaves_none_behind_and_ends_with_the_same_rows(folder, undisturbed, capfd):
    path, workers = folder / "results.db", ("--workers", "2")
    code, group = ended_by(signal.SIGTERM, path, 0, *workers)
    assert (code, _ends(group)) == (75, True)
    said = capfd.readouterr().err
    assert said == "error: stopped on a signal; the same command goes on after the origins done\n"
    code, group = ended_by(signal.SIGKILL, path, written(path), *workers)
    assert (code, _ends(group)) == (-signal.SIGKILL, True)
    assert "Traceback" not in capfd.readouterr().err
    result = kronosfw(folder, "-v", "backtest", "config.yaml", "--json", *workers)
    assert (result.returncode, json.loads(result.stdout)["exit_code"]) == (0, 0), result.stderr
    assert tables(path) == undisturbed


def _ends(group):
    """Return whether all processes of a group end within a while."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_what_a_plugin_says_elsewhere_is_no_result_and_no_secret(folder, monkeypatch):
    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    printing = 'print("so to speak", flush=True)'
    install(folder, "kronosfw-talkative", TALKATIVE.replace("kind = ", f"{printing}\n        kind = "))
    member = "forecasters: [{type: talkative, token: '${CANARY}'}, "
    (folder / "config.yaml").write_text(CONFIG.replace("forecasters: [", member))
    result = kronosfw(folder, "backtest", "config.yaml", "--workers", "2", "--json")
    assert result.returncode == 3, result.stderr
    failures = json.loads(result.stdout)["failures"]
    assert {f["reason"].partition(" (at")[0] for f in failures} == {"RuntimeError: refused: token ***"}
    assert "so to speak" in result.stderr
    assert "s3cr3t" not in result.stdout + result.stderr
    assert b"s3cr3t" not in (folder / "results.db").read_bytes()

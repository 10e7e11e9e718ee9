"""What a person and a program see of the command line."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronosfw.cli import call
from kronosfw.testing.market import random_bars

SMALL = """\
feed: {type: csv, path: "bars/*.csv"}
universe: {AAA: {asset_class: crypto}, BBB: {asset_class: crypto}, CCC: {asset_class: equity, calendar: 24/7}}
horizon: 3
context: 100
forecasters: [{type: random_walk}, {type: drift}]
ensembler: {type: mean}
store: sqlite:///results.db
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration and the bars of three symbols, as a user has them."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    (tmp_path / "config.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_bars(path: Path, symbol: str) -> None:
    bars = random_bars(symbol, 150)
    frame = pd.DataFrame(np.array(bars.values), columns=[c.title() for c in bars.columns])
    frame.insert(0, "Date", pd.DatetimeIndex(bars.times.time).strftime("%Y-%m-%d"))
    frame.to_csv(path, index=False)


def test_init_run_score(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["init"]) == 0
    assert call(["init"]) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert call(["check", "kronosfw.yaml"]) == 0
    assert "9 symbols, 5 bars of 1d ahead" in capsys.readouterr().out
    assert call(["run", "kronosfw.yaml", "--as-of", "2025-03-05"]) == 0
    shown = capsys.readouterr()
    assert "BTCUSDT" in shown.out
    assert "●" in shown.out
    assert "sqlite:///" in shown.out
    assert shown.err == ""
    assert call(["score", "kronosfw.yaml"]) == 0
    assert "180 predictions scored" in capsys.readouterr().out
    assert call(["score", "kronosfw.yaml"]) == 0
    assert "Nothing to score" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_is_cut_off(folder, capsys, monkeypatch, width):
    """Prices of many digits and intraday targets fit, if need be without the bar."""
    monkeypatch.setenv("COLUMNS", str(width))
    bars = random_bars("BTCUSDT-PERPETUAL", 150, freq="1h")
    frame = pd.DataFrame(np.array(bars.values) * 987.654321, columns=list(bars.columns))
    frame.insert(0, "time", pd.DatetimeIndex(bars.times.time).tz_localize("UTC"))
    frame.to_csv(folder / "bars" / "BTCUSDT-PERPETUAL.csv", index=False)
    text = SMALL.replace("universe: {", "freq: 1h\nuniverse: {BTCUSDT-PERPETUAL: {asset_class: crypto}, ")
    (folder / "config.yaml").write_text(text)
    assert call(["run", "config.yaml", "--symbols", "BTCUSDT-PERPETUAL"]) == 0
    table = capsys.readouterr().out.split("Data")[0]
    row = next(line for line in table.splitlines() if "BTCUSDT" in line and "symbol" not in line)
    assert "…" not in row
    assert len(row.rstrip()) <= width


def test_json_is_for_programs(folder, capsys):
    assert call(["run", "config.yaml", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["exit_code"] == 0
    assert len(result["forecasts"]) == 9
    step = result["forecasts"][0]["steps"][0]
    assert set(step["close"]) == {"0.1", "0.5", "0.9"}
    assert step["close"]["0.1"] < step["close"]["0.5"] < step["close"]["0.9"]
    assert call(["score", "config.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 0
    assert call(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["horizon"]


def test_options_override_the_file(folder, capsys):
    assert call(["run", "config.yaml", "--symbols", "BBB,AAA", "--store", "sqlite:///other.db", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {f["symbol"] for f in result["forecasts"]} == {"AAA", "BBB"}
    assert (folder / "other.db").exists()
    assert not (folder / "results.db").exists()


def test_a_symbol_that_fails_is_named_and_the_others_are_stored(folder, capsys):
    (folder / "bars" / "BBB.csv").write_text("Date,Open,High,Low,Close\n2024-01-01,1,2,0.5\n")
    assert call(["run", "config.yaml"]) == 3
    out = capsys.readouterr().out
    assert "2 of 3 symbols" in out
    assert "BBB.csv" in out
    rows = sqlite3.connect(folder / "results.db").execute("select distinct symbol from ml_predictions")
    assert {symbol for (symbol,) in rows} == {"AAA", "CCC"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "none.yaml"], 2, "none.yaml: cannot be read: No such file"),
        (["run"], 2, "Missing argument 'FILE'"),
        (["frob"], 2, "No such command 'frob'"),
        (["run", "config.yaml", "--as-of", "tomorrow"], 2, "expected latest, now, a date"),
        (["run", "config.yaml", "--symbols", ""], 2, "name at least one symbol"),
        (["run", "config.yaml", "--as-of", "0001-01-01T00:00+05:00"], 2, "between the years 1 and 9999"),
        (["run", "config.yaml", "--as-of", "2190-01-01"], 2, "lies in the future"),
        (["score", "config.yaml", "--as-of", "2190-01-01"], 2, "lies in the future"),
        (["run", "config.yaml", "--symbols", "ZZZ"], 2, "ZZZ: not in the universe"),
        (["run", "config.yaml", "--store", "nonsense"], 2, "--store: expected a SQLAlchemy URL"),
        (["run", "config.yaml", "--as-of", "2001-01-01"], 5, "no symbol can be used"),
        (["init", "/proc/none/x.yaml"], 2, "cannot be written"),
        (["store", "replay", "config.yaml", "none.parquet"], 6, "none.parquet"),
        (["train", "config.yaml"], 2, "there is nothing to train without `trainer: {type: …}` and `training:"),
        (["train", "config.yaml", "--as-of", "tomorrow"], 2, "expected latest, now, a date"),
    ],
)
def test_a_mistake_ends_with_one_message_and_its_code(folder, capsys, arguments, code, message):
    assert call(arguments) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_json_tells_of_a_failure_too(folder, capsys):
    assert call(["run", "config.yaml", "--as-of", "2001-01-01", "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 5
    assert "no symbol can be used" in told["error"]


def test_our_own_mistake_is_called_one(folder, capsys, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("password=s3cr3t")

    monkeypatch.setattr("kronosfw.pipeline.run", fail)
    assert call(["run", "config.yaml"]) == 1
    err = capsys.readouterr().err
    assert "kronosfw failed unexpectedly: ZeroDivisionError in fail" in err
    assert "s3cr3t" not in err
    monkeypatch.setenv("KRONOSFW_DEBUG", "1")
    assert call(["run", "config.yaml"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_migrating_and_replaying_by_command(folder, capsys):
    assert call(["store", "migrate", "config.yaml"]) == 0
    assert "up to date" in capsys.readouterr().out
    (folder / "results.db").write_bytes(b"no database" * 100)
    assert call(["run", "config.yaml"]) == 6
    err = capsys.readouterr().err
    assert "the store cannot be used" in err
    spooled = err.rsplit(" ", 1)[1].strip()
    (folder / "results.db").unlink()
    assert call(["store", "replay", "config.yaml", spooled]) == 0
    assert "27 predictions added" in capsys.readouterr().out


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from kronosfw.cli import main; main()", *arguments]


def test_a_signal_ends_the_run_with_nothing_written(folder):
    config = folder / "slow.yaml"
    names = ", ".join(f"CRYPTO{i:04d}: {{asset_class: crypto}}" for i in range(1, 400))
    config.write_text(
        f"feed: {{type: simulated, count: 400, start: 2022-01-01, end: 2023-01-01}}\nuniverse: {{{names}}}\n"
        "batch: 4\nforecasters: [{type: bootstrap, samples: 5000}]\nstore: sqlite:///slow.db\n"
    )
    process = subprocess.Popen(command("run", "slow.yaml"), cwd=folder, stderr=subprocess.PIPE, text=True)
    while not (folder / "slow.db").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert "stopped on a signal; nothing was written" in process.stderr.read()
    process.stderr.close()
    assert sqlite3.connect(folder / "slow.db").execute("select count(*) from ml_predictions").fetchone() == (0,)


def test_a_reader_that_leaves_is_no_error_of_ours(folder):
    for arguments in (["run", "config.yaml"], ["run", "config.yaml", "--json"], ["schema"]):
        shell = f"{shlex.join(command(*arguments))} | true; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (141, "")


def test_progress_is_for_terminals_alone(folder):
    def run(stderr: int) -> int:
        return subprocess.run(
            command("run", "config.yaml"), cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr
        ).returncode

    quiet = subprocess.run(command("run", "config.yaml"), cwd=folder, capture_output=True)
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    master, slave = pty.openpty()
    assert run(slave) == 0
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        shown += part
    os.close(master)
    assert b"reading" in shown


def test_a_secret_is_in_no_output_and_no_table(folder, monkeypatch):
    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    text = SMALL.replace("sqlite:///results.db", "postgresql://u:${CANARY}@127.0.0.1:1/d")
    (folder / "config.yaml").write_text(text)
    result = subprocess.run(command("-vv", "run", "config.yaml"), cwd=folder, capture_output=True, text=True)
    assert result.returncode == 6
    assert "s3cr3t" not in result.stdout + result.stderr
    for path in folder.rglob("*.parquet"):
        assert b"s3cr3t" not in path.read_bytes()


TALKATIVE = """
import logging, os
from typing import Literal
from pydantic import Field, SecretStr
from kronosfw.errors import ConfigError
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig

class Talkative(ForecasterConfig):
    "Tells everything."
    type: Literal["talkative"] = "talkative"
    token: SecretStr = Field(description="Secret.")

    max_context: None = Field(None, description="Any.")

    def build(self):
        return self

    def forecast(self, windows, levels):
        logging.getLogger("talkative").warning("token %s", self.token.get_secret_value())
        kind = ConfigError if os.environ.get("STRICT") else RuntimeError
        raise kind(f"refused: token {self.token.get_secret_value()}")

@hookimpl
def register_forecasters():
    return [Talkative]
"""


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_plugin_that_tells_a_secret_is_not_passed_on(folder, monkeypatch, debug):
    from .test_plugins import install, kronosfw

    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    monkeypatch.setenv("KRONOSFW_DEBUG", debug)
    install(folder, "kronosfw-talkative", TALKATIVE)
    member = "forecasters: [{type: talkative, token: '${CANARY}'}, "
    (folder / "config.yaml").write_text(SMALL.replace("forecasters: [", member))
    for arguments in (["-vv", "run", "config.yaml"], ["run", "config.yaml", "--json"]):
        result = kronosfw(folder, *arguments)
        assert result.returncode == 3, result.stderr
        assert "refused: token ***" in result.stdout
        assert "s3cr3t" not in result.stdout + result.stderr
    assert b"s3cr3t" not in (folder / "results.db").read_bytes()
    monkeypatch.setenv("STRICT", "1")
    result = kronosfw(folder, "run", "config.yaml", "--json")
    assert result.returncode == 2
    assert "refused: token ***" in result.stderr
    assert "s3cr3t" not in result.stdout + result.stderr

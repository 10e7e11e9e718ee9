"""Kronos, Chronos-2 and TimesFM in one run on real daily bars, the latter two with tiny random weights."""

from __future__ import annotations

import sqlite3
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from kronosfw.cli import call

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data"
SYMBOLS = "BTC", "SPY", "QQQ", "GLD", "DXY", "VIX"
MODELS = "kronos_event", "chronos2", "timesfm", "ensemble"
AS_OF = "2024-11-26T22:00Z"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real bars are not here (see CONTRIBUTING.md)"),
]


def module(path: str):
    """Return a module of a plugin's tests."""
    name = f"foundation_{Path(path).stem}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, ROOT / "plugins" / path)
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    module("chronos2/tests/tiny.py").make_tiny(folder / "chronos2")
    module("timesfm/tests/made.py").save30(folder / "timesfm")
    return folder


@pytest.fixture
def forecast(tmp_path, weights):
    """Return what runs the example, with these weights and bars, and returns the rows that are stored."""

    def run(name, bars, *, context=256):
        folder = tmp_path / name
        (folder / "bars").mkdir(parents=True)
        for symbol, frame in bars.items():
            frame.to_csv(folder / "bars" / f"{symbol}.csv", index=False)
        content = yaml.safe_load((ROOT / "examples" / "foundation_real.yaml").read_text())
        content["feed"] = {
            "type": "csv",
            "path": str(folder / "bars" / "*.csv"),
            "calendar": str(DATA.resolve() / "calendar" / "us_macro_schedule.csv"),
        }
        for symbol in set(bars) - set(SYMBOLS):
            content["universe"][symbol] = {"asset_class": "equity"}
        content |= {
            "context": context,
            "checks": {"nonfinite": "accept", "max_repaired": 1, "impossible": "accept"},
            "forecasters": [
                {"type": "kronos_event", "samples": 10, "context": 64},
                {"type": "chronos2", "model": str(weights / "chronos2")},
                {
                    "type": "timesfm",
                    "version": "3.0",
                    "accept_license": True,
                    "model": str(weights / "timesfm"),
                },
            ],
            "store": f"sqlite:///{folder}/results.db",
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(content))
        code = call(["run", str(folder / "config.yaml"), "--as-of", AS_OF])
        with sqlite3.connect(folder / "results.db") as database:
            rows = pd.read_sql("select * from ml_predictions order by symbol, model_name, step", database)
        database.close()
        return code, rows

    return run


@pytest.fixture
def bars():
    """Return the real bars, of which two symbols have a short history and one lacks some closes."""
    found = {symbol: pd.read_csv(DATA / "bars_1d" / f"{symbol}.csv") for symbol in SYMBOLS}
    for symbol, frame in found.items():
        date = frame.columns[0]
        found[symbol] = frame[(frame[date] >= "2022-01-01") & (frame[date] < "2025-01-01")].reset_index(drop=True)
    found["QQQ"] = found["QQQ"].tail(150)
    found["GLD"] = found["GLD"].tail(220)
    return found


def test_all_run_side_by_side(forecast, bars, capsys):
    code, rows = forecast("plain", bars)
    assert code == 0, capsys.readouterr().out
    assert rows.groupby(["model_name", "symbol"]).size().to_dict() == {
        (model, symbol): 5 for model in MODELS for symbol in SYMBOLS
    }
    assert np.isfinite(rows[["p10", "p50", "p90"]].to_numpy()).all()
    assert ((rows["p10"] <= rows["p50"]) & (rows["p50"] <= rows["p90"])).all()
    shown = capsys.readouterr().out
    assert "weights of chronos2: " in shown
    assert "weights of timesfm: " in shown


def test_a_poisoned_series_harms_nobody_else(forecast, bars, capsys):
    _, before = forecast("plain", bars)
    poison = bars["SPY"].copy()
    close = next(name for name in poison.columns if name.lower() == "close")
    poison.loc[poison.index[-200:-150], close] = np.nan
    poison.loc[poison.index[-120], close] = np.inf
    poison[close] *= 1e6
    code, after = forecast("poisoned", {**bars, "POISON": poison})
    assert code in (0, 3)
    rest = after[after["symbol"] != "POISON"].reset_index(drop=True)
    assert rest[["symbol", "model_name", "step"]].equals(before[["symbol", "model_name", "step"]])
    assert rest[["p10", "p50", "p90"]].to_numpy() == pytest.approx(
        before[["p10", "p50", "p90"]].to_numpy(), rel=1e-6
    )
    mine = after[(after["symbol"] == "POISON") & after["model_name"].isin(["chronos2", "timesfm"])]
    assert len(mine) == 10, "NaN and inf are no reason not to forecast"
    assert np.isfinite(mine[["p10", "p50", "p90"]].to_numpy()).all()


def test_one_that_cannot_be_had_does_not_stop_the_others(forecast, bars, weights, capsys):
    (weights / "chronos2" / "model.safetensors").rename(weights / "hidden")
    try:
        code, rows = forecast("lacking", bars)
    finally:
        (weights / "hidden").rename(weights / "chronos2" / "model.safetensors")
    assert code == 3
    assert set(rows["model_name"]) == set(MODELS) - {"chronos2"}
    assert "chronos2" in capsys.readouterr().out

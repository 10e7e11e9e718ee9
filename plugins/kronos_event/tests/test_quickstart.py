"""The quick start as a user runs it: random walk, kronos-nano and their ensemble, offline."""

from __future__ import annotations

import shutil
from pathlib import Path

import kronosfw_kronos_event
import pandas as pd
import pytest
from kronosfw_kronos_event.options import KronosEvent
from sqlalchemy import create_engine

from kronosfw.cli import call

NANO = Path(kronosfw_kronos_event.__file__).parent / "nano"
QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.yaml"
KEY = ["model_name", "symbol", "step"]


def predictions(folder: Path) -> pd.DataFrame:
    engine = create_engine(f"sqlite:///{folder / 'kronosfw.db'}")
    frame = pd.read_sql_table("ml_predictions", engine).sort_values(KEY, ignore_index=True)
    engine.dispose()
    return frame


def run(folder: Path, *options: str) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    config = shutil.copy(QUICKSTART, folder / "kronosfw.yaml")
    assert call(["run", str(config), *options]) == 0
    return predictions(folder)


def test_three_models_forecast_nine_markets(tmp_path, capsys):
    rows = run(tmp_path)
    shown = capsys.readouterr().out
    assert "9 of 9 symbols" in shown
    assert "weights of kronos_event: Apache-2.0, trained until 2022-06-30" in shown
    assert rows.groupby("model_name").size().to_dict() == dict.fromkeys(
        ["ensemble", "kronos_event", "random_walk"], 45
    )
    assert (rows.p10 < rows.p50).all()
    assert (rows.p50 < rows.p90).all()
    width = (rows.p90 - rows.p10).groupby([rows.symbol, rows.model_name]).mean().unstack()
    assert (width.kronos_event / width.random_walk).between(0.4, 2.5).all(), "both see the same volatility"


def test_the_same_run_gives_the_same_numbers_whatever_else_is_forecast(tmp_path):
    whole, few = run(tmp_path / "whole"), run(tmp_path / "few", "--symbols", "SPY,DXY")
    kept = whole[whole.symbol.isin(["SPY", "DXY"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(few[[*KEY, "p10", "p50", "p90"]], kept[[*KEY, "p10", "p50", "p90"]], rtol=1e-4)
    again = run(tmp_path / "whole")
    pd.testing.assert_frame_equal(again, whole)


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("kronos-nano", "Apache-2.0, trained until 2022-06-30"),
        ("NeoQuasar/Kronos-base", "MIT, trained until 2024-06-30"),
        ("somebody/else", "that of the model in the folder or on the hub, trained until undisclosed"),
    ],
)
def test_terms_are_those_of_the_weights_that_are_loaded(model, terms):
    assert KronosEvent(model=model).weights_used.terms == terms


def test_nano_is_small_and_says_what_it_is():
    weights = list(NANO.rglob("model.safetensors"))
    assert len(weights) == 2
    assert sum(path.stat().st_size for path in weights) <= 4_000_000
    assert KronosEvent().build().max_context == 96


def test_a_model_that_cannot_be_loaded_is_set_apart(tmp_path, capsys):
    text = QUICKSTART.read_text("utf-8").replace("{type: kronos_event}", "{type: kronos_event, model: ./nowhere}")
    (tmp_path / "kronosfw.yaml").write_text(text, "utf-8")
    assert call(["run", str(tmp_path / "kronosfw.yaml")]) == 3
    shown = capsys.readouterr().out
    assert f"there is no folder {tmp_path / 'nowhere'}" in " ".join(shown.split())
    assert "90 predictions of random_walk, ensemble in" in " ".join(shown.split())

"""Forecasters under fev: what it scores is what we forecast, and nothing of a target is seen before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronosfw import metrics
from kronosfw.builtin.forecasters import Bootstrap, Drift, Garch, Har, RandomWalk, SeasonalNaive
from kronosfw.errors import DataError
from kronosfw.interchange.fev import evaluate, predict

fev = pytest.importorskip("fev")

# fev has yet to follow pandas 3.
pytestmark = pytest.mark.filterwarnings("ignore:A future version of pandas will return a BaseOffset")

LEVELS = [0.05, 0.1, 0.9]
SHAPE = {"horizon": 4, "num_windows": 2, "quantile_levels": LEVELS, "seasonality": 7}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Keep what the data set library caches in the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(folder: Path, freq: str = "D", start: str = "2020-01-01", **columns: dict[str, np.ndarray]) -> str:
    """Write series of 120 values, by column and name, as a long table that fev reads, and return where."""
    stamps = pd.date_range(start, periods=120, freq=freq)
    names = list(next(iter(columns.values())))
    parts = [
        pd.DataFrame({"id": name, "timestamp": stamps} | {column: of[name] for column, of in columns.items()})
        for name in names
    ]
    folder.mkdir(exist_ok=True)
    pd.concat(parts).to_parquet(folder / "series.parquet")
    return str(folder / "series.parquet")


def walk(seed: int) -> np.ndarray:
    return 100 * np.exp(np.random.default_rng(seed).normal(0, 0.02, 120).cumsum())


def task(path: str, **changed):
    made = fev.Task(dataset_path=path, **SHAPE | changed)
    made.load_full_dataset(num_proc=1)
    return made


def median(predictions, window: int, series: int = 0, column: str = "target") -> list[float]:
    return predictions[window][column][series]["predictions"]


def test_fev_finds_the_losses_that_we_find(tmp_path):
    series = {"a": walk(1), "b": 7 * walk(2), "c": walk(3) / 50}
    subject = task(write(tmp_path, target=series), eval_metric="WQL", extra_metrics=["SQL", "MASE", "MQL"])
    summary = evaluate(subject, RandomWalk(name="walk"))
    assert summary["model_name"] == "walk"
    assert summary["num_forecasts"] == 6
    assert summary["inference_time_s"] > 0
    wanted = []
    for window, cutoff in enumerate(subject.cutoffs):
        found = predict(subject, RandomWalk())[window]["target"]
        y = np.array([values[cutoff:][:4] for values in series.values()])
        q = np.array([[each[str(level)] for level in LEVELS] for each in found]).transpose(0, 2, 1)
        middle = np.array([each["predictions"] for each in found])
        loss = metrics.crps_quantiles(y, q, LEVELS)
        scale = np.array([np.abs(values[7:cutoff] - values[: cutoff - 7]).mean() for values in series.values()])
        wanted.append(
            {
                "WQL": loss.sum() / np.abs(y).sum(),
                "SQL": (loss / scale[:, None]).mean(),
                "MASE": (np.abs(y - middle) / scale[:, None]).mean(),
                "MQL": loss.mean(),
            }
        )
    for name in wanted[0]:
        assert summary[name] == pytest.approx(np.mean([each[name] for each in wanted]), rel=1e-12)
    assert summary["test_error"] == summary["WQL"]


@pytest.mark.parametrize(
    "forecaster", [Bootstrap(), Drift(), Garch(), Har(), SeasonalNaive(), RandomWalk()], ids=lambda f: f.type
)
def test_nothing_after_the_cutoff_moves_a_forecast(tmp_path, forecaster):
    values = walk(4)
    changed = np.where(np.arange(120) < 112, values, values[::-1] * 3)
    one = predict(task(write(tmp_path, target={"a": values})), forecaster)
    other = predict(task(write(tmp_path / "changed", target={"a": changed})), forecaster)
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_series_alone_is_forecast_as_among_others(tmp_path):
    among = predict(task(write(tmp_path, target={"a": walk(1), "b": walk(2), "c": walk(3)})), Bootstrap(), batch=2)
    alone = predict(task(write(tmp_path / "alone", target={"b": walk(2)})), Bootstrap())
    assert [window["target"][1] for window in among] == [window["target"][0] for window in alone]
    assert predict(task(write(tmp_path / "alone", target={"b": walk(2)})), Bootstrap(), seed=1) != alone


def test_context_is_as_long_as_task_and_options_allow(tmp_path):
    values = walk(5)
    path = write(tmp_path, target={"a": values})
    for found in (
        predict(task(path), Drift(context=10)),
        predict(task(path, max_context_length=10), Drift()),
    ):
        slope = np.log(values[111] / values[102]) / 9
        assert median(found, 0) == pytest.approx(values[111] * np.exp(slope * np.arange(1, 5)))


def test_missing_values_are_left_out_and_forecast_over(tmp_path):
    values = walk(6)
    values[[50, 110, 111]] = np.nan
    subject = task(write(tmp_path, target={"a": values}), num_windows=1, initial_cutoff=112)
    (found,) = predict(subject, RandomWalk(window=20))
    returns = np.diff(np.log(values[89:110]))
    steps = np.sqrt(np.mean(returns**2) * np.arange(3, 7))
    assert found["target"][0]["predictions"] == pytest.approx([values[109]] * 4)
    assert found["target"][0]["0.9"] == pytest.approx(values[109] * np.exp(1.2815515655446004 * steps))


def test_several_targets_are_forecast_one_by_one(tmp_path):
    path = write(tmp_path, target={"a": walk(7), "b": walk(8)}, other={"a": walk(9), "b": walk(10)})
    found = predict(task(path, target=["target", "other"]), RandomWalk())
    assert median(found, 0, 1, "other") == pytest.approx([walk(10)[111]] * 4)
    assert median(found, 1, 0) == pytest.approx([walk(7)[115]] * 4)
    assert evaluate(task(path, target=["target", "other"]), RandomWalk())["num_forecasts"] == 8


@pytest.mark.parametrize("freq", ["5min", "h", "B", "W-FRI", "MS", "QE"])
def test_regular_stamps_of_any_length(tmp_path, freq):
    values = walk(11)
    path = write(tmp_path, freq, "1990-01-31", target={"a": values})
    assert median(predict(task(path), RandomWalk()), 1) == pytest.approx([values[115]] * 4)


def test_what_cannot_be_forecast_is_said(tmp_path):
    path = write(tmp_path, target={"a": walk(1), "b": walk(2) - 200})
    with pytest.raises(
        DataError, match=r"random_walk cannot forecast 1 of 2 series.*first is b: the close of .* not a"
    ):
        predict(task(path), RandomWalk())
    path = write(tmp_path, target={"a": np.where(np.arange(120) < 116, np.nan, 1.0)})
    with pytest.raises(DataError, match="a has no value before 2020-04-22"):
        predict(task(path), RandomWalk())
    path = write(tmp_path, "7min", target={"a": walk(1)})
    with pytest.raises(DataError, match="a value every 7 minutes has no bars that divide a day"):
        predict(task(path), RandomWalk())

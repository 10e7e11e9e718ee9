"""Predictions as tables of other tools: nothing is lost on the way, and the tools understand them."""

from __future__ import annotations

import doctest
import io
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import coverage, mae, mase, mqloss, quantile_loss

from kronosfw import metrics
from kronosfw.cli import call
from kronosfw.interchange.tables import (
    from_autogluon,
    from_nixtla,
    quantile_frame,
    to_autogluon,
    to_nixtla,
    unpaired,
    write_table,
)
from kronosfw.store import Store

from .rows import AS_OF, DAY, evaluation, prediction, run_row, seen
from .test_cli import SMALL, write_bars

# pandas 3.1 reads every digit without being asked to.
pytestmark = pytest.mark.filterwarnings("ignore:The 'float_precision' argument is deprecated")

LEVELS = [0.01, 0.025, 0.1, 0.25, 0.3333, 0.5, 0.6667, 0.75, 0.9, 0.975, 0.99]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda name: not name.lstrip().startswith(("=", "+", "-", "@"))
)
TAKEN = {"unique_id", "ds", "cutoff", "y"}
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))


@st.composite
def quantile_frames(draw: st.DrawFn, levels: list[float]) -> pd.DataFrame:
    """Draw a frame in which every model has the levels, but not every target; with actuals or without."""
    symbols = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    models = draw(st.lists(TEXT.filter(lambda name: name not in TAKEN), min_size=1, max_size=3, unique=True))
    cutoffs = draw(st.lists(MOMENTS, min_size=1, max_size=2, unique=True))
    times = draw(st.lists(MOMENTS, min_size=1, max_size=3, unique=True))
    rows = [
        (symbol, cutoff, time, model, level, draw(FLOATS))
        for model in models
        for symbol in symbols
        for cutoff in cutoffs
        for time in times
        if (symbol, cutoff, time) == (symbols[0], cutoffs[0], times[0]) or draw(st.booleans())
        for level in levels
    ]
    frame = pd.DataFrame(rows, columns=["symbol", "cutoff", "time", "model", "level", "value"])
    if draw(st.booleans()):
        came = {key: draw(FLOATS | st.just(np.nan)) for key in frame.groupby(["symbol", "cutoff", "time"]).groups}
        frame["actual"] = [came[key] for key in zip(frame["symbol"], frame["cutoff"], frame["time"], strict=True)]
    moments = {name: frame[name].astype("datetime64[us]") for name in ("cutoff", "time")}
    return frame.assign(**moments).sort_values(["symbol", "cutoff", "time", "model", "level"], ignore_index=True)


def through_a_file(table: pd.DataFrame, suffix: str) -> pd.DataFrame:
    file = io.BytesIO()
    write_table(table, suffix, file)
    file.seek(0)
    if suffix == ".parquet":
        return pd.read_parquet(file)
    texts = {name: str for name in ("unique_id", "item_id", "model") if name in table}
    times = [name for name in ("ds", "timestamp", "cutoff") if name in table]
    return pd.read_csv(
        file, float_precision="round_trip", dtype=texts, parse_dates=times, keep_default_na=False, na_values=[""]
    )


@settings(max_examples=30)
@given(quantile_frames(LEVELS))
def test_nixtla_and_back(frame):
    assert_frame_equal(from_nixtla(to_nixtla(frame)), frame)


@settings(max_examples=30)
@given(quantile_frames(LEVELS[1:]), st.randoms(use_true_random=False))
def test_autogluon_and_back_from_any_order(frame, random):
    order = random.sample(range(len(frame)), len(frame))
    table = to_autogluon(frame.iloc[order])
    back = from_autogluon(table, model=frame["model"][0], cutoff=frame["cutoff"][0])
    assert_frame_equal(back, frame)
    assert_frame_equal(table, to_autogluon(frame))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@settings(max_examples=30)
@given(frame=quantile_frames([0.1, 0.5, 0.9]))
def test_a_file_keeps_every_digit(suffix, frame):
    for table in (to_nixtla(frame), to_autogluon(frame)):
        read = through_a_file(table, suffix)
        times = {n: table[n].astype("datetime64[us]") for n in ("ds", "timestamp", "cutoff") if n in table}
        read = read.astype(dict.fromkeys(times, "datetime64[us]"))
        assert_frame_equal(read, table.assign(**times), check_dtype=False, check_exact=True)


def frame_of(*levels: float, model: str = "m") -> pd.DataFrame:
    rows = [("A", "2024-01-01", "2024-01-02", model, level, level) for level in levels]
    frame = pd.DataFrame(rows, columns=["symbol", "cutoff", "time", "model", "level", "value"])
    return frame.astype(dict.fromkeys(("cutoff", "time"), "datetime64[us]"))


def test_columns_have_the_names_of_the_field():
    table = to_nixtla(frame_of(0.05, 0.1, 0.25, 0.5, 0.9, 0.95))
    names = ["unique_id", "ds", "cutoff", "m-lo-90", "m-lo-80", "m", "m-hi-80", "m-hi-90"]
    assert sorted(table.columns) == sorted(names)
    assert table[names[3:]].iloc[0].tolist() == [0.05, 0.1, 0.5, 0.9, 0.95]
    assert unpaired(frame_of(0.05, 0.1, 0.25, 0.5, 0.9, 0.95)) == [0.25]
    assert "m-lo-95" in to_nixtla(frame_of(0.025, 0.5, 0.975))
    assert "m-hi-99.9" in to_nixtla(frame_of(0.0005, 0.5, 0.9995))
    assert list(to_autogluon(frame_of(0.1, 0.5, 0.9))) == ["item_id", "timestamp", "0.1", "0.5", "0.9"]


def test_what_other_tools_add_is_understood():
    table = to_nixtla(frame_of(0.1, 0.5, 0.9)).drop(columns="cutoff").rename(columns={"m-lo-80": "m-lo-80.0"})
    assert_frame_equal(from_nixtla(table, cutoff="2024-01-01"), frame_of(0.1, 0.5, 0.9))
    table = to_autogluon(frame_of(0.1, 0.5, 0.9)).assign(mean=7.0)
    assert_frame_equal(from_autogluon(table, model="m", cutoff="2024-01-01"), frame_of(0.1, 0.5, 0.9))


@pytest.mark.parametrize("model", [*sorted(TAKEN), "m-lo-80", "m-hi-5-day"])
def test_a_name_that_would_be_read_as_something_else_is_refused(model):
    with pytest.raises(ValueError, match=f"cannot hold a model called '{model}'"):
        to_nixtla(frame_of(0.5, model=model))


def test_what_cannot_be_a_table_is_refused():
    with pytest.raises(ValueError, match="m has no median"):
        to_nixtla(frame_of(0.1, 0.9))
    with pytest.raises(ValueError, match="duplicate"):
        to_nixtla(frame_of(0.5, 0.5))
    with pytest.raises(ValueError, match="no column 'model': give `model`"):
        from_autogluon(to_autogluon(frame_of(0.5)))
    with pytest.raises(ValueError, match="no column 'cutoff': give `cutoff`"):
        from_nixtla(to_nixtla(frame_of(0.5)).drop(columns="cutoff"))


def panel() -> pd.DataFrame:
    """Two symbols, two cutoffs, three steps, two models, with what came."""
    rng = np.random.default_rng(3)
    rows, came = [], {}
    for symbol in ("A", "B"):
        for day in (0, 7):
            for step in (1, 2, 3):
                for model in ("naive", "wide-one"):
                    start = AS_OF + day * DAY
                    low, middle, high = sorted(rng.normal(100, 5, 3).tolist())
                    row = prediction(
                        step,
                        symbol=symbol,
                        as_of=start,
                        target_time=start + (step - 1) * DAY,
                        session=(start + (step - 1) * DAY).date(),
                        model_name=model,
                        p10=low,
                        p50=middle,
                        p90=high,
                        quantiles=None,
                    )
                    rows.append(row)
                    key = tuple(
                        row[n] for n in ("symbol", "timeframe", "as_of", "model_name", "model_version", "step")
                    )
                    came[key] = 100.0 + step + day + ord(symbol)
    return quantile_frame(rows, came)


def test_utilsforecast_finds_the_loss_that_we_find():
    frame = panel()
    table = to_nixtla(frame)
    models = ["naive", "wide-one"]
    told = evaluate(table, metrics=[mqloss, coverage, mae], level=[80]).groupby("metric").mean(numeric_only=True)
    for model in models:
        mine = frame[frame["model"] == model].pivot(index=["symbol", "cutoff", "time"], columns="level")
        q, y = mine["value"].to_numpy(), mine["actual"][0.5].to_numpy()
        ours = metrics.pinball(y, q, [0.1, 0.5, 0.9])
        columns = {0.1: f"{model}-lo-80", 0.5: model, 0.9: f"{model}-hi-80"}
        for i, (level, column) in enumerate(columns.items()):
            theirs = quantile_loss(table, {model: column}, q=level)[model].mean()
            assert theirs == pytest.approx(ours[:, i].mean(), rel=1e-12)
        # Theirs is over the ends of the interval alone: the median is the point forecast.
        assert told.loc["mqloss", model] == pytest.approx(ours[:, [0, 2]].mean(), rel=1e-12)
        assert told.loc["coverage_level80", model] == metrics.covered(y, q[:, 0], q[:, 2]).mean()


def test_the_history_of_other_tools_ends_before_the_first_target():
    """A bar of 1 March counts as known at midnight of 1 March by its date; it is a target, not history."""
    table = to_nixtla(panel())
    assert (table["cutoff"] < table.groupby(["unique_id", "cutoff"])["ds"].transform("min")).all()
    days = pd.date_range("2024-01-01", "2024-03-20")
    walk = np.random.default_rng(1).normal(size=len(days)).cumsum()
    history = pd.concat([pd.DataFrame({"unique_id": s, "ds": days, "y": walk}) for s in ("A", "B")])
    scored = evaluate(table, metrics=[partial(mase, seasonality=1)], train_df=history)
    first = scored[scored["cutoff"] < "2024-03-02"].iloc[0]
    mine = table[(table["unique_id"] == first["unique_id"]) & (table["cutoff"] == first["cutoff"])]
    scale = np.abs(np.diff(walk[days < "2024-03-01"])).mean()
    assert first["naive"] == pytest.approx((mine["y"] - mine["naive"]).abs().mean() / scale, rel=1e-12)


def test_daily_bars_have_dates_and_shorter_ones_their_open():
    daily = prediction(
        as_of=datetime(2024, 3, 1, 21, tzinfo=UTC),
        target_time=datetime(2024, 3, 4, 14, 30, tzinfo=UTC),
        session=date(2024, 3, 4),
    )
    hourly = prediction(timeframe="1h", as_of=AS_OF, target_time=AS_OF, session=date(2024, 2, 29))
    (day,) = quantile_frame([daily])["time"].unique()
    frame = quantile_frame([hourly])
    assert day == np.datetime64("2024-03-04T00:00")
    assert (quantile_frame([daily])["cutoff"] == np.datetime64("2024-03-01T21:00")).all()
    assert (frame["time"] == np.datetime64("2024-03-01T00:00")).all()
    assert (frame["cutoff"] == np.datetime64("2024-02-29T23:59:59.999999")).all()
    assert frame["level"].tolist() == [0.1, 0.25, 0.5, 0.9], "of the close alone"
    assert frame["value"].tolist() == [90 + 1 / 3, 95.1, 100 + 1 / 3, 110 + 1 / 3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two runs as a user has them, the first one scored."""
    (tmp_path / "bars").mkdir()
    for symbol in ("AAA", "BBB", "CCC"):
        write_bars(tmp_path / "bars" / f"{symbol}.csv", symbol)
    (tmp_path / "config.yaml").write_text(SMALL + "quantiles: [0.05, 0.1, 0.5, 0.9]\n")
    monkeypatch.chdir(tmp_path)
    assert call(["run", "config.yaml", "--as-of", "2023-04-02"]) == 0
    assert call(["score", "config.yaml"]) == 0
    assert call(["run", "config.yaml", "--as-of", "2023-04-03"]) == 0
    return tmp_path


def export(*arguments: str, form: str = "nixtla", out: str = "out.parquet", code: int = 0) -> pd.DataFrame:
    assert call(["export", "config.yaml", "--format", form, "--out", out, *arguments]) == code
    return pd.read_parquet(out) if out.endswith(".parquet") and not code else pd.DataFrame()


def test_the_latest_forecasts_unless_told_otherwise(folder, capsys):
    capsys.readouterr()
    latest = export()
    shown = capsys.readouterr()
    assert len(latest) == 9
    assert latest["ds"].min() == np.datetime64("2023-04-03")
    models = {"random_walk", "drift", "ensemble"}
    assert set(latest) == {"unique_id", "ds", "cutoff"} | {
        m + end for m in models for end in ("", "-lo-80", "-hi-80")
    }
    assert "9 rows in out.parquet: drift, ensemble, random_walk, as of 2023-04-03 00:00 UTC" in shown.out
    assert shown.err == "left out, for want of the level on the other side of the median: 0.05\n"
    assert export("--as-of", "2023-04-02T23:00")["ds"].min() == np.datetime64("2023-04-02")
    assert_frame_equal(export("--as-of", "now"), latest)
    with Store("sqlite:///results.db") as store:
        store.record(run_row(), [prediction(symbol="BTC", as_of=datetime(2023, 4, 3, tzinfo=UTC))])
    assert_frame_equal(export("--as-of", "latest"), latest)  # BTC is of another configuration


def test_the_table_holds_what_the_store_does(folder, capsys):
    table = export("--as-of", "2023-04-02", "--model", "drift", "--actuals", form="autogluon")
    assert list(table) == ["item_id", "timestamp", "target", "0.05", "0.1", "0.5", "0.9"]
    with Store("sqlite:///results.db") as store:
        wanted = store.predictions(model_name="drift", as_of=datetime(2023, 4, 2, tzinfo=UTC))
        came = {(row["symbol"], row["step"]): row["realised"] for row in store.evaluations(model_name="drift")}
    for row, told in zip(wanted, table.itertuples(index=False, name=None), strict=True):
        assert told[0] == row["symbol"]
        assert told[1].date() == row["session"]
        assert told[2] == came[row["symbol"], row["step"]]
        assert told[3:] == (row["quantiles"]["close"]["0.05"], row["p10"], row["p50"], row["p90"])
    capsys.readouterr()
    assert export("--actuals")["y"].isna().all()
    assert "no price yet" in capsys.readouterr().err


def test_csv_and_parquet_hold_the_same(folder):
    table = export("--as-of", "2023-04-02", "--actuals")
    export("--as-of", "2023-04-02", "--actuals", out="out.CSV")
    read = pd.read_csv("out.CSV", float_precision="round_trip", parse_dates=["ds", "cutoff"])
    assert_frame_equal(read, table, check_dtype=False, check_exact=True)
    assert sorted(path.name for path in folder.iterdir() if "out" in path.name) == ["out.CSV", "out.parquet"]


def test_a_backtest_by_its_id_and_never_as_live(folder):
    live = export()
    run = "c0ffee0123456789"
    days = [datetime(2023, 4, 3, tzinfo=UTC) + timedelta(days=n) for n in range(2)]
    rows = [
        prediction(symbol="AAA", as_of=day, target_time=day, session=day.date(), model_version=f"1~{run[:8]}")
        for day in days
    ]
    manifest = {"cutoff": "2023-04-04T00:00:00.000000Z", "backtest": {"start": "2023-04-03"}}
    with Store("sqlite:///results.db") as store:
        store.record(run_row(id=run, manifest=manifest), rows)
        score = evaluation(symbol="AAA", as_of=days[0], model_version=f"1~{run[:8]}", realised=4.5)
        store.evaluate(seen(store, score))
    assert_frame_equal(export(), live)
    table = export("--run", run, "--actuals", form="autogluon")
    assert_frame_equal(export("--run", run[:8], "--actuals", form="autogluon"), table)
    assert list(table) == ["item_id", "timestamp", "cutoff", "target", "0.1", "0.25", "0.5", "0.9"]
    assert table["timestamp"].tolist() == [pd.Timestamp(day.replace(tzinfo=None)) for day in days]
    assert table["target"].fillna(-1).tolist() == [4.5, -1]


def test_of_two_versions_the_one_written_last(folder):
    text = Path("config.yaml").read_text().replace("{type: random_walk}", "{type: random_walk, window: 40}")
    before = export("--model", "random_walk")
    Path("config.yaml").write_text(text)
    assert call(["run", "config.yaml", "--as-of", "2023-04-03"]) == 0
    after = export("--model", "random_walk")
    assert len(after) == 9
    assert (after["random_walk-hi-80"] != before["random_walk-hi-80"]).all()


def test_several_models_stand_below_each_other(folder):
    table = export("--model", "drift, ensemble", form="autogluon")
    assert list(table)[:3] == ["item_id", "timestamp", "model"]
    assert len(table) == 18
    assert set(table["model"]) == {"drift", "ensemble"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "out.xlsx"], "--out out.xlsx: expected a name that ends in .csv or .parquet"),
        (["--out", "none/out.csv"], "none/out.csv: cannot be written: No such file or directory"),
        (
            ["--out", "out.csv", "--model", "drif"],
            "a model 'drif'; did you mean 'drift'?; there are drift, ensemble",
        ),
        (["--out", "out.csv", "--run", "x"], "the store has no run 'x'"),
        (["--out", "out.csv", "--run", ""], "'' is the beginning of several runs: "),
        (["--out", "out.csv", "--run", "empty"], "no prediction is of run empty: what it found was there already"),
        (["--out", "out.csv", "--run", "x", "--as-of", "now"], "give --as-of or --run, not both"),
        (["--out", "out.csv", "--as-of", "2020-01-01"], "no predictions of 1d bars as of 2020-01-01 00:00 UTC or"),
        (
            ["--out", "out.csv", "--store", "sqlite:///new.db"],
            "no predictions of 1d bars; `kronosfw run` makes them",
        ),
    ],
)
def test_a_mistake_ends_with_one_message(folder, capsys, arguments, message):
    with Store("sqlite:///results.db") as store:
        store.record(run_row(id="empty"), [])
    capsys.readouterr()
    assert call(["export", "config.yaml", "--format", "nixtla", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not list(folder.glob("out*"))


def test_the_documentation_shows_what_happens(folder):
    export("--as-of", "2023-04-02", "--actuals", out="forecasts.parquet")
    page = Path(__file__).parents[1] / "docs" / "interchange.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0

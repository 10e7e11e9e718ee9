"""Scoreboards against figures made by hand, and what they must not depend on."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import astuple, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import norm

from kronosfw import metrics
from kronosfw.errors import ConfigError, DataError
from kronosfw.inference import diebold_mariano
from kronosfw.report_scoreboard import print_scoreboard, scoreboard_as_json
from kronosfw.scoreboard import COST, Estimate, Scoreboard, enough, scoreboard

pytest.importorskip("arch", reason="the extra `guard` is not installed")

ENVELOPE = (0.1, 0.5, 0.9)
BOUNDS = (1, 5)
CLASSES = ("crypto", "equity")


def predictions(widths, *, days=40, symbols=3, steps=2, seed=0, others=(), drift=0.1):
    """Return scored predictions of models that see the volatility so many times as large as it is.

    Symbols share half of their moves; the medians are noise; every seventh bar has an event.
    """
    rng = np.random.default_rng(seed)
    volatility = 0.01 * np.arange(1, symbols + 1)
    market = rng.normal(size=(days + steps, 1))
    moves = (market + rng.normal(size=(days + steps, symbols))) / math.sqrt(2) * volatility
    price = 100 * np.exp(moves.cumsum(axis=0))
    shape = np.meshgrid(np.arange(days), np.arange(symbols), np.arange(1, steps + 1), indexing="ij")
    day, symbol, step = (axis.ravel() for axis in shape)
    start = pd.Timestamp("2024-01-01", tz="UTC")
    last = price[day, symbol]
    common = pd.DataFrame(
        {
            "symbol": [f"S{s}" for s in symbol],
            "timeframe": "1d",
            "as_of": start + pd.to_timedelta(day, unit="D"),
            "step": step,
            "asset_class": [CLASSES[s % 2] for s in symbol],
            "last_close": last,
            "created_at": start,
            "model_version": "1",
            "realised": price[day + step, symbol],
            "realised_at": start + pd.to_timedelta(day + step, unit="D"),
            "event_active": pd.array((day + step) % 7 == 0, dtype="boolean"),
        }
    )
    frames = []
    for model, width in widths.items():
        spread = width * volatility[symbol] * np.sqrt(step)
        center = drift * spread * rng.normal(size=len(day))
        own = {f"p{100 * q:.0f}": last * np.exp(center + spread * norm.ppf(q)) for q in ENVELOPE}
        told = [
            {"close": {repr(q): lc * math.exp(c + s * norm.ppf(q)) for q in others}}
            for lc, c, s in zip(last, center, spread, strict=True)
        ]
        frames.append(common.assign(model_name=model, quantiles=told if others else None, **own))
    return pd.concat(frames, ignore_index=True)


MODELS = {"good": 1.0, "narrow": 0.5, "wide": 3.0}


@pytest.fixture(scope="module")
def frame():
    return predictions(MODELS)


@pytest.fixture(scope="module")
def board(frame):
    return scoreboard(frame, ENVELOPE, BOUNDS, resamples=300)


def line(board, model, by="all", group="all"):
    return next(found for found in board.lines if (found.model, found.by, found.group) == (model, by, group))


def scaled_losses(frame):
    """Return the scaled loss of each row, by definition."""
    came = np.log(frame["realised"] / frame["last_close"])
    q = np.log(frame[["p10", "p50", "p90"]].to_numpy() / frame[["last_close"]].to_numpy())
    scale = came.abs().groupby([frame["symbol"], frame["step"]]).transform("mean")
    return 2 * metrics.pinball(came, q, ENVELOPE).mean(axis=-1) / scale


def test_loss_is_that_of_its_definition(frame, board):
    own = frame.assign(loss=scaled_losses(frame))
    for model in MODELS:
        rows = own[own["model_name"] == model]
        by_step = rows.groupby(["symbol", "step"])["loss"].mean()
        assert line(board, model).loss.value == pytest.approx(by_step.mean())
        crypto = by_step[["S0", "S2"]].mean()
        assert line(board, model, "asset_class", "crypto").loss.value == pytest.approx(crypto)
        assert line(board, model, "symbol", "S1").loss.value == pytest.approx(by_step["S1"].mean())
        assert line(board, model, "bucket", "2-5").loss.value == pytest.approx(by_step[:, 2].mean())
    difference = line(board, "wide").difference.value
    assert difference == pytest.approx(line(board, "wide").loss.value - line(board, "good").loss.value)


def test_a_model_that_seldom_forecast_is_not_compared():
    frame = pd.DataFrame({"model_name": ["a"] * 10 + ["b"] * 5 + ["c"] * 4})
    assert enough(frame, ["c", "b", "a", "d"]) == (["b", "a"], ["c", "d"])


def test_lines_are_in_order_and_count_what_they_are_of(frame, board):
    groups = list(dict.fromkeys((found.by, found.group) for found in board.lines))
    assert groups == [
        ("all", "all"),
        ("asset_class", "crypto"),
        ("asset_class", "equity"),
        ("bucket", "1"),
        ("bucket", "2-5"),
        ("event", "event"),
        ("event", "no event"),
        ("symbol", "S0"),
        ("symbol", "S1"),
        ("symbol", "S2"),
        *(
            ("cell", f"{asset_class} {bucket} {event}")
            for asset_class in ("crypto", "equity")
            for bucket in ("1", "2-5")
            for event in ("event", "no event")
        ),
    ]
    cells = [found.rows for found in board.lines if found.by == "cell" and found.model == "good"]
    assert sum(cells) == sum(found.rows for found in board.lines if found.by == "event" and found.model == "good")
    assert [found.model for found in board.lines[:3]] == ["good", "narrow", "wide"]
    assert board.reference == "good"
    assert board.left_out == 0
    one = frame[frame["model_name"] == "good"]
    event = line(board, "good", "event", "event")
    assert event.rows == one["event_active"].sum()
    assert event.days == one[one["event_active"]]["as_of"].nunique()
    assert event.rows + line(board, "good", "event", "no event").rows == line(board, "good").rows == 240
    assert line(board, "good").days == 40


def test_what_is_better_is_told_from_what_is_worse(board):
    good, narrow, wide = (line(board, model) for model in MODELS)
    assert good.loss.low < good.loss.value < good.loss.high
    assert (good.difference, good.p_value) == (None, None)
    for worse in (narrow, wide):
        assert 0 < worse.difference.low < worse.difference.value < worse.difference.high
        assert worse.p_value < 0.05
    assert [found.in_set for found in (good, narrow, wide)] == [True, False, False]
    assert good.coverage.low < 0.8 < good.coverage.high
    assert narrow.coverage.high < 0.8 < wide.coverage.low
    assert narrow.width < good.width < wide.width
    made = [found.in_set is not None for found in board.lines]
    assert made == [found.by in ("all", "asset_class") for found in board.lines]


def test_shares_and_errors_are_those_of_their_definitions(frame, board):
    rows = frame[frame["model_name"] == "narrow"]
    found = line(board, "narrow")
    inside = metrics.covered(rows["realised"], rows["p10"], rows["p90"])
    assert found.coverage.value == pytest.approx(inside.mean())
    assert found.width == pytest.approx(((rows["p90"] - rows["p10"]) / rows["last_close"]).mean())
    hits = metrics.direction_rate(rows["realised"], rows["p50"], rows["last_close"])
    assert found.direction.value == pytest.approx(hits)
    came, called = (np.log(rows[name] / rows["last_close"]) for name in ("realised", "p50"))
    means = pd.DataFrame({"error": (came - called).abs(), "still": came.abs()})
    by_step = means.groupby([rows["symbol"], rows["step"]]).mean()
    assert found.error == pytest.approx((by_step["error"] / by_step["still"]).mean())
    assert board.curves["narrow"] == tuple(
        (level, pytest.approx((rows["realised"] <= rows[name]).mean()))
        for level, name in zip(ENVELOPE, ("p10", "p50", "p90"), strict=True)
    )


def test_sharpe_is_that_of_the_strategy_on_days(frame, board):
    rows = frame[(frame["model_name"] == "wide") & (frame["step"] == 1)].sort_values(["symbol", "as_of"])
    earned = metrics.strategy_returns(
        rows["p50"] - rows["last_close"],
        rows["realised"] / rows["last_close"] - 1,
        COST,
        ~rows["symbol"].duplicated(),
    )
    daily = pd.Series(earned, rows["as_of"]).groupby(level=0).mean().to_numpy()
    expected = math.sqrt(365.25) * daily.mean() / daily.std()
    assert line(board, "wide").sharpe.value == pytest.approx(expected)
    assert line(board, "wide", "bucket", "1").sharpe.value == pytest.approx(expected)
    assert line(board, "wide", "bucket", "2-5").sharpe is None, "the strategy knows one step alone"


def test_a_year_has_as_many_days_as_there_are_forecasts(frame):
    """Forecasts on each fifth day earn on a fifth of the days."""
    rare = frame[(frame["as_of"] - frame["as_of"].min()).dt.days % 5 == 0]
    sharpe = line(scoreboard(rare, ENVELOPE, BOUNDS, resamples=200), "wide").sharpe.value
    daily = scoreboard(
        rare.assign(as_of=rare["as_of"].min() + (rare["as_of"] - rare["as_of"].min()) / 5),
        ENVELOPE,
        BOUNDS,
        resamples=200,
    )
    assert sharpe == pytest.approx(line(daily, "wide").sharpe.value / math.sqrt(5))


@pytest.mark.parametrize(("step", "bucket"), [(1, "1"), (2, "2-5")])
def test_p_value_is_that_of_the_daily_differences(frame, board, step, bucket):
    own = frame.assign(loss=scaled_losses(frame))
    losses = own[own["step"] == step].pivot_table(index="as_of", columns="model_name", values="loss")
    expected = diebold_mariano((losses["narrow"] - losses["good"]).to_numpy(), step)[1]
    assert line(board, "narrow", "bucket", bucket).p_value == pytest.approx(expected)
    assert expected > 1e-6


def test_a_model_that_calls_no_direction_takes_no_position(frame):
    calm = frame.assign(p50=frame["p50"].where(frame["model_name"] != "good", frame["last_close"]))
    found = line(scoreboard(calm, ENVELOPE, BOUNDS, resamples=200), "good")
    assert (found.direction, found.sharpe) == (None, None)
    assert found.error == pytest.approx(1)


def test_order_of_rows_and_days_of_writing_do_not_matter(frame, board):
    shuffled = frame.sample(frac=1, random_state=1)
    assert scoreboard(shuffled, ENVELOPE, BOUNDS, resamples=300) == board
    seeded = scoreboard(frame, ENVELOPE, BOUNDS, resamples=300, seed=1)
    assert line(seeded, "good").loss.value == line(board, "good").loss.value
    assert line(seeded, "good").loss != line(board, "good").loss


def test_of_several_versions_the_one_written_last_counts(frame, board):
    old = frame[frame["model_name"] == "good"].assign(model_version="2", p10=1.0)
    old["created_at"] -= timedelta(days=1)
    for twice in (pd.concat([frame, old]), pd.concat([old, frame])):
        assert scoreboard(twice, ENVELOPE, BOUNDS, resamples=300) == board


def test_what_only_some_models_made_is_left_out(frame):
    whole = frame.drop(frame.index[[0, 9, 249, 489, 250, 251]])
    broken = frame.copy()
    broken.loc[broken.index[0], "p10"] = np.nan
    broken.loc[broken.index[[9, 249, 489]], "last_close"] = 0.0
    broken.loc[broken.index[250], "last_close"] *= 1.01
    broken.loc[broken.index[251], "realised"] *= 1.01
    one, other = (scoreboard(rows, ENVELOPE, BOUNDS, resamples=200) for rows in (whole, broken))
    assert one.lines == other.lines
    assert (one.left_out, other.left_out) == (3, 4)
    assert line(one, "good").rows == 236
    alone = scoreboard(whole, ENVELOPE, BOUNDS, models=["wide"], resamples=200)
    assert alone.left_out == 0
    assert line(alone, "wide").in_set is None


def test_models_that_share_nothing_have_no_lines(frame):
    apart = frame[(frame["model_name"] == "good") == (frame["step"] == 1)]
    assert scoreboard(apart, ENVELOPE, BOUNDS) == Scoreboard("good", (), 240, {})


def test_models_and_reference_can_be_named(frame, board):
    named = scoreboard(frame, ENVELOPE, BOUNDS, models=["wide", "good"], reference="good", resamples=300)
    assert [found.model for found in named.lines[:2]] == ["wide", "good"]
    assert line(named, "wide").difference.value == pytest.approx(line(board, "wide").difference.value)
    with pytest.raises(
        ConfigError, match="no scored predictions of 'god', only of good, narrow, wide; did you mean"
    ):
        scoreboard(frame, ENVELOPE, BOUNDS, models=["god"])
    with pytest.raises(ConfigError, match="the reference 'wide' is not among the models compared: good, narrow"):
        scoreboard(frame, ENVELOPE, BOUNDS, models=["good", "narrow"], reference="wide")
    with pytest.raises(DataError, match="no scored predictions to compare"):
        scoreboard(frame.iloc[:0], ENVELOPE, BOUNDS)


def test_every_symbol_counts_the_same(frame):
    """A symbol that lacks most of its days weighs as much as the others."""
    few = frame[(frame["symbol"] != "S0") | (frame["as_of"] < frame["as_of"].min() + timedelta(days=8))]
    found = scoreboard(few, ENVELOPE, BOUNDS, resamples=200)
    symbols = [line(found, "wide", "symbol", f"S{i}") for i in range(3)]
    assert line(found, "wide").loss.value == pytest.approx(np.mean([s.loss.value for s in symbols]))
    assert line(found, "wide").coverage.value == pytest.approx(np.mean([s.coverage.value for s in symbols]))
    assert [s.rows for s in symbols] == [16, 80, 80]


def test_bars_of_which_no_event_is_known_are_in_neither_group(frame):
    unknown = frame.assign(event_active=frame["event_active"].mask(frame["symbol"] == "S0"))
    found = scoreboard(unknown, ENVELOPE, BOUNDS, resamples=200)
    assert line(found, "good", "event", "event").rows + line(found, "good", "event", "no event").rows == 160
    unknown["event_active"] = pd.array([None] * len(frame), dtype="boolean")
    assert "event" not in {found.by for found in scoreboard(unknown, ENVELOPE, BOUNDS, resamples=200).lines}


def test_further_levels_are_read_and_scored():
    levels = (0.05, *ENVELOPE, 0.95)
    frame = predictions({"a": 1.0, "b": 2.0}, others=(0.05, 0.95))
    found = scoreboard(frame, levels, BOUNDS, resamples=200)
    assert [level for level, _ in found.curves["a"]] == list(levels)
    rows = frame[frame["model_name"] == "a"]
    low = np.array([cell["close"]["0.05"] for cell in rows["quantiles"]])
    assert found.curves["a"][0][1] == pytest.approx((rows["realised"] <= low).mean())
    assert line(found, "a").loss.value < line(scoreboard(frame, ENVELOPE, BOUNDS, resamples=200), "a").loss.value
    lacking = frame.copy()
    lacking.at[0, "quantiles"] = {"close": {"0.05": 1.0}}
    lacking.at[1, "quantiles"] = None
    assert scoreboard(lacking, levels, BOUNDS, resamples=200).left_out == 2


def test_crossed_quantiles_are_counted(frame):
    crossed = frame.copy()
    crossed.loc[crossed.index[:2], "p50"] = 1e4
    found = scoreboard(crossed, ENVELOPE, BOUNDS, resamples=200)
    assert (line(found, "good").crossings, line(found, "wide").crossings) == (2, 0)


def test_prices_that_are_not_positive_are_measured_in_simple_returns(frame):
    near = frame.copy()
    swaps = near["symbol"] == "S1"
    for name in ("last_close", "realised", "p10", "p50", "p90"):
        near.loc[swaps, name] -= 100.0
    found = scoreboard(near[near["last_close"].abs() > 0.05], ENVELOPE, BOUNDS, resamples=200)
    assert all(math.isfinite(figure) for each in found.lines for figure in astuple(each.loss))
    assert line(found, "good", "symbol", "S2").loss.value > 0


def test_a_market_that_stands_still_and_a_single_day_have_scores(frame):
    still = frame.assign(realised=frame["last_close"])
    found = line(scoreboard(still, ENVELOPE, BOUNDS, resamples=200), "good")
    assert math.isnan(found.error)
    assert found.direction is None
    day = scoreboard(frame[frame["as_of"] == frame["as_of"].min()], ENVELOPE, BOUNDS, resamples=200)
    one = line(day, "wide")
    assert one.days == 1
    assert math.isfinite(one.loss.value)
    assert math.isnan(one.loss.low)
    assert (one.p_value, one.in_set, one.sharpe) == (None, None, None)


def test_identical_models_differ_by_nothing(frame):
    twin = pd.concat([frame, frame[frame["model_name"] == "good"].assign(model_name="twin")])
    found = line(scoreboard(twin, ENVELOPE, BOUNDS, resamples=200), "twin")
    assert found.difference == Estimate(0, 0, 0)
    assert found.p_value == 1
    assert found.in_set


def test_many_predictions_take_seconds():
    frame = predictions({f"m{i}": 1 + i / 10 for i in range(6)}, days=100, symbols=10, steps=5)
    start = time.perf_counter()
    scoreboard(frame, ENVELOPE, BOUNDS)
    assert time.perf_counter() - start < 10


def printed(board, width, **options):
    console = Console(file=io.StringIO(), width=width, emoji=False)
    print_scoreboard(board, console=console, **options)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_print_fits_and_says_it_all(board, width):
    text = printed(board, width, seconds={"good": 1.25})
    assert max(map(len, text.splitlines())) <= width
    for words in (
        "240 predictions",
        "40 days",
        "coverage of 80%",
        "reference",
        "✓",
        "1.2 s",
        "Loss by group",
        "2-5",
    ):
        assert words in " ".join(text.split())
    wide = line(board, "wide")
    assert f".{wide.loss.value:.3f}"[-3:] in text
    assert f"+{wide.difference.value:.3f}".replace("+0.", "+.") in text
    for model, mark in (("wide", "↑"), ("narrow", "↓")):
        assert f"{line(board, model, 'asset_class', 'crypto').coverage.value:.1%}{mark}" in text
    assert all(symbol not in text for symbol in ("S0", "S1"))


def test_print_shows_the_groups_asked_for(board):
    text = printed(board, 80, by=("symbol",))
    assert "S0" in text
    assert "crypto" not in text
    assert "Sharpe: " in text
    assert "direction" not in text
    assert "by group" not in printed(board, 80, by=("all",))


def test_print_of_nothing_in_common():
    text = " ".join(printed(Scoreboard("a", (), 7, {}), 80).split())
    assert text == "The models share no scored prediction: nothing to compare, 7 left out."


def test_names_are_shown_as_they_are(board):
    hostile = "[red]x[/] [link=y]"
    lines = tuple(
        replace(found, model=hostile if found.model == "wide" else found.model, group=found.group + "[b]")
        for found in board.lines
    )
    text = printed(Scoreboard(hostile, lines, 0, {}), 120)
    assert hostile in text
    assert "crypto[b]" in text


def test_json_holds_every_figure(board, frame):
    content = json.loads(json.dumps(scoreboard_as_json(board, {"good": 1.5}), allow_nan=False))
    assert content["reference"] == "good"
    assert content["seconds"] == {"good": 1.5}
    assert len(content["lines"]) == len(board.lines)
    assert content["lines"][1]["difference"]["low"] == line(board, "narrow").difference.low
    assert content["curves"]["wide"] == [list(pair) for pair in board.curves["wide"]]
    day = scoreboard(frame[frame["as_of"] == frame["as_of"].min()], ENVELOPE, BOUNDS, resamples=200)
    assert scoreboard_as_json(day)["lines"][0]["loss"]["low"] is None

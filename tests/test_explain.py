"""Explanations: Shapley's axioms, and what a run with ``--explain`` computes, stores and shows."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from typing import ClassVar, Literal

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from rich.console import Console

from kronosfw.cli import run as command
from kronosfw.errors import ConfigError, Interrupted
from kronosfw.explain import coalitions, groups_of, shapley
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig, ForecasterConfig
from kronosfw.moved import print_moved
from kronosfw.pipeline import run
from kronosfw.report import print_run, run_as_json
from tests.made_up import stored
from tests.shelves import put

# Shapley's axioms

SEED = st.integers(0, 2**32)
SHAPE = (2, 3)


@st.composite
def games(draw, least=1, most=5):
    """Draw groups, and an array for each of their coalitions."""
    groups = tuple("abcde"[: draw(st.integers(least, most))])
    rng, scale = np.random.default_rng(draw(SEED)), draw(st.floats(0.01, 100))
    return groups, {s: rng.normal(scale=scale, size=SHAPE) for s in coalitions(groups)}


@given(games())
def test_contributions_add_up_to_full_minus_empty(game):
    groups, values = game
    expected = values[frozenset(groups)] - values[frozenset()]
    np.testing.assert_allclose(sum(shapley(values, groups).values()), expected, atol=1e-9)


@given(games(least=2))
def test_groups_that_do_the_same_get_the_same(game):
    groups, values = game
    swap = {"a": "b", "b": "a"}
    even = {s: values[s] + values[frozenset(swap.get(g, g) for g in s)] for s in values}
    found = shapley(even, groups)
    np.testing.assert_allclose(found["a"], found["b"], atol=1e-9)


@given(games())
def test_a_group_that_changes_nothing_gets_nothing(game):
    groups, values = game
    found = shapley({s: values[s - {"a"}] for s in values}, groups)
    assert not found["a"].any()


@given(games(), SEED)
def test_contributions_to_a_sum_are_sums_of_contributions(game, seed):
    groups, values = game
    rng = np.random.default_rng(seed)
    others = {s: rng.normal(size=SHAPE) for s in values}
    both = shapley({s: values[s] + others[s] for s in values}, groups)
    for group in groups:
        expected = shapley(values, groups)[group] + shapley(others, groups)[group]
        np.testing.assert_allclose(both[group], expected, atol=1e-9)


@given(games(least=3, most=4))
def test_a_contribution_is_the_mean_over_all_orders(game):
    groups, values = game
    found = shapley(values, groups)
    orders = list(permutations(groups))
    for group in groups:
        before = [frozenset(order[: order.index(group)]) for order in orders]
        gains = [values[s | {group}] - values[s] for s in before]
        np.testing.assert_allclose(found[group], np.mean(gains, axis=0), atol=1e-9)


# Runs


class Signals(EncoderConfig):
    """One channel for each group, its value times the day of the week from 1 to 7; nothing known where null."""

    type: Literal["signals"] = "signals"
    values: dict[str, float | None] = Field(description="Value of each group.")

    def build(self):
        return Signalling(self.values)


class Signalling:
    leaders, lookback = (), 0

    def __init__(self, values):
        self.names = self.groups = tuple(values)
        self.known_ahead = (True,) * len(values)
        self._values = [np.nan if v is None else v for v in values.values()]

    def encode(self, facts, leaders, times, known_at):
        day = times.session.astype(np.int64) % 7 + 1
        return np.outer(day, self._values).astype(np.float32)


class Mover(ForecasterConfig):
    """Adds a·b + c + noise to the last close, and c² to a width of one; a, b and c are groups of channels."""

    type: Literal["mover"] = "mover"
    blind: bool = Field(False, description="Whether it reads no covariates.")
    fails_without: tuple[str, ...] = Field((), description="Symbols that make a call raise where nothing is known.")
    seen: ClassVar[list[tuple[int, tuple[str, ...]]]] = []

    def build(self):
        return Moving(self)


class Moving:
    max_context = 20

    def __init__(self, options):
        self.options = options

    def forecast(self, windows, levels):
        Mover.seen.append((len(windows), groups_of(windows[0])))
        for w in windows:
            if w.symbol in self.options.fails_without and w.covariates is not None and not groups_of(w):
                raise RuntimeError(f"{w.symbol} is blind")
        return [w.forecast(levels, self.quantiles(w, np.array(levels))) for w in windows]

    def quantiles(self, window, levels):
        known = window.covariates
        future = {} if known is None or self.options.blind else dict(zip(known.groups, known.values.T, strict=True))
        a, b, c = (future.get(g, np.zeros(len(window.bars) + window.horizon))[len(window.bars) :] for g in "abc")
        middle = window.bars.close[-1] + a * b + c + window.rng().normal(size=window.horizon)
        return middle[:, None] + (1 + c**2)[:, None] * (levels - 0.5)


class Parts:
    @hookimpl
    def register_encoders(self):
        return [Signals]

    @hookimpl
    def register_forecasters(self):
        return [Mover]


A, B, C = 0.5, 0.25, -0.125
NOTHING = {group: [0.0, 0.0, 0.0] for group in "abc"}
ENCODERS = f"[{{type: signals, values: {{a: {A}, b: {B}, c: {C}}}}}]"
UNIVERSE = "{S00: {asset_class: crypto}, S01: {asset_class: forex, calendar: 24/7}}"


@pytest.fixture
def settings(configure, plugins):
    assert not plugins.add("parts", Parts()).problem
    Mover.seen.clear()

    def make(**changes):
        usual = {
            "universe": UNIVERSE,
            "forecasters": "[{type: mover}]",
            "encoders": ENCODERS,
            "quantiles": "[0.05, 0.1, 0.5, 0.9]",
        }
        return configure(**(usual | changes))

    return make


def of(report, symbol, model="mover"):
    return next(f for f in report.forecasts if (f.symbol, f.model) == (symbol, model))


def parts(window, steps):
    """Return what each group adds to p10, p50 and p90 ``[H, 3]``, from the formula of ``mover``."""
    day = (window.future.session[-steps:].astype(np.int64) % 7 + 1)[:, None]
    product = np.tile(A * B * day**2 / 2, 3)
    return {"a": product, "b": product, "c": C * day + (C * day) ** 2 * np.array([-0.4, 0, 0.4])}


def check(forecast, window):
    expected = parts(window, len(forecast.time))
    for step, (own, envelope) in enumerate(zip(forecast.steps, forecast.at((0.1, 0.5, 0.9)), strict=True)):
        assert set(own["moved"]) == {"a", "b", "c"}
        for group, moved in own["moved"].items():
            np.testing.assert_allclose(moved, expected[group][step], atol=1e-9)
        np.testing.assert_allclose(np.sum([own["without"], *own["moved"].values()], axis=0), envelope, atol=1e-9)


def test_a_run_tells_what_each_group_moved(settings, plugins, tmp_path):
    """In a product both factors have an equal share; the noise is in none, for each coalition draws the same."""
    report = run(settings(), plugins, explain=True)
    assert report.exit_code == 0
    for symbol in ("S00", "S01"):
        check(of(report, symbol), report.windows[symbol])
    assert len(Mover.seen) == 2**3
    assert all(size == 2 for size, _ in Mover.seen)
    rows = [r for r in stored(tmp_path) if r["model_name"] == "mover"]
    assert len(rows) == 6
    for row in rows:
        assert row["event_context"] == of(report, row["symbol"]).steps[row["step"] - 1]
    ensemble = [r["event_context"] for r in stored(tmp_path) if r["model_name"] == "ensemble"]
    assert all(set(context) == {"weights"} for context in ensemble)


def test_an_explanation_changes_nothing_else(settings, plugins, tmp_path):
    plain = run(settings(), plugins)
    before = stored(tmp_path)
    told = run(settings(), plugins, explain=True)
    after = stored(tmp_path)
    assert told.run_id == plain.run_id
    assert told.versions == plain.versions
    assert [f.quantiles.tobytes() for f in told.forecasts] == [f.quantiles.tobytes() for f in plain.forecasts]
    differ = {name for one, other in zip(before, after, strict=True) for name in one if one[name] != other[name]}
    assert differ == {"event_context"} | ({"created_at"} & differ)
    assert run(settings(), plugins, explain=True).stored == 0


def test_a_late_symbol_is_explained_from_its_first_step_on(settings, plugins, tmp_path):
    report = run(settings(feed="{type: table, late: {S01: 2}}"), plugins, explain=True)
    assert report.windows["S01"].horizon == 5
    for symbol in ("S00", "S01"):
        assert len(of(report, symbol).steps) == 3
        check(of(report, symbol), report.windows[symbol])
    rows = [r for r in stored(tmp_path) if (r["symbol"], r["model_name"]) == ("S01", "mover")]
    assert [r["event_context"] for r in rows] == of(report, "S01").steps


def test_a_model_that_reads_no_events_is_asked_once_more(settings, plugins):
    report = run(settings(forecasters="[{type: mover, blind: true}]"), plugins, explain=True)
    assert Mover.seen == [(2, ("a", "b", "c")), (2, ())]
    for forecast in report.forecasts:
        if forecast.model == "mover":
            assert [own["without"] for own in forecast.steps] == forecast.at((0.1, 0.5, 0.9)).tolist()
            assert all(own["moved"] == NOTHING for own in forecast.steps)


def test_groups_of_which_nothing_is_known_are_left_out(settings, plugins):
    """A known 0 is something known: a model may read the mask."""
    encoders = "[{type: signals, values: {a: 0.5, b: 0.0, quiet: null}}]"
    report = run(settings(encoders=encoders), plugins, explain=True)
    assert set(of(report, "S00").steps[0]["moved"]) == {"a", "b"}
    assert not any(of(report, "S00").steps[0]["moved"]["b"])
    silent = run(settings(encoders="[{type: signals, values: {quiet: null}}]"), plugins, explain=True)
    (own, *_), envelope = of(silent, "S00").steps, of(silent, "S00").at((0.1, 0.5, 0.9))
    assert own == {"moved": {}, "without": envelope[0].tolist()}


def test_a_forecast_that_cannot_be_explained_is_kept(settings, plugins, tmp_path):
    config = settings(forecasters="[{type: mover, fails_without: [S01]}, {type: drift}]")
    report = run(config, plugins, explain=True)
    assert report.exit_code == 3
    failed = [(f.symbol, f.stage, f.model, f.reason) for f in report.failures]
    assert failed == [("S01", "explain", "mover", "not explained: RuntimeError: S01 is blind")]
    check(of(report, "S00"), report.windows["S00"])
    kept = [r for r in stored(tmp_path) if (r["symbol"], r["model_name"]) == ("S01", "mover")]
    assert [r["event_context"] for r in kept] == [None] * 3
    plain = run(config, plugins)
    assert of(plain, "S01").quantiles.tobytes() == of(report, "S01").quantiles.tobytes()


def test_more_groups_than_can_be_told_apart_are_named(settings, plugins):
    values = ", ".join(f"g{i}: 1.0" for i in range(9))
    report = run(settings(encoders=f"[{{type: signals, values: {{{values}}}}}]"), plugins, explain=True)
    assert report.exit_code == 3
    assert {f.symbol for f in report.failures} == {"S00", "S01"}
    (why,) = {f.reason for f in report.failures}
    assert "9 groups of event channels are more than the 8 that can be told apart: g0, g1" in why
    assert len(Mover.seen) == 1
    eight = values.rpartition(",")[0]
    assert run(settings(encoders=f"[{{type: signals, values: {{{eight}}}}}]"), plugins, explain=True).exit_code == 0


def test_what_a_forecaster_says_of_its_steps_stays(settings, plugins, monkeypatch, tmp_path):
    told = Moving.forecast

    def talkative(self, windows, levels):
        context = {"mood": "good", "steps": [{"mood": "bad"}, {}, {}]}
        return [replace(f, event_context=context) for f in told(self, windows, levels)]

    monkeypatch.setattr(Moving, "forecast", talkative)
    run(settings(), plugins, explain=True)
    rows = [r for r in stored(tmp_path) if r["model_name"] == "mover"]
    assert all(set(r["event_context"]) == {"mood", "moved", "without"} for r in rows)
    assert [r["event_context"]["mood"] for r in rows if r["symbol"] == "S00"] == ["bad", "good", "good"]


@pytest.mark.parametrize("steps", [{}, [{}], [{}, {}, "x"]])
def test_steps_of_another_shape_are_refused(settings, plugins, monkeypatch, steps):
    told = Moving.forecast

    def talkative(self, windows, levels):
        return [replace(f, event_context={"steps": steps}) for f in told(self, windows, levels)]

    monkeypatch.setattr(Moving, "forecast", talkative)
    report = run(settings(forecasters="[{type: mover}, {type: drift}]"), plugins)
    assert {(f.model, f.reason.partition(" must ")[0]) for f in report.failures} == {
        ("mover", "the steps of an event_context")
    }


def test_without_encoders_there_is_nothing_to_explain(settings, plugins, tmp_path):
    with pytest.raises(ConfigError, match="list `encoders:`") as caught:
        run(settings(encoders="[]"), plugins, explain=True)
    assert caught.value.exit_code == 2
    assert not Mover.seen
    assert not (tmp_path / "results.db").exists()


def test_progress_is_told_and_can_end_the_run(settings, plugins, tmp_path):
    seen = []
    run(settings(batch="1"), plugins, explain=True, progress=lambda *told: seen.append(told))
    mine = [(done, total) for stage, done, total in seen if stage == "explaining mover"]
    assert mine == sorted(mine)
    assert mine[0] == (0, 2)
    assert mine[-1] == (2, 2)

    def stop(stage, done, total):
        if stage == "explaining mover":
            raise Interrupted("enough")

    (tmp_path / "results.db").unlink()
    with pytest.raises(Interrupted):
        run(settings(batch="1"), plugins, explain=True, progress=stop)
    assert {row["symbol"] for row in stored(tmp_path)} == {"S00"}, "what is under way is explained and written"


def test_explanations_follow_the_checkpoint(settings, plugins, monkeypatch, tmp_path):
    """What is explained is the forecaster with the weights that serve, not the base."""
    put(tmp_path / "checkpoints", "forex", forecaster="mover")

    def switched(self, path):
        return Moving(self.options.model_copy(update={"blind": path is not None}))

    monkeypatch.setattr(Moving, "with_checkpoint", switched, raising=False)
    report = run(settings(checkpoints="{type: latest}", checkpoint_root="checkpoints"), plugins, explain=True)
    check(of(report, "S00"), report.windows["S00"])
    assert of(report, "S01").steps[0]["moved"] == NOTHING


def printed(report, config, monkeypatch, capsys, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    print_run(report, config)
    return capsys.readouterr().out


def test_the_report_shows_what_moved(settings, plugins, monkeypatch, capsys):
    config = settings(forecasters="[{type: mover}, {type: drift}]")
    report = run(config, plugins, explain=True)
    shown = printed(report, config, monkeypatch, capsys)
    table = shown.split("What moved them")[1].splitlines()
    assert max(len(line.rstrip()) for line in table[:6]) <= 80
    head, row = (next(line.split() for line in table if name in line) for name in ("symbol", "S00"))
    window = report.windows["S00"]
    close = window.bars.close[-1]
    share = {g: v[-1] / close * 100 for g, v in parts(window, 3).items()}
    figures = dict(zip(head[1:], zip(row[1::2], row[2::2], strict=True), strict=True))
    assert set(figures) == {"all", "a", "b", "c"}
    for group, (mid, width) in figures.items():
        low, middle, high = sum(share.values()) if group == "all" else share[group]
        assert mid == f"{middle:+z.2f}".replace("-", "−")
        assert width == f"{high - low:+z.2f}".replace("-", "−")
    assert "Nothing that the encoders tell moved drift" in shown
    assert "What moved" not in printed(run(config, plugins), config, monkeypatch, capsys)


def test_groups_without_room_are_added_up(settings, plugins, monkeypatch, capsys):
    values = ", ".join(f"{g}: 0.5" for g in ["a", "b", "c", "d_long_name_of_a_group", "e", "f", "g"])
    config = settings(encoders=f"[{{type: signals, values: {{{values}}}}}]")
    report = run(config, plugins, explain=True)
    table = printed(report, config, monkeypatch, capsys).split("What moved them")[1]
    head = next(line.split() for line in table.splitlines() if "symbol" in line)
    assert head[:3] == ["symbol", "all", "c"]
    assert head[-1] == "others"
    assert "…" not in table
    wide = printed(report, config, monkeypatch, capsys, width=200).split("What moved them")[1]
    assert "others" not in wide


def test_symbols_of_which_nothing_is_known_have_a_row_of_zeros(settings, plugins, capsys):
    """Also where the rows that are shown are all of such symbols."""
    report = run(settings(), plugins, explain=True)
    quiet = replace(of(report, "S00"), event_context={"steps": [{"moved": {}, "without": [1, 2, 3]}] * 3})
    print_moved([quiet, of(report, "S01")], report.windows, 1, Console(width=80))
    shown = capsys.readouterr().out
    assert next(line.split() for line in shown.splitlines() if "S00" in line) == ["S00", "+0.00", "+0.00"]
    assert "… and 1 more in the store" in shown


def test_programs_are_told_too(settings, plugins):
    config = settings()
    result = run_as_json(run(config, plugins, explain=True))
    by_model = {f["model"]: f["steps"] for f in json.loads(json.dumps(result))["forecasts"] if f["symbol"] == "S00"}
    assert [set(step["moved"]) for step in by_model["mover"]] == [{"a", "b", "c"}] * 3
    assert all(len(step["without"]) == 3 for step in by_model["mover"])
    assert "moved" not in by_model["ensemble"][0]
    plain = run_as_json(run(config, plugins))
    assert not any("moved" in step for f in plain["forecasts"] for step in f["steps"])


def test_the_option_asks_for_it(settings, plugins, monkeypatch, tmp_path):
    settings()
    monkeypatch.setattr("kronosfw.loading.Plugins.installed", lambda disabled=(): plugins)
    result = CliRunner().invoke(command.command, [str(tmp_path / "config.yaml"), "--explain", "--json"])
    steps = [step for f in json.loads(result.stdout)["forecasts"] if f["model"] == "mover" for step in f["steps"]]
    assert steps
    assert all("moved" in step for step in steps)

"""A run from configuration to store: what fails is set apart, what repeats changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.errors import ConfigError, DataError, Interrupted, PluginError
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EncoderConfig, EnsemblerConfig, FeedConfig, ForecasterConfig
from kronosfw.isolation import isolate
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.rows import as_datetime
from kronosfw.scoring import score
from kronosfw.store import Store
from kronosfw.testing.market import random_bars
from kronosfw.types import Span, moment

_ALL = Span(end=moment("2030-01-01"), start=moment("2000-01-01"))
SYMBOLS = [f"S{i:02d}" for i in range(50)]


class Table(FeedConfig):
    """Fifty random walks, some of which may be spoilt."""

    type: Literal["table"] = "table"
    corrupt: tuple[str, ...] = Field((), description="Symbols whose rows are nonsense.")
    raising: tuple[str, ...] = Field((), description="Symbols that make the whole call raise.")
    late: dict[str, int] = Field({}, description="Bars missing at the end, by symbol.")
    newest: tuple[str, ...] = Field((), description="Symbols that have but the bar of today.")
    broken_facts: bool = Field(False, description="Whether facts raise.")
    calls: ClassVar[list[int]] = []

    def build(self):
        return TableFeed(self)


class TableFeed:
    def __init__(self, options):
        self.options = options

    def bars(self, symbols, freq, span):
        Table.calls.append(len(symbols))
        for symbol in symbols:
            if symbol in self.options.raising:
                raise RuntimeError(f"the disk under {symbol} is gone")
            bars = random_bars(symbol, 200)
            frame = pd.DataFrame(np.array(bars.values), columns=list(bars.columns))
            frame.insert(0, "time", pd.DatetimeIndex(bars.times.time).tz_localize("UTC"))
            if symbol in self.options.corrupt:
                frame.loc[50:, "close"] = np.nan
            frame = frame[: len(frame) - self.options.late.get(symbol, 0)]
            if symbol in self.options.newest:
                frame = frame[-1:].assign(time=pd.Timestamp.now("UTC").floor("D").as_unit("us"))
            frame = frame[frame["time"] <= pd.Timestamp(span.end, tz="UTC")]
            yield symbol, frame.tail(span.last) if span.last else frame

    def facts(self, symbols, span):
        if self.options.broken_facts:
            raise RuntimeError("no calendar today")
        return iter(())


class Fickle(ForecasterConfig):
    """Says the last close, with a width of one, unless told to fail."""

    type: Literal["fickle"] = "fickle"
    failing: tuple[str, ...] = Field((), description="Symbols that make the whole call raise.")
    fault: str = Field("", description="What else goes wrong.")
    batches: ClassVar[list[int]] = []
    paths: ClassVar[dict[str, object]] = {}
    context: ClassVar[dict[str, object]] = {}

    def build(self):
        if self.fault == "build":
            raise RuntimeError("no weights")
        if self.fault == "package":
            raise ConfigError("fickle needs the package mood: pip install mood")
        return FickleForecaster(self)


class FickleForecaster:
    max_context = 50

    def __init__(self, options, path=None):
        self.options, self.path = options, path

    def with_checkpoint(self, path):
        if path is not None and (path / "broken").exists():
            raise OSError("truncated weights")
        return FickleForecaster(self.options, path)

    def forecast(self, windows, levels):
        Fickle.batches.append(len(windows))
        assert all(len(w.bars) <= 50 for w in windows)
        found = []
        for w in windows:
            Fickle.paths[w.symbol] = self.path
            if w.symbol in self.options.failing:
                raise ValueError(f"{w.symbol} is in a mood")
            shift = np.linspace(1, -1, len(levels)) if self.options.fault == "crossing" else np.array(levels)
            quantiles = w.bars.close[-1] + np.tile(shift, (w.horizon, 1))
            found.append(w.forecast(levels, quantiles, event_context=Fickle.context))
        if self.options.fault == "fewer":
            found.pop()
        if self.options.fault == "swapped":
            found.reverse()
        if self.options.fault == "cutoff":
            return [replace(f, cutoff=moment("2001-01-01")) for f in found]
        if self.options.fault == "nan":
            return [w.forecast(levels, np.full((w.horizon, len(levels)), np.nan)) for w in windows]
        return found


class Learner(EnsemblerConfig):
    """Takes the first member, and remembers what it was given to learn from."""

    type: Literal["learner"] = "learner"
    fault: str = Field("", description="What goes wrong.")
    past: ClassVar[list[pd.DataFrame]] = []

    def build(self):
        if self.fault == "build":
            raise RuntimeError("no booster")
        return LearnerEnsembler(self.fault)


class LearnerEnsembler:
    learns = True

    def __init__(self, fault):
        self.fault = fault

    def member_levels(self, levels):
        if self.fault == "order":
            return [0.5, 0.1, 0.9, 0.25, 0.1]
        return [0.5] if self.fault == "levels" else sorted({*levels, 0.25})

    def fit(self, past):
        if self.fault == "fit":
            raise SystemExit("left")
        Learner.past.append(past)

    def combine(self, window, members, levels):
        if self.fault == "garbage":
            return {"p50": 1.0}
        if window.symbol == "S07":
            raise RuntimeError("cannot combine S07")
        return members[0].only(levels)


class NeedsVix(EncoderConfig):
    """Wants a leader."""

    type: Literal["needs_vix"] = "needs_vix"
    broken: bool = Field(False, description="Whether it cannot be built.")
    leaderless: bool = Field(False, description="Whether it lacks an attribute.")

    def build(self):
        if self.broken:
            raise ImportError("no module named lexicon")

        class Encoder:
            names, known_ahead, leaders = ("vix",), (False,), ("VIX",)

            def encode(self, facts, leaders, times, cutoff):
                return np.full((len(times), 1), float(len(leaders)), dtype=np.float32)

        if self.leaderless:
            del Encoder.leaders
        return Encoder()


class Observer:
    def __init__(self):
        self.seen = []

    @hookimpl
    def before_run(self, run):
        self.seen.append("before")

    @hookimpl
    def after_forecast(self, run, forecast):
        self.seen.append((forecast.symbol, forecast.model))
        raise RuntimeError("an observer's own trouble")

    @hookimpl
    def after_run(self, run, report):
        self.seen.append(report.run_id)

    @hookimpl
    def on_run_error(self, run, error):
        self.seen.append(type(error).__name__)


class Components:
    @hookimpl
    def register_feeds(self):
        return [Table]

    @hookimpl
    def register_forecasters(self):
        return [Fickle]

    @hookimpl
    def register_ensemblers(self):
        return [Learner]

    @hookimpl
    def register_encoders(self):
        return [NeedsVix]


@pytest.fixture
def plugins():
    plugins = Plugins.installed()
    assert not plugins.add("components", Components()).problem
    Table.calls.clear()
    Fickle.batches.clear()
    Learner.past.clear()
    return plugins


@pytest.fixture
def configure(tmp_path, plugins):
    def make(**changes):
        sections = {
            "feed": "{type: table}",
            "universe": "{" + ", ".join(f"{s}: {{asset_class: crypto}}" for s in SYMBOLS) + "}",
            "horizon": "3",
            "context": "100",
            "forecasters": "[{type: random_walk}, {type: fickle}]",
            "ensembler": "{type: mean}",
            "store": "sqlite:///results.db",
            **changes,
        }
        path = tmp_path / "config.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
        return load(path, plugins)[0]

    return make


def stored(tmp_path: Path):
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        return store.predictions()


def test_one_corrupt_symbol_among_fifty(configure, plugins, tmp_path):
    report = run(configure(feed="{type: table, corrupt: [S13]}"), plugins)
    assert report.exit_code == 3
    assert len(report.served) == 49
    (failure,) = report.failures
    assert failure.symbol == "S13"
    assert "rows needed repair (nonfinite" in failure.reason
    assert len(stored(tmp_path)) == 49 * 3 * 3
    assert {row["symbol"] for row in stored(tmp_path)} == set(SYMBOLS) - {"S13"}


def test_running_again_changes_no_row(configure, plugins, tmp_path):
    first = run(configure(), plugins)
    rows = stored(tmp_path)
    again = run(configure(), plugins)
    assert (first.stored, again.stored) == (450, 0)
    assert again.run_id == first.run_id
    assert stored(tmp_path) == rows


def test_a_feed_that_raises_loses_only_the_symbol_at_fault(configure, plugins):
    report = run(configure(feed="{type: table, raising: [S00, S31]}"), plugins)
    assert [f.symbol for f in report.failures] == ["S00", "S31"]
    assert report.failures[0].reason == "RuntimeError: the disk under S00 is gone"
    assert len(report.served) == 48
    assert len(Table.calls) < 30, "halving, not one by one"


def test_a_forecaster_that_raises_loses_only_the_window_at_fault(configure, plugins):
    forecasters = "[{type: random_walk}, {type: fickle, failing: [S20, S21]}]"
    report = run(configure(forecasters=forecasters), plugins)
    assert [(f.symbol, f.model) for f in report.failures] == [("S20", "fickle"), ("S21", "fickle")]
    assert len(report.served) == 50, "the other members still serve the symbol"
    ensemble = [f for f in report.forecasts if f.model == "ensemble"]
    assert len(ensemble) == 50
    assert len(Fickle.batches) < 30
    clean = run(configure(forecasters="[{type: random_walk}, {type: fickle}]"), plugins)
    kept = {(f.symbol, f.model): f.quantiles.tobytes() for f in clean.forecasts}
    for f in report.forecasts:
        if f.symbol not in ("S20", "S21"):
            assert kept[f.symbol, f.model] == f.quantiles.tobytes()


def test_a_listing_of_today_does_not_take_down_the_rest(configure, plugins):
    """A symbol whose only bar is still under way has nothing to forecast from."""
    universe = "{S00: {asset_class: crypto}, S01: {asset_class: crypto}, S02: {asset_class: crypto}}"
    config = configure(universe=universe, feed="{type: table, late: {S01: 199}}", checks="{max_repaired: 1}")
    report = run(config, plugins, as_of=datetime(2023, 6, 1, tzinfo=UTC))
    assert [f.symbol for f in report.failures] == ["S01"]
    early = run(configure(universe=universe, feed="{type: table, newest: [S01]}"), plugins)
    assert [(f.symbol, f.reason) for f in early.failures] == [("S01", early.failures[0].reason)]
    assert "no bar is complete by" in early.failures[0].reason or "no bars by" in early.failures[0].reason
    assert early.served == ("S00", "S02")


def test_the_future_is_no_cutoff(configure, plugins):
    with pytest.raises(ConfigError, match="lies in the future"):
        run(configure(), plugins, as_of=datetime.now(UTC) + timedelta(hours=1))


def test_levels_may_be_asked_for_in_any_order(configure, plugins):
    """The members' quantiles are those they give without an ensembler."""
    plain = run(configure(ensembler="{type: mean}"), plugins)
    odd = run(configure(ensembler="{type: learner, fault: order}"), plugins)
    numbers = [
        {(f.symbol, f.model): f.quantiles.tobytes() for f in r.forecasts if f.model != "ensemble"}
        for r in (plain, odd)
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("context", [{"x": float("nan")}, {"x": "a\x00b"}, {1: 2, "a": 3}, {"x": object()}])
def test_a_context_that_no_store_takes_fails_that_forecast_alone(configure, plugins, context):
    Fickle.context = context
    try:
        report = run(configure(), plugins)
    finally:
        Fickle.context = {}
    assert {f.model for f in report.failures} == {"fickle"}
    assert len(report.served) == 50


def test_observers_cannot_change_what_is_stored(configure, plugins, tmp_path):
    class Meddler:
        @hookimpl
        def after_forecast(self, run, forecast):
            forecast.event_context["weights"] = "mine"
            forecast.event_context.clear()

        @hookimpl
        def after_run(self, run, report):
            report.failures.append("x")

    plugins.add("meddler", Meddler())
    assert run(configure(), plugins).exit_code == 0
    contexts = [r["event_context"] for r in stored(tmp_path) if r["model_name"] == "ensemble"]
    assert contexts
    assert all(set(c["weights"]) == {"random_walk", "fickle"} for c in contexts)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("build", "RuntimeError: no weights"),
        ("nan", "are not finite"),
        ("cutoff", "returned a forecast of another window"),
        ("fewer", "returned 0 forecasts for 1 windows"),
    ],
)
def test_a_broken_forecaster_does_not_take_down_the_rest(configure, plugins, fault, reason):
    report = run(configure(forecasters=f"[{{type: fickle, fault: {fault}}}, {{type: random_walk}}]"), plugins)
    assert report.exit_code == 3
    assert len(report.served) == 50
    assert {f.model for f in report.failures} == {"fickle"}
    assert all(reason in f.reason for f in report.failures)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("build", "RuntimeError: no booster"),
        ("levels", "asks the members for other quantile levels"),
        ("fit", "SystemExit: left"),
        ("garbage", "returned a dict where a Forecast was expected"),
    ],
)
def test_a_broken_ensembler_leaves_the_members(configure, plugins, tmp_path, fault, reason):
    report = run(configure(ensembler=f"{{type: learner, fault: {fault}}}"), plugins)
    assert report.exit_code == 3
    assert {f.model for f in report.failures} == {"ensemble"}
    assert all(reason in f.reason for f in report.failures)
    assert {row["model_name"] for row in stored(tmp_path)} == {"random_walk", "fickle"}


def test_what_a_run_cannot_do_without_is_named(configure, plugins):
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    with pytest.raises(PluginError, match="encoder needs_vix: ImportError: no module named lexicon") as raised:
        run(configure(encoders="[{type: needs_vix, broken: true}]", universe=universe), plugins)
    assert raised.value.exit_code == 2
    with pytest.raises(PluginError, match="encoder needs_vix: TypeError: Encoder has no leaders"):
        run(configure(encoders="[{type: needs_vix, leaderless: true}]", universe=universe), plugins)


def test_forecasts_of_another_window_are_refused(configure, plugins):
    report = run(configure(forecasters="[{type: fickle, fault: swapped}, {type: random_walk}]"), plugins)
    assert {f.model for f in report.forecasts if f.symbol == "S00"} >= {"random_walk", "ensemble"}
    closes = {s: random_bars(s, 200).close[-1] for s in SYMBOLS}
    for f in report.forecasts:
        assert abs(f.at((0.5,))[0, 0] / closes[f.symbol] - 1) < 0.2


def test_crossing_quantiles_are_sorted(configure, plugins):
    report = run(configure(forecasters="[{type: fickle, fault: crossing}]"), plugins)
    assert report.exit_code == 0
    assert all((np.diff(f.quantiles, axis=-1) > 0).all() for f in report.forecasts if f.model == "fickle")


def test_a_missing_package_is_a_mistake_of_the_config(configure, plugins):
    with pytest.raises(ConfigError, match="pip install mood"):
        run(configure(forecasters="[{type: random_walk}, {type: fickle, fault: package}]"), plugins)


def test_too_few_symbols_write_nothing(configure, plugins, tmp_path):
    config = configure(feed=f"{{type: table, corrupt: [{', '.join(SYMBOLS[:30])}]}}")
    with pytest.raises(DataError, match="20 of 50 symbols could be forecast") as raised:
        run(config, plugins)
    assert raised.value.exit_code == 5
    assert not stored(tmp_path)


def test_the_batch_size_changes_no_number(configure, plugins):
    reports = [run(configure(batch=str(n)), plugins) for n in (1, 7, 256)]
    numbers = [[(f.symbol, f.model, f.quantiles.tobytes()) for f in r.forecasts] for r in reports]
    assert numbers[0] == numbers[1] == numbers[2]
    assert len({r.run_id for r in reports}) == 1


def test_a_subset_gives_the_same_numbers(configure, plugins):
    config = configure()
    cutoff = datetime(2023, 6, 1, tzinfo=UTC)
    whole = {(f.symbol, f.model): f for f in run(config, plugins, as_of=cutoff).forecasts}
    for f in run(config, plugins, as_of=cutoff, symbols=["S09", "S03"]).forecasts:
        assert f.quantiles.tobytes() == whole[f.symbol, f.model].quantiles.tobytes()
    with pytest.raises(ConfigError, match="NOPE: not in the universe"):
        run(config, plugins, symbols=["S00", "NOPE"])


def test_observers_are_told_and_cannot_break_the_run(configure, plugins):
    observer = Observer()
    plugins.add("observer", observer)
    report = run(configure(), plugins, symbols=["S00"])
    assert report.exit_code == 0
    models = [("S00", m) for m in ("random_walk", "fickle", "ensemble")]
    assert observer.seen == ["before", *models, report.run_id]
    observer.seen.clear()
    with pytest.raises(DataError):
        run(configure(feed="{type: table, corrupt: [S00]}"), plugins, symbols=["S00"])
    assert observer.seen == ["before", "DataError"]


def test_the_checkpoint_policy_chooses_for_each_asset_class(configure, plugins, tmp_path):
    def checkpoint(*parts):
        folder = tmp_path.joinpath("checkpoints", *parts)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"forecaster": "fickle", "metrics": {"crps": 0.5}}')
        return folder

    universe = "{S00: {asset_class: crypto}, S01: {asset_class: forex, calendar: 24/7}, "
    universe += "S02: {asset_class: equity, calendar: 24/7}, S03: {asset_class: commodity, calendar: 24/7}}"
    checkpoint("rolling", "crypto", "versions", "2024-01-01-0001-aa")
    newest = checkpoint("rolling", "crypto", "versions", "2024-02-01-0001-bb")
    broken = checkpoint("rolling", "equity", "versions", "2024-02-01-0001-cc")
    (broken / "broken").touch()
    base = checkpoint("base", "versions", "2023-01-01-0001-dd")
    twin = checkpoint("rolling", "commodity", "versions", "2024-02-01-0001-bb")
    for name, content in (("2025-01-01-0001-ee", "{"), ("2025-01-01-0001-ff", "[]")):
        (checkpoint("base", "versions", name) / "manifest.json").write_text(content)
    config = configure(
        universe=universe, checkpoints="{type: latest}", checkpoint_root="checkpoints", ensembler="{type: median}"
    )
    report = run(config, plugins)
    assert [Fickle.paths[s] for s in ("S00", "S01", "S03")] == [newest, base, twin], "versions may share a name"
    assert [(f.symbol, f.model, f.reason) for f in report.failures] == [
        ("S02", "fickle", "OSError: truncated weights")
    ]
    versions = {(r["symbol"], r["model_version"]) for r in stored(tmp_path) if r["model_name"] == "fickle"}
    assert {(s, v.partition("@")[2]) for s, v in versions} == {
        ("S00", f"crypto/{newest.name}"),
        ("S01", f"base/{base.name}"),
        ("S03", f"commodity/{twin.name}"),
    }


def test_an_ensembler_learns_from_the_past_alone(configure, plugins):
    config = configure(
        ensembler="{type: learner}", universe="{S00: {asset_class: crypto}, S07: {asset_class: crypto}}"
    )
    early, late = datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 5, 11, tzinfo=UTC)
    first = run(config, plugins, as_of=early)
    assert Learner.past[0].empty
    assert [(f.symbol, f.stage) for f in first.failures] == [("S07", "ensemble")]
    assert first.served == ("S00", "S07"), "its members are still there"
    score(config, as_of=datetime(2023, 5, 3, tzinfo=UTC), progress=lambda *_: None)
    run(config, plugins, as_of=late)
    past = Learner.past[1]
    assert set(past["step"]) == {1, 2}
    assert set(past["model_name"]) == {"random_walk", "fickle"}, "members' scores, not the ensemble's own"
    assert (past["realised_at"] <= pd.Timestamp(late)).all()
    score(config, as_of=None, progress=lambda *_: None)
    run(config, plugins, as_of=datetime(2023, 5, 3, tzinfo=UTC))
    assert (Learner.past[2]["realised_at"] <= pd.Timestamp("2023-05-03", tz="UTC")).all()
    assert set(Learner.past[2]["as_of"]) == {pd.Timestamp(early)}


def test_leaders_belong_to_the_universe(configure, plugins):
    with pytest.raises(ConfigError, match="the encoders need VIX: add it to the universe"):
        run(configure(encoders="[{type: needs_vix}]"), plugins)
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    report = run(configure(encoders="[{type: needs_vix}]", universe=universe), plugins)
    assert report.symbols == ("S00",)
    assert report.windows["S00"].covariates.values[0, 0] == 1.0


def test_facts_that_fail_matter_only_where_they_are_used(configure, plugins):
    report = run(configure(feed="{type: table, broken_facts: true}"), plugins)
    assert report.exit_code == 3
    assert [f.reason for f in report.failures] == ["facts: RuntimeError: no calendar today"]
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    with pytest.raises(DataError, match="no calendar today"):
        run(
            configure(feed="{type: table, broken_facts: true}", encoders="[{type: needs_vix}]", universe=universe),
            plugins,
        )


def test_a_store_that_is_down_does_not_lose_the_results(configure, plugins, tmp_path):
    (tmp_path / "results.db").write_bytes(b"this is not a database, and never was" * 50)
    report = run(configure(), plugins)
    assert report.exit_code == 6
    assert Path(report.spooled).parent == tmp_path / "spool"
    (tmp_path / "results.db").unlink()
    from kronosfw.store import replay

    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        assert replay(Path(report.spooled), store) == 450
    assert run(configure(), plugins).stored == 0, "what was replayed is what would have been stored"


def test_a_run_can_be_stopped(configure, plugins, tmp_path):
    def stop(stage, done, total):
        if stage == "fickle":
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run(configure(), plugins, progress=stop)
    assert not stored(tmp_path)


def test_the_manifest_says_what_the_numbers_rest_on(configure, plugins, tmp_path):
    report = run(configure(seed="5"), plugins)
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        (row,) = store.runs()
    manifest = row["manifest"]
    assert row["id"] == report.run_id
    assert manifest["config"]["seed"] == 5
    assert manifest["cutoff"] == f"{report.cutoff}Z"
    assert manifest["versions"]["kronosfw"]
    assert set(manifest["models"]) == {"random_walk", "fickle", "ensemble"}
    other = run(configure(seed="6"), plugins)
    assert other.run_id != report.run_id


def test_scoring_fills_the_evaluations_and_repeats_nothing(configure, plugins, tmp_path):
    config = configure(quantiles="[0.05, 0.1, 0.5, 0.9, 0.95]")
    run(config, plugins, as_of=datetime(2023, 5, 1, tzinfo=UTC))
    report = score(config, as_of=None, progress=lambda *_: None)
    assert (report.scored, report.waiting) == (450, 0)
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        row = next(r for r in store.evaluations() if r["symbol"] == "S00" and r["model_name"] == "random_walk")
        prediction = next(
            r for r in store.predictions() if r["symbol"] == "S00" and r["model_name"] == "random_walk"
        )
    bars = random_bars("S00", 200)
    i = int(np.flatnonzero(bars.times.time == np.datetime64("2023-05-01"))[0])
    assert row["step"] == prediction["step"] == 1
    assert row["realised"] == bars.close[i]
    assert row["covered"] == (prediction["p10"] <= bars.close[i] <= prediction["p90"])
    assert row["abs_error"] == pytest.approx(abs(bars.close[i] - prediction["p50"]) / prediction["last_close"])
    assert row["regime"] in ("low", "normal", "high")
    assert row["event_active"] is None, "the feed has no calendar"
    assert score(config, as_of=None, progress=lambda *_: None).scored == 0


def test_a_late_symbol_gets_an_envelope_as_wide_as_its_last_close_is_old(configure, plugins, tmp_path):
    universe = "{S00: {asset_class: crypto}, S01: {asset_class: crypto}}"
    on_time = run(configure(universe=universe, horizon="5"), plugins)
    config = configure(universe=universe, feed="{type: table, late: {S01: 2}}", horizon="3")
    late = run(config, plugins)
    assert late.cutoff == on_time.cutoff
    (wanted,) = [f for f in on_time.forecasts if (f.symbol, f.model) == ("S01", "random_walk")]
    earlier = run(
        configure(universe="{S01: {asset_class: crypto}}", feed="{type: table, late: {S01: 2}}", horizon="5"),
        plugins,
    )
    (expected,) = [f for f in earlier.forecasts if f.model == "random_walk"]
    (found,) = [f for f in late.forecasts if (f.symbol, f.model) == ("S01", "random_walk")]
    assert np.array_equal(found.time, wanted.time[:3])
    assert np.array_equal(found.quantiles, expected.quantiles[2:])
    steps = [
        (r["step"], r["target_time"])
        for r in stored(tmp_path)
        if r["run_id"] == late.run_id and r["symbol"] == "S01"
    ]
    assert {step for step, _ in steps} == {1, 2, 3}
    assert min(when for _, when in steps) == as_datetime(late.cutoff)


def test_events_bear_on_the_first_bar_complete_after_them(plugins, tmp_path):
    """A release at 8:30 in New York is in the day of a market that never shuts and in the session that follows."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "feed: {type: simulated, start: 2023-01-01, end: 2025-06-01, releases: [nfp]}\n"
        "universe: {SPY: {asset_class: equity}, BTCUSDT: {asset_class: crypto}}\n"
        "horizon: 4\nforecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    config = load(path, plugins)[0]
    releases = {f.scheduled_at for f in config.feed.build().facts(("BTCUSDT",), _ALL) if f.kind == "nfp"}
    assert np.datetime64("2025-04-04T12:30") in releases
    run(config, plugins, as_of=datetime(2025, 4, 2, tzinfo=UTC))
    score(config, as_of=None, progress=lambda *_: None)
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        rows = store.predictions()
        active = {(r["symbol"], r["step"]) for r in store.evaluations() if r["event_active"]}
    assert {(r["symbol"], str(r["session"])) for r in rows if (r["symbol"], r["step"]) in active} == {
        ("SPY", "2025-04-04"),
        ("BTCUSDT", "2025-04-04"),
    }


def test_the_simulated_market_runs_and_its_envelope_is_honest(plugins, tmp_path):
    """80 % of outcomes fall into the random walk's envelope, give or take the noise of 240 of them."""
    assert SimulatedFeed().type == "simulated"
    path = tmp_path / "config.yaml"
    path.write_text(
        "feed: {type: simulated, start: 2021-01-01, end: 2023-12-31, releases: []}\n"
        "universe: {EURUSD: {asset_class: forex}, SPY: {asset_class: equity}, BTCUSDT: {asset_class: crypto}}\n"
        "horizon: 1\nforecasters: [{type: random_walk, df: 5}]\nstore: sqlite:///results.db\n"
    )
    config = load(path, plugins)[0]
    for day in pd.date_range("2022-03-01", periods=80, freq="7D", tz="UTC"):
        run(config, plugins, as_of=day.to_pydatetime())
    report = score(config, as_of=None, progress=lambda *_: None)
    (model,) = report.models
    assert model.n == 240
    assert 0.72 < model.coverage < 0.88


def test_isolation_halves_until_the_culprit_stands_alone():
    calls = []

    def call(items):
        calls.append(len(items))
        if 13 in items:
            raise ValueError("thirteen")
        return [item * 2 for item in items]

    results, errors = isolate(list(range(64)), call)
    assert list(errors) == [13]
    assert results == {i: 2 * i for i in range(64) if i != 13}
    assert len(calls) == 13
    assert isolate([], call) == ({}, {})

"""A run goes batch by batch: what is finished is written at once, and is not done again."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from kronosfw import survey
from kronosfw.errors import DataError, Interrupted, StoreError
from kronosfw.lessons import Stored
from kronosfw.pipeline import run
from kronosfw.rows import as_datetime
from kronosfw.store import Store
from tests.made_up import SYMBOLS, Fickle, FickleForecaster, Table, stored

BATCH = {"batch": "7"}


class Stop:
    """Asks to stop once so many symbols have been forecast, as a signal does."""

    def __init__(self, after):
        self.after = after

    def __call__(self, stage, done, total):
        if stage == "fickle" and done >= self.after:
            raise Interrupted("a signal")


def numbers(rows):
    keys = ("symbol", "model_name", "model_version", "step", "p10", "p50", "p90", "as_of", "event_context", "seed")
    return sorted(tuple(repr(row[key]) for key in keys) for row in rows)


@pytest.fixture(autouse=True)
def _fresh():
    Fickle.batches.clear()
    Table.calls.clear()


def runs(tmp_path):
    with Store(f"sqlite:///{tmp_path}/results.db") as store:
        return store.runs()


def test_a_run_that_was_stopped_goes_on_where_it_was(configure, plugins, tmp_path):
    whole = run(configure(store=f"sqlite:///{tmp_path}/whole.db"), plugins)
    with Store(f"sqlite:///{tmp_path}/whole.db") as store:
        expected = store.predictions()
    config = configure(**BATCH)
    with pytest.raises(Interrupted, match=r"when 14 of 50 symbols were forecast; `kronosfw run FILE --resume`"):
        run(config, plugins, progress=Stop(10))
    (row,) = runs(tmp_path)
    assert (row["state"], row["finished_at"]) == ("running", None)
    first = {(r["symbol"], r["model_name"], r["step"]): r["created_at"] for r in stored(tmp_path)}
    assert {symbol for symbol, *_ in first} == set(SYMBOLS[:14])

    Fickle.batches.clear()
    report = run(config, plugins, resume=True)
    assert sum(Fickle.batches) == 36, "what is finished is not done again"
    assert report.resumed == tuple(SYMBOLS[:14])
    assert (report.exit_code, report.served) == (whole.exit_code, whole.served)
    assert report.run_id == row["id"] == whole.run_id
    assert numbers(stored(tmp_path)) == numbers(expected)
    again = {(r["symbol"], r["model_name"], r["step"]): r["created_at"] for r in stored(tmp_path)}
    assert first.items() <= again.items(), "nor written again"
    assert [r["state"] for r in runs(tmp_path)] == ["done"]


def test_without_resume_all_is_done_again_and_no_row_changes(configure, plugins, tmp_path):
    with pytest.raises(Interrupted):
        run(configure(**BATCH), plugins, progress=Stop(10))
    Fickle.batches.clear()
    report = run(configure(**BATCH), plugins)
    assert sum(Fickle.batches) == 50
    assert (report.resumed, report.stored) == ((), 450 - 14 * 9)


def test_what_is_all_finished_is_left_as_it_is(configure, plugins, tmp_path):
    run(configure(**BATCH), plugins)
    before = stored(tmp_path)
    Fickle.batches.clear()
    report = run(configure(**BATCH), plugins, resume=True)
    assert (Fickle.batches, report.stored, report.exit_code) == ([], 0, 0)
    assert report.served == report.resumed == tuple(SYMBOLS)
    assert stored(tmp_path) == before


class Altered:
    """A feed whose frames are altered."""

    def __init__(self, feed, alter):
        self.feed, self.alter, self.reads = feed, alter, 0

    def bars(self, symbols, freq, span):
        self.reads += 1
        for symbol, bars in self.feed.bars(symbols, freq, span):
            yield symbol, self.alter(symbol, bars, self.reads)


@pytest.fixture
def altering(monkeypatch):
    """Have the feed's frames altered by a function of the symbol, the frame and how often it was read."""
    build = Table.build

    def begin(alter):
        monkeypatch.setattr(Table, "build", lambda self: Altered(build(self), alter))

    return begin


def closing_higher(bars, by):
    return bars.assign(close=[*bars["close"][:-1], bars["close"].iloc[-1] + by])


def test_a_run_that_did_not_end_is_finished_first(configure, plugins, tmp_path, altering, caplog):
    """Meanwhile there is a new bar: the rest is forecast as of the moment of the beginning, then the new one."""
    altering(lambda symbol, bars, reads: bars[:-1])
    with pytest.raises(Interrupted) as stopped:
        run(configure(**BATCH), plugins, progress=Stop(10))
    assert stopped.value.exit_code == 75
    altering(lambda symbol, bars, reads: bars)
    Fickle.batches.clear()
    report = run(configure(**BATCH), plugins, resume=True)
    assert sum(Fickle.batches) == 36 + 50
    assert (report.resumed, len(report.served)) == ((), 50)
    found = stored(tmp_path)
    earlier, later = sorted({row["as_of"] for row in found})
    assert later == as_datetime(report.cutoff)
    assert [sum(row["as_of"] == cutoff for row in found) for cutoff in (earlier, later)] == [450, 450]
    assert f"the run as of {earlier}, which had not ended, was finished first" in caplog.text
    assert {row["state"] for row in runs(tmp_path)} == {"done"}
    assert run(configure(**BATCH), plugins, resume=True).resumed == tuple(SYMBOLS)


def test_a_run_that_can_be_finished_no_more_is_left(configure, plugins, tmp_path, altering, caplog):
    altering(lambda symbol, bars, reads: bars[:-1])
    with pytest.raises(Interrupted):
        run(configure(**BATCH), plugins, progress=Stop(10))
    altering(lambda symbol, bars, reads: bars[-60:])
    report = run(configure(**BATCH), plugins, resume=True)
    assert len(report.served) == 50
    assert "did not end, and cannot: no symbol can be used" in caplog.text
    assert sorted(row["state"] for row in runs(tmp_path)) == ["done", "failed"]


def test_other_quantiles_are_other_work(configure, plugins, tmp_path):
    run(configure(**BATCH), plugins)
    report = run(configure(quantiles="[0.1, 0.25, 0.5, 0.9]", **BATCH), plugins, resume=True)
    assert report.resumed == ()
    assert all(row["quantiles"] for row in stored(tmp_path))


@pytest.mark.parametrize("ensembler", ["{type: learner, fault: build}", "{type: learner, fault: fit}"])
def test_without_what_is_calibrated_the_members_still_serve(configure, plugins, ensembler):
    report = run(configure(ensembler=ensembler, calibration="{method: split}"), plugins)
    assert report.exit_code == 3
    assert len(report.served) == 50


def test_what_failed_is_tried_again(configure, plugins, monkeypatch):
    forecast = FickleForecaster.forecast

    def moody(self, windows, levels):
        if any(window.symbol == "S05" for window in windows):
            raise ValueError("S05 is in a mood")
        return forecast(self, windows, levels)

    with monkeypatch.context() as mood:
        mood.setattr(FickleForecaster, "forecast", moody)
        assert run(configure(**BATCH), plugins).exit_code == 3
    Fickle.batches.clear()
    report = run(configure(**BATCH), plugins, resume=True)
    assert report.exit_code == 0
    assert Fickle.batches == [1]
    assert len(report.resumed) == 49


def test_other_inputs_are_other_work(configure, plugins, altering):
    """A symbol whose bars were revised since is forecast anew, and the others are not."""
    run(configure(**BATCH), plugins)
    altering(lambda symbol, bars, reads: closing_higher(bars, 1e-6 * (symbol == "S07")))
    Fickle.batches.clear()
    report = run(configure(**BATCH), plugins, resume=True)
    assert Fickle.batches == [1]
    assert set(report.served) - set(report.resumed) == {"S07"}


def test_too_few_left_end_it_before_more_is_done(configure, plugins, tmp_path):
    failing = ", ".join(SYMBOLS[7:40])
    with pytest.raises(DataError, match=r"22 of 50 symbols could be forecast.*what was stored stays"):
        run(configure(forecasters=f"[{{type: fickle, failing: [{failing}]}}]", **BATCH), plugins)
    assert {row["symbol"] for row in stored(tmp_path)} == set(SYMBOLS[:7])
    assert [row["state"] for row in runs(tmp_path)] == ["failed"]


def test_bars_there_is_no_room_for_are_read_again(configure, plugins, tmp_path, monkeypatch):
    kept = run(configure(store=f"sqlite:///{tmp_path}/kept.db"), plugins)
    monkeypatch.setattr(survey, "MOST_KEPT", 1_000)
    Table.calls.clear()
    again = run(configure(**BATCH), plugins)
    assert sum(Table.calls) > 80
    for one, other in zip(kept.forecasts, again.forecasts, strict=True):
        assert (one.symbol, one.model) == (other.symbol, other.model)
        assert np.array_equal(one.quantiles, other.quantiles)


def test_bars_that_change_between_two_readings_fail_their_symbol(configure, plugins, monkeypatch, altering):
    monkeypatch.setattr(survey, "MOST_KEPT", 0)
    altering(lambda symbol, bars, reads: closing_higher(bars, symbol == "S03" and reads > 1))
    report = run(configure(), plugins)
    assert {f.reason for f in report.failures if f.symbol == "S03"} == {
        "its bars changed while the run was under way"
    }
    assert len(report.served) == 49


def test_rows_that_lack_what_the_store_knows_are_no_finished_work(configure, plugins, tmp_path, monkeypatch):
    """The store answers again by the time a batch is written, whose confidence it could not tell."""

    def away(self, *_):
        raise StoreError("the store is away")

    with monkeypatch.context() as absent:
        absent.setattr(Stored, "coverage", lambda self, model: {"crypto": (0.8, 100)})
        absent.setattr(Stored, "envelopes", away)
        report = run(configure(**BATCH), plugins)
    assert (report.exit_code, report.trouble, report.spooled_rows) == (6, "the store is away", 450)
    assert not stored(tmp_path)
    assert run(configure(**BATCH), plugins, resume=True).resumed == ()


def test_the_executor_changes_no_number(configure, plugins, tmp_path):
    here = run(configure(forecasters="[{type: random_walk}, {type: bootstrap, samples: 50}]"), plugins)
    there = run(
        configure(
            forecasters="[{type: random_walk}, {type: bootstrap, samples: 50}]",
            executor="{type: processes, workers: 2}",
            batch="4",
        ),
        plugins,
    )
    assert there.run_id == here.run_id
    assert there.stored == 0
    assert not there.failures


def test_a_signal_ends_what_is_under_way_in_other_processes_too(configure, plugins, tmp_path):
    def stop(stage, done, total):
        if stage == "random_walk":
            signal.raise_signal(signal.SIGTERM)
        if asked:
            raise Interrupted("a signal")

    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    config = configure(forecasters="[{type: random_walk}]", executor="{type: processes, workers: 2}", batch="3")
    try:
        with pytest.raises(Interrupted):
            run(config, plugins, progress=stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    written = {row["symbol"] for row in stored(tmp_path)}
    assert 0 < len(written) < 50
    assert written == set(SYMBOLS[: len(written)])
    assert run(config, plugins, resume=True).exit_code == 0
    assert {row["symbol"] for row in stored(tmp_path)} == set(SYMBOLS)


def test_a_member_that_hangs_over_a_symbol_loses_that_alone(configure, plugins):
    universe = "{S00: {asset_class: crypto}, S01: {asset_class: crypto}}"
    config = configure(
        universe=universe, forecasters="[{type: random_walk}, {type: fickle, hanging: [S01], timeout: 4}]"
    )
    report = run(config, plugins)
    assert [(f.symbol, f.model, f.reason) for f in report.failures] == [
        ("S01", "fickle", "it took longer than the 4 seconds it may")
    ]
    assert [f.symbol for f in report.forecasts if f.model == "ensemble"] == ["S00", "S01"]
    assert report.lost > 0

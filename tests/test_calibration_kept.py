"""What the calibration keeps between runs: the same as learned from all that was scored, late scores included."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from kronosfw.calibration import build_calibrator
from kronosfw.pipeline import run
from kronosfw.scoring import score
from kronosfw.store import Store

FIRST = datetime(2023, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 12


@pytest.fixture
def calibrated(configure):
    """Return what makes a configuration that calibrates, with a store of its own."""

    def make(store, feed="{type: table}", **changes):
        return configure(
            universe="{S00: {asset_class: crypto}, S01: {asset_class: equity, calendar: 24/7}}",
            forecasters="[{type: fickle}]",
            ensembler="null",
            feed=feed,
            calibration="{trust: 5, rate: 0.1}",
            checks="{max_stale: 30}",
            horizon_buckets="[1]",
            store=f"sqlite:///{store}.db",
            **changes,
        )

    return make


LATE = "{type: table, late: {S01: 78}}"
"""Of S01 no bar is there after the third of May."""


def live(config, plugins, days, *, scoring=True, before=lambda: None):
    """Score and run day after day, as by cron."""
    for day in days:
        at = FIRST + day * DAY
        if scoring:
            before()
            score(config, as_of=at, progress=lambda *_: None)
        before()
        assert run(config, plugins, as_of=at).exit_code == 0


def predictions(config, **equal):
    """Return what was forecast, without when it was written."""
    with Store(config.store.get_secret_value()) as store:
        rows = store.predictions(**equal)
    return [{name: value for name, value in row.items() if name not in ("created_at", "run_id")} for row in rows]


def forget(config):
    """Delete all that was kept."""
    with Store(config.store.get_secret_value()) as store:
        store.forget(build_calibrator(config.raw_name, config).key)


def calibrations(config, at):
    return [r["event_context"] for r in predictions(config, as_of=at, model_name="fickle_calibrated")]


def test_what_is_kept_equals_what_is_learned_anew_each_time(calibrated, plugins):
    kept, anew = calibrated("kept"), calibrated("anew")
    live(kept, plugins, range(DAYS))
    live(anew, plugins, range(DAYS), before=lambda: forget(anew))
    assert predictions(kept) == predictions(anew)
    moved = [row["event_context"]["calibration"] for row in predictions(kept, model_name="fickle_calibrated")]
    assert max(m["n"] for m in moved) > 10
    assert len({m["high"] for m in moved}) > 10, "something was calibrated"


def test_scoring_advances_it(calibrated, plugins):
    config = calibrated("kept")
    live(config, plugins, range(4))
    calibrator = build_calibrator(config.raw_name, config)
    until = []
    for day in (4, 6):
        score(config, as_of=FIRST + day * DAY, progress=lambda *_: None)
        with Store(config.store.get_secret_value()) as store:
            until.append(store.learned(calibrator.name, "1d", calibrator.key, FIRST + 99 * DAY)[0])
    assert until == [FIRST + 4 * DAY, FIRST + 6 * DAY]


def test_what_is_damaged_is_told_of_and_learned_anew(calibrated, plugins, caplog):
    sound, damaged = calibrated("sound"), calibrated("damaged")
    for config in (sound, damaged):
        live(config, plugins, range(6))
    with closing(sqlite3.connect(damaged.store.get_secret_value().removeprefix("sqlite:///"))) as db, db:
        db.execute("update states set content = replace(content, '0.', '1.')")
    for config in (sound, damaged):
        live(config, plugins, range(6, 8))
    assert predictions(sound) == predictions(damaged)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith("fickle_calibrated is learned anew: ")
    assert warning.endswith("2023-05-06 00:00 UTC is damaged")


def test_an_earlier_moment_knows_only_what_had_come(calibrated, plugins):
    """With a state of later days in the store a run as of a day is what it was on that day."""
    config = calibrated("kept")
    live(config, plugins, range(DAYS))
    before = predictions(config)
    live(config, plugins, reversed(range(DAYS)), scoring=False)
    assert predictions(config) == before


@pytest.mark.parametrize("caught_up", [8, 5], ids=["in time", "as of an earlier day"])
def test_scores_that_come_late_are_learned_from(calibrated, plugins, caught_up):
    """Bars of a symbol are missing for some days; once they are there, all is as if nothing had been kept."""
    kept, anew = calibrated("kept", LATE), calibrated("anew", LATE)
    for config in (kept, anew):
        live(config, plugins, range(9))
    kept, anew = calibrated("kept"), calibrated("anew")
    for config in (kept, anew):
        score(config, as_of=FIRST + caught_up * DAY, progress=lambda *_: None)
    forget(anew)
    for at in (FIRST + 8.5 * DAY, FIRST + 7 * DAY):
        for config in (kept, anew):
            run(config, plugins, as_of=at)
        assert calibrations(kept, at) == calibrations(anew, at)
    with Store(kept.store.get_secret_value()) as store:
        scored = store.past(FIRST + 7 * DAY, models=["fickle"])
    mine = scored[scored["symbol"] == "S01"]
    assert mine["realised_at"].max() == min(caught_up, 7) * DAY + FIRST, "some came late"
    n = {c["calibration"]["n"] for c in calibrations(kept, FIRST + 7 * DAY)}
    assert (mine["step"] == 1).sum() in n, "and they count"


def test_a_forecast_that_was_replaced_counts_once(calibrated, plugins):
    """Its first score goes with it, and so does what was learned from that."""
    kept, anew = calibrated("kept", LATE), calibrated("anew", LATE)
    for config in (kept, anew):
        live(config, plugins, range(6))
    kept, anew = calibrated("kept"), calibrated("anew")
    for config in (kept, anew):
        live(config, plugins, [6])
        assert run(config, plugins, as_of=FIRST + 4 * DAY).stored, "it was from an old close"
        live(config, plugins, [7])
    forget(anew)
    at = FIRST + 8 * DAY
    for config in (kept, anew):
        run(config, plugins, as_of=at)
    assert calibrations(kept, at) == calibrations(anew, at)

"""Members that part company: found once, told to people, and noted so that a retraining becomes due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from kronosfw.builtin.policies import Rolling
from kronosfw.checkpoints import Shelf, holding, layout
from kronosfw.config import Drift
from kronosfw.drift import departures
from kronosfw.files import locked
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig
from kronosfw.pipeline import run
from kronosfw.report import run_as_json
from kronosfw.types import Entry

FIRST = datetime(2023, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WIDTH = 2.56
"""With envelopes this wide, z of two members is the distance of their medians over √2."""


def told(*members, symbol="S00", width=WIDTH, first=FIRST):
    """Return the envelopes of members as the store has them, from the medians of days in a row; None for none."""
    rows = [
        (symbol, first + day * DAY, f"m{n}", p50 - width / 2, p50, p50 + width / 2, 100.0)
        for n, medians in enumerate(members)
        for day, p50 in enumerate(medians)
        if p50 is not None
    ]
    return pd.DataFrame(rows, columns=["symbol", "as_of", "model_name", "p10", "p50", "p90", "last_close"])


def found(frame, **options):
    return [(d.symbol, d.members, d.z) for d in departures(frame, Drift(**options))]


def level(n):
    return [100.0] * n


def away(z, near=5, far=3):
    """Return medians near those of `level`, and then z away from them."""
    return level(near) + [100.0 + z * np.sqrt(2)] * far


def test_with_few_runs_z_is_taken_as_it_is():
    ((symbol, members, z),) = found(told(level(8), away(-3.5)))
    assert (symbol, members) == ("S00", ("m0", "m1"))
    assert z == pytest.approx([3.5] * 3)
    assert not found(told(level(8), away(2.9)))
    assert found(told(level(8), away(2.9)), threshold=2.8)
    assert not found(told(level(8), away(3.5)), runs=4)
    assert found(told(level(9), away(3.5, far=4)), runs=4)


def test_z_is_held_against_what_is_usual():
    """Members that always lie apart have not parted; those that always agreed have at a small distance."""
    rng = np.random.default_rng(1)
    usual = 100 + np.sqrt(2) * (5 + 0.1 * rng.standard_normal(40))
    assert not found(told(level(40), usual))
    usual[-3:] = 100 + np.sqrt(2) * 5.6
    ((_, _, z),) = found(told(level(40), usual))
    before = (100 - usual[:-4]) / np.sqrt(2)
    assert z == pytest.approx([(-5.6 - before.mean()) / before.std()] * 3)
    assert min(z) < -5
    assert not found(told(level(40), usual), history=0), "z as it is was as large before"


def test_only_so_much_history_tells_what_is_usual():
    rng = np.random.default_rng(2)
    apart = np.concatenate([9 * rng.standard_normal(40), 0.1 * rng.standard_normal(30), [2.0] * 3])
    frame = told(level(73), 100 + np.sqrt(2) * apart)
    assert found(frame, history=25)
    assert not found(frame)


def test_it_is_told_at_the_last_of_the_runs_in_a_row_and_not_again():
    medians = away(9, near=5, far=8)
    days = [day for day in range(1, 14) if found(told(level(day), medians[:day]))]
    assert days == [8]
    again = [*medians, *away(9, near=1, far=3)]
    days = [day for day in range(14, len(again) + 1) if found(told(level(day), again[:day]))]
    assert days == [len(again)], "once they were together again"


def test_a_run_that_does_not_count_begins_anew():
    medians = [*level(5), 120.0, 120.0, 100.0, 120.0, 120.0, 120.0]
    assert [day for day in range(1, 12) if found(told(level(day), medians[:day]))] == [11]


def test_only_cutoffs_that_both_have_count():
    lone = [None] * 8 + away(9)
    assert not found(told(away(9), lone)), "none in common"
    gaps = [*level(3), None, None, *level(2), None, 109.0, 109.0, 109.0]
    assert found(told(level(11), gaps))
    assert not found(told(level(12), gaps)), "at the last run there is but one"


def test_envelopes_without_width_tell_nothing():
    assert not found(told(level(8), away(9), width=0.0))
    mixed = pd.concat([told(level(5), level(5), width=0.0), told(level(4), away(9, near=1), first=FIRST + 5 * DAY)])
    assert found(mixed)


def test_equal_but_for_rounding_is_equal():
    """Distances that differ in the last digit only are no spread to measure by."""
    prices = np.concatenate([np.linspace(100, 101, 30), [1e6] * 3])
    assert not found(told(prices, prices + 0.1, width=1.1))


def test_pairs_are_looked_at_one_by_one_in_whatever_order_they_come():
    frame = pd.concat([told(level(8), away(9), level(8)), told(level(8), level(8), symbol="S01")])
    pairs = [(s, m) for s, m, _ in found(frame)]
    assert pairs == [("S00", ("m0", "m1")), ("S00", ("m1", "m2"))]
    assert found(frame.sample(frac=1, random_state=1)) == found(frame)


class Leaving(ForecasterConfig):
    """Says the last close until a day, and leaves from then on."""

    type: Literal["leaving"] = "leaving"
    since: datetime = Field(description="When it leaves.")
    only: str = Field("", description="The one symbol that it does so for; all unless given.")

    def build(self):
        return LeavingForecaster(self)


class LeavingForecaster:
    max_context = None

    def __init__(self, options):
        self.options = options

    def forecast(self, windows, levels):
        since = np.datetime64(self.options.since.replace(tzinfo=None))
        return [
            w.forecast(levels, np.tile(w.bars.close[-1] * (1 + 9 * left) + np.array(levels), (w.horizon, 1)))
            for w in windows
            for left in [w.cutoff >= since and self.options.only in ("", w.symbol)]
        ]


@pytest.fixture
def parting(configure, plugins):
    """Return what makes a configuration with a member that leaves its fellow on a fourth of May."""

    class Member:
        @hookimpl
        def register_forecasters(self):
            return [Leaving]

    plugins.add("leaving", Member())

    def make(only="", **changes):
        sections = {
            "universe": "{S00: {asset_class: crypto}, S01: {asset_class: equity, calendar: 24/7}}",
            "forecasters": f"[{{type: random_walk}}, {{type: leaving, since: 2023-05-04T00:00Z, only: '{only}'}}]",
            "alerts": "[{type: log}]",
            "checkpoints": "{type: rolling}",
            "checkpoint_root": "checkpoints",
            "horizon": "2",
            **changes,
        }
        return configure(**sections)

    return make


def runs(config, plugins, days=8, first=FIRST):
    """Run as of days in a row and return by day what has parted."""
    reports = [run(config, plugins, as_of=first + day * DAY) for day in range(days)]
    assert all(report.exit_code == 0 for report in reports)
    return [[(d.symbol, d.members) for d in report.drifts] for report in reports]


def drifted(config, asset_class):
    return [entry for entry in Shelf(config.checkpoint_root, asset_class).history() if entry.event == "drifted"]


def test_those_who_want_to_know_are_told_and_a_retraining_is_due(parting, plugins, heard, caplog):
    config = parting()
    by_day = runs(config, plugins)
    pair = ("leaving", "random_walk")
    assert by_day == [[]] * 5 + [[("S00", pair), ("S01", pair)]] + [[]] * 2
    at = FIRST + 5 * DAY
    assert heard.kinds == [("drifted", "crypto"), ("drifted", "equity")]
    assert [alert.at for alert in heard.alerts] == [at, at]
    assert heard.alerts[0].text.startswith("leaving and random_walk have parted on S00: z +")
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("kronosfw.builtin.notifiers")]
    assert [line.partition(":")[2].split()[0:2] for line in logged] == [
        ["crypto", "drifted:"],
        ["equity", "drifted:"],
    ]
    for name, alert in zip(("crypto", "equity"), heard.alerts, strict=True):
        (entry,) = drifted(config, name)
        assert (entry.at, entry.reason) == (at, alert.text)
        policy = Rolling(cadence={"every": "monthly", "day": 1}).build()
        assert policy.due(Shelf(config.checkpoint_root, name).history(), at + timedelta(hours=1)) == at
    assert drifted(config, None) == []


def test_running_again_tells_nothing_again(parting, plugins, heard):
    config = parting()
    runs(config, plugins, days=6)
    told_of = len(heard.alerts)
    assert runs(config, plugins, days=1, first=FIRST + 5 * DAY) == [[]]
    assert len(heard.alerts) == told_of == 2


def test_a_run_of_further_symbols_tells_of_those_alone(parting, plugins, heard):
    config = parting()
    runs(config, plugins, days=5)
    at = FIRST + 5 * DAY
    one = run(config, plugins, as_of=at, symbols=["S00"])
    both = run(config, plugins, as_of=at)
    assert both.stored
    assert [[d.symbol for d in report.drifts] for report in (one, both)] == [["S00"], ["S01"]]
    assert heard.kinds == [("drifted", "crypto"), ("drifted", "equity")]


def test_only_the_class_that_it_concerns_is_noted(parting, plugins, heard):
    config = parting(only="S01")
    runs(config, plugins, days=6)
    assert heard.kinds == [("drifted", "equity")]
    assert len(drifted(config, "equity")) == 1
    assert not (config.checkpoint_root / "rolling" / "crypto").exists()


def test_a_run_as_of_an_earlier_moment_tells_nothing(parting, plugins, heard):
    config = parting()
    run(config, plugins, as_of=FIRST + 30 * DAY)
    assert runs(config, plugins) == [[]] * 8
    assert heard.alerts == []


@pytest.mark.parametrize("wanted", ["alerts", "checkpoints"])
def test_either_is_enough_and_without_both_nothing_is_looked_at(parting, plugins, heard, wanted):
    neither = {"alerts": "[]", "checkpoints": "null", "checkpoint_root": "null"}
    config = parting(**neither)
    assert runs(config, plugins) == [[]] * 8
    assert heard.alerts == []
    kept = {"alerts"} if wanted == "alerts" else {"checkpoints", "checkpoint_root"}
    config = parting(store="sqlite:///other.db", **{k: v for k, v in neither.items() if k not in kept})
    assert any(runs(config, plugins))
    assert [a.kind for a in heard.alerts] == ["drifted"] * 2


def test_symbols_of_others_in_the_same_store_are_left_alone(parting, plugins, heard):
    config = parting()
    runs(config, plugins, days=5)
    at = FIRST + 5 * DAY
    run(config, plugins, as_of=at, symbols=["S01"])
    fewer = parting(universe="{S00: {asset_class: crypto}, S02: {asset_class: crypto}}")
    report = run(fewer, plugins, as_of=at)
    assert report.exit_code == 0
    assert [d.symbol for d in report.drifts] == ["S00"]


def test_a_lock_that_is_held_harms_no_run(parting, plugins, heard, caplog, monkeypatch):
    config = parting()
    runs(config, plugins, days=5)
    shelf = Shelf(config.checkpoint_root, "crypto")
    shelf.note(Entry(FIRST, "failed", reason="so that there is a folder"))
    monkeypatch.setattr(holding, "_PATIENCE", 0.1)
    with locked(shelf.folder / layout.LOCK):
        report = run(config, plugins, as_of=FIRST + 5 * DAY)
    assert report.exit_code == 0
    assert report.stored
    assert len(report.drifts) == 2
    assert "the drift of crypto could not be noted: another process has been changing" in caplog.text
    assert (len(drifted(config, "crypto")), len(drifted(config, "equity"))) == (0, 1)
    assert heard.kinds == [("drifted", "crypto"), ("drifted", "equity")]


def test_a_folder_that_cannot_be_written_harms_no_run(parting, plugins, heard, caplog):
    config = parting()
    runs(config, plugins, days=5)
    config.checkpoint_root.mkdir(exist_ok=True)
    (config.checkpoint_root / "rolling").write_text("no folder")
    report = run(config, plugins, as_of=FIRST + 5 * DAY)
    assert report.exit_code == 0
    assert len([r for r in caplog.records if "could not be noted" in r.getMessage()]) == 2
    assert len(heard.alerts) == 2


def test_what_a_program_sees(parting, plugins):
    config = parting(only="S00")
    runs(config, plugins, days=5)
    plain = run_as_json(run(config, plugins, as_of=FIRST + 5 * DAY))
    (told_of,) = plain["drifts"]
    assert (told_of["symbol"], list(told_of["members"])) == ("S00", ["leaving", "random_walk"])
    assert len(told_of["z"]) == 3

"""Three years of retraining by the calendar, with nobody at hand."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from kronosfw.checkpoints import Shelf, discover, verify
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.retraining import retrain
from kronosfw.training import train
from tests import volatility

CLASSES = "crypto", "forex", "equity"
BEGIN, END = datetime(2022, 1, 1, 6, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
CONFIG = """
feed:
  type: weather
  wild_from: 2023-02-01
  poisoned: [EQUITY0, EQUITY1]
  poisoned_from: 2023-12-10
  poisoned_until: 2023-12-25
  poisoned_age: 0
universe:
  {universe}
horizon: 2
context: 30
checks: {{min_history: 30}}
forecasters: [{{type: width}}]
trainer: {{type: fit, spoiled: {{equity: 2023-08-01}}}}
training: {{validate_from: 2021-10-01, until: 2021-11-01}}
retraining: {{days: 365, validate_days: 30, judge_days: 45, stride: 1}}
checkpoints: {{type: rolling}}
checkpoint_root: checkpoints
store: sqlite:///kronosfw.db
"""


@pytest.fixture(scope="module")
def three_years(tmp_path_factory):
    """Poll every fifth day from 2022 to 2024; return configuration, plugins, and moment and report of each poll."""
    folder = tmp_path_factory.mktemp("three-years")
    universe = "\n  ".join(
        f"{name.upper()}{i}: {{asset_class: {name}, calendar: 24/7}}" for name in CLASSES for i in range(2)
    )
    (folder / "kronosfw.yaml").write_text(CONFIG.format(universe=universe))
    plugins = Plugins.installed()
    assert not plugins.add("volatility", volatility).problem
    config, plugins = load(folder / "kronosfw.yaml", plugins)
    train(config, plugins)
    now, polls = BEGIN, []
    while now < END:
        polls.append((now, retrain(config, plugins, if_due=True, now=now)))
        now += timedelta(days=5)
    return config, plugins, polls


def history(three_years, name, *events):
    config, _, _ = three_years
    return [e for e in Shelf(config.checkpoint_root, name).history() if e.event in events]


def outcomes(three_years, name):
    """Return moment and outcome of each poll of a class."""
    for now, report in three_years[2]:
        for outcome in report.classes:
            if outcome.asset_class == name:
                yield now, outcome


@pytest.mark.parametrize("name", CLASSES)
def test_it_retrains_on_the_right_days(three_years, name):
    """At the first poll after each slot: monthly, or quarterly once three retrainings in a row gained little."""
    config, _, _ = three_years
    pace, small, months = 1, [], []
    for e in Shelf(config.checkpoint_root, name).history():
        if e.event == "rolled_back":
            pace, small = 1, []
        if not e.retrained:
            continue
        assert (e.slot.day, e.slot.hour) == (1, 0)
        assert timedelta(0) <= e.at - e.slot < timedelta(days=5)
        month = 12 * (e.slot.year - 2022) + e.slot.month - 1
        due = months[-1] + 1 if months else 0
        assert month == due + (-due) % pace
        months.append(month)
        small.append(e.event != "promoted" or e.numbers["crps_gain"] < 0.01)
        pace = 3 if len(small) >= 3 and all(small[-3:]) else 1
    gaps = [later - month for month, later in itertools.pairwise(months)]
    assert gaps[:6] == [1, 1, 1, 3, 3, 3], "nothing is to be learned of a market that does not change"
    changes = [pace for pace, _ in itertools.groupby(gaps)]
    assert changes[:4] == [1, 3, 1, 3], "quarterly, monthly again when the market has changed, and quarterly again"


@pytest.mark.parametrize("name", CLASSES)
def test_retention_holds(three_years, name):
    config, _, _ = three_years
    made = [e.version for e in history(three_years, name, "promoted", "kept", "rejected")]
    deleted = [v for _, outcome in outcomes(three_years, name) for v in outcome.deleted]
    left = {c.version: c for c in discover(config.checkpoint_root) if c.asset_class == name}
    ready = [v for v in (e.version for e in history(three_years, name, "promoted")) if v in left]
    assert sorted([*deleted, *left]) == sorted(made)
    assert set(made[-6:]) <= set(left)
    assert len(left) <= 6 + len(ready) <= 12
    serving = [outcome.serves for _, outcome in outcomes(three_years, name)]
    for (_, outcome), serves in zip(outcomes(three_years, name), serving, strict=True):
        assert serves.split("/")[1] not in outcome.deleted
    assert [c for c in discover(config.checkpoint_root) if c.asset_class is None], "the base is never deleted"


def test_the_poisoned_month_is_rejected(three_years):
    rejected = history(three_years, "equity", "rejected")
    assert datetime(2024, 2, 1, tzinfo=UTC) in [e.slot for e in rejected]
    (poll,) = [o for _, o in outcomes(three_years, "equity") if o.slot == rejected[0].slot]
    assert any(c.name == "crps" and not c.passed and c.value > 0.1 for c in poll.verdict.checks)
    before = [e.version for e in history(three_years, "equity", "promoted") if e.slot < rejected[0].slot][-1]
    assert poll.serves == f"equity/{before}"
    for name in ("crypto", "forex"):
        assert rejected[0].slot not in [e.slot for e in history(three_years, name, "rejected")]


def test_the_promotion_that_went_bad_is_rolled_back(three_years):
    (rollback,) = history(three_years, "equity", "rolled_back")
    promotions = {e.slot: e for e in history(three_years, "equity", "promoted")}
    good, bad = (promotions[datetime(2023, month, 1, tzinfo=UTC)] for month in (7, 8))
    assert bad.at < rollback.at < datetime(2023, 9, 1, tzinfo=UTC)
    assert rollback.version == good.version
    (poll,) = [o for _, o in outcomes(three_years, "equity") if o.rolled_back]
    assert poll.serves == f"equity/{good.version}"
    for name in ("crypto", "forex"):
        assert history(three_years, name, "rolled_back") == []


def test_nothing_failed_and_everything_is_sound(three_years):
    config, plugins, polls = three_years
    assert {outcome.ending for _, report in polls for outcome in report.classes} == {
        "not due",
        "promoted",
        "kept",
        "rejected",
    }
    assert {report.exit_code for _, report in polls} == {0, 4}
    for checkpoint in discover(config.checkpoint_root):
        verify(checkpoint.path)
    served = run(config, plugins, as_of=END - timedelta(days=1))
    assert served.exit_code == 0
    for name in CLASSES:
        active = Shelf(config.checkpoint_root, name).active
        assert served.versions["width"][name].endswith(f"@{name}/{active.version}")

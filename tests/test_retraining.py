"""Retraining, class by class: what is trained, judged and promoted, and what becomes of the rest."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from kronosfw.checkpoints import Shelf, verify
from kronosfw.errors import ConfigError, Interrupted
from kronosfw.pipeline import run
from kronosfw.report_retraining import print_retraining, retraining_as_json
from kronosfw.retraining import retrain
from kronosfw.training import train
from tests import volatility
from tests.volatility import CALM, NOW, POISONED, SLOT, WILDER


def events(config, name):
    return [(e.event, e.slot) for e in Shelf(config.checkpoint_root, name).history()]


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_each_class_gets_what_the_guard_admits(retrainable, plugins, heard):
    config = retrainable(trainer="{type: fit}", checkpoints="{type: rolling, guard: {shrinkage: none}}")
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [(o.asset_class, o.ending, o.slot) for o in report.classes] == [
        ("crypto", "promoted", SLOT),
        ("equity", "promoted", SLOT),
    ]
    assert report.exit_code == 0
    for outcome in report.classes:
        shelf = Shelf(config.checkpoint_root, outcome.asset_class)
        assert shelf.active.version == outcome.version
        assert outcome.version.startswith("2022-01-01-0001-")
        assert outcome.serves == f"{outcome.asset_class}/{outcome.version}"
        folder = shelf.versions / outcome.version
        verify(folder)
        told = json.loads((folder / "manifest.json").read_text())
        assert told["train"]["until"] <= "2021-11-17T00:00:00.000000Z", (
            "what is judged lies after all that was learned"
        )
        assert told["train"]["from"] >= "2021-01-01"
        assert told["parent"], "it goes on from the base"
        verdict = json.loads((folder / "verdict.json").read_text())
        assert verdict["accepted"]
        assert {"crps", "coverage", "mae_incumbent", "mae_base"} <= {c["name"] for c in verdict["checks"]}
        assert "CRPS" in (folder / "verdict.md").read_text()
    assert heard.kinds == [("promoted", "crypto"), ("promoted", "equity")]
    served = run(config, plugins, as_of=NOW)
    assert served.versions["width"]["equity"].endswith(f"@equity/{report.classes[1].version}")
    again = retrain(config, plugins, if_due=True, now=NOW + timedelta(hours=1))
    assert [o.ending for o in again.classes] == ["not due", "not due"]


def test_the_data_end_at_the_slot_however_late_it_runs(retrainable, plugins):
    config = retrainable()
    late = retrain(config, plugins, if_due=True, now=NOW + timedelta(days=20))
    assert [o.slot for o in late.classes] == [SLOT, SLOT]
    first = files(config.checkpoint_root / "rolling" / "crypto" / "versions" / late.classes[0].version)
    other = retrainable(base=False).model_copy(update={"checkpoint_root": config.checkpoint_root.parent / "other"})
    train(other, plugins)
    early = retrain(other, plugins, if_due=True, now=NOW)
    second = files(other.checkpoint_root / "rolling" / "crypto" / "versions" / early.classes[0].version)
    assert early.classes[0].version == late.classes[0].version
    assert first == second


def test_without_if_due_the_data_end_now(retrainable, plugins):
    config = retrainable()
    report = retrain(config, plugins, classes=["equity"], now=NOW)
    assert [(o.asset_class, o.slot) for o in report.classes] == [("equity", NOW)]
    later = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in later.classes] == ["promoted", "not due"]


def test_a_class_that_fails_does_not_stop_the_others(retrainable, plugins, heard):
    config = retrainable()
    broken = retrainable(feed=WILDER.replace("}", ", fails: [C0, C1]}"), base=False)
    report = retrain(broken, plugins, if_due=True, now=NOW)
    assert [(o.asset_class, o.ending) for o in report.classes] == [("crypto", "failed"), ("equity", "promoted")]
    assert "the source is down" in report.classes[0].reason
    assert report.exit_code == 3
    assert events(config, "crypto") == [("failed", SLOT)]
    assert ("failed", "crypto") in heard.kinds
    mended = retrain(config, plugins, if_due=True, now=NOW + timedelta(days=1))
    assert [(o.ending, o.slot) for o in mended.classes] == [("promoted", SLOT), ("not due", None)]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("raise", "on fire"), ("nan", "not finite"), ("pickle", "weights.pkl")],
)
def test_what_a_trainer_does_wrong_leaves_what_serves(retrainable, plugins, fault, said):
    config = retrainable()
    before = files(config.checkpoint_root / "base")
    faulty = retrainable(
        trainer=f"{{type: fit, fault: {fault}}}",
        checkpoints="{type: rolling, guard: {shrinkage: none}}",
        base=False,
    )
    report = retrain(faulty, plugins, if_due=True, now=NOW)
    assert {o.ending for o in report.classes} <= {"failed", "rejected"}
    assert all(said in f"{o.reason} {o.verdict}" for o in report.classes)
    assert report.exit_code in (3, 4)
    assert files(config.checkpoint_root / "base") == before
    assert all(Shelf(config.checkpoint_root, o.asset_class).active is None for o in report.classes)
    served = run(config, plugins, as_of=NOW)
    assert "@base/" in served.versions["width"]["crypto"]


def test_a_worse_candidate_is_rejected_and_kept_for_study(retrainable, plugins, heard):
    config = retrainable(feed=POISONED)
    report = retrain(config, plugins, if_due=True, now=NOW)
    crypto, equity = report.classes
    assert (crypto.ending, equity.ending, report.exit_code) == ("promoted", "rejected", 4)
    shelf = Shelf(config.checkpoint_root, "equity")
    assert shelf.active is None
    (kept,) = shelf.checkpoints()
    assert (kept.version, kept.state) == (equity.version, "rejected")
    assert any(not check.passed and "CRPS" in check.text for check in equity.verdict.checks)
    assert heard.kinds == [("promoted", "crypto"), ("rejected", "equity")]
    assert "@base/" in run(config, plugins, as_of=NOW).versions["width"]["equity"]
    assert [o.ending for o in retrain(config, plugins, if_due=True, now=NOW).classes] == ["not due"] * 2


def test_a_person_may_overrule_the_scores(retrainable, plugins):
    config = retrainable(feed=POISONED)
    report = retrain(config, plugins, classes=["equity"], if_due=True, force=True, now=NOW)
    (outcome,) = report.classes
    assert outcome.ending == "promoted"
    assert outcome.reason.startswith("promoted by force: CRPS")
    assert Shelf(config.checkpoint_root, "equity").active.version == outcome.version


def test_force_does_not_overrule_a_fault(retrainable, plugins):
    faulty = retrainable(
        trainer="{type: fit, fault: nan}", checkpoints="{type: rolling, guard: {shrinkage: none}}", base=False
    )
    report = retrain(faulty, plugins, classes=["equity"], if_due=True, force=True, now=NOW)
    assert report.classes[0].ending == "rejected"


def test_where_nothing_is_learned_what_serves_is_kept(retrainable, plugins, heard):
    config = retrainable(feed=CALM)
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [(o.ending, o.serves.split("/")[0]) for o in report.classes] == [("kept", "base")] * 2
    assert report.exit_code == 0
    assert heard.alerts == []
    assert events(config, "crypto") == [("kept", SLOT)]
    assert [c.state for c in Shelf(config.checkpoint_root, "crypto").checkpoints()] == ["rejected"]
    assert [o.ending for o in retrain(config, plugins, if_due=True, now=NOW).classes] == ["not due"] * 2


def test_a_dry_run_changes_nothing(retrainable, plugins, heard):
    config = retrainable()
    before = files(config.checkpoint_root)
    report = retrain(config, plugins, if_due=True, dry_run=True, now=NOW)
    assert [(o.ending, o.slot) for o in report.classes] == [("due", SLOT), ("due", SLOT)]
    assert "2021-01-01 to 2021-11-17" in report.classes[0].reason
    assert files(config.checkpoint_root) == before
    assert heard.alerts == []


def test_a_promotion_that_does_harm_is_rolled_back(retrainable, plugins, heard):
    spoiled = "{type: fit, spoiled: {equity: 2022-01-01}}"
    config = retrainable(trainer=spoiled, checkpoints="{type: rolling, guard: {shrinkage: none}}")
    first = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in first.classes] == ["promoted", "promoted"]
    now, later = NOW, first
    while not any(o.rolled_back for o in later.classes):
        now += timedelta(days=2)
        assert now < NOW + timedelta(days=28), "harm that size shows within weeks"
        later = retrain(config, plugins, if_due=True, now=now)
    crypto, equity = later.classes
    assert not crypto.rolled_back
    assert later.exit_code == 4
    shelf = Shelf(config.checkpoint_root, "equity")
    assert shelf.active.version == ""
    assert shelf.checkpoints()[0].state == "rejected"
    assert equity.serves.startswith("base/")
    assert ("rolled_back", "equity") in heard.kinds
    assert "@base/" in run(config, plugins, as_of=now).versions["width"]["equity"]


def test_the_canary_forecasts_each_day_once(retrainable, plugins, monkeypatch):
    config = retrainable()
    retrain(config, plugins, if_due=True, now=NOW)
    seen = []
    forecast = volatility.WidthForecaster.forecast

    def counted(self, windows, levels):
        seen.extend((w.symbol, w.cutoff) for w in windows)
        return forecast(self, windows, levels)

    monkeypatch.setattr(volatility.WidthForecaster, "forecast", counted)
    for days in (4, 8, 8, 12):
        retrain(config, plugins, classes=["equity"], if_due=True, now=NOW + timedelta(days=days))
    assert len(seen) > 10
    assert all(seen.count(one) == 2 for one in seen), "once for each of two arms"


def test_what_was_damaged_is_told_and_does_not_serve(retrainable, plugins, heard):
    config = retrainable(checkpoints="{type: rolling, guard: {shrinkage: none}}")
    retrain(config, plugins, if_due=True, now=NOW)
    later = datetime(2022, 2, 1, 6, tzinfo=UTC)
    (second, _) = retrain(config, plugins, if_due=True, now=later).classes
    shelf = Shelf(config.checkpoint_root, "crypto")
    assert shelf.active.version == second.version
    file = shelf.versions / second.version / "volatility.json"
    file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))
    served = run(config, plugins, as_of=later)
    assert served.exit_code == 3
    assert second.version not in served.versions["width"]["crypto"]
    report = retrain(config, plugins, if_due=True, now=later + timedelta(days=1))
    assert any("volatility.json" in text for text in report.classes[0].trouble)
    assert ("damaged", "crypto") in heard.kinds
    assert report.exit_code == 3


def test_another_retraining_under_way(retrainable, plugins):
    config = retrainable()
    with Shelf(config.checkpoint_root, "crypto").retraining():
        pid = os.fork()
        if pid == 0:
            report = retrain(config, plugins, if_due=True, now=NOW)
            os._exit(report.exit_code if [o.ending for o in report.classes] == ["busy", "promoted"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    assert Shelf(config.checkpoint_root, "crypto").active is None


def test_activating_another_while_it_trains_is_not_undone(retrainable, plugins, monkeypatch):
    config = retrainable()
    retrain(config, plugins, classes=["equity"], if_due=True, now=NOW)
    shelf = Shelf(config.checkpoint_root, "equity")
    fit = volatility.Fitter.train

    def meanwhile(self, *args):
        shelf.rollback(at=NOW, reason="by hand")
        yield from fit(self, *args)

    monkeypatch.setattr(volatility.Fitter, "train", meanwhile)
    (outcome,) = retrain(
        config, plugins, classes=["equity"], if_due=True, now=datetime(2022, 2, 1, 6, tzinfo=UTC)
    ).classes
    assert outcome.ending == "failed"
    assert "meanwhile" in outcome.reason
    assert shelf.active.version == ""


def test_a_signal_stops_it_and_the_next_run_goes_on(retrainable, plugins):
    config = retrainable()

    def stop(stage, done, total):
        if stage == "crypto: training" and done == 2:
            raise Interrupted("stopped on a signal")

    with pytest.raises(Interrupted, match="goes on"):
        retrain(config, plugins, if_due=True, now=NOW, progress=stop)
    assert [o.ending for o in retrain(config, plugins, if_due=True, now=NOW).classes] == ["promoted", "promoted"]


def test_a_base_that_knows_what_is_judged_is_told_of(retrainable, plugins):
    config = retrainable()
    known = config.model_copy(
        update={
            "training": config.training.model_copy(update={"until": SLOT.date()}),
            "checkpoint_root": config.checkpoint_root.parent / "known",
        }
    )
    train(known, plugins)
    report = retrain(known, plugins, classes=["crypto"], if_due=True, now=NOW)
    assert "unseen" in [check.name for check in report.classes[0].verdict.checks]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": None}, "trainer: {type: …}"),
        ({"checkpoints": None}, "checkpoints: {type: rolling}"),
        ({"checkpoint_root": None}, "checkpoint_root: checkpoints"),
        ({"forecasters": ()}, "name it in `forecasters`"),
    ],
)
def test_a_configuration_that_does_not_say_what_to_retrain(retrainable, plugins, changes, said):
    config = retrainable(base=False).model_copy(update=changes)
    with pytest.raises(ConfigError, match=said.replace("{", r"\{").replace("}", r"\}")):
        retrain(config, plugins, now=NOW)


def test_an_unknown_class(retrainable, plugins):
    with pytest.raises(ConfigError, match="did you mean 'crypto'"):
        retrain(retrainable(base=False), plugins, classes=["cripto"], now=NOW)


def test_what_a_person_and_a_program_see(retrainable, plugins):
    config = retrainable(feed=POISONED)
    report = retrain(config, plugins, if_due=True, now=NOW)
    console = Console(file=io.StringIO(), width=120)
    print_retraining(report, console)
    text = console.file.getvalue()
    assert "equity  rejected" in text
    assert "✗" in text
    assert "serves: base/" in text
    plain = json.loads(json.dumps(retraining_as_json(report), allow_nan=False))
    assert [c["ending"] for c in plain["classes"]] == ["promoted", "rejected"]
    assert plain["exit_code"] == 4
    assert plain["classes"][1]["verdict"]["accepted"] is False


def test_the_latest_policy_needs_no_guard(retrainable, plugins):
    config = retrainable(checkpoints="{type: latest}")
    first = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in first.classes] == ["promoted", "promoted"]
    assert retrain(config, plugins, if_due=True, now=NOW + timedelta(days=3)).classes[0].ending == "not due"
    assert retrain(config, plugins, if_due=True, now=NOW + timedelta(days=31)).classes[0].ending == "promoted"

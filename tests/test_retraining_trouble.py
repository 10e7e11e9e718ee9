"""Retraining where something is damaged, missing or done by somebody else at the same time."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from kronosfw.checkpoints import Shelf, read, read_verdict
from kronosfw.errors import Interrupted
from kronosfw.retraining import retrain, watching
from kronosfw.training import train
from tests import volatility
from tests.volatility import NOW, POISONED, SLOT, WILDER

PLAIN = "{type: rolling, guard: {shrinkage: none}}"
FEBRUARY = datetime(2022, 2, 1, 6, tzinfo=UTC)


@pytest.fixture
def promoted(retrainable, plugins):
    """Return a configuration with a promotion on trial in each class."""
    config = retrainable(checkpoints=PLAIN)
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in report.classes] == ["promoted", "promoted"]
    return config


def shelves(config):
    return [Shelf(config.checkpoint_root, name) for name in ("crypto", "equity")]


def later(config, plugins, days=5, **asked):
    return retrain(config, plugins, if_due=True, now=NOW + timedelta(days=days), **asked)


def test_scores_of_the_canary_that_are_damaged_are_gathered_anew(promoted, plugins):
    later(promoted, plugins)
    file = shelves(promoted)[0].folder / watching.WATCHED / watching.SCORES
    whole = pd.read_parquet(file)
    file.write_bytes(file.read_bytes()[:100])
    report = later(promoted, plugins)
    assert [o.ending for o in report.classes] == ["not due", "not due"]
    pd.testing.assert_frame_equal(pd.read_parquet(file), whole)


def test_damaged_weights_on_trial_are_told_of_and_do_not_keep_it_from_retraining(promoted, plugins, heard):
    crypto, _ = shelves(promoted)
    bad = crypto.versions / crypto.active.version / volatility.WEIGHTS
    bad.write_text(json.dumps({"volatility": 0.2, "sound_until": "9999-12-31"}))
    report = later(promoted, plugins, 10)
    assert report.classes[0].ending == "not due"
    assert any(volatility.WEIGHTS in text for text in report.classes[0].trouble)
    assert crypto.active.event == "promoted", "of damaged weights the scores tell nothing"
    assert ("damaged", "crypto") in heard.kinds
    retrained = retrain(promoted, plugins, if_due=True, now=FEBRUARY)
    assert [o.ending for o in retrained.classes] == ["promoted", "promoted"]


def test_a_damaged_predecessor_does_not_keep_it_from_retraining(promoted, plugins):
    retrain(promoted, plugins, if_due=True, now=FEBRUARY)
    crypto, _ = shelves(promoted)
    (crypto.versions / crypto.active.previous / volatility.WEIGHTS).write_text("{")
    watched = retrain(promoted, plugins, if_due=True, now=FEBRUARY + timedelta(days=5))
    assert watched.classes[0].ending == "not due"
    assert any("moved to" in text for text in watched.classes[0].trouble)
    following = retrain(promoted, plugins, if_due=True, now=datetime(2022, 3, 1, 6, tzinfo=UTC))
    assert following.classes[0].ending in ("promoted", "rejected")


def test_what_a_person_does_meanwhile_is_not_undone_by_the_canary(retrainable, plugins, monkeypatch):
    config = retrainable(trainer="{type: fit, spoiled: {equity: 2022-01-01}}", checkpoints=PLAIN)
    retrain(config, plugins, if_due=True, now=NOW)
    _, equity = shelves(config)
    watch = watching.watch

    def meanwhile(bench, policy, shelf, promotion, *others):
        verdict = watch(bench, policy, shelf, promotion, *others)
        if verdict is not None and shelf.name == "equity":
            shelf.rollback(at=NOW, reason="by hand")
        return verdict

    monkeypatch.setattr("kronosfw.retraining.round.watch", meanwhile)
    report = later(config, plugins, 27)
    assert any("meanwhile" in text for text in report.classes[1].trouble)
    assert [e.reason for e in equity.history() if e.event == "rolled_back"] == ["by hand"]


def test_a_rollback_keeps_what_it_was_admitted_by(retrainable, plugins):
    config = retrainable(trainer="{type: fit, spoiled: {equity: 2022-01-01}}", checkpoints=PLAIN)
    retrain(config, plugins, if_due=True, now=NOW)
    report = later(config, plugins, 27)
    _, equity = report.classes
    assert equity.rolled_back
    (checkpoint,) = Shelf(config.checkpoint_root, "equity").checkpoints()
    verdict, _ = read_verdict(checkpoint.path)
    assert not verdict.accepted
    assert {"harm", "crps", "coverage"} <= {check.name for check in verdict.checks}


def test_a_class_that_cannot_be_locked_does_not_stop_the_others(retrainable, plugins, tmp_path, heard):
    config = retrainable()
    (config.checkpoint_root / "rolling").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (config.checkpoint_root / "rolling" / "crypto").symlink_to(tmp_path / "elsewhere")
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in report.classes] == ["failed", "promoted"]
    assert "is a link" in report.classes[0].reason
    assert report.exit_code == 3
    assert ("failed", "crypto") in heard.kinds
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_class_whose_pointer_is_unreadable_does_not_stop_the_others(promoted, plugins):
    crypto, _ = shelves(promoted)
    (crypto.folder / "ACTIVE").write_text("?")
    (crypto.folder / "history.jsonl").unlink()
    report = retrain(promoted, plugins, if_due=True, now=FEBRUARY)
    assert [o.ending for o in report.classes] == ["failed", "promoted"]


def test_another_change_that_lasts_does_not_stop_the_others(retrainable, plugins, monkeypatch):
    config = retrainable()
    recover = Shelf.recover

    def held(self):
        if self.asset_class == "crypto":
            raise Interrupted("another process has been changing the checkpoints")
        return recover(self)

    monkeypatch.setattr(Shelf, "recover", held)
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in report.classes] == ["busy", "promoted"]
    assert report.exit_code == 75


def test_a_lost_pointer_of_the_base_is_restored(retrainable, plugins, heard):
    config = retrainable()
    (config.checkpoint_root / "base" / "ACTIVE").unlink()
    report = retrain(config, plugins, if_due=True, now=NOW)
    assert [o.ending for o in report.classes] == ["promoted", "promoted"]
    assert report.exit_code == 3
    assert "restored" in report.damaged[0]
    assert ("damaged", "base") in heard.kinds


def test_what_the_start_has_learned_is_not_forgotten(retrainable, plugins):
    config = retrainable(checkpoints=PLAIN)
    known = config.training.model_copy(update={"until": SLOT.date()})
    by_hand = train(config.model_copy(update={"training": known}), plugins, asset_class="equity")
    assert str(read(by_hand.path, "equity").trained_until) >= "2021-12-29"
    report = retrain(config, plugins, classes=["equity"], if_due=True, now=NOW)
    (outcome,) = report.classes
    folder = Shelf(config.checkpoint_root, "equity").versions / outcome.version
    assert read(folder, "equity").trained_until == read(by_hand.path, "equity").trained_until
    assert "unseen" in {check.name for check in outcome.verdict.checks}
    assert not any("gain" in name for name in outcome.verdict.numbers)


def test_it_does_not_go_back(promoted, plugins):
    before = [shelf.active for shelf in shelves(promoted)]
    report = retrain(promoted, plugins, now=datetime(2021, 12, 1, tzinfo=UTC))
    assert {o.ending for o in report.classes} == {"not due"}
    assert "reach to 2022-01-01" in report.classes[0].reason
    assert [shelf.active for shelf in shelves(promoted)] == before


def test_it_does_not_learn_what_serves_knows_already(retrainable, plugins):
    config = retrainable(checkpoints=PLAIN)
    newer = config.training.model_copy(update={"until": datetime(2022, 2, 1).date()})
    train(config.model_copy(update={"training": newer}), plugins, asset_class="equity")
    report = retrain(config, plugins, classes=["equity"], if_due=True, now=NOW)
    assert report.classes[0].ending == "not due"
    assert "has learned of days until" in report.classes[0].reason


@pytest.mark.parametrize("fault", ["nan", "extreme"])
def test_shares_that_cannot_forecast_are_not_offered(retrainable, plugins, fault):
    retrainable()
    config = retrainable(trainer=f"{{type: fit, fault: {fault}}}", base=False)
    report = retrain(config, plugins, classes=["equity"], if_due=True, now=NOW)
    (outcome,) = report.classes
    if fault == "nan":
        assert outcome.ending == "rejected", "the end of the way itself is no good"
        assert "not finite" in outcome.reason
    else:
        assert outcome.ending == "promoted"
        assert outcome.verdict.checks[0].name == "share"
        assert outcome.verdict.checks[0].value <= 1


def test_a_window_that_nothing_can_forecast_is_nobodys_fault(retrainable, plugins, monkeypatch):
    forecast = volatility.WidthForecaster._forecast
    bad = pd.Timestamp("2021-12-10").to_datetime64()

    def picky(self, window, levels):
        if window.symbol == "E0" and window.cutoff == bad:
            raise ValueError("a holiday")
        return forecast(self, window, levels)

    monkeypatch.setattr(volatility.WidthForecaster, "_forecast", picky)
    report = retrain(retrainable(checkpoints=PLAIN), plugins, classes=["equity"], if_due=True, now=NOW)
    assert report.classes[0].ending == "promoted"


def test_a_symbol_that_is_missing_is_told_of(retrainable, plugins):
    config = retrainable(checkpoints=PLAIN)
    without = retrainable(feed=WILDER.replace("}", ", fails: [E1]}"), checkpoints=PLAIN, base=False)
    report = retrain(without, plugins, classes=["equity"], if_due=True, now=NOW)
    assert report.classes[0].ending == "promoted"
    assert {f.symbol for f in report.classes[0].failures} == {"E1"}
    assert report.exit_code == 3
    strict = without.model_copy(update={"min_symbols": 1.0, "checkpoint_root": config.checkpoint_root})
    refused = retrain(strict, plugins, classes=["crypto", "equity"], now=NOW + timedelta(days=1))
    assert [o.ending for o in refused.classes] == ["promoted", "failed"]
    assert "min_symbols" in refused.classes[1].reason


def test_a_symbol_that_lags_is_watched_when_it_comes(promoted, plugins, monkeypatch):
    frame = volatility.WeatherFeed._frame

    def lagging(self, symbol, span):
        found = frame(self, symbol, span)
        return found[found["time"] < "2022-01-05"] if symbol == "E1" else found

    with monkeypatch.context() as patched:
        patched.setattr(volatility.WeatherFeed, "_frame", lagging)
        later(promoted, plugins, 8)
    later(promoted, plugins, 9)
    scores = pd.read_parquet(shelves(promoted)[1].folder / watching.WATCHED / watching.SCORES)
    counts = scores.groupby(["arm", "symbol"]).size()
    assert len(set(counts)) == 1
    assert not scores.duplicated(["arm", "symbol", "as_of", "step"]).any()


def test_what_is_forced_says_so(retrainable, plugins):
    config = retrainable(feed=POISONED)
    retrain(config, plugins, classes=["equity"], if_due=True, force=True, now=NOW)
    shelf = Shelf(config.checkpoint_root, "equity")
    verdict, overruled = read_verdict(shelf.versions / shelf.active.version)
    assert not verdict.accepted
    assert "promoted by force" in overruled


def test_a_failure_is_told_once_for_each_reason(retrainable, plugins, heard):
    config = retrainable(trainer="{type: fit, fault: raise}", base=False)
    for hours in range(4):
        report = retrain(config, plugins, classes=["crypto"], if_due=True, now=NOW + timedelta(hours=hours))
        assert report.exit_code == 3
    assert heard.kinds == [("failed", "crypto")]
    assert [e.event for e in Shelf(config.checkpoint_root, "crypto").history()] == ["failed"]


def test_old_versions_that_cannot_be_deleted_do_not_undo_a_promotion(retrainable, plugins, monkeypatch, heard):
    def full(self, expired):
        raise OSError("the disk is full")

    monkeypatch.setattr(Shelf, "prune", full)
    report = retrain(retrainable(checkpoints=PLAIN), plugins, classes=["crypto"], if_due=True, now=NOW)
    assert report.classes[0].ending == "promoted"
    assert "the disk is full" in report.classes[0].trouble[0]
    assert heard.kinds == [("promoted", "crypto"), ("failed", "crypto")]


def test_another_choice_of_shares_makes_another_version(retrainable, plugins):
    one = retrain(retrainable(), plugins, classes=["crypto"], if_due=True, now=NOW).classes[0]
    config = retrainable(checkpoints=PLAIN, base=False)
    shutil.rmtree(config.checkpoint_root / "rolling")
    other = retrain(config, plugins, classes=["crypto"], if_due=True, now=NOW).classes[0]
    assert one.version != other.version


def test_one_process_of_several_does_not_retrain(retrainable, plugins, monkeypatch):
    config = retrainable()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(Exception, match="`retrain` is one process"):
        retrain(config, plugins, if_due=True, now=NOW)

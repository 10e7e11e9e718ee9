"""What an ensembler has learned: taught on demand, kept, handed to later runs, learned anew if it is of no use."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from kronosfw.backtesting import backtest
from kronosfw.cli import call
from kronosfw.errors import ConfigError, PluginError
from kronosfw.fitting import fit_ensemble
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.store import Store
from tests import pupil

TAUGHT = datetime(2023, 5, 20, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def teaching(configure, plugins, monkeypatch):
    """Return what makes a configuration with an ensembler, and with outcomes to learn from."""
    plugins.add("pupils", pupil)
    monkeypatch.setattr(Plugins, "installed", lambda *_, **__: plugins)

    def make(ensembler="{type: pupil}", *, practised=True, **changes):
        sections = {
            "universe": "{S00: {asset_class: crypto}, S01: {asset_class: equity, calendar: 24/7}}",
            "backtest": "{start: 2023-05-10, end: 2023-05-30}",
            "horizon": "2",
            **changes,
        }
        if practised:
            backtest(configure(**sections, ensembler="null"), plugins)
        return configure(**sections, ensembler=ensembler)

    return make


def notes(report):
    return {f.event_context["note"] for f in report.forecasts if f.model == "ensemble"}


def kept(tmp_path):
    with closing(sqlite3.connect(tmp_path / "results.db")) as db:
        return db.execute("select as_of, content from states order by as_of").fetchall()


def change(tmp_path, statement):
    with closing(sqlite3.connect(tmp_path / "results.db")) as db, db:
        db.execute(statement)


def outcomes(config, cutoff):
    with Store(config.store.get_secret_value()) as store:
        return len(store.past(cutoff, models=config.member_names))


def test_what_was_learned_is_kept_and_restored_by_the_next_run(teaching, plugins, tmp_path):
    config = teaching()
    n = outcomes(config, TAUGHT)
    report = fit_ensemble(config, plugins, TAUGHT)
    assert (report.model, report.kept, report.told) == ("ensemble", True, ("seen by 2023-05-20",))
    assert report.outcomes == {"crypto": n / 4, "equity": n / 4}, "of two members and two classes"
    ((as_of, content),) = kept(tmp_path)
    assert (as_of[:10], json.loads(content)) == ("2023-05-20", {"outcomes": n, "until": "2023-05-20"})
    served = run(config, plugins, as_of=TAUGHT + 3 * DAY)
    assert notes(served) == {f"{n} by 2023-05-20"}
    assert len(kept(tmp_path)) == 1, "what is kept already is not written again"


def test_a_run_teaches_it_where_that_is_due_and_keeps_it(teaching, plugins, tmp_path):
    config = teaching()
    assert notes(run(config, plugins, as_of=TAUGHT)) == {f"{outcomes(config, TAUGHT)} by 2023-05-20"}
    for days, until in ((9, "2023-05-20"), (10, "2023-05-30"), (15, "2023-05-30")):
        (note,) = notes(run(config, plugins, as_of=TAUGHT + days * DAY))
        assert note.endswith(until)
    assert [as_of[:10] for as_of, _ in kept(tmp_path)] == ["2023-05-20", "2023-05-30"]


def test_what_was_learned_later_is_no_use_to_an_earlier_run(teaching, plugins):
    config = teaching()
    fit_ensemble(config, plugins, TAUGHT)
    early = TAUGHT - 5 * DAY
    assert notes(run(config, plugins, as_of=early)) == {f"{outcomes(config, early)} by 2023-05-15"}
    assert fit_ensemble(config, plugins, early).told == ("seen by 2023-05-15",)


def test_it_is_taught_anew_on_demand_however_recent_it_is(teaching, plugins, tmp_path):
    config = teaching()
    fit_ensemble(config, plugins, TAUGHT)
    assert fit_ensemble(config, plugins, TAUGHT + DAY).told == ("seen by 2023-05-21",)
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize(
    ("content", "fault", "said"),
    [
        ("{}", "", "what ensemble had learned by 2023-05-20 00:00 UTC is damaged"),
        ("{", "", "is damaged"),
        (None, "restore", "a state of another age"),
    ],
)
def test_a_state_that_is_of_no_use_is_told_of_and_learned_anew(
    teaching, plugins, tmp_path, caplog, content, fault, said
):
    config = teaching(f"{{type: pupil, fault: '{fault}'}}")
    fit_ensemble(config, plugins, TAUGHT)
    if content is not None:
        change(tmp_path, f"update states set content = '{content}'")
    at = TAUGHT + DAY
    report = run(config, plugins, as_of=at)
    assert report.exit_code == 0
    assert notes(report) == {f"{outcomes(config, at)} by 2023-05-21"}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith("ensemble learns anew: ")
    assert said in warning
    assert len(kept(tmp_path)) == 2
    caplog.clear()
    run(config, plugins, as_of=at + DAY)
    assert (caplog.text == "") == (not fault), "the next run has a sound one"


def test_other_options_are_taught_on_their_own(teaching, plugins, tmp_path):
    fit_ensemble(teaching(), plugins, TAUGHT)
    other = teaching("{type: pupil, days: 11}", practised=False)
    assert notes(run(other, plugins, as_of=TAUGHT + DAY)) == {f"{outcomes(other, TAUGHT + DAY)} by 2023-05-21"}
    same = teaching("{type: pupil, days: 10}", practised=False)
    (note,) = notes(run(same, plugins, as_of=TAUGHT + DAY))
    assert note.endswith("2023-05-20")
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("broken", ["ml_predictions", "states"])
def test_forecasts_and_what_was_learned_are_written_together(teaching, plugins, tmp_path, broken):
    config = teaching()
    at = TAUGHT + DAY
    change(
        tmp_path,
        f"create trigger full before insert on {broken} when new.as_of like '2023-05-21%' "
        "begin select raise(abort, 'disk full'); end",
    )
    report = run(config, plugins, as_of=at)
    assert report.exit_code == 6
    assert report.spooled
    with Store(config.store.get_secret_value()) as store:
        assert not [r for r in store.predictions(as_of=at) if r["model_name"] == "ensemble"]
    assert not kept(tmp_path)
    change(tmp_path, "drop trigger full")
    assert run(config, plugins, as_of=at).exit_code == 0
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("ensembler", ["null", "{type: mean}"])
def test_one_that_does_not_learn_cannot_be_taught(teaching, plugins, ensembler):
    with pytest.raises(ConfigError, match="there is nothing to fit"):
        fit_ensemble(teaching(ensembler, practised=False), plugins, TAUGHT)


@pytest.mark.parametrize(("fault", "said"), [("build", "ImportError: no trees"), ("fit", "RuntimeError: no conv")])
def test_one_that_raises_is_named(teaching, plugins, tmp_path, fault, said):
    config = teaching(f"{{type: pupil, fault: {fault}}}")
    with pytest.raises(PluginError, match=f"ensemble: {said}"):
        fit_ensemble(config, plugins, TAUGHT)
    assert not kept(tmp_path)
    report = run(config, plugins, as_of=TAUGHT)
    assert (report.exit_code, len(report.served)) == (3, 2), "in a run its members still serve"


class TestCommand:
    """``kronosfw fit-ensemble``."""

    def call(self, tmp_path, *arguments):
        return call(["fit-ensemble", str(tmp_path / "config.yaml"), *arguments])

    def test_tells_what_was_learned(self, teaching, tmp_path, capsys):
        n = outcomes(teaching(), TAUGHT) // 2
        assert self.call(tmp_path, "--as-of", "2023-05-20") == 0
        assert capsys.readouterr().out.splitlines() == [
            f"ensemble has learned from {n} outcomes (crypto {n // 2}, equity {n // 2})",
            "  seen by 2023-05-20",
            f"kept in sqlite:///{tmp_path}/results.db, as of 2023-05-20 00:00 UTC",
        ]

    def test_tells_programs(self, teaching, tmp_path, capsys):
        n = outcomes(teaching(), TAUGHT) // 4
        assert self.call(tmp_path, "--as-of", "2023-05-20", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {
            "model": "ensemble",
            "cutoff": "2023-05-20T00:00:00+00:00",
            "outcomes": {"crypto": n, "equity": n},
            "told": ["seen by 2023-05-20"],
            "kept": True,
            "store": f"sqlite:///{tmp_path}/results.db",
        }

    def test_says_where_nothing_is_kept(self, teaching, tmp_path, capsys):
        teaching("{type: greedy}")
        assert self.call(tmp_path) == 0
        shown = capsys.readouterr().out
        assert "each run learns the same by itself" in shown
        assert "kept" not in shown
        assert kept(tmp_path) == []

    def test_with_nothing_scored_it_says_so(self, teaching, tmp_path, capsys):
        teaching(practised=False)
        assert self.call(tmp_path) == 0
        assert "ensemble has learned from 0 outcomes\n" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("ensembler", "arguments", "code", "said"),
        [
            ("null", (), 2, "there is nothing to fit"),
            ("{type: median}", (), 2, "there is nothing to fit"),
            ("{type: pupil, fault: build}", (), 2, "ensemble: ImportError: no trees"),
            ("{type: pupil, fault: fit}", (), 2, "ensemble: RuntimeError: no convergence"),
            ("{type: pupil}", ("--as-of", "2190-01-01"), 2, "lies in the future"),
            ("{type: pupil}", ("--as-of", "soon"), 2, "expected latest, now, a date"),
            ("{type: pupil}", ("--store", "sqlite:////proc/none.db"), 6, "unable to open database file"),
        ],
    )
    def test_a_mistake_ends_with_one_message_and_its_code(
        self, teaching, tmp_path, capsys, ensembler, arguments, code, said
    ):
        teaching(ensembler, practised=False)
        assert self.call(tmp_path, *arguments) == code
        shown = capsys.readouterr()
        assert said in shown.err
        assert "Traceback" not in shown.err
        assert shown.out == ""

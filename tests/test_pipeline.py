"""A run from configuration to store: the same inputs give the same numbers, and what repeats changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronosfw.errors import ConfigError, Interrupted
from kronosfw.pipeline import run
from kronosfw.rows import as_datetime
from kronosfw.scoring import score
from kronosfw.store import Store
from tests.made_up import Fickle, Learner, stored
from tests.shelves import put
from tests.windows_for_tests import windows_of


def test_running_again_changes_no_row(configure, plugins, tmp_path):
    first = run(configure(), plugins)
    rows = stored(tmp_path)
    again = run(configure(), plugins)
    assert (first.stored, again.stored) == (450, 0)
    assert again.run_id == first.run_id
    assert stored(tmp_path) == rows


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


def test_crossing_quantiles_are_sorted(configure, plugins):
    report = run(configure(forecasters="[{type: fickle, fault: crossing}]"), plugins)
    assert report.exit_code == 0
    assert all((np.diff(f.quantiles, axis=-1) > 0).all() for f in report.forecasts if f.model == "fickle")


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


def test_the_checkpoint_policy_chooses_for_each_asset_class(configure, plugins, tmp_path):
    root = tmp_path / "checkpoints"
    universe = "{S00: {asset_class: crypto}, S01: {asset_class: forex, calendar: 24/7}, "
    universe += "S02: {asset_class: equity, calendar: 24/7}, S03: {asset_class: commodity, calendar: 24/7}}"
    put(root, "crypto", day="2024-01-01")
    newest = put(root, "crypto", day="2024-02-01", identity="b" * 12)
    put(root, "equity", {"weights.txt": b"1", "broken": b""}, day="2024-02-01")
    base = put(root, None, day="2023-01-01")
    twin = put(root, "commodity", day="2024-02-01", identity="b" * 12)
    unreadable = [put(root, None, day="2025-01-01", identity=letter * 12) for letter in "ef"]
    for folder, content in zip(unreadable, ("{", "[]"), strict=True):
        (folder / "manifest.json").write_text(content)
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
    assert set(past["model_name"]) == {"random_walk", "fickle", "ensemble"}, "the members' scores and its own"
    assert (past["realised_at"] <= pd.Timestamp(late)).all()
    score(config, as_of=None, progress=lambda *_: None)
    run(config, plugins, as_of=datetime(2023, 5, 3, tzinfo=UTC))
    assert (Learner.past[2]["realised_at"] <= pd.Timestamp("2023-05-03", tz="UTC")).all()
    assert set(Learner.past[2]["as_of"]) == {pd.Timestamp(early)}


def test_leaders_belong_to_the_universe(configure, plugins):
    with pytest.raises(ConfigError, match="the encoders need VIX: add it to the universe"):
        run(configure(encoders="[{type: needs_vix}]"), plugins)
    universe = "{S00: {asset_class: crypto}, VIX: {asset_class: crypto, forecast: false}}"
    config = configure(encoders="[{type: needs_vix}]", universe=universe)
    assert run(config, plugins).symbols == ("S00",)
    assert windows_of(config, plugins)["S00"].covariates.values[0, 0] == 1.0


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


def test_a_run_can_be_stopped_before_anything_is_written(configure, plugins, tmp_path):
    def stop(stage, done, total):
        if stage == "reading":
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

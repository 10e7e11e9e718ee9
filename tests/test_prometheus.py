"""What a run leaves for Prometheus: a file that its own parser reads, whatever came of the run."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kronosfw import __version__
from kronosfw.errors import ConfigError, DataError, Interrupted, StoreError
from kronosfw.pipeline import run
from kronosfw.prometheus import METRICS, require, write_failure, write_run
from kronosfw.reading import Failure
from kronosfw.runs import RunReport
from kronosfw.types import moment

DAILY = {"schedule": "daily"}
LAST_SUCCESS = "kronosfw_run_last_success_timestamp_seconds"


@pytest.fixture
def report(configure, plugins):
    universe = "{" + ", ".join(f"S0{i}: {{asset_class: crypto}}" for i in range(5)) + "}"
    config = configure(
        universe=universe,
        feed="{type: table, corrupt: [S01]}",
        forecasters="[{type: random_walk}, {type: fickle, failing: [S02, S03]}]",
    )
    found = run(config, plugins, as_of=datetime(2023, 6, 1, tzinfo=UTC))
    return replace(found, took={"reading": 0.5, "fickle": 1.25, "storing": 0.125}, lost=2)


def empty(**changes):
    return RunReport("609fc43b829dc2bd", {}, moment("2025-06-30"), ("A",), (), {}, {}, {}, (), **changes)


def read(path: Path, labels=DAILY):
    """Return {(metric, values of its own labels): value} of a file whose samples all have the labels."""
    found = {}
    for family in text_string_to_metric_families(path.read_text("utf-8")):
        help_, own = METRICS[family.name]
        assert (family.type, family.documentation) == ("gauge", help_)
        for sample in family.samples:
            assert sample.timestamp is None, "the exporter refuses files with any"
            assert sample.labels.keys() == {*labels, *own}
            assert sample.labels.items() >= labels.items()
            found[(family.name, *(sample.labels[name] for name in own))] = sample.value
    return found


def test_a_run_is_told_in_figures(report, tmp_path):
    path = tmp_path / "kronosfw.prom"
    before = time.time()
    write_run(path, report, DAILY)
    found = read(path)
    ended = found.pop(("kronosfw_run_timestamp_seconds",))
    assert before <= ended <= time.time()
    assert found == {
        ("kronosfw_run_exit_code",): 3,
        (LAST_SUCCESS,): ended,
        ("kronosfw_run_info", report.run_id, __version__): 1,
        ("kronosfw_run_cutoff_timestamp_seconds",): datetime(2023, 6, 1, tzinfo=UTC).timestamp(),
        ("kronosfw_run_seconds",): report.seconds,
        ("kronosfw_run_stage_seconds", "reading"): 0.5,
        ("kronosfw_run_stage_seconds", "fickle"): 1.25,
        ("kronosfw_run_stage_seconds", "storing"): 0.125,
        ("kronosfw_run_symbols",): 5,
        ("kronosfw_run_symbols_served",): 4,
        ("kronosfw_run_symbols_resumed",): 0,
        ("kronosfw_run_failures", "data", ""): 1,
        ("kronosfw_run_failures", "model", "fickle"): 2,
        ("kronosfw_run_retries",): 2,
        ("kronosfw_run_rows_stored",): report.stored,
        ("kronosfw_run_rows_spooled",): 0,
    }
    assert report.stored > 0
    assert "S01" not in path.read_text("utf-8"), "symbols would be too many"
    assert {name for name, *_ in found} | {"kronosfw_run_timestamp_seconds"} == set(METRICS)


def test_all_may_read_it_and_nothing_is_left_beside_it(tmp_path):
    umask = os.umask(0o077)
    try:
        write_run(tmp_path / "kronosfw.prom", empty(), {})
    finally:
        os.umask(umask)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    assert read(path, {})[("kronosfw_run_exit_code",)] == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("no symbol"), 5),
        (StoreError("down"), 6),
        (Interrupted("stopped"), 75),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 1),
        (SystemExit(3), 1),
    ],
)
def test_a_run_that_failed_keeps_when_one_last_did_not(error, code, tmp_path):
    path = tmp_path / "kronosfw.prom"
    write_failure(path, error, 1.5, DAILY)
    assert read(path)[(LAST_SUCCESS,)] == 0
    write_run(path, empty(stored=9), {"schedule": "hourly"})
    success = read(path, {"schedule": "hourly"})[(LAST_SUCCESS,)]
    assert success > 0
    for _ in range(2):
        write_failure(path, error, 1.5, DAILY)
        found = read(path)
        assert found.pop(("kronosfw_run_timestamp_seconds",)) >= success
        assert found == {
            (LAST_SUCCESS,): success,
            ("kronosfw_run_exit_code",): code,
            ("kronosfw_run_failures", "run", ""): 1,
            ("kronosfw_run_seconds",): 1.5,
        }


@pytest.mark.parametrize(
    ("changes", "is_success"),
    [
        ({}, True),
        ({"failures": (Failure("", "model", "no weights", "har"),)}, True),
        ({"spooled": "spool/609fc43b829dc2bd", "spooled_rows": 45}, False),
    ],
)
def test_results_that_wait_in_a_spool_are_no_success(changes, is_success, tmp_path):
    path = tmp_path / "kronosfw.prom"
    write_run(path, replace(empty(), **changes), DAILY)
    found = read(path)
    assert (found[(LAST_SUCCESS,)] > 0) == is_success
    assert found[("kronosfw_run_rows_spooled",)] == changes.get("spooled_rows", 0)


@pytest.mark.parametrize(
    "there", [b"", b"\xff\x00{", b"kronosfw_run_exit_code{", f"# TYPE {LAST_SUCCESS} gauge\n".encode()]
)
def test_a_file_that_cannot_be_understood_is_replaced(there, tmp_path):
    path = tmp_path / "kronosfw.prom"
    path.write_bytes(there)
    write_failure(path, DataError("no symbol"), 0.0, DAILY)
    assert read(path)[(LAST_SUCCESS,)] == 0


@given(st.text(), st.text(), st.text())
def test_any_name_can_be_told(tmp_path_factory, model, stage, value):
    path = tmp_path_factory.mktemp("metrics") / "kronosfw.prom"
    labels = {"schedule": value}
    write_run(path, replace(empty(), took={stage: 1.0}, failures=(Failure("", "model", "", model),)), labels)
    found = read(path, labels)
    assert found[("kronosfw_run_failures", "model", model)] == 1
    assert found[("kronosfw_run_stage_seconds", stage)] == 1


def test_what_cannot_be_written_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        write_run(tmp_path / "nowhere" / "kronosfw.prom", empty(), DAILY)
        write_failure(tmp_path, DataError("no symbol"), 0.0, DAILY)
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == 2 * ["the metrics cannot be written"]
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_the_way_out_is_told(monkeypatch):
    require()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[metrics\]'"):
        require()

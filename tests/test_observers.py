"""Observers see a run and cannot break it."""

from __future__ import annotations

import pytest

from kronosfw.errors import DataError
from kronosfw.hookspec import hookimpl
from kronosfw.pipeline import run
from tests.made_up import stored


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

"""What tests of retraining share: a configuration whose pooled base is trained, and an observer of alerts."""

from __future__ import annotations

import pytest

from kronosfw.hookspec import hookimpl
from kronosfw.loading import load
from kronosfw.training import train
from tests import volatility


class Heard:
    """An observer of alerts."""

    def __init__(self):
        self.alerts = []

    @property
    def kinds(self):
        return [(a.kind, a.asset_class) for a in self.alerts]


@pytest.fixture
def retrainable(tmp_path, plugins):
    """Return what makes a configuration whose pooled base is trained, and the plugins."""
    assert not plugins.add("volatility", volatility).problem

    def make(feed=volatility.WILDER, trainer="{type: fit}", checkpoints="{type: rolling}", base=True):
        text = volatility.CONFIG.format(feed=feed, trainer=trainer, checkpoints=checkpoints)
        (tmp_path / "kronosfw.yaml").write_text(text)
        config, _ = load(tmp_path / "kronosfw.yaml", plugins)
        if base:
            train(config, plugins)
        return config

    return make


@pytest.fixture
def heard(plugins):
    """Return what collects the alerts that are raised."""
    found = Heard()

    class Observer:
        @hookimpl
        def on_alert(self, alert):
            found.alerts.append(alert)

    assert not plugins.add("observer", Observer()).problem
    return found

"""The contract of a notifier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest

from ..alerts import alert_as_json
from ..interfaces import Concern, Notifier, NotifierConfig
from ..types import Alert, Check, Verdict
from .base import ComponentContract

VERDICT = Verdict(
    accepted=False,
    reasons=("worse than what serves",),
    checks=(
        Check("better", False, "CRPS is 3 % higher, and 1 % was allowed", 0.03, 0.02, 0.04, 0.01),
        Check("complete", True, "all scores are there"),
    ),
    numbers={"skill": -0.03, "unknown": float("nan")},
)
ALERT = Alert(
    kind="rejected",
    asset_class="crypto",
    text="The candidate stays out: it is worse than what serves.",
    at=datetime(2025, 6, 30, 12, tzinfo=UTC),
    version="2025-06-30-0001",
    verdict=VERDICT,
)


class NotifierContract(ComponentContract):
    """Passes on every kind of alert, again and again, and leaves it as it is.

    The fixture ``options`` leads to where an alert can be delivered, such as a server that the test starts.
    """

    kind = "notifier"

    @pytest.fixture
    def notifier(self, options: NotifierConfig) -> Notifier:
        return options.build()

    @pytest.mark.parametrize("kind", get_args(Concern))
    def test_takes_every_kind_of_alert(self, notifier: Notifier, kind: Concern) -> None:
        notifier.notify(replace(ALERT, kind=kind))

    def test_takes_an_alert_of_the_barest_kind(self, notifier: Notifier) -> None:
        notifier.notify(replace(ALERT, text="", version="", verdict=None))

    def test_takes_any_text(self, notifier: Notifier) -> None:
        notifier.notify(replace(ALERT, text='two\nlines, "quotes", 50 % {} $(id) \\, ünïcödé, 日本 and \x07'))

    def test_takes_a_long_text(self, notifier: Notifier) -> None:
        notifier.notify(replace(ALERT, text="more than a pipe holds " * 10_000))

    def test_leaves_the_alert_as_it_is(self, notifier: Notifier) -> None:
        alert = replace(ALERT, verdict=replace(VERDICT, numbers=dict(VERDICT.numbers)))
        before = alert_as_json(alert)
        notifier.notify(alert)
        assert alert_as_json(alert) == before

    def test_passes_on_one_after_the_other(self, options: NotifierConfig, notifier: Notifier) -> None:
        notifier.notify(ALERT)
        notifier.notify(ALERT)
        options.build().notify(ALERT)

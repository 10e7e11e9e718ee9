"""Alerts: who is told of what became of a candidate, a promotion or damaged weights."""

from __future__ import annotations

import logging
import math
import traceback
from datetime import UTC
from typing import TYPE_CHECKING, Any

from .isolation import reason
from .secrets import redact

if TYPE_CHECKING:
    from .config import Config
    from .plugins import Plugins
    from .types import Alert, Check, Verdict

log = logging.getLogger(__name__)


def raise_alert(alert: Alert, config: Config, plugins: Plugins) -> None:
    """Tell the notifiers that want to know, then the observers; what one of them raises harms nobody."""
    for position, options in enumerate(config.alerts):
        if alert.kind not in options.on:
            continue
        try:
            options.build().notify(alert)
        except (Exception, SystemExit) as error:
            log.warning("alerts.%d (%s) told nobody: %s", position, options.type, reason(error))
            log.debug("the same in full: %s", redact(traceback.format_exc()))
    plugins.notify("on_alert", alert=alert)


def headline(alert: Alert) -> str:
    """Return an alert as one line, without secrets."""
    what = alert.kind.replace("_", " ")
    version = f" {alert.version}" if alert.version else ""
    return redact(" ".join(f"kronosfw: {alert.asset_class}{version} {what}: {alert.text}".split()))


def alert_as_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as plain values without secrets; moments are ISO 8601 in UTC."""
    at = alert.at if alert.at.tzinfo else alert.at.replace(tzinfo=UTC)
    return {
        "kind": alert.kind,
        "asset_class": alert.asset_class,
        "version": alert.version,
        "at": at.astimezone(UTC).isoformat(),
        "text": redact(alert.text),
        "verdict": None if alert.verdict is None else verdict_as_json(alert.verdict),
    }


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values without secrets; a number that is not finite is None."""
    return {
        "accepted": bool(verdict.accepted),
        "reasons": [redact(text) for text in verdict.reasons],
        "checks": [_check(check) for check in verdict.checks],
        "numbers": {name: _number(value) for name, value in verdict.numbers.items()},
    }


def _check(check: Check) -> dict[str, Any]:
    numbers = {name: _number(getattr(check, name)) for name in ("value", "low", "high", "limit")}
    return {"name": check.name, "passed": bool(check.passed), "text": redact(check.text), **numbers}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)

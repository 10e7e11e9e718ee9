"""Rows as the pipeline hands them to the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def run_row(**changed: Any) -> dict[str, Any]:
    row = {
        "id": "a1b2",
        "started_at": AS_OF,
        "finished_at": AS_OF + timedelta(seconds=7),
        "state": "done",
        "manifest": {"seed": 7, "plugins": {"builtin": "0.1"}},
        "report": {"BTC": {"repaired": 2}},
        "subject": "5e1f",
    }
    return row | changed


def prediction(step: int = 1, **changed: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTC",
        "timeframe": "1d",
        "as_of": AS_OF,
        "model_name": "drift",
        "model_version": "1",
        "step": step,
        "asset_class": "crypto",
        "target_time": AS_OF + (step - 1) * DAY,
        "target_available_at": AS_OF + step * DAY,
        "session": (AS_OF + (step - 1) * DAY).date(),
        "p10": 90.0 + step / 3,
        "p50": 100.0 + step / 3,
        "p90": 110.0 + step / 3,
        "quantiles": {"close": {"0.25": 95.1}, "high": {"0.5": 101.0}},
        "last_close": 100.5,
        "event_context": None,
        "seed": 2**63 - 1,
    }
    return row | changed


def evaluation(step: int = 1, **changed: Any) -> dict[str, Any]:
    key = ("symbol", "timeframe", "as_of", "model_name", "model_version", "step", "asset_class")
    row = {name: prediction(step)[name] for name in key} | {
        "realised": 101.0,
        "realised_at": AS_OF + step * DAY,
        "abs_error": 0.7,
        "pinball": 0.3,
        "crps": 0.5,
        "covered": True,
        "pit": 0.55,
        "direction_hit": None,
        "event_active": False,
        "regime": "calm",
    }
    return row | changed


def done(**changed: Any) -> dict[str, Any]:
    row = {name: prediction()[name] for name in ("symbol", "timeframe", "as_of", "model_name", "model_version")}
    return row | {"inputs": "d1g3", "state": "done", "reason": None} | changed


def seen(store: Any, *evaluations: dict[str, Any]) -> list[dict[str, Any]]:
    """Return evaluations of the predictions as they stand in the store."""
    key = ("symbol", "timeframe", "as_of", "model_name", "model_version", "step")
    created = {tuple(row[name] for name in key): row["created_at"] for row in store.predictions()}
    return [row | {"created_at": created[tuple(row[name] for name in key)]} for row in evaluations]

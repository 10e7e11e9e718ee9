"""Forecasts as rows of the table ``ml_predictions``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from .types import ENVELOPE, Forecast, Moment, Window


def prediction_rows(forecast: Forecast, window: Window, version: str) -> Iterator[dict[str, Any]]:
    """Yield one row for each step of the forecast."""
    envelope = forecast.at(ENVELOPE).tolist()
    others = _others(forecast)
    contexts = deepcopy(forecast.contexts())
    common = {
        "symbol": forecast.symbol,
        "timeframe": window.freq,
        "as_of": as_datetime(forecast.cutoff),
        "model_name": forecast.model,
        "model_version": version,
        "last_close": float(window.bars.close[-1]),
        "seed": window.seed,
        "asset_class": window.asset_class,
    }
    targets = window.future[-len(forecast.time) :]
    times = zip(targets.time.tolist(), targets.available_at.tolist(), targets.session.tolist(), strict=True)
    for step, (time, available_at, session) in enumerate(times):
        p10, p50, p90 = envelope[step]
        yield {
            **common,
            "step": step + 1,
            "target_time": time.replace(tzinfo=UTC),
            "target_available_at": available_at.replace(tzinfo=UTC),
            "session": session,
            "p10": p10,
            "p50": p50,
            "p90": p90,
            "quantiles": others[step] if others else None,
            "event_context": contexts[step] or None,
        }


def close_quantiles(row: Mapping[str, Any]) -> dict[float, float]:
    """Return the quantiles of the close that a row holds, by level, levels increasing."""
    told = dict(zip(ENVELOPE, (row["p10"], row["p50"], row["p90"]), strict=True))
    told |= {float(level): value for level, value in ((row["quantiles"] or {}).get("close") or {}).items()}
    return dict(sorted(told.items()))


def _others(forecast: Forecast) -> list[dict[str, dict[str, float]]]:
    """Return for each step the quantiles that have no column of their own, by column and level."""
    levels = {
        column: [q for q in forecast.levels if column != "close" or q not in ENVELOPE]
        for column in forecast.columns
    }
    if not any(levels.values()):
        return []
    values = {column: forecast.at(wanted, column).tolist() for column, wanted in levels.items() if wanted}
    return [
        {
            column: {repr(q): v for q, v in zip(levels[column], rows[step], strict=True)}
            for column, rows in values.items()
        }
        for step in range(len(forecast.time))
    ]


def as_datetime(when: Moment) -> datetime:
    """Turn a moment into an aware datetime."""
    value: datetime = when.astype("datetime64[us]").item()
    return value.replace(tzinfo=UTC)

"""Scores: stored predictions against the bars that came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import freq as _freq
from . import metrics
from .config import Config
from .errors import DONE, PARTIAL
from .reading import Failure, Progress, as_moment, present, read
from .rows import ENVELOPE, as_datetime
from .store import Store
from .types import Bars, Fact, Moment

HIGH_IMPORTANCE = 3.0
"""An event of at least this importance, or of none stated, makes an event bar."""
_VOLATILITY, _USUAL, _FEWEST = 20, 250, 60
_CALM, _WILD = 0.75, 1.33
_KEY = ("symbol", "timeframe", "as_of", "model_name", "model_version", "step")


@dataclass(frozen=True, slots=True)
class ModelScore:
    """Mean scores of one model's predictions, as shares of the last close where they are losses."""

    model: str
    n: int
    coverage: float
    pinball: float
    crps: float
    direction: float | None


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What came of a scoring."""

    scored: int
    waiting: int
    """Predictions whose target bar is due but not in the feed."""
    models: list[ModelScore]
    failures: list[Failure]

    @property
    def exit_code(self) -> int:
        return PARTIAL if self.failures else DONE


def score(config: Config, *, as_of: datetime | str | None, progress: Progress) -> ScoreReport:
    """Score the stored predictions of the configuration's symbols whose target bar is known as of a moment.

    Scoring again changes nothing. Raises what ``reading.read`` and ``Store`` raise.
    """
    moment = as_moment(as_of) if isinstance(as_of, datetime) else present()
    with Store(config.store.get_secret_value()) as store:
        due = [
            row
            for row in store.unscored(as_datetime(moment))
            if row["symbol"] in config.universe and row["timeframe"] == config.freq
        ]
        if not due:
            return ScoreReport(0, 0, [], [])
        symbols = sorted({row["symbol"] for row in due})
        start = as_moment(min(row["as_of"] for row in due)) - _before(config.freq)
        market = read(config, symbols, as_datetime(moment), progress, start=start)
        evaluations = []
        for symbol, rows in groupby(due, key=lambda row: row["symbol"]):
            if symbol in market.bars:
                evaluations += _evaluate(list(rows), market.bars[symbol], market.facts)
        store.evaluate(evaluations)
        readable = sum(row["symbol"] in market.bars for row in due)
    waiting = readable - len(evaluations)
    return ScoreReport(len(evaluations), waiting, list(_by_model(evaluations)), market.failures)


def _before(freq: str) -> np.timedelta64:
    """Return a span that holds the bars which tell the regime, whatever the market's sessions."""
    return np.timedelta64(2 * (_VOLATILITY + _USUAL) * _freq.minutes(freq), "m") + np.timedelta64(30, "D")


def _evaluate(rows: Sequence[dict[str, Any]], bars: Bars, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return the evaluations of one symbol's predictions whose target bar is there."""
    targets = np.array([as_moment(row["target_time"]) for row in rows])
    place = np.minimum(np.searchsorted(bars.times.time, targets), len(bars) - 1)
    found = bars.times.time[place] == targets
    regimes = _regimes(bars)
    events = _event_bars(facts, bars)
    evaluations = []
    for row, i in zip([r for r, f in zip(rows, found, strict=True) if f], place[found], strict=True):
        levels, quantiles = _quantiles(row)
        actual, last = bars.close[i], row["last_close"]
        # Losses are shares of the last close: on price levels they would hide everything.
        scale = abs(last)
        losses = metrics.pinball(actual, quantiles, levels) / scale
        hit = metrics.direction_hit(actual, row["p50"], last)
        cut = int(np.searchsorted(bars.times.available_at, as_moment(row["as_of"]), side="right")) - 1
        evaluations.append(
            {
                **{name: row[name] for name in _KEY},
                "asset_class": row["asset_class"],
                "realised": float(actual),
                "realised_at": as_datetime(bars.times.available_at[i]),
                "abs_error": float(abs(actual - row["p50"]) / scale),
                "pinball": float(losses.mean()),
                "crps": float(2 * losses.mean()),
                "covered": bool(row["p10"] <= actual <= row["p90"]),
                "pit": float(metrics.pit(actual, quantiles, levels)),
                "direction_hit": None if np.isnan(hit) else bool(hit),
                "event_active": None if events is None else bool(events[i]),
                "regime": str(regimes[cut]) if cut >= 0 else "unknown",
            }
        )
    return evaluations


def _quantiles(row: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return a prediction's levels and quantiles of the close, in order."""
    known = dict(zip(ENVELOPE, (row["p10"], row["p50"], row["p90"]), strict=True))
    known |= {float(q): value for q, value in ((row["quantiles"] or {}).get("close") or {}).items()}
    levels = sorted(known)
    return levels, [known[q] for q in levels]


def _regimes(bars: Bars) -> NDArray[np.str_]:
    """Return the volatility regime at each bar ``[T]``: the last 20 bars against their usual, as of then.

    ``low`` below 0.75 and ``high`` above 1.33 times the median 20-bar volatility of the last 250 bars, else
    ``normal``; ``unknown`` with fewer than 60 bars to compare with.
    """
    regimes = np.full(len(bars), "unknown", dtype="<U7")
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(bars.close))
    if len(returns) < _VOLATILITY + _FEWEST:
        return regimes
    volatility = np.lib.stride_tricks.sliding_window_view(returns, _VOLATILITY).std(axis=1)
    for i in range(_FEWEST, len(volatility)):
        usual = float(np.median(volatility[max(i - _USUAL, 0) : i]))
        ratio = volatility[i] / usual if usual > 0 else np.nan
        if np.isfinite(ratio):
            regimes[i + _VOLATILITY] = "low" if ratio < _CALM else "high" if ratio > _WILD else "normal"
    return regimes


def _event_bars(facts: Sequence[Fact], bars: Bars) -> NDArray[np.bool_] | None:
    """Return whether an important event bears on each bar ``[T]``; None where no calendar is known.

    An event bears on the first bar that is complete after it: the one it falls in, or the next one where the
    market was shut.
    """
    if not facts:
        return None
    stated: dict[tuple[str, Moment], float | None] = {}
    for f in facts:
        if not f.symbols or bars.symbol in f.symbols:
            event = (f.event or f.kind, f.scheduled_at)
            stated[event] = f.values.get("importance", stated.get(event))
    important = [at for (_, at), value in stated.items() if value is None or value >= HIGH_IMPORTANCE]
    scheduled = np.array(important, dtype="datetime64[us]")
    first = np.searchsorted(bars.times.available_at, scheduled, side="right")
    active = np.zeros(len(bars) + 1, dtype=np.bool_)
    active[first] = True
    return active[:-1]


def _by_model(evaluations: Sequence[Mapping[str, Any]]) -> Iterator[ModelScore]:
    for name in sorted({e["model_name"] for e in evaluations}):
        mine = [e for e in evaluations if e["model_name"] == name]
        hits = [e["direction_hit"] for e in mine if e["direction_hit"] is not None]
        yield ModelScore(
            model=name,
            n=len(mine),
            coverage=_mean(mine, "covered"),
            pinball=_mean(mine, "pinball"),
            crps=_mean(mine, "crps"),
            direction=sum(hits) / len(hits) if hits else None,
        )


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))

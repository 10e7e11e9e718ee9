"""Scores: stored predictions against the bars that came."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from . import freq as _freq
from . import metrics
from .calendars import calendar
from .config import Config
from .errors import DONE, PARTIAL
from .eventbars import event_bars
from .interfaces import Weights
from .isolation import reason
from .reading import Failure, Progress, as_moment, not_later_than_now, read, read_facts
from .rows import ENVELOPE, as_datetime
from .store import KEY, Store
from .types import Bars, Fact, Floats
from .windows import known

_VOLATILITY, _USUAL, _FEWEST = 20, 250, 60
_CALM, _WILD = 0.75, 1.33


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
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Licence and training cut-off by model: a score of days before the cut-off is no evidence."""

    @property
    def exit_code(self) -> int:
        return PARTIAL if self.failures else DONE


def score(config: Config, *, as_of: datetime | str | None, progress: Progress) -> ScoreReport:
    """Score the stored predictions of the configuration's symbols whose target bar is known as of a moment.

    Scoring again changes nothing. Raises what ``reading.read`` and ``Store`` raise.
    """
    until = not_later_than_now(as_of if isinstance(as_of, datetime) else "now")
    with Store(config.store.get_secret_value()) as store:
        due = store.unscored(as_datetime(until), timeframe=config.freq, symbols=config.universe.keys())
        if not due:
            return ScoreReport(0, 0, [], [])
        symbols = sorted({row["symbol"] for row in due})
        start = as_moment(min(row["as_of"] for row in due)) - _before(config.freq)
        market = read(config, symbols, as_datetime(until), progress, start=start)
        evaluations: list[dict[str, Any]] = []
        failures = list(market.failures)
        facts = read_facts(config, tuple(market.bars), start, until)
        waiting = 0
        for symbol, group in groupby(due, key=lambda row: row["symbol"]):
            if symbol not in market.bars:
                continue
            rows = list(group)
            try:
                found = _evaluate(rows, market.bars[symbol], known(facts, symbol, until), config)
            except ValueError as error:
                failures.append(Failure(symbol, "data", reason(error)))
                continue
            evaluations += found
            waiting += len(rows) - len(found)
        store.evaluate(evaluations)
    models = list(_by_model(evaluations))
    told = {m.model: config.weights[m.model] for m in models if m.model in config.weights}
    return ScoreReport(len(evaluations), waiting, models, failures, told)


def _before(freq: str) -> np.timedelta64:
    """Return a span that holds the bars which tell the regime, in a market with one bar of this length a day."""
    bars = _VOLATILITY + _USUAL + 1
    return np.timedelta64(min(2 * bars, 30 + 2 * bars * _freq.minutes(freq) // 60), "D")


def _evaluate(
    rows: Sequence[dict[str, Any]], bars: Bars, facts: Sequence[Fact], config: Config
) -> list[dict[str, Any]]:
    """Return the evaluations of one symbol's predictions whose target bar is there, with a close."""
    targets = np.array([as_moment(row["target_time"]) for row in rows])
    place = np.minimum(np.searchsorted(bars.times.time, targets), len(bars) - 1)
    there = (bars.times.time[place] == targets) & np.isfinite(bars.close[place])
    rows, place = [row for row, found in zip(rows, there, strict=True) if found], place[there]
    if not rows:
        return []
    cutoffs = np.array([as_moment(row["as_of"]) for row in rows])
    regimes = _regimes(bars, np.searchsorted(bars.times.available_at, cutoffs, side="right") - 1)
    market = calendar(config.universe[bars.symbol].market)
    due = market.grid(bars.times.time[0], bars.times.time[-1], config.freq)
    events = event_bars(facts, due)
    on_grid = np.searchsorted(due.time, bars.times.time)
    scores = _scores(rows, bars.close[place])
    return [
        {
            **{name: row[name] for name in (*KEY, "asset_class", "created_at")},
            "realised": float(bars.close[i]),
            "realised_at": as_datetime(bars.times.available_at[i]),
            "event_active": None if events is None else bool(events[on_grid[i]]),
            "regime": str(regime),
            **score,
        }
        for row, i, regime, score in zip(rows, place, regimes, scores, strict=True)
    ]


def _scores(rows: Sequence[Mapping[str, Any]], actual: Floats) -> list[dict[str, Any]]:
    """Return the scores of predictions, all at once for those that have the same quantile levels."""
    scores: list[dict[str, Any]] = [{}] * len(rows)
    groups: dict[tuple[float, ...], list[int]] = {}
    quantiles = [_quantiles(row) for row in rows]
    for i, (levels, _) in enumerate(quantiles):
        groups.setdefault(levels, []).append(i)
    for levels, members in groups.items():
        y, q = actual[members], np.array([quantiles[i][1] for i in members])
        p10, p50, p90, last = (
            np.array([rows[i][name] for i in members]) for name in ("p10", "p50", "p90", "last_close")
        )
        # Losses are shares of the last close: on price levels they would hide everything.
        crps = metrics.crps_quantiles(y, q, levels) / np.abs(last)
        columns = (
            crps / 2,
            crps,
            np.abs(y - p50) / np.abs(last),
            metrics.covered(y, p10, p90),
            metrics.pit(y, q, levels),
            metrics.direction_hit(y, p50, last),
        )
        for i, (pinball, crps, error, covered, pit, hit) in zip(members, np.array(columns).T.tolist(), strict=True):
            scores[i] = {
                "pinball": pinball,
                "crps": crps,
                "abs_error": error,
                "covered": bool(covered),
                "pit": pit,
                "direction_hit": None if math.isnan(hit) else bool(hit),
            }
    return scores


def _quantiles(row: Mapping[str, Any]) -> tuple[tuple[float, ...], list[float]]:
    """Return a prediction's levels and quantiles of the close, in order."""
    told = dict(zip(ENVELOPE, (row["p10"], row["p50"], row["p90"]), strict=True))
    told |= {float(q): value for q, value in ((row["quantiles"] or {}).get("close") or {}).items()}
    levels = tuple(sorted(told))
    return levels, [told[q] for q in levels]


def _regimes(bars: Bars, cuts: NDArray[np.int64]) -> list[str]:
    """Return the volatility regime after each bar asked for: its last 20 returns against their usual by then.

    ``low`` below 0.75 and ``high`` above 1.33 times the median 20-bar volatility of the 250 bars before, else
    ``normal``; ``unknown`` with fewer than 60 to compare with.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(bars.close))
    if len(returns) < _VOLATILITY:
        return ["unknown"] * len(cuts)
    volatility = sliding_window_view(returns, _VOLATILITY).std(axis=1)
    found: dict[int, str] = {}
    for cut in {int(c) for c in cuts}:
        last = cut - _VOLATILITY
        before = volatility[max(last - _USUAL, 0) : max(last, 0)]
        usual = np.median(before) if len(before) >= _FEWEST else np.nan
        ratio = volatility[last] / usual if usual > 0 else np.nan
        found[cut] = "unknown" if not np.isfinite(ratio) else _regime(float(ratio))
    return [found[int(c)] for c in cuts]


def _regime(ratio: float) -> str:
    if ratio < _CALM:
        return "low"
    return "high" if ratio > _WILD else "normal"


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

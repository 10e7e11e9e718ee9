"""Scores: stored predictions against the bars that came."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import freq as _freq
from . import metrics
from .calendars import calendar
from .calibration import build_calibrator
from .config import Config, calibrated
from .errors import DONE, PARTIAL
from .eventbars import event_bars
from .interfaces import Weights
from .isolation import reason
from .lessons import Stored
from .reading import Failure, Progress, as_moment, not_later_than_now, read, read_facts
from .regimes import SPAN, USUAL, regime, volatility_ratios
from .rows import as_datetime, close_quantiles
from .store import KEY, Store, learned_row
from .types import Bars, Fact, Floats, Moment
from .windows import Ledger


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

    Where the configuration calibrates, the calibration learns from the scores. Scoring again changes nothing.
    Raises what ``reading.read`` and ``Store`` raise.
    """
    until = not_later_than_now(as_of if isinstance(as_of, datetime) else "now")
    with Store.of(config) as store:
        due = store.unscored(as_datetime(until), timeframe=config.freq, symbols=config.universe.keys())
        if not due:
            return ScoreReport(0, 0, [], [])
        symbols = sorted({row["symbol"] for row in due})
        start = as_moment(min(row["as_of"] for row in due)) - regime_span(config.freq)
        market = read(config, symbols, as_datetime(until), progress, start=start)
        evaluations: list[dict[str, Any]] = []
        failures = list(market.failures)
        ledger = Ledger(read_facts(config, tuple(market.bars), start, until))
        waiting = 0
        for symbol, group in groupby(due, key=lambda row: row["symbol"]):
            if symbol not in market.bars:
                continue
            rows = list(group)
            try:
                outcomes = Outcomes.of(market.bars[symbol], ledger.known(symbol, until), config)
                found = outcomes.evaluate(rows)
            except ValueError as error:
                failures.append(Failure(symbol, "data", reason(error)))
                continue
            evaluations += found
            waiting += len(rows) - len(found)
        store.evaluate(evaluations, taught=calibrated(config.raw_name))
        _calibrate(store, config, until)
    models = list(_by_model(evaluations))
    told = {m.model: config.weights[m.model] for m in models if m.model in config.weights}
    return ScoreReport(len(evaluations), waiting, models, failures, told)


def _calibrate(store: Store, config: Config, until: Moment) -> None:
    """Let the calibration take in what has been scored; a run that finds it undone does it by itself."""
    calibrator = build_calibrator(config.raw_name, config)
    if calibrator is not None:
        _, learned = calibrator.learn(Stored(store, as_datetime(until), config.freq, config.horizon))
        if learned is not None and learned.state is not None and not learned.kept:
            row = learned_row(calibrator.name, config.freq, learned.options, learned.until, learned.state)
            store.learn([row])


def regime_span(freq: str) -> np.timedelta64:
    """Return a span that holds the bars which tell the regime, in a market with one bar of this length a day."""
    bars = SPAN + USUAL + 1
    return np.timedelta64(min(2 * bars, 30 + 2 * bars * _freq.minutes(freq) // 60), "D")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of one symbol: its bars, and on which of them an important event bears."""

    bars: Bars
    events: NDArray[np.bool_] | None
    """``[T]``; None where no calendar is known."""

    @classmethod
    def of(cls, bars: Bars, facts: Sequence[Fact], config: Config) -> Outcomes:
        """Return what came by the last bar; ``facts`` are those known by then, in the order they became known."""
        market = calendar(config.universe[bars.symbol].market)
        due = market.grid(bars.times.time[0], bars.times.time[-1], config.freq)
        active = event_bars(facts, due)
        return cls(bars, None if active is None else active[np.searchsorted(due.time, bars.times.time)])

    def evaluate(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the evaluations of the symbol's predictions whose target bar is there, with a close.

        Each has what ``Store.evaluate`` wants, ``created_at`` where the prediction has it.
        """
        bars = self.bars
        targets = np.array([as_moment(row["target_time"]) for row in rows], dtype="datetime64[us]")
        place = np.minimum(np.searchsorted(bars.times.time, targets), len(bars) - 1)
        there = (bars.times.time[place] == targets) & np.isfinite(bars.close[place])
        rows, place = [row for row, found in zip(rows, there, strict=True) if found], place[there]
        cutoffs = np.array([as_moment(row["as_of"]) for row in rows], dtype="datetime64[us]")
        last = np.searchsorted(bars.times.available_at, cutoffs, side="right") - 1
        ratios = volatility_ratios(bars.close, last)
        scores = _scores(rows, bars.close[place])
        return [
            {
                **{name: row[name] for name in (*KEY, "asset_class", "created_at") if name in row},
                "realised": float(bars.close[i]),
                "realised_at": as_datetime(bars.times.available_at[i]),
                "event_active": None if self.events is None else bool(self.events[i]),
                "regime": regime(ratio),
                **score,
            }
            for row, i, ratio, score in zip(rows, place, ratios.tolist(), scores, strict=True)
        ]


def _scores(rows: Sequence[Mapping[str, Any]], actual: Floats) -> list[dict[str, Any]]:
    """Return the scores of predictions, all at once for those that have the same quantile levels."""
    scores: list[dict[str, Any]] = [{}] * len(rows)
    groups: dict[tuple[float, ...], list[int]] = {}
    quantiles = [close_quantiles(row) for row in rows]
    for i, told in enumerate(quantiles):
        groups.setdefault(tuple(told), []).append(i)
    for levels, members in groups.items():
        y, q = actual[members], np.array([list(quantiles[i].values()) for i in members])
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

"""Walk-forward scores: several sets of weights of one forecaster on the same windows, each cut at its origin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import metrics
from .calendars import calendar
from .config import Config
from .encoding import build_encoders, leaders_of, lookback_of
from .errors import DataError
from .eventbars import event_bars
from .examples import Examples, Reach, Track, lay
from .interfaces import Forecaster
from .isolation import NEVER_ISOLATED, isolate, reason, required
from .members import forecast_all
from .reading import Failure, Progress, listed, read, read_facts, stretch
from .rows import as_datetime
from .types import Bars, Example, Fact, Floats, Forecast, Moment, Times, moment
from .windows import Cutter, known

log = logging.getLogger(__name__)
LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""Quantile levels that are scored: evenly spaced, so that the CRPS is told as far as nine levels tell it."""
Arm = str | float
"""What tells sets of weights apart in a table of scores."""
COLUMNS = (
    "arm", "symbol", "as_of", "day", "step", "event_active", "actual", "crps", "abs_error", "covered", "median"
)  # fmt: skip
NO_SCORES = pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
_BEGINNING = moment("1900-01-01")
_PROBED = 3
"""Symbols of which a window is cut again from a market with another future."""

Events = Mapping[str, tuple[Times, NDArray[np.bool_]]]
"""By symbol, the bars of its calendar and whether an important event bears on each."""


@dataclass(frozen=True, eq=False)
class Course:
    """The windows of some symbols at every origin of a span, and what came after each."""

    tracks: Sequence[Track]
    examples: Examples
    events: Events
    failures: Sequence[Failure]


def course(
    config: Config,
    symbols: Sequence[str],
    context: int,
    first: Moment,
    until: Moment,
    embargo: int,
    progress: Progress,
) -> Course:
    """Cut the windows of the symbols at every origin from ``first`` on whose targets are complete by ``until``.

    The first ``embargo`` bars of each symbol are left out. Nothing later than ``until`` is read. Raises DataError
    where leaders or all symbols cannot be used, and what ``read`` raises.
    """
    encoders = build_encoders(config)
    leaders = leaders_of(encoders)
    start = first - stretch(context + lookback_of(encoders), config.freq)
    market = read(config, list(dict.fromkeys([*symbols, *leaders])), as_datetime(until), progress, start=start)
    if lost := [failure for failure in market.failures if failure.symbol in leaders]:
        raise DataError(f"the encoders cannot do without their leaders:{listed(lost)}")
    facts = read_facts(config, list(market.bars), _BEGINNING, until)
    cutter = Cutter.of(config, context, encoders, facts, market.bars)
    mine = {symbol: market.bars[symbol] for symbol in symbols if symbol in market.bars}
    reach = Reach(first, until, embargo=embargo)
    tracks = required(lambda: lay(cutter, mine, config.universe, reach, progress), "encoders")
    return Course(tracks, Examples.all(tracks), _events(config, mine, facts, until), market.failures)


def _events(
    config: Config, bars: Mapping[str, Bars], facts: Sequence[Fact], until: Moment
) -> dict[str, tuple[Times, NDArray[np.bool_]]]:
    found = {}
    for symbol, mine in bars.items():
        market = calendar(config.universe[symbol].market)
        grid = market.grid(mine.times.time[0], mine.times.time[-1], config.freq)
        active = event_bars(known(facts, symbol, until), grid)
        found[symbol] = grid, np.zeros(len(grid), dtype=np.bool_) if active is None else active
    return found


def scores(
    arms: Mapping[Arm, Forecaster],
    examples: Sequence[Example],
    events: Events,
    context: int,
    batch: int,
    done: Callable[[int], None],
) -> tuple[pd.DataFrame, dict[Arm, dict[int, str]]]:
    """Return the scores of each arm, as ``Trial`` has them, and by window why an arm failed.

    There is a row for each step of what every arm could forecast. ``done`` is told after each batch how many
    windows have had their turn.
    """
    parts: list[pd.DataFrame] = []
    failed: dict[Arm, dict[int, str]] = {arm: {} for arm in arms}
    for start in range(0, len(examples), batch):
        chunk = examples[start : start + batch]
        windows = [example.window.last(context) for example in chunk]
        found: dict[Arm, dict[int, Forecast]] = {}
        for arm, forecaster in arms.items():
            call = partial(forecast_all, forecaster, levels=LEVELS)
            found[arm], errors = isolate(windows, call)
            failed[arm] |= {start + i: f"{windows[i].symbol}: {reason(e)}" for i, e in sorted(errors.items())}
        shared = sorted(set.intersection(*(set(results) for results in found.values())))
        if shared:
            parts += _scored([chunk[i] for i in shared], found, shared, events)
        done(min(start + batch, len(examples)))
    return (pd.concat(parts, ignore_index=True) if parts else NO_SCORES), failed


def _scored(
    chunk: Sequence[Example],
    found: Mapping[Arm, Mapping[int, Forecast]],
    rows: Sequence[int],
    events: Events,
) -> Iterator[pd.DataFrame]:
    """Yield the scores of each arm, for the examples that all of them could forecast."""
    actual = np.stack([example.target.close for example in chunk])
    last = np.array([example.window.bars.close[-1] for example in chunk])[:, None]
    steps = actual.shape[1]
    named = {
        "symbol": np.repeat([example.window.symbol for example in chunk], steps),
        "as_of": pd.DatetimeIndex(np.repeat([e.window.cutoff for e in chunk], steps), tz="UTC").as_unit("us"),
        "day": np.repeat([e.window.bars.times.session[-1] for e in chunk], steps).astype("datetime64[s]"),
        "step": np.tile(np.arange(1, steps + 1), len(chunk)),
        "event_active": np.concatenate([_on_event(example, events) for example in chunk]),
        "actual": (actual / last - 1).ravel(),
    }
    for arm, results in found.items():
        q: Floats = np.stack([results[i].at(LEVELS)[-steps:] for i in rows])
        median = q[..., LEVELS.index(0.5)]
        yield pd.DataFrame(
            {
                "arm": arm,
                **named,
                "crps": (metrics.crps_quantiles(actual, q, LEVELS) / np.abs(last)).ravel(),
                "abs_error": (np.abs(actual - median) / np.abs(last)).ravel(),
                "covered": metrics.covered(actual, q[..., 0], q[..., -1]).ravel(),
                "median": (median / last - 1).ravel(),
            }
        )


def _on_event(example: Example, events: Events) -> NDArray[np.bool_]:
    """Return whether an important event bears on each bar to come ``[H]``."""
    if example.window.symbol not in events:
        return np.zeros(len(example.target), dtype=np.bool_)
    grid, active = events[example.window.symbol]
    rows: NDArray[np.bool_] = active[np.searchsorted(grid.time, example.target.times.time)]
    return rows


def leaks(forecaster: Forecaster, course: Course, context: int) -> list[str]:
    """Return what tells that the future reached a forecast, in sentences.

    Windows are cut again from a market whose bars after the cutoff are others and whose facts end there, and are
    forecast again when the forecaster has seen later ones: each number has to be the same. What cannot be forecast
    tells nothing here; it fails where all windows are scored.
    """
    told = []
    for track in [track for track in course.tracks if len(track.origins)][:_PROBED]:
        window = track.example(len(track.origins) // 2).window
        market = track.instrument.market
        other = _with_another_future(track.cutter, window.cutoff).window(
            _changed(track.bars, window.cutoff), window.cutoff, asset_class=window.asset_class, market=market
        )
        later = track.example(len(track.origins) - 1).window
        try:
            shown = [forecast_all(forecaster, [w.last(context)], LEVELS)[0] for w in (window, later, other)]
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            log.debug("not probed: %s", reason(error))
            continue
        if not np.array_equal(shown[0].quantiles, shown[2].quantiles):
            told.append(
                f"the forecast of {window.symbol} as of {window.cutoff} UTC changes with what came after it"
            )
    return told


def _with_another_future(cutter: Cutter, cutoff: Moment) -> Cutter:
    leaders = {name: _changed(bars, cutoff) for name, bars in cutter.leaders.items()}
    return replace(cutter, facts=[f for f in cutter.facts if f.known_at <= cutoff], leaders=leaders)


def _changed(bars: Bars, cutoff: Moment) -> Bars:
    """Return the bars with those after the cutoff moved far away."""
    later = bars.times.available_at > cutoff
    return replace(bars, values=np.where(later[:, None], 3 * bars.values + 1, bars.values))

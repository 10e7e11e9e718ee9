"""From feeds to checked bars: what every command that needs data does first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from .calendars import calendar
from .checks import DataReport, Inspection
from .config import Config
from .errors import ConfigError, DataError, SymbolError
from .factchecks import check_facts
from .freq import is_daily, minutes
from .interfaces import Feed
from .isolation import NEVER_ISOLATED, isolate, reason, required
from .types import Bars, Fact, Finding, Moment, Span, moment

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total) between pieces of work; may raise Interrupted to stop there."""
_CHUNK = 200
_AHEAD = np.timedelta64(400, "D")
_BEHIND = np.timedelta64(3 * 365, "D")
"""How far facts go back before the bars, for statistics such as the spread of the last 20 surprises."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be forecast or explained, and why."""

    symbol: str
    """Empty where it concerns them all."""
    stage: str
    """``data``, ``window``, ``model``, ``ensemble``, ``calibration`` or ``explain``."""
    reason: str
    model: str = ""
    """The model that failed; empty where the symbol as a whole did."""


def stretch(bars: int, freq: str) -> np.timedelta64:
    """Return a span of time in which every market has so many bars."""
    return np.timedelta64(bars * minutes(freq) * (2 if is_daily(freq) else 6), "m") + np.timedelta64(20, "D")


def listed(failures: Sequence[Failure], most: int = 20) -> str:
    """Return the different reasons, a line each, and how many were left out."""
    lines = list(dict.fromkeys(f"\n  {f.model}{': ' * bool(f.model)}{f.reason}" for f in failures))
    return "".join(lines[:most]) + (f"\n  … and {len(lines) - most} more" if len(lines) > most else "")


@dataclass(slots=True)
class Market:
    """What the feed gave: bars that passed their checks, and what did not pass."""

    cutoff: Moment
    bars: dict[str, Bars]
    inspections: dict[str, Inspection]
    failures: list[Failure]
    calendar: DataReport = field(default_factory=lambda: DataReport("calendar"))
    """What is known about the facts."""

    def require_any(self) -> None:
        """Raise DataError where no symbol is left."""
        if not self.bars:
            raise DataError(f"no symbol can be used:{listed(self.failures)}")

    @property
    def reports(self) -> dict[str, DataReport]:
        """What is known about each symbol's data, and about the calendar where there is something to tell."""
        calendar = {"calendar": self.calendar} if self.calendar.findings else {}
        return {**calendar, **{symbol: inspection.report for symbol, inspection in self.inspections.items()}}


def present() -> Moment:
    """Return the present moment, UTC."""
    return moment(datetime.now(UTC).replace(tzinfo=None))


def as_moment(when: datetime) -> Moment:
    """Turn a datetime into UTC; a naive one is UTC already."""
    return moment((when if when.tzinfo is None else when.astimezone(UTC)).replace(tzinfo=None))


def not_later_than_now(as_of: datetime | str) -> Moment:
    """Return the moment up to which bars can be complete; raises ConfigError if it is yet to come."""
    now = present()
    until = now if isinstance(as_of, str) else as_moment(as_of)
    if until > now:
        raise ConfigError(f"as_of {str(until)[:16]} lies in the future; bars under way would count as complete")
    return until


def read(
    config: Config,
    symbols: Sequence[str],
    as_of: datetime | str,
    progress: Progress,
    *,
    last: int | None = None,
    start: Moment | None = None,
    further: Mapping[str, int] | None = None,
) -> Market:
    """Read and check the symbols' bars up to a cutoff, the last so many or from a start.

    ``further`` says of which symbols how many are read instead of ``last``.
    ``as_of`` is the cutoff, ``now``, or ``latest`` for the latest moment at which one of the symbols' bars
    became complete. A symbol that fails is set apart in the result. Raises ConfigError where the feed as a
    whole cannot be used and DataError where no symbol passes.
    """
    until = not_later_than_now(as_of)
    market = Market(until, {}, {}, [])
    counts = {symbol: (further or {}).get(symbol, last) for symbol in symbols}
    for inspection, found in inspected(feed_of(config), config, counts, until, progress, start=start):
        market.inspections[inspection.report.symbol] = inspection
        if isinstance(found, Bars):
            market.bars[found.symbol] = found
        else:
            market.failures.append(found)
    market.require_any()
    if as_of == "latest":
        market.cutoff = max(bars.times.available_at[-1] for bars in market.bars.values())
    return market


def feed_of(config: Config) -> Feed:
    """Build the feed of bars; raises PluginError where that fails."""
    return required(config.feed.build, f"feed {config.feed.type}")


def inspected(
    feed: Feed,
    config: Config,
    counts: Mapping[str, int | None],
    until: Moment,
    progress: Progress,
    *,
    start: Moment | None = None,
) -> Iterator[tuple[Inspection, Bars | Failure]]:
    """Read symbols some at a time, and yield what the checks of each found and its bars, or why it has none.

    ``counts`` says of each symbol how many of its last bars are read, None for all from ``start`` on. Raises what
    concerns every symbol.
    """
    # Rows that the checks drop must not shorten the context.
    spans = {symbol: Span(until, start, n and n + n // 10 + 10) for symbol, n in counts.items()}

    def frames(chunk: Sequence[str]) -> list[pd.DataFrame | SymbolError | None]:
        found = dict(feed.bars(chunk, config.freq, spans[chunk[0]]))
        return [found.get(symbol) for symbol in chunk]

    done = 0
    for chunk in _chunks(spans):
        results, errors = isolate(chunk, frames)
        for position, symbol in enumerate(chunk):
            inspection = Inspection(symbol, calendar(config.universe[symbol].market), config.freq, config.checks)
            try:
                if position in errors:
                    raise errors[position]
                found: Bars | Failure = inspection.bars(results.pop(position), until)
            except NEVER_ISOLATED:
                raise
            except (Exception, SystemExit) as error:
                found = Failure(symbol, "data", reason(error))
            yield inspection, found
        done += len(chunk)
        progress("reading", done, len(spans))


def read_facts(
    config: Config, symbols: Sequence[str], start: Moment, cutoff: Moment, report: DataReport | None = None
) -> list[Fact]:
    """Read the facts about the symbols, scheduled from some time before ``start`` to some time after the cutoff.

    They are checked where there is a report to write findings to. Raises DataError where they cannot be read.
    """
    options = config.facts or config.feed
    feed = required(options.build, f"feed {options.type}")
    try:
        told = list(feed.facts(tuple(symbols), Span(cutoff + _AHEAD, start - _BEHIND)))
        strange = [item for item in told if not isinstance(item, (Fact, Finding))]
        if strange:
            raise TypeError(f"the feed gave a {type(strange[0]).__name__} where a Fact was expected")
    except NEVER_ISOLATED:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"facts: {reason(error)}") from error
    facts = [item for item in told if isinstance(item, Fact)]
    if report is not None:
        report.rows = len(facts)
        report.findings += [item for item in told if isinstance(item, Finding)]
        report.findings += check_facts(facts)
    return facts


def _chunks(spans: Mapping[str, Span]) -> Iterator[list[str]]:
    """Yield the symbols, some at a time, those of one span together."""
    for span in dict.fromkeys(spans.values()):
        symbols = [symbol for symbol, its in spans.items() if its == span]
        for start in range(0, len(symbols), _CHUNK):
            yield symbols[start : start + _CHUNK]

"""From feeds to checked bars: what every command that needs data does first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from .calendars import calendar
from .checks import DataReport, Inspection
from .config import Config
from .errors import DataError, SymbolError
from .interfaces import Feed
from .isolation import NEVER_ISOLATED, isolate, reason, required
from .types import Bars, Fact, Moment, Span, moment

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total) between pieces of work; may raise Interrupted to stop there."""
_CHUNK = 200
_AHEAD = np.timedelta64(400, "D")


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be forecast, and why."""

    symbol: str
    """Empty where it concerns them all."""
    stage: str
    """``data``, ``window``, ``model`` or ``ensemble``."""
    reason: str
    model: str = ""
    """The model that failed; empty where the symbol as a whole did."""


@dataclass(slots=True)
class Market:
    """What the feeds gave: bars that passed their checks, facts, and what did not pass."""

    cutoff: Moment
    bars: dict[str, Bars]
    facts: list[Fact]
    inspections: dict[str, Inspection]
    failures: list[Failure]

    def require_history(self) -> None:
        """Set apart the symbols whose bars are too few or end too early to forecast from."""
        for symbol, bars in list(self.bars.items()):
            try:
                self.inspections[symbol].history(bars, self.cutoff)
            except SymbolError as error:
                del self.bars[symbol]
                self.failures.append(Failure(symbol, "data", reason(error)))

    def require_any(self) -> None:
        """Raise DataError where no symbol is left."""
        if not self.bars:
            reasons = list(dict.fromkeys(f.reason for f in self.failures))
            more = f"\n  … and {len(reasons) - 20} more" if len(reasons) > 20 else ""
            raise DataError("no symbol can be used:\n  " + "\n  ".join(reasons[:20]) + more)

    @property
    def reports(self) -> dict[str, DataReport]:
        """What is known about each symbol's data."""
        return {symbol: inspection.report for symbol, inspection in self.inspections.items()}


def present() -> Moment:
    """Return the present moment, UTC."""
    return moment(datetime.now(UTC).replace(tzinfo=None))


def as_moment(when: datetime) -> Moment:
    """Turn a datetime into UTC; a naive one is UTC already."""
    return moment((when if when.tzinfo is None else when.astimezone(UTC)).replace(tzinfo=None))


def read(
    config: Config,
    symbols: Sequence[str],
    as_of: datetime | str,
    progress: Progress,
    *,
    last: int | None = None,
    start: Moment | None = None,
) -> Market:
    """Read and check the symbols' bars up to a cutoff, the last so many or from a start, and their facts.

    ``as_of`` is the cutoff, ``now``, or ``latest`` for the latest moment at which one of the symbols' bars
    became complete. A symbol that fails is set apart in the result. Raises ConfigError where the feed as a
    whole cannot be used and DataError where no symbol passes.
    """
    until = present() if isinstance(as_of, str) else as_moment(as_of)
    feed = required(config.feed.build, f"feed {config.feed.type}")
    # Rows that the checks drop must not shorten the context.
    span = Span(end=until, start=start, last=last and last + last // 10 + 10)
    market = _inspect(feed, config, symbols, span, progress)
    market.require_any()
    if as_of == "latest":
        market.cutoff = max(bars.times.available_at[-1] for bars in market.bars.values())
    first = min(bars.times.time[0] for bars in market.bars.values())
    _read_facts(market, config, feed, Span(market.cutoff + _AHEAD, first))
    return market


def _read_facts(market: Market, config: Config, feed: Feed, span: Span) -> None:
    """Read the facts; raises DataError where they cannot be read although an encoder needs them."""
    options = config.facts
    source = required(options.build, f"feed {options.type}") if options else feed
    try:
        market.facts = list(source.facts(tuple(market.bars), span))
    except NEVER_ISOLATED:
        raise
    except (Exception, SystemExit) as error:
        if config.encoders:
            raise DataError(f"facts: {reason(error)}") from error
        market.failures.append(Failure("", "data", f"facts: {reason(error)}"))


def _inspect(feed: Feed, config: Config, symbols: Sequence[str], span: Span, progress: Progress) -> Market:
    """Read the symbols in chunks and check each; those that fail are set apart."""
    market = Market(span.end, {}, [], {}, [])

    def frames(chunk: Sequence[str]) -> list[pd.DataFrame | None]:
        found = dict(feed.bars(chunk, config.freq, span))
        return [found.get(symbol) for symbol in chunk]

    for start in range(0, len(symbols), _CHUNK):
        chunk = symbols[start : start + _CHUNK]
        results, errors = isolate(chunk, frames)
        for position, symbol in enumerate(chunk):
            inspection = Inspection(symbol, calendar(config.universe[symbol].market), config.freq, config.checks)
            market.inspections[symbol] = inspection
            try:
                if position in errors:
                    raise errors[position]
                market.bars[symbol] = inspection.bars(results[position], span.end)
            except NEVER_ISOLATED:
                raise
            except (Exception, SystemExit) as error:
                market.failures.append(Failure(symbol, "data", reason(error)))
        progress("reading", min(start + _CHUNK, len(symbols)), len(symbols))
    return market

"""What a run is about to forecast: read once to know what there is and as of when, then cut some symbols at a time.

Bars are kept up to a bound, and those of further symbols read again when it is their turn, so that memory does not
grow with the number of symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np

from .checks import DataReport, Extent, Inspection
from .config import Config
from .encoding import build_encoders, leaders_of, lookback_of
from .errors import DataError, SymbolError
from .freq import is_daily, minutes
from .interfaces import EventEncoder, Feed
from .isolation import isolate, reason
from .manifest import digest, market_fingerprint
from .reading import Failure, Progress, feed_of, inspected, listed, not_later_than_now, read_facts
from .types import Bars, Fact, Moment, Window
from .windows import Cutter

MOST_KEPT = 1_000_000
"""Bars kept from the first reading."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a symbol's bars."""

    inspection: Inspection
    extent: Extent
    until: Moment
    """The moment at which the last of them was complete."""
    digest: str


class Survey:
    """The symbols that can be forecast as of one cutoff."""

    symbols: tuple[str, ...]
    """Those that can be forecast, in the order asked for."""
    cutoff: Moment
    reports: Mapping[str, DataReport]
    """What is known about each symbol's data, and about the calendar where there is something to tell."""
    data: str
    """A digest of all that the models may see."""

    def __init__(
        self, config: Config, symbols: Sequence[str], as_of: datetime | str, context: int, progress: Progress
    ) -> None:
        """Read the symbols, and the leaders that encoders want to see; those that fail are set apart.

        ``as_of`` is the cutoff, ``now``, or ``latest`` for the latest moment at which a bar became complete.
        ``context`` is how many bars a window holds at most. Raises ConfigError where the feed as a whole cannot be
        used and DataError where no symbol passes its checks.
        """
        self._config, self._context = config, context
        self.failures: list[Failure] = []
        self.cutoff = not_later_than_now(as_of)
        encoders = build_encoders(config)
        self._look(symbols, encoders, progress, latest=as_of == "latest")
        self._gather_facts(encoders)

    def _look(
        self, symbols: Sequence[str], encoders: Sequence[EventEncoder], progress: Progress, *, latest: bool
    ) -> None:
        """Read all that is asked for, and keep what there is room for."""
        config, leaders = self._config, leaders_of(encoders)
        needed = max(self._context, config.checks.min_history)
        # In the time of so many bars of one market another may have this many times as many.
        most = 2 if is_daily(config.freq) else 6
        self._reach = np.timedelta64(needed * minutes(config.freq) * most, "m")
        self._counts = dict.fromkeys([*symbols, *leaders], needed)
        self._counts |= dict.fromkeys(leaders, most * needed + lookback_of(encoders))
        self._feed: Feed = feed_of(config)
        self._leaders: dict[str, Bars] = {}
        self._kept: dict[str, Bars] = {}
        seen: dict[str, _Seen] = {}
        reports: dict[str, DataReport] = {}
        room = MOST_KEPT
        for inspection, found in inspected(self._feed, config, self._counts, self.cutoff, progress):
            reports[inspection.report.symbol] = inspection.report
            if isinstance(found, Failure):
                self.failures.append(found)
                continue
            symbol = found.symbol
            seen[symbol] = _Seen(inspection, Extent.of(found), found.times.available_at[-1], self._digest(found))
            if symbol in leaders:
                self._leaders[symbol] = found
            elif len(found) <= room:
                self._kept[symbol] = found
                room -= len(found)
        if latest:
            self.cutoff = max((its.until for its in seen.values()), default=self.cutoff)
        for symbol, its in list(seen.items()):
            try:
                its.inspection.history(its.extent, self.cutoff)
            except SymbolError as error:
                del seen[symbol]
                for bars in (self._leaders, self._kept):
                    bars.pop(symbol, None)
                self.failures.append(Failure(symbol, "data", reason(error)))
        if not seen:
            raise DataError(f"no symbol can be used:{listed(self.failures)}")
        self._digests = {symbol: its.digest for symbol, its in seen.items()}
        self.reports = MappingProxyType(reports)
        self.symbols = tuple(symbol for symbol in symbols if symbol in seen)

    def _gather_facts(self, encoders: Sequence[EventEncoder]) -> None:
        facts: list[Fact] = []
        if encoders:
            calendar = DataReport("calendar")
            # They reach back as far for every symbol, whichever others are read beside it.
            facts = read_facts(self._config, list(self._counts), self.cutoff - self._reach, self.cutoff, calendar)
            told = {"calendar": calendar} if calendar.findings else {}
            self.reports = MappingProxyType({**told, **self.reports})
        self._cutter = Cutter.of(self._config, self._context, encoders, facts, self._leaders)
        known = market_fingerprint((), (fact for fact in facts if fact.known_at <= self.cutoff))
        self.data = digest([sorted(self._digests.items()), known], 64)

    def _digest(self, bars: Bars) -> str:
        """Return a digest of the bars asked for, however many more the feed gave."""
        return market_fingerprint([bars[-self._counts[bars.symbol] :]], ())

    def windows(self, symbols: Sequence[str]) -> tuple[dict[str, Window], list[Failure]]:
        """Cut the windows of some of the symbols; those that fail are set apart."""
        bars, failures = self._bars(symbols)
        ready = [symbol for symbol in symbols if symbol in bars]

        def cut(chunk: Sequence[str]) -> list[Window]:
            return [self._window(bars[symbol]) for symbol in chunk]

        windows, errors = isolate(ready, cut)
        failures += [Failure(ready[i], "window", reason(errors[i])) for i in sorted(errors)]
        return {ready[i]: windows[i] for i in sorted(windows)}, failures

    def _window(self, bars: Bars) -> Window:
        instrument = self._config.universe[bars.symbol]
        return self._cutter.window(bars, self.cutoff, asset_class=instrument.asset_class, market=instrument.market)

    def _bars(self, symbols: Sequence[str]) -> tuple[dict[str, Bars], list[Failure]]:
        """Return the symbols' bars, read again where they were not kept; what was kept is let go."""
        bars = {s: self._leaders[s] if s in self._leaders else self._kept.pop(s, None) for s in symbols}
        counts = {symbol: self._counts[symbol] for symbol, its in bars.items() if its is None}
        failures: list[Failure] = []
        for _, found in inspected(self._feed, self._config, counts, self.cutoff, lambda *_: None):
            if isinstance(found, Failure):
                failures.append(found)
            elif self._digest(found) != self._digests[found.symbol]:
                failures.append(Failure(found.symbol, "data", "its bars changed while the run was under way"))
            else:
                bars[found.symbol] = found
        return {symbol: its for symbol, its in bars.items() if its is not None}, failures

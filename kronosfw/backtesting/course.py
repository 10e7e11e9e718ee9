"""The ground a backtest covers: bars and facts read once, windows cut at each origin, outcomes to score by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ..checks import Extent
from ..config import Config
from ..encoding import build_encoders, leaders_of, lookback_of
from ..errors import SymbolError
from ..isolation import isolate, reason
from ..reading import Failure, Market, Progress, read, read_facts, stretch
from ..scoring import Outcomes, regime_span
from ..types import Bars, Fact, Moment, Window
from ..windows import Cutter, Ledger, complete
from .origins import Origin


@dataclass(frozen=True, eq=False)
class Course:
    """Bars and facts of a backtest."""

    config: Config
    market: Market
    facts: Sequence[Fact]
    cutter: Cutter

    @classmethod
    def laid(cls, config: Config, context: int, first: Moment, end: datetime | str, progress: Progress) -> Course:
        """Read what it takes to forecast from ``first`` on and score until ``end``; raises what ``read`` raises."""
        encoders = build_encoders(config)
        leaders = leaders_of(encoders)
        needed = max(context, config.checks.min_history) + lookback_of(encoders)
        start = first - max(stretch(needed, config.freq), regime_span(config.freq))
        symbols = list(dict.fromkeys([*config.forecast_symbols, *leaders]))
        market = read(config, symbols, end, progress, start=start)
        facts = read_facts(config, symbols, start, market.cutoff, market.calendar)
        cutter = Cutter.of(config, context, encoders, facts if encoders else (), market.bars)
        return cls(config, market, facts, cutter)

    @property
    def until(self) -> Moment:
        """The moment by which all is known that can be."""
        return self.market.cutoff

    def windows(self, origin: Origin) -> tuple[dict[str, Window], list[Failure]]:
        """Cut the windows of an origin, as a run as of it does; symbols that fail are set apart."""
        ready: dict[str, Bars] = {}
        failures: list[Failure] = []
        for symbol in origin.symbols:
            if symbol not in self.market.bars:
                continue
            bars = complete(self.market.bars[symbol], origin.cutoff)
            try:
                self.market.inspections[symbol].history(Extent.of(bars), origin.cutoff)
            except SymbolError as error:
                failures.append(Failure(symbol, "data", reason(error).partition(" (")[0]))
            else:
                ready[symbol] = self.market.bars[symbol]
        symbols = list(ready)

        def cut(chunk: Sequence[str]) -> list[Window]:
            return [self._window(ready[symbol], origin.cutoff) for symbol in chunk]

        windows, errors = isolate(symbols, cut)
        failures += [Failure(symbols[i], "window", reason(errors[i])) for i in sorted(errors)]
        return {symbols[i]: windows[i] for i in sorted(windows)}, failures

    def _window(self, bars: Bars, cutoff: Moment) -> Window:
        instrument = self.config.universe[bars.symbol]
        return self.cutter.window(bars, cutoff, asset_class=instrument.asset_class, market=instrument.market)

    @property
    def outcomes(self) -> Mapping[str, Outcomes]:
        """What came of each symbol that can be scored."""
        return self._judged[0]

    @property
    def unscored(self) -> list[Failure]:
        """The symbols that cannot be scored."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[dict[str, Outcomes], list[Failure]]:
        ledger = Ledger(self.facts)
        symbols = list(self.market.bars)

        def of(chunk: Sequence[str]) -> list[Outcomes]:
            bars = self.market.bars
            return [Outcomes.of(bars[s], ledger.known(s, self.until), self.config) for s in chunk]

        found, errors = isolate(symbols, of)
        failures = [Failure(symbols[i], "data", reason(errors[i])) for i in sorted(errors)]
        return {symbols[i]: outcomes for i, outcomes in found.items()}, failures

"""What a chart shows besides forecasts: the bars around the cutoff, and the events known at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..config import Config
from ..errors import Interrupted, KronosfwError
from ..eventbars import HIGH_IMPORTANCE
from ..isolation import reason
from ..reading import Progress, read, read_facts, stretch
from ..rows import as_datetime
from ..types import Bars, Fact, Moment, Moments
from ..windows import Ledger, complete
from .content import Event

HISTORY = 120
"""Bars of history in a chart."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the feed told, as far as it could be read."""

    cutoff: Moment
    bars: Mapping[str, Bars]
    """The last bars complete by the cutoff, by symbol."""
    since: Mapping[str, Bars]
    """Those that came after it."""
    facts: Ledger
    reasons: Mapping[str, str]
    """Why a symbol has no bars."""
    troubles: tuple[str, ...]
    """What could not be read at all, in sentences."""

    def events(self, symbol: str, available_at: Moments) -> tuple[Event, ...]:
        """Return the important events, as known at the cutoff, that bear on bars complete at these moments ``[N]``.

        What bears on which bar, and what is important, is as in ``eventbars``.
        """
        versions: dict[object, list[Fact]] = {}
        for fact in self.facts.known(symbol, self.cutoff):
            versions.setdefault(fact.event or (fact.kind, fact.scheduled_at), []).append(fact)
        before = int(np.searchsorted(available_at, self.cutoff, side="right"))
        found = []
        for told in versions.values():
            at = told[-1].scheduled_at
            place = int(np.searchsorted(available_at, at, side="right"))
            inside = place < len(available_at) and (place > 0 or at >= self.cutoff)
            figures = {name: value for fact in told for name, value in fact.values.items()}
            if inside and figures.pop("importance", HIGH_IMPORTANCE) >= HIGH_IMPORTANCE:
                found.append(Event(told[-1].kind, as_datetime(at), place - before + 1, figures))
        return tuple(sorted(found, key=lambda event: (event.at, event.name)))


def look_around(
    config: Config, symbols: Sequence[str], cutoff: Moment, until: Moment, progress: Progress
) -> Surroundings:
    """Read the bars around the cutoff and the facts; whatever cannot be read is told. Raises Interrupted."""
    bars: dict[str, Bars] = {}
    since: dict[str, Bars] = {}
    reasons: dict[str, str] = {}
    facts: list[Fact] = []
    troubles = []
    try:
        market = read(config, symbols, as_datetime(cutoff), progress, last=HISTORY)
        bars = {symbol: found[-HISTORY:] for symbol, found in market.bars.items()}
        reasons = {failure.symbol: failure.reason for failure in market.failures}
        since = _came(config, list(bars), cutoff, until, progress)
    except Interrupted:
        raise
    except KronosfwError as error:
        troubles.append(f"The bars could not be read, so the charts show no history: {reason(error)}")
    try:
        facts = read_facts(config, symbols, cutoff - stretch(HISTORY, config.freq), cutoff)
    except Interrupted:
        raise
    except KronosfwError as error:
        troubles.append(f"The events could not be read, so the charts show none: {reason(error)}")
    return Surroundings(cutoff, bars, since, Ledger(facts), reasons, tuple(troubles))


def _came(
    config: Config, symbols: Sequence[str], cutoff: Moment, until: Moment, progress: Progress
) -> dict[str, Bars]:
    """Return the bars complete after the cutoff, of the symbols that have any which pass the checks."""
    try:
        market = read(config, symbols, as_datetime(until), progress, start=cutoff - stretch(0, config.freq))
    except Interrupted:
        raise
    except KronosfwError:
        return {}
    return {symbol: bars[len(complete(bars, cutoff)) :] for symbol, bars in market.bars.items()}

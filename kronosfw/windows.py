"""Windows: the only code that cuts time.

A window holds the bars complete by the cutoff, the next bars to come, and covariates encoded from facts and
leaders as they were known at the cutoff. Nothing later can enter, because nothing later is handed on.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .calendars import Calendar, calendar
from .config import Config
from .encoding import leaders_of
from .interfaces import EventEncoder
from .types import Bars, Covariates, Fact, Moment, Moments, Times, Window

_MOST_MISSING = 1_000
"""Bars just before the cutoff that a model is made to forecast over, where the checks accept them missing."""
_LONGEST_BREAK = np.timedelta64(20, "D")
"""Within that time from any bar a market has another one."""


def complete(bars: Bars, cutoff: Moment) -> Bars:
    """Return the bars that are complete by the cutoff."""
    return bars[: int(np.searchsorted(bars.times.available_at, cutoff, side="right"))]


def known(facts: Sequence[Fact], symbol: str, cutoff: Moment) -> list[Fact]:
    """Return the facts about the symbol that were known by the cutoff, in the order they became known."""
    return Ledger(facts).known(symbol, cutoff)


class Ledger:
    """Facts in the order they became known, to be asked for by symbol and cutoff.

    The order is the same whatever order the feed gave them in.
    """

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = sorted(
            facts, key=lambda f: (f.known_at, f.scheduled_at, f.kind, f.event, sorted(f.values.items()))
        )
        self._known_at = [f.known_at for f in self._facts]
        self._of_all = np.array([not f.symbols for f in self._facts], dtype=np.bool_)
        self._of_one: dict[str, list[int]] = {}
        for place, fact in enumerate(self._facts):
            for symbol in set(fact.symbols):
                self._of_one.setdefault(symbol, []).append(place)

    def known(self, symbol: str, cutoff: Moment) -> list[Fact]:
        """Return the facts about the symbol that were known by the cutoff, in the order they became known."""
        mine = self._of_all.copy()
        mine[self._of_one.get(symbol, [])] = True
        by_then = mine[: bisect_right(self._known_at, cutoff)]
        return [self._facts[place] for place in np.flatnonzero(by_then).tolist()]


def seed_for(seed: int, symbol: str, cutoff: Moment) -> int:
    """Return the seed of one symbol's forecast at one cutoff, in ``[0, 2**63)``."""
    text = f"{seed}|{symbol}|{cutoff.astype('datetime64[us]').astype(np.int64)}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@dataclass(frozen=True)
class Cutter:
    """Cuts windows of one shape out of symbols' bars."""

    freq: str
    context: int
    """Bars T that a window holds at most."""
    horizon: int
    """Bars to forecast after the cutoff."""
    seed: int = 0
    encoders: Sequence[EventEncoder] = ()
    facts: Sequence[Fact] = ()
    leaders: Mapping[str, Bars] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Config,
        context: int,
        encoders: Sequence[EventEncoder],
        facts: Sequence[Fact],
        bars: Mapping[str, Bars],
    ) -> Cutter:
        """Return what cuts a configuration's windows; of ``bars`` it takes the encoders' leaders that are there."""
        return cls(
            freq=config.freq,
            context=context,
            horizon=config.horizon,
            seed=config.seed,
            encoders=encoders,
            facts=facts,
            leaders={name: bars[name] for name in leaders_of(encoders) if name in bars},
        )

    def window(self, bars: Bars, cutoff: Moment, *, asset_class: str, market: str) -> Window:
        """Return the symbol's window at the cutoff; ``market`` names its trading calendar.

        Bars that should be there by the cutoff but are not come first in the window's future: a model has to
        forecast over them, and the envelope is as wide as the time since the last close demands.

        Raises ValueError where there is no last close to forecast from.
        """
        past = complete(bars, cutoff)[-self.context :]
        if not len(past) or not np.isfinite(past.close[-1]) or past.close[-1] == 0:
            raise ValueError(f"{bars.symbol}: no bar by the cutoff, or a last close that is 0 or not finite")
        trading = calendar(market)
        missing = trading.since(past.times.time[-1], cutoff, self.freq)
        if len(missing) > _MOST_MISSING:
            raise ValueError(f"{bars.symbol}: {len(missing):,} bars are missing just before the cutoff")
        future = missing.then(trading.following(cutoff, self.horizon, self.freq))
        return Window(
            bars=past,
            future=future,
            cutoff=cutoff,
            freq=self.freq,
            asset_class=asset_class,
            seed=seed_for(self.seed, bars.symbol, cutoff),
            covariates=self._covariates(bars.symbol, past.times.then(future), len(past), cutoff, trading),
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The facts, sorted once for all windows."""
        return Ledger(self.facts)

    def _covariates(
        self, symbol: str, times: Times, context: int, cutoff: Moment, trading: Calendar
    ) -> Covariates | None:
        """Encode what was known at the cutoff; channels not known ahead are masked after the context."""
        if not self.encoders:
            return None
        facts = self.ledger.known(symbol, cutoff)
        leaders = {name: complete(bars, cutoff) for name, bars in self.leaders.items()}
        bars, rows = framed(times, trading, self.freq)
        values = encoded(self.encoders, facts, leaders, bars, np.minimum(bars.available_at, cutoff))
        return covariates(self.encoders, values[rows], context)


def framed(times: Times, trading: Calendar, freq: str) -> tuple[Times, NDArray[np.int64]]:
    """Return the calendar's bars from the one before these to the one after, and where these stand among them.

    Encoders see these: what a row holds cannot depend on which bars a feed lacks, and every bar has the two beside
    it. Raises ValueError where one of ``times`` is no bar of the calendar.
    """
    bars = trading.grid(times.time[0] - _LONGEST_BREAK, times.time[-1] + _LONGEST_BREAK, freq)
    first, last = np.searchsorted(bars.time, times.time[[0, -1]])
    bars = bars[max(first - 1, 0) : last + 2]
    rows = np.searchsorted(bars.time, times.time)
    if not np.array_equal(bars.time[np.minimum(rows, len(bars) - 1)], times.time):
        raise ValueError(f"{trading.name} has no such bars of {freq}")
    return bars, rows


def encoded(
    encoders: Sequence[EventEncoder],
    facts: Sequence[Fact],
    leaders: Mapping[str, Bars],
    times: Times,
    known_at: Moments,
) -> NDArray[np.float32]:
    """Return the encoders' channels side by side ``[N, E]``, NaN where nothing is known; raises ValueError.

    The first and the last bar are there for the rows beside them, and nothing is known of their own.
    """
    parts = []
    for encoder in encoders:
        wanted = {name: leaders[name] for name in encoder.leaders if name in leaders}
        part = np.array(encoder.encode(facts, wanted, times, known_at), dtype=np.float32)
        if part.shape != (len(times), len(encoder.names)):
            raise ValueError(
                f"{type(encoder).__name__} encoded {part.shape} where "
                f"({len(times)}, {len(encoder.names)}) was expected"
            )
        part[[0, -1]] = np.nan
        parts.append(part)
    return np.concatenate(parts, axis=1)


def covariates(encoders: Sequence[EventEncoder], values: NDArray[np.float32], context: int) -> Covariates:
    """Return channels ``[T+H, E]`` as covariates: masked where nothing was known, and where the future is not."""
    ahead = tuple(bool(flag) for encoder in encoders for flag in encoder.known_ahead)
    mask = np.isnan(values)
    mask[context:, ~np.array(ahead, dtype=np.bool_)] = True
    return Covariates(
        values=np.where(mask, np.float32(0), values),
        mask=mask,
        names=tuple(name for encoder in encoders for name in encoder.names),
        known_ahead=ahead,
        groups=tuple(group for encoder in encoders for group in encoder.groups),
    )

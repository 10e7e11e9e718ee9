"""Windows: the only code that cuts time.

A window holds the bars complete by the cutoff, the next bars to come, and covariates encoded from facts and
leaders as they were known at the cutoff. Nothing later can enter, because nothing later is handed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .calendars import calendar
from .interfaces import EventEncoder
from .types import Bars, Covariates, Fact, Moment, Moments, Times, Window

_MOST_MISSING = 1_000
"""Bars just before the cutoff that a model is made to forecast over, where the checks accept them missing."""


def complete(bars: Bars, cutoff: Moment) -> Bars:
    """Return the bars that are complete by the cutoff."""
    return bars[: int(np.searchsorted(bars.times.available_at, cutoff, side="right"))]


def known(facts: Sequence[Fact], symbol: str, cutoff: Moment) -> list[Fact]:
    """Return the facts about the symbol that were known by the cutoff, in the order they became known."""
    mine = [f for f in facts if f.known_at <= cutoff and (not f.symbols or symbol in f.symbols)]
    return sorted(mine, key=lambda f: (f.known_at, f.scheduled_at, f.kind, f.event))


def last_before(available_at: Moments, moments: Moments) -> NDArray[np.int64]:
    """Return the position of the last item available strictly before each moment, −1 where there is none.

    The join of a leader: for the bar that opens at a moment, the leader's last bar complete before that.
    """
    return np.searchsorted(available_at, moments, side="left") - 1


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
            covariates=self._covariates(bars.symbol, past.times.then(future), len(past), cutoff),
        )

    def _covariates(self, symbol: str, times: Times, context: int, cutoff: Moment) -> Covariates | None:
        """Encode what was known at the cutoff; channels not known ahead are masked after the context."""
        if not self.encoders:
            return None
        facts = known(self.facts, symbol, cutoff)
        leaders = {name: complete(bars, cutoff) for name, bars in self.leaders.items()}
        names = tuple(name for encoder in self.encoders for name in encoder.names)
        ahead = tuple(bool(flag) for encoder in self.encoders for flag in encoder.known_ahead)
        parts = []
        for encoder in self.encoders:
            wanted = {name: leaders[name] for name in encoder.leaders if name in leaders}
            part = np.asarray(encoder.encode(facts, wanted, times, cutoff), dtype=np.float32)
            if part.shape != (len(times), len(encoder.names)):
                raise ValueError(
                    f"{type(encoder).__name__} encoded {part.shape} where "
                    f"({len(times)}, {len(encoder.names)}) was expected"
                )
            parts.append(part)
        values = np.concatenate(parts, axis=1)
        mask = np.isnan(values)
        mask[context:, ~np.array(ahead, dtype=np.bool_)] = True
        return Covariates(np.where(mask, np.float32(0), values), mask, names, ahead)

"""How one symbol's bars arise.

The log return of bar t from open to close is

    σ_t k_t (√(1 − λ²) ε_t + λ ε'_t) + move_t + drift_t

with σ_t the latent volatility, k_t the factor of a release, ε_t the symbol's shock, λ ``lead`` and ε' the
leader's last shock (λ = 0 where it is no news). ε_t is a Student t scaled to variance 1, made of the common
factor and noise of its own. The logarithm of volatility is a first-order autoregression. Between two bars the
market may be shut, and the price then gaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronosfw.types import Floats, Times

from .clock import Clock
from .effects import Effects
from .extremes import extremes
from .randomness import Draw, autoregression
from .symbols import SimulatedSymbol

_TURNOVER = 1e8
"""Volume of a session of usual volatility, times the first price."""
_VOLUME_NOISE = 0.3
"""Standard deviation of log volume, given the volatility."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the bars of one symbol are made of, before any are left out; arrays are ``[T]``, in log returns.

    log(close / open) = noise + lead + effects.move + effects.drift, and where the price does not revert,
    log(open / previous close) = gap.
    """

    times: Times
    sigma: Floats
    """Latent volatility from open to close, without events."""
    noise: Floats
    """The symbol's own shock, with the factor of a release."""
    lead: Floats
    """What the leader's last shock adds, with the factor of a release."""
    gap: Floats
    """What happened while the market was shut, ``effects.gap_move`` included."""
    effects: Effects


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The bars of one symbol ``[T]`` and their truth."""

    truth: Truth
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def path(instrument: SimulatedSymbol, clock: Clock, truth: Truth, variance: Floats, draw: Draw) -> Path:
    """Return the bars made of these parts; ``variance [T]`` is that of the motion behind the noise."""
    change = truth.noise + truth.lead + truth.effects.move + truth.effects.drift
    kept = (1 - instrument.reversion) ** clock.step
    close = np.log(instrument.price) + autoregression(truth.gap + change, kept)
    up, down = extremes(change, variance, draw)
    first, last = np.exp(close - change), np.exp(close)
    spread = np.sqrt(variance / clock.share) / instrument.daily_volatility
    noise = np.exp(_VOLUME_NOISE * draw("volume").standard_normal(len(change)))
    return Path(
        truth=truth,
        open=first,
        high=np.maximum(np.exp(close - change + up), np.maximum(first, last)),
        low=np.minimum(np.exp(close - change + down), np.minimum(first, last)),
        close=last,
        volume=_TURNOVER / instrument.price * clock.share * spread * noise,
    )

"""What leaders and releases do to a follower's bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Floats, Moments, Times


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """The mark that releases leave on each bar: factors on volatility and log returns, all ``[T]``."""

    volatility: Floats
    """Factor on the volatility from open to close."""
    gap_volatility: Floats
    """Factor on the volatility of the gap before the open."""
    move: Floats
    """Move by surprises while the market was open."""
    gap_move: Floats
    """Move by surprises while it was shut; part of the gap."""
    drift: Floats
    """What earlier surprises still add from open to close."""


def release_effects(
    times: Times,
    sigma: Floats,
    at: Moments,
    surprise: Floats,
    *,
    volatility: float,
    move: float,
    drift: float,
    drift_bars: int,
) -> Effects:
    """Return the effects of N releases on T bars.

    ``sigma [T]`` is each bar's volatility without events; ``surprise [N]`` has the sign in which it moves the
    price. A release acts on the first bar that is complete after it. If the market was shut at that moment,
    its move is part of the gap before that bar, and the factor holds for the gap too.
    """
    n = len(times)
    bar = np.searchsorted(times.available_at, at, side="right")
    at, surprise, bar = at[bar < n], surprise[bar < n], bar[bar < n]
    shut = at < times.time[bar]
    size = surprise * sigma[bar]
    effects = Effects(np.ones(n), np.ones(n), np.zeros(n), np.zeros(n), np.zeros(n))
    effects.volatility[bar] = volatility
    effects.gap_volatility[bar[shut]] = volatility
    np.add.at(effects.move, bar[~shut], move * size[~shut])
    np.add.at(effects.gap_move, bar[shut], move * size[shut])
    for k in range(1, drift_bars + 1):
        later = bar + k < n
        np.add.at(effects.drift, bar[later] + k, drift / drift_bars * size[later])
    return effects


def follow(times: Times, leader: Times, shock: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the leader's last shock complete when each bar opens, and where it is news.

    ``shock [L]`` belongs to the leader's bars; the results are ``[T]``. It acts once, on the first bar to
    open after it, and is 0 elsewhere.
    """
    last = np.searchsorted(leader.available_at, times.time, side="right") - 1
    news = np.diff(last, prepend=-1) > 0
    return np.where(news, shock[last], 0.0), news

"""Other markets' bars, joined by the moment they were complete."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...types import Bars, Floats, Moments, Times
from .trailing import trailing

_TICK = np.timedelta64(1, "us")


def news(times: Times, known_at: Moments, leader: Times) -> NDArray[np.int64]:
    """Return the position of the leader's last bar that each row may know ``[N]``, −1 where that is no news.

    A row may know the bars complete by its own end, strictly before the next bar opens, and by ``known_at``. If
    none of them became complete after those that the row before may know, the leader's market was shut, and nothing
    is carried on.
    """
    end = times.available_at + _TICK
    end[:-1] = np.minimum(end[:-1], times.time[1:])
    last = np.searchsorted(leader.available_at, np.minimum(end, known_at + _TICK)) - 1
    before = np.searchsorted(leader.available_at, end[:-1]) - 1
    return np.where(last > np.append(-1, before), last, -1)


def log_returns(bars: Bars, span: int) -> Floats:
    """Return the log return of each close against the one ``span`` bars before ``[L]``, NaN where there is none."""
    returns = np.full(len(bars), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(bars.close)
        returns[span:] = logs[span:] - logs[: max(len(bars) - span, 0)]
    return np.where(np.isfinite(returns), returns, np.nan)


def levels(bars: Bars, window: int) -> Floats:
    """Return how many standard deviations each close lies above the mean of the last ``window`` ``[L]``."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = trailing(bars.close, window, window)
        return (bars.close - mean) / deviation


def joined(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the leader's values at these positions ``[N]``, NaN at −1."""
    return np.append(values, np.nan)[rows]

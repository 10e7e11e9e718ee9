"""Time as a simulated path sees it: bars, their share of a session, and how long the market was shut."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from kronosfw import freq as _freq
from kronosfw.calendars import calendar
from kronosfw.errors import ConfigError
from kronosfw.types import Floats, Times, moment

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The bars of one market at one frequency."""

    times: Times
    share: Floats
    """Length of each bar over that of a full session ``[T]``."""
    shut: Floats
    """Days for which the market was shut before each bar ``[T]``."""
    step: float
    """Length of a full bar over that of a full session."""
    cell: NDArray[np.int64]
    """Where each bar finds its shock of the common factor ``[T]``: bars of all markets that open in the same
    stretch of time, or belong to the same day, share one."""
    day: NDArray[np.int64]
    """Number of each bar's session date ``[T]``."""


def clock(market: str, freq: str, start: date, end: date) -> Clock:
    """Return the bars from ``start`` to ``end``; raises ConfigError if there are none."""
    first, last = moment(start), moment(end) + _DAY - np.timedelta64(1, "us")
    cal = calendar(market)
    times, sessions = cal.grid(first, last, freq), cal.grid(first, last, "1d")
    if not (len(times) and len(sessions)):
        raise ConfigError(f"simulated feed: calendar {market} has no bars between {start} and {end}")
    session = np.median((sessions.available_at - sessions.time) / _DAY)
    shut = np.zeros(len(times))
    shut[1:] = (times.time[1:] - times.available_at[:-1]) / _DAY
    epoch = first.astype("datetime64[D]") - _DAY
    day = (times.session - epoch).astype(np.int64)
    bar = np.timedelta64(_freq.minutes(freq), "m")
    return Clock(
        times=times,
        share=(times.available_at - times.time) / _DAY / session,
        shut=shut,
        step=min(float(bar / _DAY / session), 1.0),
        cell=day if _freq.is_daily(freq) else (times.time - epoch) // bar,
        day=day,
    )

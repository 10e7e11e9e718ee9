"""Trading calendars: when bars open, when they are complete, and which come next.

Sessions, holidays, early closes and daylight saving come from ``exchange_calendars``, loaded when a calendar
is first asked for and once in a process.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import freq as _freq
from .errors import ConfigError, DataError, SymbolError, did_you_mean
from .types import Moment, Moments, Times

_DAY = np.timedelta64(1, "D")
_MARGIN = np.timedelta64(400, "D")
_DATE = "datetime64[D]"
_EARLIEST = np.datetime64("1900-01-01", "us")
_MOST = 30_000_000
"""Bars that a symbol's times may span: a wrong year in minute bars would fill the memory."""
_LATEST = np.datetime64("2200-01-01", "us")


@cache
def calendar(name: str) -> Calendar:
    """Return the calendar of that name; raises ConfigError if there is none."""
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=True)
    if name not in known:
        hint = did_you_mean(name, known) or "; use 24/7, 24/5 or a code such as XNYS"
        raise ConfigError(f"there is no trading calendar '{name}'{hint}")
    return Calendar(name)


class Calendar:
    """A market's bars. Grows to whatever range is asked for, within what its holidays are known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._source: Any = None
        self._start: Moment = _LATEST
        self._end: Moment = _EARLIEST
        self._known_until = ""
        self._grids: dict[str, Times] = {}

    def grid(self, start: Moment, end: Moment, freq: str) -> Times:
        """Return the bars that open in ``[start, end]``."""
        bars = self._bars(start, end, freq)
        first, last = np.searchsorted(bars.time, [start, end + np.timedelta64(1, "us")])
        return bars[first:last]

    def match(
        self, stamps: Moments, freq: str, labels: Literal["open", "close"] = "open"
    ) -> tuple[NDArray[np.int64], Times]:
        """Find the bar of each of N > 0 stamps.

        Returns positions ``[N]``, −1 for a stamp that belongs to no bar, and the bars that they count in. An
        intraday stamp is the bar's open, or the moment it was complete where ``labels`` says so. A daily one is
        midnight UTC of the session's date; where the market has a local day, any moment of the session or
        midnight there will do. A market without one knows no other day than UTC's. Raises SymbolError where
        the stamps lie too far apart.
        """
        first, last = stamps.min(), stamps.max()
        if (last - first) // np.timedelta64(_freq.minutes(freq), "m") > _MOST:
            raise SymbolError(f"times from {_date(first)} to {_date(last)} cannot all be those of {freq} bars")
        bars = self._bars(first - _DAY, last + _DAY, freq)
        if not _freq.is_daily(freq):
            return _find(bars.time if labels == "open" else bars.available_at, stamps), bars
        dates = stamps.astype(_DATE)
        positions = _find(bars.session, dates)
        odd = dates != stamps
        if labels == "close":
            closes = _find(bars.available_at, stamps)
            positions, odd = np.where(closes < 0, positions, closes), odd & (closes < 0)
        if odd.any():
            local = str(self._source.tz) != "UTC"
            positions[odd] = self._session_of(bars, stamps[odd]) if local else -1
        return positions, bars

    def _session_of(self, bars: Times, stamps: Moments) -> NDArray[np.int64]:
        """Return the session that is open at each moment, else the one of the market's local date."""
        import pandas as pd

        inside = np.searchsorted(bars.time, stamps, side="right") - 1
        is_open = (inside >= 0) & (stamps <= bars.available_at[inside])
        local = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(self._source.tz).tz_localize(None)
        by_date = _find(bars.session, local.to_numpy().astype(_DATE))
        return np.where(is_open, inside, by_date)

    def following(self, cutoff: Moment, n: int, freq: str) -> Times:
        """Return the next n bars that are complete only after the cutoff, the one under way included.

        Raises DataError where the calendar's holidays are not known that far.
        """
        reach = np.timedelta64(7 * _freq.minutes(freq) * n // 2, "m") + 20 * _DAY
        while True:
            bars = self._bars(cutoff - 10 * _DAY, cutoff + reach, freq)
            first = int(np.searchsorted(bars.available_at, cutoff, side="right"))
            if len(bars) - first >= n:
                return bars[first : first + n]
            if self._known_until < _date(cutoff + reach):
                raise DataError(
                    f"calendar {self.name} knows its holidays only until {self._known_until}; "
                    f"{n} bars after {str(cutoff)[:16]} are beyond that"
                )
            reach *= 2

    def since(self, last: Moment, cutoff: Moment, freq: str) -> Times:
        """Return the bars after the one that opened at ``last`` that are complete by the cutoff."""
        later = self.grid(last, cutoff, freq)
        return later[(later.time > last) & (later.available_at <= cutoff)]

    def _bars(self, start: Moment, end: Moment, freq: str) -> Times:
        """Return all bars of the loaded range, which covers start to end as far as the holidays are known."""
        self._cover(max(start, _EARLIEST), min(end, _LATEST))
        if freq not in self._grids:
            self._grids[freq] = self._sessions() if _freq.is_daily(freq) else self._intraday(freq)
        return self._grids[freq]

    def _cover(self, start: Moment, end: Moment) -> None:
        """Load the calendar, or a longer stretch of it, unless it reaches from start to end already."""
        if self._source is not None:
            if self._start <= start and end <= self._end:
                return
            start, end = min([start, self._start]), max([end, self._end])
        first, last = _date(start - _MARGIN), _date(end + _MARGIN)
        try:
            self._source = _load(self.name, start=first, end=last)
        except ValueError:
            bounds = _load(self.name)
            known_from, known_to = bounds.bound_min(), bounds.bound_max()
            first = first if known_from is None else max(first, str(known_from)[:10])
            last = last if known_to is None else min(last, str(known_to)[:10])
            self._source = _load(self.name, start=first, end=last)
        # What lies beyond the known holidays counts as covered: asking again would find nothing more.
        self._start = start
        self._end = end
        self._known_until = last
        self._grids.clear()

    def _sessions(self) -> Times:
        source = self._source
        return Times(_utc(source.opens), _utc(source.closes), source.sessions.to_numpy().astype(_DATE))

    def _intraday(self, freq: str) -> Times:
        """Lay bars over each session from its open, and again from the end of its break if it has one."""
        source = self._source
        opens, closes = _utc(source.opens), _utc(source.closes)
        pauses, resumes = _utc(source.break_starts), _utc(source.break_ends)
        paused = ~np.isnat(pauses)
        begins = np.concatenate([opens, resumes[paused]])
        ends = np.concatenate([np.where(paused, pauses, closes), closes[paused]])
        dates = source.sessions.to_numpy().astype(_DATE)
        sessions = np.concatenate([dates, dates[paused]])
        order = np.argsort(begins)
        begins, ends, sessions = begins[order], ends[order], sessions[order]

        step = np.timedelta64(_freq.minutes(freq), "m").astype("timedelta64[us]")
        counts = -((begins - ends) // step)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        time = np.repeat(begins, counts) + nth * step
        return Times(time, np.minimum(time + step, np.repeat(ends, counts)), np.repeat(sessions, counts))


def _load(name: str, **bounds: str) -> Any:
    import exchange_calendars

    with warnings.catch_warnings():
        # It still calls what pandas 3 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        return exchange_calendars.get_calendar(name, **bounds)


def _date(value: Moment) -> str:
    return str(value.astype(_DATE))


def _utc(moments: Any) -> Moments:
    """Turn a pandas column of UTC moments into ``datetime64[us]``."""
    array: Moments = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return array


def _find(sorted_values: Moments, wanted: Moments) -> NDArray[np.int64]:
    """Return the position of each wanted value, −1 where it is not there."""
    positions = np.searchsorted(sorted_values, wanted)
    found = sorted_values[np.minimum(positions, len(sorted_values) - 1)] == wanted
    return np.where(found, positions, -1)

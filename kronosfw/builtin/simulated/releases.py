"""The simulated calendar of releases: when they come, what they say, and the facts made of them."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np

from kronosfw.types import Fact, Moment, moment

from .randomness import generator
from .symbols import ReleaseKind

_NEW_YORK = ZoneInfo("America/New_York")
_ANNOUNCED = np.timedelta64(365, "D")
_CONSENSUS = np.timedelta64(1, "D")
_IMPORTANCE = 3.0
_WED, _THU, _FRI = calendar.WEDNESDAY, calendar.THURSDAY, calendar.FRIDAY
_REPORTING_DAYS = (calendar.MONDAY, calendar.TUESDAY, _WED, _THU)


@dataclass(frozen=True, slots=True)
class Rule:
    """When releases of one kind come, in New York time, and how their figures arise."""

    kind: ReleaseKind
    at: time
    weekday: int
    week: Mapping[int, int]
    """For each month with a release, which of its weekdays: 0 is the first, −1 the last."""
    mean: float
    persistence: float
    """Weight of the previous figure in the consensus; the rest is the mean."""
    sigma: float
    """Standard deviation of a surprise."""
    digits: int
    """Decimals that are published."""

    def days(self, start: date, end: date) -> Iterator[date]:
        """Yield the release days in ``[start, end]``."""
        for year in range(start.year, end.year + 1):
            for month, nth in sorted(self.week.items()):
                weeks = calendar.monthcalendar(year, month)
                days = [week[self.weekday] for week in weeks if week[self.weekday]]
                day = date(year, month, days[nth])
                if start <= day <= end:
                    yield day


def _monthly(nth: int) -> dict[int, int]:
    return dict.fromkeys(range(1, 13), nth)


def _quarterly(nth: int) -> dict[int, int]:
    return dict.fromkeys((1, 4, 7, 10), nth)


_MEETINGS = {1: -1, 3: 2, 5: 0, 6: 2, 7: -1, 9: 2, 11: 0, 12: 2}
_MORNING = time(8, 30)
RULES = (
    Rule("cpi", _MORNING, _WED, _monthly(1), mean=3.0, persistence=0.95, sigma=0.2, digits=1),
    Rule("nfp", _MORNING, _FRI, _monthly(0), mean=180, persistence=0.7, sigma=75, digits=0),
    Rule("fomc", time(14, 0), _WED, _MEETINGS, mean=3.0, persistence=0.97, sigma=0.125, digits=2),
    Rule("gdp", _MORNING, _THU, _quarterly(-1), mean=2.2, persistence=0.5, sigma=0.5, digits=1),
    Rule("pce", _MORNING, _FRI, _monthly(-1), mean=2.5, persistence=0.95, sigma=0.2, digits=1),
)
"""Inflation in per cent over a year, payrolls in thousands, the policy rate in per cent, growth in per cent a
year. The weekdays are close to those of the real calendar, and no two of these kinds share a day."""

_EARNINGS = Rule("earnings", time(16, 5), _WED, _quarterly(3), mean=1.5, persistence=0.9, sigma=0.1, digits=2)


@dataclass(frozen=True, slots=True)
class Release:
    """One release."""

    kind: ReleaseKind
    at: Moment
    symbol: str
    """The company that reports; empty for a release that concerns all."""
    actual: float
    forecast: float
    previous: float
    surprise: float
    """(actual − forecast) in units of the standard deviation of surprises."""

    def facts(self) -> Iterator[Fact]:
        """Yield what becomes known of it, in turn: the schedule, the consensus, the figure."""
        symbols = (self.symbol,) if self.symbol else ()
        event = "-".join([self.kind, *symbols, str(self.at)[:10]])

        def fact(known_at: Moment, **values: float) -> Fact:
            return Fact(self.kind, self.at, known_at, symbols, values, event)

        yield fact(self.at - _ANNOUNCED, importance=_IMPORTANCE)
        yield fact(self.at - _CONSENSUS, forecast=self.forecast)
        yield fact(self.at, actual=self.actual, forecast=self.forecast, previous=self.previous)


def earnings_of(symbol: str, seed: int) -> Rule:
    """Return when and how a company reports: after the close, on a weekday of its own."""
    nth = int(generator(seed, "reporting day", symbol).integers(len(_REPORTING_DAYS)))
    return replace(_EARNINGS, weekday=_REPORTING_DAYS[nth])


def releases(rule: Rule, seed: int, start: date, end: date, symbol: str = "") -> list[Release]:
    """Return the releases of one kind in order.

    The consensus is the best guess from the previous figure, so that no one can guess the surprise before.
    """
    rng = generator(seed, "surprise", rule.kind, symbol)
    previous = rule.mean
    found = []
    for day in rule.days(start, end):
        forecast = round(rule.mean + rule.persistence * (previous - rule.mean), rule.digits)
        actual = round(forecast + rule.sigma * rng.standard_normal(), rule.digits)
        surprise = (actual - forecast) / rule.sigma
        found.append(Release(rule.kind, _utc(day, rule.at), symbol, actual, forecast, previous, surprise))
        previous = actual
    return found


def _utc(day: date, at: time) -> Moment:
    local = datetime.combine(day, at, _NEW_YORK)
    return moment(local.astimezone(UTC).replace(tzinfo=None))

"""Slots of the calendar at which a training is due, all in UTC."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

from ...types import Entry

MONTHLY = frozenset(range(1, 13))
QUARTERLY = frozenset({1, 4, 7, 10})


def utc(moment: datetime) -> datetime:
    """Return an aware moment in UTC; raises ValueError for one that does not say its zone."""
    if moment.tzinfo is None:
        raise ValueError(f"the moment {moment} does not say its time zone")
    return moment.astimezone(UTC)


def slot(now: datetime, months: frozenset[int], day: int, hour: int) -> datetime:
    """Return the latest slot that is not after ``now``: the day of one of the months, at the hour.

    In a month that is shorter, the day is its last one.
    """
    now = utc(now)
    slots = (
        datetime(year, month, min(day, monthrange(year, month)[1]), hour, tzinfo=UTC)
        for year, month in _months_back(now)
        if month in months
    )
    return next(moment for moment in slots if moment <= now)


def _months_back(now: datetime) -> Iterator[tuple[int, int]]:
    """Yield the year and month of ``now`` and of all before it."""
    for back in count():
        years, month = divmod(now.year * 12 + now.month - 1 - back, 12)
        yield years, month + 1


def ended(history: Sequence[Entry]) -> list[datetime]:
    """Return the slots of the retrainings that ended, in order; when they ended where none is known."""
    return [slot_of(entry) for entry in history if entry.retrained]


def slot_of(entry: Entry) -> datetime:
    """Return the slot of a retraining, or when it ended where it had none."""
    return utc(entry.slot or entry.at)

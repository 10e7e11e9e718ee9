"""What was planned as of when: the bars that events bear on, and the days until the next one.

An event bears on the first bar that is complete after it: the one it falls in, or the next one where the market was
shut. Of several facts about one event the last one known counts, so that an event that moves leaves its old bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...types import Fact, Floats, Moments, Times

_FOREVER = np.datetime64("9999-01-01", "us")
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The dates that events of one kind had: V of them, each for a time."""

    at: Moments
    """When the event is to happen ``[V]``."""
    since: Moments
    """From when on that was known ``[V]``."""
    until: Moments
    """When it was known to be another date ``[V]``."""


def plans(facts: Sequence[Fact]) -> dict[str, Plan]:
    """Return what was planned for each kind; ``facts`` are in the order they became known."""
    if not facts:
        return {}
    names: dict[tuple[str, object], int] = {}
    told = [names.setdefault((f.kind, f.event or f.scheduled_at), len(names)) for f in facts]
    order = np.argsort(told, kind="stable")
    event = np.array(told)[order]
    at = np.array([f.scheduled_at for f in facts], dtype="datetime64[us]")[order]
    since = np.array([f.known_at for f in facts], dtype="datetime64[us]")[order]
    fresh = np.append(True, (event[1:] != event[:-1]) | (at[1:] != at[:-1]))
    event, at, since = event[fresh], at[fresh], since[fresh]
    until = np.append(since[1:], _FOREVER)
    until[np.append(event[1:] != event[:-1], True)] = _FOREVER
    kinds = np.array([kind for kind, _ in names])[event]
    return {str(kind): Plan(*(part[kinds == kind] for part in (at, since, until))) for kind in np.unique(kinds)}


def bears(plan: Plan | None, times: Times, known_at: Moments, *, ahead: int = 0) -> NDArray[np.bool_]:
    """Return whether an event bears on the bar ``ahead`` places after each, as planned at ``known_at`` ``[N]``."""
    rows = np.zeros(len(times), dtype=np.bool_)
    if plan is not None:
        row = np.searchsorted(times.available_at, plan.at, side="right") - ahead
        inside = (row >= 0) & (row < len(times))
        as_of = known_at[np.where(inside, row, 0)]
        rows[row[inside & (plan.since <= as_of) & (as_of < plan.until)]] = True
    return rows


def days_to(plan: Plan | None, times: Times, known_at: Moments) -> Floats:
    """Return the days from each bar's end to the next event known by then ``[N]``, NaN where none is."""
    upcoming = np.full(len(times), np.datetime64("NaT"), dtype="datetime64[us]")
    if plan is not None:
        end = np.searchsorted(times.available_at, plan.at, side="right")
        first = np.searchsorted(known_at, plan.since)
        last = np.minimum(end, np.searchsorted(known_at, plan.until))
        # From the latest event to the earliest, so that the next one is written last.
        for i in np.argsort(plan.at, kind="stable")[::-1].tolist():
            upcoming[first[i] : last[i]] = plan.at[i]
    return (upcoming - times.available_at) / _DAY

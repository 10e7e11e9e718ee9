"""Checks of dated facts. Nothing is changed: only the source can tell what is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .types import Fact, Finding, Moment, Moments

_ZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/Toronto",
    "Europe/Zurich",
    "Pacific/Auckland",
)
_FEWEST, _USUAL = 12, 0.9
"""Events of a kind that show a habit, and the share of them that have to keep it."""
_HOUR, _DAY = 60, 24 * 60


def check_facts(facts: Sequence[Fact]) -> list[Finding]:
    """Return what is odd about the facts, at most one finding of a check for each kind of event."""
    kinds: dict[str, dict[object, Moment]] = {}
    for fact in sorted(facts, key=lambda f: f.known_at):
        kinds.setdefault(fact.kind, {})[fact.event or fact.scheduled_at] = fact.scheduled_at
    often = {kind: np.sort(list(at.values())) for kind, at in sorted(kinds.items()) if len(at) >= _FEWEST}
    return list(_off_by_an_hour(often))


def _off_by_an_hour(events: dict[str, Moments]) -> Iterator[Finding]:
    """Yield the kinds that come at one time of day in some zone, but for a few exactly an hour beside it.

    The zone is the one in which most events have the same time of day.
    """
    if not events:
        return
    starts = np.cumsum([len(at) for at in events.values()])[:-1]
    clocks = [np.split(_minutes(np.concatenate(list(events.values())), zone), starts) for zone in _ZONES]
    for i, (kind, at) in enumerate(events.items()):
        times, usual, share, zone = max(
            ((clock[i], *_habit(clock[i]), zone) for clock, zone in zip(clocks, _ZONES, strict=True)),
            key=lambda found: found[2],
        )
        off = np.isin((times - usual) % _DAY, (_HOUR, _DAY - _HOUR))
        if share >= _USUAL and off.any():
            seen = " and ".join(_clock(minute) for minute in np.unique(times[off]).tolist())
            yield Finding(
                "off_by_an_hour",
                "accepted",
                int(off.sum()),
                f"{kind}: {off.sum()} of {len(at)} at {seen} instead of {_clock(usual)} {zone}, "
                f"first {str(at[off][0])[:10]}: daylight saving?",
            )


def _minutes(at: Moments, zone: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the minute of the local day of each moment ``[N]``."""
    import pandas as pd

    local = pd.DatetimeIndex(at).tz_localize("UTC").tz_convert(zone)
    return np.asarray(local.hour, dtype=np.int64) * 60 + np.asarray(local.minute, dtype=np.int64)


def _habit(minutes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, float]:
    """Return the most common minute of the day and its share."""
    values, counts = np.unique(minutes, return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / len(minutes))


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"

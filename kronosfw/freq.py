"""Bar frequencies: ``1d``, or a number of minutes or hours that divides a day."""

from __future__ import annotations

import re

_PATTERN = re.compile(r"([1-9][0-9]{0,3})\s*(m|min|minute|minutes|h|hour|hours|d|day|days)")
_MINUTES = {"m": 1, "h": 60, "d": 1440}
DAY = 1440


def minutes(freq: str) -> int:
    """Return the length of a bar in minutes; raises ValueError if ``freq`` is not a frequency."""
    match = _PATTERN.fullmatch(freq.strip().lower())
    if match is None:
        raise ValueError("expected a bar length such as 5min, 1h or 1d")
    length = int(match[1]) * _MINUTES[match[2][0]]
    if length > DAY or DAY % length:
        raise ValueError("expected a bar length that divides a day, or 1d")
    return length


def normalise(freq: str) -> str:
    """Return the one spelling that is stored and compared: ``5min``, ``1h``, ``1d``."""
    length = minutes(freq)
    if length == DAY:
        return "1d"
    return f"{length}min" if length % 60 else f"{length // 60}h"


def is_daily(freq: str) -> bool:
    """Tell whether a bar spans a session rather than a part of one."""
    return minutes(freq) == DAY

"""Which bars an important event bears on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .types import Fact, Times

HIGH_IMPORTANCE = 3.0
"""An event of at least this importance, or of none stated, makes an event bar."""


def event_bars(facts: Sequence[Fact], times: Times) -> NDArray[np.bool_] | None:
    """Return whether an important event bears on each bar ``[T]``; None where no calendar is known.

    An event bears on the first bar that is complete after it: the one it falls in, or the next one where the
    market was shut. It counts as it was known when that bar was complete, so that the answer is the same
    whenever it is asked for. ``facts`` are in the order they became known.
    """
    if not facts:
        return None
    versions: dict[object, list[Fact]] = {}
    for f in facts:
        versions.setdefault(f.event or (f.kind, f.scheduled_at), []).append(f)
    active = np.zeros(len(times), dtype=np.bool_)
    for told in versions.values():
        for f in told:
            place = int(np.searchsorted(times.available_at, f.scheduled_at, side="right"))
            if f.scheduled_at < times.time[0] or place == len(times):
                continue
            in_time = [v for v in told if v.known_at <= times.available_at[place]]
            if in_time and in_time[-1].scheduled_at == f.scheduled_at:
                stated = [v.values["importance"] for v in in_time if "importance" in v.values]
                active[place] |= not stated or stated[-1] >= HIGH_IMPORTANCE
    return active

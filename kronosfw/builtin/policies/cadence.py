"""When to train next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from ...types import Entry
from .options import Cadence
from .slots import MONTHLY, QUARTERLY, ended, slot, slot_of, utc

ENOUGH = 3
"""Retrainings in a row that must have gained little before the pace drops."""


def due(options: Cadence, history: Sequence[Entry], now: datetime) -> datetime | None:
    """Return the slot at which a retraining was due that has not ended since, or None.

    It is due where no retraining that ended has a slot at or after the calendar's latest one. A drift
    noticed after the last retraining makes one due, too, at the last ``hour`` before the first such notice that
    lies after the slot of that retraining. There it stays while more drift is noticed, so that a training that was
    interrupted can be taken up again, until the calendar's next slot takes its place.
    """
    now = utc(now)
    months = QUARTERLY if _quarterly(options, history) else MONTHLY
    done = max(ended(history), default=datetime.min.replace(tzinfo=UTC))
    drifts = (moment for moment in _drifts(history, options.hour) if done < moment <= now)
    slots = [slot(now, months, options.day, options.hour), *islice(drifts, 1)]
    return max((moment for moment in slots if moment > done), default=None)


def _drifts(history: Sequence[Entry], hour: int) -> Iterator[datetime]:
    """Yield the slots of the drifts noticed after the last retraining, the last ``hour`` before each notice."""
    last = max((n for n, entry in enumerate(history) if entry.retrained), default=-1)
    for entry in history[last + 1 :]:
        if entry.event == "drifted":
            noticed = utc(entry.at)
            same_day = noticed.replace(hour=hour, minute=0, second=0, microsecond=0)
            yield same_day if same_day <= noticed else same_day - timedelta(days=1)


def _quarterly(options: Cadence, history: Sequence[Entry]) -> bool:
    """Tell whether the pace is quarterly.

    For the adaptive one: whether the last three retrainings since the last rollback or drift each gained little.
    What a retraining gained was measured on the origins after the slot of the one before, so that no two were
    measured on the same days; of several in one slot, the last counts. One that left no measure, having no such
    origins, does not count.
    """
    if options.every != "adaptive":
        return options.every == "quarterly"
    upset = max((n for n, e in enumerate(history) if e.event in ("rolled_back", "drifted")), default=-1)
    retrainings = {slot_of(entry): entry for entry in history[upset + 1 :] if entry.retrained}
    gains = [_gained(options, entry) for _, entry in sorted(retrainings.items())]
    last = [gained for gained in gains if gained is not None][-ENOUGH:]
    return len(last) == ENOUGH and not any(last)


def _gained(options: Cadence, entry: Entry) -> bool | None:
    """Tell whether a retraining gained as much as asked for; None where that was not measured.

    One that was not promoted gained nothing, whatever its scores: what serves is as it was. By CRPS the gain is the
    lead over the arm that is never retrained, the sum of what this retraining and those before it have brought, on
    days that none of them knew. While it is above the threshold, training pays and its pace is kept; below, one may
    train less often. By the Sharpe ratio it is the lead over what served until then.
    """
    if entry.event != "promoted":
        return False
    wanted = {"crps_gain": options.least_gain, "sharpe_gain": options.least_sharpe}
    if options.measure != "both":
        name = f"{options.measure}_gain"
        wanted = {name: wanted[name]}
    measured = {name: entry.numbers[name] for name in wanted if name in entry.numbers}
    if not measured:
        return None
    return any(value >= wanted[name] for name, value in measured.items())

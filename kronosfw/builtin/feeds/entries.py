"""Entries of a calendar, and the facts they were over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np

from ...types import Fact, Moment
from .faults import Fault
from .kinds import Kinds, is_unscheduled, own_name


class Leads(Protocol):
    """What is assumed of a calendar without history, and what its entries are called."""

    @property
    def kinds(self) -> Mapping[str, str]: ...
    @property
    def schedule_lead(self) -> timedelta: ...
    @property
    def consensus_lead(self) -> timedelta: ...
    @property
    def release_lag(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as the calendar shows it after all is known; ``values`` are its figures and importance."""

    currency: str
    name: str
    at: Moment
    latest: Moment
    """The latest moment at which it may have been: where it has a mere date, the end of that; else ``at``."""
    values: Mapping[str, float]
    stored: Moment | None = None
    """When the calendar came to hold its figures, where that is told: they were not known before."""

    @property
    def title(self) -> str:
        return f"{self.currency} {self.name}"


def point_in_time(entries: Sequence[Entry], options: Leads) -> Iterator[Fact]:
    """Yield what was known of each entry, and when: its date, then the consensus, then the figures.

    A calendar without history says neither when a date was set nor when the consensus formed, so both are
    assumed a stated time ahead; what nobody schedules is known when it has happened. An entry with a mere date
    stands at the beginning of that, and counts as happening at its end. Raises Fault where two rows contradict
    each other.
    """
    seen: dict[str, Entry] = {}
    for row, (entry, kind) in enumerate(zip(entries, _kinds(entries, Kinds(options.kinds)), strict=True)):
        event = f"{entry.currency}:{entry.name}:{entry.at.astype('datetime64[m]')}Z"
        if seen.setdefault(event, entry) is not entry:
            if seen[event] != entry:
                raise Fault(f"{entry.title} stands there twice for {entry.at}, with different figures", row)
            continue
        for known_at, names in _versions(entry, options):
            values = {name: entry.values[name] for name in names if name in entry.values}
            yield Fact(kind, entry.at, known_at, values=values, event=event)


def _versions(entry: Entry, options: Leads) -> Iterator[tuple[Moment, tuple[str, ...]]]:
    """Yield when something about the entry became known, and which of its values."""

    def ahead(lead: timedelta) -> Moment:
        return entry.latest if is_unscheduled(entry.name) else entry.latest - np.timedelta64(lead)

    yield ahead(options.schedule_lead), ("importance",)
    if "forecast" in entry.values:
        yield ahead(options.consensus_lead), ("forecast",)
    if "actual" in entry.values:
        released = entry.latest + np.timedelta64(options.release_lag)
        known = released if entry.stored is None else max(released, entry.stored)
        yield known, ("actual", "forecast", "previous")


def _kinds(entries: Sequence[Entry], table: Kinds) -> Iterator[str]:
    """Yield each entry's kind; of the entries that mean one release, only the first in rank has its kind."""
    known = [(entry, table.known(entry.title)) for entry in entries]
    first: dict[tuple[str, ...], int] = {}
    for entry, found in known:
        if found:
            release = _release(entry, found[0])
            first[release] = min(found[1], first.get(release, found[1]))
    for entry, found in known:
        counts = found and first[_release(entry, found[0])] == found[1]
        yield found[0] if found and counts else own_name(entry.title)


def _release(entry: Entry, kind: str) -> tuple[str, ...]:
    return kind, entry.currency, str(entry.at)[:10]

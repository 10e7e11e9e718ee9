"""What the rows of a table say, and since when it was known.

Where a table has ``known_at``, each row is one version of an event and is taken as it stands. Where it has not, it
shows the present alone, and what was known when is assumed as for a calendar without history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from kronosfw.builtin.feeds.entries import Entry, point_in_time
from kronosfw.builtin.feeds.faults import Fault, shown
from kronosfw.builtin.feeds.figures import importance
from kronosfw.builtin.feeds.kinds import KINDS, Kinds, own_name
from kronosfw.builtin.feeds.plain import FIGURES, plain_facts, words
from kronosfw.builtin.feeds.stamps import Clock
from kronosfw.builtin.feeds.values import floats
from kronosfw.types import Fact, Moment

from .options import CALENDAR, INDICATORS, RATES, SupabaseFeed

_DECISION = "rate decision"
"""What an event of the table of rates is called."""

_HEADLINES = tuple(entries[0] for entries in KINDS.values())


@dataclass(frozen=True, slots=True)
class Leads:
    """What is assumed of a table that shows the present alone."""

    kinds: Mapping[str, str]
    schedule_lead: timedelta
    consensus_lead: timedelta
    release_lag: timedelta


def facts_of(role: str, columns: Mapping[str, Any], options: SupabaseFeed, clock: Clock) -> list[Fact]:
    """Return the facts of a table's rows, Arrow arrays ``[N]`` by name; raises Fault."""
    versioned = "known_at" in columns
    if role == CALENDAR and versioned:
        return plain_facts(columns, clock)
    needed = {CALENDAR: ("currency", "event"), RATES: ("currency",), INDICATORS: ("currency", "indicator")}
    if missing := [name for name in needed[role] if name not in columns]:
        raise Fault(f"no column {', '.join(missing)}; found {', '.join(columns)}")
    currencies, *named = (words(columns, name, needed=True) for name in needed[role])
    titles = list(zip(currencies, *named or [[_DECISION] * len(currencies)], strict=True))
    kinds = dict(options.kinds)
    if role == RATES:
        kinds |= {f"{c} {_DECISION}": "fomc" if c == "USD" else "rate_decision" for c in currencies}
    if versioned:
        return _versions(titles, columns, kinds, clock)
    leads = Leads(kinds, options.schedule_lead, options.consensus_lead, options.release_lag)
    return list(point_in_time(_entries(titles, columns, clock), leads))


def _versions(
    titles: Sequence[tuple[str, str]], columns: Mapping[str, Any], kinds: Mapping[str, str], clock: Clock
) -> list[Fact]:
    """Return a fact for each row, with the kind and the event that its title stands for unless it says them.

    Of several names for a kind only the headline's and those of ``kinds`` count. What else was released that day
    plays no part, for it may have become known later.
    """
    table = Kinds(kinds)
    headlines = {title.strip().casefold() for title in (*kinds, *_HEADLINES)}
    scheduled, _ = clock.bounds(columns["scheduled_at"], "scheduled_at")
    said = [words(columns, name) for name in ("kind", "event", "period")]
    names, events = [], []
    for (currency, name), at, kind, event, period in zip(titles, scheduled, *said, strict=True):
        title = f"{currency} {name}"
        found = table.known(title) if title.casefold() in headlines else None
        names.append(kind or (found[0] if found else own_name(title)))
        events.append(event or f"{currency}:{name}:{period or str(at.astype('datetime64[m]')) + 'Z'}")
    plain = {name: column for name, column in columns.items() if name not in ("currency", "indicator", "period")}
    return plain_facts({**plain, "kind": pa.array(names), "event": pa.array(events)}, clock)


def _entries(titles: Sequence[tuple[str, str]], columns: Mapping[str, Any], clock: Clock) -> list[Entry]:
    """Return each row as an entry of a calendar that shows the present alone."""
    first, last = clock.bounds(columns["scheduled_at"], "scheduled_at")
    stored = _stored(columns["ingested_at"], clock) if "ingested_at" in columns else [None] * len(titles)
    figures = {name: _figures(columns[name], name) for name in FIGURES if name in columns}
    return [
        Entry(
            *title,
            first[row],
            last[row],
            {name: float(n[row]) for name, n in figures.items() if np.isfinite(n[row])},
            stored[row],
        )
        for row, title in enumerate(titles)
    ]


def _stored(column: Any, clock: Clock) -> list[Moment | None]:
    """Return since when each row is in the table, None where that is not told."""
    told = [row for row, value in enumerate(column.to_pylist()) if value is not None]
    found: list[Moment | None] = [None] * len(column)
    if told:
        for row, latest in zip(told, clock.bounds(column.take(told), "ingested_at")[1], strict=True):
            found[row] = latest
    return found


def _figures(column: Any, name: str) -> Any:
    """Return numbers; of the importance in words such as High, too."""
    try:
        return floats(column, name)
    except Fault:
        if name != "importance":
            raise
    levels = [np.nan if text is None else importance(text) for text in column.to_pylist()]
    if None in levels:
        row = levels.index(None)
        raise Fault(f"importance is {shown(column[row].as_py())}; expected 0 to 3, or High, Medium or Low", row)
    return np.array(levels)

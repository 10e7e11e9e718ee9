"""Calendars of dated events: which of three known formats a file has, and its facts.

======== ===================================================================================================
plain    ``event, kind, scheduled_at, known_at, symbols``, figures: each row is one fact
releases ``DateTime, Currency, Impact, Event, Actual, Forecast, Previous``, as calendars on the web list them
schedule ``date, event, time_et``: dates and New York times of US events, without figures
======== ===================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import DataError
from ...types import Fact, Finding
from .csvfile import CsvFile
from .entries import Entry, point_in_time
from .faults import Fault, shown
from .figures import figure, importance
from .kinds import KINDS, MARKET_MOVERS
from .options import CsvFeed, FileOptions
from .parquetfile import ParquetFile
from .plain import plain_facts, words
from .sources import Source, raising
from .stamps import Clock

_MOVERS = {entry for kind in MARKET_MOVERS for entry in KINDS[kind]}


def read_calendar(path: Path, options: FileOptions) -> list[Fact | Finding]:
    """Return the facts of a calendar file, and what was odd about it.

    Raises DataError with file and line where it is malformed.
    """
    source: Source
    if path.suffix.lower() == ".parquet":
        source = ParquetFile(path, max_bytes=options.max_bytes)
    else:
        separator = options.separator if isinstance(options, CsvFeed) else ","
        source = CsvFile(path, max_bytes=options.max_bytes, separator=separator, multiline=True)
    clock = Clock(options.timezone)
    facts: list[Fact | Finding] = []
    with raising(DataError, source):
        names = [name.strip().casefold() for name in source.names()]
        facts += _facts(names, source, options, clock)
    return facts + clock.mixed(path.name)


def _facts(names: list[str], source: Source, options: FileOptions, clock: Clock) -> Iterable[Fact]:
    if len(set(names)) < len(names):
        raise Fault("a column stands there twice")
    have = set(names)
    columns = dict(zip(names, source.read(range(len(names))), strict=True))
    if {"kind", "scheduled_at", "known_at"} <= have:
        return plain_facts(columns, clock)
    if {"datetime", "currency", "event"} <= have:
        return point_in_time(_releases(columns, clock), options)
    if {"date", "event", "time_et"} <= have:
        return point_in_time(_schedule(columns), options)
    raise Fault(
        "not a calendar of a known format; expected the columns event, kind, scheduled_at, known_at, … or "
        f"DateTime, Currency, Event, … or date, event, time_et; found {', '.join(names[:12])}"
    )


def _releases(columns: Mapping[str, Any], clock: Clock) -> list[Entry]:
    first, last = clock.bounds(columns["datetime"], "DateTime")
    currencies, names = words(columns, "currency", needed=True), words(columns, "event", needed=True)
    texts = {name: words(columns, name) for name in ("actual", "forecast", "previous")}
    entries = []
    for row, impact in enumerate(words(columns, "impact")):
        values = {name: number for name in texts if (number := figure(texts[name][row])) is not None}
        if impact:
            weight = importance(impact)
            if weight is None:
                raise Fault(f"the impact is {shown(impact)}; expected High, Medium, Low or Non-Economic", row)
            values["importance"] = weight
        entries.append(Entry(currencies[row], names[row], first[row], last[row], values))
    return entries


def _schedule(columns: Mapping[str, Any]) -> list[Entry]:
    dates, _ = Clock().read(columns["date"])
    names, times = words(columns, "event", needed=True), words(columns, "time_et")
    stamps = [f"{str(date)[:10]} {time}".strip() for date, time in zip(dates, times, strict=True)]
    first, last = Clock("America/New_York").bounds(pa.array(stamps, pa.string()), "date with its time")
    return [
        Entry("USD", name, first[row], last[row], {"importance": 3.0 if f"USD {name}" in _MOVERS else 2.0})
        for row, name in enumerate(names)
    ]

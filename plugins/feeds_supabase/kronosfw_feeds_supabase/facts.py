"""Facts out of the three tables with dated events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kronosfw.builtin.feeds.faults import Fault, shown
from kronosfw.builtin.feeds.fetched import as_array
from kronosfw.builtin.feeds.plain import FIGURES
from kronosfw.builtin.feeds.stamps import Clock
from kronosfw.errors import ConfigError, DataError
from kronosfw.types import Fact, Finding, Span

from .merging import merged
from .options import CALENDAR, INDICATORS, RATES, SupabaseFeed
from .transport import Transport
from .versions import facts_of

ALIASES: Mapping[str, Mapping[str, str]] = {
    CALENDAR: {},
    RATES: {"decided_at": "scheduled_at", "rate": "actual"},
    INDICATORS: {"released_at": "scheduled_at", "value": "actual"},
}
"""Table → what a column may be called there, and what it is."""

_READ = ("event", "kind", "scheduled_at", "known_at", "symbols", "currency", "indicator", "ingested_at", *FIGURES)


def read_facts(transport: Transport, options: SupabaseFeed, span: Span) -> Iterator[Fact | Finding]:
    """Yield the facts scheduled within the span (and some around it), and what was odd about a table.

    Raises ConfigError where a table is missing or of another form, DataError where a row is malformed.
    """
    tables = {role: table for role in ALIASES if (table := options.tables[role]) is not None}
    parts = []
    for role, table in tables.items():
        clock = Clock(options.timezone)
        parts.append(_read(transport, options, role, table, span, clock))
        yield from clock.mixed(f"table {table}")
        if not parts[-1]:
            detail = f"no event of this time is to be seen in table {table}: there is none, or it is hidden"
            yield Finding("no_events", "accepted", 1, detail)
    yield from merged(parts)


def _read(
    transport: Transport, options: SupabaseFeed, role: str, table: str, span: Span, clock: Clock
) -> list[Fact]:
    types = {name: kind for name, kind in transport.types(table).items() if name.casefold() != "id"}
    ours = {name: ALIASES[role].get(name.casefold(), name.casefold()) for name in types}
    _refuse_twins(ours, f"{transport.name}, table {table}")
    time = next((name for name in types if ours[name] == "scheduled_at"), None)
    if types and time is None:
        raise ConfigError(f"{transport.name}, table {table}: no column scheduled_at; found {', '.join(types)}")
    rows = transport.rows(table, types, time, span) if time is not None else []
    try:
        return facts_of(role, _columns(ours, rows), options, clock) if rows else []
    except Fault as fault:
        raise DataError(f"{transport.name}, table {table}{_place(fault, rows)}: {fault}") from None


def _refuse_twins(ours: Mapping[str, str], where: str) -> None:
    """Raise ConfigError where two columns could be the same of ours."""
    theirs: dict[str, str] = {}
    for name, our in ours.items():
        if theirs.setdefault(our, name) != name:
            raise ConfigError(f"{where}: {theirs[our]} and {name} could both be {our}; read a view that has one")


def _columns(ours: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as Arrow arrays by our names, without columns that hold neither words, times nor numbers."""
    found = {}
    for theirs, name in ours.items():
        values = [row[theirs] for row in rows]
        if name == "symbols":
            values = [";".join(map(str, value)) if isinstance(value, list) else value for value in values]
        try:
            found[name] = as_array(values, name)
        except Fault:
            if name in _READ:
                raise
    return found


def _place(fault: Fault, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return which row is meant, by what stands in it: a table has no order."""
    if fault.row is None:
        return ""
    row = [f"{name} {shown(str(value))}" for name, value in rows[fault.row].items() if value is not None]
    return f", the row with {', '.join(row[:3])}"

"""The transport ``rest``: what is asked of PostgREST, and what its JSON means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pyarrow as pa

from kronosfw.builtin.feeds.faults import Fault
from kronosfw.builtin.feeds.fetched import as_array
from kronosfw.builtin.feeds.query import TimeKey
from kronosfw.builtin.feeds.stamps import Clock
from kronosfw.errors import DataError
from kronosfw.types import Moment, Span

from .options import SupabaseFeed
from .pages import Filters, Pages, Row, quoted
from .times import TIMES, ZONED
from .transport import Layout

_SAMPLE = 20
_NUMBER = "double precision"


class Rest:
    """Reads one symbol after the other, the newest rows first."""

    def __init__(self, options: SupabaseFeed) -> None:
        self._pages = Pages(options)
        self.name = self._pages.name

    def types(self, table: str) -> Mapping[str, str]:
        """Return the columns that some rows have, with the types that their values look like."""
        rows = self._pages.some(table, "*", (), _SAMPLE)
        names = rows[0] if rows else ()
        found = {name: next((kind for row in rows if (kind := _kind(row[name]))), "unknown") for name in names}
        for name in (name for name, kind in found.items() if kind in TIMES):
            if not self._pages.has_times(table, name):
                found[name] = "text"
        return found

    def bars(self, layout: Layout, symbols: Sequence[str], span: Span) -> Mapping[str, Mapping[str, Any]]:
        """Return the arrays of the symbols that have rows in the span."""
        key, time, symbol_column = layout.key, layout.columns["time"], layout.columns["symbol"]
        columns = _columns(layout)
        sure = _bound(key, span.end - key.margin)
        rows = self._without_time(layout, symbols)
        for symbol in symbols:
            wanted: Filters = [(symbol_column, "eq", symbol), *_within(key, time, span)]
            if span.last is None or not key.margin:
                found = self._pages.rows(layout.table, columns, wanted, time, span.last)
            else:
                found = self._pages.rows(layout.table, columns, [*wanted, (time, "gt", sure)], time)
                found += self._pages.rows(layout.table, columns, [*wanted, (time, "lte", sure)], time, span.last)
            if found:
                rows.setdefault(symbol, []).extend(found)
        return {symbol: self._arrays(layout, symbol, its) for symbol, its in rows.items()}

    def seen(self, layout: Layout, symbols: Sequence[str]) -> set[str]:
        """Return those of the symbols that have a row to be seen."""
        name = layout.columns["symbol"]
        return {s for s in symbols if self._pages.some(layout.table, quoted(name), [(name, "eq", s)], 1)}

    def rows(self, table: str, types: Mapping[str, str], time: str, span: Span) -> list[Row]:
        """Return the rows whose ``time`` lies within the span, and those without; all where it is no time."""
        columns = {name: _as_text(name) if kind == _NUMBER else quoted(name) for name, kind in types.items()}
        if types[time] not in TIMES:
            return self._pages.rows(table, columns, (), time)
        rows = self._pages.rows(table, columns, _within(TIMES[types[time]].key, time, span), time)
        rows += self._pages.rows(table, columns, [(time, "is", "null")], time)
        for name in (name for name, kind in types.items() if kind == ZONED):
            for row in rows:
                row[name] = _moment(row[name])
        return rows

    def _without_time(self, layout: Layout, symbols: Sequence[str]) -> dict[str, list[Row]]:
        """Return the rows without a time, by symbol, for the feed to refuse."""
        time, symbol = layout.columns["time"], layout.columns["symbol"]
        columns = {**_columns(layout), symbol: quoted(symbol)}
        wanted = set(symbols)
        found: dict[str, list[Row]] = {}
        for row in self._pages.rows(layout.table, columns, [(time, "is", "null")], symbol):
            if str(row[symbol]) in wanted:
                found.setdefault(str(row[symbol]), []).append(row)
        return found

    def _arrays(self, layout: Layout, symbol: str, rows: Sequence[Row]) -> dict[str, Any]:
        try:
            found = {ours: as_array([row[layout.columns[ours]] for row in rows], ours) for ours in layout.fields}
            if layout.types[layout.columns["time"]] == ZONED and not found["time"].null_count:
                # The offset is how the server shows it, and says nothing about the source.
                with suppress(Fault):  # for the feed to tell
                    found["time"] = pa.array(Clock().read(found["time"])[0], pa.timestamp("us", "UTC"))
        except Fault as fault:
            raise DataError(f"{self.name}, table {layout.table}, symbol {symbol}: {fault}") from None
        return found


def _kind(value: Any) -> str:
    """Return the type that a value in JSON looks like, as Postgres calls it; empty for none."""
    if isinstance(value, str):
        return next((kind for kind, time in TIMES.items() if time.written.fullmatch(value)), "text")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _NUMBER
    return "" if value is None else "unknown"


def _moment(value: str | None) -> datetime | str | None:
    """Return a moment for a stamp with an offset, and what is none (such as infinity) as it is."""
    return datetime.fromisoformat(value) if value and TIMES[ZONED].written.fullmatch(value) else value


def _within(key: TimeKey, time: str, span: Span) -> list[tuple[str, str, str]]:
    """Return the conditions that a time may lie within the span."""
    found = [(time, "lte", _bound(key, span.end + key.margin))]
    if span.start is not None:
        found.append((time, "gte", _bound(key, span.start - key.margin)))
    return found


def _bound(key: TimeKey, at: Moment) -> str:
    return str(key.bound(at).isoformat())


def _columns(layout: Layout) -> dict[str, str]:
    """Return the columns of a bar, with how each is selected."""
    theirs = {ours: layout.columns[ours] for ours in layout.fields}
    return {name: quoted(name) if ours == "time" else _as_text(name) for ours, name in theirs.items()}


def _as_text(name: str) -> str:
    """Return what selects a column as Postgres writes it: JSON knows neither -0 nor what is not finite."""
    return f"{quoted(name)}::text"

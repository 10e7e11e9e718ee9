"""The feed ``sql``: bars and facts from tables that SQLAlchemy can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Integer, Numeric, column, select, table
from sqlalchemy.types import TypeEngine

from ...errors import ConfigError, DataError, SymbolError
from ...types import Fact, Finding, Span
from .columns import match
from .database import Database
from .faults import Fault
from .fetched import arrays
from .options import SqlFeed
from .plain import plain_facts, within
from .query import Layout, TimeKey, bars_query, symbols_query, time_key
from .stamps import Clock
from .tables import frame, read_rows

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 200


class SqlSource:
    """Reads bars and facts from a database, some hundred symbols with one query."""

    def __init__(self, options: SqlFeed) -> None:
        self._options = options
        self._database = Database(options.url)

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, pd.DataFrame | SymbolError]]:
        """Yield the bars of each symbol in order of time, an empty frame where it has none in the span.

        Raises ConfigError where the table or the database cannot be used, DataError where a query fails.
        """
        for start in range(0, len(symbols), _CHUNK):
            chunk = symbols[start : start + _CHUNK]
            rows = self._rows(chunk, freq, span)
            unknown = self._unknown([symbol for symbol in chunk if symbol not in rows], freq)
            for symbol in chunk:
                yield symbol, unknown.get(symbol) or self._frame(symbol, rows.get(symbol, []), freq, span)

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact | Finding]:
        """Yield the facts of ``facts_table`` and what was odd about it.

        Raises ConfigError or DataError as ``bars`` does.
        """
        name, schema = self._options.facts_table, self._options.db_schema
        if name is None:
            return
        types = self._database.columns(name, schema)
        source = table(name, *map(column, types), schema=schema)
        keys = [(self._key(types[n]), source.c[n]) for n in types if n.casefold() == "scheduled_at"]
        # Where times are text all are fetched: facts are few, and each is to be read or refused.
        conditions = [c for key, time in keys if not key.is_text for c in key.within(time, span)]
        rows = [row for part in self._database.rows(select(source).where(*conditions)) for row in part]
        clock = Clock(self._options.timezone, self._options.time_format)
        try:
            facts = plain_facts({n.casefold(): array for n, array in arrays(types, rows).items()}, clock)
        except Fault as fault:
            row = "" if fault.row is None else f", row {fault.row + 1}"
            raise DataError(f"{self._database.name}, table {name}{row}: {fault}") from None
        yield from clock.mixed(f"table {name}")
        yield from within(facts, symbols, span)

    @cached_property
    def _layout(self) -> Layout:
        options = self._options
        types = self._database.columns(options.table, options.db_schema)
        names = list(types)
        try:
            found = {ours: names[i] for ours, i in match(names, options.columns.given).items()}
            if "symbol" not in found:
                raise Fault(f"no column for symbol; found {', '.join(names)}; map it with `columns`")
            if options.freq_column is not None and options.freq_column not in names:
                raise Fault(f"there is no column {options.freq_column}, which `freq_column` names")
            kind = types[found["time"]]
            if options.time_format is None and isinstance(kind, (Numeric, Integer)):
                raise Fault(f"{found['time']} holds numbers; set `time_format` to epoch_s or epoch_ms")
        except Fault as fault:
            raise ConfigError(f"{self._database.name}, table {options.table}: {fault}") from None
        return Layout(options.table, options.db_schema, found, options.freq_column, self._key(kind), types)

    def _key(self, kind: TypeEngine[Any]) -> TimeKey:
        return time_key(kind, self._options.time_format, sqlite=self._database.is_sqlite)

    def _rows(self, symbols: Sequence[str], freq: str, span: Span) -> dict[str, list[Sequence[Any]]]:
        """Return each symbol's rows, for those that have any."""
        place = list(self._layout.columns).index("symbol")
        found: dict[str, list[Sequence[Any]]] = {}
        for part in self._database.rows(bars_query(self._layout, symbols, freq, span)):
            for row in part:
                found.setdefault(str(row[place]).strip(), []).append(row)
        return found

    def _unknown(self, symbols: Sequence[str], freq: str) -> dict[str, SymbolError]:
        """Return the errors of those symbols that the table does not have outside the span either."""
        if not symbols:
            return {}
        parts = self._database.rows(symbols_query(self._layout, symbols, freq))
        known = {str(symbol).strip() for part in parts for (symbol,) in part}
        where = f"{self._database.name}, table {self._layout.table}"
        of_freq = f" and {freq} in {self._layout.freq_column}" if self._layout.freq_column else ""
        return {
            symbol: SymbolError(
                f"{symbol}: {where} has no row with it in {self._layout.columns['symbol']}{of_freq}"
            )
            for symbol in symbols
            if symbol not in known
        }

    def _frame(
        self, symbol: str, values: Sequence[Sequence[Any]], freq: str, span: Span
    ) -> pd.DataFrame | SymbolError:
        try:
            columns = arrays(self._layout.columns, values)
            rows = read_rows(columns, self._options, self._options.time_format, freq)
        except Fault as fault:
            return SymbolError(f"{self._database.name}, table {self._layout.table}, symbol {symbol}: {fault}")
        # A table has no order of its own.
        rows = rows[np.argsort(rows.time, kind="stable")]
        return frame(rows, span, closes=self._options.closes(freq))

"""The feed ``sql``: bars and facts from tables that SQLAlchemy can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Integer, Numeric, column, select, table

from ...errors import ConfigError, DataError, SymbolError
from ...freq import is_daily, minutes
from ...types import Fact, Span
from .columns import VALUES, match
from .database import Database
from .faults import Fault, shown
from .options import SqlFeed
from .plain import plain_facts, within
from .query import Layout, bars_query, symbols_query, time_key
from .stamps import Clock
from .tables import Rows, Table, frame, read_rows

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 200


class SqlSource:
    """Reads bars and facts from a database, some hundred symbols with one query."""

    def __init__(self, options: SqlFeed) -> None:
        self._options = options
        self._database = Database(options.url)

    def bars(self, symbols: Sequence[str], freq: str, span: Span) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the bars of each symbol in order of time, an empty frame where it has none in the span.

        Raises ConfigError where the table or the database cannot be used, DataError where a query fails.
        """
        for start in range(0, len(symbols), _CHUNK):
            chunk = symbols[start : start + _CHUNK]
            for symbol, rows in zip(chunk, self._rows(chunk, freq, span), strict=True):
                yield symbol, frame(rows, span)

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact]:
        """Yield the facts of ``facts_table``; raises ConfigError or DataError as ``bars`` does."""
        name, schema = self._options.facts_table, self._options.db_schema
        if name is None:
            return
        names = list(self._database.columns(name, schema))
        query = select(table(name, *map(column, names), schema=schema))
        columns = _transposed(self._database, query, len(names))
        try:
            arrays = {n.casefold(): _array(values, n) for n, values in zip(names, columns, strict=True)}
            facts = plain_facts(arrays, Clock(self._options.timezone, self._options.time_format))
        except Fault as fault:
            row = "" if fault.row is None else f", row {fault.row + 1}"
            raise DataError(f"{self._database.name}, table {name}{row}: {fault}") from None
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
        except Fault as fault:
            raise ConfigError(f"{self._database.name}, table {options.table}: {fault}") from None
        kind = types[found["time"]]
        if options.time_format is None and isinstance(kind, (Numeric, Integer)):
            raise ConfigError(
                f"{self._database.name}, table {options.table}: {found['time']} holds numbers; set `time_format` "
                "to epoch_s or epoch_ms"
            )
        key = time_key(kind, options.time_format, sqlite=self._database.is_sqlite)
        return Layout(options.table, options.db_schema, found, options.freq_column, key)

    def _rows(self, symbols: Sequence[str], freq: str, span: Span) -> list[Rows]:
        layout = self._layout
        late = self._options.stamp == "close" and not is_daily(freq)
        shift = np.timedelta64(minutes(freq) if late else 0, "m")
        query = bars_query(layout, symbols, freq, span, shift)
        columns = dict(zip(layout.columns, _transposed(self._database, query, len(layout.columns)), strict=True))
        owners = [None if symbol is None else str(symbol) for symbol in columns.pop("symbol")]
        try:
            arrays = {name: _array(values, name) for name, values in columns.items()}
            rows = read_rows(arrays, self._options, self._options.time_format, freq)
            bars = Table(rows, pa.array(owners, pa.string()))
        except Fault as fault:
            row = "" if fault.row is None else f", symbol {owners[fault.row]}"
            raise SymbolError(f"{self._database.name}, table {layout.table}{row}: {fault}") from None
        found = {symbol: bars.of(symbol) for symbol in symbols}
        self._refuse_unknown([symbol for symbol, its in found.items() if its is None], freq)
        nothing = rows[np.array([], dtype=np.intp)]
        # A table has no order of its own.
        return [
            nothing if its is None else its[np.argsort(its.time, kind="stable")] for its in map(found.get, symbols)
        ]

    def _refuse_unknown(self, symbols: Sequence[str], freq: str) -> None:
        """Raise SymbolError unless the table has these symbols outside the span."""
        if not symbols:
            return
        parts = self._database.rows(symbols_query(self._layout, symbols, freq))
        known = {str(symbol).strip() for part in parts for (symbol,) in part}
        for symbol in symbols:
            if symbol not in known:
                of_freq = f" and {freq} in {self._layout.freq_column}" if self._layout.freq_column else ""
                where = f"{self._layout.columns['symbol']}{of_freq}"
                raise SymbolError(
                    f"{symbol}: {self._database.name}, table {self._layout.table} has no row with it in {where}"
                )


def _transposed(database: Database, query: Any, width: int) -> list[list[Any]]:
    """Return the columns of a query's result."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    for part in database.rows(query):
        for values, more in zip(columns, zip(*part, strict=True), strict=True):
            values.extend(more)
    return columns


def _array(values: list[Any], what: str) -> Any:
    """Turn a column into an Arrow array; figures of bars, in whatever numeric type, become float64."""
    try:
        return pa.array(np.array(values, dtype=np.float64)) if what in VALUES else pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        row = _first_odd(values) if what in VALUES else None
        text = "values of different types" if row is None else f"{shown(values[row])}; expected a number"
        raise Fault(f"{what} is {text}", row) from None


def _first_odd(values: list[Any]) -> int | None:
    for row, value in enumerate(values):
        try:
            float(0 if value is None else value)
        except (TypeError, ValueError, OverflowError):
            return row
    return None

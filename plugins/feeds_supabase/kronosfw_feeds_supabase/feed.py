"""The feed ``supabase`` at work, whatever the transport."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kronosfw.builtin.feeds.columns import match
from kronosfw.builtin.feeds.faults import Fault
from kronosfw.builtin.feeds.fetched import arrays
from kronosfw.builtin.feeds.plain import within
from kronosfw.builtin.feeds.tables import Rows, frame, read_rows
from kronosfw.errors import ConfigError, SymbolError
from kronosfw.types import Fact, Finding, Span

from .facts import read_facts
from .options import SupabaseFeed
from .postgres import Postgres
from .rest import Rest
from .times import TIMES
from .transport import Layout, Transport

if TYPE_CHECKING:
    import pandas as pd


class SupabaseSource:
    """Reads bars and facts, the rows of a chunk of symbols at a time."""

    def __init__(self, options: SupabaseFeed) -> None:
        self._options = options
        self._transport: Transport = Rest(options) if options.transport == "rest" else Postgres(options)
        self._layouts: dict[str, Layout] = {}

    def bars(
        self, symbols: Sequence[str], freq: str, span: Span
    ) -> Iterator[tuple[str, pd.DataFrame | SymbolError]]:
        """Yield the bars of each symbol in order of time, an empty frame where it has none in the span.

        A symbol without any row that can be seen comes with its SymbolError. Raises ConfigError where the
        table cannot be used, FeedDown where the project cannot be reached, DataError where a read fails.
        """
        table = self._options.table(freq)
        for start in range(0, len(symbols), self._options.chunk):
            chunk = symbols[start : start + self._options.chunk]
            layout = self._layout(table)
            found = {} if layout is None else self._transport.bars(layout, chunk, span)
            absent = [symbol for symbol in chunk if symbol not in found]
            seen = self._transport.seen(layout, absent) if layout is not None and absent else set()
            for symbol in chunk:
                if layout is None or not (symbol in found or symbol in seen):
                    yield symbol, self._unseen(symbol, table)
                else:
                    columns = found.get(symbol) or arrays(layout.fields, ())
                    yield symbol, self._frame(symbol, table, columns, freq, span)

    def facts(self, symbols: Sequence[str], span: Span) -> Iterator[Fact | Finding]:
        """Yield the facts of the tables with dated events; raises as ``bars`` does."""
        yield from within(read_facts(self._transport, self._options, span), symbols, span)

    def _layout(self, table: str) -> Layout | None:
        """Return where the bars are; None while there is no row to tell it by."""
        if table not in self._layouts:
            types = self._transport.types(table)
            if not types:
                return None
            self._layouts[table] = self._matched(table, types)
        return self._layouts[table]

    def _matched(self, table: str, types: Mapping[str, str]) -> Layout:
        names = list(types)
        try:
            columns = {ours: names[i] for ours, i in match(names, self._options.columns.given).items()}
            if "symbol" not in columns:
                raise Fault(f"no column for symbol; found {', '.join(names)}; map it with `columns`")
            kind = types[columns["time"]]
            if kind not in TIMES:
                raise Fault(f"{columns['time']} is of type {kind}; expected timestamptz, timestamp or date")
        except Fault as fault:
            raise ConfigError(f"{self._transport.name}, table {table}: {fault}") from None
        return Layout(table, columns, types, TIMES[kind].key)

    def _unseen(self, symbol: str, table: str) -> SymbolError:
        who = "key" if self._options.transport == "rest" else "user"
        return SymbolError(
            f"{symbol}: {self._transport.name}, table {table} has no row with it, or the {who} may not see it "
            "(row-level security hides rows without an error)"
        )

    def _frame(
        self, symbol: str, table: str, columns: Mapping[str, Any], freq: str, span: Span
    ) -> pd.DataFrame | SymbolError:
        try:
            rows = read_rows(columns, self._options, None, freq)
        except Fault as fault:
            return SymbolError(f"{self._transport.name}, table {table}, symbol {symbol}: {fault}")
        return frame(_ordered(rows), span, closes=self._options.closes(freq))


def _ordered(rows: Rows) -> Rows:
    """Return the rows by time, those of one time by their values: a table has no order of its own."""
    order = np.argsort(rows.time, kind="stable")
    time = rows.time[order]
    if (time[1:] == time[:-1]).any():
        order = np.lexsort([*list(rows.values.values())[::-1], rows.time])
    return rows[order]

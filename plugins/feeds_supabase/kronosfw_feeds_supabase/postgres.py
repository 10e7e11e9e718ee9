"""The transport ``postgres``: the database itself, by pooled connections that any pooler may stand before."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from kronosfw.address import parse
from kronosfw.errors import ConfigError, DataError
from kronosfw.types import Span

from .options import SupabaseFeed
from .query import TYPES, bars_query, decoded, rows_query, seen_query
from .times import TIMES
from .transport import Layout, Transient, patiently
from .waiting import NoAnswer, bounded

T = TypeVar("T")

_REFUSED = ("28P01", "28000", "3D000")
_REFUSALS = ("authentication failed", "does not exist", "Tenant or user not found", "no pg_hba.conf entry")
_MISTAKES = re.compile("(invalid|bad) .*(value|option|number)", re.IGNORECASE)
"""What the driver says of options of the URL."""

_READING = """
SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %s, true),
  set_config('datestyle', 'ISO', true), set_config('extra_float_digits', '1', true)
"""
"""What a transaction begins with; the last two say how values are written, which the database may set otherwise."""

_PASSING = ("08", "53", "57", "40")
"""Classes of SQLSTATE: connection, resources, intervention such as a restart or a time-out, and rollback."""

_GRACE = 1.0
"""Seconds for which the server may be late to say that it has timed out."""


class Postgres:
    """Reads with one transaction for each chunk, and keeps nothing in the session."""

    def __init__(self, options: SupabaseFeed) -> None:
        """Raise ConfigError where the URL cannot be used; nothing is connected yet."""
        address = parse(options.url.get_secret_value(), "url")
        self.name = address.shown
        self._options = options
        seconds = max(1, round(options.timeout))
        defaults = {
            "connect_timeout": max(2, seconds),
            "keepalives_idle": seconds,
            "tcp_user_timeout": 1000 * seconds,
        }
        given = {name: value for name, value in defaults.items() if name not in address.url.query}
        # Prepared statements do not survive a transaction pooler.
        connect_args = {"prepare_threshold": None, **given}
        self._engine = create_engine(address.url, pool_size=1, pool_pre_ping=True, connect_args=connect_args)
        connection = bounded(options.timeout + _GRACE)

        @event.listens_for(self._engine, "do_connect")
        def _connect(dialect: Any, record: Any, arguments: Any, named: Any) -> Any:
            return connection.connect(*arguments, **named)

        weakref.finalize(self, self._engine.dispose)

    def types(self, table: str) -> Mapping[str, str]:
        """Return the columns with their types; raises ConfigError where there is no such table."""
        schema = self._options.db_schema

        def read(cursor: Any) -> dict[str, str]:
            return dict(cursor.execute(TYPES, (schema, table)).fetchall())

        found = self._read(read)
        if not found:
            raise ConfigError(f"{self.name}: there is no table {schema}.{table}; name it, or null, with `tables`")
        return found

    def bars(self, layout: Layout, symbols: Sequence[str], span: Span) -> Mapping[str, Mapping[str, Any]]:
        """Return the arrays of the symbols that have rows in the span."""
        query, bound = bars_query(layout, self._options.db_schema, symbols, span)

        def read(cursor: Any) -> dict[str, dict[str, Any]]:
            result = cursor.execute(query, bound, binary=True).pgresult
            found = {}
            for row in range(result.ntuples):
                symbol, *cells = (result.get_value(row, column) for column in range(result.nfields))
                found[symbol.decode()] = decoded(layout, cells)
            return found

        return self._read(read)

    def seen(self, layout: Layout, symbols: Sequence[str]) -> set[str]:
        """Return those of the symbols that have a row to be seen."""
        query = seen_query(layout, self._options.db_schema)

        def read(cursor: Any) -> set[str]:
            return {symbol for (symbol,) in cursor.execute(query, {"symbols": list(symbols)})}

        return self._read(read)

    def rows(self, table: str, types: Mapping[str, str], time: str, span: Span) -> list[dict[str, Any]]:
        """Return the rows whose ``time`` lies within the span, and those without; all where it has no start."""
        kind = types[time]
        bound = {}
        if kind in TIMES and span.start is not None:
            key = TIMES[kind].key
            bound = {"since": key.bound(span.start - key.margin), "until": key.bound(span.end + key.margin)}
        query = rows_query(table, self._options.db_schema, list(types), time, bounded=bool(bound))

        def read(cursor: Any) -> list[dict[str, Any]]:
            cursor.row_factory = dict_row
            rows: list[dict[str, Any]] = cursor.execute(query, bound).fetchall()
            return rows

        return self._read(read)

    def _read(self, read: Callable[[Any], T]) -> T:
        def once() -> T:
            with self._told(), self._cursor() as cursor:
                return read(cursor)

        return patiently(once, self.name, self._options.patience)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """Give a cursor in a transaction of its own, which a time-out of the server's bounds."""
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            limit = f"{max(1, round(1000 * self._options.timeout))}ms"
            cursor.execute(_READING, (limit,))
            yield cursor
        except psycopg.OperationalError:
            # One that was lost would be complained about when it is given back.
            connection.invalidate()
            raise
        finally:
            connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Put the driver's errors into words of ours: its own may repeat the URL or values of the data."""
        try:
            yield
        except psycopg.Error as error:
            raise self._worded(error) from None
        except SQLAlchemyError as error:
            raise Transient(f"cannot connect ({type(error).__name__})") from None

    def _worded(self, error: psycopg.Error) -> Exception:
        state = error.sqlstate or ""
        kind = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
        if isinstance(error, psycopg.errors.QueryCanceled | NoAnswer):
            return Transient(f"no answer within {self._options.timeout:g} s")
        connecting = isinstance(error, psycopg.OperationalError) and not state
        if not state and _MISTAKES.search(str(error)):
            return ConfigError(f"{self.name}: the driver refuses an option of the URL; check names and values")
        if state in _REFUSED or (connecting and any(text in str(error) for text in _REFUSALS)):
            return ConfigError(f"{self.name}: refuses to connect; are user, password and database right?")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return ConfigError(f"{self.name}: the user may not read schema {self._options.db_schema} or its table")
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            return ConfigError(f"{self.name}: a table or column is gone or may not be read ({kind})")
        if connecting or state.startswith(_PASSING):
            return Transient(f"cannot connect, or the connection was lost ({kind})")
        return DataError(f"{self.name}: reading failed ({kind})")

"""Many rows at once to Postgres: COPY into a table that its transaction alone sees.

Nothing outlives the transaction, so that it may go through a pooler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Connection, Dialect, Selectable, Table, Text, literal_column, select
from sqlalchemy import table as named
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from .columns import Real, UtcTime, to_jsonb
from .tables import Row

_STAGE = "kronosfw_stage"
_CHUNK = 5_000
"""Rows made into text at a time: while the server reads these, the next are made."""
_NULL = r"\N"
_ESCAPES = (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))


def may_stage(connection: Connection) -> bool:
    """Tell whether the role may make temporary tables."""
    allowed = "SELECT has_database_privilege(current_database(), 'TEMP')"
    return bool(connection.exec_driver_sql(allowed).scalar())


@contextmanager
def staged(connection: Connection, table: Table, rows: Sequence[Row], stamps: Row) -> Iterator[Selectable]:
    """Send the rows and, in each, the stamps; yield what selects them in this order.

    The columns are those of the table. Raises DBAPIError.
    """
    prepared = connection.dialect.identifier_preparer
    # Of the table's columns only ours: it may have been given others, which must not be NULL.
    columns: list[Any] = [literal_column(prepared.format_column(column)) for column in table.columns]
    like = select(*columns).select_from(table)
    connection.exec_driver_sql(f"CREATE TEMP TABLE {_STAGE} ON COMMIT DROP AS {like} WITH NO DATA")
    copy(connection, table, rows, stamps, f"pg_temp.{_STAGE}")
    # A temporary table is scanned from its first row to its last, by one process.
    yield select(*columns).select_from(named(_STAGE, schema="pg_temp"))
    connection.exec_driver_sql(f"DROP TABLE pg_temp.{_STAGE}")


def copy(connection: Connection, table: Table, rows: Sequence[Row], stamps: Row, target: str) -> None:
    """Send the rows into another table with the columns of this; raises DBAPIError."""
    import psycopg

    columns = ", ".join(map(connection.dialect.identifier_preparer.format_column, table.columns))
    database: Any = connection.connection.driver_connection
    try:
        with database.cursor() as cursor, cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as sent:
            for start in range(0, len(rows), _CHUNK):
                sent.write(_lines(table, rows[start : start + _CHUNK], stamps, connection.dialect))
    except psycopg.Error as error:
        if database.closed:
            connection.invalidate(error)
        raise DBAPIError("COPY", None, error, connection_invalidated=database.closed) from None


def _lines(table: Table, rows: Sequence[Row], stamps: Row, dialect: Dialect) -> str:
    given = [column.name for column in table.columns if column.name not in stamps]
    values = dict(zip(given, zip(*map(itemgetter(*given), rows), strict=True), strict=True))
    cells = [
        _cells(column.type, values[column.name], dialect)
        if column.name in values
        else _cells(column.type, [stamps[column.name]], dialect) * len(rows)
        for column in table.columns
    ]
    return "\n".join(map("\t".join, zip(*cells, strict=True))) + "\n"


def _cells(kind: TypeEngine[Any], values: Sequence[Any], dialect: Dialect) -> list[str]:
    """Return the text of each value."""
    match kind:
        case Real():
            numbers = to_jsonb([kind.process_bind_param(value, dialect) for value in values])
            return numbers[1:-1].replace("null", _NULL).split(",")
        case JSON():
            return [_NULL if value is None else to_jsonb(value).replace("\\", r"\\") for value in values]
        case _:
            write = _writer(kind, dialect)
            texts = {value: _NULL if value is None else write(value) for value in set(values)}
            return [texts[value] for value in values]


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Return what makes text of a value that equals no other of its type."""
    match kind:
        case UtcTime() as moment:
            return lambda value: str(moment.process_bind_param(value, dialect))
        case Text():
            return _escaped
        case _:
            return str


def _escaped(text: str) -> str:
    import psycopg

    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    for found, spelled in _ESCAPES:
        text = text.replace(found, spelled)
    return text

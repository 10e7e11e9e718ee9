"""A connection to the user's database whose errors are clear and hold no secret."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Select, create_engine, inspect
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from ...address import parse
from ...errors import ConfigError, DataError, FeedDown

_PARTITION = 20_000


class Database:
    """Reads from a database; a driver's own words are not passed on, for they may repeat the URL."""

    def __init__(self, url: SecretStr) -> None:
        """Raise ConfigError where the URL or its driver cannot be used; nothing is connected yet."""
        address = parse(url.get_secret_value(), "url")
        self.name = address.shown
        self.is_sqlite = address.is_sqlite
        # Prepared statements do not survive a transaction pooler.
        options = {"prepare_threshold": None} if address.url.drivername == "postgresql+psycopg" else {}
        try:
            self._engine = create_engine(address.url, poolclass=NullPool, connect_args=options)
        except ModuleNotFoundError as error:
            raise ConfigError(f"{self.name}: the driver {error.name} is not installed") from None
        except NoSuchModuleError:
            raise ConfigError(f"{self.name}: SQLAlchemy knows no {address.url.drivername}") from None
        except (ArgumentError, TypeError, ValueError):
            raise ConfigError(f"{self.name}: not a URL that {address.url.drivername} understands") from None
        self._file = _sqlite_file(address.url.database) if self.is_sqlite else None

    def columns(self, table: str, schema: str | None) -> dict[str, Any]:
        """Return the columns of a table or view with their types.

        Raises FeedDown where the database cannot be reached and ConfigError where it has no such table.
        """
        if self._file and not self._file.is_file():
            raise ConfigError(f"{self.name}: there is no such file")
        try:
            with self._engine.connect() as connection, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = inspect(connection).get_columns(table, schema=schema)
        except NoSuchTableError:
            where = f"{schema}.{table}" if schema else table
            raise ConfigError(f"{self.name}: there is no table {where}, or it may not be read") from None
        except SQLAlchemyError as error:
            raise FeedDown(
                f"{self.name}: cannot connect ({_kind(error)}); is it up, and are host, port, database, user "
                "and password right?"
            ) from None
        return {column["name"]: column["type"] for column in found}

    def rows(self, query: Select[Any]) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query in lists of bounded length; raises FeedDown or DataError where it fails."""
        try:
            with self._engine.connect() as connection:
                result = connection.execution_options(stream_results=True).execute(query)
                yield from result.partitions(_PARTITION)
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise FeedDown(f"{self.name}: the connection was lost ({_kind(error)})") from None
            raise DataError(f"{self.name}: reading failed ({_kind(error)})") from None


def _sqlite_file(database: str | None) -> Path | None:
    in_memory = not database or database.startswith((":memory:", "file:"))
    return None if in_memory else Path(str(database))


def _kind(error: SQLAlchemyError) -> str:
    """Return what can be said of an error without the driver's text: its class, and its SQLSTATE if it has one."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    state = getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__}{f', SQLSTATE {state}' if state else ''}"

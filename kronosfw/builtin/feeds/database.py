"""A connection to the user's database whose errors are clear and hold no secret."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, Select, create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ...errors import ConfigError, DataError

_PARTITION = 20_000


class Database:
    """Reads from a database; a driver's own words are not passed on, for they may repeat the URL."""

    def __init__(self, url: SecretStr) -> None:
        """Raise ConfigError where the URL or its driver cannot be used; nothing is connected yet."""
        try:
            parsed = make_url(url.get_secret_value())
            if parsed.drivername in ("postgres", "postgresql"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            # Options in the URL may be secrets as much as the password.
            self.name = parsed.set(query={}).render_as_string(hide_password=True)
            # Prepared statements do not survive a transaction pooler.
            options = {"prepare_threshold": None} if parsed.get_driver_name() == "psycopg" else {}
            self._engine: Engine = create_engine(parsed, poolclass=NullPool, connect_args=options)
        except ModuleNotFoundError as error:
            raise ConfigError(f"{self.name}: the driver {error.name} is not installed") from None
        except NoSuchModuleError:
            raise ConfigError(f"{self.name}: SQLAlchemy knows no {parsed.drivername}") from None
        except (ArgumentError, ValueError):
            raise ConfigError("url: not a SQLAlchemy URL such as postgresql+psycopg://user@host/name") from None
        self._file = _sqlite_file(parsed.database) if parsed.get_backend_name() == "sqlite" else None

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def columns(self, table: str, schema: str | None) -> dict[str, Any]:
        """Return the columns of a table or view with their types.

        Raises ConfigError where the database cannot be reached or has no such table.
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
            raise ConfigError(
                f"{self.name}: cannot connect ({_kind(error)}); is it up, and are host, port, database, user "
                "and password right?"
            ) from None
        return {column["name"]: column["type"] for column in found}

    def rows(self, query: Select[Any]) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query in lists of bounded length; raises DataError where it fails."""
        try:
            with self._engine.connect() as connection:
                result = connection.execution_options(stream_results=True).execute(query)
                yield from result.partitions(_PARTITION)
        except SQLAlchemyError as error:
            raise DataError(f"{self.name}: reading failed ({_kind(error)})") from None


def _sqlite_file(database: str | None) -> Path | None:
    in_memory = not database or database.startswith((":memory:", "file:"))
    return None if in_memory else Path(str(database))


def _kind(error: SQLAlchemyError) -> str:
    """Return what can be said of an error without the driver's text: its class, and its SQLSTATE if it has one."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    state = getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__}{f', SQLSTATE {state}' if state else ''}"

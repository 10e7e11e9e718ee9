"""The databases in which disturbed runs store their results, and all that is in them."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select

from kronosfw.store import Row
from kronosfw.store.address import parse
from kronosfw.store.engine import open_engine, reader
from kronosfw.store.tables import STAMPS, metadata
from tests.postgres import Server


class Backend(Protocol):
    """A kind of database."""

    def new(self, folder: Path, seeded: str | None) -> str:
        """Return the URL of a database that is empty, or a copy of one."""
        ...

    def settle(self, url: str) -> None:
        """Wait until what killed programs had asked for is done or undone."""
        ...

    def shut(self, url: str) -> AbstractContextManager[None]:
        """Let nobody use a database for a while."""
        ...

    def drop(self, url: str) -> None:
        """Delete a database."""
        ...


class SQLite:
    def new(self, folder: Path, seeded: str | None) -> str:
        if seeded is not None:
            shutil.copy(_path(seeded), folder / "results.db")
        return f"sqlite:///{folder}/results.db?timeout=0.05"

    def settle(self, url: str) -> None:
        pass

    @contextmanager
    def shut(self, url: str) -> Iterator[None]:
        with closing(sqlite3.connect(_path(url), isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def drop(self, url: str) -> None:
        pass


class Postgres:
    def __init__(self, server: Server) -> None:
        self._server = server

    def new(self, folder: Path, seeded: str | None) -> str:
        if seeded is None:
            return self._server.new_database()
        name = f"copy_{next(self._server.numbers)}"
        with self._server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_name(seeded)}")
        return self._server.url(name)

    def settle(self, url: str) -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        with self._server.connect() as connection:
            while connection.execute(query, [_name(url)]).fetchone() != (0,):
                time.sleep(0.002)

    @contextmanager
    def shut(self, url: str) -> Iterator[None]:
        with self._server.connect() as connection:
            connection.execute(f"ALTER DATABASE {_name(url)} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [_name(url)]
            )
            yield
            connection.execute(f"ALTER DATABASE {_name(url)} ALLOW_CONNECTIONS true")

    def drop(self, url: str) -> None:
        with self._server.connect() as connection:
            connection.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///").partition("?")[0]


def _name(url: str) -> str:
    return url.rpartition("/")[2]


Tables = dict[str, list[dict[str, Any]]]


def tables(url: str) -> Tables:
    """Return all rows of a store by table, in the order of the keys."""
    engine, found = open_engine(parse(url)), {}
    try:
        with reader(engine).connect() as connection:
            for name, table in metadata.tables.items():
                rows = [dict(row) for row in connection.execute(select(table)).mappings()]
                key = table.primary_key.columns.keys()
                found[name] = sorted(rows, key=lambda row: [row[column] for column in key])
    finally:
        engine.dispose()
    return found


def lasting(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows without what says who wrote them and when, and how long that took."""
    return [{k: v for k, v in row.items() if k not in STAMPS | {"report"}} for row in rows]


def forecasts(found: Tables) -> list[dict[str, Any]]:
    """Return the predictions that runs wrote; those of the past are a backtest's."""
    return [row for row in found["ml_predictions"] if "~" not in row["model_version"]]


def stop(server: Server, how: signal.Signals) -> None:
    """Stop a server: SIGINT ends its clients' connections in order, SIGQUIT ends all without a checkpoint."""
    if how is signal.SIGQUIT:
        server.stop()
    else:
        server.process.send_signal(how)
        server.process.wait(30)

"""Engines with the settings that crash safety needs."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from ..errors import ConfigError
from .address import Address
from .columns import to_json, to_jsonb

_WAL_SAFE = (3, 51, 3)
_POOLER_PORTS = (6432, 6543)
"""PgBouncer's and Supabase's: each transaction may meet another session, without our prepared statements."""
_SHORTEST_WAIT = 10.0
"""Seconds for which a lock is waited for at least."""
_LONGEST_WAIT = 2e6
"""More is more than Postgres can count in milliseconds."""
_DEFAULTS: dict[str, Any] = {
    "application_name": "kronosfw",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Options of a connection to Postgres that its URL may set otherwise; after a minute its machine is given up."""


def open_engine(address: Address, patience: float = 30.0) -> Engine:
    """Return an engine whose transactions may write; nothing is connected yet. Raises ConfigError.

    On Postgres they wait ``patience`` seconds for a lock, though no less than ten; SQLite has an option for that.
    """
    if address.is_sqlite:
        return _sqlite(address, {"json_serializer": to_json, "hide_parameters": True})
    return _postgres(address, patience, {"json_serializer": to_jsonb, "hide_parameters": True})


def reader(engine: Engine) -> Engine:
    """Return a view of the engine, with the same connections, whose transactions only read."""
    return engine.execution_options(reads_only=True)


def journal_mode(version: tuple[int, ...]) -> str:
    """Return the journal mode for a version of SQLite: before 3.51.3, resetting the WAL may corrupt it."""
    return "WAL" if version >= _WAL_SAFE else "DELETE"


def _sqlite(address: Address, options: dict[str, Any]) -> Engine:
    wait = {} if "timeout" in address.url.query else {"timeout": _SHORTEST_WAIT}
    try:
        engine = create_engine(address.url, connect_args=wait, **options)
    except ValueError:
        raise ConfigError("store: ?timeout= takes a number of seconds") from None

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            f"journal_mode = {journal_mode(sqlite3.sqlite_version_info)}",
            "synchronous = FULL",
            "mmap_size = 0",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get("reads_only")
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine


def _postgres(address: Address, patience: float, options: dict[str, Any]) -> Engine:
    ours = {name: value for name, value in _DEFAULTS.items() if name not in address.url.query}
    if address.url.port in _POOLER_PORTS:
        ours["prepare_threshold"] = None
    try:
        engine = create_engine(address.url, pool_pre_ping=True, connect_args=ours, **options)
    except ImportError:
        raise ConfigError("store: Postgres needs a driver: pip install 'kronosfw[postgres]'") from None
    # Numbers and moments are exchanged as text, and a server, database or role may have settings that change it.
    wanted = {
        "lock_timeout": f"{min(max(patience, _SHORTEST_WAIT), _LONGEST_WAIT):.0f}s",
        "extra_float_digits": "3",
        "DateStyle": "ISO, MDY",
    }
    settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in wanted.items())

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {settings}")

    return engine

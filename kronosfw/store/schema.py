"""The version of a database's tables, and how it is brought up to date.

Alembic does the work, with a version table of our own, so that a database which another program manages with
Alembic is not mistaken for ours. It is imported only when there is something to do.
"""

from __future__ import annotations

from enum import Enum, auto

from sqlalchemy import Connection, Engine, inspect, text

from ..errors import StoreError
from .engine import reader
from .tables import metadata

REVISIONS = ("0001", "0002", "0003")
"""All revisions in ``migrations/versions``, oldest first."""

VERSION_TABLE = "kronosfw_version"
_LOCK = 0x6B726F6E6F73  # "kronos"


class State(Enum):
    """What a database holds, seen by this version of kronosfw."""

    EMPTY = auto()
    FOREIGN = auto()
    OLDER = auto()
    CURRENT = auto()
    NEWER = auto()


_REFUSALS = {
    State.OLDER: "made by an older kronosfw; run `kronosfw store migrate FILE`",
    State.NEWER: "made by a newer kronosfw; upgrade kronosfw",
    State.FOREIGN: "holds other tables and none of kronosfw's; if they belong side by side, "
    "run `kronosfw store migrate FILE`, else give kronosfw a database of its own",
}


def state(connection: Connection) -> State:
    """Look at the version table, or at what else is there."""
    tables = set(inspect(connection).get_table_names())
    version = None
    if VERSION_TABLE in tables:
        version = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    if version is None:
        return State.FOREIGN if tables - {VERSION_TABLE} else State.EMPTY
    if version == REVISIONS[-1]:
        return State.CURRENT
    return State.OLDER if version in REVISIONS else State.NEWER


def prepare(engine: Engine, shown: str) -> bool:
    """Make the tables if the database is empty; return whether it was.

    Raises StoreError where it holds other tables or those of another version.
    """
    with reader(engine).connect() as connection:
        found = state(connection)
    if found is State.EMPTY:
        with engine.begin() as connection:
            found = _locked_state(connection)
            if found is State.EMPTY:
                _upgrade(connection)
    if found in _REFUSALS:
        raise StoreError(f"store {shown}: {_REFUSALS[found]}")
    return found is State.EMPTY


def migrate(engine: Engine, shown: str) -> bool:
    """Bring the tables up to date, beside other programs' tables if need be; return whether anything changed.

    Raises StoreError where a newer version made the tables, or another program has tables of these names.
    """
    with engine.begin() as connection:
        found = _locked_state(connection)
        if found is State.NEWER:
            raise StoreError(f"store {shown}: {_REFUSALS[found]}")
        if found is State.FOREIGN:
            _refuse_name_clash(connection, shown)
        if found is not State.CURRENT:
            _upgrade(connection)
        return found is not State.CURRENT


def _locked_state(connection: Connection) -> State:
    """Return the state once nobody else is changing it; SQLite's transaction has the lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return state(connection)


def _refuse_name_clash(connection: Connection, shown: str) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        raise StoreError(
            f"store {shown}: another program has tables called {', '.join(taken)}; "
            "give kronosfw a database or schema of its own"
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", "kronosfw.store:migrations")
    command.upgrade(config, "head")

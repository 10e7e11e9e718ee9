"""Writing rows by their key, so that writing again changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, or_
from sqlalchemy.dialects import postgresql, sqlite

from .tables import STAMPS, Row

_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(connection: Connection, table: Table, rows: Sequence[Row], *, newer_than: datetime | None = None) -> int:
    """Insert the rows, or update those whose key is there with other values; return how many were written.

    A row that differs from the stored one only in STAMPS is left as it stands, with the stored stamps, and so is
    one created after ``newer_than``. Each row has every column. Rows go in the order of their keys, so that no
    two writers wait for each other.
    """
    names = table.columns.keys()
    if wrong := next((row for row in rows if row.keys() != set(names)), None):
        raise ValueError(f"{table.name}: wrong columns: {sorted(wrong.keys() ^ set(names))}")
    if not rows:
        return 0
    key = table.primary_key.columns.keys()
    insert = _INSERT[connection.dialect.name](table)
    values = [name for name in names if name not in key]
    differs = [table.c[n].is_distinct_from(insert.excluded[n]) for n in values if n not in STAMPS]
    where = or_(*differs)
    if newer_than is not None:
        where = and_(where, table.c.created_at <= newer_than)
    statement = insert.on_conflict_do_update(
        index_elements=key, set_={n: insert.excluded[n] for n in values}, where=where
    )
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in key))
    done = connection.execute(
        statement, [dict(row) for row in ordered], execution_options={"preserve_rowcount": True}
    )
    return done.rowcount

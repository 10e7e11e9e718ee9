"""Writing rows by their key, so that writing again changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, or_
from sqlalchemy.dialects import postgresql, sqlite

from .copying import may_stage, staged
from .tables import STAMPS, Row

_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
FEW = 200
"""Rows that are not worth a COPY."""


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    stamps: Row | None = None,
    *,
    over: ColumnElement[bool] | None = None,
) -> int:
    """Insert the rows, or update those whose key is there with other values; return how many were written.

    Each row has every column but those of ``stamps``, which are the same in all. A row that differs from the
    stored one only in STAMPS is left as it stands, with the stored stamps, and so is one whose stored one is not
    ``over``. Of rows with the same key the last stays. Rows go in the order of their keys, so that no two writers
    wait for each other.
    """
    stamps = stamps or {}
    names = table.columns.keys()
    given = set(names) - stamps.keys()
    if wrong := next((row for row in rows if row.keys() != given), None):
        raise ValueError(f"{table.name}: wrong columns: {sorted(wrong.keys() ^ given)}")
    if not rows:
        return 0
    key = table.primary_key.columns.keys()
    identity = itemgetter(*key)
    ordered = sorted(rows, key=identity)
    insert = _INSERT[connection.dialect.name](table)
    values = [name for name in names if name not in key]
    changed = or_(*(table.c[n].is_distinct_from(insert.excluded[n]) for n in values if n not in STAMPS))
    written: dict[str, Any] = {
        "index_elements": key,
        "set_": {n: insert.excluded[n] for n in values},
        "where": changed if over is None else and_(changed, over),
    }
    counted = {"preserve_rowcount": True}
    many = connection.dialect.name == "postgresql" and len(rows) > FEW
    if many and len(set(map(identity, rows))) == len(rows) and may_stage(connection):
        with staged(connection, table, ordered, stamps) as source:
            merge = insert.from_select(names, source).on_conflict_do_update(**written)
            return connection.execute(merge, execution_options=counted).rowcount
    each = [{**row, **stamps} for row in ordered]
    return connection.execute(insert.on_conflict_do_update(**written), each, execution_options=counted).rowcount

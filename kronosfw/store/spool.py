"""Results on local disk while the store is down: a folder for each run, a Parquet file for each part of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Column, Date, Integer

from ..errors import StoreError
from ..files import safe_name, sync_folder, write_atomically
from .columns import Real, UtcTime, to_json
from .store import Store
from .tables import Row, ml_predictions, runs

if TYPE_CHECKING:
    import pyarrow as pa

_RUN = b"kronosfw.run"
_PART = re.compile(r"[0-9]{5,}\.parquet")
_STAMPED_BY_STORE = ("run_id", "created_at")
_COLUMNS = [column for column in ml_predictions.columns if column.name not in _STAMPED_BY_STORE]


def spool(folder: Path, run: Row, predictions: Sequence[Row], part: int) -> Path:
    """Write what ``Store.record`` could not as a part of the run, counted from 0; return the run's folder.

    Raises StoreError if the disk fails too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [pa.array([_pack(c, row[c.name]) for row in predictions], _type(c)) for c in _COLUMNS]
    stated = to_json({name: v.isoformat() if isinstance(v, datetime) else v for name, v in run.items()})
    table = pa.table(cells, _schema().with_metadata({_RUN: stated}))
    whole = folder / safe_name(run["id"])
    path = whole / f"{part:05d}.parquet"
    try:
        whole.mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
        write_atomically(path, lambda file: pq.write_table(table, file))
    except OSError as error:
        raise StoreError(f"spool {path}: {error.strerror or error}") from None
    return whole


def replay(path: Path, store: Store) -> int:
    """Record a spooled run, or one part of it; return how many predictions are new or changed. The files stay.

    Doing it twice changes nothing, and what was stored since the run started is left as it is. Raises
    StoreError for a file that is not a spool of this version; the parts before it are recorded.
    """
    return sum(_replay(part, store) for part in _parts(path))


def _parts(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    parts = [part for part in path.iterdir() if _PART.fullmatch(part.name)]
    if not parts:
        raise StoreError(f"spool {path}: holds no part of a run")
    return sorted(parts, key=lambda part: int(part.stem))


def _replay(path: Path, store: Store) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"spool {path}: cannot be read: {error}") from None
    stated = (table.schema.metadata or {}).get(_RUN)
    if stated is None or not table.schema.equals(_schema()):
        raise StoreError(f"spool {path}: not a spooled run, or one of another version of kronosfw")
    try:
        run = _run(stated)
        rows = [{c.name: _unpack(c, row[c.name]) for c in _COLUMNS} for row in table.to_pylist()]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StoreError(f"spool {path}: what it says is not what a run has spooled") from None
    return store.record(run, rows, late=True)


def _run(stated: bytes) -> Row:
    """Return the run of a spool; raises ValueError, or whatever the wrong types raise, where it is none."""
    run = json.loads(stated)
    if not run.keys() <= set(runs.columns.keys()) or not isinstance(run["id"], str):
        raise ValueError("not the columns of a run")
    times = [c.name for c in runs.columns if isinstance(c.type, UtcTime) and run.get(c.name)]
    return {**run, **{name: datetime.fromisoformat(run[name]) for name in times}}


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(c.name, _type(c)) for c in _COLUMNS])


def _type(column: Column[Any]) -> pa.DataType:
    import pyarrow as pa

    match column.type:
        case UtcTime():
            return pa.timestamp("us", tz="UTC")
        case Date():
            return pa.date32()
        case Real():
            return pa.float64()
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case _:
            return pa.string()


def _pack(column: Column[Any], value: Any) -> Any:
    return to_json(value) if isinstance(column.type, JSON) and value is not None else value


def _unpack(column: Column[Any], value: Any) -> Any:
    return json.loads(value) if isinstance(column.type, JSON) and value is not None else value

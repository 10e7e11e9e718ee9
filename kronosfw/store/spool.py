"""Results on local disk while the store is down: a folder for each run, a Parquet file for each part of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Column, Date, Integer, Text

from ..errors import StoreError
from ..files import safe_name, sync_folder, write_atomically
from .columns import Real, UtcTime, to_json
from .store import Store
from .tables import Row, ledger, ml_predictions, runs

if TYPE_CHECKING:
    import pyarrow as pa

_RUN, _WORK, _SUM = b"kronosfw.run", b"kronosfw.work", b"kronosfw.sha256"
_PART = re.compile(r"([0-9]{5,})(-[0-9a-f]{8})?\.parquet")
_STAMPED_BY_STORE = ("run_id", "created_at", "finished_at")
_COLUMNS = [column for column in ml_predictions.columns if column.name not in _STAMPED_BY_STORE]
_WORK_COLUMNS = [column for column in ledger.columns if column.name not in _STAMPED_BY_STORE]


def spool(folder: Path, run: Row, predictions: Sequence[Row], work: Sequence[Row] = ()) -> Path:
    """Write what ``Store.record`` could not as one more part of the run; return the run's folder.

    Parts are numbered from 0 on; beside the number there is chance, which keeps apart what two processes write at
    once. Raises StoreError if the disk fails too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [pa.array([_pack(c, row[c.name]) for row in predictions], _type(c)) for c in _COLUMNS]
    stated = {_RUN: to_json(_plain(run)).encode(), _WORK: to_json([_plain(row) for row in work]).encode()}
    table = pa.table(cells, _schema().with_metadata({**stated, _SUM: _sum(stated)}))
    whole = folder / safe_name(run["id"])
    try:
        whole.mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
        number = max(map(_number, _parts(whole)), default=-1) + 1
        path = whole / f"{number:05d}-{secrets.token_hex(4)}.parquet"
        write_atomically(path, lambda file: pq.write_table(table, file, write_page_checksum=True))
    except OSError as error:
        raise StoreError(f"spool {whole}: {error.strerror or error}") from None
    return whole


def replay(path: Path, store: Store) -> int:
    """Record a spooled run, or one part of it; return how many predictions are new or changed. The files stay.

    Doing it twice changes nothing, and what runs that started later stored is left as it is. Raises StoreError
    for a file that is not a spool of this version; the parts before it are recorded.
    """
    return sum(_replay(part, store) for part in _chosen(path))


def lacking(path: Path) -> str:
    """Return in words what a spooled run lacks of one that ended; empty for nothing, and for one part alone.

    Raises StoreError as ``replay`` does.
    """
    if not path.is_dir():
        return ""
    parts = _chosen(path)
    present = set(map(_number, parts))
    absent = sorted(set(range(max(present))) - present)
    if absent:
        return f"lacks {len(absent)} of its parts, the first of them number {absent[0]}"
    return "" if _told(parts[-1])[0]["finished_at"] else "was spooled before it ended"


def _chosen(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if parts := _parts(path):
        return parts
    raise StoreError(f"spool {path}: holds no part of a run")


def _parts(folder: Path) -> list[Path]:
    """Return the parts in a folder, in order."""
    found = [part for part in folder.iterdir() if _PART.fullmatch(part.name)]
    return sorted(found, key=lambda part: (_number(part), part.name))


def _number(part: Path) -> int:
    return int(part.name.split(".")[0].split("-")[0])


def _replay(path: Path, store: Store) -> int:
    run, rows, work = _told(path)
    return store.record(run, rows, work=work, late=True)


def _told(path: Path) -> tuple[Row, list[Row], list[Row]]:
    """Return the run, the predictions and the ledger's rows of a part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"spool {path}: cannot be read: {error}") from None
    stated = table.schema.metadata or {}
    if _RUN not in stated or not table.schema.equals(_schema()):
        raise StoreError(f"spool {path}: not a spooled run, or one of another version of kronosfw")
    if stated.get(_SUM, _sum(stated)) != _sum(stated):
        raise StoreError(f"spool {path}: cannot be read: it is damaged")
    packed = [column.name for column in _COLUMNS if isinstance(column.type, JSON)]
    try:
        (run,) = _rows(runs.columns, [_loads(stated[_RUN])])
        found = [row | {name: _loads(row[name] or "null") for name in packed} for row in table.to_pylist()]
        # Spools of before there was a ledger have no rows of it, nor a sum.
        return run, _rows(_COLUMNS, found), _rows(_WORK_COLUMNS, _loads(stated.get(_WORK, b"[]")))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        raise StoreError(f"spool {path}: what it says is not what a run has spooled") from None


def _rows(columns: Iterable[Column[Any]], found: Iterable[Row]) -> list[Row]:
    """Return rows of a table; raises ValueError, or whatever the wrong types raise, where they are none."""
    return [{column.name: _value(column, row.get(column.name)) for column in columns} for row in found]


def _value(column: Column[Any], value: Any) -> Any:
    if value is None:
        if column.nullable:
            return None
        raise ValueError(f"no {column.name}")
    match column.type:
        case UtcTime():
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            if moment.utcoffset() is None:
                raise ValueError(f"{column.name} has no time zone")
            return moment
        case Real() if not math.isfinite(value):
            raise ValueError(f"{column.name} is not finite")
        case Text() if not isinstance(value, str):
            raise TypeError(f"{column.name} is no text")
    return value


def _sum(stated: Mapping[bytes, bytes]) -> bytes:
    """Return a digest of what a part says beside its columns, which Parquet guards itself."""
    return hashlib.sha256(stated[_RUN] + stated.get(_WORK, b"")).hexdigest().encode()


def _loads(text: str | bytes) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _plain(row: Row) -> Row:
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in row.items()}


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

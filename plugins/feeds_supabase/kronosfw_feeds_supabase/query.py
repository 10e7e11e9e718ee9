"""The SQL that reads: one query for some hundred symbols, and of each only the rows needed.

A symbol's rows come back as one row of arrays, which in Postgres's binary format are fixed widths and are read
without looking at single values. Values are bound, identifiers quoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg.sql import SQL, Composable, Composed, Identifier

from kronosfw.types import Span

from .times import DATE, TIMES
from .transport import Layout

TYPES = """
SELECT a.attname, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_TEXT = ("text", "character varying")
_EPOCH = np.datetime64("2000-01-01", "us")
_MISSING = np.iinfo(np.int64).min
"""What -infinity is in the binary format, and what stands for no time at all."""
_HEADER = 20


def bars_query(layout: Layout, schema: str, symbols: Sequence[str], span: Span) -> tuple[Composed, dict[str, Any]]:
    """Return the query for the symbols' rows in the span, and what is to be bound.

    It gives the symbol and an array for the time and for each value of the layout, in the order of its ``fields``.
    """
    key, time = layout.key, _named("b", layout.columns["time"])
    bound: dict[str, Any] = {"symbols": list(symbols), "until": key.bound(span.end + key.margin)}
    within = SQL("{} <= %(until)s").format(time)
    if span.start is not None:
        bound["since"] = key.bound(span.start - key.margin)
        within += SQL(" AND {} >= %(since)s").format(time)
    kept = [SQL("{} IS NULL").format(time)]
    if span.last is None:
        kept.append(within)
    else:
        bound |= {"sure": key.bound(span.end - key.margin), "last": span.last}
        newest = SQL("{0} AND {1} <= %(sure)s ORDER BY {1} DESC FETCH FIRST %(last)s ROWS WITH TIES")
        kept.append(newest.format(within, time))
        if key.margin:
            kept.append(SQL("{} AND {} > %(sure)s").format(within, time))
    some = SQL("(SELECT {} FROM {} AS b WHERE {} AND ").format(
        SQL(", ").join(_picked(layout)), _named(schema, layout.table), _of_symbol(layout)
    )
    gathered = SQL(", ").join(SQL("array_agg({})").format(Identifier(name)) for name in layout.fields)
    query = SQL(
        "SELECT w.symbol, r.* FROM unnest(%(symbols)s::text[]) AS w(symbol) CROSS JOIN LATERAL "
        "(SELECT {} FROM ({}) AS x HAVING count(*) > 0) AS r"
    )
    return query.format(gathered, SQL(" UNION ALL ").join(some + rows + SQL(")") for rows in kept)), bound


def decoded(layout: Layout, cells: Sequence[bytes]) -> dict[str, Any]:
    """Return what the arrays of one symbol hold as Arrow arrays ``[N]`` by our names."""
    time, *values = cells
    found = {"time": _times(_elements(time, ">i8"), TIMES[layout.types[layout.columns["time"]]].arrow)}
    for name, cell in zip(layout.fields[1:], values, strict=True):
        found[name] = pa.array(_elements(cell, ">f8").astype(np.float64))
    return found


def seen_query(layout: Layout, schema: str) -> Composed:
    """Return the query for those of the bound ``symbols`` that have a row."""
    query = SQL(
        "SELECT w.symbol FROM unnest(%(symbols)s::text[]) AS w(symbol) WHERE EXISTS (SELECT FROM {} AS b WHERE {})"
    )
    return query.format(_named(schema, layout.table), _of_symbol(layout))


def rows_query(table: str, schema: str, names: Sequence[str], time: str, *, bounded: bool) -> Composed:
    """Return the query for some columns, ``bounded`` by the times to be bound as ``since`` and ``until``."""
    query = SQL("SELECT {} FROM {}").format(SQL(", ").join(map(_named, names)), _named(schema, table))
    if bounded:
        query += SQL(" WHERE {0} BETWEEN %(since)s AND %(until)s OR {0} IS NULL").format(_named(time))
    return query


def _picked(layout: Layout) -> Iterator[Composable]:
    """Yield the columns of a bar, 8 bytes each: what is missing must not make another width."""
    for ours in layout.fields:
        column = _named("b", layout.columns[ours])
        kind = layout.types[layout.columns[ours]]
        if ours == "time":
            as_time = SQL("{}::timestamp" if kind == DATE else "{}").format(column)
            yield SQL("coalesce({}, '-infinity') AS {}").format(as_time, Identifier(ours))
        else:
            # A float4 means the number that it shows, as it does wherever it is read as text.
            number = SQL("{}::text::float8" if kind == "real" else "{}::float8").format(column)
            yield SQL("coalesce({}, 'NaN') AS {}").format(number, Identifier(ours))


def _of_symbol(layout: Layout) -> Composed:
    kind = layout.types[layout.columns["symbol"]]
    comparison = SQL("{} = w.symbol" if kind in _TEXT else "{}::text = w.symbol")
    return comparison.format(_named("b", layout.columns["symbol"]))


def _named(*names: str) -> Identifier:
    """Return a name for a query with bound values, in which a per cent sign is written twice."""
    return Identifier(*(name.replace("%", "%%") for name in names))


def _elements(cell: bytes, kind: str) -> Any:
    """Return the elements, 8 bytes each, of an array in the binary format: its header, then length and value."""
    return np.frombuffer(cell, [("length", ">i4"), ("value", kind)], offset=_HEADER)["value"]


def _times(since_2000: Any, kind: Any) -> Any:
    since_2000 = since_2000.astype(np.int64)
    moments = since_2000.view("timedelta64[us]") + _EPOCH
    if pa.types.is_date(kind):
        moments = moments.astype("datetime64[D]")
    return pa.array(moments, kind, mask=since_2000 == _MISSING)

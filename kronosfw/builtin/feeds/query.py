"""The query that reads the bars of some symbols: only the rows needed, one query for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Select,
    TableClause,
    case,
    column,
    false,
    func,
    or_,
    select,
    table,
)
from sqlalchemy.types import TypeEngine

from ...freq import DAY, minutes
from ...types import Moment, Span

_FIRST, _LAST = np.datetime64("1900-01-01", "us"), np.datetime64("2201-01-01", "us")
_EXACT = np.timedelta64(0, "D")
_UNSURE = np.timedelta64(2, "D")


@dataclass(frozen=True, slots=True)
class TimeKey:
    """How the database compares times.

    Where it does so exactly, ``margin`` is 0. Where stamps are text, or without a zone, it compares roughly
    (texts by their date alone) and the rows within ``margin`` of a bound are fetched in any case; the feed
    cuts them exactly afterwards. So are texts that begin with no date, for the feed to refuse.
    """

    of: Callable[[ColumnElement[Any]], ColumnElement[Any]]
    value: Callable[[Moment], Any]
    margin: np.timedelta64
    is_text: bool = False


def time_key(kind: TypeEngine[Any], time_format: str | None, *, sqlite: bool) -> TimeKey:
    """Return how to compare a time column of this type."""
    if time_format is not None:
        unit = 1_000_000 if time_format == "epoch_s" else 1_000
        return TimeKey(lambda c: c, lambda at: int(at.astype(np.int64)) // unit, _EXACT)
    if sqlite or not isinstance(kind, (Date, DateTime)):
        return TimeKey(lambda c: func.substr(c, 1, 10), lambda at: str(at)[:10], _UNSURE, True)
    if isinstance(kind, Date):
        return TimeKey(lambda c: c, _date, _UNSURE)
    if kind.timezone:
        return TimeKey(lambda c: c, lambda at: _datetime(at).replace(tzinfo=UTC), _EXACT)
    return TimeKey(lambda c: c, _datetime, _UNSURE)


def _datetime(at: Moment) -> datetime:
    value: datetime = at.astype("datetime64[us]").item()
    return value


def _date(at: Moment) -> date:
    return _datetime(at).date()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bars are: table, our name → theirs, and how times compare."""

    table: str
    schema: str | None
    columns: Mapping[str, str]
    freq_column: str | None
    key: TimeKey

    def source(self) -> TableClause:
        names = [*self.columns.values(), *filter(None, [self.freq_column])]
        return table(self.table, *map(column, names), schema=self.schema)


def bars_query(layout: Layout, symbols: Sequence[str], freq: str, span: Span, shift: np.timedelta64) -> Select[Any]:
    """Return the query for the symbols' rows in the span (and some around it, see TimeKey).

    ``shift`` is what a stamp lies after the bar's open. The columns are ours, in the layout's order.
    """
    source = layout.source()
    key = layout.key.of(source.c[layout.columns["time"]])
    symbol = source.c[layout.columns["symbol"]]
    columns = [source.c[theirs].label(ours) for ours, theirs in layout.columns.items()]
    margin = layout.key.margin

    def bound(at: Moment) -> Any:
        return layout.key.value(np.clip(at + shift, _FIRST, _LAST))

    odd = or_(key.is_(None), key.not_like("____-__-__")) if layout.key.is_text else false()
    rows = [*_of_symbols(layout, source, symbols, freq), or_(key <= bound(span.end + margin), odd)]
    if span.start is not None:
        rows.append(or_(key >= bound(span.start - margin), odd))
    if span.last is None:
        return select(*columns).where(*rows)
    near_end = case((or_(key > bound(span.end - margin), odd), 1), else_=0)
    nth = func.rank().over(partition_by=[symbol, near_end], order_by=key.desc())
    ranked = select(*columns, nth.label("nth"), near_end.label("near_end")).where(*rows).subquery()
    wanted = or_(ranked.c.nth <= span.last, ranked.c.near_end == 1)
    return select(*(ranked.c[ours] for ours in layout.columns)).where(wanted)


def symbols_query(layout: Layout, symbols: Sequence[str], freq: str) -> Select[Any]:
    """Return the query for those of the symbols that the table has."""
    source = layout.source()
    rows = _of_symbols(layout, source, symbols, freq)
    return select(source.c[layout.columns["symbol"]]).where(*rows).distinct()


def _of_symbols(
    layout: Layout, source: TableClause, symbols: Sequence[str], freq: str
) -> list[ColumnElement[bool]]:
    rows: list[ColumnElement[bool]] = [source.c[layout.columns["symbol"]].in_(symbols)]
    if layout.freq_column is not None:
        rows.append(source.c[layout.freq_column].in_(spellings(freq)))
    return rows


def spellings(freq: str) -> list[str]:
    """Return the ways in which a table may write a bar length, such as 1h, 1H, 60min or 60 minutes."""
    length = minutes(freq)
    units = ((1, "m", "min", "minute", "minutes"), (60, "h", "H", "hour", "hours"), (DAY, "d", "D", "day", "days"))
    return [
        f"{length // size}{blank}{name}"
        for size, *names in units
        if length % size == 0
        for name in names
        for blank in ("", " ")
    ]

"""The queries that read a table: only the rows needed, one query for many symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Enum,
    Select,
    String,
    TableClause,
    case,
    cast,
    column,
    func,
    or_,
    select,
    table,
)
from sqlalchemy.types import TypeEngine

from ...freq import DAY, minutes
from ...types import Moment, Span

_FIRST, _LAST = np.datetime64("1900-01-01", "us"), np.datetime64("2201-01-01", "us")
_EXACT, _SECOND, _UNSURE = (np.timedelta64(seconds, "s") for seconds in (0, 1, 2 * 86_400))


@dataclass(frozen=True, slots=True)
class TimeKey:
    """How the database compares times.

    Where stamps are text, or without a zone, it does so roughly (texts by their date alone), and the rows within
    ``margin`` of a bound are fetched in any case; the feed cuts them exactly afterwards. So are missing times
    and texts that begin with no date, for the feed to refuse.
    """

    value: Callable[[Moment], Any]
    margin: np.timedelta64
    is_text: bool = False

    def of(self, time: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what is compared of a time."""
        return func.substr(time, 1, 10) if self.is_text else time

    def bound(self, at: Moment) -> Any:
        """Return a moment as what it is compared with."""
        return self.value(np.clip(at, _FIRST, _LAST))

    def odd(self, key: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that the feed will refuse the time."""
        return or_(key.is_(None), key.not_like("____-__-__")) if self.is_text else key.is_(None)

    def within(self, key: ColumnElement[Any], span: Span) -> list[ColumnElement[bool]]:
        """Return the conditions that a time may lie within the span."""
        odd = self.odd(key)
        rows = [or_(key <= self.bound(span.end + self.margin), odd)]
        if span.start is not None:
            rows.append(or_(key >= self.bound(span.start - self.margin), odd))
        return rows


def time_key(kind: TypeEngine[Any], time_format: str | None, *, sqlite: bool) -> TimeKey:
    """Return how to compare a time column of this type."""
    if time_format is not None:
        unit = 1_000_000 if time_format == "epoch_s" else 1_000
        return TimeKey(lambda at: int(at.astype(np.int64)) // unit, _SECOND)
    if sqlite or not isinstance(kind, (Date, DateTime)):
        return TimeKey(lambda at: str(at)[:10], _UNSURE, is_text=True)
    if isinstance(kind, Date):
        return TimeKey(lambda at: _datetime(at).date(), _UNSURE)
    if kind.timezone:
        return TimeKey(lambda at: _datetime(at).replace(tzinfo=UTC), _EXACT)
    return TimeKey(_datetime, _UNSURE)


def _datetime(at: Moment) -> datetime:
    value: datetime = at.astype("datetime64[us]").item()
    return value


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bars are: table, our name → theirs, and how times compare."""

    table: str
    schema: str | None
    columns: Mapping[str, str]
    freq_column: str | None
    key: TimeKey
    types: Mapping[str, TypeEngine[Any]] = field(default_factory=dict)
    """Their types, by their names; what is missing is text."""

    def source(self) -> TableClause:
        names = [*self.columns.values(), *filter(None, [self.freq_column])]
        return table(self.table, *map(column, names), schema=self.schema)

    def text(self, source: TableClause, name: str) -> ColumnElement[Any]:
        """Return a column as one that compares with text."""
        kind = self.types.get(name, String())
        is_text = isinstance(kind, String) and not isinstance(kind, Enum)
        return source.c[name] if is_text else cast(source.c[name], String)


def bars_query(layout: Layout, symbols: Sequence[str], freq: str, span: Span) -> Select[Any]:
    """Return the query for the symbols' rows in the span (and some around it, see TimeKey).

    The columns are ours, in the layout's order.
    """
    source = layout.source()
    key = layout.key.of(source.c[layout.columns["time"]])
    symbol = source.c[layout.columns["symbol"]]
    columns = [source.c[theirs].label(ours) for ours, theirs in layout.columns.items()]
    rows = [*_of_symbols(layout, source, symbols, freq), *layout.key.within(key, span)]
    if span.last is None:
        return select(*columns).where(*rows)
    unsure = or_(key > layout.key.bound(span.end - layout.key.margin), layout.key.odd(key))
    near_end = case((unsure, 1), else_=0)
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
    rows: list[ColumnElement[bool]] = [layout.text(source, layout.columns["symbol"]).in_(symbols)]
    if layout.freq_column is not None:
        rows.append(layout.text(source, layout.freq_column).in_(spellings(freq)))
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

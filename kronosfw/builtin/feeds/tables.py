"""Bars of one or many symbols as arrays, and the frames that a feed yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...freq import is_daily
from ...types import Floats, Moments, Span
from .columns import VALUES
from .iso import Offsets
from .options import BarOptions
from .stamps import Clock, label
from .values import floats, rows_by_symbol


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N rows: the bars' times in UTC, the offsets they were written with, and the values by name."""

    time: Moments
    offsets: Offsets
    values: Mapping[str, Floats]

    def __getitem__(self, rows: NDArray[Any]) -> Rows:
        values = {name: column[rows] for name, column in self.values.items()}
        return Rows(self.time[rows], self.offsets[rows], values)


def read_rows(columns: Mapping[str, Any], options: BarOptions, time_format: str | None, freq: str) -> Rows:
    """Turn Arrow arrays (our name → ``[N]``) into rows; raises Fault at the first value that is none."""
    time, offsets = Clock(options.timezone, time_format, daily=is_daily(freq)).read(columns["time"])
    return Rows(time, offsets, {name: floats(columns[name], name) for name in VALUES if name in columns})


class Table:
    """The rows of one source, found by symbol where it has a symbol column."""

    def __init__(self, rows: Rows, symbols: Any | None) -> None:
        """``symbols``: an Arrow array ``[N]``, or None where all rows are one symbol's."""
        self._rows = rows
        self._where = None if symbols is None else rows_by_symbol(symbols)

    def of(self, symbol: str) -> Rows | None:
        """Return the symbol's rows in the source's order, None where it has none."""
        if self._where is None:
            return self._rows
        where = self._where.get(symbol)
        return None if where is None else self._rows[where]


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several sources one after the other; NaN where one lacks a column."""
    if len(parts) == 1:
        return parts[0]
    names = [name for name in VALUES if any(name in part.values for part in parts)]
    nothing = [np.full(len(part.time), np.nan) for part in parts]
    return Rows(
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        {
            name: np.concatenate([p.values.get(name, n) for p, n in zip(parts, nothing, strict=True)])
            for name in names
        },
    )


def frame(rows: Rows, span: Span, *, closes: bool) -> pd.DataFrame:
    """Return the rows within the span as a feed yields them; the last ones by time, wherever they stand.

    Where the times are the bars' ``closes``, the frame says so, and the span holds the bars that closed after its
    start and by its end.
    """
    keep = rows.time <= span.end
    if span.start is not None:
        keep &= rows.time > span.start if closes else rows.time >= span.start
    where = np.flatnonzero(keep)
    if span.last is not None and len(where) > span.last:
        latest = np.argsort(rows.time[where], kind="stable")[len(where) - span.last :]
        where = np.sort(where[latest])
    if len(where) < len(keep):
        rows = rows[where]
    result = pd.DataFrame({"time": pd.DatetimeIndex(rows.time, tz="UTC"), **rows.values}, copy=False)
    offsets = np.unique(rows.offsets)
    if len(offsets) > 1:
        result.attrs["offsets"] = tuple(sorted(label(int(offset)) for offset in offsets))
    if closes:
        result.attrs["stamp"] = "close"
    return result

"""Rows as a pandas frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Column, Date, Integer

from .columns import Real, UtcTime

if TYPE_CHECKING:
    import pandas as pd


def to_frame(columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return a frame with these columns, of the same types whether there are rows or not."""
    import pandas as pd

    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    series = {
        column.name: pd.Series(list(cells), dtype=_dtype(column))
        for column, cells in zip(columns, values, strict=True)
    }
    return pd.DataFrame(series)


def _dtype(column: Column[Any]) -> Any:
    match column.type:
        case UtcTime():
            return "datetime64[us, UTC]"
        case Date():
            return "datetime64[s]"
        case Real():
            return "float64"
        case Integer():
            return "int64"
        case Boolean():
            return "boolean" if column.nullable else "bool"
        case _:
            return object

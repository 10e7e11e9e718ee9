"""A table that grows by a few rows at a time and is asked for many: an array for each column, with room to grow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


class Columns:
    """Rows in the order they came, found by model and by one column of moments."""

    def __init__(self, rows: pd.DataFrame, moment: str) -> None:
        """Begin with a frame, whose columns and types every later one has."""
        self._types: dict[str, Any] = {str(name): dtype for name, dtype in rows.dtypes.items()}
        self._moment = moment
        self._count = 0
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.empty(0, dtype=_plain(rows[name]).dtype) for name in self._types
        }
        self.add(rows)

    def add(self, rows: pd.DataFrame) -> None:
        """Add rows after all that are there."""
        start, self._count = self._count, self._count + len(rows)
        for name, array in self._arrays.items():
            if self._count > len(array):
                room = np.empty(max(2 * len(array), self._count), dtype=array.dtype)
                room[:start] = array[:start]
                self._arrays[name] = array = room
            array[start : self._count] = _plain(rows[name])

    def find(self, models: Sequence[str], since: datetime | None, until: datetime) -> NDArray[np.int64]:
        """Return the places of some models' rows of moments after ``since`` and by ``until``."""
        moments = self._arrays[self._moment][: self._count]
        wanted = moments <= _naive(until)
        if since is not None:
            wanted &= moments > _naive(since)
        found = np.flatnonzero(wanted)
        return found[np.isin(self["model_name"][found].astype(str), list(models))] if len(found) else found

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self._count]

    def frame(self, places: NDArray[np.int64]) -> pd.DataFrame:
        """Return rows as a frame."""
        import pandas as pd

        columns = {name: _typed(array[places], self._types[name]) for name, array in self._arrays.items()}
        return pd.DataFrame(columns)


def _plain(series: pd.Series[Any]) -> NDArray[Any]:
    """Return a column as a numpy array: moments without their zone, what may be missing as objects."""
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert(None)
    return np.asarray(series, dtype=object if series.dtype == "boolean" else None)


def _typed(array: NDArray[Any], dtype: Any) -> pd.Series[Any]:
    """Return an array as the column it was."""
    import pandas as pd

    zoned = getattr(dtype, "tz", None) is not None
    column: pd.Series[Any] = pd.Series(array, dtype=None if zoned else dtype)
    return column.dt.tz_localize("UTC") if zoned else column


def _naive(when: datetime) -> np.datetime64:
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "us")

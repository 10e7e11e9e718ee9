"""What the built-in forecasters share: the checked history and the step from log returns to prices."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from ...types import Floats, Window

_WARNINGS = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore the warnings of a package's fit.

    One thread at a time: the filters belong to the process, and another thread would put back the wrong ones.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def log_prices(window: Window, columns: Sequence[str], least: int, most: int | None = None) -> Floats:
    """Return the logarithms of columns over the last ``most`` bars, all of them unless given, ``[T, C]``.

    Raises ValueError if there are fewer than ``least`` bars, a column is missing, or a price is not a positive
    number.
    """
    bars = window.bars
    missing = set(columns) - set(bars.columns)
    if missing:
        raise ValueError(f"the bars lack {', '.join(sorted(missing))}")
    if len(bars) < least:
        raise ValueError(f"{least} bars of history are needed, there are {len(bars)}")
    start = 0 if most is None else max(len(bars) - most, 0)
    table = bars.values[start:, [bars.columns.index(name) for name in columns]]
    good = np.isfinite(table) & (table > 0)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        when = bars.times.time[start + row]
        raise ValueError(f"the {columns[column]} of {when} is {table[row, column]}, not a positive number")
    logs: Floats = np.log(table)
    return logs


def log_close(window: Window, least: int, most: int | None = None) -> Floats:
    """Return the logarithm of the close ``[T]``; see ``log_prices``."""
    return log_prices(window, ("close",), least, most)[:, 0]


def unit_quantiles(levels: Sequence[float], df: float | None = None) -> Floats:
    """Return the quantiles ``[Q]`` of a normal, or of Student's t with ``df`` > 2, that has unit variance."""
    at = np.asarray(levels, dtype=np.float64)
    q: Floats = ndtri(at) if df is None else stdtrit(df, at) * np.sqrt((df - 2) / df)
    return q


def prices(window: Window, log_returns: ArrayLike) -> Floats:
    """Return what the last close becomes after log returns of any shape; infinite beyond a float's range."""
    with np.errstate(over="ignore"):
        result: Floats = window.bars.close[-1] * np.exp(log_returns)
    return result

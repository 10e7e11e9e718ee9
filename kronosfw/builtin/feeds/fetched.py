"""Rows that a database or a service gave, as Arrow arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .columns import VALUES
from .faults import Fault, shown


def arrays(names: Iterable[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the columns of some rows as Arrow arrays; raises Fault."""
    names = list(names)
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(names)
    return {name: as_array(values, name) for name, values in zip(names, columns, strict=True)}


def as_array(values: Sequence[Any], what: str) -> Any:
    """Turn a column into an Arrow array; figures of bars, in whatever numeric type, become float64."""
    try:
        return pa.array(np.array(values, dtype=np.float64)) if what in VALUES else pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        row = _first_odd(values) if what in VALUES else None
        text = "values of different types" if row is None else f"{shown(values[row])}; expected a number"
        raise Fault(f"{what} is {text}", row) from None


def _first_odd(values: Sequence[Any]) -> int | None:
    for row, value in enumerate(values):
        try:
            float(0 if value is None else value)
        except (TypeError, ValueError, OverflowError):
            return row
    return None

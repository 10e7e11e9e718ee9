"""Numbers and symbols out of Arrow arrays, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...types import Floats
from .faults import Fault, shown

_NOT_FINITE = ("nan", "inf", "infinity")


def is_text(column: Any) -> bool:
    """Tell whether an array holds strings."""
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def decoded(column: Any) -> Any:
    """Return the array without dictionary encoding."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def first_failing(column: Any, cast: Callable[[Any], object]) -> int:
    """Return the first row for which an element-wise cast fails, given that it fails for the whole."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cast(column.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low


def floats(column: Any, what: str) -> Floats:
    """Return the numbers as float64 ``[N]``; what is missing or written nan is NaN, inf is infinite.

    Raises Fault at the first text that is not a number.
    """
    column = decoded(column)
    kind = column.type
    if pa.types.is_decimal(kind):
        # By way of text, which is rounded correctly.
        column = pc.cast(column, pa.string())
    if is_text(column):
        return _parsed(column, what)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise Fault(f"{what} is of type {kind}; expected numbers")
    return _numpy(pc.cast(column, pa.float64(), safe=False))


def _numpy(column: Any) -> Floats:
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parsed(column: Any, what: str) -> Floats:
    def cast(texts: Any) -> Any:
        return pc.cast(texts, pa.float64())

    try:
        numbers = _numpy(cast(column))
    except pa.ArrowInvalid:
        column = trimmed(column)
        try:
            numbers = _numpy(cast(column))
        except pa.ArrowInvalid:
            row = first_failing(column, cast)
            raise Fault(f"{what} is {shown(column[row].as_py())}; expected a number", row) from None
    for row in map(int, np.flatnonzero(~np.isfinite(numbers))):
        text = column[row].as_py()
        if text is not None and text.strip("+-").casefold() not in _NOT_FINITE:
            raise Fault(f"{what} is {shown(text)}; expected a number that a float64 can hold", row)
    return numbers


def trimmed(column: Any) -> Any:
    """Return the texts without blanks around them, null where nothing is left."""
    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)


def refuse_missing(column: Any, what: str) -> None:
    """Raise Fault at the first null."""
    if column.null_count:
        raise Fault(f"the {what} is missing", int(pc.index(pc.is_null(column), True).as_py()))


def rows_by_symbol(column: Any) -> dict[str, NDArray[np.intp]]:
    """Return symbol → its rows, in the source's order."""
    column = decoded(column)
    if pa.types.is_integer(column.type):
        column = pc.cast(column, pa.string())
    if not is_text(column):
        raise Fault(f"the symbol is of type {column.type}; expected text")
    column = trimmed(column)
    refuse_missing(column, "symbol")
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy()
    symbols: list[str] = encoded.dictionary.to_pylist()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(symbols)))
    return dict(zip(symbols, np.split(order, ends[:-1]), strict=True)) if symbols else {}

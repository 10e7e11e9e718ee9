"""Stamps in ISO 8601: text of the form ``2024-01-31``, ``2024-01-31 14:30`` or ``2024-01-31T14:30:00.5-05:00``."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...types import Moments
from .faults import Fault, shown
from .values import first_failing

Offsets = NDArray[np.int16]
"""Offset of each stamp in minutes east of UTC; NAIVE where it has none."""

NAIVE = np.iinfo(np.int16).max

_ISO = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$"
_ZONED = r"(Z|[+-]\d\d:?\d\d)$"
_SHAPE = bytes.maketrans(b"123456789", b"000000000")
"""Translates stamps to how they are written."""

Stamps = tuple[Moments, Offsets, NDArray[np.bool_]]
"""Moments, in UTC where the offset is known, the offsets, and which are mere dates; ``[N]`` each."""


def moments(column: Any) -> Moments:
    """Return an Arrow array of timestamps in microseconds as a writable one of numpy's."""
    return np.array(column.to_numpy(zero_copy_only=False), dtype="datetime64[us]")


def uniform(column: Any) -> Stamps | None:
    """Read ISO stamps that are all written alike, as most files have them; None for all others, and for faults."""
    n = len(column)
    if column.null_count or not pa.types.is_string(column.type):
        return None
    _, ends, data = column.buffers()
    ends = np.frombuffer(ends, np.int32)[column.offset : column.offset + n + 1]
    width = int(ends[1] - ends[0])
    if not width or (np.diff(ends) != width).any():
        return None
    texts = memoryview(data)[ends[0] : ends[-1]].tobytes()
    first = column[0].as_py()
    shapes = texts.translate(_SHAPE)
    if not re.fullmatch(_ISO, first, re.ASCII) or shapes != shapes[:width] * n:
        return None
    zone = re.search(_ZONED, first[10:])
    if zone and texts.count(zone[0].encode()) != n:
        return None
    try:
        time = moments(pc.cast(column, pa.timestamp("us", "UTC" if zone else None)))
    except pa.ArrowInvalid:
        return None
    offset = _minutes(zone[0]) if zone else NAIVE
    return time, np.full(n, offset, dtype=np.int16), np.full(n, width == 10)


def mixed(column: Any, what: str) -> Stamps:
    """Read ISO stamps of several kinds; raises Fault at the first text that is none."""
    fits = pc.match_substring_regex(column, _ISO)
    row = pc.index(fits, False).as_py()
    if row >= 0:
        raise Fault(
            f"the {what} is {shown(column[row].as_py())}; expected ISO 8601 such as 2024-01-31, "
            "2024-01-31 14:30 or 2024-01-31T14:30:00-05:00 (for others set `time_format`)",
            row,
        )
    date_only = np.asarray(pc.equal(pc.binary_length(column), 10).to_numpy(zero_copy_only=False))
    zoned = np.asarray(pc.match_substring_regex(column, _ZONED).to_numpy(zero_copy_only=False))
    time = np.empty(len(column), dtype="datetime64[us]")
    offsets = np.full(len(column), NAIVE, dtype=np.int16)
    for rows, kind in (
        (np.flatnonzero(~zoned), pa.timestamp("us")),
        (np.flatnonzero(zoned), pa.timestamp("us", "UTC")),
    ):
        if len(rows):
            time[rows] = _cast(
                column if len(rows) == len(column) else column.take(pa.array(rows)), kind, rows, what
            )
    if zoned.any():
        rows = np.flatnonzero(zoned)
        suffixes = pc.replace_substring_regex(
            column.take(pa.array(rows)), f"^.*?{_ZONED}", r"\1"
        ).dictionary_encode()
        minutes = np.array([_minutes(text) for text in suffixes.dictionary.to_pylist()], dtype=np.int16)
        offsets[rows] = minutes[suffixes.indices.to_numpy()]
    return time, offsets, date_only


def _minutes(suffix: str) -> int:
    if suffix == "Z":
        return 0
    digits = suffix[1:].replace(":", "")
    return (-1 if suffix[0] == "-" else 1) * (int(digits[:2]) * 60 + int(digits[2:]))


def _cast(texts: Any, kind: Any, rows: NDArray[np.intp], what: str) -> Moments:
    def cast(part: Any) -> Any:
        return pc.cast(part, kind)

    try:
        return moments(cast(texts))
    except pa.ArrowInvalid:
        row = first_failing(texts, cast)
        text = shown(texts[row].as_py())
        raise Fault(f"the {what} is {text}, which is not on the calendar or the clock", int(rows[row])) from None

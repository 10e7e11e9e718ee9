"""Moments out of what a source writes: text in ISO 8601 or a format of its own, typed columns, epoch numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...types import Finding, Moments
from .faults import Fault, shown
from .iso import NAIVE, Offsets, Stamps, mixed, moments, uniform
from .values import decoded, floats, is_text, refuse_missing, trimmed

_TIME_OF_DAY = re.compile(r"%[HIMSfpXcT]")
_EPOCH = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
_FIRST, _LAST = np.datetime64("1900-01-01", "us"), np.datetime64("2201-01-01", "us")
_DAY = np.timedelta64(1, "D")


def label(offset: int) -> str:
    """Return an offset as a stamp writes it, such as ``-05:00``, or ``naive``."""
    if offset == NAIVE:
        return "naive"
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


class Clock:
    """Reads the stamps of one source."""

    def __init__(self, timezone: str = "UTC", time_format: str | None = None, *, daily: bool = False) -> None:
        """``daily``: a midnight without an offset is a session's date, like a mere date, and not converted."""
        self._zone = None if timezone == "UTC" else ZoneInfo(timezone)
        self._format = time_format
        self._daily = daily
        self._offsets: set[int] = set()

    def read(self, column: Any, what: str = "time") -> tuple[Moments, Offsets]:
        """Return the moments in UTC and the offsets they were written with, ``[N]`` each.

        Raises Fault at the first stamp that is missing, malformed, before 1900 or after 2200, or that the
        zone's clock skips or shows twice.
        """
        time, offsets, date_only = self._parse(column, what)
        if self._zone is not None:
            local = (offsets == NAIVE) & ~date_only
            if self._daily:
                local &= time.astype("datetime64[D]") != time
            rows = np.flatnonzero(local)
            time[rows] = _to_utc(time[rows], self._zone, rows)
        return time, offsets

    def bounds(self, column: Any, what: str) -> tuple[Moments, Moments]:
        """Return the earliest and the latest moment that each stamp may mean, ``[N]`` each, in UTC.

        They are the same but for a mere date, which means any moment from the midnight in the zone that begins
        it to the one that ends it. Raises Fault as ``read`` does.
        """
        first, offsets, date_only = self._parse(column, what)
        self._offsets.update(np.unique(offsets[~date_only]).tolist())
        last = np.where(date_only, first + _DAY, first)
        if self._zone is not None:
            rows = np.flatnonzero((offsets == NAIVE) & ~date_only)
            first[rows] = last[rows] = _to_utc(first[rows], self._zone, rows)
            for midnights in (first, last):
                midnights[date_only] = _midnights(midnights[date_only], self._zone)
        return first, last

    def mixed(self, source: str) -> list[Finding]:
        """Return the finding that the stamps given to ``bounds`` so far had several offsets, if they had."""
        if len(self._offsets) < 2:
            return []
        offsets = ", ".join(sorted(map(label, self._offsets)))
        return [Finding("mixed_zones", "repaired", len(self._offsets), f"UTC offsets {offsets}, {source}")]

    def _parse(self, column: Any, what: str) -> Stamps:
        if not len(column):
            return np.empty(0, "datetime64[us]"), np.empty(0, np.int16), np.empty(0, np.bool_)
        column = decoded(column)
        found = uniform(column) if self._format is None else None
        if found is None:
            column = trimmed(column) if is_text(column) else column
            refuse_missing(column, what)
            found = self._parse_any(column, what)
        outside = np.flatnonzero((found[0] < _FIRST) | (found[0] >= _LAST))
        if len(outside):
            row = int(outside[0])
            raise Fault(f"the {what} {shown(str(found[0][row]))} is not between the years 1900 and 2200", row)
        return found

    def _parse_any(self, column: Any, what: str) -> Stamps:
        kind = column.type
        n = len(column)
        no, yes = np.zeros(n, dtype=np.bool_), np.ones(n, dtype=np.bool_)
        naive = np.full(n, NAIVE, dtype=np.int16)
        if self._format in _EPOCH:
            return _epoch(floats(column, what), _EPOCH[self._format], what), np.zeros(n, dtype=np.int16), no
        if is_text(column):
            if self._format is None:
                return mixed(column, what)
            return *_by_format(column, self._format, what), no if _TIME_OF_DAY.search(self._format) else yes
        if pa.types.is_date(kind):
            return moments(pc.cast(column, pa.timestamp("us"))), naive, yes
        if pa.types.is_timestamp(kind):
            time = moments(pc.cast(column, pa.timestamp("us", kind.tz), safe=False))
            return time, naive if kind.tz is None else np.zeros(n, dtype=np.int16), no
        raise Fault(
            f"the {what} is of type {kind}; expected times (for numbers set `time_format: epoch_s` or epoch_ms)"
        )


def _by_format(column: Any, pattern: str, what: str) -> tuple[Moments, Offsets]:
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy()
    time, offsets = [], []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            stamp = datetime.strptime(text, pattern)
            offset = stamp.utcoffset()
            naive = stamp if offset is None else stamp.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            row = int(np.argmax(codes == code))
            raise Fault(f"the {what} is {shown(text)}; expected the format {pattern}", row) from None
        time.append(np.datetime64(naive, "us"))
        offsets.append(NAIVE if offset is None else round(offset.total_seconds() / 60))
    return np.array(time, dtype="datetime64[us]")[codes], np.array(offsets, dtype=np.int16)[codes]


def _epoch(numbers: NDArray[np.float64], unit: int, what: str) -> Moments:
    wrong = np.flatnonzero(~(np.abs(numbers) * unit < 2.0**62))
    if len(wrong):
        row = int(wrong[0])
        raise Fault(f"the {what} is {numbers[row]}; expected a number since 1970", row)
    return np.rint(numbers * unit).astype(np.int64).view("datetime64[us]")


def _to_utc(local: Moments, zone: ZoneInfo, rows: NDArray[np.intp]) -> Moments:
    index = pd.DatetimeIndex(local).tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert(None)
    wrong = np.flatnonzero(index.isna())
    if len(wrong):
        stamp = str(local[wrong[0]]).removesuffix(".000000")
        raise Fault(
            f"{stamp} is skipped or comes twice in {zone.key}, where the clock changes; "
            "write the times with their UTC offset, or in UTC",
            int(rows[wrong[0]]),
        )
    return index.to_numpy().astype("datetime64[us]")


def _midnights(local: Moments, zone: ZoneInfo) -> Moments:
    """Return midnights in UTC; where the clock skips one, the moment at which it goes on."""
    first = np.ones(len(local), dtype=np.bool_)
    index = pd.DatetimeIndex(local).tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return index.tz_convert(None).to_numpy().astype("datetime64[us]")

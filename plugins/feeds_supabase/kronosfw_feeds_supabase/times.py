"""The types of times that can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Date, DateTime
from sqlalchemy.types import TypeEngine

from kronosfw.builtin.feeds.query import TimeKey, time_key

ZONED, NAIVE, DATE = "timestamp with time zone", "timestamp without time zone", "date"


@dataclass(frozen=True, slots=True)
class TimeType:
    """What a type of time is in Arrow and in SQLAlchemy, and how it looks in JSON."""

    arrow: Any
    sql: TypeEngine[Any]
    written: re.Pattern[str]

    @property
    def key(self) -> TimeKey:
        """How its values compare."""
        return time_key(self.sql, None, sqlite=False)


_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?"

TIMES: Mapping[str, TimeType] = {
    ZONED: TimeType(
        pa.timestamp("us", "UTC"), DateTime(timezone=True), re.compile(_STAMP + r"[+-]\d\d:\d\d(:\d\d)?", re.ASCII)
    ),
    NAIVE: TimeType(pa.timestamp("us"), DateTime(), re.compile(_STAMP, re.ASCII)),
    DATE: TimeType(pa.date32(), Date(), re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)),
}
"""What Postgres calls a type of time → what it is elsewhere."""

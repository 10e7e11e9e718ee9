"""The types of times that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlalchemy import Date, DateTime
from sqlalchemy.types import TypeEngine

from kronosfw.builtin.feeds.query import TimeKey, time_key

ZONED, NAIVE, DATE = "timestamp with time zone", "timestamp without time zone", "date"

TIMES: Mapping[str, Any] = {ZONED: pa.timestamp("us", "UTC"), NAIVE: pa.timestamp("us"), DATE: pa.date32()}
"""What Postgres calls a type of time → what it is in Arrow."""

_IN_SQL: Mapping[str, TypeEngine[Any]] = {ZONED: DateTime(timezone=True), NAIVE: DateTime(), DATE: Date()}


def key_of(kind: str) -> TimeKey:
    """Return how a column of one of TIMES compares."""
    return time_key(_IN_SQL[kind], None, sqlite=False)

"""Column types that mean the same on SQLite and Postgres."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pydantic_core
from sqlalchemy import JSON, TIMESTAMP, Dialect, Double, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """A moment: an aware datetime in Python, ``timestamptz`` on Postgres.

    On SQLite it is text of fixed width, such as ``2024-01-02T03:04:05.000006Z``, which sorts as time does and
    which SQLite's own date functions read.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if native else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a moment needs its time zone")
        utc = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return utc
        return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


class Real(TypeDecorator[float]):
    """A finite float in double precision. SQLite would turn NaN into NULL and Postgres keep it: refused."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        if value is None:
            return None
        number = float(value)
        if not math.isfinite(number):
            raise ValueError("a stored number must be finite")
        return number


def json_type() -> TypeEngine[Any]:
    """Return the type of a JSON column: text on SQLite, ``jsonb`` on Postgres; None is NULL.

    A float without a fraction, from 1e16 on, comes back from ``jsonb`` as an integer that equals it as a float.
    """
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def to_json(value: Any) -> str:
    """Return the one spelling of a value, so that equal values are equal text; raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def to_jsonb(value: Any) -> str:
    """Return some spelling of a value for ``jsonb``, which refuses NaN itself; much faster than ``to_json``."""
    return pydantic_core.to_json(value, inf_nan_mode="constants").decode()

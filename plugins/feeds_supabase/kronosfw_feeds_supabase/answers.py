"""What PostgREST's refusals mean for the user; its own words are not passed on, for they may hold data."""

from __future__ import annotations

import json
from typing import Any

from kronosfw.errors import ConfigError, DataError

from .transport import Transient

RANGE = 416
"""The rows asked for are not there any more."""

_NO_ROLE = "22023"
"""The role that the key names is none of the database."""

NO_TIME = "22007"
"""The operand is no time, and the column holds times."""

_OPERAND = (NO_TIME, "22P02", "42883")
"""The operand does not suit the column's type."""


class ChangedError(Exception):
    """The table changed while its pages were read."""


class OperandError(DataError):
    """A column cannot be compared with an operand."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def check(status: int, body: bytes, name: str, schema: str, table: str) -> None:
    """Return where an answer is a success; else raise what it means.

    That is ConfigError where the user can help it, Transient where time may, ChangedError or DataError.
    """
    if 200 <= status < 300:
        return
    code = _code(body)
    told = f"{status}{f', {code}' if code else ''}"
    if status == RANGE:
        raise ChangedError
    if status in (408, 429) or status >= 500:
        raise Transient(f"answered {told}")
    if code == "42501":
        raise ConfigError(f"{name}: the key may not read {schema}.{table} ({told})")
    if status in (401, 403) or code == _NO_ROLE:
        raise ConfigError(f"{name}: refuses the key ({told}); is it this project's, and not expired?")
    if code in ("42P01", "PGRST205"):
        raise ConfigError(f"{name}: there is no table {schema}.{table}; name it, or null, with `tables` ({told})")
    if code == "PGRST106":
        raise ConfigError(f"{name}: the schema {schema} is not among those that the API exposes ({told})")
    if code in ("42703", "PGRST204"):
        raise ConfigError(f"{name}, table {table}: a column is gone or may not be read ({told})")
    if code in _OPERAND:
        raise OperandError(
            f"{name}, table {table}: a column has another type than it seemed to have ({told})", code
        )
    if status == 404 or 300 <= status < 400:
        raise ConfigError(f"{name}: PostgREST does not answer there ({told}); are `url` and `rest_path` right?")
    raise DataError(f"{name}, table {table}: reading failed ({told})")


def _code(body: bytes) -> str:
    """Return the code in an answer, which is an SQLSTATE or PostgREST's own."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return ""
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and len(code) <= 10 and code.isalnum() else ""

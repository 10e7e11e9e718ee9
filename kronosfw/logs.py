"""What is said on stderr: log records and errors, for people or as one JSON object a line, without secrets."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import Any, Literal, TextIO, cast

from .secrets import redact
from .visible import visible

_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; the rest are fields that were given with it."""
_LONGEST = 4000
"""Characters of a field at most: many that collect logs cut or drop a line of more than some kB."""
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Logging:
    """From which level on is logged, and how; it can be sent to other processes."""

    level: int = logging.WARNING
    format: Literal["text", "json"] = "text"

    @classmethod
    def current(cls) -> Logging:
        """Return how this process logs."""
        root = logging.getLogger()
        is_json = any(isinstance(handler.formatter, JsonLines) for handler in root.handlers)
        return cls(root.getEffectiveLevel(), "json" if is_json else "text")

    def begin(self) -> None:
        """Log so to stderr from here on; warnings of libraries are told only where everything is."""
        everything = self.level <= logging.DEBUG
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines(everything) if self.format == "json" else Redacting())
        logging.basicConfig(level=self.level, handlers=[handler], force=True)
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").setLevel(logging.WARNING if everything else logging.ERROR)


class Redacting(logging.Formatter):
    """Formats log records for people."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # A line that a message breaks could pass for another record.
        message = redact(_message(record)).replace("\n", "\\n")
        said = logging.makeLogRecord({**vars(record), "msg": message, "args": None})
        return visible(redact(super().format(said)))


class JsonLines(logging.Formatter):
    """Formats each log record as a JSON object on one line of ASCII.

    It has ``time``, ``level``, ``logger``, ``message`` and the fields given with the record; for an exception also
    its type as ``error`` and, where they are wanted, its ``traceback``.
    """

    def __init__(self, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname,
            "logger": _cut(redact(record.name)),
            "message": _cut(redact(_message(record))),
        }
        if isinstance(record.exc_info, tuple) and record.exc_info[0]:
            fields["error"] = redact(record.exc_info[0].__name__)
            if self._tracebacks:
                fields["traceback"] = _cut(redact(self.formatException(record.exc_info)))
        for given, value in vars(record).items():
            if given not in _OWN:
                name = redact(given)
                # What is ours keeps its name.
                fields[f"{name}_" if name in fields else name] = _field(value)
        return json.dumps(fields)


def tell(message: str, level: int = logging.INFO, error: Exception | None = None, **fields: Any) -> None:
    """Say something on stderr, from whatever level on is logged: as it is, or as a line of JSON with the fields."""
    if Logging.current().format == "json":
        about = (type(error), error, error.__traceback__) if error else None
        record = logging.LogRecord("kronosfw", level, "", 0, message, None, about)
        vars(record).update(fields)
        line = JsonLines(tracebacks=True).format(record)
    else:
        line = visible(redact(message))
    print(line, file=sys.stderr, flush=True)


def printed() -> TextIO:
    """Return what stands in for stdout where that is not for what is printed: stderr, in the format of the logs."""
    return cast(TextIO, _Printed()) if Logging.current().format == "json" else sys.stderr


class _Printed(io.TextIOBase):
    """Tells what is printed, each line by itself."""

    def __init__(self) -> None:
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            tell(line)
        return len(text)

    def flush(self) -> None:
        self.write("\n" * bool(self._begun))


def _message(record: logging.LogRecord) -> str:
    """Return a record's message; one that its arguments do not fit stands as it is, without them."""
    try:
        return record.getMessage()
    except Exception:
        return _text(record.msg)


def _field(value: Any) -> Any:
    """Return a field of a record as JSON can hold it, as text where it is long or nothing else will do."""
    try:
        plain = _plain(value)
        encoded = json.dumps(plain)
    except Exception:
        plain = encoded = redact(_text(value))
    return plain if len(encoded) <= _LONGEST else _cut(plain if isinstance(plain, str) else encoded)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON can hold it, without secrets."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Real):
        number = int(value) if isinstance(value, Integral) else float(value)
        shown = redact(str(number))
        return number if math.isfinite(number) and shown == str(number) else shown
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {redact(_text(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and depth < _DEEPEST:
        return [_plain(item, depth + 1) for item in value]
    return redact(_text(value))


def _text(value: Any) -> str:
    """Return a value as text, an exception with its type."""
    try:
        return repr(value) if isinstance(value, BaseException | bytes) else str(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def _cut(text: str) -> str:
    """Return a text with its middle left out where it is long."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"

"""What must not be shown: secrets of the configuration, taken out of whatever text is about to be."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr

SHOWN = "***"
_SHORTEST = 4
_PASSWORD = re.compile(r"://[^/:@]*:(.*)@|[?&]\w*password=([^&]*)")
_known: set[str] = set()


def remember(config: BaseModel) -> None:
    """Keep this process from showing the configuration's secrets: SecretStr options, of URLs the passwords."""
    for secret in _secrets(config):
        parts = [part for found in _PASSWORD.findall(secret) for part in found] if "://" in secret else [secret]
        _known.update(part for found in parts for part in (found, unquote(found)) if len(part) >= _SHORTEST)


def redact(text: str) -> str:
    """Return the text without the secrets remembered."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, SHOWN)
    return text


class Redacting(logging.Formatter):
    """Formats log records without the secrets remembered."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)

"""What must not be shown: secrets of the configuration, taken out of whatever text is about to be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, SecretStr

SHOWN = "***"
_SHORTEST = 4
_PASSWORD = re.compile(r"://[^/:@]*:(.*)@|[?&]\w*password=([^&]*)")
_WEB = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_LONG = 16
"""Characters from which a word of a header, or a part of a web address, is taken for a key."""
_known: set[str] = set()


def remember(config: BaseModel) -> None:
    """Keep this process from showing the configuration's secrets: what is SecretStr.

    Of a database's URL that is the password, of a web address all that comes after the host.
    """
    for secret in _secrets(config):
        forms = (form for part in _parts(secret) if len(part) >= _SHORTEST for form in _forms(part))
        _known.update(form for form in forms if len(form) >= _SHORTEST)


def redact(text: str) -> str:
    """Return the text without the secrets remembered."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, SHOWN)
    return text


def _forms(part: str) -> Iterator[str]:
    """Yield a part of a secret as it is, and as URLs, JSON and Python show it."""
    yield from (part, unquote(part), quote(part, safe="", errors="surrogatepass"), repr(part)[1:-1])
    yield from (json.dumps(part, ensure_ascii=ascii)[1:-1] for ascii in (False, True))


def _parts(secret: str) -> Iterator[str]:
    """Yield what of a secret must not be shown, as a whole and as other texts may quote it."""
    for found in _PASSWORD.findall(secret) if "://" in secret else ():
        yield from found
    host = _WEB.match(secret)
    if host:
        target = secret[host.end() :]
        yield from (secret, target, *target.split("?", 1))
    elif "://" in secret:
        return
    else:
        target = secret
        yield secret
    yield from (part for part in re.split(r"[\s/?&=#]", target) if len(part) >= _LONG)


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

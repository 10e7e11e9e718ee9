"""A database URL: checked, shown without its secrets, and kept out of other texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .errors import ConfigError

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite+pysqlite": "sqlite",
}
_SECRET = re.compile("pass(?!file)|secret|token", re.IGNORECASE)
_SHORT = 4
"""A shorter secret is redacted only where it stands alone: it may be a part of many words."""


@dataclass(frozen=True)
class Address:
    """Where a database is."""

    url: URL = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL without password and options, for an option may be a secret too."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def redact(self, text: str) -> str:
        """Return the text without the URL's secrets."""
        values = [v for name, v in self.url.query.items() if _SECRET.search(name)]
        secrets = [self.url.password, *(s for v in values for s in ([v] if isinstance(v, str) else v))]
        spellings = {spelling for s in filter(None, secrets) for spelling in (s, quote(s, safe=""))}
        # The longest first, for one may be a part of another.
        for spelling in sorted(spellings, key=lambda s: (-len(s), s)):
            found = re.escape(spelling)
            text = re.sub(found if len(spelling) >= _SHORT else rf"(?<!\w){found}(?!\w)", "***", text)
        return text


def parse(url: str, what: str) -> Address:
    """Read a SQLAlchemy URL; raises ConfigError, which begins with ``what`` and holds no part of a secret."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{what}: not a database URL; expected sqlite:///path or postgresql://user:password@host:port/name, "
            "the special characters of user and password percent-encoded"
        ) from None
    rest = url.partition("://")[2]
    # A further @ would have cut the password, and what follows the cut would be shown as the host.
    if not rest.startswith("/") and rest.count("@") > (parsed.username is not None):
        raise ConfigError(f"{what}: percent-encode the special characters of user and password (@ is %40)")
    return Address(parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername)))

"""A database URL: checked, shown without its secrets, and kept out of other texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import ConfigError, StoreError
from .mounts import network_file_system

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_SECRET = re.compile("pass(?!file)|secret|token", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where a store is."""

    url: URL = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL without password and options."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        return self.url.drivername == "sqlite"

    def redact(self, text: str) -> str:
        """Return the text without the URL's secrets."""
        values = [v for name, v in self.url.query.items() if _SECRET.search(name)]
        secrets = [self.url.password, *(s for v in values for s in ([v] if isinstance(v, str) else v))]
        for secret in filter(None, secrets):
            for spelling in (secret, quote(secret, safe="")):
                text = text.replace(spelling, "***")
        return text


def parse(url: str) -> Address:
    """Read a SQLAlchemy URL; raises ConfigError, and StoreError where SQLite's file cannot be."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "store: not a database URL; expected sqlite:///path or postgresql://user:password@host:port/name, "
            "the special characters of user and password percent-encoded"
        ) from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigError(f"store: {parsed.drivername} is not supported; use sqlite or postgresql+psycopg")
    address = Address(parsed.set(drivername=driver))
    if address.is_sqlite:
        _check_file(address)
    elif "@" in f"{parsed.host}{parsed.database}":
        raise ConfigError("store: percent-encode the special characters of user and password (@ is %40)")
    return address


def _check_file(address: Address) -> None:
    url = address.url
    if url.host or set(url.query) - {"timeout"} or (url.database or "").startswith("file:"):
        raise ConfigError(
            "store: write SQLite's URL as sqlite:///path (four slashes for an absolute path); "
            "the only option is ?timeout=SECONDS"
        )
    if url.database in (None, "", ":memory:"):
        return
    path = Path(url.database).absolute()
    if not path.parent.is_dir():
        raise StoreError(f"store: the folder {path.parent} does not exist; create it")
    if kind := network_file_system(path.resolve()):
        raise StoreError(
            f"store: {path} lies on a network file system ({kind}), where SQLite can lose data; "
            "use a local disk or Postgres"
        )

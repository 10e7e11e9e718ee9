"""The addresses at which a store can be."""

from __future__ import annotations

from pathlib import Path

from .. import address
from ..address import Address
from ..errors import ConfigError, StoreError
from .mounts import network_file_system

__all__ = ["Address", "parse"]


def parse(url: str) -> Address:
    """Read a store's URL; raises ConfigError, and StoreError where SQLite's file cannot be."""
    parsed = address.parse(url, "store")
    driver = parsed.url.drivername
    if driver not in ("sqlite", "postgresql+psycopg"):
        raise ConfigError(f"store: {driver} is not supported; use sqlite or postgresql+psycopg")
    if parsed.is_sqlite:
        _check_file(parsed)
    return parsed


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

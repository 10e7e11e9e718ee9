"""Where checkpoints lie: the folders of a home, and the names that versions may have."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError

MANIFEST = "manifest.json"
ACTIVE = "ACTIVE"
HISTORY = "history.jsonl"
LOCK = ".lock"
RETRAIN_LOCK = ".retrain.lock"
VERSIONS, STAGING, TRASH, QUARANTINE = "versions", "staging", "trash", "quarantine"
VERDICT, VERDICT_TEXT = "verdict.json", "verdict.md"
ADDED = frozenset({VERDICT, VERDICT_TEXT})
"""What is written into a version after it was published, and so is not in its manifest."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}-\d{4}-[0-9a-f]{12}", re.ASCII)
_CLASS = re.compile(r"[a-z][a-z0-9_]{0,31}")


def home(root: Path, asset_class: str | None) -> Path:
    """Return the folder of an asset class's checkpoints, or of the pooled ones; raises ConfigError for no name."""
    if asset_class is None:
        return root / "base"
    if not _CLASS.fullmatch(asset_class):
        raise ConfigError(f"{asset_class!r} is no name of an asset class")
    return root / "rolling" / asset_class


def asset_classes(root: Path) -> Iterator[str | None]:
    """Yield the asset classes that have a home below a root, and None where the pooled checkpoints have one."""
    if (root / "base").is_dir():
        yield None
    rolling = root / "rolling"
    if rolling.is_dir():
        yield from sorted(path.name for path in rolling.iterdir() if _CLASS.fullmatch(path.name) and path.is_dir())


def is_version(name: str) -> bool:
    """Tell whether a folder's name is that of a version: ``<YYYY-MM-DD>-<nnnn>-<12 hexadecimal digits>``."""
    return _VERSION.fullmatch(name) is not None


def next_version(versions: Path, day: str, identity: str) -> Path:
    """Return the folder of a new version, ``<day>-<number>-<identity>``: names sort by day, then by age.

    Raises ValueError where these make no name of a version.
    """
    taken = [0, *(int(path.name.split("-")[3]) for path in versions.glob(f"{day}-[0-9][0-9][0-9][0-9]-*"))]
    name = f"{day}-{max(taken) + 1:04d}-{identity}"
    if not is_version(name):
        raise ValueError(f"{name!r} is no name of a version")
    return versions / name


def own_bytes(path: Path) -> bytes:
    """Return the content of a file; raises OSError, also for a link, which may lead out of the checkpoints."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link", str(path))
    return path.read_bytes()


def titled(folder: Path) -> str:
    """Return how a person calls a version: ``crypto/2026-11-01-0001-…`` or ``base/…``."""
    return f"{folder.parents[1].name}/{folder.name}"

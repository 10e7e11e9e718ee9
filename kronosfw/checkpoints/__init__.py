"""Checkpoints on disk: which there are, which serves, and how that changes.

A home is ``<root>/base`` for the pooled ones and ``<root>/rolling/<asset class>`` for those of a class. Its
versions lie in ``versions``, each a folder with a ``manifest.json``; ``ACTIVE`` names the one it was told to serve,
and ``history.jsonl`` tells how that came about.
"""

from __future__ import annotations

from pathlib import Path

from ..types import Checkpoint
from .history import about
from .layout import MANIFEST, asset_classes, home, is_version, titled
from .manifest import contents, manifest_of, read, verify
from .pointer import Pointer
from .serving import Served, choose, select, serve
from .shelf import Shelf
from .verdicts import read_verdict

__all__ = [
    "MANIFEST",
    "Pointer",
    "Served",
    "Shelf",
    "about",
    "asset_classes",
    "choose",
    "contents",
    "discover",
    "home",
    "is_version",
    "manifest_of",
    "read",
    "read_verdict",
    "select",
    "serve",
    "titled",
    "verify",
]


def discover(root: Path) -> list[Checkpoint]:
    """Return the checkpoints below a root, oldest first, without a look at their weights.

    One that cannot be read is left out with a warning.
    """
    found = [c for name in asset_classes(root) for c in Shelf(root, name).checkpoints()]
    return sorted(found, key=lambda c: (c.version, c.asset_class or "", c.forecaster))

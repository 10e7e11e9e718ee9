"""Checkpoints on disk, as far as serving needs them: which there are."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .types import Checkpoint

log = logging.getLogger(__name__)


def discover(root: Path) -> list[Checkpoint]:
    """Return the checkpoints below a root, oldest first.

    Versions lie in ``<root>/base/versions`` (pooled) and ``<root>/rolling/<asset class>/versions``, each a
    folder with a ``manifest.json`` that names its ``forecaster``. A folder without a readable manifest is
    left out with a warning.
    """
    return sorted(_versions(root), key=lambda c: (c.version, c.asset_class or "", c.forecaster))


def _versions(root: Path) -> Iterator[Checkpoint]:
    for pattern in ("base/versions/*/manifest.json", "rolling/*/versions/*/manifest.json"):
        for manifest in root.glob(pattern):
            folder = manifest.parent
            pooled = folder.parents[1].name == "base" and folder.parents[1].parent == root
            try:
                yield _read(folder, manifest, None if pooled else folder.parents[1].name)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("checkpoint %s left out: %s: %s", folder, type(error).__name__, error)


def _read(folder: Path, manifest: Path, asset_class: str | None) -> Checkpoint:
    content: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
    metrics = {str(name): float(value) for name, value in content.get("metrics", {}).items()}
    return Checkpoint(folder.name, folder, str(content["forecaster"]), asset_class, metrics)

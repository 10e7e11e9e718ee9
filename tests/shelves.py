"""Checkpoints made for tests, the way a training makes them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kronosfw.checkpoints import Shelf

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def put(
    root: Path,
    asset_class: str | None = "crypto",
    files: Mapping[str, bytes] | None = None,
    *,
    day: str = "2026-11-01",
    identity: str | None = None,
    **manifest: Any,
) -> Path:
    """Publish a version of these files and return its folder."""
    files = files if files is not None else {"weights.txt": b"1"}
    with tempfile.TemporaryDirectory() as name:
        snapshot = Path(name)
        for path, content in files.items():
            (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / path).write_bytes(content)
        plain = json.dumps([day, str(asset_class), {k: v.hex() for k, v in files.items()}, manifest])
        identity = identity or hashlib.sha256(plain.encode()).hexdigest()[:12]
        content = {"forecaster": "fickle", **manifest}
        return Shelf(root, asset_class).publish(snapshot, content, day=day, identity=identity)


def activate(folder: Path, **more: Any) -> None:
    """Make a version the active one of its home."""
    home = folder.parents[1]
    pooled = home.name == "base"
    shelf = Shelf(home.parent if pooled else home.parents[1], None if pooled else home.name)
    shelf.promote(folder.name, **{"event": "promoted", "at": NOW, "reason": "it is better", **more})

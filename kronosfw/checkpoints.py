"""Checkpoints on disk: which there are, and how a new one gets there.

Versions lie in ``<root>/base/versions`` (pooled) and ``<root>/rolling/<asset class>/versions``, each a folder
with a ``manifest.json`` that names its ``forecaster``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import PluginError
from .files import sync_folder, sync_tree
from .types import Checkpoint

MANIFEST = "manifest.json"
FORMAT = 1
log = logging.getLogger(__name__)


def discover(root: Path) -> list[Checkpoint]:
    """Return the checkpoints below a root, oldest first.

    A folder without a readable manifest is left out with a warning.
    """
    return sorted(_versions(root), key=lambda c: (c.version, c.asset_class or "", c.forecaster))


def _versions(root: Path) -> Iterator[Checkpoint]:
    for pattern in (f"base/versions/*/{MANIFEST}", f"rolling/*/versions/*/{MANIFEST}"):
        for manifest in root.glob(pattern):
            folder = manifest.parent
            pooled = folder.parents[1].name == "base" and folder.parents[1].parent == root
            try:
                yield read(folder, None if pooled else folder.parents[1].name)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("checkpoint %s left out: %s: %s", folder, type(error).__name__, error)


def read(folder: Path, asset_class: str | None) -> Checkpoint:
    """Return the checkpoint in a folder; raises OSError, ValueError, KeyError or TypeError where it is none."""
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    metrics = {str(name): float(value) for name, value in content.get("metrics", {}).items()}
    return Checkpoint(folder.name, folder, str(content["forecaster"]), asset_class, metrics)


def home(root: Path, asset_class: str | None) -> Path:
    """Return the folder of an asset class's checkpoints, or of the pooled ones."""
    return root / "base" if asset_class is None else root / "rolling" / asset_class


def next_version(versions: Path, day: str, identity: str) -> Path:
    """Return the folder of a new version, ``<day>-<number>-<identity>``: names sort by day, then by age."""
    taken = [0, *(int(path.name.split("-")[3]) for path in versions.glob(f"{day}-[0-9][0-9][0-9][0-9]-*"))]
    return versions / f"{day}-{max(taken) + 1:04d}-{identity}"


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the SHA-256 and the size of every file in a folder, by relative path; raises OSError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = {"sha256": digest, "size": path.stat().st_size}
    return found


def publish(snapshot: Path, target: Path, manifest: Mapping[str, Any], *beside: Path) -> None:
    """Copy a snapshot and what there is beside it to a new version: ``target``, below ``versions``.

    The version is there as a whole or not at all, whenever the machine stops: it is made in ``staging``, every file
    of it brought to the disk, and then renamed. Raises OSError, and PluginError where the snapshot has a file whose
    name is taken.
    """
    taken = {MANIFEST, *(path.name for path in beside)}
    clash = sorted(path.name for path in snapshot.iterdir() if path.name in taken)
    if clash:
        raise PluginError(f"a snapshot may not hold {' or '.join(clash)}: kronosfw puts its own there")
    home = target.parents[1]
    aside = home / "staging" / target.name
    if aside.exists():
        shutil.rmtree(aside)
    shutil.copytree(snapshot, aside)
    for path in beside:
        if path.is_dir():
            shutil.copytree(path, aside / path.name)
        elif path.exists():
            shutil.copy(path, aside)
    whole = {**manifest, "files": contents(aside), "format": FORMAT}
    (aside / MANIFEST).write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    sync_tree(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(target)
    for folder in (target.parent, home, home.parent):
        sync_folder(folder)

"""A new version: made aside, brought to the disk, and there as a whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import PluginError
from ..files import sync_folder
from .layout import ADDED, MANIFEST
from .manifest import FORMAT
from .unsafe import SEEN, unsafe

_ROOM = 3
"""So many times the size of a version must be free before it is written."""
_CHUNK = 1 << 20


def write_version(
    snapshot: Path, beside: Sequence[Path], manifest: Mapping[str, Any], aside: Path, target: Path
) -> None:
    """Copy a snapshot, and what is there of ``beside``, to ``target`` by way of ``aside``, on the same file system.

    Whenever the machine stops, ``target`` is there as a whole or not at all. Raises PluginError where the snapshot
    has a file that may not be there, and OSError.
    """
    sources = _sources(snapshot, beside)
    _require_room(aside.parent, sum(source.stat().st_size for source in sources.values()))
    try:
        aside.mkdir()
        files = {name: _copy(source, aside / name) for name, source in sources.items()}
        whole = json.dumps({**manifest, "files": files, "format": FORMAT}, indent=2) + "\n"
        with (aside / MANIFEST).open("xb") as file:
            file.write(whole.encode())
            file.flush()
            os.fsync(file.fileno())
        for folder in (*(path for path in aside.rglob("*") if path.is_dir()), aside):
            sync_folder(folder)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _sources(snapshot: Path, beside: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a version by their path in it."""
    taken = {MANIFEST, *ADDED, *(path.name for path in beside)}
    clash = sorted(path.name for path in snapshot.iterdir() if path.name in taken)
    if clash:
        raise PluginError(f"a snapshot may not hold {' or '.join(clash)}: kronosfw puts its own there")
    found = dict(_below(snapshot, snapshot))
    for path in beside:
        if path.exists():
            found |= dict(_below(path, path.parent))
    for name, path in sorted(found.items()):
        with path.open("rb") as file:
            wrong = unsafe(name, file.read(SEEN))
        if wrong:
            raise PluginError(f"a snapshot may not hold {name}, {wrong}: keep weights as safetensors or text")
    return dict(sorted(found.items()))


def _below(path: Path, start: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files in a folder, or the one file, by their path from ``start``."""
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        raise PluginError(f"a snapshot may hold files and folders alone, not {path.relative_to(start)}")
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _below(inner, start)
    else:
        yield path.relative_to(start).as_posix(), path


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < _ROOM * size:
        figures = f"{free / 1e6:,.1f} MB are free, {_ROOM * size / 1e6:,.1f} MB are needed"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {figures}", str(folder))


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copy a file to where none is, bring it to the disk and return its SHA-256 and its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as file, target.open("xb") as copy:
        while chunk := file.read(_CHUNK):
            copy.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return {"sha256": digest.hexdigest(), "size": size}

"""Tidying up after a crash, and setting aside what is damaged. All of it under the lock of a change."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from ..errors import DamagedCheckpoint
from ..files import sync_folder, write_atomically
from ..types import Entry
from . import layout
from .history import append, last_pointer
from .manifest import verify
from .pointer import as_line
from .reading import Home

log = logging.getLogger(__name__)


def made(home: Home, *names: str) -> Path:
    """Return a folder of a home, which is made where it is not there, with all names on the way to it durable."""
    path = home.own(*names)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    _settle((missing[-1].parent if missing else path).parent)  # made, perhaps, by a process that came no further
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    return path


def settle(home: Home) -> None:
    """Bring to the disk what a process that was killed has named but not synced: what follows builds on it."""
    for folder in (*home.folders(), home.versions, home.folder):
        _settle(folder)


def _settle(folder: Path) -> None:
    if os.access(folder, os.R_OK | os.W_OK):  # where we may not write, we have named nothing
        sync_folder(folder)


def recover(home: Home) -> list[str]:
    """Empty staging and trash, set damaged versions aside and return what was damaged, in sentences."""
    told = reconcile(home)
    for name in (layout.STAGING, layout.TRASH):
        folder = home.own(name)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            log.info("%s, left by a process that stopped, was deleted", path)
    pointer = home.active
    for folder in home.folders():
        if pointer is None or folder.name != pointer.version:
            told += _set_aside(home, folder)
    for text in told:
        log.warning("%s", text)
    return told


def reconcile(home: Home) -> list[str]:
    """Delete temporary files, bring ``ACTIVE`` and the history into line and return what was damaged."""
    for path in home.folder.glob(".*.tmp"):
        path.unlink()
        log.info("%s, left by a process that stopped, was deleted", path)
    known = last_pointer(home.history_file)
    try:
        pointer = home.active
    except DamagedCheckpoint as error:
        if known is None:
            raise
        write_atomically(home.pointer_file, lambda file: file.write(as_line(known)))
        return [f"{error}; it was restored from the history: {known.version or 'nothing'} is active"]
    if pointer and (known is None or known.seq < pointer.seq):
        append(home.history_file, pointer)
        log.info("the history of %s lacked its last change, %d, and was told of it", home.name, pointer.seq)
    return []


def _set_aside(home: Home, folder: Path) -> list[str]:
    """Move a version that is damaged to where it can be studied and is never served from."""
    try:
        verify(folder)
        home.sound(folder)
    except DamagedCheckpoint as error:
        if isinstance(error.__cause__, OSError):  # not to be read by us, which does not make it damaged
            return []
        target = made(home, layout.QUARANTINE) / folder.name
        if target.exists():
            shutil.rmtree(target)
        append(home.history_file, Entry(datetime.now(UTC), "quarantined", folder.name, str(error)))
        folder.rename(target)  # told of before, or a crash in between would keep it from being told
        sync_folder(home.versions)
        return [f"{error}; it was moved to {target}"]
    return []

"""A home of checkpoints as those see it who change nothing: without a lock, and whole at every moment."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError, DamagedCheckpoint
from ..types import Checkpoint, Entry
from . import layout
from .history import last_pointer, read_history, trail
from .layout import home, is_version, titled
from .manifest import read
from .pointer import Pointer, read_pointer

log = logging.getLogger(__name__)
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class Home:
    """The checkpoints of an asset class; None stands for the pooled ones.

    Raises ConfigError where a folder of ours is a link.
    """

    def __init__(self, root: Path, asset_class: str | None) -> None:
        self.root = root
        self.asset_class = asset_class
        self.folder = home(root, asset_class)
        self.name = self.folder.name
        self.versions = self.folder / layout.VERSIONS
        self.pointer_file = self.folder / layout.ACTIVE
        self.history_file = self.folder / layout.HISTORY

    def checkpoints(self) -> list[Checkpoint]:
        """Return the versions, oldest first, without a look at their weights.

        One that cannot be read is left out with a warning.
        """
        try:
            active = self.active
        except DamagedCheckpoint as error:
            log.warning("%s", error)
            active = None
        found = (self._read(folder) for folder in self.folders())
        return [replace(c, active=active is not None and c.version == active.version) for c in found if c]

    def _read(self, folder: Path) -> Checkpoint | None:
        try:
            return read(folder, self.asset_class)
        except _UNREADABLE as error:
            if folder.exists():
                log.warning("checkpoint %s left out: %s: %s", folder, type(error).__name__, error)
            return None

    def folders(self) -> list[Path]:
        """Return the folders of versions; what has another name, or is a link, is none."""
        try:
            found = sorted(self.own(layout.VERSIONS).iterdir())
        except FileNotFoundError:
            return []
        versions = [path for path in found if is_version(path.name) and path.is_dir() and not path.is_symlink()]
        for path in found:
            if path not in versions and path.is_dir():
                log.warning("%s is no version and is left out", path)
        return versions

    def names(self) -> list[str]:
        """Return the versions that there are, those included that cannot be read."""
        return [folder.name for folder in self.folders()]

    @property
    def active(self) -> Pointer | None:
        """What the home was told to serve, None where it never was told anything. Raises DamagedCheckpoint."""
        known = last_pointer(self.history_file)  # read first: what it tells of was active before
        found = read_pointer(self.pointer_file)
        if found is None and known is not None:
            raise DamagedCheckpoint(
                f"{self.pointer_file} is missing, though the history tells of {known.seq} changes"
            )
        return found

    def history(self) -> list[Entry]:
        """Return what became of the checkpoints, in order."""
        return read_history(self.history_file)

    def behind(self, pointer: Pointer) -> list[str]:
        """Return what a rollback may go back to, the one to try first first."""
        return trail(self.history(), pointer)

    def prunable(self, expired: Sequence[Checkpoint]) -> list[str]:
        """Return the versions among these that may go: not what is active, nor what was so before."""
        if self.asset_class is None:
            return []
        pointer = self.active
        kept = {pointer.version, pointer.previous} if pointer else set()
        mine = {folder.name for folder in self.folders()} - kept
        return sorted({c.version for c in expired if c.asset_class == self.asset_class} & mine)

    def own(self, *names: str) -> Path:
        """Return a folder of this home; raises ConfigError where it is a link, which may lead anywhere."""
        path = self.folder.joinpath(*names)
        for folder in (self.folder.parent, self.folder, path):
            if folder != self.root and folder.is_symlink():
                raise ConfigError(f"{folder} is a link: checkpoints lie below their root and nowhere else")
        return path

    def version(self, version: str) -> Path:
        """Return the folder of a version; raises ConfigError where there is none."""
        folder = self.versions / version
        if not is_version(version) or folder not in self.folders():
            raise ConfigError(f"there is no version {version} of {self.name}")
        return folder

    def sound(self, folder: Path) -> Checkpoint:
        """Return a checkpoint that was verified; raises DamagedCheckpoint where what was added to it is damaged."""
        try:
            return read(folder, self.asset_class)
        except _UNREADABLE as error:
            raise DamagedCheckpoint(f"checkpoint {titled(folder)}: {error}") from error

"""What checkpoints a configuration has, which of them serve by its policy, and how a person calls them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .checkpoints import Shelf, asset_classes, is_version, select, titled, verify
from .config import Config
from .errors import ConfigError, DamagedCheckpoint, did_you_mean
from .interfaces import CheckpointPolicy
from .isolation import required
from .types import Checkpoint

_MOST = 4


@dataclass(frozen=True)
class Item:
    """A checkpoint and what it is used for."""

    checkpoint: Checkpoint
    serves: tuple[str, ...]
    """The asset classes that it serves."""
    size: int
    """Bytes."""


class Inventory:
    """The checkpoints of a configuration."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError where there is no ``checkpoint_root``, or a policy that cannot be built."""
        if config.checkpoint_root is None:
            raise ConfigError(
                "there are no checkpoints without `checkpoint_root: checkpoints` in the configuration"
            )
        self.root: Path = config.checkpoint_root
        self._config = config
        options = config.checkpoints
        self._what = f"checkpoint policy {options.type}" if options else ""
        self._policy: CheckpointPolicy | None = required(options.build, self._what) if options else None
        self._classes = sorted({config.universe[symbol].asset_class for symbol in config.forecast_symbols})

    def shelves(self, name: str | None = None) -> list[Shelf]:
        """Return the homes, or the one of this name; raises ConfigError where there is none."""
        shelves = [Shelf(self.root, asset_class) for asset_class in asset_classes(self.root)]
        if name is None:
            return shelves
        names = [shelf.name for shelf in shelves]
        if name not in names:
            known = did_you_mean(name, names) or (f"; there are those of {', '.join(names)}" if names else "")
            raise ConfigError(f"there are no checkpoints of '{name}' below {self.root}{known}")
        return [shelf for shelf in shelves if shelf.name == name]

    def items(self, name: str | None = None) -> list[Item]:
        """Return the checkpoints, or those of one home, oldest first in each."""
        mine = [c for shelf in self.shelves(name) for c in shelf.checkpoints()]
        every = [c for shelf in self.shelves() for c in shelf.checkpoints()]
        serving = {asset_class: self._serving(asset_class, every) for asset_class in self._classes}
        return [
            Item(c, tuple(name for name, chosen in serving.items() if c.path in chosen), size(c.path)) for c in mine
        ]

    def _serving(self, asset_class: str, found: Sequence[Checkpoint]) -> list[Path]:
        """Return what the policy serves an asset class with, one for each forecaster that has any."""
        kinds = sorted({forecaster.type for forecaster in self._config.forecasters})
        chosen = [self._select(asset_class, [c for c in found if c.forecaster == kind]) for kind in kinds]
        return [c.path for c in chosen if c is not None]

    def _select(self, asset_class: str, found: Sequence[Checkpoint]) -> Checkpoint | None:
        policy = self._policy
        if policy is None:
            return None
        return required(lambda: select(policy, asset_class, found), self._what)

    def require_effect(self, shelf: Shelf, version: str, forecaster: str) -> None:
        """Raise ConfigError unless the policy would serve a version of a home, once that is its active one.

        An empty version stands for none that is active.
        """
        if self._policy is None:
            raise ConfigError(
                "the configuration serves no checkpoint, whichever is active: give it a policy such as "
                "`checkpoints: {type: rolling}`"
            )
        own = [replace(c, active=c.version == version) for c in shelf.checkpoints()]
        own = [replace(c, state="ready") if c.active else c for c in own]
        pooled = [] if shelf.asset_class is None else Shelf(self.root, None).checkpoints()
        chosen = self._select(shelf.name, [c for c in (*own, *pooled) if c.forecaster == forecaster])
        serves = "" if chosen is None or chosen.asset_class != shelf.asset_class else chosen.version
        if serves != version:
            instead = titled(chosen.path) if chosen else "the forecaster's own weights"
            target = f"{shelf.name}/{version}" if version else f"nothing of {shelf.name}"
            raise ConfigError(
                f"nothing was changed: with {target} active, the {self._what} would serve {instead}; "
                "`checkpoints: {type: rolling}` serves what is active"
            )

    def expired(self, shelf: Shelf) -> list[Checkpoint]:
        """Return what the policy would delete of an asset class; raises ConfigError where there is no policy."""
        policy = self._policy
        if policy is None:
            raise ConfigError("there is no policy that says what to delete: `checkpoints: {type: rolling}` is one")
        found = shelf.checkpoints()
        return required(lambda: policy.expire(found), self._what)

    def verified(self, chosen: Sequence[tuple[Shelf, str]] | None = None) -> list[tuple[str, str]]:
        """Read checkpoints whole, all unless some are given; return of each what is damaged, "" where nothing is.

        Where all are read, a home whose active version cannot be known, or is not there, is among them.
        """
        every = [(shelf, name) for shelf in self.shelves() for name in shelf.names()]
        results = [(f"{home.name}/{name}", _damage(home, name)) for home, name in chosen or every]
        for shelf in self.shelves() if chosen is None else ():
            try:
                pointer = shelf.active
            except DamagedCheckpoint as error:
                results.append((shelf.name, str(error)))
                continue
            if pointer and pointer.version and pointer.version not in shelf.names():
                title = f"{shelf.name}/{pointer.version}"
                results.append((title, f"checkpoint {title} is active and is missing"))
        return results

    def find(self, text: str) -> tuple[Shelf, str]:
        """Return the version that a person means: ``crypto/2026-11-01-0001-…``, its path, or a part of its name.

        Raises ConfigError where there is none, or several.
        """
        parts = Path(text).parts
        if len(parts) > 2 and is_version(parts[-1]):
            text = f"{parts[-3]}/{parts[-1]}"
        place, _, part = text.rpartition("/")
        known = {f"{shelf.name}/{name}": (shelf, name) for shelf in self.shelves() for name in shelf.names()}
        found = [
            title
            for title, (shelf, name) in known.items()
            if text == title or (part and part in name and place in ("", shelf.name))
        ]
        if len(found) != 1:
            what = f"'{text}' could be {', '.join(found[:_MOST])}{' or others' if len(found) > _MOST else ''}"
            near = did_you_mean(text, [*known, *(name for _, name in known.values())])
            raise ConfigError(what if found else f"there is no checkpoint '{text}' below {self.root}{near}")
        return known[found[0]]

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Turn what the disk refuses into a ConfigError that names the folder."""
        try:
            yield
        except OSError as error:
            raise ConfigError(f"checkpoint_root {self.root}: {error.strerror or error}") from error


def _damage(shelf: Shelf, version: str) -> str:
    try:
        pointer = shelf.active
    except DamagedCheckpoint:  # told once, for the home
        pointer = None
    try:
        verify(shelf.versions / version, pointer.manifest if pointer and pointer.version == version else None)
    except DamagedCheckpoint as error:
        return str(error)
    return ""


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, links not followed; 0 where it is being deleted."""
    try:
        return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    except FileNotFoundError:
        return 0

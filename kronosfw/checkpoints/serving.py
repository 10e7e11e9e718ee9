"""What serves: the policy's choice among what is ready, verified, and loaded as it was verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import DamagedCheckpoint
from ..interfaces import CheckpointPolicy
from ..types import Checkpoint
from .layout import titled
from .manifest import verify
from .shelf import Shelf

Weights = TypeVar("Weights")
_TRIES = 20


@dataclass(frozen=True)
class Served(Generic[Weights]):
    """What serves an asset class."""

    checkpoint: Checkpoint | None
    """None for the forecaster's own weights."""
    weights: Weights | None
    told: tuple[str, ...]
    """What a person has to know: sentences about damaged checkpoints and what serves instead."""


def select(policy: CheckpointPolicy, asset_class: str, found: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the policy's choice among those of the class and the pooled ones that are ready.

    Looks at no file. Raises ValueError where the policy chooses what it was not offered.
    """
    offered = [c for c in found if c.state == "ready" and c.asset_class in (asset_class, None)]
    chosen = policy.select(asset_class, offered)
    if chosen is not None and chosen not in offered:
        raise ValueError(f"the checkpoint policy chose {chosen!r}, which is not a checkpoint for {asset_class}")
    return chosen


def choose(
    policy: CheckpointPolicy,
    root: Path,
    asset_class: str,
    forecaster: str,
    *,
    pooled: bool = False,
    sound: Collection[Path] = (),
) -> tuple[Checkpoint | None, list[str]]:
    """Return what serves an asset class with weights of the forecaster, and what a person has to know of it.

    ``pooled`` leaves out the class's own. What the policy selects is read whole, unless it is among ``sound``. In
    place of an active version that is damaged the policy is offered, as active, the one that was so before, and
    there is a sentence that says so. Raises DamagedCheckpoint where it cannot be known which version is active, and
    ValueError as ``select`` does.
    """
    chosen, _, told = _choose(policy, root, asset_class, forecaster, pooled=pooled, sound=sound)
    return chosen, told


def _choose(
    policy: CheckpointPolicy,
    root: Path,
    asset_class: str,
    forecaster: str,
    *,
    pooled: bool,
    sound: Collection[Path],
) -> tuple[Checkpoint | None, str | None, list[str]]:
    """Do as ``choose`` does, and return the SHA-256 of the manifest as well; None where nothing was read."""
    names = (None,) if pooled else (asset_class, None)
    offers = {name: _Offer(Shelf(root, name), forecaster) for name in names}
    damage: list[str] = []
    manifest = None
    while True:
        chosen = select(policy, asset_class, [c for offer in offers.values() for c in offer])
        if chosen is None or chosen.path in sound:
            break
        try:
            manifest = offers[chosen.asset_class].check(chosen)
            break
        except DamagedCheckpoint as error:
            damage.append(str(error))
            offers[chosen.asset_class].withdraw(chosen)
    serves = titled(chosen.path) if chosen else "the forecaster's own weights"
    return chosen, manifest, [f"{text}; {asset_class} is served by {serves} instead" for text in damage]


class _Offer:
    """What a home has to offer the policy, until something turns out to be damaged."""

    def __init__(self, shelf: Shelf, forecaster: str) -> None:
        pointer = shelf.active
        self._active = pointer.version if pointer else ""
        self._manifest = pointer.manifest if pointer else ""
        self._heirs = iter(shelf.behind(pointer) if pointer else ())
        self._lost = ""
        mine = [replace(c, active=c.version == self._active) for c in shelf.checkpoints()]
        self._found = {c.version: c for c in mine if c.forecaster == forecaster}
        there = next((c for c in mine if c.active), None)
        if pointer and self._active and pointer.forecaster == forecaster and (not there or there.state != "ready"):
            path = shelf.versions / self._active
            lost = Checkpoint(self._active, path, forecaster, shelf.asset_class, active=True)
            self._found[self._active] = lost
            what = f"is active but {there.state}" if there else "is active but cannot be read"
            self._lost = f"checkpoint {titled(path)} {what}"

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._found.values())

    def check(self, chosen: Checkpoint) -> str:
        """Read a checkpoint whole and return the SHA-256 of its manifest; raises DamagedCheckpoint."""
        if chosen.version != self._active:
            return verify(chosen.path)
        if self._lost:
            raise DamagedCheckpoint(self._lost)
        return verify(chosen.path, self._manifest)

    def withdraw(self, damaged: Checkpoint) -> None:
        """Offer a checkpoint no more; if it was active, offer as such what was so before."""
        del self._found[damaged.version]
        if damaged.active:
            heir = next((v for v in self._heirs if v in self._found and self._found[v].state == "ready"), None)
            if heir is not None:
                self._found[heir] = replace(self._found[heir], active=True)


def serve(
    policy: CheckpointPolicy,
    root: Path,
    asset_class: str,
    forecaster: str,
    load: Callable[[Path], Weights],
    sound: Collection[Path] = (),
) -> Served[Weights]:
    """Choose what serves an asset class and load it, while others promote, roll back and delete.

    ``load`` must have read all it needs when it returns. The files are read whole before and after, so that what
    was loaded is what was verified; where the active version has moved or a folder has gone meanwhile, all begins
    anew. Raises what ``choose`` and ``load`` raise.
    """
    for left in range(_TRIES - 1, -1, -1):
        before = _moves(root, asset_class)
        chosen: Checkpoint | None = None
        served: Served[Weights] | None = None
        try:
            chosen, manifest, told = _choose(policy, root, asset_class, forecaster, pooled=False, sound=sound)
            weights = None if chosen is None else load(chosen.path)
            if chosen is not None and chosen.path not in sound:
                verify(chosen.path, manifest)
            served = Served(chosen, weights, tuple(told))
        except (Exception, SystemExit) as error:
            gone = isinstance(error, DamagedCheckpoint) or bool(chosen and not chosen.path.exists())
            if not left or (not gone and _moves(root, asset_class) == before):
                raise
        if served and (not left or _moves(root, asset_class) == before):
            return served
        time.sleep(0.001)
    raise AssertionError("the last try returns or raises")


def _moves(root: Path, asset_class: str) -> tuple[int | str, ...]:
    """Return the numbers of the last changes for the class and the pooled base, or why they cannot be known."""
    found: list[int | str] = []
    for name in (asset_class, None):
        try:
            pointer = Shelf(root, name).active
            found.append(pointer.seq if pointer else 0)
        except DamagedCheckpoint as error:
            found.append(str(error))
    return tuple(found)

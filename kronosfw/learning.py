"""The loop over a trainer's snapshots: the process that leads keeps a journal, those that follow only watch."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial

from .errors import ConfigError, Interrupted, PluginError
from .isolation import required
from .reading import Progress
from .snapshots import LOSS, Journal, exhausted
from .types import Snapshot

log = logging.getLogger(__name__)


def follows() -> bool:
    """Tell whether this process takes part in a training that another one leads, as `accelerate launch` has it."""
    return os.environ.get("RANK", "0") != "0"


def learn(
    what: str, snapshots: Iterator[Snapshot], journal: Journal, patience: int | None, progress: Progress
) -> None:
    """Take snapshots until they or the patience end; ``what`` names the trainer.

    Raises PluginError where nothing comes of it, and Interrupted if ``progress`` does.
    """
    with _ended(snapshots):
        while not journal.exhausted(patience):
            snapshot = _next(what, snapshots)
            if snapshot is None:
                break
            if snapshot.path is not None:
                required(partial(journal.add, snapshot, snapshot.path), what)
                log.info("step %d: %s", snapshot.step, dict(snapshot.metrics))
            try:
                progress("training", snapshot.step, snapshot.total or snapshot.step)
            except Interrupted:
                raise Interrupted(
                    f"stopped on a signal at step {snapshot.step}; the same command goes on from what is kept in "
                    f"{journal.folder}"
                ) from None
    if not journal.records:
        raise PluginError(f"{what} ended without a snapshot")
    if not journal.best.usable:
        raise PluginError(f"{what}: no validation loss was finite, so there is nothing to publish")
    if not (journal.folder / journal.best.path).is_dir():
        raise ConfigError(f"{journal.folder / journal.best.path} is gone; delete {journal.folder} to train anew")


def follow(what: str, snapshots: Iterator[Snapshot], losses: dict[int, float], patience: int | None) -> None:
    """Take snapshots and keep nothing, beside the process that leads.

    Both stop after the same snapshot, for they see the same losses; ``losses`` are those of an earlier start.
    """
    with _ended(snapshots):
        while not exhausted(losses, patience):
            snapshot = _next(what, snapshots)
            if snapshot is None:
                break
            if snapshot.path is not None and LOSS in snapshot.metrics:
                loss = snapshot.metrics[LOSS]
                losses[snapshot.step] = loss if math.isfinite(loss) else math.inf


def _next(what: str, snapshots: Iterator[Snapshot]) -> Snapshot | None:
    """Return the next snapshot, None after the last; raises PluginError where the trainer breaks its contract."""

    def taken() -> Snapshot | None:
        snapshot = next(snapshots, None)
        if not isinstance(snapshot, Snapshot | None):
            raise TypeError(f"yielded a {type(snapshot).__name__} where a Snapshot was expected")
        return snapshot

    return required(taken, what)


@contextmanager
def _ended(snapshots: Iterator[Snapshot]) -> Iterator[None]:
    """End the training on the way out: a generator is closed, another iterator has nothing to end."""
    try:
        yield
    finally:
        if isinstance(snapshots, Generator):
            snapshots.close()

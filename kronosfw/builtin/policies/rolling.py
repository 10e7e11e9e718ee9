"""The policy that trains by the calendar and guards what serves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .cadence import due
from .options import Rolling
from .versions import expired

if TYPE_CHECKING:
    import pandas as pd

    from ...types import Checkpoint, Entry, Trial, Verdict


class RollingPolicy:
    """See ``Rolling``. What needs numbers is imported where it is needed: a run only selects."""

    def __init__(self, options: Rolling) -> None:
        self._options = options
        shrinkage = options.guard.shrinkage
        self.shares: tuple[float, ...] = () if shrinkage is None else shrinkage.shares

    def due(self, history: Sequence[Entry], now: datetime) -> datetime | None:
        return due(self._options.cadence, history, now)

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        """Return the active one of the class, else the active pooled one."""
        active = [c for c in checkpoints if c.active and c.state == "ready"]
        own = [c for c in active if c.asset_class == asset_class]
        pooled = [c for c in active if c.asset_class is None]
        return max(own or pooled, key=lambda c: c.version, default=None)

    def share(self, scores: pd.DataFrame) -> float:
        from .shrinkage import choose

        return choose(scores)

    def admit(self, trial: Trial) -> Verdict:
        from .guard import admit

        return admit(self._options.guard, self._options.cadence, trial)

    def watch(self, scores: pd.DataFrame) -> Verdict | None:
        from .canary import watch

        return watch(self._options.guard.canary, scores)

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        return expired(checkpoints, self._options.keep)

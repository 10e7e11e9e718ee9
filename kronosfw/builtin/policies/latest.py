"""The policy without a guard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ...types import Check, Verdict
from .options import Latest
from .slots import ended, utc
from .versions import expired

if TYPE_CHECKING:
    import pandas as pd

    from ...types import Checkpoint, Entry, Trial


class LatestPolicy:
    """See ``Latest``."""

    shares: tuple[float, ...] = ()

    def __init__(self, options: Latest) -> None:
        self._options = options

    def due(self, history: Sequence[Entry], now: datetime) -> datetime | None:
        """Return midnight of today where nothing was ever trained, else a multiple of the days after the last."""
        now = utc(now)
        slots = ended(history)
        if not slots:
            return datetime(now.year, now.month, now.day, tzinfo=UTC)
        rounds = (now - max(slots)) // timedelta(self._options.every_days)
        return max(slots) + rounds * timedelta(self._options.every_days) if rounds > 0 else None

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        own = [c for c in checkpoints if c.asset_class == asset_class]
        pooled = [c for c in checkpoints if c.asset_class is None]
        return max(own or pooled, key=lambda c: c.version, default=None)

    def share(self, scores: pd.DataFrame) -> float:
        """Keep all that was trained."""
        return 1.0

    def admit(self, trial: Trial) -> Verdict:
        """Admit a candidate without faults whose scores are finite: this policy has no guard."""
        from .hard_stops import faults, finite

        checks = (faults(trial), finite(trial.scores))
        failed = tuple(check.text for check in checks if not check.passed)
        return Verdict(not failed, failed or ("the newest checkpoint serves",), checks)

    def watch(self, scores: pd.DataFrame) -> Verdict:
        """Trust what was admitted."""
        check = Check("canary", True, "this policy watches nothing")
        return Verdict(True, (check.text,), (check,))

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        return expired(checkpoints, self._options.keep)

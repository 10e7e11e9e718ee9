"""The built-in checkpoint policy: serve what was trained last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..interfaces import CheckpointPolicyConfig

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from ..types import Checkpoint, Verdict


class Latest(CheckpointPolicyConfig):
    """Serves the newest checkpoint of the asset class, else the newest pooled one; keeps the last few."""

    type: Literal["latest"] = "latest"
    keep: int = Field(6, ge=1, description="Checkpoints kept of each asset class; pooled ones are all kept.")
    every_days: int = Field(30, ge=1, description="Days between two trainings.")

    def build(self) -> LatestPolicy:
        return LatestPolicy(self)


class LatestPolicy:
    """See ``Latest``."""

    def __init__(self, options: Latest) -> None:
        self._options = options

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        own = [c for c in checkpoints if c.asset_class == asset_class]
        pooled = [c for c in checkpoints if c.asset_class is None]
        return max(own or pooled, key=lambda c: c.version, default=None)

    def admit(
        self,
        candidate: Checkpoint,
        incumbent: Checkpoint | None,
        base: Checkpoint | None,
        scores: pd.DataFrame,
    ) -> Verdict:
        """Admit a candidate whose scores are finite: this policy has no guard."""
        import numpy as np

        from ..types import Verdict

        crps = scores.loc[scores["version"] == candidate.version, "crps"].to_numpy(dtype=float)
        if not len(crps) or not np.isfinite(crps).all():
            return Verdict(False, ("the candidate has no scores, or some that are not finite",))
        return Verdict(True, ("the newest checkpoint serves",), {"crps": float(crps.mean())})

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        expired = []
        for name in sorted({c.asset_class for c in checkpoints if c.asset_class is not None}):
            own = sorted((c for c in checkpoints if c.asset_class == name), key=lambda c: c.version)
            expired += own[: -self._options.keep]
        return expired

    def due(self, history: Sequence[datetime], now: datetime) -> bool:
        return not history or (now - max(history)).days >= self._options.every_days

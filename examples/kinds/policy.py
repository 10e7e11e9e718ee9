"""A checkpoint policy: serve what scored best, admit what is no worse than what serves."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import CheckpointPolicy, CheckpointPolicyConfig
from kronosfw.types import Checkpoint, Verdict

if TYPE_CHECKING:
    import pandas as pd


class Best(CheckpointPolicyConfig):
    """Serves the checkpoint with the lowest loss."""

    type: Literal["best"] = "best"
    days: int = Field(7, ge=1, description="Days between two trainings.")

    def build(self) -> CheckpointPolicy:
        return BestPolicy(self.days)


class BestPolicy:
    def __init__(self, days: int) -> None:
        self._days = days

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        mine = [c for c in checkpoints if c.asset_class in (asset_class, None)]
        return min(mine, key=lambda c: (c.metrics.get("loss", float("inf")), c.version), default=None)

    def admit(
        self,
        candidate: Checkpoint,
        incumbent: Checkpoint | None,
        base: Checkpoint | None,
        scores: "pd.DataFrame",
    ) -> Verdict:
        crps = scores.groupby("version")["crps"].mean()
        new = float(crps.get(candidate.version, float("nan")))
        old = float(crps.get(incumbent.version, new)) if incumbent else new
        return Verdict(new <= old, (f"CRPS {new:.4%} against {old:.4%}",), {"candidate": new, "incumbent": old})

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        rolling = [c for c in checkpoints if c.asset_class is not None]
        served = [self.select(name, checkpoints) for name in sorted({c.asset_class or "" for c in rolling})]
        return [c for c in rolling if c not in served]

    def due(self, history: Sequence[datetime], now: datetime) -> bool:
        return not history or (now - max(history)).days >= self._days


@hookimpl
def register_checkpoint_policies() -> Sequence[type[CheckpointPolicyConfig]]:
    return [Best]

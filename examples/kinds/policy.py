"""A checkpoint policy: admit what is no worse than what serves, and take it back if that turns out wrong."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import CheckpointPolicy, CheckpointPolicyConfig
from kronosfw.types import Check, Checkpoint, Entry, Trial, Verdict

if TYPE_CHECKING:
    import pandas as pd


class Best(CheckpointPolicyConfig):
    """Serves what was promoted last, as long as it scores no worse than what served before."""

    type: Literal["best"] = "best"
    days: int = Field(7, ge=1, description="Days between two trainings.")
    watched: int = Field(20, ge=1, description="Cutoffs after a promotion that settle whether it stays.")

    def build(self) -> CheckpointPolicy:
        return BestPolicy(self)


class BestPolicy:
    shares: Sequence[float] = (0.5, 1.0)

    def __init__(self, options: Best) -> None:
        self._options = options

    def due(self, history: Sequence[Entry], now: datetime) -> datetime | None:
        ended = [entry.slot or entry.at for entry in history if entry.retrained]
        if not ended:
            return now.replace(hour=0, minute=0, second=0, microsecond=0)
        rounds = (now - max(ended)).days // self._options.days
        return max(ended) + rounds * timedelta(self._options.days) if rounds > 0 else None

    def select(self, asset_class: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
        mine = [c for c in checkpoints if c.asset_class in (asset_class, None)]
        return max(mine, key=lambda c: (c.active, c.asset_class is not None, c.version), default=None)

    def share(self, scores: "pd.DataFrame") -> float:
        return float(scores.groupby("share")["crps"].mean().idxmin())

    def admit(self, trial: Trial) -> Verdict:
        check = no_worse(trial.scores, "candidate", "incumbent")
        accepted = check.passed and not trial.faults
        return Verdict(accepted, (*trial.faults, check.text), (check,))

    def watch(self, scores: "pd.DataFrame") -> Verdict | None:
        if scores["as_of"].nunique() < self._options.watched:
            return None
        check = no_worse(scores, "serving", "previous")
        return Verdict(check.passed, (check.text,), (check,))

    def expire(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        rolling = [c for c in checkpoints if c.asset_class is not None]
        served = [self.select(name, checkpoints) for name in {c.asset_class or "" for c in rolling}]
        return [c for c in rolling if c not in served]


def no_worse(scores: "pd.DataFrame", arm: str, reference: str) -> Check:
    """Check that an arm's CRPS is finite and at most that of another."""
    new, old = (float(scores.loc[scores["arm"] == name, "crps"].to_numpy().mean()) for name in (arm, reference))
    passed = math.isfinite(new) and new <= old
    return Check("crps", passed, f"CRPS {new:.4%} against {old:.4%}", value=new, limit=old)


@hookimpl
def register_checkpoint_policies() -> Sequence[type[CheckpointPolicyConfig]]:
    return [Best]

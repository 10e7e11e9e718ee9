"""What came of a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..errors import DONE, PARTIAL, CheckpointRejected, Interrupted
from ..reading import Failure
from ..training import TrainReport
from ..types import Verdict

Ending = Literal["not due", "due", "promoted", "kept", "rejected", "failed", "busy"]
"""Kept: what was learned does not show, so what serves stays."""


@dataclass(frozen=True)
class Outcome:
    """What became of one asset class."""

    asset_class: str
    ending: Ending
    reason: str
    """A sentence."""
    slot: datetime | None = None
    """The moment at which the retraining was due and its data end, UTC."""
    version: str = ""
    serves: str = ""
    """The version that serves from now on; empty for the forecaster's own weights."""
    verdict: Verdict | None = None
    watched: Verdict | None = None
    """What the canary said of the promotion before; None where it said nothing."""
    trouble: tuple[str, ...] = ()
    """What was found damaged or could not be done beside the retraining, in sentences."""
    failures: tuple[Failure, ...] = ()
    """The symbols that could not be learned from or judged by."""
    deleted: tuple[str, ...] = ()
    training: TrainReport | None = None
    seconds: float = 0.0

    @property
    def rolled_back(self) -> bool:
        """Whether the promotion before was taken back."""
        return self.watched is not None and not self.watched.accepted


@dataclass(frozen=True)
class RetrainReport:
    """What became of all of them."""

    classes: tuple[Outcome, ...]
    now: datetime
    seconds: float
    damaged: tuple[str, ...] = ()
    """What was found damaged among the pooled checkpoints, in sentences."""

    @property
    def exit_code(self) -> int:
        """4 where a checkpoint was rejected or rolled back, 3 where something failed, 75 where one is at work."""
        endings = {outcome.ending for outcome in self.classes}
        if "rejected" in endings or any(outcome.rolled_back for outcome in self.classes):
            return CheckpointRejected.exit_code
        partly = any(outcome.trouble or outcome.failures for outcome in self.classes)
        if "failed" in endings or self.damaged or partly:
            return PARTIAL
        return Interrupted.exit_code if "busy" in endings else DONE

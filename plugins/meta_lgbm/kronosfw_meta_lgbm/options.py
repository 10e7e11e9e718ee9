"""Options of the ensemblers ``meta_lgbm`` and ``direction_lgbm``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kronosfw.interfaces import EnsemblerConfig

if TYPE_CHECKING:
    from kronosfw.interfaces import Ensembler

CHANNELS = (
    "is_fomc",
    "is_cpi",
    "is_nfp",
    "is_rate_decision",
    "days_to_fomc_sin",
    "days_to_cpi_sin",
    "vix_level_z",
)


class Boosted(EnsemblerConfig):
    """What both have in common: the features, the trees, and when they are trained."""

    channels: tuple[str, ...] = Field(
        CHANNELS, description="Channels of the encoders that are features, where there are such."
    )
    recent_days: int = Field(
        60, ge=1, description="Days before a cutoff whose outcomes tell how well each member has done of late."
    )
    least: int = Field(
        4000,
        ge=100,
        description="Scored predictions (symbol, cutoff, step) from which an asset class learns by itself; below, "
        "with all classes together, and nothing is learned with fewer in all.",
    )
    refit_days: float = Field(30, gt=0, description="Days from one training to the next.")
    rounds: int = Field(40, ge=0, description="Most rounds of boosting; how many it takes is found by validation.")
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each tree's step that is taken.")
    leaves: int = Field(15, ge=2, le=255, description="Most leaves of a tree.")
    leaf_rows: int = Field(200, ge=1, description="Fewest scored predictions in a leaf.")
    folds: int = Field(4, ge=1, le=20, description="Spans of time, one after the other, that validate.")

    @property
    def digest(self) -> str:
        """Fingerprint of all that what is learned depends on."""
        kept = self.model_dump_json(exclude={"name", "refit_days", "threshold"})
        return hashlib.sha256(kept.encode()).hexdigest()


class MetaLgbm(Boosted):
    """The mean of the members with weights for each symbol and step, by LightGBM: regime, events, record."""

    type: Literal["meta_lgbm"] = "meta_lgbm"

    def build(self) -> Ensembler:
        from .meta import MetaLearner

        return MetaLearner(self)


class DirectionLgbm(Boosted):
    """One member for each symbol and step: the one that leans most to the side LightGBM expects, or the widest."""

    type: Literal["direction_lgbm"] = "direction_lgbm"
    threshold: float = Field(
        0.55, ge=0.5, lt=1, description="Probability of a side from which it is expected; below, the widest serves."
    )

    def build(self) -> Ensembler:
        from .direction import DirectionLearner

        return DirectionLearner(self)

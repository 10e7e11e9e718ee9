"""Options of the trainer ``chronos2_lora``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from kronosfw.errors import ConfigError
from kronosfw.interfaces import TrainerConfig

from .options import BaseModelOptions, require_package

if TYPE_CHECKING:
    from .lora_trainer import Chronos2LoraTrainer


class Again(BaseModel):
    """How a training differs that starts from an earlier checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(100, ge=1, description="Steps in all.")
    learning_rate: float = Field(5e-6, gt=0, description="Learning rate of the first step.")


class Chronos2Lora(BaseModelOptions, TrainerConfig):
    """Fine-tunes Chronos-2 with its package's own `fit`: low-rank adapters, the base frozen."""

    forecaster: ClassVar[str] = "chronos2"

    type: Literal["chronos2_lora"] = "chronos2_lora"
    rank: int = Field(8, ge=1, le=256, description="Rank of the adapters.")
    alpha: int = Field(16, ge=1, description="Scale of the adapters, over their rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of an adapter's inputs dropped in training.")
    steps: int = Field(200, ge=1, description="Steps in all, in a first training.")
    learning_rate: float = Field(
        1e-5, gt=0, description="Learning rate of the first step of a first training; it falls to zero on a line."
    )
    again: Again = Field(Again(), description="The same for a training that starts from an earlier checkpoint.")
    batch: int = Field(32, ge=1, description="Examples a step, drawn with replacement.")
    evaluate_every: int = Field(
        50,
        ge=1,
        description="Steps from one evaluation to the next, after which a training that is stopped goes on.",
    )
    validate_with: int = Field(
        256, ge=1, description="Examples, at most, that an evaluation takes, evenly spread over those there are."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto, cpu or cuda, the first GPU. On a CPU the weights are the same to the last bit.",
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of the CPU, for the whole process; torch's own choice unless given."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Another seed is another training.")

    def inputs(self) -> Mapping[str, str]:
        require_package()
        from .adapter import fingerprints
        from .sources import locate

        return fingerprints(locate(self))

    def build(self) -> Chronos2LoraTrainer:
        require_package()
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError("chronos2_lora trains in one process: start it without accelerate launch")
        if find_spec("peft") is None:
            raise ConfigError("chronos2_lora needs the package peft; run: pip install 'kronosfw-chronos2[train]'")
        from .lora_trainer import Chronos2LoraTrainer

        return Chronos2LoraTrainer(self)

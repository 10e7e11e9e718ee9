"""Options of the trainer ``kronos_lora``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kronosfw.errors import ConfigError
from kronosfw.interfaces import TrainerConfig

from .options import BaseWeights
from .pretrain_options import Phase, Section

if TYPE_CHECKING:
    from .lora_trainer import KronosLoraTrainer

Layer = Literal["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"]
NEEDED = "accelerate", "peft", "tensorboard"


class Again(Section):
    """How a training differs that starts from an earlier checkpoint."""

    epochs: float = Field(5, gt=0, description="Times that each example is seen on average.")
    learning_rate: float = Field(5e-5, gt=0, description="Highest learning rate.")


class KronosLora(BaseWeights, TrainerConfig):
    """Teaches a Kronos model about events: low-rank adapters and an event embedding, the base frozen."""

    forecaster: ClassVar[str] = "kronos_event"

    type: Literal["kronos_lora"] = "kronos_lora"
    tune: Literal["lora", "full"] = Field(
        "lora", description="What is trained beside the event embedding: low-rank adapters, or all of the model."
    )
    tokenizer_training: Phase = Field(
        Phase(steps=0), description="A training of the tokenizer before; `steps: 0` keeps it. Wants `tune: full`."
    )
    rank: int = Field(8, ge=1, le=256, description="Rank of the adapters.")
    alpha: float = Field(16, gt=0, description="Scale of the adapters, over their rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Share of an adapter's inputs dropped in training.")
    targets: tuple[Layer, ...] = Field(
        ("q_proj", "v_proj"), min_length=1, description="Linear layers of each block that get an adapter."
    )
    epochs: float = Field(15, gt=0, description="Times that each example is seen on average, in a first training.")
    learning_rate: float = Field(1e-4, gt=0, description="Highest learning rate of a first training.")
    embedding_speed: float = Field(
        1.0, gt=0, description="Factor on the learning rate of the event embedding, which starts from nothing."
    )
    again: Again = Field(Again(), description="The same for a training that starts from an earlier checkpoint.")
    batch: int = Field(32, ge=1, description="Windows a step, over all devices.")
    warmup: int = Field(
        100,
        ge=0,
        description="Steps over which the learning rate rises, at most a fifth of all; a cosine follows.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    accumulate: int = Field(1, ge=1, description="Parts into which a batch is cut to fit memory.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the training; bfloat16 is for GPUs and large models."
    )
    prefix: tuple[float, float] = Field(
        (0.5, 1.0),
        description="Share of the context that normalises a training window, drawn between these two for each; the "
        "loss is taken on all that comes after it.",
    )
    oversample: float = Field(
        3.0, gt=0, description="How much likelier an example is drawn that has an event in its horizon."
    )
    marks: tuple[str, ...] | None = Field(
        None, description="Channels that mark the bar of an event; unless given, those named is_…."
    )
    announces: tuple[str, ...] | None = Field(
        None, description="Channels that mark the bar before one; unless given, those named next_…."
    )
    initial: Literal["zero", "xavier"] = Field(
        "zero", description="Weights of the event embedding before training: zero starts exactly at the base model."
    )
    output: int = Field(
        0,
        ge=0,
        le=100,
        description="Bars before a target whose channels, with those of the target that are known ahead, reach its "
        "logits by a second path, which favours high, wide, rising or much traded candles; 0 leaves it out.",
    )
    gate: int | None = Field(
        None,
        ge=0,
        description="Open embedding and adapters only from the bar before an event until so many bars after it: a "
        "window without an event is then exactly the base model.",
    )
    masking: float = Field(
        0.0, ge=0, le=1, description="Share of windows that show no release or leader after a random bar."
    )
    group_dropout: float = Field(0.0, ge=0, lt=1, description="Share of windows shown without a group of channels.")
    evaluate_every: int | None = Field(
        None, ge=1, description="Steps from one evaluation to the next; an epoch unless given."
    )
    validate_with: int = Field(
        1024, ge=1, description="Examples, at most, that an evaluation takes, evenly spread over those there are."
    )
    tensorboard: bool = Field(True, description="Write the losses for TensorBoard as well.")
    seed: int = Field(0, ge=0, lt=2**31, description="Another seed is another training.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        least, most = self.prefix
        if not 0 < least <= most <= 1:
            raise ValueError(f"`prefix` must rise and lie between 0 and 1, not {self.prefix}")
        if self.gate is not None and self.tune == "full":
            raise ValueError("a `gate` shuts adapters, and `tune: full` has none: leave one of them out")
        if self.tokenizer_training.steps and self.tune == "lora":
            raise ValueError("another tokenizer makes other tokens, which the model must learn: say `tune: full`")
        return self

    def inputs(self) -> Mapping[str, str]:
        from .sources import fingerprints, source

        return fingerprints(source(self))

    def build(self) -> KronosLoraTrainer:
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise ConfigError(
                f"kronos_lora needs {', '.join(missing)}; run: pip install 'kronosfw-kronos-event[train]'"
            )
        from .lora_trainer import KronosLoraTrainer

        return KronosLoraTrainer(self)

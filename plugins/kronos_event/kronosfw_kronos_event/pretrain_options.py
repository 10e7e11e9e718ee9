"""Options of the trainer ``kronos_pretrain``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kronosfw.errors import ConfigError
from kronosfw.interfaces import TrainerConfig

if TYPE_CHECKING:
    from .pretrainer import KronosPretrainer


class Section(BaseModel):
    """A part of the options."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerSizes(Section):
    """Sizes of a new tokenizer."""

    d_model: int = Field(64, ge=8, description="Width.")
    n_heads: int = Field(4, ge=1, description="Attention heads.")
    ff_dim: int = Field(192, ge=8, description="Width of the feed-forward layers.")
    blocks: int = Field(2, ge=1, description="Transformer blocks of the encoder, and as many of the decoder.")
    group_size: int = Field(
        5, ge=1, description="Kept in the file for the published code; has no other effect here."
    )


class ModelSizes(Section):
    """Sizes of a new model."""

    d_model: int = Field(128, ge=8, description="Width.")
    n_heads: int = Field(4, ge=1, description="Attention heads.")
    ff_dim: int = Field(384, ge=8, description="Width of the feed-forward layers.")
    n_layers: int = Field(4, ge=1, description="Transformer blocks.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share dropped after attention and feed-forward layers.")
    token_dropout: float = Field(0.0, ge=0, lt=1, description="Share of the embedding dropped.")


class Phase(Section):
    """One of the two trainings."""

    steps: int = Field(2000, ge=0, description="Steps of the optimizer; 0 keeps a tokenizer as it is.")
    batch: int = Field(32, ge=1, description="Training windows a step, over all devices.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate.")
    warmup: int = Field(100, ge=0, description="Steps over which the learning rate rises to it.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    accumulate: int = Field(1, ge=1, description="Parts into which a batch is cut to fit memory.")
    evaluate_every: int = Field(
        200, ge=1, description="Steps from one evaluation, and state kept on disk, to the next."
    )


class KronosPretrain(TrainerConfig):
    """Trains a Kronos tokenizer, then a model, from scratch or from an earlier snapshot, whose sizes then count."""

    forecaster: ClassVar[str] = "kronos_event"
    type: Literal["kronos_pretrain"] = "kronos_pretrain"
    s1_bits: int = Field(10, ge=1, le=16, description="Bits of the coarse half of a token.")
    s2_bits: int = Field(10, ge=1, le=16, description="Bits of the fine half of a token.")
    tokenizer: TokenizerSizes = Field(TokenizerSizes(), description="Sizes of the tokenizer.")
    model: ModelSizes = Field(ModelSizes(), description="Sizes of the model.")
    tokenizer_training: Phase = Field(Phase(), description="How the tokenizer is trained.")
    model_training: Phase = Field(Phase(), description="How the model is trained.")
    window: int = Field(128, ge=4, le=4096, description="Bars of a training window.")
    prefix: tuple[int, int] = Field(
        (32, 112),
        description="Fewest and most bars at the start of a window that normalise it; what comes after is learned.",
    )
    mirror: float = Field(0.5, ge=0, le=1, description="Share of windows shown with prices upside down.")
    no_volume: float = Field(0.5, ge=0, le=1, description="Share of windows shown without volume.")
    fine: float = Field(
        0.3, ge=0, description="Weight of the tokenizer's errors in units of a bar's move; 0 is the published loss."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the training; bfloat16 is for GPUs and large models."
    )
    compile: bool = Field(
        False, description="Fuse operations with torch.compile: about twice as fast, needs a C++ compiler."
    )
    save_as: Literal["float32", "bfloat16"] = Field("float32", description="Type in which weights are saved.")
    seed: int = Field(0, ge=0, lt=2**31, description="Another seed is another training.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.model_training.steps:
            raise ValueError("`model_training.steps` must be at least 1")
        least, most = self.prefix
        if not 2 <= least <= most < self.window:
            raise ValueError(
                f"`prefix` must rise and lie between 2 and `window` ({self.window}), not {self.prefix}"
            )
        for name, sizes in (("tokenizer", self.tokenizer), ("model", self.model)):
            if sizes.d_model % (2 * sizes.n_heads):
                raise ValueError(f"`{name}.d_model` must be a multiple of twice `{name}.n_heads`")
        if self.model.d_model % 8:
            raise ValueError("`model.d_model` must be a multiple of 8: the layer between s1 and s2 has four heads")
        return self

    def build(self) -> KronosPretrainer:
        if find_spec("accelerate") is None:
            raise ConfigError(
                "kronos_pretrain needs the package accelerate; run: pip install 'kronosfw-kronos-event[train]'"
            )
        from .pretrainer import KronosPretrainer

        return KronosPretrainer(self)

"""Options of the forecaster ``kronos_event``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, Field

from kronosfw.interfaces import ForecasterConfig, Weights
from kronosfw.options import Device, ModelSource

if TYPE_CHECKING:
    from .forecaster import KronosForecaster


class BaseWeights(BaseModel):
    """Which weights are meant: options of the forecaster and of the trainer alike."""

    model: ModelSource = Field(
        "kronos-nano",
        description="`kronos-nano`, which comes with this plugin, a hub id such as NeoQuasar/Kronos-base, or a "
        "folder: with config.json and model.safetensors, or with `model` and `tokenizer` folders in it.",
    )
    revision: str | None = Field(
        None,
        description="Commit, tag or branch on the hub; for published models the one this code is for.",
    )
    tokenizer: ModelSource | None = Field(
        None, description="Hub id or folder of the tokenizer; that of the model unless given."
    )
    tokenizer_revision: str | None = Field(None, description="As `revision`, for the tokenizer.")
    max_context: int | None = Field(
        None,
        ge=4,
        le=4096,
        description="Positions the model was trained for; known for published models and snapshots, else 512.",
    )
    rotary_dependency: bool | None = Field(
        None,
        description="Rotate positions in the layer between the halves of a token. Unless given, as the weights are "
        "meant: published ones are trained with it and generate without, those of `kronos_pretrain` keep it.",
    )


class KronosEvent(BaseWeights, ForecasterConfig):
    """Kronos: candles as tokens, paths drawn from a transformer, which may have learned about events."""

    weights: ClassVar[Weights | None] = Weights(
        licence="MIT (kronos-nano: Apache-2.0)",
        trained_until="2024-06-30 (kronos-nano: 2022-06-30)",
        max_context=2048,
        max_horizon=2047,
    )

    type: Literal["kronos_event"] = "kronos_event"
    samples: int = Field(30, ge=2, le=100_000, description="Number of paths.")
    keep_samples: bool = Field(False, description="Keep the paths in the forecast.")
    sampling: Literal["rqmc", "independent"] = Field(
        "rqmc",
        description="How paths are drawn: `rqmc` spreads them evenly over what is likely, so that fewer do; "
        "`independent` draws each by itself.",
    )
    temperature: float = Field(
        1.0, gt=0, le=10, description="Below 1 the likely becomes likelier, and the envelope too narrow."
    )
    top_k: int = Field(0, ge=0, description="Draw from this many of the likeliest tokens; 0 from all, 1 is greedy.")
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Then draw from the fewest whose share reaches this; below 1 the envelope is too narrow.",
    )
    anchor: bool = Field(
        True,
        description="Shift the paths to start at the last close instead of what the tokenizer makes of it.",
    )
    repair: bool = Field(True, description="Make impossible candles possible: high below close and the like.")
    sliding: Literal["shorten", "exact", "chunked"] = Field(
        "shorten",
        description="What gives where context and horizon pass the model's positions: the context is shortened; "
        "`exact` drops the oldest bar at each step, as published, slowly; `chunked` drops many at once.",
    )
    chunk: int = Field(64, ge=1, description="Bars that `chunked` drops at once.")
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:1.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Numbers the model computes in; auto is bfloat16 on a GPU and float32 on a CPU. "
        "The tokenizer always computes in float32.",
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of the CPU, for the whole process; torch's own choice unless given."
    )
    memory: int | None = Field(
        None,
        ge=1,
        description="MiB that one batch may take; unless given, half of a GPU's memory, and 256 on a CPU.",
    )

    seed: int = Field(0, ge=0, description="Another seed draws other paths; the run's own seed counts besides.")

    @property
    def weights_used(self) -> Weights | None:
        licence, until = "that of the model in the folder or on the hub", "undisclosed"
        if self.model == "kronos-nano":
            licence, until = "Apache-2.0", "2022-06-30"
        elif self.model.startswith("NeoQuasar/"):
            licence, until = "MIT", "2024-06-30"
        return Weights(licence=licence, trained_until=until, max_context=2048, max_horizon=2047)

    def build(self) -> KronosForecaster:
        from .forecaster import KronosForecaster

        return KronosForecaster(self)

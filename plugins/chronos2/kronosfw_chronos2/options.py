"""Options of the forecaster ``chronos2``, and those that it shares with the trainer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, Field

from kronosfw.errors import ConfigError
from kronosfw.interfaces import ForecasterConfig, Weights
from kronosfw.options import Device, ModelSource

if TYPE_CHECKING:
    from .forecaster import Chronos2Forecaster


def require_package() -> None:
    """Raise ConfigError where the model's package is not installed."""
    if find_spec("chronos") is None:
        raise ConfigError("chronos2 needs the package chronos-forecasting; run: pip install kronosfw-chronos2")


class BaseModelOptions(BaseModel):
    """Which weights are meant and what of a window is shown to them: the same for forecaster and trainer."""

    model: ModelSource = Field(
        "amazon/chronos-2",
        description="Hub id (amazon/chronos-2, amazon/chronos-2-small), or a folder with config.json and "
        "model.safetensors, or one with a LoRA adapter.",
    )
    revision: str | None = Field(
        None, min_length=1, description="Commit, tag or branch on the hub; `main` unless given."
    )
    targets: Literal["close", "ohlc"] = Field(
        "close", description="What is forecast: the close alone, or open, high, low and close together."
    )
    past_covariates: bool | tuple[str, ...] = Field(
        True,
        description="Channels whose past alone is shown: volume, range (high less low over the close) and the "
        "encoders' channels that are not known ahead. All, none, or those named.",
    )
    known_covariates: bool | tuple[str, ...] = Field(
        True, description="Channels of the encoders that are known ahead: all, none, or those named."
    )


class Chronos2(BaseModelOptions, ForecasterConfig):
    """Chronos-2: a pretrained model of many series, which sees covariates of past and future."""

    weights: ClassVar[Weights | None] = Weights(licence="Apache-2.0", max_context=8192, max_horizon=1024)

    type: Literal["chronos2"] = "chronos2"
    group_by: Literal["none", "asset_class"] = Field(
        "none",
        description="`asset_class` lets the windows of an asset class in a call inform one another: a forecast "
        "depends on what is asked for beside it; with `none` it does not.",
    )
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:1.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Numbers the model computes in.")
    threads: int | None = Field(
        None, ge=1, description="Threads of the CPU, for the whole process; torch's own choice unless given."
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="Windows computed at once, at most. With 1 a forecast is the same to the last bit whatever is "
        "asked for beside it; more take less time and agree in the first six digits.",
    )
    memory: int | None = Field(
        None,
        ge=1,
        description="MiB that one batch may take; unless given, half of a GPU's memory, and 1024 on a CPU.",
    )

    def build(self) -> Chronos2Forecaster:
        require_package()
        from .forecaster import Chronos2Forecaster

        return Chronos2Forecaster(self)

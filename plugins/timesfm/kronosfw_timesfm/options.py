"""Options of the forecaster ``timesfm``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kronosfw.errors import ConfigError
from kronosfw.interfaces import ForecasterConfig, Weights
from kronosfw.options import Device, ModelSource

if TYPE_CHECKING:
    from .forecaster import TimesFmForecaster

HUB = {"2.5": "google/timesfm-2.5-200m-pytorch", "3.0": "google/timesfm-3.0-pytorch"}
"""Hub id of the published weights of each version."""

NON_COMMERCIAL = "timesfm-non-commercial-license-v1.0"

WEIGHTS = {
    "2.5": Weights(licence="Apache-2.0", max_context=16_256, max_horizon=1024),
    "3.0": Weights(licence=f"{NON_COMMERCIAL} (no commercial or production use)", max_context=15_360),
}
"""What holds for them. 2.5 has 16,384 positions for context and horizon, the latter in whole steps of 128."""


def require(packages: tuple[str, ...], what: str, command: str) -> None:
    """Raise ConfigError with the command that helps, unless all packages are installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"{what} needs {' and '.join(missing)}; run: {command}")


class TimesFm(ForecasterConfig):
    """TimesFM: a pretrained model of single series (2.5), or of a series and its covariates (3.0)."""

    weights: ClassVar[Weights | None] = Weights(
        licence=f"Apache-2.0 (3.0: {NON_COMMERCIAL})", max_context=16_256, max_horizon=1024
    )

    type: Literal["timesfm"] = "timesfm"
    version: Literal["2.5", "3.0"] = Field("2.5", description="Version of the model; 3.0 needs `accept_license`.")
    model: ModelSource | None = Field(
        None, description="Hub id, or a folder with the weights; the published ones of the version unless given."
    )
    revision: str | None = Field(None, min_length=1, description="Commit, tag or branch on the hub.")
    accept_license: bool = Field(
        False,
        description="Whether you accept the licence of 3.0's weights: no commercial or production use.",
    )
    symmetric: bool = Field(
        True, description="Forecast the series turned upside down as well and take the mean: twice the time."
    )
    past_covariates: bool | tuple[str, ...] = Field(
        True,
        description="Channels of the encoders, not known ahead, that 3.0 sees: all, none, or those named.",
    )
    known_covariates: bool | tuple[str, ...] = Field(
        True,
        description="Channels of the encoders, known ahead, that 3.0, or 2.5 with `xreg`, sees: all, none, or "
        "those named.",
    )
    xreg: bool = Field(
        False,
        description="With 2.5: fit a ridge regression on the known covariates and forecast what it leaves over.",
    )
    ridge: float = Field(1.0, gt=0, description="Penalty of that regression, on covariates scaled to variance 1.")
    batch: int = Field(16, ge=1, description="Series, and with 3.0 covariates, that are forecast at once.")
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:1.")
    threads: int | None = Field(
        None, ge=1, description="Threads of the CPU, for the whole process; torch's own choice unless given."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.version == "3.0" and not self.accept_license:
            raise ValueError(
                f"the weights of TimesFM 3.0 are for non-commercial use alone ({NON_COMMERCIAL}), and not for "
                "production; if that suits you say `accept_license: true`, else use version 2.5 (Apache-2.0)"
            )
        if self.version == "3.0" and self.xreg:
            raise ValueError("`xreg` is for version 2.5: 3.0 sees covariates by itself")
        if self.version == "2.5" and not isinstance(self.past_covariates, bool):
            raise ValueError("`past_covariates` are for version 3.0: 2.5 sees none")
        if self.version == "2.5" and not self.xreg and not isinstance(self.known_covariates, bool):
            raise ValueError("`known_covariates` are for version 3.0, or for 2.5 with `xreg: true`")
        return self

    @property
    def source(self) -> str:
        """Hub id or folder of the weights."""
        return self.model or HUB[self.version]

    @property
    def weights_used(self) -> Weights | None:
        published = WEIGHTS[self.version]
        if self.source == HUB[self.version]:
            return published
        return published.model_copy(update={"licence": "that of the model in the folder or on the hub"})

    def build(self) -> TimesFmForecaster:
        require(("timesfm", "timesfm3", "torch"), "timesfm", "pip install kronosfw-timesfm")
        if self.xreg:
            require(("jax", "sklearn"), "`xreg`", "pip install 'kronosfw-timesfm[xreg]'")
        from .forecaster import TimesFmForecaster

        return TimesFmForecaster(self)

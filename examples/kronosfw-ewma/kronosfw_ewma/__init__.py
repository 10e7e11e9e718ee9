"""Exponentially weighted volatility for kronosfw."""

from typing import Literal

from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import Forecaster, ForecasterConfig


class Ewma(ForecasterConfig):
    """A random walk whose volatility forgets exponentially."""

    type: Literal["ewma"] = "ewma"
    decay: float = Field(0.94, gt=0, lt=1, description="Weight of a return relative to the next one.")

    def build(self) -> Forecaster:
        from .forecaster import EwmaForecaster

        return EwmaForecaster(self.decay)


@hookimpl
def register_forecasters() -> list[type[ForecasterConfig]]:
    return [Ewma]

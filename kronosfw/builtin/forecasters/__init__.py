"""Options of the built-in forecasters: baselines that any larger model has to beat.

All work on the logarithm of the close. They raise ValueError, in one sentence, for a window whose history is
too short or holds a price that is not a positive number; a history that never moves gives an envelope of zero
width at its last price, except from ``garch``, which refuses it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...errors import ConfigError
from ...interfaces import ForecasterConfig

if TYPE_CHECKING:
    from ...interfaces import Forecaster

__all__ = ["Bootstrap", "Drift", "Garch", "Har", "RandomWalk", "SeasonalNaive", "StatsForecast"]


class RandomWalk(ForecasterConfig):
    """The last close, with an envelope as wide as recent volatility times the root of the step."""

    type: Literal["random_walk"] = "random_walk"
    window: int = Field(20, ge=2, description="Number of returns the volatility is taken from.")
    decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Weight of a return relative to the next one, such as 0.94. Volatility then comes from the "
        "whole context, and `window` is the fewest returns it takes.",
    )
    df: float | None = Field(
        None, gt=2, description="Degrees of freedom of Student's t, scaled to unit variance; normal unless given."
    )

    def build(self) -> Forecaster:
        from .random_walk import RandomWalkForecaster

        return RandomWalkForecaster(self)


class SeasonalNaive(ForecasterConfig):
    """The close one season ago, with an envelope from how far seasons lay apart."""

    type: Literal["seasonal_naive"] = "seasonal_naive"
    season: int | None = Field(
        None,
        ge=1,
        description="Bars in a season. Unless given: the weekdays that trade for daily bars (5, or 7 around the "
        "clock), the bars of a full session for shorter ones.",
    )

    def build(self) -> Forecaster:
        from .seasonal_naive import SeasonalNaiveForecaster

        return SeasonalNaiveForecaster(self)


class Drift(ForecasterConfig):
    """The line from the first close of the context to the last, continued."""

    type: Literal["drift"] = "drift"

    def build(self) -> Forecaster:
        from .drift import DriftForecaster

        return DriftForecaster()


class Bootstrap(ForecasterConfig):
    """Paths put together from past returns, rescaled to the present volatility."""

    type: Literal["bootstrap"] = "bootstrap"
    samples: int = Field(1000, ge=10, le=1_000_000, description="Number of paths.")
    block: int = Field(1, ge=1, description="Consecutive returns drawn together; 1 draws each by itself.")
    rescale: bool = Field(
        True, description="Divide each return by the volatility of its day and multiply it by the present one."
    )
    decay: float = Field(
        0.94, gt=0, lt=1, description="Weight of a return relative to the next one in that volatility."
    )
    keep_samples: bool = Field(False, description="Keep the paths in the forecast.")

    def build(self) -> Forecaster:
        from .bootstrap import BootstrapForecaster

        return BootstrapForecaster(self)


class Har(ForecasterConfig):
    """Volatility from the ranges of the last day, week and month of bars (HAR), with Student's t."""

    type: Literal["har"] = "har"
    context: int | None = Field(
        1000, ge=2, description="Bars of context for this model; the file's `context` where null."
    )
    df: float = Field(6, gt=2, description="Degrees of freedom of Student's t, scaled to unit variance.")

    def build(self) -> Forecaster:
        from .har import HarForecaster

        return HarForecaster(self)


class Garch(ForecasterConfig):
    """Volatility from a GJR-GARCH(1,1) with Student's t, fitted to each window."""

    type: Literal["garch"] = "garch"
    context: int | None = Field(
        1500, ge=2, description="Bars of context for this model; the file's `context` where null."
    )
    drift: bool = Field(
        False, description="Centre the envelope on the fitted mean return instead of the last close."
    )

    def build(self) -> Forecaster:
        _require("arch", self.type)
        from .garch import GarchForecaster

        return GarchForecaster(self)


class StatsForecast(ForecasterConfig):
    """A classical model of the package statsforecast, chosen and fitted for each window."""

    type: Literal["statsforecast"] = "statsforecast"
    model: Literal["auto_ets", "auto_arima", "theta"] = Field("auto_ets", description="Which of its models.")

    def build(self) -> Forecaster:
        _require("statsforecast", self.type)
        from .statistical import StatsForecaster

        return StatsForecaster(self)


def _require(package: str, type_: str) -> None:
    """Raise ConfigError if the optional package of a forecaster, whose extra has the type's name, is missing."""
    if find_spec(package) is None:
        raise ConfigError(f"the {type_} forecaster needs the package {package}: pip install 'kronosfw[{type_}]'")

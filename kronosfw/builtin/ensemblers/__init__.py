"""Options of the built-in ensemblers: plain combinations, and hard ones to beat.

They combine the columns that all members forecast, learn nothing, and put each member's weight into the
forecast's ``event_context``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ...interfaces import EnsemblerConfig

if TYPE_CHECKING:
    from ...interfaces import Ensembler

__all__ = ["LinearPool", "Mean", "Median"]

Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
_WEIGHTS = "Weight of each member by its name, equal unless given. What failed members leave goes to the others."


class Mean(EnsemblerConfig):
    """The weighted mean of the members, quantile by quantile."""

    type: Literal["mean"] = "mean"
    weights: Weights | None = Field(None, min_length=1, description=_WEIGHTS)

    def build(self) -> Ensembler:
        from .quantilewise import QuantileMean

        return QuantileMean(self)


class Median(EnsemblerConfig):
    """The median of the members, quantile by quantile."""

    type: Literal["median"] = "median"

    def build(self) -> Ensembler:
        from .quantilewise import QuantileMedian

        return QuantileMedian()


class LinearPool(EnsemblerConfig):
    """The mixture of the members' distributions: wider than any mean of quantiles when members disagree."""

    type: Literal["linear_pool"] = "linear_pool"
    weights: Weights | None = Field(None, min_length=1, description=_WEIGHTS)

    def build(self) -> Ensembler:
        from .linear_pool import MixturePool

        return MixturePool(self)

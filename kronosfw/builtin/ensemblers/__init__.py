"""Options of the built-in ensemblers: plain combinations, hard ones to beat, and two that learn weights.

They combine the columns that all members forecast and put each member's weight into the forecast's
``event_context``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from ...interfaces import EnsemblerConfig

if TYPE_CHECKING:
    from ...interfaces import Ensembler

__all__ = ["Greedy", "LinearPool", "Mean", "Median", "Online"]

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


class Greedy(EnsemblerConfig):
    """The mean of the members with the weights that were best so far, by asset class, found share by share."""

    type: Literal["greedy"] = "greedy"
    rounds: int = Field(25, ge=1, description="Shares handed out, beside the one that each member has.")
    least: int = Field(
        250,
        ge=1,
        description="Scored predictions (symbol, cutoff, step) from which an asset class has weights of its own; "
        "below, those of all classes together, and equal ones with fewer in all.",
    )

    def build(self) -> Ensembler:
        from .greedy import GreedyMean

        return GreedyMean(self)


def _increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("values must increase")
    return values


class Online(EnsemblerConfig):
    """The mean of the members with weights that follow their losses, by asset class, step and quantile level."""

    type: Literal["online"] = "online"
    buckets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_increasing)] = Field(
        (1, 5, 20), min_length=1, description="Last step of each bucket of the horizon that has its own weights."
    )
    levels: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(_increasing)] = Field(
        (0.1, 0.5, 0.9),
        min_length=1,
        description="Levels, among the file's `quantiles`, that have their own weights; others lie between.",
    )

    def build(self) -> Ensembler:
        from .online import OnlineMean

        return OnlineMean(self)

"""An ensembler that learns: members weigh as much as they were right."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import Ensembler, EnsemblerConfig
from kronosfw.types import Forecast, Moment, Window

if TYPE_CHECKING:
    import pandas as pd


class InverseLoss(EnsemblerConfig):
    """The mean of the members, each weighted by one over its past CRPS."""

    type: Literal["inverse_loss"] = "inverse_loss"

    def build(self) -> Ensembler:
        return InverseLossMean()


class InverseLossMean:
    learns = True

    def __init__(self) -> None:
        self._loss: dict[str, float] = {}

    def member_levels(self, levels: Sequence[float]) -> Sequence[float]:
        return tuple(levels)

    def fit(self, past: "pd.DataFrame", cutoff: Moment) -> None:
        self._loss = past.groupby("model_name")["crps"].mean().to_dict()

    def combine(self, window: Window, members: Sequence[Forecast], levels: Sequence[float]) -> Forecast:
        usual = np.mean(list(self._loss.values())) if self._loss else 1.0
        weights = np.array([1 / self._loss.get(member.model, usual) for member in members])
        quantiles = np.average([member.at(levels) for member in members], axis=0, weights=weights)
        shares = (weights / weights.sum()).tolist()
        names = [member.model for member in members]
        context = {"weights": dict(zip(names, shares, strict=True))}
        return window.forecast(levels, quantiles, event_context=context)


@hookimpl
def register_ensemblers() -> Sequence[type[EnsemblerConfig]]:
    return [InverseLoss]

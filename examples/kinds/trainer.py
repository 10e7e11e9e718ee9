"""A forecaster with weights that can be switched, and the trainer that makes them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kronosfw.builtin.forecasters import RandomWalk
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import Forecaster, ForecasterConfig, Trainer, TrainerConfig, Weights
from kronosfw.metrics import pinball
from kronosfw.types import Example, Forecast, Snapshot, Window

LEVELS = (0.1, 0.5, 0.9)


class TunedWalk(ForecasterConfig):
    """A random walk whose decay comes from a checkpoint."""

    weights: ClassVar[Weights] = Weights(licence="Apache-2.0", trained_until="2024-12-31")
    type: Literal["tuned_walk"] = "tuned_walk"

    def build(self) -> Forecaster:
        return Walk(kept(None))


class Walk:
    max_context = 500

    def __init__(self, decay: float) -> None:
        self._walk = RandomWalk(decay=decay).build()

    def forecast(self, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
        return self._walk.forecast(windows, levels)

    def with_checkpoint(self, path: Path | None) -> "Walk":
        return Walk(kept(path))


def kept(path: Path | None) -> float:
    """Return the decay in a checkpoint, or the forecaster's own."""
    return 0.94 if path is None else json.loads((path / "decay.json").read_text("utf-8"))


class DecayTrainer(TrainerConfig):
    """Chooses the decay of `tuned_walk`."""

    forecaster: ClassVar[str] = "tuned_walk"
    type: Literal["decay"] = "decay"
    step: float = Field(0.02, gt=0, lt=0.5, description="Distance between the decays that are tried.")

    def build(self) -> Trainer:
        return DecaySearch(self.step)


class DecaySearch:
    def __init__(self, step: float) -> None:
        self._step = step

    def train(
        self, train: Sequence[Example], validation: Sequence[Example], start: Path | None, out: Path
    ) -> Iterator[Snapshot]:
        decays = np.arange(0.8, 0.999, self._step).tolist()
        best = min(decays, key=lambda decay: loss(Walk(decay), train))
        folder = out / "decay"
        folder.mkdir(exist_ok=True)
        (folder / "decay.json").write_text(json.dumps(best), "utf-8")
        yield Snapshot(len(decays), folder, {"loss": loss(Walk(best), validation)})

    def blend(self, start: Path | None, end: Path, share: float, out: Path) -> None:
        decay = min((1 - share) * kept(start) + share * kept(end), 0.999)
        (out / "decay.json").write_text(json.dumps(decay), "utf-8")


def loss(forecaster: Forecaster, examples: Sequence[Example]) -> float:
    """Return the mean pinball loss as a share of the last close."""
    windows = [example.window for example in examples]
    shares = [
        pinball(e.target.close, f.at(LEVELS), LEVELS) / e.window.bars.close[-1]
        for e, f in zip(examples, forecaster.forecast(windows, LEVELS), strict=True)
    ]
    return float(np.mean(shares))


@hookimpl
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    return [TunedWalk]


@hookimpl
def register_trainers() -> Sequence[type[TrainerConfig]]:
    return [DecayTrainer]

"""A plugin with a trainer that can be slow, be killed and go wrong. Its weights are a chain of digests."""

from __future__ import annotations

import hashlib
import json
import time
from typing import ClassVar, Literal

from pydantic import Field

from kronosfw.files import write_atomically
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import TrainerConfig
from kronosfw.types import Snapshot


class Walking(TrainerConfig):
    """Takes one step after the other, and knows after a kill where it was."""

    forecaster: ClassVar[str] = "random_walk"
    type: Literal["walking"] = "walking"
    losses: tuple[float, ...] = Field((3.0, 2.0, 1.0), description="Validation loss of each snapshot.")
    pause: float = Field(0.0, description="Seconds from one snapshot to the next.")
    fault: str = Field("", description="What goes wrong.")
    calls: ClassVar[list[object]] = []
    steps: ClassVar[list[int]] = []

    def build(self):
        return Walker(self)


class Homeless(Walking):
    """Does not say whose weights it makes."""

    forecaster: ClassVar[str] = ""
    type: Literal["homeless"] = "homeless"


class Stranger(Walking):
    """Makes weights of something else."""

    forecaster: ClassVar[str] = "oracle"
    type: Literal["stranger"] = "stranger"


class Walker:
    def __init__(self, options):
        self.options = options

    def train(self, train, validation, start, out):
        o = self.options
        Walking.calls.append((len(train), len(validation), start, out))
        Walking.steps.clear()
        state = out / "state.json"
        done, weights = json.loads(state.read_text()) if state.exists() else (0, "base")
        if start is not None:
            weights += (start / "weights.txt").read_text()
        if o.fault == "nothing":
            return
        if o.fault == "data":
            raise ValueError("no example is long enough")
        for step in range(done + 1, len(o.losses) + 1):
            example = train[step % len(train)]
            seen = weights.encode() + example.window.bars.values.tobytes() + example.target.values.tobytes()
            weights = hashlib.sha256(seen).hexdigest()
            yield Snapshot(10 * step - 5, None, total=10 * len(o.losses))
            time.sleep(o.pause)
            folder = out if o.fault == "bare" else out / ("same" if o.fault == "same" else f"step-{step}")
            if o.fault == "outside":
                folder = out.parent / "outside"
            folder.mkdir(exist_ok=True)
            if o.fault != "empty":
                (folder / "weights.txt").write_text(weights)
            if o.fault == "reserved":
                (folder / "manifest.json").write_text("{}")
            Walking.steps.append(step)
            text = json.dumps([step, weights])
            if o.fault == "loss":
                metrics = {"accuracy": o.losses[step - 1]}
            else:
                metrics = {"loss": o.losses[step - 1], "train_loss": 1.0 / step}
            yield {"step": step} if o.fault == "type" else Snapshot(10 * step, folder, metrics, 10 * len(o.losses))
            write_atomically(state, lambda file, text=text: file.write(text.encode()))


@hookimpl
def register_trainers():
    return [Walking, Homeless, Stranger]

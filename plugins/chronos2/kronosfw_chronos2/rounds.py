"""Stretches of one training, each a `fit` of the package that begins where the one before ended.

`fit` trains from a new adapter and a new optimiser to the end and returns. A callback puts adapter, moments of
AdamW and learning rate where the last round left them, so that rounds add up to one training, and one that is begun
again after a round goes on to the last bit as it would have.
"""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chronos.chronos2 import Chronos2Pipeline
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerState

from .lessons import Lessons

LAYERS = (
    "output_patch_embedding.output_layer",
    "self_attention.k",
    "self_attention.o",
    "self_attention.q",
    "self_attention.v",
)
"""Linear layers that get an adapter: those that the package proposes, of attention over time and over series."""


@dataclass(frozen=True)
class Schedule:
    """How a training goes."""

    steps: int
    learning_rate: float
    batch: int
    """Series a step, covariates among them."""
    seed: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, the first of which is 0: a line that ends at zero."""
        return self.learning_rate * ((self.steps - step) / self.steps)


@dataclass(frozen=True)
class State:
    """What a training goes on from after some steps."""

    step: int
    adapter: Mapping[str, Tensor]
    moments: Mapping[str, Tensor] = field(default_factory=dict)
    """``<number of the parameter>.<name>`` of what AdamW keeps; empty before the first step."""


class _Continuation(TrainerCallback):
    """Puts a training where it was before its first step, and keeps where it is after its last."""

    def __init__(self, schedule: Schedule, state: State) -> None:
        self.schedule = schedule
        self.state = state
        self.moments: dict[str, Tensor] = {}
        self.loss = float("nan")

    def on_train_begin(self, args: object, state: object, control: object, **made: Any) -> None:
        """Load adapter and moments into what `fit` has just made."""
        set_peft_model_state_dict(made["model"], dict(self.state.adapter))
        if self.state.moments:
            kept: dict[int, dict[str, Tensor]] = {}
            for name, tensor in self.state.moments.items():
                number, moment = name.split(".")
                kept.setdefault(int(number), {})[moment] = tensor
            groups = made["optimizer"].state_dict()["param_groups"]
            made["optimizer"].load_state_dict({"state": kept, "param_groups": groups})

    def on_step_begin(self, args: object, state: TrainerState, control: object, **made: Any) -> None:
        """Set the learning rate of the step."""
        for group in made["optimizer"].param_groups:
            group["lr"] = self.schedule.rate(self.state.step + state.global_step)

    def on_log(self, args: object, state: object, control: object, **made: Any) -> None:
        """Note the mean loss, which comes once, at the end."""
        self.loss = made["logs"].get("train_loss", self.loss)

    def on_train_end(self, args: object, state: object, control: object, **made: Any) -> None:
        """Keep the moments."""
        for number, moments in made["optimizer"].state_dict()["state"].items():
            self.moments |= {f"{number}.{name}": one.detach().cpu().clone() for name, one in moments.items()}


def lora(rank: int, alpha: int, dropout: float) -> LoraConfig:
    """Return the settings of an adapter as peft has them."""
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(LAYERS))


def new(pipeline: Chronos2Pipeline, config: LoraConfig, seed: int) -> State:
    """Return the state before the first step: an adapter that adds nothing."""
    with drawing(seed, pipeline.model.device), quiet():
        model = get_peft_model(deepcopy(pipeline.model), deepcopy(config))
    return State(0, _factors(model))


def advance(
    pipeline: Chronos2Pipeline,
    lessons: Lessons,
    config: LoraConfig,
    schedule: Schedule,
    before: State,
    until: int,
    folder: Path,
) -> tuple[State, float]:
    """Train up to step ``until``; return the state there and the mean loss on the way.

    What is drawn follows from the seed and the step at which it begins. ``folder`` holds what `fit` writes until it
    returns. Raises ValueError where weights or loss are no longer finite.
    """
    seed = int(np.random.SeedSequence([schedule.seed, before.step]).generate_state(1)[0])
    continuation = _Continuation(schedule, before)
    with (
        tempfile.TemporaryDirectory(prefix="fit-", dir=folder) as scratch,
        drawing(seed, pipeline.model.device),
        quiet(),
    ):
        tuned = pipeline.fit(
            lessons.inputs,
            lessons.horizon,
            finetune_mode="lora",
            lora_config=deepcopy(config),
            context_length=lessons.context,
            min_past=lessons.context,
            learning_rate=schedule.learning_rate,
            num_steps=until - before.step,
            batch_size=schedule.batch,
            output_dir=scratch,
            callbacks=[continuation],
            remove_printer_callback=True,
            disable_tqdm=True,
            lr_scheduler_type="constant",
            logging_strategy="no",
            dataloader_pin_memory=False,
            seed=seed,
        )
    after = State(until, _factors(tuned.model), continuation.moments)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in after.adapter.values()):
        raise ValueError(f"at step {until} the weights are no longer finite: lower the learning rate")
    return after, continuation.loss


@contextmanager
def drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from the seed where a package draws from global generators, and leave those as they were."""
    kept = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what peft 0.21 makes transformers 5 warn of, and that a GPU lies idle where a CPU was asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The model is being fine-tuned on the CPU", UserWarning)
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _factors(model: nn.Module) -> dict[str, Tensor]:
    found = get_peft_model_state_dict(model)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(found.items())}

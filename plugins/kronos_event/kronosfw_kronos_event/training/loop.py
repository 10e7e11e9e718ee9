"""The training loop: seeded batches, a state that a killed run goes on from, several devices through accelerate."""

from __future__ import annotations

import atexit
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..kronos.checkpoint import aside
from .batches import Batch

BEAT = 0.5
"""Seconds from one sign of life to the next."""
MOMENTS = "exp_avg", "exp_avg_sq", "step"
"""What AdamW remembers of each parameter."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    batch: int
    """Windows a step, over all devices."""
    learning_rate: float
    warmup: int
    weight_decay: float
    clip: float
    """Largest norm of the gradient."""
    accumulate: int
    """Parts into which each device's share of a batch is cut, to fit its memory."""
    precision: str
    """``float32`` or ``bfloat16``."""
    evaluate_every: int
    seed: int
    faster: Mapping[str, float] = field(default_factory=dict)
    """Factors on the learning rate of parameters whose names begin so."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then a cosine down to a fiftieth."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)

    def factor(self, name: str) -> float:
        """Return the factor on the learning rate of a parameter."""
        return next((factor for beginning, factor in self.faster.items() if name.startswith(beginning)), 1.0)


class Batches(Protocol):
    """Where the windows of a step come from."""

    def draw(self, size: int, seed: Sequence[int]) -> Batch:
        """Return the batch of ``size`` windows that belongs to a seed."""
        ...


@dataclass(frozen=True)
class Record:
    """Where a training stands."""

    step: int
    seconds: float
    """Time trained so far, that of earlier runs included."""
    train: dict[str, float]
    """Mean losses since the last record."""
    validation: dict[str, float]


def fit(
    objective: nn.Module,
    windows: Batches,
    validation: Sequence[Batch],
    schedule: Schedule,
    folder: Path,
    subject: str = "",
    baseline: bool = False,
) -> Iterator[tuple[int, Record | None, bool]]:
    """Train the objective's parameters in place; yield the step, and a record every ``evaluate_every`` steps.

    Where nothing was evaluated the record is None, a sign of life every ``BEAT`` seconds. The last step has one,
    and with ``baseline`` so has step 0, before anything is learned. Beside it stands whether this process is the
    one that writes files, where there are several. What a step draws follows from seed and step alone. The
    objective returns scalars, of which ``loss`` is made small, and pairs of a sum and a count. When a record has
    been taken in, the state is kept in ``folder``, so a run killed at any moment and started again ends with the
    same weights; one that had ended yields its last record again. ``subject`` says what is trained on what: raises
    ValueError where the folder holds the state of another training, where there are fewer windows in a batch than
    devices, or where a loss is no longer finite.
    """
    from accelerate import Accelerator

    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        atexit.register(_leave)
    half = schedule.precision == "bfloat16"
    weights = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    speeds = defaultdict(list)
    for name, p in weights.items():
        speeds[schedule.factor(name)].append(p)
    groups = [{"params": own, "factor": factor} for factor, own in speeds.items()]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), weight_decay=schedule.weight_decay)
    if schedule.batch < accelerator.num_processes:
        raise ValueError(
            f"a batch of {schedule.batch} windows is too small for {accelerator.num_processes} devices"
        )
    state = State(folder / "state.safetensors", weights, optimizer, {**asdict(schedule), "subject": subject})
    last = state.load()
    if last and last.step == schedule.steps:
        yield last.step, last, accelerator.is_main_process
        return
    first, before = (last.step, last.seconds) if last else (0, 0.0)
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    model, stepper = accelerator.prepare(objective, optimizer)
    if baseline and not last:
        found = evaluate(model, validation, accelerator, half)
        yield 0, Record(0, 0.0, {}, found), accelerator.is_main_process
    began = beat = time.monotonic()
    losses = list[dict[str, Tensor]]()
    for step in range(first, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step) * group["factor"]
        parts = share(windows.draw(schedule.batch, [schedule.seed, step]), accelerator, schedule.accumulate)
        with torch.random.fork_rng(devices):
            torch.manual_seed((schedule.seed * 1_000_003 + step) * 1009 + accelerator.process_index)
            counted = torch.zeros((), device=accelerator.device)
            for i, part in enumerate(parts):
                with nullcontext() if i + 1 == len(parts) else accelerator.no_sync(model):
                    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=half):
                        found = model(**part)
                    loss = found["loss"]
                    accelerator.backward(loss[0] if loss.ndim else loss / len(parts))
                counted += loss[1].detach() if loss.ndim else 0
                losses.append({name: one.detach() for name, one in found.items()})
        if counted:
            # Sums over parts and devices, which hold different numbers of targets, become the mean over all.
            share_of_one = accelerator.num_processes / accelerator.reduce(counted, "sum")
            for p in weights.values():
                if p.grad is not None:
                    p.grad.mul_(share_of_one)
        accelerator.clip_grad_norm_(weights.values(), schedule.clip)
        stepper.step()
        stepper.zero_grad()
        done = step + 1
        if done % schedule.evaluate_every == 0 or done == schedule.steps:
            record = Record(
                step=done,
                seconds=before + time.monotonic() - began,
                train=mean(losses, accelerator),
                validation=evaluate(model, validation, accelerator, half),
            )
            losses.clear()
            if not all(map(math.isfinite, [*record.train.values(), *record.validation.values()])):
                raise ValueError(f"at step {done} the loss is no longer finite: lower the learning rate")
            yield done, record, accelerator.is_main_process
            if accelerator.is_main_process:
                state.save(record)
            accelerator.wait_for_everyone()
        elif time.monotonic() - beat > BEAT:
            beat = time.monotonic()
            yield done, None, accelerator.is_main_process


def _leave() -> None:
    """Leave the other processes in order: what talks to them aborts where the interpreter ends under it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def evaluate(model: nn.Module, batches: Sequence[Batch], accelerator: Any, half: bool) -> dict[str, float]:
    """Return the mean losses over batches, in evaluation mode."""
    model.eval()
    with torch.no_grad(), torch.autocast(accelerator.device.type, torch.bfloat16, enabled=half):
        losses = [model(**part) for batch in batches for part in share(batch, accelerator, 1, every=True)]
    model.train()
    return mean(losses, accelerator)


def share(batch: Batch, accelerator: Any, parts: int, every: bool = False) -> list[dict[str, Tensor]]:
    """Return this process's share of a batch on its device, in at most ``parts`` parts; ``every`` gives it all."""
    rows = slice(None) if every else slice(accelerator.process_index, None, accelerator.num_processes)
    tensors = {
        name: torch.from_numpy(array[rows]).to(accelerator.device).tensor_split(parts)
        for name, array in batch.items()
    }
    cut = [dict(zip(tensors, part, strict=True)) for part in zip(*tensors.values(), strict=True)]
    return [part for part in cut if len(next(iter(part.values())))]


def value(loss: Tensor) -> Tensor:
    """Return a loss that is a scalar, or a pair of sum and count ``[2]``; 0 where nothing was counted."""
    return loss if loss.ndim == 0 else loss[0] / loss[1].clamp_min(1)


def mean(losses: list[dict[str, Tensor]], accelerator: Any) -> dict[str, float]:
    """Return the mean of each loss over batches and devices, without those of which nothing was counted."""
    columns = defaultdict(list)
    for row in losses:
        for name, loss in row.items():
            columns[name].append(loss)
    means = {name: torch.stack(values).mean(dim=0) for name, values in columns.items()}
    over_all = {name: accelerator.reduce(found, "mean") for name, found in means.items()}
    return {name: float(value(found)) for name, found in over_all.items() if found.ndim == 0 or found[1]}


@dataclass(frozen=True)
class State:
    """Weights and optimizer of an unfinished training, in one file that is replaced as a whole."""

    path: Path
    weights: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    training: dict[str, Any]
    """What has to be the same to go on."""

    def save(self, record: Record) -> None:
        """Keep the state after a record."""
        tensors = {f"weight.{name}": p.detach() for name, p in self.weights.items()}
        for name, p in self.weights.items():
            tensors |= {f"{moment}.{name}": self.optimizer.state[p][moment] for moment in MOMENTS}
        about = {"training": self.training, "record": asdict(record)}
        with aside(self.path) as path:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, {"about": json.dumps(about)})

    def load(self) -> Record | None:
        """Put the kept state in place and return its record, if there is one."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads(file.metadata()["about"])
                if about["training"] != self.training:
                    raise ValueError(
                        f"{self.path} belongs to a training with other options, data or schedule: "
                        "give another folder, or delete it"
                    )
                with torch.no_grad():
                    for name, p in self.weights.items():
                        p.copy_(file.get_tensor(f"weight.{name}"))
                        moments = {m: file.get_tensor(f"{m}.{name}") for m in MOMENTS}
                        self.optimizer.state[p] = {
                            m: v if m == "step" else v.to(p.device) for m, v in moments.items()
                        }
        except SafetensorError as error:
            raise ValueError(f"{self.path} is damaged ({error}): delete it to begin anew") from None
        return Record(**about["record"])

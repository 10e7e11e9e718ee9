"""Fine-tunes the base model on examples: kronosfw's side of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kronosfw.types import Example, Snapshot

from .adapter import About, check_shape, fingerprints, read_tensors, save_config, save_tensors
from .blending import blend
from .lessons import Lessons, lessons, loss, spread
from .lora_options import Chronos2Lora
from .options import BaseModelOptions, Chronos2
from .rounds import Schedule, State, advance, lora, new
from .sources import locate
from .states import Kept
from .weights import checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class Chronos2LoraTrainer:
    """Trains adapters with the package's own `fit`, in rounds of ``evaluate_every`` steps.

    Rounds add up to one `fit`: optimiser and learning rate go on where they were. What a round draws follows from
    the seed and its first step. The base's own dropout is live in training, as the package has it.

    ``out`` gets a folder ``step-…`` for each snapshot, with an adapter in peft's format and ``about.json``. Below
    ``training/`` is the state that a training goes on from after it was killed: that of the last round's end.
    """

    def __init__(self, options: Chronos2Lora) -> None:
        self.options = options
        self._config = lora(options.rank, options.alpha, options.dropout)

    def train(
        self, train: Sequence[Example], validation: Sequence[Example], start: Path | None, out: Path
    ) -> Iterator[Snapshot]:
        """Train and yield a snapshot before the first step and after each round.

        With ``start`` the adapter in it is trained on, with a new optimiser and the numbers of ``again``.

        Raises ValueError where there is no example or ``out`` holds another training, WeightsError where weights
        cannot be read or ``start`` belongs to another base or has other settings.
        """
        for examples, purpose in ((train, "train"), (validation, "validate")):
            if not len(examples):
                raise ValueError(f"there is no example to {purpose} with")
        o = self.options
        serving = Chronos2(**o.model_dump(include={*BaseModelOptions.model_fields, "device", "threads"}))
        forecaster = serving.build()
        learned = lessons(train, o, forecaster.max_context)
        tested = spread(validation, o.validate_with)
        about = About(
            fingerprints(locate(o)), o.targets, learned.channels, learned.known_ahead, train[0].window.freq
        )
        first = new(forecaster.pipeline, self._config, o.seed)
        if start is not None:
            first = replace(first, adapter=self._going_on(start, about, first.adapter))
        how = o.again if start is not None else o
        schedule = Schedule(how.steps, how.learning_rate, o.batch * learned.series, o.seed)
        kept = Kept(out / "training", self._subject(about, learned, first))

        def snapshot(state: State, metrics: Mapping[str, float]) -> Snapshot:
            folder = out / f"step-{state.step:07d}"
            self._write(folder, state, about)
            if "loss" not in metrics:
                served = copy(forecaster)
                served.pipeline = checkpoint(forecaster.pipeline, folder, serving)
                metrics = {"loss": loss(served, tested), **metrics}
            return Snapshot(state.step, folder, metrics, schedule.steps)

        state, metrics = kept.load() or (first, {})
        if state is first or state.step == schedule.steps:
            yield snapshot(state, metrics)
        while state.step < schedule.steps:
            until = min(state.step + o.evaluate_every, schedule.steps)
            state, learning = advance(
                forecaster.pipeline, learned, self._config, schedule, state, until, kept.folder
            )
            made = snapshot(state, {"train_loss": learning})
            yield made
            kept.save(state, made.metrics)

    def blend(self, start: Path | None, end: Path, share: float, out: Path) -> None:
        """Write the checkpoint that lies ``share`` of the way from ``start`` to ``end``; see ``blending``.

        Raises WeightsError where the two do not belong together, ValueError for a share that is no number.
        """
        base = fingerprints(locate(self.options))
        for folder in (start, end):
            if folder is not None:
                About.load(folder).check(folder, base, self.options.targets)
        blend(start, end, share, out)

    def _going_on(self, start: Path, about: About, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the adapter in ``start``; raises WeightsError where it does not fit what is asked for."""
        About.load(start).check(start, about.base, about.targets, about.freq)
        check_shape(start, vars(self._config), fresh)
        return read_tensors(start)

    def _subject(self, about: About, learned: Lessons, first: State) -> str:
        """Return a digest of what a training begins with and learns from."""
        said = hashlib.sha256(self.options.model_dump_json(exclude={"threads", "validate_with"}).encode())
        said.update(f"{about} {learned.fingerprint()}".encode())
        for name, tensor in sorted(first.adapter.items()):
            said.update(name.encode() + tensor.numpy().tobytes())
        return said.hexdigest()

    def _write(self, folder: Path, state: State, about: About) -> None:
        """Write a checkpoint of the forecaster."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder, state.adapter)
        save_config(folder, self._config, self.options.model, self.options.revision)
        about.save(folder)

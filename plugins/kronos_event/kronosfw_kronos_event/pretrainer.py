"""Trains a tokenizer and a model of one's own: kronosfw's side of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kronosfw.files import write_atomically
from kronosfw.types import Bars, Example, Snapshot

from .bars import to_candles, to_stamps
from .kronos.model import Kronos, KronosConfig
from .kronos.tokenizer import KronosTokenizer, TokenizerConfig
from .pretrain_options import KronosPretrain, Phase
from .sources import ABOUT
from .training.batches import Batch, Stretch, Windows
from .training.loop import Record, Schedule, fit
from .training.objectives import ModelObjective, TokenizerObjective

VALIDATION_BATCHES = 8
PHASES = "tokenizer_training", "model_training"

log = logging.getLogger(__name__)


class KronosPretrainer:
    """Trains on stretches of bars: each example's window and target together, windows drawn at random within.

    ``out`` gets a folder ``step-…`` for each snapshot with ``tokenizer/`` and ``model/`` in the published format,
    ``logs/losses.jsonl``, and below ``training/`` the state that a killed training goes on from.
    """

    def __init__(self, options: KronosPretrain) -> None:
        self.options = options

    def train(
        self, train: Sequence[Example], validation: Sequence[Example], start: Path | None, out: Path
    ) -> Iterator[Snapshot]:
        """Train the tokenizer, then the model, which yields the snapshots.

        Raises ValueError if no example is as long as a training window, or ``out`` holds another training.
        """
        options = self.options
        data = {"train": list(map(stretch, train)), "validation": list(map(stretch, validation))}
        windows = self._windows(data["train"], "train", mirror=options.mirror)
        held_out = self._windows(data["validation"], "validate")
        batches = [held_out.draw(32, [options.seed, i, VALIDATION_BATCHES]) for i in range(VALIDATION_BATCHES)]
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            tokenizer, model = self._new() if start is None else load(start)
        subject = digest(options, data, tokenizer, model)
        objective = TokenizerObjective(tokenizer.train(), options.fine)
        yield from (
            Snapshot(step, None, total=self._steps)
            for step, _, _ in self._fit("tokenizer", objective, windows, batches, out, subject)
        )
        subject = digest(options, data, tokenizer, model)
        learner = ModelObjective(model.train(), tokenizer)
        before = self.options.tokenizer_training.steps
        for step, record, writes in self._fit("model", learner, windows, batches, out, subject):
            if record is None:
                yield Snapshot(before + step, None, total=self._steps)
                continue
            folder = out / f"step-{record.step:07d}"
            if writes:
                self._write(folder, tokenizer, model)
            metrics = {f"train_{k}": v for k, v in record.train.items()} | record.validation
            yield Snapshot(before + step, folder, metrics, self._steps)

    @property
    def _steps(self) -> int:
        return self.options.tokenizer_training.steps + self.options.model_training.steps

    def _write(self, folder: Path, tokenizer: KronosTokenizer, model: Kronos) -> None:
        options = self.options
        dtype = getattr(torch, options.save_as)
        tokenizer.save_pretrained(folder / "tokenizer", dtype=dtype)
        model.save_pretrained(folder / "model", dtype=dtype)
        # A window's last bar is only ever a target, and no context was normalised by more than the longest prefix.
        shortest, longest = options.prefix
        about = {"max_context": options.window - 1, "context": longest, "least": shortest, "rotary": True}
        write_atomically(folder / ABOUT, lambda file: file.write(f"{json.dumps(about)}\n".encode()))

    def _new(self) -> tuple[KronosTokenizer, Kronos]:
        o = self.options
        t, m = o.tokenizer, o.model
        tokenizer = TokenizerConfig(
            d_in=6,
            d_model=t.d_model,
            n_heads=t.n_heads,
            ff_dim=t.ff_dim,
            n_enc_layers=t.blocks + 1,
            n_dec_layers=t.blocks + 1,
            beta=0.05,
            gamma0=1.0,
            gamma=1.1,
            zeta=0.05,
            group_size=t.group_size,
            s1_bits=o.s1_bits,
            s2_bits=o.s2_bits,
        )
        model = KronosConfig(
            n_layers=m.n_layers,
            d_model=m.d_model,
            n_heads=m.n_heads,
            ff_dim=m.ff_dim,
            ffn_dropout_p=m.dropout,
            resid_dropout_p=m.dropout,
            token_dropout_p=m.token_dropout,
            s1_bits=o.s1_bits,
            s2_bits=o.s2_bits,
        )
        return KronosTokenizer(tokenizer), Kronos(model)

    def _fit(
        self,
        name: str,
        objective: TokenizerObjective | ModelObjective,
        windows: Windows,
        validation: list[Batch],
        out: Path,
        subject: str,
    ) -> Iterator[tuple[int, Record | None, bool]]:
        phase: Phase = getattr(self.options, f"{name}_training")
        schedule = Schedule(**phase.model_dump(), precision=self.options.precision, seed=self.options.seed)
        if not schedule.steps:
            return
        if self.options.compile:
            objective.compile()
        for step, record, writes in fit(objective, windows, validation, schedule, out / "training" / name, subject):
            if record is not None:
                log.info("%s, step %d of %d: %s", name, step, phase.steps, record.validation)
                if writes:
                    note(out / "logs" / "losses.jsonl", {"phase": name, **asdict(record)})
            yield step, record, writes

    def _windows(self, stretches: list[Stretch], purpose: str, mirror: float = 0.0) -> Windows:
        o = self.options
        try:
            return Windows(stretches, o.window, o.prefix, mirror, o.no_volume)
        except ValueError as error:
            raise ValueError(f"nothing to {purpose} with: {error}") from None


def note(path: Path, record: dict[str, Any]) -> None:
    """Add a record to a file of JSON lines, in the place of one of that phase and step that a killed run left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    kept = {(line["phase"], line["step"]): line for line in [*lines, record]}
    text = "".join(json.dumps(line) + "\n" for line in kept.values())
    write_atomically(path, lambda file: file.write(text.encode()))


def digest(options: KronosPretrain, data: dict[str, list[Stretch]], *modules: torch.nn.Module) -> str:
    """Return a digest of what a training begins with and learns from."""
    said = hashlib.sha256(options.model_dump_json(exclude={"save_as", "compile", *PHASES}).encode())
    for name, stretches in data.items():
        said.update(f"{name} {len(stretches)}".encode())
        for one in stretches:
            said.update(one.candles.tobytes())
            said.update(one.stamps.tobytes())
    for module in modules:
        for tensor in module.state_dict().values():
            said.update(tensor.cpu().numpy().tobytes())
    return said.hexdigest()


def load(folder: Path) -> tuple[KronosTokenizer, Kronos]:
    """Return the tokenizer and the model of a snapshot."""
    return KronosTokenizer.from_pretrained(folder / "tokenizer"), Kronos.from_pretrained(folder / "model")


def stretch(example: Example) -> Stretch:
    """Return an example's context and target as one stretch."""
    window, target = example.window, example.target
    times = window.bars.times.then(target.times)
    values = np.concatenate([window.bars.values, target.values])
    bars = Bars(window.symbol, times, values, window.bars.columns)
    return Stretch(to_candles(bars), to_stamps(times, window.freq))

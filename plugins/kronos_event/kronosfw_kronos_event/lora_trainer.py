"""Teaches a base model about events: kronosfw's side of it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays

from kronosfw.files import write_atomically
from kronosfw.types import Covariates, Example, Snapshot

from .kronos.adapter import ABOUT as ADAPTER
from .kronos.adapter import LORA_CONFIG, load_adapter, save_about
from .kronos.candles import Scale
from .kronos.checkpoint import aside, fingerprint, read_values
from .kronos.errors import WeightsError
from .kronos.events import Channels, EventEmbedding, candle_values
from .kronos.hub import locate
from .kronos.model import Kronos
from .kronos.tokenizer import KronosTokenizer
from .lora_options import KronosLora
from .pretrainer import note, stretch
from .sources import ABOUT, Source, fingerprints, pair, source
from .training.adapting import Adaptable, AdaptingObjective, LoraOptions
from .training.batches import Batch, Windows
from .training.blending import blend
from .training.loop import Record, Schedule, fit
from .training.objectives import TokenizerObjective
from .training.samples import Drawing, Samples

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

AT_ONCE = 256
"""Windows that are tokenised together."""
TOKENIZER_BATCHES = 8
EMBEDDING = "adaptable.events."
"""What the names of the event embedding's parameters begin with."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shape:
    """What all examples of a training have in common."""

    context: int
    """T"""
    horizon: int
    """H"""
    freq: str
    channels: Channels | None
    groups: tuple[str, ...]

    @classmethod
    def of(cls, example: Example, found: Source, options: KronosLora) -> Shape:
        """Return the shape of windows like this one that fit the model; raises ValueError if too little is left."""
        horizon = example.window.horizon
        most = min(found.context or found.max_context, found.max_context - horizon + 1)
        context = min(most, len(example.window.bars))
        if context < found.least:
            raise ValueError(
                f"{horizon} steps leave {max(context, 0)} bars of context in each example, and this model needs "
                f"{found.least}: give a smaller `horizon` or a larger `context`"
            )
        given = example.window.covariates
        channels = channels_of(given, options) if given is not None else None
        return cls(context, horizon, example.window.freq, channels, given.groups if given is not None else ())


def channels_of(given: Covariates, options: KronosLora) -> Channels:
    """Return the channels of an example, and which of them tell of an event; raises ValueError."""

    def chosen(names: tuple[str, ...] | None, beginning: str) -> tuple[str, ...]:
        return tuple(n for n in given.names if n.startswith(beginning)) if names is None else names

    marks, announces = chosen(options.marks, "is_"), chosen(options.announces, "next_")
    if options.gate is not None and not (marks and announces):
        raise ValueError("a `gate` wants channels that mark events and announce them: name `marks` and `announces`")
    return Channels(given.names, given.known_ahead, marks, announces, options.output, options.gate)


class KronosLoraTrainer:
    """Trains adapters and an event embedding on examples, the base frozen, or all of the model.

    ``out`` gets a folder ``step-…`` for each snapshot: a checkpoint of the forecaster, in peft's format where it is
    one of adapters. Below ``logs/`` are ``losses.jsonl`` and ``tensorboard/``, below ``training/`` the tokens and
    the state that a killed training goes on from.
    """

    def __init__(self, options: KronosLora) -> None:
        self.options = options

    def train(
        self, train: Sequence[Example], validation: Sequence[Example], start: Path | None, out: Path
    ) -> Iterator[Snapshot]:
        """Train and yield a snapshot before the first step and after each evaluation.

        Raises ValueError where there is no example, the horizon leaves too little context or ``out`` holds another
        training; WeightsError where weights cannot be read or ``start`` belongs to another base.
        """
        for examples, purpose in ((train, "train"), (validation, "validate")):
            if not len(examples):
                raise ValueError(f"there is no example to {purpose} with")
        options, found = self.options, source(self.options, start)
        shape = Shape.of(train[0], found, options)
        tokenizer = KronosTokenizer.from_pretrained(found.tokenizer, revision=found.tokenizer_revision)
        model = Kronos.from_pretrained(found.model, revision=found.revision)
        held_out = [validation[i] for i in spread(len(validation), options.validate_with)]
        if options.tokenizer_training.steps:
            yield from self._tune_tokenizer(tokenizer, shape, train, held_out, out)
        learned = yield from self._samples("train", train, shape, tokenizer, out)
        tested = yield from self._samples("validation", held_out, shape, tokenizer, out)

        base = fingerprints(found)
        goes_on = start is not None and self._fits(start, model, base, shape)
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            adaptable = self._adaptable(model, tokenizer, shape)
        if start is not None and goes_on:
            adaptable.load(start)
        marked = [self._marked(samples, shape) for samples in (learned, tested)]
        likely = np.ones(len(learned))
        likely[marked[0]] = options.oversample
        drawing = Drawing(
            learned,
            shape.channels,
            shape.groups,
            likely,
            options.masking,
            options.group_dropout,
        )
        about = {
            "trainable": sum(p.numel() for p in adaptable.parameters() if p.requires_grad),
            "event_share_train": float(marked[0].mean()),
            "event_share_validation": float(marked[1].mean()),
        }
        log.info("%(trainable)d parameters are trained, events in %(event_share_train).3g of the examples", about)
        schedule = self._schedule(len(learned), again=start is not None)
        objective = AdaptingObjective(adaptable.train())
        batches = Drawing(tested, shape.channels).all(options.batch)
        subject = digest(options, drawing, batches, adaptable)
        board = Board(out / "logs" / "tensorboard" if options.tensorboard else None)
        state = out / "training" / "model"
        for step, record, writes in fit(objective, drawing, batches, schedule, state, subject, baseline=True):
            if record is None:
                yield Snapshot(step, None, total=schedule.steps)
                continue
            folder = out / f"step-{record.step:07d}"
            if writes:
                self._write(folder, adaptable, tokenizer, found, base, shape)
                note(out / "logs" / "losses.jsonl", {"phase": "model", **asdict(record)})
                board.show(record)
            log.info("step %d of %d: %s", step, schedule.steps, record.validation)
            metrics = {f"train_{k}": v for k, v in record.train.items()} | record.validation | about
            yield Snapshot(step, folder, metrics, schedule.steps)

    def blend(self, start: Path | None, end: Path, share: float, out: Path) -> None:
        """Write the checkpoint that lies ``share`` of the way from ``start`` to ``end``; see ``training.blending``.

        Raises WeightsError where the two do not belong together, ValueError for a share that is no number.
        """
        found = source(self.options)
        lengths = {pair(folder).freq for folder in (start, end) if folder is not None} - {None}
        if len(lengths) > 1:
            raise WeightsError(f"{end} was not trained from {start}: their bars are of another length")
        base = {
            "model": locate(found.model, found.revision),
            "tokenizer": locate(found.tokenizer, found.tokenizer_revision),
        }
        blend(start, end, share, out, base)
        about = (start if start is not None and share == 0 else end) / ABOUT
        if about.exists():
            copyfile(about, out / ABOUT)

    def _fits(self, start: Path, model: Kronos, base: Mapping[str, str], shape: Shape) -> bool:
        """Tell whether a checkpoint has something to go on from beside its model; raises WeightsError."""
        own = (start / "model").is_dir()
        if own and self.options.tune == "lora":
            raise WeightsError(f"{start} holds a model of its own: name it as `model`, or say `tune: full`")
        if not (start / ADAPTER).exists():
            return False
        if not own and self.options.tune == "full":
            raise WeightsError(f"{start} holds adapters, which are not part of the model: say `tune: lora`")
        wanted = load_adapter(start, model, base).channels
        if (wanted and wanted.names) != (shape.channels and shape.channels.names):
            raise WeightsError(f"{start} was trained with other event channels than these examples have")
        if wanted != shape.channels:
            raise WeightsError(f"{start} was trained with another `output`, `gate`, `marks` or `announces`")
        if self.options.tune == "lora":
            config = read_values(start / LORA_CONFIG)
            kept, asked = (config.get("r"), config.get("lora_alpha")), (self.options.rank, self.options.alpha)
            if kept != asked:
                raise WeightsError(f"{start} has the rank and alpha {kept}, and {asked} are asked for")
        return True

    def _adaptable(self, model: Kronos, tokenizer: KronosTokenizer, shape: Shape) -> Adaptable:
        o, config = self.options, model.config
        events = None
        if shape.channels is not None:
            events = EventEmbedding(shape.channels, config.d_model, 2**config.s1_bits, xavier=o.initial == "xavier")
            if events.tilt is not None:
                events.tilt.values.copy_(candle_values(tokenizer))
        lora = LoraOptions(o.rank, o.alpha, o.dropout, o.targets) if o.tune == "lora" else None
        return Adaptable(model, events, lora)

    def _schedule(self, examples: int, again: bool) -> Schedule:
        o = self.options
        epoch = max(round(examples / o.batch), 1)
        how = o.again if again else o
        steps = math.ceil(how.epochs * epoch)
        return Schedule(
            steps=steps,
            batch=o.batch,
            learning_rate=how.learning_rate,
            warmup=min(o.warmup, steps // 5),
            weight_decay=o.weight_decay,
            clip=o.clip,
            accumulate=o.accumulate,
            precision=o.precision,
            evaluate_every=o.evaluate_every or epoch,
            seed=o.seed,
            faster={EMBEDDING: o.embedding_speed},
        )

    def _tune_tokenizer(
        self,
        tokenizer: KronosTokenizer,
        shape: Shape,
        train: Sequence[Example],
        validation: Sequence[Example],
        out: Path,
    ) -> Iterator[Snapshot]:
        """Train the tokenizer on the examples' bars, each window normalised by its beginning."""
        o = self.options
        prefix = int(o.prefix[0] * shape.context), int(o.prefix[1] * shape.context)
        windows, held_out = (
            Windows([stretch(e) for e in examples], shape.context + shape.horizon, prefix)
            for examples in (train, validation)
        )
        batches = [held_out.draw(o.batch, [o.seed, i, TOKENIZER_BATCHES]) for i in range(TOKENIZER_BATCHES)]
        schedule = Schedule(**o.tokenizer_training.model_dump(), precision=o.precision, seed=o.seed)
        objective = TokenizerObjective(tokenizer.train(), fine=0.0)
        said = hashlib.sha256(o.model_dump_json().encode())
        for one in [*windows.stretches, *held_out.stretches]:
            said.update(one.candles.tobytes())
        for tensor in tokenizer.state_dict().values():
            said.update(tensor.numpy().tobytes())
        folder = out / "training" / "tokenizer"
        for step, record, writes in fit(objective, windows, batches, schedule, folder, said.hexdigest()):
            if record is not None and writes:
                note(out / "logs" / "losses.jsonl", {"phase": "tokenizer", **asdict(record)})
            yield Snapshot(0, None, {"tokenizer_step": step})
        tokenizer.eval().requires_grad_(False)

    def _samples(
        self, name: str, examples: Sequence[Example], shape: Shape, tokenizer: KronosTokenizer, out: Path
    ) -> Generator[Snapshot, None, Samples]:
        """Return the examples as samples; what the tokenizer makes of them is kept in ``out``."""
        n, length = len(examples), shape.context + shape.horizon
        candles = np.empty((n, length, 6), np.float32)
        samples = Samples(
            tokens=np.empty((n, length, 2), np.int32),
            stamps=np.empty((n, length, 5), np.int8),
            events=np.zeros((n, length, len(shape.channels.names) if shape.channels else 0), np.float32),
            prefix=np.full(n, shape.context),
            context=shape.context,
        )
        for i in range(n):
            example = examples[i]
            example = replace(example, window=example.window.last(shape.context))
            bars = stretch(example)
            if len(bars.candles) != length:
                raise ValueError(f"examples must have one shape; one has {len(bars.candles)} bars, not {length}")
            if name == "train":
                samples.prefix[i] = self._prefix(example, shape)
            candles[i] = Scale.of(bars.candles[: samples.prefix[i]]).normalise(bars.candles)
            samples.stamps[i] = bars.stamps
            if shape.channels is not None:
                given = example.window.covariates
                assert given is not None
                samples.events[i] = np.where(given.mask, np.float32(0), given.values)
            if i % AT_ONCE == 0:
                yield Snapshot(0, None)
        yield from tokens(samples.tokens, candles, tokenizer, out / "training" / f"tokens-{name}.safetensors")
        return samples

    def _prefix(self, example: Example, shape: Shape) -> int:
        """Return how many bars normalise a training window: the same each time it is drawn, so tokens stay."""
        rng = np.random.default_rng([self.options.seed, example.window.seed])
        least, most = (max(round(share * shape.context), 2) for share in self.options.prefix)
        return int(rng.integers(least, most + 1))

    def _marked(self, samples: Samples, shape: Shape) -> NDArray[np.bool_]:
        """Return which samples have an event in their horizon ``[N]``."""
        if shape.channels is None:
            return np.zeros(len(samples), np.bool_)
        marked = shape.channels.marked(samples.events[:, shape.context :])
        found: NDArray[np.bool_] = np.logical_or.reduce(marked, axis=1)
        return found

    def _write(
        self,
        folder: Path,
        adaptable: Adaptable,
        tokenizer: KronosTokenizer,
        found: Source,
        base: Mapping[str, str],
        shape: Shape,
    ) -> None:
        """Write a checkpoint of the forecaster."""
        adaptable.save(folder)
        if self.options.tune == "full":
            adaptable.model.save_pretrained(folder / "model")
            tokenizer.save_pretrained(folder / "tokenizer")
            base = {name: fingerprint(folder / name) for name in ("model", "tokenizer")}
        save_about(folder, base, adaptable.model, adaptable.events)
        about = {
            "freq": shape.freq,
            "max_context": found.max_context,
            "context": shape.context,
            "least": found.least,
            "rotary": found.rotary,
        }
        write_atomically(folder / ABOUT, lambda file: file.write(f"{json.dumps(about)}\n".encode()))


class Board:
    """The losses as TensorBoard shows them, in a folder; nowhere without one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def show(self, record: Record) -> None:
        """Add a record; what a killed run wrote of this step or later goes."""
        if self._folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder), purge_step=record.step)
        for part, losses in (("train", record.train), ("validation", record.validation)):
            for name, loss in losses.items():
                self._writer.add_scalar(f"{name}/{part}", loss, record.step)
        self._writer.flush()


def tokens(
    into: NDArray[np.int32], candles: NDArray[np.float32], tokenizer: KronosTokenizer, path: Path
) -> Iterator[Snapshot]:
    """Fill in the tokens ``[N, L, 2]`` of normalised candles ``[N, L, 6]``, from the file where they are kept."""
    said = hashlib.sha256(candles.data)
    for tensor in tokenizer.state_dict().values():
        said.update(tensor.cpu().numpy().tobytes())
    name = said.hexdigest()
    try:
        into[:] = load_file(path)[name]
        return
    except (OSError, SafetensorError, KeyError, ValueError):
        log.info("%d windows are tokenised", len(candles))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer.to(device)
    for first in range(0, len(candles), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        with torch.inference_mode():
            pair = tokenizer.encode(torch.from_numpy(candles[rows]).to(device))
        into[rows] = torch.stack(pair, dim=-1).cpu().numpy()
        yield Snapshot(0, None)
    tokenizer.to("cpu")
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as other:
        save_arrays({name: into}, other)


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of ``count`` positions, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))})


def digest(options: KronosLora, drawing: Drawing, batches: Sequence[Batch], adaptable: Adaptable) -> str:
    """Return a digest of what a training begins with and learns from."""
    said = hashlib.sha256(options.model_dump_json(exclude={"tensorboard", "evaluate_every"}).encode())
    s = drawing.samples
    for array in (s.tokens, s.stamps, s.events, s.prefix, drawing.weights):
        assert array is not None
        said.update(array.tobytes())
    for batch in batches:
        for array in batch.values():
            said.update(array.tobytes())
    for module in (adaptable.model, adaptable.events):
        for name, tensor in module.state_dict().items() if module is not None else ():
            said.update(name.encode() + tensor.cpu().numpy().tobytes())
    return said.hexdigest()

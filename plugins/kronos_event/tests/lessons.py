"""Options and examples for trainings that take a moment, for tests and for the processes they start."""

from __future__ import annotations

import json
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.lora_options import KronosLora
from kronosfw_kronos_event.lora_trainer import KronosLoraTrainer, Shape
from kronosfw_kronos_event.sources import source
from kronosfw_kronos_event.training.samples import Samples

from kronosfw.builtin.encoders import Macro20
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example, Snapshot

GOLDEN = Path(__file__).parent / "golden"
ENCODERS = [Macro20().build()]
CONTEXT, HORIZON = 40, 5
TINY: dict[str, Any] = {
    "model": str(GOLDEN / "model"),
    "tokenizer": str(GOLDEN / "tokenizer"),
    "max_context": 64,
    "rank": 2,
    "epochs": 2,
    "learning_rate": 1e-2,
    "batch": 8,
    "warmup": 2,
    "tensorboard": False,
}


def tiny(**options: Any) -> KronosLora:
    """Return options for a training of a few steps."""
    return KronosLora(**{**TINY, **options})


@cache
def market() -> SmallMarket:
    """Return two symbols, leaders and releases."""
    return SmallMarket.make(n_symbols=2, n=160)


def examples(
    first: int = 60, number: int = 12, events: bool = True, of: SmallMarket | None = None
) -> list[Example]:
    """Return so many examples of each symbol, the first cut after a position."""
    times = market().bars["S0"].times
    cutoffs = [cutoff_at(times, first + 3 * i) for i in range(number)]
    encoders = ENCODERS if events else ()
    return (of or market()).examples(cutoffs, context=CONTEXT, horizon=HORIZON, encoders=encoders)


def lessons(**shape: Any) -> tuple[list[Example], list[Example]]:
    """Return examples to learn from and others to validate with."""
    return examples(**shape), examples(110, 4, **shape)


def train(options: KronosLora, out: Path, start: Path | None = None, **shape: Any) -> list[Snapshot]:
    """Train to the end and return the snapshots that have weights."""
    return [s for s in options.build().train(*lessons(**shape), start, out) if s.path is not None]


def losses(out: Path) -> list[dict[str, Any]]:
    """Return the log of a training, but for the time it took."""
    lines = map(json.loads, (out / "logs" / "losses.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def drained(generator: Generator[Any, None, Any]) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def sampled(given: list[Example], out: Path, options: KronosLora | None = None, name: str = "train") -> Samples:
    """Return examples as the trainer learns from them."""
    trainer = KronosLoraTrainer(options or tiny())
    found = source(trainer.options)
    tokenizer = KronosTokenizer.from_pretrained(found.tokenizer)
    return drained(trainer._samples(name, given, Shape.of(given[0], found, trainer.options), tokenizer, out))

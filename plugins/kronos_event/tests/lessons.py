"""Options and examples for trainings that take a moment, for tests and for the processes they start."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from kronosfw_kronos_event.lora_options import KronosLora

from kronosfw.builtin.encoders import Macro20
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example

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

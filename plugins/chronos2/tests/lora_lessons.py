"""Options and examples for trainings that take a moment."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from kronosfw_chronos2.forecaster import Chronos2Forecaster
from kronosfw_chronos2.lora_options import Chronos2Lora
from kronosfw_chronos2.options import Chronos2

from kronosfw.builtin.encoders import Macro20
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example, Snapshot, Window

CONTEXT, HORIZON = 40, 5
LEVELS = (0.1, 0.5, 0.9)
ENCODERS = [Macro20().build()]


def tiny(model: Path, **options: Any) -> Chronos2Lora:
    """Return options for a training of a few steps."""
    few = {"rank": 2, "alpha": 4, "steps": 6, "learning_rate": 1e-2, "batch": 4, "evaluate_every": 3}
    again = {"steps": 3, "learning_rate": 1e-2}
    return Chronos2Lora(model=str(model), **{**few, "again": again, "threads": 1, **options})


@cache
def market() -> SmallMarket:
    """Return two symbols, leaders and releases."""
    return SmallMarket.make(n_symbols=2, n=160)


def examples(first: int = 60, number: int = 12, events: bool = True, context: int = CONTEXT) -> list[Example]:
    """Return so many examples of each symbol, the first cut after a position."""
    times = market().bars["S0"].times
    cutoffs = [cutoff_at(times, first + 3 * i) for i in range(number)]
    encoders = ENCODERS if events else ()
    return market().examples(cutoffs, context=context, horizon=HORIZON, encoders=encoders)


def train(options: Chronos2Lora, out: Path, start: Path | None = None, events: bool = True) -> list[Snapshot]:
    """Train to the end and return the snapshots that have weights."""
    given = examples(events=events), examples(110, 4, events=events)
    return [s for s in options.build().train(*given, start, out) if s.path is not None]


def windows(events: bool = True) -> list[Window]:
    """Return windows that no training has seen."""
    return [example.window for example in examples(140, 2, events)]


def base(model: Path, **options: Any) -> Chronos2Forecaster:
    """Return the forecaster with the weights that are trained here."""
    return Chronos2(model=str(model), threads=1, **options).build()

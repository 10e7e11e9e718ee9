"""Scores of a small panel for the tests of checkpoint policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronosfw.types import Checkpoint, Entry, Trial

START = np.datetime64("2025-01-01", "us")
SLOT = datetime(2025, 6, 1, tzinfo=UTC)
CANDIDATE = Checkpoint("2025-06-01-0001", Path("candidate"), "any", "equity", state="candidate")


def panel_of(
    arms: Mapping[Any, float],
    *,
    days: int = 63,
    symbols: int = 6,
    steps: int = 2,
    apart: float = 0.03,
    seed: int = 0,
    column: str = "arm",
) -> pd.DataFrame:
    """Return scores whose CRPS is what all arms share times what the mapping says of each arm.

    Symbols differ tenfold in volatility and share a market's good and bad days; ``apart`` is the noise, as a share,
    by which an arm's CRPS differs from the others' on a day; every seventh day has an event.
    """
    rng = np.random.default_rng(seed)
    shape = days, symbols, steps
    volatility = np.geomspace(0.003, 0.03, symbols)[:, None] * np.sqrt(np.arange(1, steps + 1))
    market = np.exp(0.5 * rng.standard_normal((days, 1, 1)))
    actual = volatility * market * rng.standard_normal(shape)
    loss = volatility * market * rng.gamma(4, 0.1, shape)
    day = START + np.arange(days) * np.timedelta64(1, "D")
    cells = {
        "symbol": np.tile(np.repeat([f"S{i}" for i in range(symbols)], steps), days),
        "as_of": pd.DatetimeIndex(np.repeat(day, symbols * steps)).tz_localize("UTC"),
        "day": np.repeat(day.astype("datetime64[s]"), symbols * steps),
        "step": np.tile(np.arange(1, steps + 1), days * symbols),
        "covered": rng.permutation(np.arange(actual.size) < 0.8 * actual.size),
        "event_active": np.repeat(np.arange(days) % 7 == 0, symbols * steps),
        "actual": actual.ravel(),
    }
    frames = []
    for arm, factor in arms.items():
        crps = loss * factor * (1 + apart * rng.standard_normal(shape) * market)
        median = 0.1 * volatility * rng.standard_normal(shape)
        own = {"crps": crps.ravel(), "abs_error": 1.4 * crps.ravel(), "median": median.ravel()}
        frames.append(pd.DataFrame({column: arm, **cells, **own}))
    return pd.concat(frames, ignore_index=True)


def trial_of(
    candidate: float = 1.0, *, history: Sequence[Entry] = (), faults: tuple[str, ...] = (), **panel: Any
) -> Trial:
    """Return a trial of a candidate whose CRPS is so many times that of what serves."""
    scores = panel_of({"candidate": candidate, "incumbent": 1.0, "base": 1.02}, **panel)
    return Trial(CANDIDATE, None, None, scores, SLOT, faults, history)

"""A made-up past: members whose errors and widths are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

SPREAD = 1.2816
"""p90 of the standard normal distribution."""
START = np.datetime64("2022-01-01", "us")
DAY = np.timedelta64(1, "D")


def past(
    days: int,
    *,
    members: Mapping[str, tuple[float, float]] | Mapping[str, Mapping[str, tuple[float, float]]],
    classes: Sequence[str] = ("crypto",),
    symbols: int = 4,
    steps: int = 3,
    seed: int = 0,
    start: np.datetime64 = START,
) -> pd.DataFrame:
    """Return scored predictions of days × symbols × steps for each member, in the columns that ensemblers read.

    Returns have a part that can be known, of variance 1, and noise of variance 1, in units of 1 %. A member is
    (error, width): its median is the known part plus an error of so many standard deviations, its envelope so
    many times as wide as it should be; a mapping may say so for each asset class, or for each regime.
    """
    rng = np.random.default_rng(seed)
    day, symbol, step = (a.ravel() for a in np.indices((days, symbols, steps)))
    n = len(day)
    kind = np.array(classes, dtype=object)[symbol % len(classes)]
    as_of = start + day * DAY
    spread = 0.01 * np.sqrt(step + 1)
    signal, noise = rng.normal(size=n), rng.normal(size=n)
    market = rng.normal(size=days)[day]
    actual = signal + 0.7 * noise + 0.7 * market
    regime = rng.choice(["low", "normal", "high"], n).astype(object)
    common = {
        "symbol": np.array([f"S{i}" for i in range(symbols)], dtype=object)[symbol],
        "timeframe": "1d",
        "as_of": pd.to_datetime(as_of, utc=True),
        "step": step + 1,
        "asset_class": kind,
        "last_close": 100.0,
        "quantiles": None,
        "event_context": None,
        "realised": 100 * (1 + spread * actual),
        "realised_at": pd.to_datetime(as_of + (step + 1) * DAY, utc=True),
        "event_active": False,
        "regime": regime,
    }
    frames = []
    for name, skill in members.items():
        told = skill if isinstance(skill, Mapping) else dict.fromkeys(classes, skill)
        rows = [told[c if c in told else r] for c, r in zip(kind, regime, strict=True)]
        error, width = np.array(rows).T * [[1.0], [SPREAD]]
        error = error * rng.normal(size=n)
        quantiles = {"p10": -width, "p50": np.zeros(n), "p90": width}
        prices = {level: 100 * (1 + spread * (signal + error + q)) for level, q in quantiles.items()}
        frames.append(pd.DataFrame({**common, "model_name": name, **prices}))
    return pd.concat(frames, ignore_index=True)

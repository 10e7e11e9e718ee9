"""Windows made from arrays, and those that a run would cut."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronosfw.config import Config
from kronosfw.members import build_members, longest_context
from kronosfw.pipeline import silent
from kronosfw.plugins import Plugins
from kronosfw.survey import Survey
from kronosfw.types import Bars, Times, Window

OHLC = ("open", "high", "low", "close")


def windows_of(config: Config, plugins: Plugins, as_of: datetime | str | None = None) -> dict[str, Window]:
    """Return the windows of a configuration's symbols, as its run cuts them."""
    members, _ = build_members(config, plugins, config.forecast_symbols)
    context = longest_context(members, config)
    survey = Survey(config, config.forecast_symbols, as_of or config.as_of, context, silent)
    return survey.windows(survey.symbols)[0]


def daily(n: int, *, weekends: bool = False) -> Times:
    """Return n daily bars from Monday, 2020-01-06; without weekends unless asked for."""
    days = np.arange(n) if weekends else np.arange(n) + 2 * (np.arange(n) // 5)
    session = np.datetime64("2020-01-06") + days
    opens = session.astype("datetime64[us]")
    return Times(opens, opens + np.timedelta64(1, "D"), session)


def intraday(n: int, *, minutes: int, a_session: int) -> Times:
    """Return n bars, the first ``a_session`` of each day's."""
    session = np.datetime64("2020-01-06") + np.arange(n) // a_session
    opens = session.astype("datetime64[us]") + np.arange(n) % a_session * np.timedelta64(minutes, "m")
    return Times(opens, opens + np.timedelta64(minutes, "m"), session)


def window(
    values: ArrayLike,
    *,
    columns: Sequence[str] | None = None,
    horizon: int = 5,
    times: Times | None = None,
    freq: str = "1d",
    seed: int = 7,
    symbol: str = "X",
) -> Window:
    """Return a window of closes ``[T]``, or of all four prices ``[T, 4]``; ``times`` covers T + H bars."""
    table = np.array(values, dtype=np.float64)
    if table.ndim == 1:
        table = np.repeat(table[:, None], 4, axis=1)
    n = len(table)
    times = daily(n + horizon) if times is None else times
    bars = Bars(symbol, times[:n], table, tuple(columns or OHLC))
    return Window(
        bars=bars,
        future=times[n : n + horizon],
        cutoff=times.available_at[n - 1] if n else times.time[0],
        freq=freq,
        asset_class="equity",
        seed=seed,
    )


def walk(n: int, *, seed: int = 0, sigma: ArrayLike = 0.01) -> NDArray[np.float64]:
    """Return open, high, low and close ``[n, 4]`` of a Gaussian walk of the log price, seen 16 times a bar."""
    steps = np.random.default_rng(seed).normal(size=(n, 16)) * np.reshape(sigma, (-1, 1)) / 4
    path = 100 * np.exp(steps.cumsum().reshape(n, 16))
    opens = np.append(100, path[:-1, -1])
    seen = np.column_stack([opens, path])
    return np.column_stack([opens, seen.max(axis=1), seen.min(axis=1), path[:, -1]])

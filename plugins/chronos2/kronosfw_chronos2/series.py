"""What of a window is shown to the model: the series to forecast and those that go with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from kronosfw.types import Bars, Floats, Window

from .options import BaseModelOptions

LEAST = 2
"""Fewest known values of a series to forecast: one alone has no scale."""


@dataclass(frozen=True)
class Series:
    """The series of one window over T bars and H steps; NaN where nothing is known, never infinite."""

    target: Floats
    """``[V, T]``"""
    past: Mapping[str, Floats]
    """Channels of which the past alone is known ``[T]``."""
    known: Mapping[str, Floats]
    """Channels that are known ahead ``[T+H]``."""


def columns(options: BaseModelOptions) -> tuple[str, ...]:
    """Return the columns that are forecast, in order."""
    return ("close",) if options.targets == "close" else ("open", "high", "low", "close")


def series(window: Window, options: BaseModelOptions) -> Series:
    """Return the window's series.

    What a channel means can be learned from its past alone, so one that does not move there is left out. Raises
    ValueError, naming the symbol, where a series to forecast is missing or all but unknown, and where the options
    name a channel that there is not.
    """
    bars, wanted = window.bars, columns(options)
    if missing := [name for name in wanted if name not in bars.columns]:
        raise ValueError(f"{window.symbol}: the bars lack {', '.join(missing)}")
    target = np.stack([finite(bars.column(name)) for name in wanted])
    for name, values in zip(wanted, target, strict=True):
        if (count := int(np.isfinite(values).sum())) < LEAST:
            raise ValueError(
                f"{window.symbol}: {LEAST} known values of the {name} are needed for a forecast, and of the last "
                f"{len(bars)} bars {count} are known"
            )
    past, known = _own(bars), dict[str, Floats]()
    if (given := window.covariates) is not None:
        for i, name in enumerate(given.names):
            values = np.where(given.mask[:, i], np.nan, given.values[:, i].astype(np.float64))
            if given.known_ahead[i]:
                known[name] = values
            else:
                past[name] = values[: len(bars)]
    return Series(
        target,
        _chosen(past, options.past_covariates, window, "past_covariates"),
        _chosen(known, options.known_covariates, window, "known_covariates"),
    )


def finite(values: Floats) -> Floats:
    """Return the values with NaN for those that are infinite."""
    return np.where(np.isfinite(values), values, np.nan)


def _own(bars: Bars) -> dict[str, Floats]:
    """Return the channels that the bars themselves give."""
    found = {}
    if "volume" in bars.columns:
        found["volume"] = finite(bars.column("volume"))
    if {"high", "low", "close"} <= set(bars.columns):
        with np.errstate(all="ignore"):
            found["range"] = finite((bars.column("high") - bars.column("low")) / bars.close)
    return found


def _chosen(
    channels: Mapping[str, Floats], wanted: bool | Collection[str], window: Window, option: str
) -> dict[str, Floats]:
    """Return the channels that are wanted and whose past moves."""
    if wanted is False:
        return {}
    if wanted is not True and (missing := [name for name in wanted if name not in channels]):
        raise ValueError(
            f"{window.symbol}: `{option}` names {', '.join(missing)}, and there is only "
            f"{', '.join(sorted(channels)) or 'none'}"
        )
    chosen = channels if wanted is True else {name: channels[name] for name in wanted}
    return {name: values for name, values in chosen.items() if _moves(values[: len(window.bars)])}


def _moves(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(known.min() < known.max())

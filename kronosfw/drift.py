"""Members that part company: told to people, and noted so that a retraining becomes due."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from .alerts import raise_alert
from .checkpoints import Shelf
from .config import Config, Drift
from .isolation import reason
from .lessons import YEAR
from .plugins import Plugins
from .store import Store
from .types import Alert, Entry, Floats

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_SPREAD = 2.56
"""p90 − p10 of the standard normal distribution."""
_ENOUGH = 20
"""Earlier runs from which it is known what is usual."""
_LEAST_SPREAD = 1e-6
"""A smaller one is of rounding."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Two members that have been too far apart on a symbol for some runs in a row."""

    symbol: str
    members: tuple[str, str]
    z: tuple[float, ...]
    """Of the last runs."""

    def __str__(self) -> str:
        figures = ", ".join(f"{z:+.1f}" for z in self.z)
        return f"{' and '.join(self.members)} have parted on {self.symbol}: z {figures}"


def watch_drift(config: Config, plugins: Plugins, store: Store, cutoff: datetime, run_id: str) -> list[Departure]:
    """Look at the runs up to this one, tell who wants to know, and note it where a retraining can answer.

    Nothing is looked at where nobody is told and nothing is retrained, nor as of a moment later than which there
    are forecasts, nor of symbols of which the run's members forecast nothing new. Raises StoreError.
    """
    if not (config.alerts or config.checkpoints) or len(config.member_names) < 2:
        return []
    new = store.predictions(run_id=run_id, step=config.horizon)
    symbols = {row["symbol"] for row in new if row["model_name"] in config.member_names}
    told = store.envelopes(
        _FAR, timeframe=config.freq, models=config.member_names, step=config.horizon, since=cutoff - YEAR
    )
    told = told[told["symbol"].isin(sorted(symbols))]
    if told.empty or told["as_of"].max() != cutoff:
        return []
    found = departures(told, config.drift)
    by_class: dict[str, list[Departure]] = {}
    for departure in found:
        by_class.setdefault(config.universe[departure.symbol].asset_class, []).append(departure)
    for asset_class, mine in by_class.items():
        text = "; ".join(map(str, mine))
        if config.checkpoint_root is not None:
            try:
                Shelf(config.checkpoint_root, asset_class).note(Entry(cutoff, "drifted", reason=text))
            except Exception as error:
                log.warning("the drift of %s could not be noted: %s", asset_class, reason(error))
        raise_alert(Alert("drifted", asset_class, text, cutoff), config, plugins)
    return found


def departures(told: pd.DataFrame, options: Drift) -> list[Departure]:
    """Return the pairs of members that have parted at the last run, and not earlier, symbol by symbol.

    ``told`` is as ``Store.envelopes`` has it. z is standardised by the mean and the spread of the runs before those
    that count. A pair is told of once: at the run that makes its runs in a row enough.
    """
    symbols, medians, widths = _by_member(told)
    found = []
    for a, b in combinations(medians, 2):
        width = np.hypot(widths[a], widths[b])
        apart = np.divide(
            medians[a] - medians[b], width / _SPREAD, out=np.full_like(width, np.nan), where=width > 0
        )
        for symbol, z in zip(symbols, apart, strict=True):
            if np.isnan(z[-1]):
                continue
            runs = _standardised(z[~np.isnan(z)], options)
            beyond = np.abs(runs) > options.threshold
            if len(runs) > options.runs and beyond[-options.runs :].all() and not beyond[-options.runs - 1]:
                found.append(Departure(symbol, (a, b), tuple(runs[-options.runs :].tolist())))
    return sorted(found, key=lambda departure: (departure.symbol, departure.members))


def _by_member(told: pd.DataFrame) -> tuple[list[str], dict[str, Floats], dict[str, Floats]]:
    """Return the symbols S, and by member its medians and widths ``[S, T]`` by cutoff, NaN where it made none."""
    symbols, row = np.unique(told["symbol"].to_numpy(dtype=str), return_inverse=True)
    cutoffs, column = np.unique(told["as_of"].to_numpy(dtype="datetime64[us]"), return_inverse=True)
    models = told["model_name"].to_numpy(dtype=str)
    medians: dict[str, Floats] = {}
    widths: dict[str, Floats] = {}
    for name in np.unique(models).tolist():
        mine = models == name
        for table, values in ((medians, told["p50"]), (widths, told["p90"] - told["p10"])):
            table[name] = np.full((len(symbols), len(cutoffs)), np.nan)
            table[name][row[mine], column[mine]] = values.to_numpy(dtype=np.float64)[mine]
    return symbols.tolist(), medians, widths


def _standardised(z: Floats, options: Drift) -> Floats:
    """Return z of the last runs that count and the one before them, against what was usual before."""
    counted, before = z[-options.runs - 1 :], z[: -options.runs - 1]
    before = before[max(len(before) - options.history, 0) :]
    spread = before.std() if len(before) >= _ENOUGH else 0.0
    usual: Floats = (counted - before.mean()) / spread if spread > _LEAST_SPREAD else counted
    return usual

"""Members that part company: told to people, and noted so that a retraining becomes due."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
    found = list(departures(told, config.drift))
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


def departures(told: pd.DataFrame, options: Drift) -> Iterator[Departure]:
    """Yield the pairs of members that have parted at the last run, and not earlier.

    ``told`` is as ``Store.envelopes`` has it. z is standardised by the mean and the spread of the runs before those
    that count. A pair is told of once: at the run that makes its runs in a row enough.
    """
    last = told["as_of"].max()
    for symbol, rows in told.groupby("symbol", sort=True):
        by_model = {str(name): its.set_index("as_of") for name, its in rows.groupby("model_name", sort=True)}
        for a, b in combinations(by_model, 2):
            z = _apart(by_model[a], by_model[b])
            runs = _standardised(np.asarray(z, dtype=np.float64), options)
            if len(runs) <= options.runs or z.index[-1] != last:
                continue
            beyond = np.abs(runs) > options.threshold
            if beyond[-options.runs :].all() and not beyond[-options.runs - 1]:
                yield Departure(str(symbol), (a, b), tuple(runs[-options.runs :].tolist()))


def _apart(a: pd.DataFrame, b: pd.DataFrame) -> pd.Series[float]:
    """Return z of two members by cutoff, in order of time, where both forecast and have any width."""
    both = a.merge(b, on="as_of", suffixes=("_a", "_b")).sort_index()
    width = np.hypot(both["p90_a"] - both["p10_a"], both["p90_b"] - both["p10_b"])
    both, width = both[width > 0], width[width > 0]
    return (both["p50_a"] - both["p50_b"]) / (width / _SPREAD)


def _standardised(z: Floats, options: Drift) -> Floats:
    """Return z of the last runs that count and the one before them, against what was usual before."""
    counted, before = z[-options.runs - 1 :], z[: -options.runs - 1]
    before = before[max(len(before) - options.history, 0) :]
    spread = before.std() if len(before) >= _ENOUGH else 0.0
    usual: Floats = (counted - before.mean()) / spread if spread > _LEAST_SPREAD else counted
    return usual

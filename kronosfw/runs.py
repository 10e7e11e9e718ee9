"""A run as observers and reports see it: what was asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from .checks import DataReport
from .config import Config
from .drift import Departure
from .errors import DONE, PARTIAL, StoreError
from .interfaces import Weights
from .lessons import Learned
from .reading import Failure
from .types import Forecast, Moment, Window


@dataclass(frozen=True)
class Run:
    """What was asked for; observers get it."""

    config: Config
    symbols: tuple[str, ...]
    as_of: datetime | str
    started_at: datetime
    explain: bool = False


@dataclass(frozen=True)
class RunReport:
    """What came of a run."""

    run_id: str
    manifest: Mapping[str, Any]
    """All that the numbers depend on, as plain values."""
    cutoff: Moment
    symbols: tuple[str, ...]
    """The symbols asked for."""
    forecasts: tuple[Forecast, ...]
    """Members' and ensemble's, by symbol in the order asked for, without their samples."""
    windows: Mapping[str, Window]
    """Of each symbol forecast, cut to its last bar."""
    versions: Mapping[str, Mapping[str, str]]
    """Model → asset class → version."""
    data: Mapping[str, DataReport]
    failures: tuple[Failure, ...]
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Licence and training cut-off by model, for those that come with weights."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """By model, what an ensemble or a calibration has learned for this cutoff."""
    drifts: tuple[Departure, ...] = ()
    """Members that have parted company."""
    store: str = ""
    """Where the results are, without its password."""
    resumed: tuple[str, ...] = ()
    """Symbols that an earlier run with the same inputs had finished."""
    stored: int = 0
    """Rows that the run added or changed in the store."""
    spooled: str = ""
    """The folder that holds the results which the store did not take."""
    spooled_rows: int = 0
    trouble: str = ""
    """Why the store could not be used."""
    lost: int = 0
    """Tries that were lost, to a worker that died or to a timeout."""
    took: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, ``reading``, ``serving`` and ``storing``, and by member."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """The exit code that the run ends with."""
        if self.spooled:
            return StoreError.exit_code
        return PARTIAL if self.failures else DONE

    @property
    def served(self) -> tuple[str, ...]:
        """The symbols that have a forecast."""
        have = {f.symbol for f in self.forecasts}.union(self.resumed)
        return tuple(s for s in self.symbols if s in have)

    def as_json(self) -> dict[str, Any]:
        """Return what went wrong and what was found in the data, as plain values."""
        return {
            "symbols": len(self.symbols),
            "served": len(self.served),
            "resumed": len(self.resumed),
            "seconds": self.seconds,
            "took": dict(self.took),
            "lost": self.lost,
            "failures": [asdict(f) for f in self.failures],
            "data": [r.as_json() for r in self.data.values() if r.findings],
        }

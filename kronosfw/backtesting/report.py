"""What came of a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import DONE, PARTIAL
from ..interfaces import Weights
from ..reading import Failure
from ..scoreboard import Scoreboard
from ..types import Moment


@dataclass(frozen=True)
class BacktestReport:
    """What came of a backtest."""

    run_id: str
    first: Moment
    last: Moment
    """The first and the last origin that is compared."""
    origins: Mapping[str, int]
    """By symbol, how many origins are compared."""
    board: Scoreboard
    seconds: Mapping[str, float]
    """By model, how long forecasting took, or learning and combining."""
    failures: tuple[Failure, ...]
    weights: Mapping[str, Weights]
    """Licence and training cut-off by model, for those that come with weights."""
    seen: Mapping[str, str]
    """By model, why its scores may be no evidence: its weights may have learned from days that are scored."""
    rare: list[str]
    """Models that made too few forecasts to be compared."""
    store: str
    resumed: bool
    """Whether a part of it had been done before."""
    wall_seconds: float

    @property
    def exit_code(self) -> int:
        """The exit code that the backtest ends with."""
        return PARTIAL if self.failures else DONE

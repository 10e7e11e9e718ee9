"""What a backtest has forecast and seen come, to be learned from as of each of its cutoffs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..lessons import YEAR
from ..store import Row, scored_frame
from .columns import Columns

if TYPE_CHECKING:
    import pandas as pd

_TOLD = ["symbol", "as_of", "model_name", "p10", "p50", "p90", "last_close"]


class Rehearsal:
    """All that was forecast so far and what will come of it; only ``Before`` looks at what had come by a cutoff."""

    def __init__(self, scored: pd.DataFrame, told: pd.DataFrame, served: Collection[str], horizon: int) -> None:
        """Begin with the scored predictions and the last steps' envelopes of what was done before."""
        self.scored, self.told = Columns(scored, "realised_at"), Columns(told, "as_of")
        self._served, self._horizon = frozenset(served), horizon
        self.states: dict[tuple[str, str], tuple[datetime, Mapping[str, Any]]] = {}
        """By model and options, until when and what it has learned."""

    def add(self, predictions: Iterable[Row], evaluations: Sequence[Row]) -> None:
        """Add what was forecast as of one cutoff, and what will come of it."""
        import pandas as pd

        predicted = {_key(row): row for row in predictions}
        self.scored.add(scored_frame([{**predicted[_key(e)], **e} for e in evaluations]))
        last = [r for r in predicted.values() if r["step"] == self._horizon and r["model_name"] in self._served]
        if last:
            self.told.add(pd.DataFrame(last)[_TOLD])


@dataclass(frozen=True)
class Before:
    """Lessons as of one cutoff of a backtest."""

    rehearsal: Rehearsal
    cutoff: datetime
    purge: timedelta = field(default=timedelta())
    """Outcomes known later than this before the cutoff are not learned from."""

    def _known(self, models: Sequence[str], since: datetime | None = None) -> NDArray[np.int64]:
        return self.rehearsal.scored.find(models, since, self.cutoff - self.purge)

    def past(self, models: Sequence[str], since: datetime | None = None) -> pd.DataFrame:
        return self.rehearsal.scored.frame(self._known(models, since))

    def learned(self, model: str, options: str) -> tuple[datetime, Mapping[str, Any]] | None:
        return self.rehearsal.states.get((model, options))

    def envelopes(self, model: str, symbols: Sequence[str]) -> pd.DataFrame:
        told, before = self.rehearsal.told, self.cutoff - timedelta(microseconds=1)
        found = told.find([model], self.cutoff - YEAR, before)
        return told.frame(found[np.isin(told["symbol"][found].astype(str), list(symbols))])

    def coverage(self, model: str) -> Mapping[str, tuple[float, int]]:
        rows = self._known([model], self.cutoff - YEAR)
        classes, covered = (self.rehearsal.scored[name][rows] for name in ("asset_class", "covered"))
        groups = {name: covered[classes == name].astype(np.float64) for name in sorted(set(classes))}
        return {name: (float(its.mean()), len(its)) for name, its in groups.items()}


def _key(row: Row) -> tuple[Any, ...]:
    return row["symbol"], row["model_name"], row["step"]

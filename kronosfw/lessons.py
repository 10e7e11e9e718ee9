"""What may be learned from as of a cutoff: what was forecast, what came of it, and what was learned before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from .errors import StoreError
from .manifest import digest
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

YEAR = timedelta(days=366)
"""How far back widths and coverage are looked at."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What a model knows as of a cutoff."""

    options: str
    """Of the model: what was learned with others is of no use."""
    until: datetime
    """The moment as of which it was learned."""
    state: Mapping[str, Any] | None
    """What is kept of it; None where nothing is."""
    kept: bool
    """Whether the store has that state already."""
    past: pd.DataFrame | None = None
    """What it has learned from, where the state does not tell all."""

    @cached_property
    def digest(self) -> str:
        """A digest of all that the numbers depend on."""
        return digest(["" if self.past is None else fingerprint(self.past), self.state], 16)


def fingerprint(past: pd.DataFrame) -> str:
    """Return a digest of predictions and what came of them, whoever wrote them and when."""
    import pandas as pd

    told = past.drop(columns=["run_id", "created_at", "scored_at"]).astype({"quantiles": str, "event_context": str})
    return digest(pd.util.hash_pandas_object(told, index=False).tolist(), 16)


class Lessons(Protocol):
    """Answers as of one cutoff; nothing later is in them."""

    def past(self, models: Sequence[str], since: datetime | None = None) -> pd.DataFrame:
        """Return the models' scored predictions realised by then, and after ``since``, as ``Store.past`` does."""
        ...

    def learned(self, model: str, options: str) -> tuple[datetime, Mapping[str, Any]] | None:
        """Return the newest state of a model and until when it had learned; None where there is none."""
        ...

    def envelopes(self, model: str, symbols: Sequence[str]) -> pd.DataFrame:
        """Return what a model forecast of symbols, for the last step in the year before, as ``Store.envelopes``."""
        ...

    def coverage(self, model: str) -> Mapping[str, tuple[float, int]]:
        """Return by asset class the share of outcomes covered in the year before, and of how many."""
        ...


@dataclass(frozen=True)
class Stored:
    """Lessons from the store."""

    store: Store | None
    """None where it cannot be used: then nothing can be learned."""
    cutoff: datetime
    timeframe: str
    horizon: int

    @property
    def _open(self) -> Store:
        if self.store is None:
            raise StoreError("there is no store to learn from")
        return self.store

    def past(self, models: Sequence[str], since: datetime | None = None) -> pd.DataFrame:
        return self._open.past(self.cutoff, timeframe=self.timeframe, models=models, since=since)

    def learned(self, model: str, options: str) -> tuple[datetime, Mapping[str, Any]] | None:
        return self._open.learned(model, self.timeframe, options, self.cutoff)

    def envelopes(self, model: str, symbols: Sequence[str]) -> pd.DataFrame:
        before = self.cutoff - timedelta(microseconds=1)
        return self._open.envelopes(
            before,
            timeframe=self.timeframe,
            models=[model],
            step=self.horizon,
            since=self.cutoff - YEAR,
            symbols=symbols,
        )

    def coverage(self, model: str) -> Mapping[str, tuple[float, int]]:
        return self._open.coverage(self.cutoff, timeframe=self.timeframe, model=model, since=self.cutoff - YEAR)

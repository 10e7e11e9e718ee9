"""All that a report shows, as plain values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from ..interfaces import Weights
from ..reading import Failure
from ..scoreboard import Scoreboard
from ..types import ENVELOPE, Finding


@dataclass(frozen=True, slots=True)
class Envelope:
    """One model's forecast of a symbol, H steps at Q levels."""

    model: str
    levels: tuple[float, ...]
    """Increasing; 0.1, 0.5 and 0.9 are among them."""
    quantiles: tuple[tuple[float, ...], ...]
    """``[H][Q]``, prices."""
    contexts: tuple[Mapping[str, Any], ...]
    """The ``event_context`` of each step."""

    def path(self, level: float) -> list[float]:
        """Return the quantile of one level at each step."""
        place = self.levels.index(level)
        return [step[place] for step in self.quantiles]

    @property
    def bands(self) -> list[tuple[float, float]]:
        """Levels as far below the median as above it, the outermost pair first."""
        pairs = ((low, high) for low in self.levels if low < 0.5 for high in self.levels)
        return [(low, high) for low, high in pairs if math.isclose(low + high, 1)]

    @property
    def end(self) -> tuple[float, float, float]:
        """p10, p50 and p90 at the last step."""
        low, middle, high = (self.path(level)[-1] for level in ENVELOPE)
        return low, middle, high


@dataclass(frozen=True, slots=True)
class Event:
    """An important event as it was known at the cutoff."""

    name: str
    at: datetime
    bar: int
    """The bar it bears on: 1 to H for those to come, 0 and below for those before the cutoff, 0 the last one."""
    figures: Mapping[str, float]
    """What was known of it, such as ``forecast`` and ``actual``."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there is to tell of one symbol."""

    symbol: str
    asset_class: str
    close: float
    """The last close before the forecast."""
    targets: tuple[datetime, ...]
    """Of each step the open of its bar, or midnight of its session's date where bars are daily."""
    envelopes: tuple[Envelope, ...]
    """Members first, then the ensemble and its calibrated forecast; the last one is served."""
    history: tuple[tuple[datetime, float], ...] = ()
    """Time, as in ``targets``, and close of the bars before the cutoff."""
    since: tuple[tuple[int, float], ...] = ()
    """Step and close of the bars that came since."""
    events: tuple[Event, ...] = ()
    """In order of time."""
    trouble: str = ""
    """Why there is no history."""

    @property
    def served(self) -> Envelope:
        """The forecast that counts."""
        return self.envelopes[-1]


@dataclass(frozen=True, slots=True)
class Run:
    """The run that made the forecasts."""

    id: str
    cutoff: datetime
    finished_at: datetime | None
    asked: int
    """Symbols it was asked for."""
    made: int
    """Symbols that it forecast."""
    failures: tuple[Failure, ...]
    findings: tuple[tuple[str, Finding], ...]
    """Symbol and what the checks found in its data."""


@dataclass(frozen=True, slots=True)
class Board:
    """Scores of one kind of forecast: those made in earnest, or those of a backtest."""

    title: str
    scores: Scoreboard | None
    empty: str = ""
    """Why there are none, and what changes that."""
    few: tuple[str, ...] = ()
    """Models that have too few scores to be compared."""
    first: date | None = None
    last: date | None = None
    """Dates of the first and the last cutoff scored."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """By model, why its scores may be no evidence, as the backtest found."""


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report shows."""

    file: str
    """The configuration as the user calls it, for the commands that the report names."""
    as_of: datetime
    """Nothing known later is shown."""
    made_at: datetime
    freq: str
    horizon: int
    served: str
    """The model that serves where nothing failed."""
    run: Run | None
    outlooks: tuple[Outlook, ...]
    boards: tuple[Board, ...]
    weights: Mapping[str, Weights]
    """Licence and training cut-off by model."""
    troubles: tuple[str, ...] = ()
    """What could not be read, in sentences."""


def as_json(content: Content) -> dict[str, Any]:
    """Return the content as JSON can hold it; what is not finite is null."""
    plain: dict[str, Any] = _plain(content)
    return plain


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Weights():
            return value.model_dump()
        case date():
            return value.isoformat()
        case Mapping():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _ if dataclasses.is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return value

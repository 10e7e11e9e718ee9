"""The values that flow from feed to report.

All are frozen, checked once when they are made, and hold read-only arrays. Moments are ``datetime64[us]`` in
UTC; a session's date is ``datetime64[D]`` in the market's own calendar. Axes: T bars of context, H steps of
horizon, C columns, Q quantile levels, S samples, E covariate channels.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from .interfaces import Concern

ENVELOPE = (0.1, 0.5, 0.9)
"""The levels that every prediction has, in columns of their own: p10, p50 and p90 of the close."""

Moment = np.datetime64
Moments = NDArray[np.datetime64]
Floats = NDArray[np.float64]


def moment(value: Any) -> Moment:
    """Turn an ISO string, a datetime in UTC or a datetime64 into ``datetime64[us]``."""
    return np.datetime64(value, "us")


def _frozen(array: Any, dtype: Any, shape: tuple[int | None, ...], what: str) -> NDArray[Any]:
    """Return a read-only view of the array, or raise ValueError naming what has the wrong shape."""
    view = np.asarray(array, dtype=dtype).view()
    fits = view.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, view.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{what}: expected shape ({wanted}), got {view.shape}")
    view.flags.writeable = False
    return view


def _plain(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what JSON and databases can hold; raises ValueError or TypeError for the rest."""
    if not context:
        return {}
    text = json.dumps(dict(context), allow_nan=False, sort_keys=True)
    if "\\u0000" in text:
        raise ValueError("event_context holds a NUL character, which no database takes")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _put(instance: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(instance, name, value)


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When each of N bars opens, when it is complete, and the session it belongs to."""

    time: Moments
    """Open of each bar ``[N]``, UTC, strictly increasing."""
    available_at: Moments
    """The moment each bar is complete ``[N]``, UTC, after its open."""
    session: Moments
    """Date of the session in the market's calendar ``[N]``, ``datetime64[D]``."""

    def __post_init__(self) -> None:
        time = _frozen(self.time, "datetime64[us]", (None,), "time")
        n = len(time)
        available_at = _frozen(self.available_at, "datetime64[us]", (n,), "available_at")
        _put(
            self,
            time=time,
            available_at=available_at,
            session=_frozen(self.session, "datetime64[D]", (n,), "session"),
        )
        ordered = (time[1:] > time[:-1]).all() and (available_at[1:] >= available_at[:-1]).all()
        if not (ordered and (available_at > time).all()):
            raise ValueError("bars must open one after the other and be complete after they open")

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Times:
        return Times(self.time[rows], self.available_at[rows], self.session[rows])

    def then(self, later: Times) -> Times:
        """Return these bars followed by the later ones."""
        return Times(
            np.concatenate([self.time, later.time]),
            np.concatenate([self.available_at, later.available_at]),
            np.concatenate([self.session, later.session]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one symbol: prices in the instrument's currency, volume in its units."""

    symbol: str
    times: Times
    values: Floats
    """``[T, C]``, one column for each name in ``columns``."""
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.columns))
        _put(self, values=_frozen(self.values, np.float64, shape, f"values of {self.symbol}"))

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, rows: slice) -> Bars:
        return Bars(self.symbol, self.times[rows], self.values[rows], self.columns)

    def column(self, name: str) -> Floats:
        """Return one column ``[T]``; raises ValueError if the bars do not have it."""
        return self.values[:, self.columns.index(name)]

    @property
    def close(self) -> Floats:
        """Closing prices ``[T]``."""
        return self.column("close")


@dataclass(frozen=True, slots=True)
class Fact:
    """A dated fact and the moment it became known.

    What happens to one event over time (scheduled, moved, consensus, released, revised) is several facts that
    share ``event``; a later one never overwrites an earlier one.
    """

    kind: str
    """What it is, such as ``cpi`` or ``fomc``."""
    scheduled_at: Moment
    known_at: Moment
    symbols: tuple[str, ...] = ()
    """The symbols it concerns; empty means all."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Figures such as ``actual``, ``forecast``, ``previous``; ``importance`` from 0 to 3."""
    event: str = ""
    """Identity of the event across its facts; empty where a fact stands alone."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a check found, and what was done about it: ``refused``, ``repaired`` or ``accepted``."""

    check: str
    action: str
    count: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """Event channels over context and horizon."""

    values: NDArray[np.float32]
    """``[T+H, E]``, 0 where masked."""
    mask: NDArray[np.bool_]
    """``[T+H, E]``, True where nothing was known."""
    names: tuple[str, ...]
    known_ahead: tuple[bool, ...]
    """For each channel, whether its future rows may hold values (a schedule) or are masked."""
    groups: tuple[str, ...]
    """For each channel, the group of channels that it is explained and left out with."""

    def __post_init__(self) -> None:
        shape = (None, len(self.names))
        values = _frozen(self.values, np.float32, shape, "covariates")
        mask = _frozen(self.mask, np.bool_, values.shape, "covariate mask")
        if not len(self.known_ahead) == len(self.groups) == len(self.names):
            raise ValueError("covariates: known_ahead and groups must have one entry for each name")
        if not np.isfinite(values).all():
            raise ValueError("covariates: values must be finite; mask what is not known")
        _put(self, values=values, mask=mask)

    def __getitem__(self, rows: slice) -> Covariates:
        return replace(self, values=self.values[rows], mask=self.mask[rows])

    def without(self, groups: Collection[str]) -> Covariates:
        """Return the covariates with nothing known of some groups of channels."""
        lost = np.array([group in groups for group in self.groups], dtype=np.bool_)
        return replace(self, values=np.where(lost, np.float32(0), self.values), mask=self.mask | lost)


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Quantiles of one symbol's next H bars as seen at the cutoff."""

    symbol: str
    cutoff: Moment
    time: Moments
    """Opens of the target bars ``[H]``."""
    levels: tuple[float, ...]
    """Quantile levels, increasing, each strictly between 0 and 1."""
    quantiles: Floats
    """``[H, C, Q]``. Sorted along Q on the way in, so that no two levels cross (the rearrangement of
    Chernozhukov, Fernández-Val and Galichon, Econometrica 78, 2010)."""
    columns: tuple[str, ...] = ("close",)
    samples: Floats | None = None
    """Paths ``[S, H, C]`` where the model draws any and the user wants them kept."""
    model: str = ""
    """Name of the model as the configuration calls it; the host fills it in."""
    event_context: Mapping[str, Any] = field(default_factory=dict)
    """What stands behind the forecast (weights, contributions, events), as JSON can hold it.

    ``steps``, where there is one, is a list of H mappings: what concerns one step alone.
    """

    def __post_init__(self) -> None:
        time = _frozen(self.time, "datetime64[us]", (None,), "forecast time")
        shape = (len(time), len(self.columns), len(self.levels))
        quantiles = _frozen(self.quantiles, np.float64, shape, f"quantiles of {self.symbol}")
        if not np.isfinite(quantiles).all():
            raise ValueError(f"quantiles of {self.symbol} are not finite")
        _put(self, time=time, quantiles=_frozen(np.sort(quantiles, axis=-1), np.float64, shape, "quantiles"))
        if not all(0 < q < 1 for q in self.levels) or list(self.levels) != sorted(set(self.levels)):
            raise ValueError("quantile levels must increase and lie strictly between 0 and 1")
        _put(self, event_context=_plain(self.event_context))
        own = self.steps
        if not isinstance(own, list) or len(own) != len(time) or not all(isinstance(step, dict) for step in own):
            raise ValueError("the steps of an event_context must be a list with a mapping for each step")
        if self.samples is not None:
            paths = (None, len(time), len(self.columns))
            _put(self, samples=_frozen(self.samples, np.float64, paths, f"samples of {self.symbol}"))

    def at(self, levels: Sequence[float], column: str = "close") -> Floats:
        """Return the quantiles of one column at some of the forecast's levels ``[H, len(levels)]``."""
        rows = [self.levels.index(level) for level in levels]
        return self.quantiles[:, self.columns.index(column), rows]

    def only(self, levels: Sequence[float], steps: int | None = None) -> Forecast:
        """Return the forecast with these of its levels alone, and its last steps where a number is given."""
        rows = [self.levels.index(level) for level in levels]
        start = 0 if steps is None else len(self.time) - steps
        context = dict(self.event_context)
        if "steps" in context:
            context["steps"] = context["steps"][start:]
        return replace(
            self,
            time=self.time[start:],
            levels=tuple(levels),
            quantiles=self.quantiles[start:, :, rows],
            samples=None if self.samples is None else self.samples[:, start:],
            event_context=context,
        )

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What stands behind each of the H steps alone: ``steps`` of the ``event_context``."""
        own: list[dict[str, Any]] = self.event_context.get("steps", [{}] * len(self.time))
        return own

    def contexts(self) -> list[dict[str, Any]]:
        """Return what stands behind each of the H steps: what all share, and over it what is the step's own."""
        shared = {name: value for name, value in self.event_context.items() if name != "steps"}
        return [shared | own for own in self.steps]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """All that a forecaster may know about one symbol at the cutoff."""

    bars: Bars
    """The last T bars complete by the cutoff."""
    future: Times
    """The H bars to forecast: those complete after the cutoff, and before them any that the feed lacks."""
    cutoff: Moment
    freq: str
    asset_class: str
    seed: int
    """Drawn from (seed of the run, symbol, cutoff): the only source of randomness a forecaster needs."""
    covariates: Covariates | None = None

    def __post_init__(self) -> None:
        if self.covariates is not None and len(self.covariates.values) != len(self.bars) + len(self.future):
            raise ValueError(f"covariates of {self.symbol} must cover context and horizon")

    @property
    def symbol(self) -> str:
        return self.bars.symbol

    @property
    def horizon(self) -> int:
        return len(self.future)

    def rng(self) -> np.random.Generator:
        """Return a generator that draws the same numbers whatever else is forecast beside this window."""
        return np.random.default_rng(self.seed)

    def last(self, n: int) -> Window:
        """Return the window with at most the last n bars of context."""
        drop = max(len(self.bars) - n, 0)
        if not drop:
            return self
        return replace(self, bars=self.bars[drop:], covariates=self.covariates and self.covariates[drop:])

    def forecast(
        self,
        levels: Sequence[float],
        quantiles: Any,
        *,
        columns: tuple[str, ...] = ("close",),
        samples: Any = None,
        event_context: Mapping[str, Any] | None = None,
    ) -> Forecast:
        """Return a forecast of this window; ``quantiles`` is ``[H, C, Q]``, or ``[H, Q]`` for one column."""
        array = np.asarray(quantiles, dtype=np.float64)
        if array.ndim == 2 and len(columns) == 1:
            array = array[:, None, :]
        return Forecast(
            symbol=self.symbol,
            cutoff=self.cutoff,
            time=self.future.time,
            levels=tuple(levels),
            quantiles=array,
            columns=columns,
            samples=samples,
            event_context=event_context or {},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A window with what came after it: the unit a trainer learns from."""

    window: Window
    target: Bars
    """The H bars that the window's ``future`` announces."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trainer's state after some steps: what a checkpoint can be made of."""

    step: int
    path: Path | None
    """Folder with the weights and everything needed to load them; None for a mere sign of life."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """``loss`` is that of the validation: the snapshot with the lowest is kept."""
    total: int | None = None
    """Steps that the training takes in all, where that is known."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A version of a forecaster's weights on disk."""

    version: str
    """Folder name; begins with the date, so that names sort by age."""
    path: Path
    forecaster: str
    """Type name of the forecaster it belongs to."""
    asset_class: str | None = None
    """None for the pooled base."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    state: State = "ready"
    active: bool = False
    """Whether it is the one that its asset class, or the pooled base, has been told to serve."""
    trained_until: Moment | None = None
    """When the last target it has learned from, or was chosen by, was complete."""


State = Literal["ready", "candidate", "rejected"]
"""A candidate has not been judged yet; only what is ready may serve."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a verdict rests on."""

    name: str
    passed: bool
    text: str
    """A sentence for a person: what was found and what was allowed."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """Ends of the value's interval."""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checkpoint policy decided about a candidate, with all that it rests on."""

    accepted: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Figures that the history keeps, such as those that tell how often to train."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line in the history of an asset class's checkpoints."""

    at: datetime
    """UTC."""
    event: Happening
    version: str = ""
    reason: str = ""
    slot: datetime | None = None
    """Of a retraining: the moment at which it was due and its data end, UTC."""
    previous: str = ""
    """What was active before."""
    seq: int | None = None
    """Number of the change of what is active; None where nothing changed."""
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def retrained(self) -> bool:
        """Whether it tells of a retraining that came to its end; one that failed did not."""
        return self.event in ("promoted", "kept", "rejected")


Happening = Literal[
    "promoted", "kept", "rejected", "failed", "confirmed", "rolled_back", "activated", "quarantined", "drifted"
]
"""A candidate was promoted or rejected, what serves was kept since nothing was learned that shows, or a retraining
failed; the canary confirmed a promotion or rolled it back; a person activated a version; a damaged one was set
aside; forecasts drifted, which makes a retraining due."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A candidate, and what there is to judge it by."""

    candidate: Checkpoint
    incumbent: Checkpoint | None
    """What serves at present; None for the forecaster's own weights."""
    base: Checkpoint | None
    """The pooled base; None for the forecaster's own weights."""
    scores: pd.DataFrame
    """A row for each arm, symbol, origin and step. Columns: ``arm`` (``candidate``, ``incumbent`` or ``base``),
    ``symbol``, ``as_of`` (the cutoff), ``day`` (session of the last bar), ``step`` (1 … H), ``crps`` and
    ``abs_error`` (shares of the last close), ``covered`` (by p10 … p90), ``event_active``, ``median`` and
    ``actual`` (returns since the last close). Arms have the same rows; all origins lie after what the
    candidate was trained on."""
    slot: datetime
    """The moment at which the data end, UTC."""
    faults: tuple[str, ...] = ()
    """What is wrong with the candidate whatever its scores, in sentences."""
    history: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """Something about the checkpoints that a person should know."""

    kind: Concern
    asset_class: str
    text: str
    """A sentence or several."""
    at: datetime
    version: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Which bars to read: those that open in ``[start, end]``, or the last ``last`` of them."""

    end: Moment
    start: Moment | None = None
    last: int | None = None

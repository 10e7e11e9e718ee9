"""Conformal calibration: p10 and p90 moved by how outcomes have lain to them, by class, bucket and side.

The score of an outcome y is (y − p90) / (p90 − p10) on the upper side and (p10 − y) / (p90 − p10) on the lower one
(conformalised quantile regression: Romano, Patterson & Candès, Advances in Neural Information Processing Systems
32, 2019; in units of the width, so that symbols can be pooled). A side is moved outward by a quantile of the last
scores: split conformal prediction takes the nominal one, the adaptive kind follows the misses (Gibbs & Candès,
Advances in Neural Information Processing Systems 34, 2021). An outcome counts once it is known, so its feedback is
as late as its step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from .buckets import buckets_of
from .config import Calibration, Config, calibrated
from .errors import DamagedState
from .lessons import Learned, Lessons
from .manifest import digest
from .types import ENVELOPE, Floats, Forecast, Window

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
COUNTED = ("realised_at", "symbol", "as_of", "step", "asset_class", "realised", "p10", "p90")
"""The columns of scored predictions that calibration looks at."""
SIDES = ("low", "high")
NOMINAL = 0.1
"""Share of outcomes that should lie outside on each side."""
_ALL = "*"
"""Stands for all asset classes together."""
_MOST = 8
"""Scores of one moment that are kept."""
_ROUNDING = 1e-9
_FEWEST = 20
"""Moments from which a group's level of misses follows what was missed."""
_BOUNDS = 0.02, 0.3
"""Between them lies the level of misses that the adaptive kind aims at."""
_NARROWEST = 0.1
"""Of the distance from p50 to an end of the envelope, at least this share is left."""


@dataclass(frozen=True, eq=False)
class Conformal:
    """What has been learned of one model's envelopes; immutable, ``advance`` returns the next one."""

    options: Calibration
    bounds: tuple[int, ...]
    """Last steps of the horizon's buckets."""
    scores: Mapping[str, Sequence[Sequence[float]]]
    """The scores of the last moments of each group ``class|bucket|side``, the oldest first."""
    misses: Mapping[str, float]
    """The level of misses aimed at for each group."""
    until: datetime | None = None
    """When the last outcome that counted was known; None where there was none."""
    _moves: dict[tuple[str, str, str], float] = field(default_factory=dict, init=False, repr=False)
    """What was asked for before."""

    @classmethod
    def restored(
        cls, options: Calibration, bounds: Sequence[int], until: datetime, state: Mapping[str, Any]
    ) -> Conformal:
        """Return the one whose ``state`` this was."""
        return cls(options, tuple(bounds), state["scores"], state["misses"], until)

    @property
    def state(self) -> dict[str, Any]:
        """All that has been learned, as JSON can hold it."""
        return {"scores": {name: list(kept) for name, kept in self.scores.items()}, "misses": dict(self.misses)}

    def advance(self, past: pd.DataFrame) -> Conformal:
        """Return what is known after further outcomes, at least one, whose order in the frame plays no part.

        ``past`` has the columns ``COUNTED``. Outcomes of one moment count together, and as much as those of another
        moment, however many they are: markets move together.
        """
        known = replace(
            self, scores={name: list(kept) for name, kept in self.scores.items()}, misses=dict(self.misses)
        )
        for groups in _by_moment(past, self.bounds):
            known._take(groups)
        last: datetime = past["realised_at"].max().to_pydatetime()
        return replace(known, until=max(last, self.until or last))

    def _take(self, groups: Mapping[tuple[str, str, str], Floats]) -> None:
        """Take in the scores of one moment, by class, bucket and side, in place."""
        assert isinstance(self.scores, dict)
        assert isinstance(self.misses, dict)
        if self.options.method == "adaptive":
            missed = {group: float((values > self._move(*group)).mean()) for group, values in groups.items()}
            for group, share in missed.items():
                name = "|".join(group)
                if len(self.scores.get(name, ())) >= _FEWEST:
                    aimed = self.misses.get(name, NOMINAL) + self.options.rate * (NOMINAL - share)
                    self.misses[name] = min(max(aimed, _BOUNDS[0]), _BOUNDS[1])
        for group, values in groups.items():
            kept = self.scores.setdefault("|".join(group), [])
            kept.append(_thinned(values))
            del kept[: -self.options.memory]

    def apply(self, forecast: Forecast, asset_class: str) -> Forecast:
        """Return the forecast with the quantiles of its close calibrated, and in ``event_context`` how.

        Each half of the distribution is stretched about p50, so that no quantiles cross. ``low`` and ``high`` are
        by how many widths the ends are moved outward, ``n`` how many moments of the class they rest on.
        """
        quantiles = np.array(forecast.quantiles)
        close = forecast.columns.index("close")
        places = [forecast.levels.index(level) for level in ENVELOPE]
        told = []
        for h, bucket in enumerate(buckets_of(np.arange(1, len(forecast.time) + 1), self.bounds)):
            down, up = (self._asked(asset_class, str(bucket), side) for side in SIDES)
            n = len(self.scores.get(f"{asset_class}|{bucket}|{SIDES[0]}", ()))
            told.append({"calibration": {"low": down, "high": up, "n": n}})
            row = quantiles[h, close]
            low, middle, high = row[places]
            for side, end, far in ((-1, low, down), (1, high, up)):
                if side * (end - middle) > 0:
                    outer = side * (row - middle) > 0
                    factor = max(1 + side * far * (high - low) / (end - middle), _NARROWEST)
                    row[outer] = middle + factor * (row[outer] - middle)
        return _told(forecast, quantiles, told)

    def _asked(self, asset_class: str, bucket: str, side: str) -> float:
        group = asset_class, bucket, side
        if group not in self._moves:
            self._moves[group] = self._move(*group)
        return self._moves[group]

    def _move(self, asset_class: str, bucket: str, side: str) -> float:
        """Return by how many widths a side is moved outward.

        That is the conformal quantile of the class, drawn toward that of all classes, which is drawn toward 0.
        """
        move = 0.0
        for name in (_ALL, asset_class)[: 1 + (asset_class != _ALL)]:
            group = f"{name}|{bucket}|{side}"
            scores = self.scores.get(group, ())
            if n := len(scores):
                own = _threshold(scores, self.misses.get(group, NOMINAL))
                move += (own - move) * n / (n + self.options.trust)
        return move


def _threshold(moments: Sequence[Sequence[float]], misses: float) -> float:
    """Return the conformal quantile: where each moment has one score, the ⌈(n + 1)(1 − misses)⌉-th smallest of n.

    Where a moment has several, each counts for a share of it. It is the largest of all where there is no such one.
    """
    sizes = np.fromiter(map(len, moments), dtype=np.int64, count=len(moments))
    scores = np.fromiter(chain.from_iterable(moments), dtype=np.float64, count=int(sizes.sum()))
    order = np.argsort(scores, kind="stable")
    counts = np.cumsum(np.repeat(1 / sizes, sizes)[order])
    reached = counts >= (len(moments) + 1) * (1 - misses) - _ROUNDING
    return float(scores[order][reached.argmax() if reached.any() else -1])


def _thinned(values: Floats) -> list[float]:
    """Return what is kept of the scores of one moment: all, or so many quantiles of them."""
    if len(values) <= _MOST:
        return [float(value) for value in values]
    grid = (np.arange(_MOST) + 0.5) / _MOST
    return [float(value) for value in np.round(np.quantile(values, grid), 6) + 0.0]


def _by_moment(past: pd.DataFrame, bounds: Sequence[int]) -> Iterator[dict[tuple[str, str, str], Floats]]:
    """Yield, moment by moment, the scores by class (and of all), bucket and side."""
    rows = past[past["p90"] > past["p10"]].sort_values(["realised_at", "symbol", "as_of", "step"])
    if rows.empty:
        return
    actual, low, high = (rows[name].to_numpy() for name in ("realised", "p10", "p90"))
    # Rounded, so that a state is small; 0 is added to make −0 a 0.
    sides = {"low": (low - actual) / (high - low), "high": (actual - high) / (high - low)}
    sides = {side: np.round(values, 6) + 0.0 for side, values in sides.items()}
    moment = rows["realised_at"].to_numpy()
    names = rows["asset_class"].tolist()
    buckets = buckets_of(rows["step"].to_numpy(), bounds).tolist()
    for places in np.split(np.arange(len(rows)), np.flatnonzero(moment[1:] != moment[:-1]) + 1):
        groups: dict[tuple[str, str], list[int]] = {}
        for i in places.tolist():
            for name in (_ALL, names[i]):
                groups.setdefault((name, buckets[i]), []).append(i)
        yield {(*group, side): sides[side][mine] for group, mine in sorted(groups.items()) for side in SIDES}


def _told(forecast: Forecast, quantiles: Floats, steps: Sequence[Mapping[str, Any]]) -> Forecast:
    context = dict(forecast.event_context)
    context["steps"] = [{**own, **new} for own, new in zip(forecast.steps, steps, strict=True)]
    return replace(forecast, quantiles=quantiles, samples=None, event_context=context)


@dataclass(frozen=True)
class Calibrator:
    """Calibrates the forecasts of one model, under a name of their own."""

    model: str
    """The model whose forecasts are calibrated."""
    options: Calibration
    bounds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the calibrated forecast."""
        return calibrated(self.model)

    @property
    def key(self) -> str:
        """What has to be equal for what was learned to be of use."""
        return digest([self.options.model_dump(mode="json"), self.bounds])

    def version(self, raw: str) -> str:
        """Return what has to be equal for the numbers to be; ``raw`` is the version of what is calibrated."""
        return f"{self.key}.{digest(raw)}"

    def learn(self, lessons: Lessons) -> tuple[Conformal, Learned | None]:
        """Return what is known at the lessons' cutoff: what was kept, and what has come since.

        None where there is nothing to keep. Raises StoreError where there is no past to be had.
        """
        try:
            kept = lessons.learned(self.name, self.key)
        except DamagedState as error:
            log.warning("%s is learned anew: %s", self.name, error)
            kept = None
        before = Conformal.restored(self.options, self.bounds, *kept) if kept else self.new
        return self.learned(before, lessons.past([self.model], before.until))

    @property
    def new(self) -> Conformal:
        """One that has learned nothing."""
        return Conformal(self.options, self.bounds, {}, {})

    def learned(self, before: Conformal, past: pd.DataFrame) -> tuple[Conformal, Learned | None]:
        """Return what is known after further outcomes, and how it is kept."""
        if past.empty and before.until is None:
            return before, None
        known = before if past.empty else before.advance(past)
        assert known.until is not None
        return known, Learned(self.key, known.until, known.state, kept=past.empty)

    def calibrate(
        self, known: Conformal, forecasts: Sequence[Forecast], windows: Mapping[str, Window]
    ) -> list[Forecast]:
        """Return the calibrated forecasts of what is the model's among these."""
        mine = [forecast for forecast in forecasts if forecast.model == self.model]
        return [replace(known.apply(f, windows[f.symbol].asset_class), model=self.name) for f in mine]


def build_calibrator(model: str, config: Config) -> Calibrator | None:
    """Return what calibrates a model's forecasts, if the configuration wants them calibrated."""
    return Calibrator(model, config.calibration, config.horizon_buckets) if config.calibration else None

"""Scoreboards: models side by side on the same predictions, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import inference, metrics
from .buckets import bucket_names, buckets_of
from .errors import ConfigError, DataError, did_you_mean
from .inference import Bootstrap
from .types import ENVELOPE, Floats

if TYPE_CHECKING:
    import pandas as pd

COST = 0.0005
"""What the toy strategy pays to go from no position to a full one, as a share."""

GROUPS = ("asset_class", "bucket", "event", "symbol", "cell")
"""What predictions are grouped by; a cell is of one class, one bucket and bars with or without an event."""

_KEY = ["as_of", "symbol", "timeframe", "step"]
_PAIR = ["symbol", "timeframe", "step"]
_SERIES = ["symbol", "timeframe"]
_ALIKE = 1e-6
_YEAR = np.timedelta64(31_557_600, "s")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; the ends are NaN where there are too few days to tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One model's scores on one group of predictions.

    All means over a group give each symbol the same weight, of a symbol each step, and of a step each prediction.
    """

    model: str
    by: str
    """What the group is of: one of ``GROUPS``, or ``all``."""
    group: str
    """Such as ``crypto``, ``2-5``, ``event`` or ``no event``; ``all`` for all, ``crypto 2-5 event`` for a cell."""
    rows: int
    days: int
    """Different days on which the forecasts were made: what there is of independent evidence."""
    loss: Estimate
    """2 × pinball loss of the log return over the mean |log return| of its symbol and step."""
    difference: Estimate | None
    """From the reference's loss; None for the reference itself."""
    p_value: float | None
    """Of the Diebold–Mariano test of that difference; None where it cannot be made."""
    in_set: bool | None
    """Whether it is in the model confidence set; None where that was not made."""
    coverage: Estimate
    """Share of outcomes within p10 and p90."""
    width: float
    """Mean of p90 − p10 as a share of the last close."""
    crossings: int
    direction: Estimate | None
    """Share of right calls among those made; None where none was."""
    error: float
    """Mean |outcome − p50| over mean |outcome − last close|, of log returns in the unit of the loss: 1 is what the
    forecast of no change scores; NaN where nothing moved."""
    sharpe: Estimate | None
    """Of the toy strategy (``metrics.strategy_returns``), a year; None where no position was taken."""


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """Models on the predictions that all of them made."""

    reference: str
    lines: tuple[Line, ...]
    left_out: int
    """Predictions (symbol, cutoff, step) that were left out since some model did not make them."""
    curves: Mapping[str, tuple[tuple[float, float], ...]]
    """By model (level, share of outcomes below that quantile): the calibration curve."""


def scoreboard(
    frame: pd.DataFrame,
    levels: Sequence[float],
    bounds: Sequence[int],
    *,
    reference: str | None = None,
    models: Sequence[str] | None = None,
    by: Sequence[str] = GROUPS,
    resamples: int = 2000,
    seed: int = 0,
) -> Scoreboard:
    """Compare models on the predictions that all of them made.

    ``frame`` holds scored predictions, the columns of both tables, as ``Store.past`` gives it; ``levels`` are the
    quantile levels of the loss and ``bounds`` the last steps of the horizon's buckets. ``models`` are those
    compared, in the order shown: all, by name, unless given. The ``reference`` is the first of them unless named.

    Where a model made a prediction in several versions, the one written last counts. A prediction counts as not
    made where it lacks a level, where its last close is 0, and where the models' last closes or outcomes differ,
    since prices were corrected in between.

    Groups, ``by`` of them besides all, are: all, each asset class, each bucket of the horizon, bars with and
    without an event (bars of which that is not known are in neither), each symbol, and where classes, buckets and
    events cross. Intervals draw days of ``as_of`` in blocks, ``resamples`` times (``inference.Bootstrap``);
    confidence sets are made of all and of each asset class. There are no lines where models share no prediction.

    Raises ConfigError for a model or reference that is not there, or where the package arch is missing, and
    DataError where there is no prediction at all.
    """
    names = _names(frame, models)
    reference = names[0] if reference is None else reference
    if reference not in names:
        raise ConfigError(f"the reference '{reference}' is not among the models compared: {', '.join(names)}")
    panel, left_out = _panel(frame, names, sorted({*levels, *ENVELOPE}))
    if not len(panel.day):
        return Scoreboard(reference, (), left_out, {})
    scores = _scores(panel, levels)
    board = _Board(panel, scores, names.index(reference), resamples, seed)
    wanted = {"all", *by}
    lines = [line for group in _groups(panel, bounds) if group[0] in wanted for line in board.lines(*group)]
    weights = _weights(panel, np.arange(len(panel.day)))
    shares = (metrics.calibration_curve(panel.actual, q, weights).tolist() for q in panel.quantiles)
    curves = {name: tuple(zip(panel.levels, own, strict=True)) for name, own in zip(names, shares, strict=True)}
    return Scoreboard(reference, tuple(lines), left_out, curves)


def enough(frame: pd.DataFrame, models: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the models that made at least half as many predictions as the one that made most, and the others.

    Only what all have predicted is compared: a model that seldom did would leave nothing of the others.
    """
    counts = frame["model_name"].value_counts()
    made = {name: int(counts.get(name, 0)) for name in models}
    least = max(made.values()) / 2
    return [name for name in models if made[name] >= least], [name for name in models if made[name] < least]


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """The N predictions that all K models made, in order of time, at Q levels."""

    models: tuple[str, ...]
    levels: tuple[float, ...]
    rows: pd.DataFrame
    """What the models share, of one of them ``[N]``."""
    quantiles: Floats
    """``[K, N, Q]``"""
    actual: Floats
    last: Floats
    day: NDArray[np.datetime64]
    """Date of ``as_of`` ``[N]``, increasing."""
    known: NDArray[np.datetime64]
    """Date on which the outcome was known ``[N]``."""
    pair: NDArray[np.intp]
    """Which pair of series and step each is of ``[N]``."""
    series: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Scores of K models on N predictions, ``[K, N]``."""

    loss: Floats
    covered: NDArray[np.bool_]
    hit: Floats
    """NaN where no direction was called, or none came."""
    width: Floats
    crossings: NDArray[np.intp]
    error: Floats
    still: Floats
    """Error of the forecast of no change ``[N]``."""
    called: NDArray[np.bool_]
    """Whether the median lies off the last close."""
    earned: Floats
    """By the toy strategy; 0 after the first step."""


def _names(frame: pd.DataFrame, models: Sequence[str] | None) -> tuple[str, ...]:
    there = sorted(frame["model_name"].unique())
    if not there:
        raise DataError("there are no scored predictions to compare; `kronosfw score` scores those that are due")
    for name in models or ():
        if name not in there:
            raise ConfigError(
                f"there are no scored predictions of '{name}', only of {', '.join(there)}"
                + did_you_mean(name, there)
            )
    return tuple(dict.fromkeys(models or there))


def _panel(frame: pd.DataFrame, models: tuple[str, ...], levels: list[float]) -> tuple[_Panel, int]:
    """Return what all models predicted, and how many further predictions only some of them did."""
    frame = frame[frame["model_name"].isin(models)]
    frame = frame.sort_values([*_KEY, "model_name", "created_at", "model_version"], ignore_index=True)
    frame = frame.drop_duplicates([*_KEY, "model_name"], keep="last", ignore_index=True)
    quantiles = _quantiles(frame, levels)
    actual, last = (frame[name].to_numpy(dtype=np.float64) for name in ("realised", "last_close"))
    made = np.isfinite(quantiles).all(axis=1) & np.isfinite(actual) & np.isfinite(last) & (last != 0)
    key = _codes(frame, _KEY)
    by_all = np.bincount(key[made], minlength=key.max() + 1) == len(models)
    model = frame["model_name"].to_numpy()
    place = np.array([np.flatnonzero(by_all[key] & (model == name)) for name in models])
    alike = np.array([np.isclose(a[place], a[place[0]], _ALIKE, 0).all(axis=0) for a in (actual, last)]).all(axis=0)
    place = place[:, alike]
    one = place[0]
    rows = frame.iloc[one].reset_index(drop=True)
    return _Panel(
        models=models,
        levels=tuple(levels),
        rows=rows,
        quantiles=quantiles[place],
        actual=actual[one],
        last=last[one],
        day=_dates(rows["as_of"]),
        known=_dates(rows["realised_at"]),
        pair=_codes(rows, _PAIR),
        series=_codes(rows, _SERIES),
    ), len(by_all) - len(one)


def _codes(frame: pd.DataFrame, columns: list[str]) -> NDArray[np.intp]:
    """Return the number of the group that each row is in, groups sorted."""
    return np.asarray(frame.groupby(columns, sort=True).ngroup(), dtype=np.intp)


def _dates(moments: pd.Series[Any]) -> NDArray[np.datetime64]:
    return moments.to_numpy(dtype="datetime64[us]").astype("datetime64[D]")


def _quantiles(frame: pd.DataFrame, levels: Sequence[float]) -> Floats:
    """Return the quantiles of the close at some levels ``[N, Q]``, NaN where a prediction lacks one."""
    found = np.full((len(frame), len(levels)), np.nan)
    others = [(i, repr(level)) for i, level in enumerate(levels) if level not in ENVELOPE]
    for name, level in zip(("p10", "p50", "p90"), ENVELOPE, strict=True):
        found[:, levels.index(level)] = frame[name]
    if others:
        cells = [cell if isinstance(cell, Mapping) else {} for cell in frame["quantiles"]]
        told = [cell.get("close") or {} for cell in cells]
        for i, level_name in others:
            found[:, i] = [close.get(level_name, np.nan) for close in told]
    return found


def _scores(panel: _Panel, levels: Sequence[float]) -> _Scores:
    """Return the scores; losses are those of these levels."""
    low, mid, high = (panel.quantiles[..., panel.levels.index(level)] for level in ENVELOPE)
    prices = np.minimum(np.minimum(panel.actual, panel.last), panel.quantiles.min(axis=(0, 2)))
    # The same measure for all models and steps of a series, or its losses could not be compared.
    simple = (np.bincount(panel.series, prices <= 0) > 0)[panel.series]
    came = _returns(panel.actual, panel.last, simple)
    quantiles = _returns(panel.quantiles, panel.last[:, None], simple[:, None])
    scale = np.bincount(panel.pair, np.abs(came)) / np.bincount(panel.pair)
    unit = np.where(scale > 0, scale, 1.0)[panel.pair]
    scored = [panel.levels.index(level) for level in sorted(set(levels))]
    earned = np.zeros(mid.shape)
    one = np.flatnonzero(panel.rows["step"] == 1)
    one = one[np.argsort(panel.series[one], kind="stable")]
    first = np.diff(panel.series[one], prepend=-1) != 0
    moved = (panel.actual - panel.last)[one] / np.abs(panel.last[one])
    for own, median in zip(earned, mid, strict=True):
        own[one] = metrics.strategy_returns((median - panel.last)[one], moved, COST, first)
    return _Scores(
        loss=metrics.crps_quantiles(came, quantiles[..., scored], sorted(set(levels))) / unit,
        covered=metrics.covered(panel.actual, low, high),
        hit=metrics.direction_hit(panel.actual, mid, panel.last),
        width=metrics.width(low, high, panel.last),
        crossings=metrics.crossings(panel.quantiles),
        error=np.abs(came - quantiles[..., panel.levels.index(0.5)]) / unit,
        still=np.abs(came) / unit,
        called=mid != panel.last,
        earned=earned,
    )


def _returns(prices: Floats, last: Floats, simple: NDArray[np.bool_]) -> Floats:
    """Return log returns from the last close, or simple ones where these are asked for."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(simple, (prices - last) / np.abs(last), np.log(prices / last))


def _groups(panel: _Panel, bounds: Sequence[int]) -> Iterator[tuple[str, str, NDArray[np.intp]]]:
    """Yield what each group is of, its name and its rows, where it has any."""
    classes, symbols = (panel.rows[name].to_numpy() for name in ("asset_class", "symbol"))
    buckets = buckets_of(panel.rows["step"], bounds)
    event = panel.rows["event_active"].astype("boolean")
    by_class = {name: classes == name for name in sorted(set(classes))}
    by_bucket = {name: buckets == name for name in bucket_names(bounds)}
    by_event = {"event": event.fillna(False).to_numpy(), "no event": ~event.fillna(True).to_numpy()}
    groups: list[tuple[str, str, NDArray[np.bool_]]] = [
        ("all", "all", panel.last != 0),
        *(("asset_class", *item) for item in by_class.items()),
        *(("bucket", *item) for item in by_bucket.items()),
        *(("event", *item) for item in by_event.items()),
        *(("symbol", name, symbols == name) for name in sorted(set(symbols))),
    ]
    crossed = product(by_class.items(), by_bucket.items(), by_event.items())
    groups += [("cell", f"{c} {b} {e}", mine & its & active) for (c, mine), (b, its), (e, active) in crossed]
    for by, name, member in groups:
        rows = np.flatnonzero(member)
        if rows.size:
            yield by, name, rows


def _weights(panel: _Panel, rows: NDArray[np.intp]) -> Floats:
    """Return how much each of some rows counts: each series the same, of it each step, of that each row."""
    pairs, place, many = np.unique(panel.pair[rows], return_inverse=True, return_counts=True)
    series = np.empty(len(pairs), dtype=np.intp)
    series[place] = panel.series[rows]
    steps = np.bincount(series)
    weights: Floats = (1 / (many * steps[series]))[place]
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class _Board:
    """Makes the lines of one group after the other."""

    panel: _Panel
    scores: _Scores
    reference: int
    resamples: int
    seed: int

    def lines(self, by: str, group: str, rows: NDArray[np.intp]) -> Iterator[Line]:
        """Yield the line of each model on some rows."""
        panel, scores = self.panel, self.scores
        days, starts = np.unique(panel.day[rows], return_index=True)
        weights = _weights(panel, rows)

        def daily(values: NDArray[Any]) -> Floats:
            """Return the sum of each day ``[D, K]`` of values ``[K, N]``."""
            summed: Floats = np.add.reduceat(weights * values[..., rows], starts, axis=-1).T
            return summed

        total = np.add.reduceat(weights, starts)[:, None]
        loss = daily(scores.loss)
        apart = loss - loss[:, [self.reference]]
        losses, differences = inference.by_day(loss, total), inference.by_day(apart, total)
        overlap = _overlap(days, panel.day[rows], panel.known[rows])
        draws = Bootstrap.of(np.hstack([losses, differences]), overlap, self.resamples, self.seed)
        in_set = None
        if by in ("all", "asset_class"):
            in_set = inference.confidence_set(losses, draws.block, self.resamples, self.seed)
        judged = np.isfinite(scores.hit)
        hits = np.where(judged, scores.hit, 0.0)
        columns = zip(
            _estimates(loss, total, draws),
            _estimates(apart, total, draws),
            _estimates(daily(scores.covered), total, draws, most=1.0),
            _estimates(daily(hits), daily(judged), draws, most=1.0),
            inference.ratio(daily(scores.width), total),
            inference.ratio(daily(scores.error), daily(scores.still)[:, None]),
            self._sharpe(rows, days, draws),
            strict=True,
        )
        for k, (lost, difference, coverage, direction, width, error, sharpe) in enumerate(columns):
            itself = k == self.reference
            p_value = inference.diebold_mariano(differences[:, k], overlap)[1]
            yield Line(
                model=panel.models[k],
                by=by,
                group=group,
                rows=len(rows),
                days=len(days),
                loss=lost,
                difference=None if itself else difference,
                p_value=None if itself or np.isnan(p_value) else p_value,
                in_set=None if in_set is None else bool(in_set[k]),
                coverage=coverage,
                width=float(width),
                crossings=int(scores.crossings[k, rows].sum()),
                direction=direction if judged[k, rows].any() else None,
                error=float(error),
                sharpe=sharpe,
            )

    def _sharpe(
        self, rows: NDArray[np.intp], days: NDArray[np.datetime64], draws: Bootstrap
    ) -> list[Estimate | None]:
        """Return the yearly Sharpe ratio of the toy strategy with each model, on the rows of step 1.

        A day's return is the mean over series. A year has as many such days as they are apart; None where no
        position was taken, or with fewer than two days.
        """
        panel, scores = self.panel, self.scores
        rows = rows[(panel.rows["step"] == 1).to_numpy()[rows]]
        traded, starts = np.unique(panel.day[rows], return_index=True)
        if len(traded) < 2:
            return [None] * len(panel.models)
        cells = np.unique(np.stack([np.searchsorted(traded, panel.day[rows]), panel.series[rows]]), axis=1)
        earned = np.add.reduceat(scores.earned[:, rows], starts, axis=1) / np.bincount(cells[0])
        shares = draws.weights[:, np.isin(days, traded)]
        shares = shares[shares.sum(axis=1) > 0]
        shares /= shares.sum(axis=1, keepdims=True)
        even = np.full((1, len(traded)), 1 / len(traded))
        periods = float((len(traded) - 1) * _YEAR / (traded[-1] - traded[0]))
        return [
            Estimate(
                float(metrics.sharpe(even, own, periods)[0]),
                *draws.ends(metrics.sharpe(shares, own, periods)[:, None])[:, 0].tolist(),
            )
            if called
            else None
            for own, called in zip(earned, map(np.any, scores.called[:, rows]), strict=True)
        ]


def _overlap(days: NDArray[np.datetime64], made: NDArray[np.datetime64], known: NDArray[np.datetime64]) -> int:
    """Return on how many days in a row, at most, forecasts are made before the outcome of the first is known."""
    return max(1, int((np.searchsorted(days, known) - np.searchsorted(days, made)).max()))


def _estimates(sums: Floats, totals: Floats, draws: Bootstrap, most: float = np.inf) -> list[Estimate]:
    """Return each ratio of ``[D, K]`` sums with its interval; rounding lifts none above ``most``."""
    figures = np.vstack([inference.ratio(sums, totals), draws.interval(sums, totals)])
    return [Estimate(*column) for column in np.minimum(figures, most).T.tolist()]

"""Forecasters under fev, which compares models of time series on published tasks.

fev (https://github.com/autogluon/fev) reads a data set, hands out what is known of each series at a task's cutoffs,
and scores what comes back. Here each series becomes windows: its values are the open, high, low and close of bars,
each complete when the next one opens. Covariates of a task are left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import freq as _freq
from ..errors import DataError
from ..interfaces import ForecasterConfig
from ..isolation import required
from ..members import Member, run_member
from ..types import Bars, Forecast, Moment, Moments, Times, Window, moment
from ..windows import seed_for

if TYPE_CHECKING:
    from fev import Task

Predictions = dict[str, list[dict[str, list[float]]]]
"""By target column, for each series the lists that fev scores: ``predictions`` and each level ``[H]``."""

_PRICES = ("open", "high", "low", "close")
_MEDIAN = 0.5


def evaluate(
    task: Task,
    forecaster: ForecasterConfig,
    *,
    seed: int = 0,
    batch: int = 256,
    trained_on_this_dataset: bool = False,
) -> dict[str, Any]:
    """Return fev's summary of a forecaster's score on a task; see ``predict``.

    ``trained_on_this_dataset`` says whether its weights have seen the data: fev sets such scores apart.
    """
    start = time.monotonic()
    predictions = predict(task, forecaster, seed=seed, batch=batch)
    summary: dict[str, Any] = task.evaluation_summary(
        predictions,
        model_name=_name(forecaster),
        inference_time_s=time.monotonic() - start,
        trained_on_this_dataset=trained_on_this_dataset,
    )
    return summary


def predict(task: Task, forecaster: ForecasterConfig, *, seed: int = 0, batch: int = 256) -> list[Predictions]:
    """Return the forecasts for each of the task's windows, in the form that ``Task.evaluation_summary`` takes.

    The point forecast is the median. A series is seen as far back as the task, the forecaster's ``context`` and
    the model itself allow; its missing values are left out, and forecast over where they are the last ones.
    Several targets are forecast one by one. ``batch`` is the most windows handed to the model at once.

    Raises DataError where a series cannot be forecast, since fev scores all or nothing: the built-in forecasters
    take logarithms and so refuse values of zero or less. Raises ConfigError for options that cannot be built.
    """
    model = required(forecaster.build, f"forecaster {forecaster.type}")
    limits = [n for n in (forecaster.context, model.max_context) if n is not None]
    member = Member(_name(forecaster), model, "", min(limits, default=sys.maxsize))
    levels = tuple(sorted({_MEDIAN, *task.quantile_levels}))
    predictions = []
    for window in task.iter_windows():
        past, future = window.get_input_data()
        series = list(zip(past, future, strict=True))
        found: Predictions = {}
        for column in task.target_columns:
            windows = [_window(task, column, known, ahead, seed) for known, ahead in series]
            forecasts, failures = run_member(member, windows, levels, batch, lambda *_: None)
            if failures:
                first = failures[0]
                raise DataError(
                    f"{member.name} cannot forecast {len(failures)} of {len(windows)} series, which leaves nothing "
                    f"to score; the first is {first.symbol}: {first.reason}"
                )
            found[column] = [_as_fev(forecast, task) for forecast in forecasts]
        predictions.append(found)
    return predictions


def _name(forecaster: ForecasterConfig) -> str:
    return forecaster.name or forecaster.type


def _window(task: Task, column: str, known: Mapping[str, Any], ahead: Mapping[str, Any], seed: int) -> Window:
    """Return one series of a task as a window; raises DataError where nothing of it was observed."""
    symbol = str(known[task.id_column])
    if len(task.target_columns) > 1:
        symbol += f" {column}"
    stamps = np.concatenate([known[task.timestamp_column], ahead[task.timestamp_column]])
    times = _times(stamps.astype("datetime64[us]"), task.freq)
    values = np.asarray(known[column], dtype=np.float64)
    observed = np.flatnonzero(np.isfinite(values))
    if not len(observed):
        raise DataError(f"{symbol} has no value before {times.time[len(values)]}: give the task a later cutoff")
    cutoff: Moment = times.available_at[len(values) - 1]
    return Window(
        bars=Bars(symbol, times[observed], np.tile(values[observed, None], len(_PRICES)), _PRICES),
        future=times[observed[-1] + 1 :],
        cutoff=cutoff,
        freq=_bar_length(times.time),
        asset_class="series",
        seed=seed_for(seed, symbol, cutoff),
    )


def _times(stamps: Moments, freq: str) -> Times:
    """Return bars that open at the stamps, each complete when the next one opens."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    after = pd.Timestamp(stamps[-1]) + to_offset(freq)
    available_at = np.append(stamps[1:], moment(after.to_datetime64()))
    return Times(stamps, available_at, stamps.astype("datetime64[D]"))


def _bar_length(stamps: Moments) -> str:
    """Return the bar length by which models know stamps: that of a day for any longer one.

    Raises DataError for one that does not divide a day.
    """
    minutes = np.diff(stamps).min() / np.timedelta64(1, "m")
    try:
        return _freq.normalise(f"{min(minutes, _freq.DAY):g}min")
    except ValueError:
        raise DataError(f"a series with a value every {minutes:g} minutes has no bars that divide a day") from None


def _as_fev(forecast: Forecast, task: Task) -> dict[str, list[float]]:
    """Return the quantiles at the task's steps and levels, and the median as the point forecast."""
    asked_for = forecast.only(forecast.levels, task.horizon)
    quantiles = {str(level): asked_for.at([level])[:, 0].tolist() for level in task.quantile_levels}
    return {"predictions": asked_for.at([_MEDIAN])[:, 0].tolist(), **quantiles}

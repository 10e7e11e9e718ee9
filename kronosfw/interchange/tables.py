"""Predictions as the two tables that the field's tools exchange, and back.

Between them stands the *quantile frame*: one row for each symbol, cutoff, target, model and level, with columns
``symbol, cutoff, time, model, level, value`` and, where it is asked for, ``actual``. ``cutoff`` and ``time`` are
``datetime64[us]`` in UTC without a zone. It is sorted, so that equal predictions make equal frames.

All functions are pure: they take frames and return new ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..freq import is_daily
from ..rows import close_quantiles
from ..store import KEY

if TYPE_CHECKING:
    import pandas as pd

_TARGET = ["symbol", "cutoff", "time"]
_KEY = [*_TARGET, "model", "level"]
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("symbol", "model"), str),
    **dict.fromkeys(("cutoff", "time"), "datetime64[us]"),
    **dict.fromkeys(("level", "value", "actual"), "float64"),
}
_NIXTLA = {"symbol": "unique_id", "time": "ds", "cutoff": "cutoff", "actual": "y"}
_AUTOGLUON = {"symbol": "item_id", "time": "timestamp", "cutoff": "cutoff", "model": "model", "actual": "target"}
_INTERVAL = re.compile(r"(.+)-(lo|hi)-(\d+(?:\.\d+)?)", re.DOTALL)
_TAKEN = re.compile(r"-(?:lo|hi)-\d")
_FORMULA = ("=", "+", "-", "@")
_HAIR = np.timedelta64(1, "us")


def quantile_frame(
    rows: Iterable[Mapping[str, Any]], actuals: Mapping[tuple[Any, ...], float] | None = None
) -> pd.DataFrame:
    """Return rows of ``ml_predictions`` as a quantile frame of the close.

    ``time`` is the date of the session for daily bars, else the open of the target bar. ``cutoff`` is the row's
    ``as_of``, or the last microsecond before the first target of its symbol where that is earlier: a daily bar is
    known by a date before it is complete, and tools take what has a time up to the cutoff as history.

    ``actuals`` are realised prices by the rows' natural key; NaN where there is none.
    """
    import pandas as pd

    cells = [
        (
            row["symbol"],
            row["as_of"].replace(tzinfo=None),
            row["session"] if is_daily(row["timeframe"]) else row["target_time"].replace(tzinfo=None),
            row["model_name"],
            level,
            value,
            *(() if actuals is None else (actuals.get(tuple(row[name] for name in KEY), np.nan),)),
        )
        for row in rows
        for level, value in close_quantiles(row).items()
    ]
    frame = pd.DataFrame(cells, columns=[*_KEY, "value", *(() if actuals is None else ("actual",))])
    for name in ("cutoff", "time"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
    first = frame.groupby(["symbol", "cutoff"])["time"].transform("min")
    frame["cutoff"] = frame["cutoff"].where(frame["cutoff"] < first, first - _HAIR)
    return _in_order(frame)


def to_nixtla(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a quantile frame as a cross-validation frame of Nixtla's libraries.

    One row for each symbol, cutoff and target: ``unique_id, ds, cutoff``, ``y`` where there are actuals, and for
    each model its median and the ends of the central intervals: ``name, name-lo-80, name-hi-80``. A level without
    its counterpart 1 − τ has no place there; ``unpaired`` tells which. NaN where a model has no forecast.

    Raises ValueError for a model without a median, one whose name would be read as something else, and a frame
    that holds a quantile twice.
    """
    wide = frame.pivot(index=_TARGET, columns=["model", "level"], values="value")
    columns = {}
    for model, levels in _levels(frame).items():
        if model in _NIXTLA.values() or _TAKEN.search(model):
            raise ValueError(f"this form cannot hold a model called '{model}': leave it out, or take autogluon's")
        if 0.5 not in levels:
            raise ValueError(f"{model} has no median, which stands for the model in this form")
        columns[model] = wide[model, 0.5]
        for level in levels:
            if level != 0.5 and _other(level) in levels:
                columns[f"{model}-{_interval(level)}"] = wide[model, level]
    return _flat(frame, columns, _NIXTLA)


def from_nixtla(frame: pd.DataFrame, *, cutoff: Any = None) -> pd.DataFrame:
    """Return a cross-validation frame of Nixtla's libraries as a quantile frame; a model's column is its median.

    ``cutoff`` is that of a frame without such a column. Raises ValueError where it is needed and not given.
    """
    known = _completed(frame, cutoff=cutoff)
    columns = [str(name) for name in known if name not in _NIXTLA.values()]
    return _long(known, _NIXTLA, {name: _model_and_level(name) for name in columns})


def to_autogluon(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a quantile frame as AutoGluon's forecasts, which GIFT-Eval and fev know as well.

    One row for each symbol and target: ``item_id, timestamp``, a column for each level, such as ``0.1``, and
    ``target`` where there are actuals. Several models stand below each other and are told apart by ``model``,
    several cutoffs by ``cutoff``. There is no ``mean``: the predictions are quantiles.

    Raises ValueError for a frame that holds a quantile twice.
    """
    wide = frame.pivot(index=[*_TARGET, "model"], columns="level", values="value")
    columns = {repr(float(level)): wide[level] for level in wide.columns}
    table = _flat(frame, columns, _AUTOGLUON)
    return table.drop(columns=[name for name in ("cutoff", "model") if frame[name].nunique() == 1])


def from_autogluon(frame: pd.DataFrame, *, model: str | None = None, cutoff: Any = None) -> pd.DataFrame:
    """Return AutoGluon's forecasts as a quantile frame; a column ``mean`` is left out.

    ``model`` and ``cutoff`` are those of a frame without such columns. Raises ValueError where they are needed
    and not given, and for a column that is no quantile level.
    """
    known = _completed(frame, model=model, cutoff=cutoff)
    columns = [str(name) for name in known if name not in (*_AUTOGLUON.values(), "mean")]
    return _long(known, _AUTOGLUON, {name: {"level": float(name)} for name in columns})


def unpaired(frame: pd.DataFrame) -> list[float]:
    """Return the levels of a quantile frame that ``to_nixtla`` leaves out of some model."""
    lost = {q for levels in _levels(frame).values() for q in levels if q != 0.5 and _other(q) not in levels}
    return sorted(lost)


def write_table(frame: pd.DataFrame, suffix: str, file: BinaryIO) -> None:
    """Write a frame as ``.csv``, every float with all its digits, or as ``.parquet``; raises OSError.

    Raises ValueError for a name that a spreadsheet would calculate where the form is ``.csv``.
    """
    if suffix == ".csv":
        _refuse_formulas(frame)
        frame.to_csv(file, index=False, lineterminator="\n")
    else:
        frame.to_parquet(file, index=False, engine="pyarrow")


def _refuse_formulas(frame: pd.DataFrame) -> None:
    """Raise ValueError for a column's name or a text that begins as a formula does."""
    texts = (frame[column].unique() for column in ("unique_id", "item_id", "model") if column in frame)
    for name in chain(map(str, frame.columns), *texts):
        if name.lstrip().startswith(_FORMULA):
            raise ValueError(f"a spreadsheet would take {name!r} in a .csv for a formula: write a .parquet")


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a quantile frame in their order and with their types, sorted."""
    names = [*_KEY, "value", *(["actual"] if "actual" in frame else [])]
    types = {name: _TYPES[name] for name in names}
    return frame[names].astype(types).sort_values(_KEY, ignore_index=True)


def _levels(frame: pd.DataFrame) -> dict[str, list[float]]:
    """Return the levels of each model, both in order."""
    return {str(model): sorted(set(levels)) for model, levels in frame.groupby("model")["level"]}


def _flat(frame: pd.DataFrame, columns: Mapping[str, pd.Series], names: Mapping[str, str]) -> pd.DataFrame:
    """Return columns with the same index as a table: what each row is of, the actuals if any, and the columns."""
    import pandas as pd

    values = pd.DataFrame(columns)
    head = values.index.to_frame(index=False)
    if "actual" in frame:
        realised = frame.groupby(_TARGET)["actual"].first()
        head["actual"] = realised.reindex(pd.MultiIndex.from_frame(head[_TARGET])).to_numpy()
    head = head[[name for name in names if name in head]].rename(columns=names)
    return pd.concat([head, values.reset_index(drop=True)], axis=1)


def _completed(frame: pd.DataFrame, **given: Any) -> pd.DataFrame:
    """Return the frame with the columns that it lacks; raises ValueError where nothing is given for one."""
    lacking = {name: value for name, value in given.items() if name not in frame}
    for name, value in lacking.items():
        if value is None:
            raise ValueError(f"the frame has no column '{name}': give `{name}`")
    return frame.assign(**lacking)


def _long(frame: pd.DataFrame, names: Mapping[str, str], columns: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return columns of a table below each other, with what is told of each; what is NaN is no forecast."""
    import pandas as pd

    ours = {theirs: name for name, theirs in names.items() if theirs in frame}
    head = frame[list(ours)].rename(columns=ours)
    parts = [head.assign(**told, value=frame[column]) for column, told in columns.items()]
    return _in_order(pd.concat(parts).dropna(subset="value"))


def _other(level: float) -> float:
    """Return 1 − τ, exactly as a decimal number: 0.9 for 0.1."""
    return float(1 - Decimal(repr(float(level))))


def _interval(level: float) -> str:
    """Return what names the end of a central interval that a level is, such as ``lo-80`` for 0.1."""
    width = 100 * (1 - 2 * Decimal(repr(float(level))))
    text = f"{abs(width):f}"
    return f"{'lo' if width > 0 else 'hi'}-{text.rstrip('0').rstrip('.') if '.' in text else text}"


def _model_and_level(column: str) -> dict[str, Any]:
    """Return the model and the level that a column of a cross-validation frame holds."""
    match = _INTERVAL.fullmatch(column)
    if match is None:
        return {"model": column, "level": 0.5}
    half = Decimal(match[3]) / 200
    return {"model": match[1], "level": float(Decimal("0.5") + (half if match[2] == "hi" else -half))}

"""Which of the stored predictions are meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..store import KEY, REHEARSED, Store


def live(store: Store, freq: str, symbols: Collection[str], by: datetime | None) -> list[dict[str, Any]]:
    """Return the predictions that runs made as of the last cutoff, by a moment where one is given.

    Where several versions of a model forecast the same, the prediction written last counts. Raises ConfigError
    where there are none.
    """
    manifests = (run["manifest"] for run in store.runs())
    cutoffs = {datetime.fromisoformat(told["cutoff"]) for told in manifests if "cutoff" in told}
    for cutoff in sorted((c for c in cutoffs if by is None or c <= by), reverse=True):
        found = store.predictions(as_of=cutoff, timeframe=freq)
        rows = [r for r in found if r["symbol"] in symbols and REHEARSED not in r["model_version"]]
        if rows:
            return _written_last(rows)
    when = "" if by is None else f" as of {by:%Y-%m-%d %H:%M} UTC or before"
    raise ConfigError(f"the store has no predictions of {freq} bars{when}; `kronosfw run` makes them")


def of_run(store: Store, run: str) -> list[dict[str, Any]]:
    """Return the predictions of the run or backtest whose identity begins so.

    Raises ConfigError where there are none, and where several runs begin so.
    """
    known = [row["id"] for row in store.runs()]
    meant = [name for name in known if name.startswith(run)]
    if not meant:
        raise ConfigError(f"the store has no run '{run}'{did_you_mean(run, known)}")
    if len(meant) > 1:
        raise ConfigError(f"'{run}' is the beginning of several runs: {', '.join(meant)}")
    rows = store.predictions(run_id=meant[0])
    if not rows:
        raise ConfigError(f"no prediction is of run {run}: what it found was there already or has been replaced")
    return rows


def of_models(rows: Sequence[dict[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the predictions of some models; raises ConfigError for one that made none."""
    made = sorted({row["model_name"] for row in rows})
    for model in models:
        if model not in made:
            raise ConfigError(
                f"no prediction is of a model '{model}'{did_you_mean(model, made)}; there are {', '.join(made)}"
            )
    return [row for row in rows if row["model_name"] in models]


def realised(store: Store, rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], float]:
    """Return the realised prices of predictions by natural key, for those that have been scored."""
    found: dict[tuple[Any, ...], float] = {}
    # By symbol, which the table's key begins with: a moment or a run would make the database read it all.
    for symbol, timeframe in sorted({(row["symbol"], row["timeframe"]) for row in rows}):
        for row in store.evaluations(symbol=symbol, timeframe=timeframe):
            found[tuple(row[name] for name in KEY)] = row["realised"]
    return found


def _written_last(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of the versions of a prediction the one that was written last."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["created_at"], reverse=True):
        kept.setdefault(tuple(row[name] for name in KEY if name != "model_version"), row)
    return list(kept.values())

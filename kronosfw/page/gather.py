"""Gathering what a report shows, from the store and the feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Config
from ..errors import ConfigError, DataError
from ..freq import is_daily
from ..reading import Failure, Progress, as_moment, not_later_than_now
from ..rows import as_datetime, close_quantiles
from ..scoreboard import enough, scoreboard
from ..store import REHEARSED, Store
from ..types import Bars, Finding
from .content import Board, Content, Envelope, Outlook, Run
from .surroundings import Surroundings, look_around

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


def gather(
    config: Config,
    *,
    file: str,
    as_of: datetime | str | None = None,
    backtest: str = "latest",
    symbols: Sequence[str] | None = None,
    progress: Progress,
) -> Content:
    """Return what there is to show as of a moment, the present unless given.

    ``file`` is what the user calls the configuration. ``backtest`` is the identity of one, ``latest`` or ``none``.
    A feed that is down is told, and leaves charts without history. Raises ConfigError for symbols and backtests
    that there are none of, DataError where there is nothing at all to show, and StoreError.
    """
    unknown = [s for s in symbols or () if s not in config.universe]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: not in the universe of the configuration")
    chosen = list(dict.fromkeys(symbols or config.forecast_symbols))
    until = not_later_than_now(as_of if isinstance(as_of, datetime) else "now")
    with Store.of(config) as store:
        progress("scores", 0, 1)
        runs = store.runs()
        run = _latest(runs, config, chosen, as_datetime(until))
        rows = _rows(store, run, config, chosen) if run else {}
        boards = _boards(store, runs, config, chosen, as_datetime(until), backtest, file)
        where = store.display_url
    if run is None and not any(board.scores for board in boards):
        raise DataError(
            f"there is nothing to report: {where} has no forecast of these symbols as of {str(until)[:16]} UTC; "
            f"make one with `kronosfw run {file}`"
        )
    outlooks: tuple[Outlook, ...] = ()
    troubles: tuple[str, ...] = ()
    if run is not None:
        around = look_around(config, list(rows), as_moment(_cutoff(run)), until, progress)
        outlooks = tuple(_outlook(symbol, models, around, is_daily(config.freq)) for symbol, models in rows.items())
        troubles = around.troubles
    return Content(
        file=file,
        as_of=as_datetime(until),
        made_at=datetime.now(UTC),
        freq=config.freq,
        horizon=max((len(outlook.targets) for outlook in outlooks), default=config.horizon),
        served=config.model_names[-1],
        run=None if run is None else _told(run, chosen),
        outlooks=outlooks,
        boards=boards,
        weights=config.weights,
        troubles=troubles,
    )


def _latest(runs: Iterable[Row], config: Config, symbols: Sequence[str], until: datetime) -> Row | None:
    """Return the run with the latest cutoff by a moment, of several the one that was started last."""
    fitting = [
        run
        for run in runs
        if "backtest" not in run["manifest"]
        and run["manifest"]["config"]["freq"] == config.freq
        and set(run["manifest"]["symbols"]) & set(symbols)
        and set(run["manifest"]["models"]) & set(config.model_names)
        and _cutoff(run) <= until
    ]
    return max(fitting, key=lambda run: (_cutoff(run), run["started_at"], run["id"]), default=None)


def _cutoff(run: Row) -> datetime:
    return datetime.fromisoformat(run["manifest"]["cutoff"])


def _rows(store: Store, run: Row, config: Config, symbols: Sequence[str]) -> dict[str, list[list[Row]]]:
    """Return the run's predictions by symbol, as rows by step of each model in the configuration's order.

    They may have been written by an earlier run: a row that a run would not change keeps its ``run_id``.
    """
    manifest = run["manifest"]
    models = [name for name in config.model_names if name in manifest["models"]]
    found: dict[str, dict[str, list[Row]]] = {}
    for row in store.predictions(as_of=_cutoff(run), timeframe=config.freq):  # by symbol, model, version, step
        version = manifest["models"].get(row["model_name"], {}).get(row["asset_class"])
        ours = row["symbol"] in manifest["symbols"] and row["model_name"] in models
        if ours and version == row["model_version"]:
            found.setdefault(row["symbol"], {}).setdefault(row["model_name"], []).append(row)
    by_model = {
        symbol: [found[symbol][m] for m in models if m in found[symbol]] for symbol in symbols if symbol in found
    }
    return {symbol: steps for symbol, steps in by_model.items() if steps}


def _told(run: Row, symbols: Sequence[str]) -> Run:
    """Return what a run says of itself, of these symbols and of what concerns all."""
    report = run["report"] or {}
    others = set(run["manifest"]["config"]["universe"]) - set(symbols)
    return Run(
        id=run["id"],
        cutoff=_cutoff(run),
        finished_at=run["finished_at"],
        asked=report.get("symbols", 0),
        made=report.get("served", 0),
        failures=tuple(Failure(**f) for f in report.get("failures", []) if f["symbol"] not in others),
        findings=tuple(
            (about["symbol"], Finding(**finding))
            for about in report.get("data", [])
            if about["symbol"] not in others
            for finding in about["findings"]
        ),
    )


def _boards(
    store: Store,
    runs: Sequence[Row],
    config: Config,
    symbols: Sequence[str],
    until: datetime,
    backtest: str,
    file: str,
) -> tuple[Board, ...]:
    """Return the scores of forecasts made in earnest, and of a backtest unless none is wanted."""
    past = store.past(until, timeframe=config.freq, models=config.model_names)
    live = past[~past["model_version"].str.contains(REHEARSED, regex=False).astype(bool)]
    empty = f"No forecast has been scored yet. Once the bars to come are there: kronosfw score {file}"
    boards = [_board("Forecasts made so far", live, config, symbols, empty)]
    if backtest != "none":
        run = _backtest(runs, config, backtest)
        empty = f"No backtest has been finished. To make one: kronosfw backtest {file}"
        if run is None:
            boards.append(Board("Backtest", None, empty))
        else:
            past = store.past(until, timeframe=config.freq, run_id=run["id"])
            start = datetime.fromisoformat(run["manifest"]["backtest"]["start"]).replace(tzinfo=UTC)
            rehearsed = past[past["as_of"] >= start]  # what came before was to learn from
            board = _board(f"Backtest {run['id'][:8]}", rehearsed, config, symbols, empty)
            boards.append(replace(board, seen=(run["report"] or {}).get("seen", {})))
    return tuple(boards)


_SHOWN = ("asset_class", "bucket", "event", "symbol")
"""What the groups are of that the page shows."""


def _backtest(runs: Iterable[Row], config: Config, wanted: str) -> Row | None:
    """Return the newest finished backtest, or the one whose identity begins as wanted; raises ConfigError."""
    finished = [
        run
        for run in runs
        if "backtest" in run["manifest"]
        and run["finished_at"] is not None
        and run["manifest"]["config"]["freq"] == config.freq
    ]
    if wanted == "latest":
        return max(finished, key=lambda run: (run["finished_at"], run["id"]), default=None)
    fitting = [run for run in finished if run["id"].startswith(wanted)]
    if len(fitting) != 1:
        ids = ", ".join(sorted(run["id"] for run in finished)) or "none"
        number = "more than one" if fitting else "no"
        raise ConfigError(f"--backtest: {number} finished backtest is called '{wanted}'; there are: {ids}")
    return fitting[0]


def _board(title: str, past: pd.DataFrame, config: Config, symbols: Sequence[str], empty: str) -> Board:
    """Compare the models on what all forecast, but for those that forecast less than half as much as another."""
    mine = past[past["symbol"].isin(symbols)]
    if mine.empty:
        return Board(title, None, empty)
    made = mine["model_name"].value_counts()
    named = [name for name in config.model_names if name in made.index]
    models = [*named, *sorted(set(made.index) - set(named))]
    compared, few = enough(mine, models)
    try:
        scores = scoreboard(mine, config.quantiles, config.horizon_buckets, models=compared, by=_SHOWN)
    except ConfigError as error:
        return Board(title, None, f"The models could not be compared: {error}")
    if not scores.lines:
        return Board(title, None, f"{', '.join(compared)} share no scored prediction: there is nothing to compare.")
    dates = mine["as_of"].dt.date
    return Board(title, scores, few=tuple(few), first=dates.min(), last=dates.max())


def _outlook(symbol: str, models: Sequence[Sequence[Row]], around: Surroundings, daily: bool) -> Outlook:
    steps = models[-1]
    bars, since = around.bars.get(symbol), around.since.get(symbol)
    to_come = [as_moment(row["target_available_at"]) for row in steps]
    complete = np.array([*(bars.times.available_at if bars else ()), *to_come], dtype="datetime64[us]")
    came = dict(zip(since.times.time.tolist(), since.close.tolist(), strict=True)) if since else {}
    opens = [as_moment(row["target_time"]).item() for row in steps]
    return Outlook(
        symbol=symbol,
        asset_class=steps[0]["asset_class"],
        close=steps[0]["last_close"],
        targets=tuple(_midnight(row["session"]) if daily else row["target_time"] for row in steps),
        envelopes=tuple(_envelope(rows) for rows in models),
        history=_history(bars, daily) if bars else (),
        since=tuple((i, came[at]) for i, at in enumerate(opens, start=1) if at in came),
        events=around.events(symbol, complete),
        trouble=around.reasons.get(symbol, ""),
    )


def _history(bars: Bars, daily: bool) -> tuple[tuple[datetime, float], ...]:
    opens = (bars.times.session if daily else bars.times.time).astype("datetime64[us]").tolist()
    return tuple(
        (at.replace(tzinfo=UTC), close)
        for at, close in zip(opens, bars.close.tolist(), strict=True)
        if np.isfinite(close)
    )


def _envelope(rows: Sequence[Row]) -> Envelope:
    told = [close_quantiles(row) for row in rows]
    levels = tuple(sorted(set.intersection(*(set(step) for step in told))))
    return Envelope(
        model=rows[0]["model_name"],
        levels=levels,
        quantiles=tuple(tuple(step[level] for level in levels) for step in told),
        contexts=tuple(row["event_context"] or {} for row in rows),
    )


def _midnight(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

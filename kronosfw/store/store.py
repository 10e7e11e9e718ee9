"""The store: runs, predictions and scores, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from ..config import Config
from ..errors import DamagedState
from . import address, schema
from .columns import to_json
from .engine import open_engine, reader
from .frames import to_frame
from .patience import patiently
from .tables import KEY, WORK_KEY, Row, ledger, ml_predictions, runs, signal_evaluations, states
from .upsert import upsert
from .watch import Watch

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_SAME_KEY = and_(*(ml_predictions.c[name] == signal_evaluations.c[name] for name in KEY))
_SCORED = [*ml_predictions.c, *(c for c in signal_evaluations.c if c.name not in ml_predictions.c)]
"""The columns of both tables, each once."""
_CHUNK = 500
_BY_TIME = ["as_of", "symbol", "model_name", "model_version", "timeframe", "step"]
REHEARSED = "~"
"""Stands in the version of what a backtest wrote, before the backtest's identity."""
_KEPT = 30
"""States kept of what one model has learned."""


class Store:
    """A database of results.

    An empty database gets its tables when it is opened. All that can go wrong with a database is a StoreError
    of one line. What may pass by itself is tried again for a while, which is harmless, because all writing goes by
    natural keys; where a connection was lost while it committed, the numbers of rows written that are returned may
    be too small. A SQLite store in memory belongs to the thread that opened it.
    """

    migrated: bool
    """Whether opening the store made or changed its tables."""

    def __init__(self, url: str, *, migrate: bool = False, patience: float = 30.0) -> None:
        """Open the store at a SQLAlchemy URL; ``patience`` are the seconds for which work is tried again.

        With ``migrate``, tables of an older version are brought up to date, and other programs' tables do not
        matter unless they have the names of ours. Raises ConfigError for a URL and StoreError for a database
        that cannot be used.
        """
        self._address = address.parse(url)
        self._engine = open_engine(self._address, patience)
        self._watched = Watch(self._engine)
        self._patience = patience
        make = self._migrate if migrate else self._prepare
        try:
            self.migrated = self._patiently(make)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, config: Config, *, migrate: bool = False) -> Self:
        """Open the store of a configuration; raises as the constructor does."""
        return cls(config.store.get_secret_value(), migrate=migrate, patience=config.store_patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.display_url})"

    @property
    def display_url(self) -> str:
        """The URL without password and options."""
        return self._address.shown

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def record(
        self,
        run: Row,
        predictions: Iterable[Row],
        *,
        evaluations: Iterable[Row] = (),
        learned: Iterable[Row] = (),
        work: Iterable[Row] = (),
        late: bool = False,
    ) -> int:
        """Write a run and its predictions in one transaction; return how many predictions are new or changed.

        ``run`` has the columns of ``runs``; a prediction has those of ``ml_predictions`` but ``run_id`` and
        ``created_at``. The score of a prediction that changed is removed, for it is of the old one. A run that is
        recorded ``late`` leaves what runs that started later wrote. ``evaluations``, with the columns of
        ``signal_evaluations`` but ``scored_at``, score predictions of this very run; ``learned`` are states as
        ``learned_row`` makes them; ``work`` are rows of the ledger without ``run_id`` and ``finished_at``. A run
        may lack ``subject``.
        """
        now = datetime.now(UTC)
        stamps = {"run_id": run["id"], "created_at": now}
        rows, scores, lessons, done = list(predictions), list(evaluations), list(learned), list(work)
        over = _not_later(run["started_at"]) if late else {}

        def write(connection: Connection) -> int:
            if late and connection.dialect.name == "postgresql":
                # Who started later and is writing now is waited for, else its run would not be seen.
                connection.exec_driver_sql("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")
            upsert(connection, runs, [{"subject": None, **run}], over=over.get(runs.name))
            written = upsert(connection, ml_predictions, rows, stamps, over=over.get(ml_predictions.name))
            if written:
                connection.execute(delete(signal_evaluations).where(_among(signal_evaluations, KEY, stamps)))
            if written and late:
                # What the ledger says of them was true of the old ones.
                replaced = _among(ledger, WORK_KEY, stamps)
                connection.execute(delete(ledger).where(replaced, over[ledger.name]))
            upsert(connection, signal_evaluations, scores, {"scored_at": now})
            _keep(connection, lessons)
            upsert(connection, ledger, done, {"run_id": run["id"], "finished_at": now}, over=over.get(ledger.name))
            return written

        return self._write(write)

    def worked(self, as_of: datetime, *, timeframe: str) -> list[Row]:
        """Return the ledger of a cutoff: ``symbol, model_name, model_version, inputs, state``."""
        c = ledger.c
        query = select(c.symbol, c.model_name, c.model_version, c.inputs, c.state)
        query = query.where(c.timeframe == timeframe, c.as_of == as_of)
        found = self._read(lambda connection: connection.execute(query).mappings().all())
        return sorted(map(dict, found), key=lambda row: (row["symbol"], row["model_name"], row["model_version"]))

    def newest(self, subject: str) -> Row | None:
        """Return the run with this subject that started last; None for none."""
        query = select(runs).filter_by(subject=subject).order_by(runs.c.started_at.desc(), runs.c.id).limit(1)
        found = self._read(lambda connection: connection.execute(query).mappings().first())
        return None if found is None else dict(found)

    def evaluate(self, evaluations: Iterable[Row], *, taught: str | None = None) -> int:
        """Write the scores of stored predictions; return how many are new or changed.

        A row has the columns of ``signal_evaluations`` but ``scored_at``, and the ``created_at`` of the prediction
        it scores: where that was replaced meanwhile, the score is of no use and left out. ``taught`` is a model
        that learns from outcomes in the order in which they came: what it had learned without these, by the first
        of them or later, is deleted in the same transaction, and will be learned again.
        """
        now = datetime.now(UTC)
        rows = list(evaluations)
        seen = sorted({row["created_at"] for row in rows})

        def write(connection: Connection) -> int:
            columns = [*(ml_predictions.c[name] for name in KEY), ml_predictions.c.created_at]
            current: set[tuple[Any, ...]] = set()
            for start in range(0, len(seen), _CHUNK):
                among = ml_predictions.c.created_at.in_(seen[start : start + _CHUNK])
                # The lock keeps another writer from replacing a prediction before its score is there.
                query = select(*columns).where(among).with_for_update(read=True)
                current.update(tuple(row) for row in connection.execute(query))
            names = [column.name for column in signal_evaluations.columns if column.name != "scored_at"]
            fresh = [
                {name: row[name] for name in names}
                for row in rows
                if (*(row[name] for name in KEY), row["created_at"]) in current
            ]
            if taught is not None and fresh:
                first = min(row["realised_at"] for row in fresh)
                connection.execute(delete(states).where(states.c.model_name == taught, states.c.as_of >= first))
            return upsert(connection, signal_evaluations, fresh, {"scored_at": now})

        return self._write(write)

    def learn(self, learned: Iterable[Row], *, instead: bool = False) -> None:
        """Write states as ``learned_row`` makes them; of each model the newest are kept.

        ``instead`` of the states that the same model, with the same options, has as of later moments.
        """
        lessons = list(learned)

        def write(connection: Connection) -> None:
            for row in lessons if instead else ():
                later = states.c.as_of > row["as_of"]
                connection.execute(delete(states).where(_of(row), later))
            _keep(connection, lessons)

        self._write(write)

    def forget(self, options: str) -> None:
        """Delete all states of models with these options."""
        self._write(lambda connection: connection.execute(delete(states).where(states.c.options == options)))

    def learned(
        self, model: str, timeframe: str, options: str, until: datetime
    ) -> tuple[datetime, Mapping[str, Any]] | None:
        """Return the newest state of a model that had learned from nothing later, and until when; None for none.

        Raises DamagedState where it is not what was written.
        """
        query = (
            select(states)
            .filter_by(model_name=model, timeframe=timeframe, options=options)
            .where(states.c.as_of <= until)
            .order_by(states.c.as_of.desc())
            .limit(1)
        )
        row = self._read(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            return None
        if _sha256(row["content"]) != row["sha256"]:
            when = f"{row['as_of']:%Y-%m-%d %H:%M} UTC"
            raise DamagedState(f"store {self.display_url}: what {model} had learned by {when} is damaged")
        content: dict[str, Any] = json.loads(row["content"])
        return row["as_of"], content

    def unscored(
        self, as_of: datetime, *, timeframe: str | None = None, symbols: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the predictions without a score whose target bar was complete by a moment, backtests' apart.

        Those of one timeframe and of some symbols alone, where these are given.
        """
        query = select(ml_predictions).where(
            ml_predictions.c.target_available_at <= as_of,
            ~exists().where(_SAME_KEY),
            ~ml_predictions.c.model_version.contains(REHEARSED, autoescape=True),
        )
        if timeframe is not None:
            query = query.where(ml_predictions.c.timeframe == timeframe)
        found = self._rows(ml_predictions, query)
        return found if symbols is None else [row for row in found if row["symbol"] in symbols]

    def past(
        self,
        cutoff: datetime,
        *,
        timeframe: str | None = None,
        models: Collection[str] | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
    ) -> pd.DataFrame:
        """Return the scored predictions whose outcome was known by the cutoff, both tables joined.

        Those of one timeframe, of some models, of one run and of outcomes known after ``since`` alone, where these
        are given. Of several versions of a
        model only one has a row for a symbol, cutoff and step: what was forecast in earnest before what a backtest
        wrote, then what was written last.
        """
        query = select(*_SCORED).where(_SAME_KEY, signal_evaluations.c.realised_at <= cutoff)
        if timeframe is not None:
            query = query.where(ml_predictions.c.timeframe == timeframe)
        if models is not None:
            query = query.where(ml_predictions.c.model_name.in_(models))
        if run_id is not None:
            query = query.where(ml_predictions.c.run_id == run_id)
        if since is not None:
            query = query.where(signal_evaluations.c.realised_at > since)
        rows = self._read(lambda connection: connection.execute(query).all())
        return _one_version(to_frame(_SCORED, rows)).sort_values(_BY_TIME, ignore_index=True)

    def envelopes(
        self,
        until: datetime,
        *,
        timeframe: str,
        models: Collection[str],
        step: int,
        since: datetime | None = None,
        run_id: str | None = None,
        symbols: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Return what some models forecast for one step after ``since`` and by ``until``, scored or not.

        Columns ``symbol, as_of, model_name, p10, p50, p90, last_close``; of several versions one, as in ``past``.
        """
        c = ml_predictions.c
        columns = [c.symbol, c.as_of, c.model_name, c.model_version, c.step, c.timeframe, c.created_at]
        columns += [c.p10, c.p50, c.p90, c.last_close]
        query = select(*columns).where(c.timeframe == timeframe, c.step == step, c.model_name.in_(models))
        query = query.where(c.as_of <= until)
        if since is not None:
            query = query.where(c.as_of > since)
        if run_id is not None:
            query = query.where(c.run_id == run_id)
        if symbols is not None:
            query = query.where(c.symbol.in_(symbols))
        rows = self._read(lambda connection: connection.execute(query).all())
        found = _one_version(to_frame(columns, rows)).sort_values(_BY_TIME, ignore_index=True)
        return found[["symbol", "as_of", "model_name", "p10", "p50", "p90", "last_close"]]

    def coverage(
        self, until: datetime, *, timeframe: str, model: str, since: datetime
    ) -> dict[str, tuple[float, int]]:
        """Return by asset class the share of outcomes that a model's envelope covered, and of how many.

        Those that were realised after ``since`` and by ``until``; of several versions one, as in ``past``.
        """
        c, scores = ml_predictions.c, signal_evaluations.c
        order = (
            case((c.model_version.contains(REHEARSED, autoescape=True), 1), else_=0),
            c.created_at.desc(),
            c.model_version,
        )
        version = func.row_number().over(partition_by=(c.symbol, c.as_of, c.step), order_by=order)
        known = (
            select(c.asset_class, case((scores.covered, 1.0), else_=0.0).label("covered"), version.label("version"))
            .where(_SAME_KEY, scores.timeframe == timeframe, scores.model_name == model)
            .where(scores.realised_at > since, scores.realised_at <= until)
            .subquery()
        )
        query = select(known.c.asset_class, func.avg(known.c.covered), func.count())
        query = query.where(known.c.version == 1).group_by(known.c.asset_class)
        rows = self._read(lambda connection: connection.execute(query).all())
        return {name: (float(share), int(n)) for name, share, n in rows}

    def last_outcome(self, until: datetime, *, timeframe: str) -> datetime | None:
        """Return when the last outcome of a scored prediction was known, of those by a moment; None for none."""
        c = signal_evaluations.c
        query = select(func.max(c.realised_at)).where(c.timeframe == timeframe, c.realised_at <= until)
        found: datetime | None = self._read(lambda connection: connection.scalar(query))
        return found

    def runs(self, **equal: Any) -> list[dict[str, Any]]:
        """Return the runs in which the columns named have the values given."""
        return self._rows(runs, select(runs).filter_by(**equal))

    def predictions(self, **equal: Any) -> list[dict[str, Any]]:
        """Return the predictions in which the columns named have the values given."""
        return self._rows(ml_predictions, select(ml_predictions).filter_by(**equal))

    def evaluations(self, **equal: Any) -> list[dict[str, Any]]:
        """Return the scores in which the columns named have the values given."""
        return self._rows(signal_evaluations, select(signal_evaluations).filter_by(**equal))

    def _rows(self, table: Table, query: Select[Any]) -> list[dict[str, Any]]:
        """Return what a query finds, in the order of the table's key, whatever the database's collation."""
        found = self._read(lambda connection: connection.execute(query).mappings().all())
        key = table.primary_key.columns.keys()
        return sorted((dict(row) for row in found), key=lambda row: tuple(row[name] for name in key))

    def _prepare(self) -> bool:
        with self._watched():
            return schema.prepare(self._engine, self.display_url)

    def _migrate(self) -> bool:
        # However long that takes.
        return schema.migrate(self._engine, self.display_url)

    def _read(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._watched(), reader(self._engine).connect() as connection:
                return work(connection)

        return self._patiently(transaction)

    def _write(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._watched(), self._engine.begin() as connection:
                return work(connection)

        return self._patiently(transaction)

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, self._patience, self._address)


def _not_later(started_at: datetime) -> dict[str, ColumnElement[bool]]:
    """Return what rows of a table meet that belong to runs which started no later.

    To a row of the ledger belong all predictions of it. A run that ended is not written again.
    """
    later = runs.c.started_at > started_at
    same_work = and_(*(ledger.c[name] == _stored(ml_predictions, name) for name in WORK_KEY))
    under_way = and_(runs.c.started_at == started_at, runs.c.finished_at.is_(None))
    return {
        runs.name: or_(runs.c.started_at < started_at, under_way),
        ledger.name: ~exists().where(runs.c.id == _stored(ledger, "run_id"), later),
        ml_predictions.name: ~or_(
            exists().where(runs.c.id == _stored(ml_predictions, "run_id"), later),
            exists().where(runs.c.id == ledger.c.run_id, later, same_work),
        ),
    }


def _stored(table: Table, name: str) -> ColumnElement[Any]:
    """Return a column of the row that is written to, for use in a subquery, which would take up the table."""
    column: ColumnElement[Any] = literal_column(f"{table.name}.{name}", table.c[name].type)
    return column


def _among(table: Table, names: Sequence[str], stamps: Row) -> ColumnElement[bool]:
    """Return what rows meet that have these columns in common with predictions so stamped."""
    new = and_(*(ml_predictions.c[name] == value for name, value in stamps.items()))
    keys = select(*(ml_predictions.c[name] for name in names)).where(new)
    return tuple_(*(table.c[name] for name in names)).in_(keys)


def scored_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return scored predictions, with the columns of both tables, as ``Store.past`` has them."""
    names = [column.name for column in _SCORED]
    frame = to_frame(_SCORED, [[row.get(name) for name in names] for row in rows])
    return frame.sort_values(_BY_TIME, ignore_index=True)


def learned_row(model: str, timeframe: str, options: str, as_of: datetime, content: Mapping[str, Any]) -> Row:
    """Return a row of ``states``: what a model with these options has learned from all known by a moment."""
    text = to_json(content)
    return {
        "model_name": model,
        "timeframe": timeframe,
        "options": options,
        "as_of": as_of,
        "content": text,
        "sha256": _sha256(text),
        "created_at": datetime.now(UTC),
    }


def _sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _keep(connection: Connection, lessons: Sequence[Row]) -> None:
    """Write states, and delete all but the newest of each model."""
    upsert(connection, states, lessons)
    for row in lessons:
        newest = select(states.c.as_of).where(_of(row)).order_by(states.c.as_of.desc()).limit(_KEPT)
        connection.execute(delete(states).where(_of(row), states.c.as_of.not_in(newest)))


def _of(row: Row) -> ColumnElement[bool]:
    """Return what states of the same model with the same options meet."""
    return and_(*(states.c[name] == row[name] for name in ("model_name", "timeframe", "options")))


def _one_version(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each symbol, timeframe, cutoff, model and step."""
    rehearsed = found["model_version"].str.contains(REHEARSED, regex=False).astype(bool)
    order = found.assign(rehearsed=rehearsed).sort_values(
        ["rehearsed", "created_at", "model_version"], ascending=[True, False, True], kind="stable"
    )
    first = ~order.duplicated(["symbol", "timeframe", "as_of", "model_name", "step"])
    return found.loc[order.index[first.to_numpy()]]

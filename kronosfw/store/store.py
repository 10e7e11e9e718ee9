"""The store: runs, predictions and scores, written whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Select, Table, and_, delete, exists, select
from sqlalchemy.exc import DBAPIError

from ..errors import StoreError
from . import address, faults, schema
from .engine import open_engine, reader
from .frames import to_frame
from .tables import KEY, Row, ml_predictions, runs, signal_evaluations
from .upsert import upsert

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_SAME_KEY = and_(*(ml_predictions.c[name] == signal_evaluations.c[name] for name in KEY))
_CHUNK = 500
_BY_TIME = ["as_of", "symbol", "model_name", "model_version", "timeframe", "step"]


class Store:
    """A database of results.

    An empty database gets its tables when it is opened. All that can go wrong with a database is a StoreError
    of one line, after a few tries where it may pass by itself; trying again is harmless, because all writing
    goes by natural keys. A SQLite store in memory belongs to the thread that opened it.
    """

    migrated: bool
    """Whether opening the store made or changed its tables."""

    def __init__(self, url: str, *, migrate: bool = False, delays: Sequence[float] = (0.5, 1.0, 2.0)) -> None:
        """Open the store at a SQLAlchemy URL; ``delays`` are the seconds before each further try.

        With ``migrate``, tables of an older version are brought up to date, and other programs' tables do not
        matter unless they have the names of ours. Raises ConfigError for a URL and StoreError for a database
        that cannot be used.
        """
        self._address = address.parse(url)
        self._engine = open_engine(self._address)
        self._delays = delays
        make = schema.migrate if migrate else schema.prepare
        try:
            self.migrated = self._retrying(lambda: make(self._engine, self.display_url))
        except BaseException:
            self.close()
            raise

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

    def record(self, run: Row, predictions: Iterable[Row], *, late: bool = False) -> int:
        """Write a run and its predictions in one transaction; return how many predictions are new or changed.

        ``run`` has the columns of ``runs``; a prediction has those of ``ml_predictions`` but ``run_id`` and
        ``created_at``. The score of a prediction that changed is removed, for it is of the old one. A run that is
        recorded ``late`` leaves what was written since it started.
        """
        stamps = {"run_id": run["id"], "created_at": datetime.now(UTC)}
        rows = [{**row, **stamps} for row in predictions]

        def write(connection: Connection) -> int:
            upsert(connection, runs, [run])
            written = upsert(connection, ml_predictions, rows, newer_than=run["started_at"] if late else None)
            if written:
                new = and_(*(ml_predictions.c[name] == value for name, value in stamps.items()))
                connection.execute(delete(signal_evaluations).where(exists().where(_SAME_KEY, new)))
            return written

        return self._write(write)

    def evaluate(self, evaluations: Iterable[Row]) -> int:
        """Write the scores of stored predictions; return how many are new or changed.

        A row has the columns of ``signal_evaluations`` but ``scored_at``, and the ``created_at`` of the prediction
        it scores: where that was replaced meanwhile, the score is of no use and left out.
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
            names = signal_evaluations.columns.keys()
            fresh = [
                {name: now if name == "scored_at" else row[name] for name in names}
                for row in rows
                if (*(row[name] for name in KEY), row["created_at"]) in current
            ]
            return upsert(connection, signal_evaluations, fresh)

        return self._write(write)

    def unscored(
        self, as_of: datetime, *, timeframe: str | None = None, symbols: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the predictions without a score whose target bar was complete by a moment.

        Those of one timeframe and of some symbols alone, where these are given.
        """
        query = select(ml_predictions).where(
            ml_predictions.c.target_available_at <= as_of, ~exists().where(_SAME_KEY)
        )
        if timeframe is not None:
            query = query.where(ml_predictions.c.timeframe == timeframe)
        found = self._rows(ml_predictions, query)
        return found if symbols is None else [row for row in found if row["symbol"] in symbols]

    def past(
        self, cutoff: datetime, *, timeframe: str | None = None, models: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the scored predictions whose outcome was known by the cutoff, both tables joined.

        Those of one timeframe and of some models alone, where these are given.
        """
        extra = [column for column in signal_evaluations.c if column.name not in ml_predictions.c]
        columns = [*ml_predictions.c, *extra]
        query = select(*columns).where(_SAME_KEY, signal_evaluations.c.realised_at <= cutoff)
        if timeframe is not None:
            query = query.where(ml_predictions.c.timeframe == timeframe)
        if models is not None:
            query = query.where(ml_predictions.c.model_name.in_(models))
        rows = self._read(lambda connection: connection.execute(query).all())
        return to_frame(columns, rows).sort_values(_BY_TIME, ignore_index=True)

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

    def _read(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with reader(self._engine).connect() as connection:
                return work(connection)

        return self._retrying(transaction)

    def _write(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return self._retrying(transaction)

    def _retrying(self, work: Callable[[], T]) -> T:
        delays = iter(self._delays)
        while True:
            try:
                return work()
            except DBAPIError as error:
                delay = next(delays, None)
                if delay is None or not faults.is_transient(error):
                    raise StoreError(faults.describe(error, self._address)) from None
            time.sleep(delay)

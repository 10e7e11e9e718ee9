"""Databases of earlier versions are brought up to date with all that is in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from kronosfw.errors import StoreError
from kronosfw.store import Store, address, learned_row, schema
from kronosfw.store.engine import open_engine
from kronosfw.store.tables import metadata, ml_predictions, runs, signal_evaluations, states

from .rows import AS_OF, DAY, done, evaluation, prediction, run_row

OLD = ("0001", "0002")
OLD_TABLES = (runs, ml_predictions, signal_evaluations)
ROWS = 50


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(address.parse(url))
    yield engine
    engine.dispose()


def old_run(**changed: Any) -> dict[str, Any]:
    return {name: value for name, value in run_row(**changed).items() if name != "subject"}


def fill(connection: Connection, revision: str) -> None:
    """Make the tables of an earlier version and write what it would have."""
    config = Config(attributes={"connection": connection, "version_table": schema.VERSION_TABLE})
    config.set_main_option("script_location", "kronosfw.store:migrations")
    command.upgrade(config, revision)
    connection.execute(runs.insert(), [old_run(), old_run(id="unfinished", finished_at=None)])
    stamps = {"run_id": "a1b2", "created_at": AS_OF + DAY}
    connection.execute(ml_predictions.insert(), [prediction(step) | stamps for step in range(ROWS)])
    scores = [evaluation(step) | {"scored_at": AS_OF + DAY} for step in range(ROWS)]
    connection.execute(signal_evaluations.insert(), scores)
    if revision > "0001":
        connection.execute(states.insert(), [learned_row("ensemble", "1d", "o", AS_OF, {"n": 1})])


def contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows by table, without what an earlier version did not have."""
    found = {}
    for table in OLD_TABLES:
        names = ", ".join(column.name for column in table.columns if column.name != "subject")
        query = text(f"SELECT {names} FROM {table.name} ORDER BY 1, 6")
        found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


@pytest.mark.parametrize("revision", OLD)
def test_all_rows_are_kept(url: str, engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        fill(connection, revision)
        before = contents(connection)
    assert [len(rows) for rows in before.values()] == [2, ROWS, ROWS]
    with pytest.raises(StoreError, match="made by an older kronosfw"):
        Store(url)
    with Store(url, migrate=True) as store:
        assert store.migrated
        assert store.runs(id="a1b2") == [run_row(subject=None)]
        assert len(store.predictions()) == len(store.evaluations()) == len(store.past(AS_OF + 99 * DAY)) == ROWS
        assert (store.learned("ensemble", "1d", "o", AS_OF) is not None) == (revision > "0001")
    with engine.connect() as connection:
        after = contents(connection)
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    assert after == before
    with Store(url) as store:
        rows = [prediction(step) for step in range(ROWS)]
        assert store.record(run_row(id="new"), rows, work=[done()]) == 0
        assert store.newest("5e1f") == run_row(id="new")
        assert len(store.worked(AS_OF, timeframe="1d")) == 1


def test_a_writer_at_work_is_waited_for_and_can_go_on(url: str, engine: Engine) -> None:
    """The writer is of the earlier version, and knows nothing of what is new."""
    with engine.begin() as connection:
        fill(connection, "0002")
    migrated: list[bool] = []

    def migrate() -> None:
        with Store(url, migrate=True) as store:
            migrated.append(store.migrated)

    thread = threading.Thread(target=migrate)
    stamps = {"run_id": "old", "created_at": AS_OF}
    with engine.begin() as writer:
        writer.execute(runs.insert(), [old_run(id="old")])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        writer.execute(ml_predictions.insert(), [prediction(step, symbol="ETH") | stamps for step in range(ROWS)])
    thread.join()
    assert migrated == [True]
    with engine.begin() as writer:
        writer.execute(runs.insert(), [old_run(id="older")])
    with Store(url) as store:
        assert len(store.predictions(symbol="ETH")) == ROWS
        assert {run["id"] for run in store.runs()} == {"a1b2", "unfinished", "old", "older"}

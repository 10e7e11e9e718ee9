"""Many rows go to Postgres by COPY, with the same outcome as one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from kronosfw.errors import StoreError
from kronosfw.store import Store, address, upsert
from kronosfw.store.engine import open_engine
from kronosfw.store.tables import ml_predictions, runs, signal_evaluations

from .postgres import Server
from .rows import AS_OF, DAY, done, evaluation, prediction, run_row, seen

pytestmark = pytest.mark.postgres
MANY = upsert.FEW + 1
STAMPS = {"run_id": "a1b2", "created_at": AS_OF}

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["\\N", "\\.", "\t", "a\nb", "\r", "\\", "null", "", '"', "a,b", "\x01", "\u2028"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PREDICTIONS = st.lists(
    st.builds(
        prediction,
        step=st.integers(-1000, 1000),
        symbol=TEXT,
        as_of=TIMES,
        target_time=TIMES,
        session=st.dates(),
        p10=NUMBERS,
        p50=NUMBERS,
        p90=NUMBERS,
        seed=st.integers(-(2**63), 2**63 - 1),
        quantiles=st.none() | JSON,
        event_context=st.none() | JSON,
    ),
    max_size=4,
    unique_by=lambda row: (row["symbol"], row["as_of"], row["step"]),
)


@pytest.fixture(scope="module")
def url(postgres: Server) -> str:
    return postgres.new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Give an empty store."""
    with Store(url, patience=0) as store:
        engine = open_engine(address.parse(url))
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE runs CASCADE"))
        engine.dispose()
        yield store


@pytest.fixture
def connection(store: Store, url: str) -> Iterator[Connection]:
    """Give a transaction in which there is a run."""
    engine = open_engine(address.parse(url))
    with engine.connect() as connection:
        upsert.upsert(connection, runs, [run_row()])
        yield connection
    engine.dispose()


def stored(connection: Connection) -> list[str]:
    """Return the predictions as text of full precision."""
    query = text("SELECT p::text FROM ml_predictions AS p ORDER BY symbol, as_of, step")
    return list(connection.scalars(query))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=PREDICTIONS, changed=st.data())
@example(rows=[prediction(p10=-0.0, p50=5e-324, p90=1.7976931348623157e308)], changed=None)
def test_the_outcome_is_that_of_one_by_one(
    connection: Connection, rows: list[dict[str, Any]], changed: st.DataObject | None
) -> None:
    second = rows
    if changed is not None and rows:
        second = [row | {"p50": changed.draw(st.sampled_from([row["p50"], 1.5]))} for row in rows]
    outcomes = []
    for few in (-1, upsert.FEW):
        nested = connection.begin_nested()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upsert, "FEW", few)
            counts = [upsert.upsert(connection, ml_predictions, rows, STAMPS) for _ in range(2)]
            later = STAMPS | {"created_at": AS_OF + DAY}
            counts.append(upsert.upsert(connection, ml_predictions, second, later))
        outcomes.append((counts, stored(connection)))
        nested.rollback()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][:2] == [len(rows), 0]


def test_many_rows_by_the_store(store: Store, url: str) -> None:
    rows = [prediction(step, quantiles=None if step % 2 else {"close": {"0.25": step / 7}}) for step in range(MANY)]
    random.Random(1).shuffle(rows)
    work = [done(symbol=f"S{i}", reason=None if i % 2 else "tab\there") for i in range(MANY)]
    scores = [evaluation(step, direction_hit=[None, True, False][step % 3]) for step in range(MANY)]
    assert store.record(run_row(), rows, evaluations=scores, work=work) == MANY
    found = store.predictions()
    assert [{name: row[name] for name in prediction()} for row in found] == sorted(
        rows, key=lambda row: row["step"]
    )
    assert [row["direction_hit"] for row in store.evaluations()] == [row["direction_hit"] for row in scores]
    assert len(store.worked(AS_OF, timeframe="1d")) == MANY
    assert store.record(run_row(id="b"), rows) == 0
    assert store.predictions() == found
    changed = [row | {"p50": 1.0} if row["step"] < 10 else row for row in rows]
    assert store.record(run_row(id="c"), changed) == 10
    assert {row["run_id"] for row in store.predictions(p50=1.0)} == {"c"}
    assert len(store.evaluations()) == MANY - 10, "the scores of those that changed are gone"
    assert store.evaluate(seen(store, *scores)) == 10


def test_late_rows_leave_what_was_written_since(store: Store) -> None:
    now = datetime.now(UTC)
    store.record(run_row(id="later", started_at=now), [prediction(1, p50=1.0)])
    rows = [prediction(step, p50=2.0) for step in range(MANY)]
    assert store.record(run_row(started_at=now - DAY), rows, late=True) == MANY - 1
    assert [row["step"] for row in store.predictions(p50=1.0)] == [1]


def test_of_equal_keys_the_last_stays(store: Store) -> None:
    rows = [prediction(step % MANY, p50=float(step)) for step in range(MANY + 5)]
    store.record(run_row(), rows)
    assert [row["p50"] for row in store.predictions()][:6] == [MANY, MANY + 1, MANY + 2, MANY + 3, MANY + 4, 5.0]
    assert len(store.predictions()) == MANY


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"symbol": "a\0b"}, StoreError, "cannot contain NUL"),
        ({"event_context": {"a": "\0"}}, StoreError, "unsupported Unicode escape sequence"),
        ({"event_context": {"a": float("nan")}}, StoreError, "invalid input syntax for type json"),
        ({"p50": None}, StoreError, 'null value in column "p50"'),
        ({"step": 2**31}, StoreError, "out of range"),
        ({"p50": float("inf")}, ValueError, "must be finite"),
        ({"target_time": datetime(2024, 1, 1)}, ValueError, "needs its time zone"),
        ({"p55": 1.0}, ValueError, "wrong columns"),
    ],
    ids=str,
)
def test_what_is_refused(store: Store, wrong: dict[str, Any], error: type[Exception], said: str) -> None:
    rows = [prediction(step) for step in range(-MANY, -1)]
    with pytest.raises(error, match=said) as caught:
        store.record(run_row(), [*rows, prediction() | wrong])
    assert "\n" not in str(caught.value)
    assert store.runs() == store.predictions() == []
    assert store.record(run_row(), rows) == len(rows), "the connection is as good as new"


def test_nothing_is_left_in_the_session(store: Store, url: str) -> None:
    engine = open_engine(address.parse(url))
    with engine.connect() as connection:
        upsert.upsert(connection, runs, [run_row()])
        for _ in range(2):
            upsert.upsert(connection, ml_predictions, [prediction(step) for step in range(MANY)], STAMPS)
        connection.commit()
        left = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
        assert connection.execute(text(left)).scalar() == 0
    engine.dispose()


def test_a_column_of_somebody_else(store: Store, url: str) -> None:
    rows = [prediction(step) for step in range(MANY)]
    engine = open_engine(address.parse(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE ml_predictions ADD COLUMN theirs integer NOT NULL DEFAULT 3"))
        assert store.record(run_row(), rows) == MANY
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE ml_predictions DROP COLUMN theirs"))
        engine.dispose()


def test_dates_of_all_kinds(store: Store) -> None:
    days = [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)]
    rows = [prediction(step, session=days[step % 3]) for step in range(MANY)]
    store.record(run_row(), rows)
    assert [row["session"] for row in store.predictions()] == [row["session"] for row in rows]


def test_columns_of_scores(connection: Connection) -> None:
    upsert.upsert(connection, ml_predictions, [prediction(step) for step in range(MANY)], STAMPS)
    scores = [evaluation(step, covered=step % 2 == 0) for step in range(MANY)]
    assert upsert.upsert(connection, signal_evaluations, scores, {"scored_at": AS_OF}) == MANY
    found = connection.execute(signal_evaluations.select().order_by("step")).mappings()
    assert [dict(row) for row in found] == [row | {"scored_at": AS_OF} for row in scores]

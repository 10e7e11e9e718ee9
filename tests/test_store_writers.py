"""Several writers at once, with few rows and with many."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kronosfw.store import Store, address
from kronosfw.store.engine import open_engine
from kronosfw.store.tables import ml_predictions, runs
from kronosfw.store.upsert import FEW, upsert

from .postgres import Server, wait_until_blocked
from .rows import AS_OF, DAY, done, evaluation, prediction, run_row, seen

KEYS = 3 * FEW


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    return str(request.getfixturevalue("postgres_url"))


def test_each_row_is_written_by_one(url: str) -> None:
    """All have the same rows in orders and parts of their own, and count what they wrote."""

    def work(number: int) -> int:
        chance = random.Random(number)
        rows = [prediction(step) for step in range(KEYS)]
        chance.shuffle(rows)
        cut = chance.choice([FEW // 2, FEW, 2 * FEW])
        with Store(url, patience=0) as store:
            run = run_row(id=f"run {number}")
            return sum(store.record(run, part) for part in (rows[:cut], rows[cut:], rows))

    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(work, range(6)))
    with Store(url) as store:
        assert [row["step"] for row in store.predictions()] == list(range(KEYS))
        assert len(store.runs()) == 6
    assert sum(written) == KEYS


def test_what_one_writes_is_not_mixed_with_another(url: str) -> None:
    """Each writes rows of its own values, their scores and its ledger; a transaction's rows stay together."""

    def work(number: int) -> None:
        rows = [prediction(step, p50=float(number)) for step in range(FEW + 1)]
        scores = [evaluation(step, crps=float(number)) for step in range(FEW + 1)]
        random.Random(number).shuffle(rows)
        with Store(url, patience=0) as store:
            for _ in range(3):
                work = [done(inputs=str(number))]
                store.record(run_row(id=str(number)), rows, evaluations=scores, work=work)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with Store(url) as store:
        ((last, *others),) = [{row["run_id"] for row in store.predictions()}]
        assert others == []
        assert {row["p50"] for row in store.predictions()} == {float(last)}
        assert {row["crps"] for row in store.evaluations()} == {float(last)}
        assert [row["inputs"] for row in store.worked(prediction()["as_of"], timeframe="1d")] == [last]


@pytest.mark.postgres
def test_a_late_run_waits_for_who_is_writing(postgres: Server, postgres_url: str) -> None:
    """Else it would not see that the other started later."""
    early, later = run_row(id="early", started_at=AS_OF - DAY), run_row(id="later")
    engine = open_engine(address.parse(postgres_url))
    with Store(postgres_url) as store, ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            upsert(connection, runs, [later])
            upsert(connection, ml_predictions, [prediction()], {"run_id": "later", "created_at": AS_OF})
            written = pool.submit(store.record, early, [prediction(p50=1.0)], late=True)
            with postgres.connect() as admin:
                wait_until_blocked(admin)
        assert written.result() == 0
        assert store.predictions()[0]["p50"] == prediction()["p50"]
    engine.dispose()


def test_scores_while_predictions_change(url: str) -> None:
    """Whatever comes first, a score is of the prediction that stands."""
    with Store(url, patience=0) as store:
        store.record(run_row(), [prediction(step) for step in range(FEW + 1)])

        def score() -> None:
            for _ in range(4):
                store.evaluate(seen(store, *(evaluation(step) for step in range(FEW + 1))))

        def change() -> None:
            with Store(url, patience=0) as other:
                for number in range(4):
                    other.record(run_row(), [prediction(step, p50=float(number)) for step in range(FEW + 1)])

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(score), pool.submit(change)]:
                future.result()
        created = {row["step"]: row["created_at"] for row in store.predictions()}
        assert len(created) == FEW + 1
        assert all(row["scored_at"] >= created[row["step"]] for row in store.evaluations())

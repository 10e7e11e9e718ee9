"""The store, on SQLite and on Postgres alike."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, text

from kronosfw.errors import StoreError
from kronosfw.store import Store, address, learned_row, schema
from kronosfw.store.engine import open_engine
from kronosfw.store.tables import KEY, metadata

from .rows import AS_OF, DAY, done, evaluation, prediction, run_row, seen


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Any:
    with Store(url, patience=0) as store:
        yield store


def execute(url: str, statement: str) -> None:
    """Do something to the database behind the store's back."""
    engine = open_engine(address.parse(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = open_engine(address.parse(url))
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return rows


def tables(url: str) -> set[str]:
    engine = open_engine(address.parse(url))
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


class TestRecord:
    def test_what_is_written_is_read_back(self, store: Store) -> None:
        rows = [prediction(1), prediction(2, event_context={"cpi": [1, None, {"é": 0.1}]}, quantiles=None)]
        before = datetime.now(UTC)
        assert store.record(run_row(), rows) == 2
        assert store.runs() == [run_row()]
        stored = store.predictions()
        assert all(before <= row.pop("created_at") <= datetime.now(UTC) for row in stored)
        assert stored == [row | {"run_id": "a1b2"} for row in rows]

    def test_writing_again_changes_nothing(self, store: Store) -> None:
        rows = [prediction(step) for step in (1, 2, 3)]
        store.record(run_row(), rows)
        before = store.predictions()
        again = run_row(id="other", started_at=AS_OF + DAY)
        assert store.record(again, rows) == 0
        assert store.predictions() == before
        assert store.record(run_row(started_at=AS_OF + DAY, finished_at=None), rows) == 0
        assert store.runs(id="a1b2") == [run_row()]

    @pytest.mark.parametrize(
        "changed",
        [
            {"p50": 100.1},
            {"seed": 1},
            {"quantiles": None},
            {"quantiles": {"close": {"0.25": 95.2}}},
            {"event_context": {}},
            {"target_available_at": AS_OF},
        ],
        ids=str,
    )
    def test_one_value_changes_one_row(self, store: Store, changed: dict[str, Any]) -> None:
        store.record(run_row(), [prediction(1), prediction(2)])
        first, second = store.predictions()
        assert store.record(run_row(id="later"), [prediction(1), prediction(2, **changed)]) == 1
        kept, new = store.predictions()
        assert kept == first
        assert new["created_at"] > second["created_at"]
        assert new == second | changed | {"run_id": "later", "created_at": new["created_at"]}

    def test_order_of_json_keys_is_no_change(self, store: Store) -> None:
        store.record(run_row(), [prediction(event_context={"a": 1, "b": 2})])
        assert store.record(run_row(), [prediction(event_context={"b": 2, "a": 1})]) == 0

    def test_error_in_the_middle_leaves_nothing(self, store: Store) -> None:
        rows = [prediction(step) for step in range(1, 50)]
        rows[30]["p50"] = None
        with pytest.raises(StoreError, match="p50"):
            store.record(run_row(), rows)
        assert store.runs() == []
        assert store.predictions() == []

    def test_a_run_without_predictions(self, store: Store) -> None:
        assert store.record(run_row(state="failed", report=None), []) == 0
        assert [run["state"] for run in store.runs()] == ["failed"]

    @pytest.mark.parametrize("wrong", [{"p50": float("nan")}, {"target_time": AS_OF.replace(tzinfo=None)}], ids=str)
    def test_values_that_databases_treat_differently_are_refused(self, store: Store, wrong: dict[str, Any]) -> None:
        with pytest.raises(Exception, match=r"must be finite|needs its time zone"):
            store.record(run_row(), [prediction(), prediction(2) | wrong])
        assert store.runs() == []

    @pytest.mark.parametrize("row", [prediction() | {"p55": 1.0}, {"symbol": "BTC"}], ids=["extra", "missing"])
    def test_wrong_columns_are_named(self, store: Store, row: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"ml_predictions: wrong columns: .*p5"):
            store.record(run_row(), [prediction(2), row])
        assert store.runs() == []

    def test_writers_at_once_all_succeed(self, url: str) -> None:
        Store(url).close()
        errors: list[Exception] = []

        def work(number: int) -> None:
            shuffled = [prediction(step, p50=100.0 + number) for step in range(1, 41)]
            random.Random(number).shuffle(shuffled)
            try:
                with Store(url, patience=0) as store:
                    for _ in range(5):
                        store.record(run_row(id=f"run {number}"), shuffled)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with Store(url) as store:
            stored = store.predictions()
            assert len(store.runs()) == 6
        assert [row["step"] for row in stored] == list(range(1, 41))
        assert len({(row["p50"], row["run_id"]) for row in stored}) == 1

    def test_processes_at_once_on_an_empty_database(self, url: str) -> None:
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from kronosfw.store import Store\n"
            "from tests.rows import prediction, run_row\n"
            "print('ready', flush=True); input()\n"
            "store = Store(sys.argv[2], patience=0)\n"
            "for step in range(1, 9):\n"
            "    store.record(run_row(), [prediction(step), prediction(step + 1)])\n"
        )
        root = str(Path(__file__).parents[1])
        pipe = subprocess.PIPE
        command = [sys.executable, "-W", "error", "-c", script, root, url]
        workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.communicate("go\n", timeout=60)
        assert [worker.returncode for worker in workers] == [0] * 4
        with Store(url) as store:
            assert [row["step"] for row in store.predictions()] == list(range(1, 10))


class TestLedger:
    def test_work_is_written_with_its_run(self, store: Store) -> None:
        work = [done(symbol="ETH", state="failed", reason="too short"), done()]
        assert store.record(run_row(), [prediction(1)], work=work) == 1
        names = ("symbol", "model_name", "model_version", "inputs", "state")
        assert store.worked(AS_OF, timeframe="1d") == [{name: row[name] for name in names} for row in work[::-1]]
        assert store.worked(AS_OF, timeframe="1h") == []
        assert store.worked(AS_OF + DAY, timeframe="1d") == []

    def test_all_or_nothing(self, store: Store) -> None:
        with pytest.raises(StoreError, match="inputs"):
            store.record(run_row(), [prediction(1)], work=[done(inputs=None)])
        assert store.runs() == []

    def test_what_was_done_again_is_as_the_last_says(self, store: Store) -> None:
        store.record(run_row(), [], work=[done(), done(symbol="ETH")])
        store.record(run_row(id="other"), [], work=[done(inputs="n3w", state="failed", reason="no")])
        found = store.worked(AS_OF, timeframe="1d")
        assert [(row["inputs"], row["state"]) for row in found] == [("n3w", "failed"), ("d1g3", "done")]

    def test_the_same_again_keeps_its_stamps(self, store: Store, url: str) -> None:
        store.record(run_row(), [], work=[done()])
        before = fetch(url, "SELECT * FROM work")
        store.record(run_row(id="other"), [], work=[done()])
        assert fetch(url, "SELECT * FROM work") == before
        store.record(run_row(id="other"), [], work=[done(reason="x")])
        ((run_id, reason),) = fetch(url, "SELECT run_id, reason FROM work")
        assert (run_id, reason) == ("other", "x")

    def test_the_newest_run_of_a_subject(self, store: Store) -> None:
        assert store.newest("5e1f") is None
        for name, days in (("a", 1), ("b", 3), ("c", 2)):
            store.record(run_row(id=name, started_at=AS_OF + days * DAY), [])
        store.record(run_row(id="d", started_at=AS_OF + 9 * DAY, subject="another"), [])
        unnamed = run_row(id="e")
        del unnamed["subject"]
        store.record(unnamed, [])
        assert store.newest("5e1f") == run_row(id="b", started_at=AS_OF + 3 * DAY)
        assert store.runs(id="e") == [unnamed | {"subject": None}]


class TestScores:
    def test_unscored_until_scored(self, store: Store) -> None:
        store.record(run_row(), [prediction(step) for step in (1, 2, 3)])
        due = AS_OF + 2 * DAY
        assert store.unscored(due - timedelta(microseconds=1)) == store.predictions(step=1)
        assert [row["step"] for row in store.unscored(due)] == [1, 2]
        assert store.evaluate(seen(store, evaluation(1), evaluation(2))) == 2
        assert store.unscored(due) == []
        assert [row["step"] for row in store.unscored(due + DAY)] == [3]

    def test_scoring_again_changes_nothing(self, store: Store) -> None:
        store.record(run_row(), [prediction(1), prediction(2)])
        store.evaluate(seen(store, evaluation(1), evaluation(2)))
        before = store.evaluations()
        assert store.evaluate(seen(store, evaluation(1), evaluation(2))) == 0
        assert store.evaluations() == before
        assert store.evaluate(seen(store, evaluation(1), evaluation(2, direction_hit=True))) == 1
        assert [row["direction_hit"] for row in store.evaluations()] == [None, True]
        assert store.evaluations()[0] == before[0]

    def test_a_changed_prediction_loses_its_score(self, store: Store) -> None:
        store.record(run_row(), [prediction(1), prediction(2)])
        store.evaluate(seen(store, evaluation(1), evaluation(2)))
        store.record(run_row(), [prediction(1), prediction(2)])
        assert len(store.evaluations()) == 2
        store.record(run_row(), [prediction(1, p90=120.0), prediction(2)])
        assert [row["step"] for row in store.evaluations()] == [2]
        assert [row["p90"] for row in store.unscored(AS_OF + DAY)] == [120.0]

    def test_a_score_of_a_replaced_prediction_is_left_out(self, store: Store) -> None:
        """Another writer replaced a prediction between its reading and its scoring."""
        store.record(run_row(), [prediction(1), prediction(2)])
        scores = seen(store, evaluation(1), evaluation(2))
        store.record(run_row(), [prediction(1, p90=120.0), prediction(2)])
        assert store.evaluate(scores) == 1
        assert [row["step"] for row in store.evaluations()] == [2]
        assert [row["step"] for row in store.unscored(AS_OF + DAY)] == [1]

    def test_what_a_backtest_wrote_waits_for_no_score(self, store: Store) -> None:
        store.record(run_row(), [prediction(1, model_version="1~abcdef01")])
        assert store.unscored(AS_OF + DAY) == []

    def test_unscored_of_some(self, store: Store) -> None:
        store.record(run_row(), [prediction(1), prediction(1, symbol="ETH"), prediction(1, timeframe="1h")])
        due = AS_OF + DAY
        assert [r["symbol"] for r in store.unscored(due, timeframe="1d", symbols=["ETH", "X"])] == ["ETH"]
        assert len(store.unscored(due, timeframe="1h")) == 1

    def test_past_knows_nothing_of_the_future(self, store: Store) -> None:
        names = ["b", "a", "B"]
        rows = [prediction(step, symbol=name) for name in names for step in (2, 1)]
        store.record(run_row(), rows)
        store.evaluate(seen(store, *(evaluation(row["step"], symbol=row["symbol"]) for row in rows)))
        known = store.past(AS_OF + DAY)
        assert list(known["symbol"]) == ["B", "a", "b"]
        assert set(known["step"]) == {1}
        assert store.past(AS_OF + DAY - timedelta(microseconds=1)).empty
        full = store.past(AS_OF + 2 * DAY)
        assert list(zip(full["symbol"], full["step"], strict=True)) == [
            (name, step) for name in sorted(names) for step in (1, 2)
        ]

    def test_past_has_each_column_once_and_typed(self, store: Store) -> None:
        empty = store.past(AS_OF)
        store.record(run_row(), [prediction()])
        store.evaluate(seen(store, evaluation()))
        full = store.past(AS_OF + DAY)
        joined = (metadata.tables[name] for name in ("ml_predictions", "signal_evaluations"))
        assert sorted(full) == sorted({column.name for table in joined for column in table.c})
        assert dict(full.dtypes) == dict(empty.dtypes)
        assert str(full["as_of"].dtype) == "datetime64[us, UTC]"
        row = full.iloc[0]
        assert (row["p10"], row["seed"], row["quantiles"]) == (
            prediction()["p10"],
            2**63 - 1,
            prediction()["quantiles"],
        )
        assert str(row["session"].date()) == "2024-03-01"


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(available=TIMES, asked=TIMES)
def test_times_are_exact_and_compare_as_moments(store: Store, available: datetime, asked: datetime) -> None:
    store.record(run_row(), [prediction(target_available_at=available)])
    (row,) = store.predictions()
    assert row["target_available_at"] == available
    assert row["target_available_at"].tzinfo is UTC
    assert bool(store.unscored(asked)) == (available <= asked)
    assert store.unscored(available)
    assert not store.unscored(available - timedelta(microseconds=1))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True),
    symbol=st.text(st.characters(exclude_categories=["C"]), min_size=1),
)
def test_numbers_and_names_are_exact(store: Store, number: float, symbol: str) -> None:
    row = prediction(symbol=symbol, last_close=number, event_context={symbol: number})
    store.record(run_row(), [row])
    (stored,) = store.predictions(symbol=symbol)
    assert stored["last_close"] == number
    assert {name: float(value) for name, value in stored["event_context"].items()} == {symbol: number}
    assert store.record(run_row(), [row]) == 0


class TestSchema:
    def test_migrations_make_the_tables_that_the_code_expects(self, store: Store, url: str) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        engine = open_engine(address.parse(url))
        with engine.connect() as connection:
            options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
            assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
            primary = inspect(connection).get_pk_constraint("ml_predictions")["constrained_columns"]
        engine.dispose()
        assert tuple(primary) == KEY

    def test_revisions_are_those_of_the_scripts(self) -> None:
        from alembic.script import ScriptDirectory

        scripts = ScriptDirectory(str(Path(schema.__file__).with_name("migrations")))
        assert tuple(s.revision for s in scripts.walk_revisions())[::-1] == schema.REVISIONS

    def test_opening_again_needs_no_alembic(self, store: Store, url: str) -> None:
        script = (
            "import sys; from kronosfw.store import Store; Store(sys.argv[1]).runs()\n"
            "sys.exit(' '.join({'alembic', 'pandas', 'pyarrow', 'torch'} & set(sys.modules)) or 0)"
        )
        subprocess.run([sys.executable, "-c", script, url], check=True)

    def test_whoever_comes_second_waits_for_the_first(self, url: str) -> None:
        engine = open_engine(address.parse(url))
        migrated: list[bool] = []

        def open_too() -> None:
            with Store(url, patience=0) as store:
                migrated.append(store.migrated)

        second = threading.Thread(target=open_too)
        with engine.begin() as connection:
            assert schema._locked_state(connection) is schema.State.EMPTY
            schema._upgrade(connection)
            second.start()
            second.join(0.3)
            assert second.is_alive()
        second.join()
        engine.dispose()
        assert migrated == [False]

    def test_current_is_left_as_it_is(self, store: Store, url: str) -> None:
        store.record(run_row(), [prediction()])
        with Store(url, migrate=True) as again:
            assert not again.migrated
            assert again.predictions() == store.predictions()

    def test_older_asks_for_migration(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        Store(url).close()
        monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
        with pytest.raises(StoreError, match="older kronosfw; run `kronosfw store migrate FILE`"):
            Store(url)

    def test_newer_asks_for_an_upgrade(self, url: str) -> None:
        Store(url).close()
        execute(url, "UPDATE kronosfw_version SET version_num = '9999'")
        for migrate in (False, True):
            with pytest.raises(StoreError, match="newer kronosfw; upgrade kronosfw"):
                Store(url, migrate=migrate)

    def test_other_tables_are_left_alone_unless_asked(self, url: str) -> None:
        execute(url, "CREATE TABLE alembic_version (version_num TEXT)")
        with pytest.raises(StoreError, match="holds other tables"):
            Store(url)
        assert tables(url) == {"alembic_version"}
        with Store(url, migrate=True) as store:
            assert store.migrated
            assert store.record(run_row(), [prediction()]) == 1
        assert tables(url) == {"alembic_version", schema.VERSION_TABLE, *metadata.tables}

    def test_tables_of_the_same_name_are_never_touched(self, url: str) -> None:
        execute(url, "CREATE TABLE runs (number INTEGER)")
        with pytest.raises(StoreError, match="another program has tables called runs"):
            Store(url, migrate=True)
        assert tables(url) == {"runs"}


class TestVersions:
    """Of one forecast told several times only one is learned from."""

    VERSIONS = (("1", 1), ("2", 2), ("3~abcdef01", 3))

    def test_what_was_forecast_in_earnest_comes_first_then_the_newest(self, store: Store) -> None:
        for version, p50 in self.VERSIONS:
            store.record(run_row(id=version), [prediction(1, model_version=version, p50=100.0 + p50)])
        keyed = [evaluation(1, model_version=version) for version, _ in self.VERSIONS]
        store.evaluate(seen(store, *keyed))
        past = store.past(AS_OF + DAY)
        assert past[["model_version", "p50"]].to_numpy().tolist() == [["2", 102.0]]
        rehearsed = store.past(AS_OF + DAY, run_id="3~abcdef01")
        assert rehearsed["model_version"].tolist() == ["3~abcdef01"]
        told = store.envelopes(AS_OF, timeframe="1d", models=["drift"], step=1, since=AS_OF - DAY)
        assert told["p50"].tolist() == [102.0]

    def test_envelopes_of_a_span(self, store: Store) -> None:
        rows = [prediction(step, as_of=AS_OF + i * DAY, model_name=name) for i in range(4) for step in (1, 2)
                for name in ("a", "b")]  # fmt: skip
        store.record(run_row(), rows)
        told = store.envelopes(AS_OF + 2 * DAY, timeframe="1d", models=["b"], step=2, since=AS_OF)
        assert told["as_of"].tolist() == [AS_OF + DAY, AS_OF + 2 * DAY]
        assert set(told["model_name"]) == {"b"}

    def test_coverage_by_class(self, store: Store) -> None:
        symbols = {"BTC": "crypto", "ETH": "crypto", "SPY": "equity"}
        rows = [prediction(1, symbol=s, asset_class=c) for s, c in symbols.items()]
        store.record(run_row(), rows)
        scores = [evaluation(1, symbol=s, asset_class=c, covered=s != "ETH") for s, c in symbols.items()]
        store.evaluate(seen(store, *scores))
        told = store.coverage(AS_OF + DAY, timeframe="1d", model="drift", since=AS_OF)
        assert told == {"crypto": (0.5, 2), "equity": (1.0, 1)}
        assert store.coverage(AS_OF, timeframe="1d", model="drift", since=AS_OF - DAY) == {}


class TestStates:
    """What models have learned is kept by the moment until which they have learned."""

    def test_the_newest_that_knows_nothing_later(self, store: Store) -> None:
        for day in (1, 3, 2):
            store.learn([learned_row("ensemble", "1d", "o", AS_OF + day * DAY, {"day": day, "x": -0.0, "y": 1e17})])
        store.learn([learned_row("ensemble", "1d", "other", AS_OF, {"day": 9})])
        assert store.learned("ensemble", "1d", "o", AS_OF) is None
        assert store.learned("ensemble", "1h", "o", AS_OF + 9 * DAY) is None
        until, content = store.learned("ensemble", "1d", "o", AS_OF + 2.5 * DAY)
        assert (until, content) == (AS_OF + 2 * DAY, {"day": 2, "x": -0.0, "y": 1e17})

    def test_only_the_newest_are_kept(self, store: Store) -> None:
        for day in range(40):
            store.learn([learned_row("ensemble", "1d", "o", AS_OF + day * DAY, {"day": day})])
        assert store.learned("ensemble", "1d", "o", AS_OF + 9 * DAY) is None
        assert store.learned("ensemble", "1d", "o", AS_OF + 10 * DAY)[1] == {"day": 10}

    def test_one_may_take_the_place_of_later_ones(self, store: Store) -> None:
        for day, options in ((1, "o"), (3, "o"), (4, "other")):
            store.learn([learned_row("ensemble", "1d", options, AS_OF + day * DAY, {"day": day})])
        store.learn([learned_row("ensemble", "1d", "o", AS_OF + 2 * DAY, {"day": 2})], instead=True)
        assert store.learned("ensemble", "1d", "o", AS_OF + 9 * DAY)[1] == {"day": 2}
        assert store.learned("ensemble", "1d", "other", AS_OF + 9 * DAY)[1] == {"day": 4}

    def test_a_damaged_one_is_refused(self, store: Store, url: str) -> None:
        store.learn([learned_row("ensemble", "1d", "o", AS_OF, {"weights": [0.25, 0.75]})])
        execute(url, "UPDATE states SET content = replace(content, '0.75', '0.76')")
        with pytest.raises(StoreError, match="what ensemble had learned by 2024-03-01 00:00 UTC is damaged"):
            store.learned("ensemble", "1d", "o", AS_OF)

    def test_a_run_its_scores_and_what_was_learned_are_written_together(self, store: Store) -> None:
        lesson = learned_row("ensemble", "1d", "o", AS_OF, {"n": 1})
        with pytest.raises(ValueError, match="wrong columns"):
            store.record(run_row(), [prediction(1)], evaluations=[{"symbol": "BTC"}], learned=[lesson])
        assert store.predictions() == []
        store.record(run_row(), [prediction(1)], evaluations=[evaluation(1)], learned=[lesson])
        assert len(store.past(AS_OF + DAY)) == 1
        assert store.learned("ensemble", "1d", "o", AS_OF)[1] == {"n": 1}

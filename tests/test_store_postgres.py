"""What is particular to Postgres: addresses, passwords, a server that goes away."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
import traceback
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from kronosfw.errors import ConfigError, KronosfwError, StoreError
from kronosfw.store import Store, address, engine, faults
from kronosfw.store.engine import open_engine
from kronosfw.store.upsert import FEW

from .postgres import QUOTED, Server
from .rows import prediction, run_row

psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'kronosfw[postgres]'")
CANARY = "c4n4ry/x@y:z?"
CANARY_QUOTED = "c4n4ry%2Fx%40y%3Az%3F"


def everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), caplog.text])


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("", "psycopg", "sqlalchemy", "alembic", "kronosfw"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestAddress:
    def test_shown_without_secrets(self) -> None:
        parsed = address.parse(
            f"postgresql://me:{CANARY_QUOTED}@db.example:6543/x?sslpassword=c4n4ry&sslmode=require"
        )
        assert parsed.shown == "postgresql+psycopg://me:***@db.example:6543/x"
        assert "c4n4ry" not in repr(parsed)
        said = f"password {CANARY}, quoted {CANARY_QUOTED}, key c4n4ry, sslmode require"
        assert parsed.redact(said) == "password ***, quoted ***, key ***, sslmode require"

    @pytest.mark.parametrize("name", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_names_of_the_driver(self, name: str) -> None:
        assert address.parse(f"{name}://host/x").url.drivername == "postgresql+psycopg"

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("c4n4ry", "not a database URL"),
            ("postgresql://me:x@host:c4n4ry/x", "not a database URL"),
            ("postgresql://me:c4@n4ry@host/x", "percent-encode"),
            ("postgresql://me:x@host/c4n4ry@x", "percent-encode"),
            ("mysql://me:c4n4ry@host/x", "mysql is not supported; use sqlite or postgresql"),
            ("postgresql+asyncpg://me:c4n4ry@host/x", r"postgresql\+asyncpg is not supported"),
        ],
    )
    def test_mistakes(self, url: str, said: str, all_logs: pytest.LogCaptureFixture) -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            Store(url)
        assert "n4ry" not in "\n".join([str(caught.value), repr(caught.value), all_logs.text])

    def test_missing_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(ConfigError, match=r"pip install 'kronosfw\[postgres\]'"):
            Store("postgresql://host/x")

    @pytest.mark.parametrize(("port", "prepares"), [(5432, True), (6543, False), (6432, False)])
    def test_nothing_is_prepared_behind_a_pooler(self, port: int, prepares: bool) -> None:
        engine = open_engine(address.parse(f"postgresql://pooler.example:{port}/x?connect_timeout=3"))
        asked: list[dict[str, Any]] = []

        @event.listens_for(engine, "do_connect")
        def refuse(dialect: object, record: object, args: object, options: dict[str, Any]) -> None:
            asked.append(options)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            engine.connect()
        assert ("prepare_threshold" not in asked[0]) is prepares
        assert asked[0]["connect_timeout"] == "3"
        assert asked[0]["application_name"] == "kronosfw"
        assert asked[0]["tcp_user_timeout"] == 60_000


class TestFaults:
    def test_one_line_without_secrets(self) -> None:
        where = address.parse("postgresql://me:c4n4ry@db.example/x")
        error = DBAPIError(None, None, Exception("no entry for c4n4ry\nDETAIL: values"))
        assert faults.describe(error, where) == "store postgresql+psycopg://me:***@db.example/x: no entry for ***"

    @pytest.mark.parametrize("said", ["database or disk is full", "could not extend file: No space left on device"])
    def test_a_full_disk(self, said: str) -> None:
        error = OperationalError(None, None, Exception(said))
        assert not faults.is_transient(error)
        assert faults.describe(error, address.parse("sqlite://")).endswith(
            f"{said}; make room on it, then try again"
        )

    @pytest.mark.parametrize(
        ("error", "passes"),
        [
            (OperationalError(None, None, psycopg.errors.DeadlockDetected()), True),
            (OperationalError(None, None, psycopg.errors.AdminShutdown()), True),
            (OperationalError(None, None, psycopg.errors.DiskFull()), False),
            (OperationalError(None, None, Exception("FATAL: the database system is starting up")), True),
            (
                OperationalError(
                    None, None, Exception("FATAL: the database system is not yet accepting connections")
                ),
                True,
            ),
            (OperationalError(None, None, Exception("FATAL: sorry, too many clients already")), True),
            (OperationalError(None, None, Exception('connection failed: FATAL: role "x" is absent')), False),
            (OperationalError(None, None, Exception("failed to resolve host 'db.example'")), True),
            (OperationalError(None, None, Exception("broken pipe"), connection_invalidated=True), True),
            (OperationalError(None, None, psycopg.errors.LockNotAvailable()), True),
            (OperationalError(None, None, Exception("connection failed: server does not support SSL")), False),
            (OperationalError(None, None, Exception("connection failed: certificate verify failed")), False),
            (OperationalError(None, None, Exception("disk I/O error")), False),
            (ProgrammingError(None, None, Exception("invalid connection option")), False),
        ],
        ids=str,
    )
    def test_what_passes_by_itself(self, error: DBAPIError, passes: bool) -> None:
        assert faults.is_transient(error) is passes


@pytest.mark.postgres
class TestServer:
    def test_wrong_password(self, postgres: Server, all_logs: pytest.LogCaptureFixture) -> None:
        url = postgres.url("postgres").replace(QUOTED, CANARY_QUOTED)
        started = time.monotonic()
        with pytest.raises(StoreError, match='password authentication failed for user "tester"') as caught:
            Store(url)
        assert time.monotonic() - started < 0.5, "a wrong password does not pass by itself"
        assert "127.0.0.1" in all_logs.text
        assert "c4n4ry" not in everything_said(caught.value, all_logs)
        assert "\n" not in str(caught.value)

    def test_password_among_the_options(self, postgres: Server, all_logs: pytest.LogCaptureFixture) -> None:
        url = f"postgresql://tester@127.0.0.1:{postgres.port}/postgres?password={CANARY_QUOTED}"
        with pytest.raises(StoreError, match="password authentication failed") as caught:
            Store(url)
        assert "c4n4ry" not in everything_said(caught.value, all_logs)

    def test_nothing_said_when_all_goes_well(self, postgres_url: str, all_logs: pytest.LogCaptureFixture) -> None:
        with Store(postgres_url) as store:
            store.record(run_row(), [prediction()])
            said = [repr(store), store.display_url, all_logs.text]
        assert all_logs.text
        assert not any(secret in text for text in said for secret in (QUOTED, "p@ss/word"))

    def test_a_server_without_ssl(self, postgres: Server) -> None:
        started = time.monotonic()
        with pytest.raises(StoreError, match="server does not support SSL"):
            Store(postgres.url("postgres") + "?sslmode=require")
        assert time.monotonic() - started < 0.5, "that does not pass by itself"

    def test_a_lock_held_elsewhere(
        self, postgres: Server, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "_SHORTEST_WAIT", 0.0)
        Store(postgres_url).close()
        with postgres.connect(postgres_url.rpartition("/")[2]) as admin, admin.transaction():
            admin.execute("LOCK TABLE ml_predictions")
            with Store(postgres_url, patience=1.0) as store:
                with pytest.raises(StoreError, match="lock timeout; another session holds a lock") as caught:
                    store.record(run_row(), [prediction()])
                assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("setting", ["extra_float_digits = 0", "DateStyle = 'German, DMY'"])
    @pytest.mark.parametrize("rows", [FEW, FEW + 1], ids=["one by one", "in bulk"])
    def test_settings_of_the_database(self, rows: int, setting: str, postgres: Server, postgres_url: str) -> None:
        with postgres.connect() as admin:
            admin.execute(f"ALTER DATABASE {postgres_url.rpartition('/')[2]} SET {setting}")
        given = [prediction(step, p50=100 + step / 7) for step in range(rows)]
        with Store(postgres_url) as store:
            assert store.record(run_row(), given) == rows
            assert store.record(run_row(), given) == 0
            found = store.predictions()
            assert [{name: row[name] for name in prediction()} for row in found] == given

    @pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
    def test_other_encodings(self, encoding: str, postgres: Server) -> None:
        with postgres.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {encoding}")
            admin.execute(f"CREATE DATABASE {encoding} ENCODING '{encoding}' TEMPLATE template0")
        rows = [prediction(step, symbol="Ä") for step in range(FEW + 1)]
        with Store(postgres.url(encoding.lower())) as store:
            assert store.record(run_row(), rows) == len(rows)
            assert {row["symbol"] for row in store.predictions()} == {"Ä"}
            for count in (1, FEW + 1):
                more = [prediction(step, symbol="日") for step in range(count)]
                if encoding == "LATIN1":
                    with pytest.raises(StoreError, match='has no equivalent in encoding "LATIN1"'):
                        store.record(run_row(), more)
                else:
                    store.record(run_row(), more)

    def test_a_role_without_temporary_tables(self, postgres: Server, postgres_url: str) -> None:
        Store(postgres_url).close()
        database = postgres_url.rpartition("/")[2]
        with postgres.connect(database) as admin:
            admin.execute("DROP ROLE IF EXISTS plain")
            admin.execute("CREATE ROLE plain LOGIN PASSWORD 'p'")
            admin.execute(f"REVOKE TEMP ON DATABASE {database} FROM PUBLIC")
            admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
        with Store(f"postgresql://plain:p@127.0.0.1:{postgres.port}/{database}", patience=0) as store:
            assert store.record(run_row(), [prediction(step) for step in range(FEW + 1)]) == FEW + 1
        with postgres.connect(database) as admin:
            admin.execute("DROP OWNED BY plain")
            admin.execute("DROP ROLE plain")

    def test_missing_database(self, postgres: Server) -> None:
        with pytest.raises(StoreError, match='database "absent" does not exist'):
            Store(postgres.url("absent"))

    def test_unknown_option(self, postgres: Server) -> None:
        with pytest.raises(KronosfwError, match='invalid connection option "colour"'):
            Store(postgres.url("postgres") + "?colour=red")

    def test_nobody_listens(self, closed_port: int) -> None:
        url = f"postgresql://me:{CANARY_QUOTED}@127.0.0.1:{closed_port}/x"
        started = time.monotonic()
        with pytest.raises(StoreError, match="Connection refused") as caught:
            Store(url, patience=0.15)
        assert time.monotonic() - started > 0.15, "it tried again"
        assert str(caught.value).startswith(f"store postgresql+psycopg://me:***@127.0.0.1:{closed_port}/x: ")

    def test_a_role_that_may_only_read(self, postgres: Server, postgres_url: str) -> None:
        with Store(postgres_url) as store:
            store.record(run_row(), [prediction()])
        database = postgres_url.rpartition("/")[2]
        with postgres.connect(database) as admin:
            admin.execute("DROP ROLE IF EXISTS viewer")
            admin.execute("CREATE ROLE viewer LOGIN PASSWORD 'v'")
            admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO viewer")
        with Store(f"postgresql://viewer:v@127.0.0.1:{postgres.port}/{database}") as store:
            assert len(store.predictions()) == 1
            with pytest.raises(StoreError, match="permission denied for table runs"):
                store.record(run_row(), [prediction(2)])
        with postgres.connect(database) as admin:
            admin.execute("DROP OWNED BY viewer")
            admin.execute("DROP ROLE viewer")

    def test_idle_connections_that_died_are_replaced(self, postgres: Server, postgres_url: str) -> None:
        with Store(postgres_url, patience=0) as store, postgres.connect() as admin:
            _end_sessions(admin)
            assert store.record(run_row(), [prediction()]) == 1

    @pytest.mark.parametrize("rows", [FEW, FEW + 1], ids=["one by one", "in bulk"])
    def test_a_connection_lost_while_writing(self, rows: int, postgres: Server, postgres_url: str) -> None:
        written: list[int] = []
        with Store(postgres_url, patience=5.0) as store:
            new = [prediction(step) for step in range(rows)]
            thread = threading.Thread(target=lambda: written.append(store.record(run_row(), new)))
            with postgres.connect(postgres_url.rpartition("/")[2]) as admin:
                with admin.transaction():
                    admin.execute("LOCK TABLE ml_predictions IN EXCLUSIVE MODE")
                    thread.start()
                    assert _end_sessions(admin, "wait_event_type = 'Lock'") == 1
                thread.join()
            assert written == [rows]
            assert len(store.predictions()) == rows
            assert len(store.runs()) == 1


def _end_sessions(admin: object, which: str = "true") -> int:
    """End the store's sessions once there are any; return how many."""
    query = (
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kronosfw' AND {which}"
    )
    for _ in range(500):
        if ended := len(admin.execute(query).fetchall()):  # type: ignore[attr-defined]
            return ended
        time.sleep(0.01)
    return 0

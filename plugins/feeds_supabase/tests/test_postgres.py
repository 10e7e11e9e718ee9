"""What can go wrong with the database, and what stands before it."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator

import psycopg
import pytest
from kronosfw_feeds_supabase.options import SupabaseFeed

from kronosfw.errors import ConfigError, DataError, FeedDown, SymbolError
from kronosfw.types import Span, moment
from tests.postgres import PASSWORD, QUOTED, Server, served

from .projects import BARS

pytestmark = pytest.mark.postgres
EVER = Span(moment("2100-01-01"))


@pytest.fixture
def url(postgres: Server) -> str:
    url = postgres.new_database()
    run(url, f"create table bars ({BARS})", "insert into bars values ('A', '2024-01-02Z', 1, 1, 1, 1, 1)")
    return url


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def feed_of(url: str, **given):
    return SupabaseFeed(**{"url": url, "tables": {"1d": "bars"}, "patience": 0, **given}).build()


def read(url: str, **given):
    return dict(feed_of(url, **given).bars(["A"], "1d", EVER))


@pytest.mark.parametrize("change", [(QUOTED, "wr0ng"), ("tester", "nobody"), ("/test_", "/no_")])
def test_wrong_user_password_or_database(url, change):
    with pytest.raises(ConfigError, match="refuses to connect; are user, password and database right") as error:
        read(url.replace(*change), patience=30)
    told = "".join(traceback.format_exception(error.value))
    assert not any(secret in told for secret in (PASSWORD, QUOTED, "wr0ng"))


def test_nobody_listens(url, postgres):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        gone = url.replace(str(postgres.port), str(held.getsockname()[1]))
        with pytest.raises(FeedDown, match="cannot connect, or the connection was lost") as error:
            read(gone)
    assert QUOTED not in str(error.value)


def test_a_server_that_never_answers(url, postgres):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(FeedDown):
            read(url.replace(str(postgres.port), port), timeout=2)
        assert time.monotonic() - began < 8


def backends(url: str, which: str = "") -> list[int]:
    """Return the processes that serve others who use the database."""
    others = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with psycopg.connect(url) as connection:
        return [pid for (pid,) in connection.execute(f"{others} {which}")]


def test_a_backend_that_stops_while_it_is_idle(url):
    """It is asked whether it is there before it is used, and is given up."""
    feed = feed_of(url, timeout=0.3)
    list(feed.bars(["A"], "1d", EVER))
    [pid] = backends(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert len(dict(feed.bars(["A"], "1d", EVER))["A"]) == 1
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_backend_that_stops_while_it_reads(url):
    feed, failed = feed_of(url, timeout=1), []

    def read_all() -> None:
        try:
            list(feed.bars(["A"], "1d", EVER))
        except FeedDown as error:
            failed.append(str(error))

    with psycopg.connect(url) as holder:
        holder.execute("lock table bars")
        thread = threading.Thread(target=read_all)
        thread.start()
        while not (pids := backends(url, "and wait_event_type = 'Lock'")):
            time.sleep(0.01)
        [pid] = pids
        os.kill(pid, signal.SIGSTOP)
        try:
            thread.join(10)
            assert not thread.is_alive()
        finally:
            os.kill(pid, signal.SIGCONT)
            thread.join()
    assert len(failed) == 1
    assert "no answer within 1 s" in failed[0]


def test_how_the_database_writes_values_plays_no_part(url):
    name = url.rpartition("/")[2]
    run(
        url,
        "create table events (kind text, scheduled_at timestamptz, known_at date, actual float8, forecast real)",
        "insert into events values ('cpi', '2024-02-01T13:30Z', '2024-02-03', 0.1::float8 + 0.2, 0.1)",
        "alter table bars alter close type real",
        "update bars set close = 16777217.0 / 3",
    )
    tables = {"1d": "bars", "economic_calendar": "events", "central_bank_rates": None, "economic_indicators": None}

    def found():
        feed = feed_of(url, tables=tables)
        return dict(feed.bars(["A"], "1d", EVER))["A"].to_dict(), list(feed.facts(["A"], EVER))

    usual = found()
    for setting in ("extra_float_digits = -3", "datestyle = 'German'", "timezone = 'Asia/Kathmandu'"):
        run(url, f"alter database {name} set {setting}")
    assert found() == usual


@pytest.mark.parametrize(
    "option", ["nosuch=1", "sslmode=typo", "connect_timeout=soon", "target_session_attrs=any1"]
)
def test_an_option_of_the_url_that_is_none(url, option):
    with pytest.raises(ConfigError, match="refuses an option of the URL"):
        read(f"{url}?{option}", patience=30)


def test_the_url_may_say_how_long_connecting_takes():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=2"
        began = time.monotonic()
        with pytest.raises(FeedDown):
            read(url, timeout=30)
        assert time.monotonic() - began < 8


def test_the_shortest_time_out_is_one(url):
    with psycopg.connect(url) as holder:
        holder.execute("lock table bars")
        with pytest.raises(FeedDown, match="no answer"):
            read(url, timeout=0.0001)


def test_a_table_that_is_locked(url):
    with psycopg.connect(url) as holder:
        holder.execute("lock table bars")
        with pytest.raises(FeedDown, match=r"no answer within 0\.3 s; tried for 0\.4 s"):
            read(url, timeout=0.3, patience=0.4)


def test_lost_connections_are_made_again(url):
    feed = feed_of(url, patience=10)
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    for _ in range(2):
        assert len(dict(feed.bars(["A"], "1d", EVER))["A"]) == 1
        run(url, f"select pg_terminate_backend(pid) {others}")


def test_a_connection_that_is_lost_while_reading(url, caplog):
    with psycopg.connect(url) as holder:
        holder.execute("lock table bars")
        feed = feed_of(url, patience=20)
        found = {}
        thread = threading.Thread(target=lambda: found.update(feed.bars(["A"], "1d", EVER)))
        thread.start()
        waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        with psycopg.connect(url, autocommit=True) as watcher:
            while not (pids := watcher.execute(waiting).fetchall()):
                time.sleep(0.01)
            watcher.execute("select pg_terminate_backend(%s)", pids[0])
    thread.join()
    assert len(found["A"]) == 1
    [record] = caplog.records
    assert record.getMessage().endswith("; trying again for up to 20 s")


def test_a_column_or_table_that_is_gone(url):
    feed = feed_of(url)
    list(feed.bars(["A"], "1d", EVER))
    for statement in ("alter table bars drop column volume", "drop table bars"):
        run(url, statement)
        with pytest.raises(ConfigError, match="a table or column is gone"):
            list(feed.bars(["A"], "1d", EVER))


def test_a_user_without_rights_and_one_who_sees_a_part(url, postgres):
    role = f"reader_{url.rpartition('_')[2]}"
    run(
        url,
        f"create role {role} login password 'reader''s own'",
        "insert into bars values ('B', '2024-01-02Z', 1, 1, 1, 1, 1)",
        "alter table bars enable row level security",
        f"create policy part on bars for select to {role} using (symbol = 'A')",
    )
    theirs = f"postgresql://{role}:reader%27s%20own@127.0.0.1:{postgres.port}/{url.rpartition('/')[2]}"
    with pytest.raises(ConfigError, match="may not read"):
        read(theirs)
    run(url, f"grant select on bars to {role}")
    found = dict(feed_of(theirs).bars(["A", "B"], "1d", EVER))
    assert len(found["A"]) == 1
    assert isinstance(found["B"], SymbolError)
    assert "or the user may not see it" in str(found["B"])


def test_a_number_that_no_float64_holds(url):
    run(url, "alter table bars alter close type numeric", "update bars set close = 1e400")
    with pytest.raises(DataError, match="SQLSTATE 22003"):
        read(url)


def test_it_leaves_nothing_in_the_session(url):
    """Behind a transaction pooler the next one gets the same session."""
    feed = feed_of(url)
    list(feed.bars(["A"], "1d", EVER))
    with feed._transport._engine.connect() as connection:
        ask = connection.exec_driver_sql
        assert ask("show statement_timeout").scalar() == "0"
        assert ask("show transaction_read_only").scalar() == "off"
        assert ask("select count(*) from pg_prepared_statements").scalar() == 0
        assert ask("select count(*) from pg_stat_activity where state = 'idle in transaction'").scalar() == 0


def test_a_feed_that_is_dropped_leaves_no_connection(url):
    feed = feed_of(url)
    list(feed.bars(["A"], "1d", EVER))
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as watcher:
        assert watcher.execute(others).fetchone() == (1,)
        del feed
        gc.collect()
        deadline = time.monotonic() + 10
        while watcher.execute(others).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Give a server that no other test reads from."""
    yield from served()


def test_a_database_that_restarts(own_server: Server):
    url = own_server.new_database()
    run(url, f"create table bars ({BARS})", "insert into bars values ('A', '2024-01-02Z', 1, 1, 1, 1, 1)")
    feed = feed_of(url, patience=30)
    list(feed.bars(["A"], "1d", EVER))
    own_server.stop()
    with pytest.raises(FeedDown, match="cannot connect, or the connection was lost"):
        read(url)
    timer = threading.Timer(0.5, own_server.start)
    timer.start()
    try:
        assert len(dict(feed.bars(["A"], "1d", EVER))["A"]) == 1
    finally:
        timer.join()

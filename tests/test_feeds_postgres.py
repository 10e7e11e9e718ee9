"""The feed sql on Postgres: types that SQLite does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kronosfw.builtin.feeds import SqlFeed
from kronosfw.errors import SymbolError
from kronosfw.types import Span, moment

if TYPE_CHECKING:
    from .postgres import Server

pytestmark = pytest.mark.postgres
EVER = Span(moment("2100-01-01"))
PRICES = "open float8, high float8, low float8, close float8"


@pytest.fixture
def make(postgres: Server):
    url = postgres.new_database()

    def run(*statements: str) -> str:
        with postgres.connect(url.rpartition("/")[2]) as connection:
            for statement in statements:
                connection.execute(statement)
        return url

    return run


@pytest.mark.parametrize(
    ("kind", "value", "symbol"),
    [
        ("text", "'SPY'", "SPY"),
        ("char(8)", "'SPY'", "SPY"),
        ("int", "7", "7"),
        ("uuid", "'0e37df36-f698-11e6-8dd4-cb9ced3df976'", "0e37df36-f698-11e6-8dd4-cb9ced3df976"),
        ("colour", "'red'", "red"),
    ],
)
@pytest.mark.parametrize("time", ["timestamptz", "timestamp", "date"])
def test_symbols_and_times_of_every_type(make, kind, value, symbol, time):
    url = make(
        "create type colour as enum ('red', 'green')",
        f"create table bars (symbol {kind}, time {time}, {PRICES})",
        f"insert into bars select {value}, d, 1, 2, 0.5, 1 from generate_series("
        "'2024-01-01'::timestamp, '2024-01-31'::timestamp, '1 day') d",
    )
    span = Span(moment("2024-01-20T12:00"), start=moment("2024-01-10"), last=5)
    found = dict(SqlFeed(url=url).build().bars([symbol, "8"], "1d", span))
    assert isinstance(found["8"], SymbolError)
    days = [t.day for t in found[symbol]["time"]]
    assert days == [16, 17, 18, 19, 20]


def test_a_bar_length_that_is_no_text(make):
    url = make(
        "create type frame as enum ('1h', '1d')",
        f"create table bars (symbol text, time timestamptz, freq frame, {PRICES})",
        "insert into bars values ('A', '2024-01-02Z', '1d', 1, 2, 0.5, 1), ('A', '2024-01-02Z', '1h', 3, 4, 2, 3)",
    )
    [(_, frame)] = SqlFeed(url=url, freq_column="freq").build().bars(["A"], "1h", EVER)
    assert frame["close"].tolist() == [3]


@pytest.mark.parametrize("time", ["timestamptz", "timestamp", "date"])
def test_only_facts_of_the_span_are_fetched(make, time):
    url = make(
        f"create table events (kind text, scheduled_at {time}, known_at {time}, actual numeric)",
        "insert into events select 'cpi', d, d, 0.3 from generate_series("
        "'2020-01-01'::timestamp, '2024-12-31'::timestamp, '1 day') d",
    )
    feed = SqlFeed(url=url, facts_table="events").build()
    fetched: list[int] = []
    rows = feed._database.rows

    def counting(query: Any) -> Any:
        for part in rows(query):
            fetched.append(len(part))
            yield part

    feed._database.rows = counting
    span = Span(moment("2024-02-10"), start=moment("2024-02-01"))
    assert len(list(feed.facts([], span))) == 10
    assert sum(fetched) <= 14

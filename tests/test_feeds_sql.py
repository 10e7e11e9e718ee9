"""The feed sql, on SQLite."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Column, Date, DateTime, Float, MetaData, Numeric, String, Table, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import NullPool

from kronosfw.builtin.feeds import CsvFeed, SqlFeed
from kronosfw.builtin.feeds.query import Layout, bars_query, spellings, time_key
from kronosfw.errors import ConfigError, DataError, FeedDown, KronosfwError, SymbolError
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.types import Span, moment

EVER = Span(moment("2100-01-01"))
SECRET = "hunter2-canary"
CREATE = "create table bars (symbol text, timestamp text, open real, high real, low real, close real)"


@pytest.fixture
def database(tmp_path: Path):
    def make(rows: list[tuple[object, ...]], create: str = CREATE, name: str = "bars") -> str:
        path = tmp_path / "data.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(create)
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"insert into {name} values ({marks})", rows)
            connection.commit()
        return f"sqlite:///{path}"

    return make


def read(
    url: str, *symbols: str, freq: str = "1d", span: Span = EVER, **options: object
) -> dict[str, pd.DataFrame]:
    found = dict(SqlFeed(url=url, **options).build().bars(symbols, freq, span))  # type: ignore[arg-type]
    for frame in found.values():
        if isinstance(frame, SymbolError):
            raise frame
    return found


def bar(symbol: str, time: object, close: object = 1.0) -> tuple[object, ...]:
    return (symbol, time, 1.0, 2.0, 0.5, close)


def stamps(frame: pd.DataFrame) -> list[str]:
    return [t.strftime("%Y-%m-%dT%H:%M") for t in frame["time"]]


def test_rows_go_to_their_symbols_and_odd_symbols_survive(database):
    symbols = ["NA", "NULL", "O'Neil\"; drop table bars", "A", "É"]
    url = database([bar(s, f"2024-01-{day:02d}", i) for day in (2, 3) for i, s in enumerate(symbols)])
    frames = read(url, *reversed(symbols))
    assert list(frames) == list(reversed(symbols))
    for i, symbol in enumerate(symbols):
        assert frames[symbol]["close"].tolist() == [i, i]
        assert str(frames[symbol]["time"].dtype) == "datetime64[us, UTC]"


def test_rows_come_in_order_of_time(database):
    url = database([bar("A", f"2024-01-{day:02d}", day) for day in (5, 2, 4, 3)])
    for span in (EVER, Span(EVER.end, last=3)):
        closes = read(url, "A", span=span)["A"]["close"].tolist()
        assert closes == sorted(closes)


def test_more_symbols_than_one_query_takes(database):
    symbols = [f"S{i}" for i in range(450)]
    frames = read(database([bar(s, "2024-01-02", i) for i, s in enumerate(symbols)]), *symbols)
    assert [f["close"][0] for f in frames.values()] == list(range(450))


def test_a_symbol_without_rows_is_refused_and_one_without_rows_in_the_span_is_empty(database):
    url = database([bar("A", "2024-01-02"), bar("B", "2020-01-02")])
    span = Span(moment("2024-06-01"), start=moment("2024-01-01"))
    frames = read(url, "A", "B", span=span)
    assert (len(frames["A"]), len(frames["B"])) == (1, 0)
    assert str(frames["B"]["time"].dtype) == "datetime64[us, UTC]"
    with pytest.raises(SymbolError, match=r"C: .*data\.db, table bars has no row with it in symbol"):
        read(url, "A", "C", span=span)


FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f")


@settings(max_examples=60, deadline=None)
@given(
    hours=st.lists(st.integers(0, 200), min_size=1, max_size=60),
    end=st.integers(-5, 210),
    start=st.none() | st.integers(-5, 210),
    last=st.none() | st.integers(1, 20),
    zone=st.sampled_from(["UTC", "Asia/Tokyo"]),
    stamp=st.sampled_from(["open", "close"]),
    data=st.data(),
)
def test_the_database_and_a_file_cut_the_same_span(tmp_path_factory, hours, end, start, last, zone, stamp, data):
    folder = tmp_path_factory.mktemp("span")
    begin = dt.datetime(2024, 1, 1)
    times = [(begin + dt.timedelta(hours=h)).strftime(data.draw(st.sampled_from(FORMATS))) for h in hours]
    with closing(sqlite3.connect(folder / "data.db")) as connection:
        connection.execute(CREATE)
        connection.executemany(
            "insert into bars values (?, ?, ?, ?, ?, ?)", [bar("A", t, i) for i, t in enumerate(times)]
        )
        connection.commit()
    lines = [",".join(map(str, bar("A", t, i))) for i, t in enumerate(times)]
    (folder / "all.csv").write_text("\n".join(["symbol,timestamp,open,high,low,close", *lines]) + "\n")
    at = moment(begin)
    span = Span(at + np.timedelta64(end, "h"), None if start is None else at + np.timedelta64(start, "h"), last)
    options = {"timezone": zone, "stamp": stamp}
    [(_, want)] = CsvFeed(path=folder / "all.csv", **options).build().bars(["A"], "1h", span)
    have = read(f"sqlite:///{folder / 'data.db'}", "A", freq="1h", span=span, **options)["A"]
    if last is not None and len(set(hours)) < len(hours):
        # Which of two rows for one bar is the last one is undefined in a table.
        have, want = have[["time"]], want[["time"]]
    key = list(have.columns)[::-1]
    pd.testing.assert_frame_equal(
        have.sort_values(key, ignore_index=True), want.sort_values(key, ignore_index=True), check_exact=True
    )


def test_only_the_rows_needed_are_fetched():
    layout = Layout(
        "bars", "public", {"time": "timestamp", "symbol": "symbol", "close": "close"}, "timeframe",
        time_key(DateTime(timezone=True), None, sqlite=False),
    )  # fmt: skip
    query = bars_query(layout, ["A", "B"], "1h", Span(moment("2024-01-02"), last=5))
    compiled = query.compile(dialect=postgresql.dialect())
    assert "FROM public.bars" in str(compiled)
    assert "rank() OVER" in str(compiled)
    assert "A" not in str(compiled).split()
    assert dt.datetime(2024, 1, 2, tzinfo=dt.UTC) in compiled.params.values()
    assert ["A", "B"] in compiled.params.values()


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.tuples(*[st.floats(allow_nan=False)] * 4), min_size=1, max_size=20))
def test_what_was_written_is_read_bit_for_bit(tmp_path_factory, values):
    url = f"sqlite:///{tmp_path_factory.mktemp('bars') / 'data.db'}"
    times = pd.date_range("2024-01-01", periods=len(values), freq="h", tz="UTC").as_unit("us")
    frame = pd.DataFrame(values, columns=["open", "high", "low", "close"], dtype=float)
    frame.insert(0, "time", times)
    prices = [Column(name, Float) for name in frame.columns[1:]]
    bars = Table("bars", MetaData(), Column("symbol", String), Column("time", DateTime), *prices)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        bars.create(connection)
        rows = [{"symbol": "A", **row} for row in frame.assign(time=times.tz_localize(None)).to_dict("records")]
        connection.execute(bars.insert(), [{**row, "time": row["time"].to_pydatetime()} for row in rows])
    pd.testing.assert_frame_equal(read(url, "A", freq="1h")["A"], frame, check_exact=True)


def test_columns_schema_and_epoch_times(database):
    create = (
        'create table "odd name" (Ticker text, "the time" integer, o real, h real, l real, c real, "group" text)'
    )
    rows = [("A", 1704189600000, 1, 2, 0, i, group) for i, group in enumerate(["1h", "60 minutes", "1d", "1H"])]
    url = database(rows, create, '"odd name"')
    columns = {"time": "the time", "open": "o", "high": "h", "low": "l", "close": "c"}
    options = {"table": "odd name", "columns": columns, "freq_column": "group", "schema": "main"}
    frame = read(url, "A", freq="1h", time_format="epoch_ms", span=Span(EVER.end, last=9), **options)["A"]
    assert stamps(frame) == ["2024-01-02T10:00"] * 3
    assert sorted(frame["close"]) == [0, 1, 3]
    with pytest.raises(SymbolError, match="and 5min in group"):
        read(url, "A", freq="5min", time_format="epoch_ms", **options)
    with pytest.raises(ConfigError, match="set `time_format`"):
        read(url, "A", **options)


def test_a_bar_length_is_known_by_its_usual_spellings():
    assert {"1d", "1D", "1 day", "24h", "1440min"} <= set(spellings("1d"))
    assert {"5m", "5min", "5 minutes"} <= set(spellings("5min"))
    assert "1M" not in spellings("1min")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (DateTime(), dt.datetime(2024, 7, 2, 9, 30), "2024-07-02T13:30"),
        (Date(), dt.date(2024, 7, 2), "2024-07-02T00:00"),
        (String(), "2024-07-02T09:30:00+02:00", "2024-07-02T07:30"),
    ],
)
def test_typed_times_and_decimals(tmp_path, kind, value, expected):
    url = f"sqlite:///{tmp_path / 'data.db'}"
    prices = [Column(name, Numeric(20, 10)) for name in ("open", "high", "low", "close")]
    bars = Table("bars", MetaData(), Column("symbol", String), Column("time", kind), *prices)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        bars.create(connection)
        connection.exec_driver_sql(
            "insert into bars values ('A', ?, 1, 2, '0.5', null)",
            (str(value),),
        )
    frame = read(url, "A", freq="1h", timezone="America/New_York", span=Span(EVER.end, last=3))["A"]
    assert stamps(frame) == [expected]
    assert frame.iloc[0, 1:4].tolist() == [1, 2, 0.5]
    assert np.isnan(frame["close"][0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (bar("A", "soon"), "symbol A: the time is 'soon'; expected ISO 8601"),
        (bar("A", None), "symbol A: the time is missing"),
        (bar("A", "2024-01-02", "x"), "symbol A: close is 'x'; expected a number"),
    ],
)
def test_a_bad_value_is_refused_with_its_symbol_and_the_others_follow(database, row, message):
    url = database([bar("B", "2024-01-02"), row, bar("C", "2024-01-02")])
    for span in (EVER, Span(EVER.end, start=moment("2020-01-01"), last=1)):
        found = dict(SqlFeed(url=url).build().bars(["B", "A", "X", "C"], "1d", span))
        assert [s for s, frame in found.items() if isinstance(frame, SymbolError)] == ["A", "X"]
        assert message in str(found["A"])
        assert len(found["B"]) == len(found["C"]) == 1


def test_what_a_table_lacks_is_named(database):
    url = database([bar("A", "2024-01-02")])
    for options, message in (
        ({"table": "nope"}, "there is no table nope"),
        ({"table": "nope", "schema": "main"}, r"there is no table main\.nope"),
        ({"columns": {"close": "adj"}}, "table bars: there is no column 'adj' for close; found 'symbol'"),
        ({"freq_column": "timeframe"}, "no column timeframe, which `freq_column` names"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(url, "A", **options)


def test_a_table_without_symbols_is_refused(database):
    url = database([], CREATE.replace("symbol text, ", ""))
    with pytest.raises(ConfigError, match="no column for symbol"):
        read(url, "A")


def test_a_missing_file_is_not_created(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        read(f"sqlite:///{tmp_path / 'no.db'}", "A")
    assert not (tmp_path / "no.db").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"hello" * 1000)
    with pytest.raises(FeedDown, match="cannot connect"):
        read(f"sqlite:///{tmp_path / 'x.db'}", "A")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db?sslpassword={SECRET}", "127.0.0.1:1/db: cannot connect"),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/db", r"postgresql\+psycopg://.*/db: cannot connect"),
        (f"nosuchdb://me:{SECRET}@host/db", "knows no nosuchdb"),
        (f"mssql+nosuchdriver://me:{SECRET}@host/db", "knows no mssql"),
        (f"postgresql+psycopg://me:{SECRET}@host:port/db", "not a database URL"),
        (f"://me:{SECRET}@host", "not a database URL"),
        (f"postgresql://me:x@{SECRET}@host/db", "percent-encode"),
    ],
)  # fmt: skip
def test_an_unusable_url_is_refused_without_its_secrets(url, message):
    pytest.importorskip("psycopg")
    expected = FeedDown if "cannot connect" in message else ConfigError
    with pytest.raises(expected, match=message) as error:
        read(url, "A")
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None or error.value.__suppress_context__
    assert SECRET not in repr(SqlFeed(url=url))


def test_a_database_that_is_down_is_asked_once(tmp_path):
    """The host does not halve a hundred symbols to find the one at fault."""
    pytest.importorskip("psycopg")
    names = ", ".join(f"S{i}: {{asset_class: crypto}}" for i in range(100))
    path = tmp_path / "config.yaml"
    path.write_text(
        f"feed: {{type: sql, url: 'postgresql://me:{SECRET}@127.0.0.1:1/db'}}\nuniverse: {{{names}}}\n"
        "forecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    config, plugins = load(path)
    with pytest.raises(FeedDown, match="cannot connect") as error:
        run(config, plugins)
    assert error.value.exit_code == 5


def test_a_query_that_fails_is_a_data_error(database, tmp_path):
    url = database([bar("A", "2024-01-02")])
    feed = SqlFeed(url=url).build()
    assert len(list(feed.bars(["A"], "1d", EVER))) == 1
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection:
        connection.execute("drop table bars")
    with pytest.raises(DataError, match="reading failed"):
        list(feed.bars(["A"], "1d", EVER))


def test_a_url_without_a_scheme_is_refused_at_once():
    with pytest.raises(ValidationError, match="expected a SQLAlchemy URL"):
        SqlFeed(url="data.db")


def test_close_stamps_are_left_for_the_host_to_match(database):
    url = database([bar("A", f"2024-01-02T{hour}:00:00Z", hour) for hour in (10, 11, 12)])
    span = Span(moment("2024-01-02T12:30"), start=moment("2024-01-02T10:00"), last=9)
    frame = read(url, "A", freq="1h", span=span, stamp="close")["A"]
    assert stamps(frame) == ["2024-01-02T11:00", "2024-01-02T12:00"]
    assert frame.attrs["stamp"] == "close"
    assert read(url, "A", stamp="close")["A"].attrs == {}


class TestFacts:
    CREATE = (
        "create table events (Event text, kind text, scheduled_at text, known_at text, symbols text, "
        "actual real, forecast real, importance integer)"
    )
    ROWS = (
        ("e", "cpi", "2024-01-11 13:30:00", "2023-01-11 13:30:00", None, None, None, 3),
        ("e", "cpi", "2024-01-11 13:30:00", "2024-01-11 13:30:00", "", 0.3, 0.2, None),
        ("x", "earnings", "2024-01-12 21:00:00", "2024-01-01 00:00:00", "A; B", None, None, None),
    )

    def test_each_row_is_a_fact(self, database):
        url = database(list(self.ROWS), self.CREATE, "events")
        feed = SqlFeed(url=url, facts_table="events").build()
        schedule, release, earnings = feed.facts(["A"], EVER)
        assert (schedule.kind, schedule.values, schedule.symbols) == ("cpi", {"importance": 3}, ())
        assert release.values == {"actual": 0.3, "forecast": 0.2}
        assert release.known_at == release.scheduled_at == moment("2024-01-11T13:30")
        assert (earnings.symbols, earnings.event) == (("A", "B"), "x")
        assert len(list(feed.facts(["C"], EVER))) == 2

    def test_a_mere_date_ends_in_the_zone_of_the_feed(self, database):
        row = ("e", "cpi", "2024-01-11", "2024-01-11", None, 0.3, None, 3)
        feed = SqlFeed(
            url=database([row], self.CREATE, "events"), facts_table="events", timezone="America/New_York"
        )
        [fact] = feed.build().facts([], EVER)
        assert (fact.scheduled_at, fact.known_at) == (moment("2024-01-11T05:00"), moment("2024-01-12T05:00"))

    def test_an_empty_table_has_no_facts(self, database):
        url = database([], self.CREATE, "events")
        assert list(SqlFeed(url=url, facts_table="events").build().facts([], EVER)) == []

    def test_no_table_no_facts(self, database):
        assert list(SqlFeed(url=database([])).build().facts(["A"], EVER)) == []

    def test_faults_are_named(self, database):
        row = ("e", None, "2024-01-11 13:30:00", "2023-01-11 13:30:00", None, None, None, 3)
        url = database([self.ROWS[0], row], self.CREATE, "events")
        with pytest.raises(DataError, match="table events, row 2: the kind is missing"):
            list(SqlFeed(url=url, facts_table="events").build().facts([], EVER))
        with pytest.raises(KronosfwError, match="there is no table nope"):
            list(SqlFeed(url=url, facts_table="nope").build().facts([], EVER))

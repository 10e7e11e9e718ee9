"""Bars of every type and of odd values come alike over both transports, and as the feed ``sql`` brings them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronosfw.builtin.feeds import SqlFeed
from kronosfw.errors import ConfigError, SymbolError
from kronosfw.types import Span, moment
from tests.postgrest import ROWS, Api

from .projects import BARS, PRICES, Options, made

pytestmark = pytest.mark.postgres
EVER = Span(moment("2100-01-01"))
ODD = [
    "A,B",
    'quo"te',
    "(par)",
    "d.o.t",
    "back\\slash",
    "ünï ☃",
    " blank ",
    "null",
    "a'b",
    "{x}",
    "*",
    "in.(A)",
    "%41&b=1",
]


def read(options, symbols, span=EVER, freq="1d"):
    return dict(options.build().bars(symbols, freq, span))


def test_every_float_comes_bit_for_bit(project: Api, options: Options):
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**64, 400, dtype=np.uint64).view(np.float64)
    numbers = [0.1, 1 / 3, 5e-324, -0.0, 1.7976931348623157e308, *bits[np.isfinite(bits)].tolist()]
    project.run(f"create table bars ({BARS})")
    with psycopg.connect(project.database_url) as connection, connection.cursor() as cursor:
        rows = [
            ("A", pd.Timestamp("2000-01-01", tz="UTC") + pd.Timedelta(days=i), n, n, n, n)
            for i, n in enumerate(numbers)
        ]
        cursor.executemany("insert into bars values (%s, %s, %s, %s, %s, %s)", rows)
    frame = read(options(tables={"1d": "bars"}), ["A"])["A"]
    for name in ("open", "high", "low", "close"):
        assert [struct.pack("d", n) for n in frame[name]] == [struct.pack("d", n) for n in numbers]


@pytest.mark.parametrize("time", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("number", ["float8", "numeric", "real", "bigint"])
def test_types_mean_what_they_mean_to_sql(project: Api, time, number):
    """The feed ``sql`` reads the same table the same way, whichever end of the span falls where."""
    value = "(random() * 1e6)::bigint" if number == "bigint" else f"(0.1 + random())::{number}"
    step = "1 day" if time == "date" else "7 hours"
    project.run(
        f"create table bars (ticker text, date {time}, open {number}, high {number}, low {number}, close {number})",
        "select setseed(0.5)",
        f"insert into bars select s, d, {', '.join([value] * 4)} from unnest(array['A', 'B']) s, "
        f"generate_series('2024-03-01Z'::timestamptz, '2024-04-20Z', '{step}') d",
    )
    timezone = "America/New_York"
    sql = SqlFeed(url=project.database_url, table="bars", timezone=timezone)
    for span in (
        EVER,
        Span(moment("2024-03-20T12:00"), start=moment("2024-03-10T03:00")),
        Span(moment("2024-03-20T05:00"), last=7),
        Span(moment("2024-03-11T05:00"), start=moment("2024-03-10"), last=2),
    ):
        wanted = read(sql, ["A", "B"], span, "1h")
        for transport in ("postgres", "rest"):
            options = made(project, transport)(tables={"1h": "bars"}, timezone=timezone)
            found = read(options, ["A", "B"], span, "1h")
            for symbol in ("A", "B"):
                assert len(found[symbol])
                pd.testing.assert_frame_equal(found[symbol], wanted[symbol], check_exact=True)


@pytest.mark.parametrize("kind", ["text", "varchar(40)", "char(40)"])
def test_symbols_of_all_spellings(project: Api, options: Options, kind):
    project.run(f"create table bars (symbol {kind}, timestamp timestamptz, {PRICES})")
    with psycopg.connect(project.database_url) as connection, connection.cursor() as cursor:
        for i, symbol in enumerate(ODD):
            cursor.execute("insert into bars values (%s, '2024-01-02Z', 1, 1, 1, %s)", (symbol, i))
    symbols = [symbol for symbol in ODD if kind != "char(40)" or symbol == symbol.strip()]
    found = read(options(tables={"1d": "bars"}), [*symbols, "B", "*A"])
    assert [found[symbol]["close"].tolist() for symbol in symbols] == [[ODD.index(s)] for s in symbols]
    assert isinstance(found["B"], SymbolError)
    assert isinstance(found["*A"], SymbolError)


@pytest.mark.parametrize(("kind", "value"), [("int", "7"), ("uuid", "0e37df36-f698-11e6-8dd4-cb9ced3df976")])
def test_symbols_that_are_no_text(project: Api, options: Options, kind, value):
    table = f"bars_{kind}"
    project.run(
        f"create table {table} (symbol {kind}, timestamp timestamptz, {PRICES})",
        f"insert into {table} values ('{value}', '2024-01-02Z', 1, 1, 1, 1)",
    )
    project.reload(table)
    assert len(read(options(tables={"1d": table}), [value])[value]) == 1


def test_what_is_missing_or_not_finite(project: Api, options: Options):
    project.run(
        f"create table bars ({BARS})",
        "insert into bars values ('A', '2024-01-02Z', null, 'inf', '-inf', 'nan', null), "
        "('A', '2024-01-03Z', 1, 2, 1, 2, 3), ('B', '2024-01-02Z', 1, 1, 1, 1, 1), ('B', null, 1, 1, 1, 1, 1), "
        "('C', '2024-01-02Z', 1, 1, 1, 1, 1), (null, '2024-01-02Z', 1, 1, 1, 1, 1), (null, null, 1, 1, 1, 1, 1)",
    )
    found = read(options(tables={"1d": "bars"}), ["A", "B", "C"], Span(EVER.end, last=5))
    first = found["A"].iloc[0, 1:].tolist()
    assert [math.isnan(n) or n for n in first] == [True, math.inf, -math.inf, True, True]
    assert "the time is missing" in str(found["B"])
    assert len(found["C"]) == 1


def test_a_time_beyond_all_others_fails_its_symbol_alone(project: Api, options: Options):
    project.run(
        f"create table bars ({BARS})",
        "insert into bars values ('A', '1850-01-02Z', 1, 1, 1, 1, 1), ('B', '2024-01-02Z', 1, 1, 1, 1, 1)",
    )
    found = read(options(tables={"1d": "bars"}), ["A", "B"])
    assert "is not between the years 1900 and 2200" in str(found["A"])
    assert len(found["B"]) == 1


def test_the_last_rows_do_not_depend_on_the_order_in_the_table(project: Api, options: Options):
    """Rows of one time are cut alike, however the table holds them."""
    rows = [f"('A', '2024-01-0{day}Z', {n}, {n}, {n}, {n}, {n % 2})" for day in range(1, 6) for n in range(4)]
    frames = []
    for name, order in (("one", rows), ("other", rows[::-1])):
        project.run(f"create table {name} ({BARS})", f"insert into {name} values {', '.join(order)}")
        frames.append(read(options(tables={"1d": name}), ["A"], Span(moment("2024-01-04"), last=6))["A"])
    pd.testing.assert_frame_equal(*frames)
    assert frames[0]["close"].tolist() == [2, 3, 0, 1, 2, 3]


def test_a_window_and_a_stretch_of_many_pages(project: Api, options: Options):
    days = 3 * ROWS + 7
    project.run(
        f"create table bars ({BARS}, primary key (symbol, timestamp))",
        f"insert into bars select s, '2020-01-01Z'::timestamptz + d * interval '1 day', 1, 1, 1, d, 1 "
        f"from unnest(array['A', 'B']) s, generate_series(0, {days - 1}) d",
    )
    feed = options(tables={"1d": "bars"}, chunk=1)
    end = moment("2020-01-01") + np.timedelta64(days - 4, "D")
    assert read(feed, ["A", "B"], Span(end))["B"]["close"].tolist() == list(range(days - 3))
    for last in (1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS):
        window = read(feed, ["A", "B"], Span(end, last=last))["A"]
        assert window["close"].tolist() == list(range(days - 3 - last, days - 3))


def test_nothing_in_the_span_is_no_error(project: Api, options: Options):
    project.run(f"create table bars ({BARS})", "insert into bars values ('A', '2024-01-02Z', 1, 1, 1, 1, 1)")
    frame = read(options(tables={"1d": "bars"}), ["A"], Span(moment("2020-01-01")))["A"]
    assert not len(frame)
    assert list(frame.columns) == ["time", "open", "high", "low", "close", "volume"]


def test_an_empty_table_has_no_symbol(project: Api, options: Options):
    project.run(f"create table bars ({BARS})")
    found = read(options(tables={"1d": "bars"}), ["A"])
    assert "A: " in str(found["A"])
    assert "may not see it" in str(found["A"])


def test_columns_of_other_names(project: Api, options: Options):
    project.run(
        'create table "My Bars" ("the pair" text, "op en" timestamptz, o float8, h float8, l float8, "c l" float8)',
        "insert into \"My Bars\" values ('A', '2024-01-02Z', 1, 2, 0, 1.5)",
    )
    columns = {"symbol": "the pair", "time": "op en", "open": "o", "high": "h", "low": "l", "close": "c l"}
    found = read(options(tables={"1d": "My Bars"}, columns=columns), ["A"])
    assert found["A"]["close"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("create", "given", "told"),
    [
        (f"create table bars ({BARS})", {"columns": {"close": "adjusted"}}, "there is no column 'adjusted'"),
        (f"create table bars (timestamp timestamptz, {PRICES})", {}, "no column for symbol"),
        (f"create table bars (symbol text, timestamp text, {PRICES})", {}, "timestamp is of type text"),
        ("create table other (a int)", {}, "there is no table public.bars"),
    ],
)
def test_a_table_of_another_form(project: Api, options: Options, create, given, told):
    project.run(create)
    if create.startswith("create table bars"):
        project.run("insert into bars default values", "update bars set open = 1")
    if "timestamp text" in create:
        project.run("update bars set timestamp = 'tomorrow'")
    with pytest.raises(ConfigError, match=told):
        read(options(tables={"1d": "bars"}, **given), ["A"])


def test_a_bar_length_without_a_table(options: Options):
    with pytest.raises(ConfigError, match="5min"):
        read(options(), ["A"], freq="5min")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), last=st.integers(1, 12), chunk=st.integers(1, 4))
def test_both_transports_read_the_same(project: Api, seed, last, chunk):
    rng = np.random.default_rng(seed)
    hours = rng.integers(0, 12, 30)
    values = [
        f"('{'ABC'[i % 3]}', '2024-01-02Z'::timestamptz + interval '{h} hours', {n}, {n}, {n}, {n}, null)"
        for i, (h, n) in enumerate(zip(hours, rng.random(30), strict=True))
    ]
    project.run(
        f"drop table if exists bars; create table bars ({BARS}); insert into bars values {', '.join(values)}"
    )
    span = Span(moment("2024-01-02T09:00"), start=moment("2024-01-02T02:00"), last=last)
    options = (made(project, name)(tables={"1h": "bars"}, chunk=chunk) for name in ("postgres", "rest"))
    one, other = (read(feed, ["C", "A", "B"], span, "1h") for feed in options)
    assert list(one) == list(other) == ["C", "A", "B"]
    for symbol, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[symbol], check_exact=True)

"""What the three tables with dated events become, and when it was known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_feeds_supabase.merging import merged
from kronosfw_feeds_supabase.options import SupabaseFeed

from kronosfw.errors import ConfigError, DataError
from kronosfw.types import Fact, Span, moment
from tests.postgrest import ROWS, Api

from .projects import Options, made

pytestmark = pytest.mark.postgres
EVER = Span(moment("2100-01-01"), moment("1900-01-01"))
NONE = {"economic_calendar": None, "central_bank_rates": None, "economic_indicators": None}


@pytest.fixture
def tables(project: Api) -> Api:
    project.run(SupabaseFeed.ddl())
    return project


def told(options: SupabaseFeed, span: Span = EVER, symbols=("A",)) -> list[tuple[object, ...]]:
    facts = [fact for fact in options.build().facts(symbols, span) if isinstance(fact, Fact)]
    return [(f.event, f.kind, str(f.scheduled_at)[:16], str(f.known_at)[:16], dict(f.values)) for f in facts]


def test_each_row_of_the_calendar_is_a_version(tables: Api, options: Options):
    tables.run(
        "insert into economic_calendar (event, kind, scheduled_at, known_at, importance, actual, forecast) values "
        "('c', 'cpi', '2024-02-13T13:30Z', '2024-02-13T13:30Z', null, 3.1, 2.9), "
        "('c', 'cpi', '2024-02-13T13:30Z', '2024-03-12T12:30Z', null, 3.2, null), "
        "('c', 'cpi', '2024-02-12T13:30Z', '2023-02-13T13:30Z', 3, null, null)",
        "insert into economic_calendar (event, kind, scheduled_at, known_at, symbols) values "
        "('e', 'earnings', '2024-02-14Z', '2024-01-01Z', '{B}'), "
        "('f', 'earnings', '2024-02-14Z', '2024-01-01Z', '{A,B}')",
    )
    assert told(options()) == [
        ("c", "cpi", "2024-02-12T13:30", "2023-02-13T13:30", {"importance": 3.0}),
        ("f", "earnings", "2024-02-14T00:00", "2024-01-01T00:00", {}),
        ("c", "cpi", "2024-02-13T13:30", "2024-02-13T13:30", {"actual": 3.1, "forecast": 2.9}),
        ("c", "cpi", "2024-02-13T13:30", "2024-03-12T12:30", {"actual": 3.2}),
    ]


def test_rates_and_indicators(tables: Api, options: Options):
    tables.run(
        "insert into central_bank_rates (currency, decided_at, known_at, rate, previous) values "
        "('USD', '2024-09-18T18:00Z', '2023-09-18Z', null, null), "
        "('USD', '2024-09-18T18:00Z', '2024-09-18T18:00Z', 5.0, 5.5), "
        "('EUR', '2024-09-12T12:15Z', '2024-09-12T12:15Z', 3.5, 3.75)",
        "insert into economic_indicators (currency, indicator, period, released_at, known_at, value, kind) values "
        "('USD', 'CPI m/m', '2024-08', '2024-09-11T12:30Z', '2024-09-11T12:30Z', 0.2, null), "
        "('USD', 'CPI m/m', '2024-08', '2024-09-11T12:30Z', '2024-10-10T12:30Z', 0.3, null), "
        "('USD', 'CPI y/y', '2024-08', '2024-09-11T12:30Z', '2024-09-11T12:30Z', 2.5, null), "
        "('USD', 'Sahm', '2024-08', '2024-09-06T12:30Z', '2024-09-06T12:30Z', 0.57, 'sahm')",
    )
    us, eu = "USD:rate decision:2024-09-18T18:00Z", "EUR:rate decision:2024-09-12T12:15Z"
    cpi = "USD:CPI m/m:2024-08"
    assert told(options()) == [
        (us, "fomc", "2024-09-18T18:00", "2023-09-18T00:00", {}),
        ("USD:Sahm:2024-08", "sahm", "2024-09-06T12:30", "2024-09-06T12:30", {"actual": 0.57}),
        (cpi, "cpi", "2024-09-11T12:30", "2024-09-11T12:30", {"actual": 0.2}),
        ("USD:CPI y/y:2024-08", "usd_cpi_y_y", "2024-09-11T12:30", "2024-09-11T12:30", {"actual": 2.5}),
        (eu, "rate_decision", "2024-09-12T12:15", "2024-09-12T12:15", {"actual": 3.5, "previous": 3.75}),
        (us, "fomc", "2024-09-18T18:00", "2024-09-18T18:00", {"actual": 5.0, "previous": 5.5}),
        (cpi, "cpi", "2024-09-11T12:30", "2024-10-10T12:30", {"actual": 0.3}),
    ]
    mapped = options(kinds={"USD CPI y/y": "cpi_year"})
    assert {kind for event, kind, *_ in told(mapped) if "y/y" in str(event)} == {"cpi_year"}


def test_a_table_without_known_at_shows_the_present_alone(project: Api, options: Options):
    project.run(
        "create table economic_calendar (id bigint, currency text, event text, scheduled_at timestamptz, "
        "importance text, actual numeric, forecast float8, ingested_at timestamptz, seen boolean, tags jsonb)",
        "insert into economic_calendar values "
        "(1, 'USD', 'CPI m/m', '2024-02-13T13:30Z', 'High', 0.30, 0.2, '2024-02-13T13:25Z', true, '[1]'), "
        "(2, 'USD', 'PPI m/m', '2024-02-16T13:30Z', 'Low', 0.1, null, '2024-02-20T08:00Z', true, '[1]')",
        "create table central_bank_rates (currency text, decided_at timestamptz, rate float8, previous float8)",
        "insert into central_bank_rates values ('USD', '2024-01-31T19:00Z', 5.5, 5.5)",
    )
    feed = options(
        tables={"economic_indicators": None}, schedule_lead="30d", consensus_lead="2d", release_lag="00:01"
    )
    cpi, ppi = "USD:CPI m/m:2024-02-13T13:30Z", "USD:PPI m/m:2024-02-16T13:30Z"
    rate = "USD:rate decision:2024-01-31T19:00Z"
    assert told(feed) == [
        (rate, "fomc", "2024-01-31T19:00", "2024-01-01T19:00", {}),
        (cpi, "cpi", "2024-02-13T13:30", "2024-01-14T13:30", {"importance": 3.0}),
        (ppi, "ppi", "2024-02-16T13:30", "2024-01-17T13:30", {"importance": 1.0}),
        (rate, "fomc", "2024-01-31T19:00", "2024-01-31T19:01", {"actual": 5.5, "previous": 5.5}),
        (cpi, "cpi", "2024-02-13T13:30", "2024-02-11T13:30", {"forecast": 0.2}),
        (cpi, "cpi", "2024-02-13T13:30", "2024-02-13T13:31", {"actual": 0.3, "forecast": 0.2}),
        (ppi, "ppi", "2024-02-16T13:30", "2024-02-20T08:00", {"actual": 0.1}),
    ]


def test_an_importance_that_is_a_number(project: Api, options: Options):
    project.run(
        "create table calendar (currency text, event text, scheduled_at timestamptz, importance int)",
        "insert into calendar values ('USD', 'CPI m/m', '2024-02-13T13:30Z', 3)",
    )
    assert told(options(tables={**NONE, "economic_calendar": "calendar"}))[0][-1] == {"importance": 3.0}


def test_an_event_of_two_tables_counts_once(tables: Api, options: Options):
    tables.run(
        "insert into economic_calendar (event, kind, scheduled_at, known_at, actual) values "
        "('fed-9', 'fomc', '2024-09-18T18:00Z', '2024-09-18T18:00Z', 5.0)",
        "insert into central_bank_rates (currency, decided_at, known_at, rate) values "
        "('USD', '2024-09-18T18:00Z', '2024-09-18T18:00Z', 5.0), ('USD', '2024-11-07T19:00Z', '2024-09-19Z', null)",
    )
    assert [event for event, *_ in told(options())] == ["fed-9", "fed-9", "USD:rate decision:2024-11-07T19:00Z"]


def fact(event: str, day: int, known: int) -> Fact:
    return Fact("fomc", moment(f"2024-01-{day:02d}"), moment(f"2023-01-{known:02d}"), event=event)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(1, 28)), max_size=8),
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(1, 3), st.integers(1, 28)), max_size=8),
)
def test_merging_names_anew_and_does_nothing_else(first, second):
    parts = [[fact(*row) for row in rows] for rows in (first, second)]
    found = list(merged(parts))
    bare = [(f.kind, f.scheduled_at, f.known_at) for f in found]
    assert sorted(bare) == sorted((f.kind, f.scheduled_at, f.known_at) for part in parts for f in part)
    assert [f.known_at for f in found] == sorted(f.known_at for f in found)
    assert sum(f.event in ("a", "b") for f in found) >= len(first)
    assert found == list(merged([part[::-1] for part in parts]))
    for event in {f.event for f in parts[1]}:
        assert len({f.event for f in merged(parts) if f.event == event}) <= 1


def test_a_row_without_a_name_stands_alone():
    parts = [[fact("", 5, 1)], [fact("x", 5, 2)]]
    assert [f.event for f in merged(parts)] == ["", "x"]


def test_only_facts_of_the_span_are_read(tables: Api, options: Options):
    tables.run(
        "insert into economic_calendar (event, kind, scheduled_at, known_at) select d, 'cpi', d, d "
        "from generate_series('2020-01-01Z'::timestamptz, '2024-12-31Z', '1 day') d"
    )
    feed = options().build()
    read: list[int] = []
    rows = feed._transport.rows

    def counting(*arguments):
        found = rows(*arguments)
        read.append(len(found))
        return found

    feed._transport.rows = counting
    assert len(list(feed.facts(["A"], Span(moment("2024-02-10"), moment("2024-02-01"))))) == 10
    assert sum(read) == 10


def test_more_events_of_one_moment_than_a_page_holds(tables: Api, options: Options):
    count = 2 * ROWS + 5
    tables.run(
        "insert into economic_calendar (event, kind, scheduled_at, known_at) select i, 'cpi', "
        "case when i < 3 then '2024-01-02Z'::timestamptz else '2024-01-03Z' end, '2023-01-01Z' "
        f"from generate_series(1, {count}) i"
    )
    assert len({event for event, *_ in told(options())}) == count


def test_events_that_are_hidden_are_told_of(tables: Api, project: Api):
    tables.run("insert into economic_calendar (event, kind, scheduled_at) values ('c', 'cpi', '2024-02-13Z')")
    seen, hidden = (made(project, "rest")(key=project.token(role)) for role in ("service_role", "anon"))
    assert len(told(seen)) == 1
    assert [item.check for item in hidden.build().facts(["A"], EVER)] == ["no_events"]


def test_tables_may_have_other_names_or_be_left_out(project: Api, options: Options):
    project.run(
        "create table news (kind text, scheduled_at date, known_at date, score float8, symbols text)",
        "insert into news values ('mood', '2024-01-02', '2024-01-03', 0.5, 'A;B')",
    )
    assert told(options(tables={**NONE, "economic_calendar": "news"})) == [
        ("", "mood", "2024-01-02T00:00", "2024-01-04T00:00", {"score": 0.5})
    ]
    assert told(options(tables=NONE)) == []


@pytest.mark.parametrize(
    ("create", "insert", "kind", "message"),
    [
        ("kind text, known_at date", "'cpi', '2024-01-01'", ConfigError, "no column scheduled_at"),
        ("scheduled_at date, event text", "'2024-01-01', 'CPI'", DataError, "no column currency"),
        (
            "scheduled_at text, known_at text, kind text",
            "'soon', 'now', 'cpi'",
            DataError,
            "scheduled_at is 'soon'",
        ),
        (
            "scheduled_at date, known_at date, kind text",
            "'2024-01-01', '2024-01-01', null",
            DataError,
            "the kind is missing",
        ),
        ("scheduled_at date, known_at date, kind text", "null, '2024-01-01', 'cpi'", DataError, "scheduled_at is"),
        (
            "scheduled_at timestamptz, known_at timestamptz, kind text",
            "'2024-01-01Z', 'infinity', 'cpi'",
            DataError,
            "reading failed|the known_at is 'infinity'",
        ),
        (
            "scheduled_at date, known_at date, kind text, actual text",
            "'2024-01-01', '2024-01-01', 'cpi', 'high'",
            DataError,
            "actual is 'high'; expected a number",
        ),
    ],
)
def test_a_malformed_table(project: Api, options: Options, create, insert, kind, message):
    good = {"scheduled_at date, known_at date, kind text": "'2024-01-02', '2024-01-02', 'cpi'"}.get(create)
    rows = [f"insert into events values ({values})" for values in (good, insert) if values]
    project.run(f"create table events ({create})", *rows)
    with pytest.raises(kind, match=message):
        told(options(tables={**NONE, "economic_calendar": "events"}))


def test_a_table_that_is_missing_says_how_to_do_without(project: Api, options: Options):
    with pytest.raises(ConfigError, match=r"there is no table public\.economic_calendar; name it, or null"):
        told(options())


def test_every_order_of_rows_gives_the_same_facts(tables: Api, options: Options):
    rows = [f"('e{i}', 'cpi', '2024-01-0{i % 3 + 1}Z', '2023-01-01Z')" for i in range(4)]
    found = []
    for order in itertools.islice(itertools.permutations(rows), 0, 24, 5):
        tables.run(
            "truncate economic_calendar",
            f"insert into economic_calendar (event, kind, scheduled_at, known_at) values {', '.join(order)}",
        )
        found.append(told(options()))
    assert all(facts == found[0] for facts in found)

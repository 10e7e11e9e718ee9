"""What the three tables with dated events become, and when it was known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kronosfw_feeds_supabase.merging import merged
from kronosfw_feeds_supabase.options import SupabaseFeed

from kronosfw.builtin.encoders import Macro20
from kronosfw.errors import ConfigError, DataError
from kronosfw.types import Fact, Span, Times, moment
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


def test_a_row_that_does_not_say_when_it_was_stored(project: Api, options: Options):
    project.run(
        "create table calendar (currency text, event text, scheduled_at timestamptz, actual float8, "
        "ingested_at timestamptz)",
        "insert into calendar values ('USD', 'CPI m/m', '2024-02-13T13:30Z', 0.3, null), "
        "('USD', 'PPI m/m', '2024-02-16T13:30Z', 0.1, '2024-02-20T08:00Z')",
    )
    feed = options(tables={**NONE, "economic_calendar": "calendar"}, release_lag="00:01")
    known = [known for *_, known, values in told(feed) if "actual" in values]
    assert known == ["2024-02-13T13:31", "2024-02-20T08:00"]


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


def test_two_banks_that_decide_at_one_moment_stay_apart(tables: Api, options: Options):
    at = "2023-09-21T07:30Z"
    tables.run(
        "insert into economic_calendar (event, kind, scheduled_at, known_at) values "
        f"('riksbank', 'rate_decision', '{at}', '2023-01-01Z'), ('snb', 'rate_decision', '{at}', '2023-01-01Z')",
        "insert into central_bank_rates (currency, decided_at, known_at, rate) values "
        f"('SEK', '{at}', '{at}', 4.0), ('CHF', '{at}', '{at}', 1.75)",
    )
    found = {event for event, *_ in told(options())}
    assert found == {"riksbank", "snb", *(f"{c}:rate decision:2023-09-21T07:30Z" for c in ("SEK", "CHF"))}


def fact(event: str, day: int, known: int) -> Fact:
    return Fact("fomc", moment(f"2024-01-{day:02d}"), moment(f"2023-01-{known:02d}"), event=event)


def test_a_later_version_does_not_join_events_that_were_two():
    """The second table's first date was another one; its new date is known too late to tell."""
    parts = [[fact("c", 11, 1)], [fact("x", 20, 2), fact("x", 11, 5)]]
    assert [f.event for f in merged(parts)] == ["c", "x", "x"]


def test_an_event_that_is_moved_keeps_its_partner():
    parts = [[fact("c", 11, 1), fact("c", 12, 3)], [fact("x", 12, 4)]]
    assert [f.event for f in merged(parts)] == ["c", "c", "c"]


FACTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 28)), max_size=8)


def of_tables(*rows: list[tuple[str, int, int]]) -> list[list[Fact]]:
    """Return the facts of some tables, each with names of its own."""
    return [[fact(f"{name}{part}", *at) for name, *at in its] for part, its in enumerate(rows)]


@given(FACTS, FACTS, FACTS, st.integers(1, 28))
def test_what_is_known_later_changes_nothing_before(first, second, third, day):
    parts = of_tables(first, second, third)
    cutoff = moment(f"2023-01-{day:02d}")
    live = list(merged([[f for f in part if f.known_at <= cutoff] for part in parts]))
    assert [f for f in merged(parts) if f.known_at <= cutoff] == live


@settings(max_examples=40)
@given(FACTS, FACTS, st.integers(1, 28))
@example([("a", 1, 1)], [("b", 2, 2), ("b", 1, 5)], 3)
def test_channels_as_of_a_cutoff_do_not_depend_on_what_is_known_later(first, second, day):
    parts = of_tables(first, second)
    time = np.arange("2023-12-28", "2024-01-08", dtype="datetime64[D]")
    opens = time.astype("datetime64[us]")
    times = Times(opens, opens + np.timedelta64(1, "D"), time)
    cutoff = moment(f"2023-01-{day:02d}")
    encoder = Macro20(btc=None, spy=None, dxy=None, vix=None).build()
    known_at = np.full(len(opens), cutoff)
    live = [[f for f in part if f.known_at <= cutoff] for part in parts]
    channels = [encoder.encode(list(merged(some)), {}, times, known_at) for some in (parts, live)]
    np.testing.assert_array_equal(*channels)


@given(FACTS, FACTS)
def test_merging_names_anew_and_does_nothing_else(first, second):
    parts = of_tables(first, second)
    found = list(merged(parts))
    events = {f.event for f in found}
    bare = [(f.kind, f.scheduled_at, f.known_at) for f in found]
    assert sorted(bare) == sorted((f.kind, f.scheduled_at, f.known_at) for part in parts for f in part)
    assert [f.known_at for f in found] == sorted(f.known_at for f in found)
    assert found == list(merged([part[::-1] for part in parts]))
    for part in parts:
        for name in {f.event for f in part}:
            known = {(f.scheduled_at, f.known_at) for f in part if f.event == name}
            assert any(known <= {(f.scheduled_at, f.known_at) for f in found if f.event == e} for e in events)


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
    found = feed.facts(["A"], Span(moment("2024-02-10"), moment("2024-02-01")))
    assert sum(isinstance(item, Fact) for item in found) == 10
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
    findings = list(hidden.build().facts(["A"], EVER))
    assert [item.check for item in findings] == ["no_events"] * 3
    assert all(f"in table {name}:" in item.detail for name, item in zip(NONE, findings, strict=True))


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
        (
            "scheduled_at date, released_at date, known_at date, kind text",
            "'2024-01-01', '2024-01-02', '2024-01-01', 'cpi'",
            ConfigError,
            "scheduled_at and released_at could both be scheduled_at",
        ),
        (
            'scheduled_at date, known_at date, kind text, actual float8, "Actual" float8',
            "'2024-01-01', '2024-01-02', 'cpi', 1, 2",
            ConfigError,
            "actual and Actual could both be actual",
        ),
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
    role = "economic_indicators" if "released_at" in create else "economic_calendar"
    with pytest.raises(kind, match=message):
        told(options(tables={**NONE, role: "events"}))


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

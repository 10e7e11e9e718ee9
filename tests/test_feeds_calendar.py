"""Calendars of the file feeds: formats, kinds, figures, and what was known when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from kronosfw.builtin.feeds import CsvFeed, ParquetFeed
from kronosfw.builtin.feeds.figures import figure
from kronosfw.builtin.feeds.kinds import KINDS
from kronosfw.errors import DataError
from kronosfw.types import Fact, Span, moment

DATA = Path(__file__).parents[1] / "../shared/data"
EVER = Span(moment("2100-01-01"))
RELEASES = "DateTime,Currency,Impact,Event,Actual,Forecast,Previous,Detail\n"
SCHEDULE = "date,event,detail,ref_period,time_et,source\n"
PLAIN = "event,kind,scheduled_at,known_at,symbols,actual,forecast,previous,importance,beats,note\n"
CPI = "2024-11-13T13:30:00+00:00,USD,High Impact Expected,CPI m/m,0.3%,0.2%,0.1%,\n"


@pytest.fixture
def facts(tmp_path: Path):
    def read(text: str, symbols: tuple[str, ...] = ("SPY",), span: Span = EVER, **options: object) -> list[Fact]:
        path = tmp_path / "calendar.csv"
        path.write_text(text, encoding="utf-8")
        feed = CsvFeed(calendar=path, **options).build()  # type: ignore[arg-type]
        return [fact for fact in feed.facts(symbols, span) if isinstance(fact, Fact)]

    return read


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250K", 250e3), ("999k", 999e3), ("3.1%", 3.1), ("<0.10%", 0.1), ("-1.2B", -1.2e9), ("8.90M", 8.9e6),
        ("1.17T", 1.17e12), ("51.7", 51.7), (" -0.4% ", -0.4), ("", None), ("9-0-0", None), ("4.52|2.6", None),
        ("nan", None), ("soon", None),
    ],
)  # fmt: skip
def test_figures(text, number):
    assert figure(text) == (None if number is None else pytest.approx(number, rel=1e-15))


def test_a_release_is_a_schedule_then_a_consensus_then_figures(facts):
    schedule, consensus, release = facts(RELEASES + CPI)
    at = moment("2024-11-13T13:30")
    assert {f.event for f in (schedule, consensus, release)} == {"USD:CPI m/m:2024-11-13T13:30Z"}
    assert {f.kind for f in (schedule, consensus, release)} == {"cpi"}
    assert {f.scheduled_at for f in (schedule, consensus, release)} == {at}
    assert (schedule.known_at, schedule.values) == (moment("2023-11-14T13:30"), {"importance": 3})
    assert (consensus.known_at, consensus.values) == (moment("2024-11-12T13:30"), {"forecast": 0.2})
    assert (release.known_at, release.values) == (at, {"actual": 0.3, "forecast": 0.2, "previous": 0.1})


def test_leads_and_lag_are_options(facts):
    known = [
        f.known_at for f in facts(RELEASES + CPI, schedule_lead="10d", consensus_lead="12:00", release_lag="00:01")
    ]
    assert known == [moment("2024-11-03T13:30"), moment("2024-11-13T01:30"), moment("2024-11-13T13:31")]


def test_no_actual_no_release_fact(facts):
    found = facts(RELEASES + "2030-01-04T13:30:00Z,USD,Low Impact Expected,Housing Starts,,1.31M,,\n")
    assert [f.values for f in found] == [{"importance": 1}, {"forecast": 1.31e6}]
    assert {f.kind for f in found} == {"usd_housing_starts"}


def test_one_release_has_its_kind_once(facts):
    yearly = CPI.replace("CPI m/m", "CPI y/y")
    kinds = [f.kind for f in facts(RELEASES + yearly + CPI)]
    assert kinds == ["usd_cpi_y_y"] * 3 + ["cpi"] * 3
    assert {f.kind for f in facts(RELEASES + yearly)} == {"cpi"}
    an_hour_off = yearly.replace("13:30:00+00:00", "13:30:00+01:00")
    assert Counter(f.kind for f in facts(RELEASES + CPI + an_hour_off)) == {"cpi": 3, "usd_cpi_y_y": 3}


def test_two_central_banks_may_decide_on_one_day(facts):
    rates = "".join(
        f"2024-06-06T{hour}:00:00Z,{name},4.00%,4.00%,4.25%,\n"
        for hour, name in (
            ("12", "EUR,High Impact Expected,Main Refinancing Rate"),
            ("12", "EUR,High Impact Expected,Monetary Policy Statement"),
            ("13", "CAD,High Impact Expected,Overnight Rate"),
        )
    )
    kinds = Counter(f.kind for f in facts(RELEASES + rates))
    assert kinds == {"rate_decision": 6, "eur_monetary_policy_statement": 3}


def test_a_user_can_name_kinds(facts):
    yearly = CPI.replace("CPI m/m", "CPI y/y")
    found = facts(RELEASES + CPI + yearly, kinds={"usd cpi y/y": "cpi"})
    assert {(f.kind, f.event[4:11]) for f in found} == {("usd_cpi_m_m", "CPI m/m"), ("cpi", "CPI y/y")}


def test_what_nobody_scheduled_is_known_when_it_happens(facts):
    [fact] = facts(RELEASES + "2020-03-23T12:00:00Z,USD,High Impact Expected,Fed Announcement,,,,\n")
    assert fact.known_at == fact.scheduled_at
    [cut] = facts(SCHEDULE + "2020-03-03,fomc_intermeeting,emergency cut,,,manual\n")
    assert (cut.kind, cut.scheduled_at) == ("fomc", moment("2020-03-03T05:00"))
    assert cut.known_at == moment("2020-03-04T05:00")
    [cut] = facts(SCHEDULE + "2020-03-03,fomc_intermeeting,emergency cut,,10:00,manual\n")
    assert cut.known_at == cut.scheduled_at == moment("2020-03-03T15:00")


def test_a_schedule_is_in_new_york_time(facts):
    winter, summer, election = facts(
        SCHEDULE
        + "2024-01-11,cpi,Consumer Price Index release,,08:30,x\n"
        + "2024-07-11,cpi,Consumer Price Index release,,08:30,x\n"
        + "2024-11-05,election,US general election,,,x\n"
    )
    assert [f.scheduled_at for f in (winter, summer)] == [moment("2024-01-11T13:30"), moment("2024-07-11T12:30")]
    assert (winter.kind, winter.values) == ("cpi", {"importance": 3})
    assert (election.kind, election.values) == ("usd_election", {"importance": 2})
    assert election.scheduled_at == moment("2024-11-05T05:00")
    assert election.known_at == moment("2023-11-07T05:00")


@pytest.mark.parametrize(
    ("zone", "begins", "ends"),
    [
        ("UTC", "2024-03-10T00:00", "2024-03-11T00:00"),
        ("America/New_York", "2024-03-10T05:00", "2024-03-11T04:00"),
        ("Asia/Tokyo", "2024-03-09T15:00", "2024-03-10T15:00"),
        ("America/Havana", "2024-03-10T05:00", "2024-03-11T04:00"),
    ],
)
def test_what_has_a_mere_date_is_known_when_the_date_ends(facts, zone, begins, ends):
    release = CPI.replace("2024-11-13T13:30:00+00:00", "2024-03-10")
    schedule, consensus, figures = facts(RELEASES + release, timezone=zone, release_lag="00:01")
    assert {f.scheduled_at for f in (schedule, consensus, figures)} == {moment(begins)}
    assert figures.known_at == moment(ends) + np.timedelta64(1, "m")
    assert consensus.known_at == moment(ends) - np.timedelta64(1, "D")
    assert schedule.known_at == moment(ends) - np.timedelta64(365, "D")
    [plain] = facts(PLAIN + "x,cpi,2024-03-10,2024-03-10,,0.3,,,,,\n", timezone=zone)
    assert (plain.scheduled_at, plain.known_at) == (moment(begins), moment(ends))
    [speech] = facts(RELEASES + release.replace("CPI m/m,0.3%,0.2%,0.1%", "Powell Speaks,,,"), timezone=zone)
    assert speech.known_at == moment(ends)


def test_a_mere_date_among_times_is_still_one(facts):
    stamps = ("2024-03-10", "2024-03-10T08:30", "2024-03-10T08:30Z")
    found = facts(PLAIN + "".join(f"{s},cpi,{s},{s},,,,,,,\n" for s in stamps), timezone="America/New_York")
    assert [f.known_at for f in found] == list(
        map(moment, ("2024-03-11T04:00", "2024-03-10T12:30", "2024-03-10T08:30"))
    )


def test_a_calendar_has_the_separator_of_the_bars(facts):
    assert len(facts((RELEASES + CPI).replace(",", ";"), separator=";")) == 3


def test_the_plain_format_is_taken_as_it_stands(facts):
    text = (
        PLAIN
        + "AAPL-Q3,earnings,2024-07-25T20:00Z,2024-07-01T00:00Z,AAPL; QQQ,,1.35,,2,,a note\n"
        + "AAPL-Q3,earnings,2024-07-25T20:00Z,2024-07-25T20:30Z,AAPL,1.4,1.35,1.53,2,1,\n"
        + ",holiday,2024-07-04T00:00Z,2023-07-04T00:00Z,,,,,0,,\n"
    )
    first, second, third = facts(text, ("AAPL",))
    assert first.symbols == ("AAPL", "QQQ")
    assert first.values == {"forecast": 1.35, "importance": 2}
    assert second.values == {"actual": 1.4, "forecast": 1.35, "previous": 1.53, "importance": 2, "beats": 1}
    assert second.known_at == moment("2024-07-25T20:30")
    assert (third.event, third.symbols, third.values) == ("", (), {"importance": 0})
    assert [f.known_at for f in facts(text, ("QQQ",))] == [first.known_at, third.known_at]
    assert facts(text, ("AAPL",), Span(moment("2024-07-10"), start=moment("2024-07-01"))) == [third]


def test_a_parquet_calendar_says_the_same(facts, tmp_path):
    expected = facts(RELEASES + CPI)
    table = pyarrow.csv.read_csv(tmp_path / "calendar.csv")
    assert pa.types.is_timestamp(table.schema.field("DateTime").type)
    pq.write_table(table, tmp_path / "calendar.parquet")
    assert list(ParquetFeed(calendar=tmp_path / "calendar.parquet").build().facts([], EVER)) == expected


def test_a_detail_may_span_lines_and_faults_after_it_keep_their_place(facts):
    detail = CPI.replace(",\n", ',"two\nlines"\n')
    assert len(facts(RELEASES + detail)) == 3
    with pytest.raises(DataError, match=r"calendar\.csv, line 4: the DateTime is 'All Day'"):
        facts(RELEASES + detail + "All Day,USD,Low Impact Expected,Holiday,,,,\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "not a calendar of a known format"),
        (RELEASES, "header and no row"),
        (RELEASES + CPI.replace("High Impact Expected", "huge"), "line 2: the impact is 'huge'"),
        (RELEASES + CPI.replace("USD", ""), "line 2: the currency is missing"),
        (RELEASES + CPI + CPI.replace("0.3%", "0.4%"), "line 3: USD CPI m/m stands there twice"),
        (RELEASES + CPI.replace(",\n", "\n"), "line 2: the row has 7 fields"),
        (SCHEDULE + "2024-01-11,cpi,,,8.30,x\n", "line 2: the date with its time is '2024-01-11 8.30'"),
        (PLAIN + "x,cpi,2024-01-01T00:00Z,,,,,,,,\n", "line 2: the known_at is missing"),
        (PLAIN + "x,,2024-01-01T00:00Z,2024-01-01T00:00Z,,,,,,,\n", "line 2: the kind is missing"),
        (PLAIN + "x,cpi,2024-01-01T00:00Z,2024-01-01T00:00Z,,3%,,,,,\n", "line 2: actual is '3%'"),
    ],
)
def test_a_malformed_calendar_is_refused_with_its_place(facts, text, message):
    with pytest.raises(DataError) as error:
        facts(text)
    assert "calendar.csv" in str(error.value)
    assert message in str(error.value)


def test_a_missing_calendar_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"c\.csv: cannot be read: No such file"):
        list(CsvFeed(calendar=tmp_path / "c.csv").build().facts([], EVER))


def test_a_feed_without_a_calendar_has_no_facts(tmp_path):
    assert list(CsvFeed(path=tmp_path / "*.csv").build().facts(["A"], EVER)) == []


@pytest.fixture(scope="module")
def releases() -> list[Fact]:
    feed = CsvFeed(calendar=DATA / "calendar/high_impact_events.csv").build()
    return [fact for fact in feed.facts([], EVER) if isinstance(fact, Fact)]


@pytest.fixture(scope="module")
def schedule() -> list[Fact]:
    return list(CsvFeed(calendar=DATA / "calendar/us_macro_schedule.csv").build().facts([], EVER))


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the real bars and calendars are not here")
class TestRealCalendars:
    def test_every_row_is_an_event(self, releases, schedule):
        assert len({f.event for f in releases}) == 4700
        assert len({f.event for f in schedule}) == len(schedule) == 2237

    def test_mixed_offsets_come_out_in_utc(self, releases):
        hours = Counter(
            str(f.scheduled_at)[11:16] for f in releases if f.kind == "nfp" and "importance" in f.values
        )
        assert set(hours) == {"12:30", "13:30"}

    def test_headline_kinds_come_once_a_day(self, releases):
        days = Counter(
            (f.kind, str(f.scheduled_at)[:10], f.event[:3])
            for f in releases
            if f.kind in KINDS and "importance" in f.values
        )
        assert max(days.values()) == 1
        counts = Counter(kind for kind, _, _ in days)
        assert (counts["cpi"], counts["nfp"], counts["pce"], counts["gdp"]) == (72, 72, 53, 23)
        assert counts["rate_decision"] > 250

    @pytest.mark.parametrize("kind", ["cpi", "nfp", "fomc"])
    def test_both_calendars_agree_on_the_dates(self, releases, schedule, kind):
        def dates(facts: list[Fact]) -> set[str]:
            inside = [f for f in facts if moment("2020-01-01") <= f.scheduled_at <= moment("2025-09-30")]
            return {str(f.scheduled_at)[:10] for f in inside if f.kind == kind and "intermeeting" not in f.event}

        assert len(dates(releases) ^ dates(schedule)) <= 2
        assert len(dates(releases)) >= 45

    def test_figures_are_known_at_the_release_and_not_before(self, releases):
        figures = [f for f in releases if "actual" in f.values]
        assert len(figures) > 3000
        assert all(f.known_at == f.scheduled_at for f in figures)
        assert all(f.known_at < f.scheduled_at for f in releases if set(f.values) == {"forecast"})

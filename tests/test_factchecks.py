"""What is odd about a calendar is found, told and not changed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kronosfw import builtin, yamlfile
from kronosfw.builtin.feeds import CsvFeed, SqlFeed
from kronosfw.factchecks import check_facts
from kronosfw.loading import model
from kronosfw.mistakes import validate
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.report import print_run, run_as_json
from kronosfw.scoring import score
from kronosfw.types import Fact, Finding, Span, moment

DATA = Path(__file__).parents[1] / "../shared/data"
EVER = Span(moment("2100-01-01"))
HOUR = np.timedelta64(1, "h")
PLAIN = "event,kind,scheduled_at,known_at\n"


def releases(n: int = 24, kind: str = "cpi") -> list[Fact]:
    """Return a release on the 12th of each month from 2023 on, at 8:30 in New York."""
    facts = []
    for i in range(n):
        month = np.datetime64("2023-01") + i
        hour = 12 if 3 <= i % 12 + 1 <= 10 else 13
        at = moment(f"{month}-15T{hour}:30")
        facts += [
            Fact(kind, at, at - 300 * 24 * HOUR, event=f"{kind} {i}"),
            Fact(kind, at, at, values={"actual": 1.0}, event=f"{kind} {i}"),
        ]
    return facts


def shifted(facts: list[Fact], numbers: list[int], hours: int = 1) -> list[Fact]:
    names = {f"cpi {i}" for i in numbers}
    return [replace(f, scheduled_at=f.scheduled_at + hours * HOUR) if f.event in names else f for f in facts]


def test_a_sound_calendar_has_no_findings():
    assert check_facts(releases()) == []
    assert check_facts([]) == []


def test_releases_an_hour_off_are_found():
    """New York is the one zone where these releases keep their hour all year."""
    assert check_facts(shifted(releases(), [13], -1)) == [
        Finding(
            "off_by_an_hour",
            "accepted",
            1,
            "cpi: 1 of 24 at 07:30 instead of 08:30 America/New_York, first 2024-02-15: daylight saving?",
        )
    ]
    found = check_facts(shifted(shifted(releases(), [4], -1), [2]))
    assert [f.detail for f in found] == [
        "cpi: 2 of 24 at 07:30 and 09:30 instead of 08:30 America/New_York, first 2023-03-15: daylight saving?"
    ]


@pytest.mark.parametrize(
    "facts",
    [
        shifted(releases(11), [2]),
        shifted(releases(), [2], 2),
        shifted(releases(), [2, 3, 4]),
    ],
    ids=["too few", "two hours", "too many to speak of a habit"],
)
def test_what_is_no_slip_of_the_clock_is_let_be(facts):
    assert check_facts(facts) == []


def test_an_event_counts_once_and_where_it_was_moved_to():
    facts = shifted(releases(), [5])
    back = [replace(f, scheduled_at=f.scheduled_at - HOUR, known_at=f.known_at + HOUR) for f in facts[10:12]]
    assert check_facts(facts + back) == []


@pytest.mark.parametrize(("zone", "hours"), [("Europe/London", (11, 12)), ("UTC", (9, 9))])
def test_the_zone_is_found(zone, hours):
    """Of zones in which as many events keep their hour, the first counts."""
    facts = []
    for i in range(24):
        summer = 4 <= i % 12 + 1 <= 10
        at = (
            moment(f"{np.datetime64('2023-01') + i}-15T{hours[0] if summer else hours[1]:02d}:00") + (i == 7) * HOUR
        )
        facts.append(Fact("x", at, at))
    (finding,) = check_facts(facts)
    assert f"instead of {'12' if zone == 'Europe/London' else '09'}:00 {zone}" in finding.detail
    assert finding.count == 1


def test_mixed_offsets_of_a_calendar_are_found(tmp_path):
    path = tmp_path / "calendar.csv"
    rows = "a,cpi,2024-03-12T08:30-04:00,2024-01-01\nb,cpi,2024-02-13T08:30-05:00,2024-01-01\n"
    path.write_text(PLAIN + rows)
    *facts, finding = CsvFeed(calendar=path).build().facts([], EVER)
    assert [str(f.scheduled_at)[:16] for f in facts] == ["2024-03-12T12:30", "2024-02-13T13:30"]
    assert finding == Finding("mixed_zones", "repaired", 2, "UTC offsets -04:00, -05:00, calendar.csv")
    path.write_text(PLAIN + rows.replace("-04:00", "-05:00"))
    assert all(isinstance(f, Fact) for f in CsvFeed(calendar=path).build().facts([], EVER))


def test_mixed_offsets_of_a_table_are_found(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "facts.db") as db:
        db.execute("create table events (kind text, scheduled_at text, known_at text)")
        db.execute("insert into events values ('cpi', '2024-03-12T08:30-04:00', '2024-01-01T00:00Z')")
    db.close()
    finding, fact = SqlFeed(url=f"sqlite:///{tmp_path}/facts.db", facts_table="events").build().facts([], EVER)
    assert finding.detail == "UTC offsets +00:00, -04:00, table events"
    assert fact.kind == "cpi"


def test_a_run_tells_what_is_odd_about_the_calendar(tmp_path):
    rows = [f"{f.event},cpi,{f.scheduled_at}Z,{f.known_at}Z\n" for f in shifted(releases(), [13], -1)]
    rows[0] = rows[0].replace("Z", "+00:00")
    rows.append("x,cpi,2025-01-15T14:30+01:00,2024-12-01T00:00Z\n")
    (tmp_path / "calendar.csv").write_text(PLAIN + "".join(rows))
    text = (
        "feed: {type: simulated}\nfacts: {type: csv, calendar: calendar.csv}\nforecasters: [{type: random_walk}]\n"
        "universe: {SPY: {asset_class: equity}}\nstore: sqlite:///results.db\nas_of: 2025-01-10\n"
        "encoders: [{type: macro20, btc: null, dxy: null, vix: null}]\n"
    )
    plugins = Plugins()
    plugins.add("builtin", builtin)
    config = validate(model(plugins), yamlfile.parse(text, str(tmp_path / "config.yaml")))
    report = run(config, plugins)
    (calendar,) = [entry for entry in run_as_json(report)["data"] if entry["symbol"] == "calendar"]
    assert calendar["rows"] == 49
    assert [f["check"] for f in calendar["findings"]] == ["mixed_zones", "off_by_an_hour"]
    console = Console(file=io.StringIO(), width=160)
    print_run(report, config, console)
    shown = console.file.getvalue()
    assert "calendar.csv" in shown
    assert "off by an hour" in shown
    assert "1 of 25 at 07:30 instead of 08:30 America/New_York" in shown
    assert score(config, as_of=None, progress=lambda *_: None).scored == 5


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the real bars and calendars are not here")
def test_the_real_calendar_has_two_rows_an_hour_off():
    told = list(CsvFeed(calendar=DATA / "calendar/high_impact_events.csv").build().facts([], EVER))
    (mixed,) = (item for item in told if isinstance(item, Finding))
    assert (mixed.check, mixed.action) == ("mixed_zones", "repaired")
    assert mixed.detail.endswith(", high_impact_events.csv")
    assert [f.detail for f in check_facts([item for item in told if isinstance(item, Fact)])] == [
        "usd_cpi_y_y: 2 of 65 at 07:30 instead of 08:30 America/New_York, first 2021-03-10: daylight saving?"
    ]

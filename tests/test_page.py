"""The report: what is gathered, and that it is shown whole, in little room and without harm."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kronosfw.cli.report import command
from kronosfw.errors import ConfigError, DataError
from kronosfw.interfaces import Weights
from kronosfw.page import words
from kronosfw.page.content import Board, Content, Envelope, Event, Outlook, Run, as_json
from kronosfw.page.gather import gather
from kronosfw.page.render import render, write
from kronosfw.page.surroundings import look_around
from kronosfw.page.terminal import print_report
from kronosfw.pipeline import run, silent
from kronosfw.reading import Failure, as_moment
from kronosfw.scoreboard import Estimate, Line, Scoreboard
from kronosfw.scoring import score
from kronosfw.store import Store
from kronosfw.types import Fact, Finding, moment
from kronosfw.windows import Ledger

HOSTILE = "<script>alert(1)</script>]]>&\"'[bold red]{{7*7}}"
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
START = datetime(2025, 6, 12, tzinfo=UTC)


def envelope(model: str, close: float, width: float, horizon: int, **context: object) -> Envelope:
    """Return an envelope that widens with the root of the steps."""
    steps = [close * width * (h + 1) ** 0.5 for h in range(horizon)]
    quantiles = tuple(tuple(close + 2 * (level - 0.5) * size for level in LEVELS) for size in steps)
    return Envelope(model, LEVELS, quantiles, (context,) * horizon)


def outlook(
    symbol: str, *, horizon: int = 10, note: str = "Equal weights: too little has been scored yet."
) -> Outlook:
    close, members = 104.25, ("random_walk", "har", "kronos_event")
    told = {
        "note": note,
        "missing": ["garch"],
        "weights": dict(zip(members, (0.2, 0.5, 0.3), strict=True)),
        "moved": {"schedule": [-3.0, -0.5, 1.0]},
        "contributions": {"volatility": dict(zip(members, (-0.1, 0.2, 0.05), strict=True))},
    }
    served = {
        "calibration": {"low": 0.04, "high": -0.02, "n": 320},
        "confidence": {"value": 0.62, "width_rank": 0.64, "coverage": 0.81, "n": 320},
    }
    return Outlook(
        symbol=symbol,
        asset_class="crypto",
        close=close,
        targets=tuple(START + timedelta(days=h) for h in range(horizon)),
        envelopes=(
            *(envelope(name, close, 0.02 + 0.004 * i, horizon) for i, name in enumerate(members)),
            envelope("ensemble", close, 0.023, horizon, **told),
            envelope("ensemble_calibrated", close, 0.025, horizon, **told, **served),
        ),
        history=tuple((START - timedelta(days=i), close + 7 * ((i * 37) % 11 - 5) / 11) for i in range(120, 0, -1)),
        since=((1, close + 1), (2, close - 2)),
        events=(
            Event("cpi", START - timedelta(days=8), -7, {"actual": 3.1, "forecast": 3.0}),
            Event("fomc", START + timedelta(days=2, hours=18), 3, {}),
            Event("earnings", START + timedelta(days=3), 4, {"forecast": 1.5}),
        ),
    )


def board(title: str, models: tuple[str, ...], symbols: tuple[str, ...]) -> Board:
    groups = [("all", "all"), ("asset_class", "crypto"), ("bucket", "1"), ("bucket", "2-5"), ("event", "event")]
    groups += [("symbol", symbol) for symbol in symbols]
    lines = [
        Line(
            model=model,
            by=by,
            group=group,
            rows=900,
            days=90,
            loss=Estimate(0.65 - 0.01 * i, 0.6, 0.7),
            difference=Estimate(-0.01 * i, -0.02, 0.001) if i else None,
            p_value=0.03 if i else None,
            in_set=i > 0 if by == "all" else None,
            coverage=Estimate(0.79, 0.76, 0.83) if by != "event" else Estimate(0.7, float("nan"), float("nan")),
            width=0.05,
            crossings=0,
            direction=Estimate(0.51, 0.47, 0.55) if i else None,
            error=float("nan") if by == "event" else 0.99,
            sharpe=None,
        )
        for by, group in groups
        for i, model in enumerate(models)
    ]
    curves = {model: tuple((level, level + 0.01) for level in LEVELS) for model in models}
    return Board(
        title, Scoreboard(models[0], tuple(lines), 12, curves), first=date(2022, 1, 3), last=date(2025, 6, 1)
    )


def made_up(symbols: int = 23, **changes: object) -> Content:
    """Return a content in which there is something of everything."""
    outlooks = tuple(outlook(f"SYM{i:02d}") for i in range(symbols))
    models = tuple(e.model for e in outlooks[0].envelopes)
    names = tuple(o.symbol for o in outlooks)
    failures = (Failure("SYM01", "model", "ValueError: too few bars", "garch"), Failure("NOPE", "data", "no bars"))
    findings = (("SYM02", Finding("gaps", "accepted", 3, "2025-01-02 and 2 more")),)
    content = Content(
        file="kronosfw.yaml",
        as_of=START + timedelta(days=2),
        made_at=START + timedelta(days=2),
        freq="1d",
        horizon=10,
        served="ensemble_calibrated",
        run=Run("f83dc4d041cb4454", START, START, symbols + 1, symbols, failures, findings),
        outlooks=outlooks,
        boards=(board("Forecasts made so far", models, names), board("Backtest f00dfeed", models, names)),
        weights={
            "kronos_event": Weights(licence="Apache-2.0", trained_until="2024-06-30 (kronos-nano: 2022-06-30)"),
            "timesfm": Weights(licence="Apache-2.0"),
        },
    )
    return replace(content, **changes)


class Elements(HTMLParser):
    """The elements of a page, and whether each is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return render(made_up())


def test_the_page_is_small_and_well_formed(page):
    assert len(page.encode()) < 1_500_000
    tags = Elements(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for tag, attributes in tags if tag == "a"}
    assert targets <= set(ids)
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    charts = [attributes for tag, attributes in tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 23 * 2 + 2 * 5
    assert all(chart["aria-label"] for chart in charts)


def test_the_page_needs_nothing_else(page):
    assert not re.search(r"https?:|//|@import|url\(|<script|<link|<img|\son\w+=", page.replace("</", ""))


def test_each_part_of_the_story_is_told(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for told in (
        "Outlook as of 12 June 2025",
        "23 of 24 symbols could be forecast.",
        "Equal weights: too little has been scored yet.",
        "Made without garch, which failed here; the other members have its weight.",
        "Calibrated on outcomes of 320 moments of its class: p10 moved outward by 4.0% of the width, "
        "p90 moved inward by 2.0% of the width.",
        "Confidence 0.62: the envelope is narrower than 64% of the symbol&#39;s earlier ones",
        "Weights of the members: random_walk 20%, har 50%, kronos_event 30%",
        "What moved the weights",
        "ensemble schedule −0.48% +3.84%",
        "To come: FOMC on 14 Jun 18:00 UTC, earnings on 15 Jun 00:00 UTC.",
        "garch · SYM01: ValueError: too few bars",
        "2025-01-02 and 2 more",
        "900 predictions of each model, made on 90 days from 3 January 2022 to 1 June 2025; 12 more were left out",
        "kronos_event: the scores begin on 3 January 2022, before the end of its training data",
        "timesfm: the end of its training data is undisclosed",
        "0.640 0.600 … 0.700",
        "too few days",
    ):
        assert told in text, told


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=40))
def test_what_comes_from_data_is_escaped(name):
    """Whatever the names and the sentences, the page has the same elements."""
    plain, odd = (Elements(render(_named(text))).tags for text in ("plain", name))
    assert [tag for tag, _ in odd] == [tag for tag, _ in plain]
    assert [sorted(attributes) for _, attributes in odd] == [sorted(attributes) for _, attributes in plain]


def test_hostile_names_do_no_harm():
    page = render(_named(HOSTILE))
    assert "<script" not in page
    assert "{{7*7}}" in page, "what comes from data is no template"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;]]&gt;" in page
    assert "[bold red]" in _printed(_named(HOSTILE))


def _named(name: str) -> Content:
    """Return a small content in which all that comes from data has a name."""
    one = outlook(name, note=name)
    renamed = [replace(e, model=f"{name}{i}") for i, e in enumerate(one.envelopes)]
    models = tuple(e.model for e in renamed)
    one = replace(
        one,
        envelopes=tuple(renamed),
        asset_class=name,
        events=(Event(f"event {name}", START + timedelta(days=2), 3, {name: 1.0}),),
    )
    failures = (Failure(name, "data", name, name),)
    return replace(
        made_up(1),
        file=name,
        served=models[-1],
        outlooks=(one,),
        boards=(board(name, models, (name,)), Board(name, None, name)),
        run=Run(name, START, START, 2, 1, failures, ((name, Finding(name, name, 1, name)),)),
        weights={name: Weights(licence=name, trained_until=name)},
        troubles=(name,),
    )


def _printed(content: Content, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, emoji=False)
    print_report(content, console)
    return console.file.getvalue()


def test_the_terminal_tells_the_same_in_short():
    text = _printed(made_up(40))
    for told in (
        "… and 10 more symbols; the page shows all",
        "SYM00",
        "0.62",
        "FOMC, earnings",
        "Equal weights: too little has been scored yet.",
        "[.600, .700]",
        "garch · SYM01: ValueError: too few bars",
        "2025-01-02 and 2 more",
        "weights of kronos_event: Apache-2.0, trained until 2024-06-30",
    ):
        assert told in text, told
    assert max(map(len, text.splitlines()[:35])) <= 120


def test_empty_parts_say_why():
    empty = Board("Backtest", None, "No backtest has been finished. To make one: kronosfw backtest kronosfw.yaml")
    content = replace(made_up(), run=None, outlooks=(), boards=(empty,), weights={})
    for shown in (render(content), _printed(content)):
        assert "kronosfw backtest kronosfw.yaml" in shown
        assert "kronosfw run kronosfw.yaml" in shown


def test_strange_contexts_are_left_out():
    """Plugins put into an event_context what they like."""
    odd = {"note": 5, "missing": "all", "weights": [1], "contributions": {"a": 1}, "calibration": {"low": "x"}}
    odd |= {"confidence": 3, "moved": {"schedule": "up", "surprise": 1, "macro": [1.0, "x", 2.0]}}
    one = outlook("A")
    strange = replace(one, envelopes=(*one.envelopes[:-2], envelope("ensemble", one.close, 0.02, 10, **odd)))
    assert words.notes(strange) == ["5"]
    assert words.confidence(strange.served) is None
    Elements(render(made_up(1, outlooks=(strange,), served="ensemble")))


def test_notes_name_the_steps_they_hold_for():
    one = outlook("A", horizon=3)
    contexts = ({"note": "alone"}, {"note": "together"}, {"note": "together"})
    served = replace(one.served, contexts=contexts)
    assert words.notes(replace(one, envelopes=(served,))) == ["Step 1: alone", "Steps 2–3: together"]


@pytest.mark.parametrize(
    "change", [{"history": ()}, {"since": (), "events": ()}, {"close": 104.25, "history": ((START, 104.25),)}]
)
def test_charts_do_without(change):
    Elements(render(made_up(1, outlooks=(replace(outlook("A"), **change),))))


def test_a_flat_market_has_a_chart():
    flat = Envelope("random_walk", (0.1, 0.5, 0.9), ((5.0, 5.0, 5.0),), ({},))
    one = Outlook("FLAT", "crypto", 5.0, (START,), (flat,), history=((START, 5.0), (START, 5.0)))
    page = render(made_up(1, outlooks=(one,), served="random_walk"))
    Elements(page)
    assert not re.search(r'"M?-?(nan|inf)', page)


def test_json_holds_all_and_no_nan():
    plain = json.loads(json.dumps(as_json(made_up(2)), allow_nan=False))
    assert plain["outlooks"][0]["symbol"] == "SYM00"
    assert plain["run"]["cutoff"] == START.isoformat()
    assert plain["weights"]["timesfm"]["trained_until"] == "undisclosed"


SIMULATED = {
    "feed": "{type: simulated, end: 2023-12-31}",
    "universe": "{BTCUSDT: {asset_class: crypto}, SPY: {asset_class: equity}}",
    "forecasters": "[{type: random_walk}, {type: drift}]",
    "horizon": "12",
}
EARLY, LATE = datetime(2023, 6, 1, tzinfo=UTC), datetime(2023, 6, 20, tzinfo=UTC)


@pytest.fixture
def forecast(configure, plugins):
    """A configuration whose forecasts of two cutoffs are in the store, the first one scored."""
    config = configure(**SIMULATED)
    for cutoff in (EARLY, LATE):
        run(config, plugins, as_of=cutoff)
    score(config, as_of=LATE, progress=silent)
    return config


def test_what_a_run_made_is_gathered(forecast):
    content = gather(forecast, file="config.yaml", progress=silent)
    assert content.run.cutoff == LATE
    assert [o.symbol for o in content.outlooks] == ["BTCUSDT", "SPY"]
    one = content.outlooks[0]
    assert [e.model for e in one.envelopes] == ["random_walk", "drift", "ensemble"]
    with Store(forecast.store.get_secret_value()) as store:
        rows = store.predictions(symbol="BTCUSDT", as_of=LATE, model_name="ensemble")
    assert one.served.path(0.1) == [row["p10"] for row in rows]
    assert len(one.history) == 120
    assert one.history[-1] == (datetime(2023, 6, 19, tzinfo=UTC), one.close)
    assert [step for step, _ in one.since] == list(range(1, 13))
    assert one.targets[0] == LATE
    live, backtest = content.boards
    assert {line.model for line in live.scores.lines} == {"random_walk", "drift", "ensemble"}
    assert live.first == live.last == EARLY.date()
    assert "kronosfw backtest config.yaml" in backtest.empty
    assert content.troubles == ()
    Elements(render(content))


def test_a_run_that_changed_nothing_is_still_found(forecast, plugins):
    """Rows that a run would not change keep the id of the run that wrote them."""
    again = run(forecast.model_copy(update={"seed": 5}), plugins, as_of=LATE, symbols=["SPY"])
    content = gather(forecast, file="config.yaml", progress=silent)
    assert content.run.id == again.run_id
    assert [o.symbol for o in content.outlooks] == ["SPY"]


def test_nothing_later_than_the_moment_is_shown(forecast):
    then = datetime(2023, 6, 5, tzinfo=UTC)
    content = gather(forecast, file="config.yaml", as_of=then, progress=silent)
    assert content.run.cutoff == EARLY
    for one in content.outlooks:
        assert all(when < EARLY for when, _ in one.history)
        assert all(one.targets[step - 1] < then for step, _ in one.since)
        assert one.since
    assert {line.days for line in content.boards[0].scores.lines} == {1}


def test_events_are_shown_as_they_were_known(forecast):
    around = look_around(forecast, ["SPY"], as_moment(LATE), as_moment(LATE), silent)
    days = moment("2023-06-15") + np.arange(10) * np.timedelta64(1, "D")
    facts = [
        Fact("cpi", moment("2023-06-22T12:30"), moment("2023-01-01"), values={"importance": 3.0}, event="a"),
        Fact("cpi", moment("2023-06-22T12:30"), moment("2023-06-22T12:30"), values={"actual": 9.9}, event="a"),
        Fact("fomc", moment("2023-06-21T18:00"), moment("2023-01-01"), event="b"),
        Fact("fomc", moment("2023-06-23T18:00"), moment("2023-06-19"), event="b"),
        Fact("war", moment("2023-06-22T00:00"), moment("2023-06-21")),
        Fact("pmi", moment("2023-06-22T00:00"), moment("2023-01-01"), values={"importance": 1.0}),
        Fact("earnings", moment("2023-06-22T00:00"), moment("2023-01-01"), symbols=("AAPL",)),
        Fact("nfp", moment("2023-06-16T12:30"), moment("2023-01-01"), values={"forecast": 1.0}),
        Fact("old", moment("2023-01-16T12:30"), moment("2023-01-01")),
    ]
    events = replace(around, facts=Ledger(facts)).events("SPY", days)
    assert [(e.name, e.bar, dict(e.figures)) for e in events] == [
        ("nfp", -3, {"forecast": 1.0}),
        ("cpi", 3, {}),
        ("fomc", 4, {}),
    ]


def test_the_simulated_calendar_is_drawn(forecast):
    content = gather(forecast, file="config.yaml", progress=silent)
    events = content.outlooks[0].events
    assert events
    assert all("actual" not in e.figures for e in events if e.at > LATE)
    assert any("actual" in e.figures for e in events if e.at <= LATE)


def test_a_feed_that_is_down_leaves_a_report(forecast, configure):
    broken = configure(**{**SIMULATED, "feed": "{type: csv, path: nowhere.csv}"})
    content = gather(broken, file="config.yaml", progress=silent)
    assert content.outlooks[0].history == ()
    assert any("charts show no history" in trouble for trouble in content.troubles)
    assert "charts show no history" in render(content)


def test_a_backtest_has_a_board_of_its_own(forecast):
    identity = "0123456789abcdef"
    score(forecast, as_of=LATE, progress=silent)

    def rehearsed(rows):
        stamps = ("run_id", "created_at", "scored_at")
        version = {"model_version": lambda row: f"{row['model_version']}~{identity[:8]}"}
        return [{k: version.get(k, lambda row, k=k: row[k])(row) for k in row if k not in stamps} for row in rows]

    with Store(forecast.store.get_secret_value()) as store:
        live = store.runs()[0]
        made = {**live, "id": identity, "manifest": {**live["manifest"], "backtest": {"start": "2023-06-01"}}}
        scores = rehearsed(store.evaluations(as_of=EARLY))
        store.record(made, rehearsed(store.predictions(as_of=EARLY)), evaluations=scores)
    for wanted in ("latest", identity, "01234567"):
        content = gather(forecast, file="config.yaml", backtest=wanted, progress=silent)
        assert content.run.cutoff == LATE, "a backtest is no run"
        assert [b.title for b in content.boards] == ["Forecasts made so far", "Backtest 01234567"]
        assert all(b.scores for b in content.boards)
    assert len(gather(forecast, file="config.yaml", backtest="none", progress=silent).boards) == 1
    with pytest.raises(ConfigError, match=f"called 'abc'; there are: {identity}"):
        gather(forecast, file="config.yaml", backtest="abc", progress=silent)


def test_a_model_with_few_scores_is_not_compared(forecast, configure, plugins):
    """One that is new would leave nothing of what the others have been scored on."""
    more = configure(**{**SIMULATED, "forecasters": "[{type: random_walk}, {type: drift}, {type: bootstrap}]"})
    run(more, plugins, as_of=datetime(2023, 5, 1, tzinfo=UTC), symbols=["SPY"])
    score(more, as_of=LATE, progress=silent)
    live = gather(more, file="config.yaml", as_of=LATE, progress=silent).boards[0]
    assert live.few == ("bootstrap",)
    assert {line.model for line in live.scores.lines} == {"random_walk", "drift", "ensemble"}
    assert "Not compared, since scored less than half as often: bootstrap." in words.scored(live)


def test_an_empty_store_is_told(configure):
    config = configure(**SIMULATED)
    with pytest.raises(DataError, match=r"nothing to report.*make one with `kronosfw run config\.yaml`"):
        gather(config, file="config.yaml", progress=silent)
    with pytest.raises(ConfigError, match="NOPE: not in the universe"):
        gather(config, file="config.yaml", symbols=["NOPE"], progress=silent)


def test_the_command_writes_prints_or_gives_json(forecast, tmp_path):
    file = str(tmp_path / "config.yaml")

    def call(*options: str):
        result = CliRunner().invoke(command, [file, *options], standalone_mode=False)
        assert result.exception is None, result.exception
        return result

    assert "report.html, " in call().stdout
    page = (tmp_path / "report.html").read_text("utf-8")
    Elements(page)
    assert "BTCUSDT" in page
    text = call("--text", "--symbols", "SPY").stdout
    assert "SPY" in text
    assert "BTCUSDT" not in text
    assert json.loads(call("--json", "--out", str(tmp_path / "other.html")).stdout)["served"] == "ensemble"
    assert (tmp_path / "other.html").exists()


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    assert write(_named("half a pair: \ud800"), path) == path.stat().st_size
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory; choose another place"):
        write(made_up(1), tmp_path / "nowhere" / "report.html")

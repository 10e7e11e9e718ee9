"""The built-in encoders: each channel by hand, nothing later in any row, and the real calendar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw import builtin, yamlfile
from kronosfw.builtin.encoders import Leaders, Macro20
from kronosfw.builtin.feeds import CsvFeed
from kronosfw.calendars import calendar
from kronosfw.encoding import build_encoders
from kronosfw.errors import ConfigError
from kronosfw.loading import model
from kronosfw.mistakes import validate
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins
from kronosfw.testing import EncoderContract
from kronosfw.testing.market import SmallMarket, cutoff_at, random_bars
from kronosfw.types import Bars, Fact, Finding, Span, moment
from kronosfw.windows import Cutter, encoded, known
from tests.windows_for_tests import windows_of

DATA = Path(__file__).parents[1] / "../shared/data"
KINDS = ("cpi", "nfp", "fomc", "gdp", "pce", "rate_decision", "earnings")
DAY = np.timedelta64(1, "D")
NEW_YORK = calendar("XNYS").grid(moment("2024-01-02"), moment("2024-12-31T23:00"), "1d")
EVERY_DAY = calendar("24/7").grid(moment("2024-01-01"), moment("2024-12-31"), "1d")
LEADERS = {
    name: random_bars(name, 700, market=market)
    for name, market in {"BTCUSDT": "24/7", "SPY": "XNYS", "DXY": "24/5", "VIX": "XNYS"}.items()
}
LONG_AGO = moment("2020-01-01")


class TestMacro20(EncoderContract):
    kinds = KINDS

    @pytest.fixture
    def options(self):
        return Macro20(vix_window=20)


class TestLeaders(EncoderContract):
    @pytest.fixture
    def options(self):
        return Leaders(symbols=("BTCUSDT", "VIX"), bars=3, prefix="own_")


def event(kind: str, at: str, known_at: object = LONG_AGO, **values: float) -> Fact:
    return Fact(kind, moment(at), moment(known_at), values=values, event=f"{kind} {at}")


def channels(facts=(), times=NEW_YORK, *, cutoff=None, leaders=LEADERS, options=None, symbol="SPY"):
    """Encode as of a cutoff, the last bar's end unless given, and return the channels by name."""
    cutoff = times.available_at[-1] if cutoff is None else moment(cutoff)
    encoder = (options or Macro20()).build()
    told = known(facts, symbol, cutoff)
    rows = encoded([encoder], told, leaders, times, np.minimum(times.available_at, cutoff))
    return dict(zip(encoder.names, rows.T, strict=True))


def on(channel, day, times=NEW_YORK):
    """Return a channel's value on a session."""
    return channel[np.searchsorted(times.session, np.datetime64(day))]


def days(channel, times=NEW_YORK):
    """Return the sessions on which a channel is known and not 0."""
    return times.session[np.isfinite(channel) & (channel != 0)].astype(str).tolist()


def test_the_channels_are_these():
    encoder = Macro20().build()
    assert encoder.names == (
        "is_fomc", "is_cpi", "is_nfp", "is_gdp", "is_pce", "cpi_surprise_z", "fomc_hawkish_score", "nfp_surprise_z",
        "is_earnings", "is_rate_decision", "days_to_fomc_sin", "days_to_fomc_cos", "days_to_cpi_sin",
        "days_to_cpi_cos", "btc_log_return", "spy_log_return", "dxy_log_return", "vix_level_z", "next_bar_event",
        "leaders_closed",
    )  # fmt: skip
    of_group = {group: [n for n, g in zip(encoder.names, encoder.groups, strict=True) if g == group] for group in
                ("surprise", "leaders", "volatility")}  # fmt: skip
    assert of_group == {
        "surprise": ["cpi_surprise_z", "fomc_hawkish_score", "nfp_surprise_z"],
        "leaders": ["btc_log_return", "spy_log_return", "dxy_log_return", "leaders_closed"],
        "volatility": ["vix_level_z"],
    }
    not_ahead = {name for name, ahead in zip(encoder.names, encoder.known_ahead, strict=True) if not ahead}
    assert not_ahead == {name for names in of_group.values() for name in names}


@pytest.mark.parametrize("kind", ["fomc", "cpi", "nfp", "gdp", "pce", "rate_decision"])
def test_a_flag_marks_the_bar_of_the_event_alone(kind):
    found = channels([event(kind, "2024-03-12T12:30")])
    assert days(found[f"is_{kind}"]) == ["2024-03-12"]
    others = [name for name in found if name.startswith("is_") and name != f"is_{kind}"]
    assert not any(days(found[name]) for name in others)
    assert days(found["next_bar_event"]) == ([] if kind == "rate_decision" else ["2024-03-11"])


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ("2024-03-16T12:00", "2024-03-18"),  # a Saturday
        ("2024-03-12T20:00", "2024-03-13"),  # the close itself
        ("2024-03-12T19:59:59.999999", "2024-03-12"),
        ("2024-11-28T15:00", "2024-11-29"),  # Thanksgiving
        ("2024-11-29T18:00", "2024-12-02"),  # an early close
    ],
)
def test_an_event_while_the_market_is_shut_bears_on_the_next_bar(at, session):
    assert days(channels([event("cpi", at)])["is_cpi"]) == [session]


def test_earnings_are_those_of_the_symbol():
    at, of = moment("2024-05-02T20:30"), {"symbols": ("AAPL",), "event": "AAPL-Q2"}
    facts = [Fact("earnings", at, LONG_AGO, **of), Fact("earnings", moment("2024-06-04T12:00"), LONG_AGO)]
    own, other = (channels(facts, symbol=symbol) for symbol in ("AAPL", "MSFT"))
    assert days(own["is_earnings"]) == ["2024-05-03"]
    assert days(own["next_bar_event"]) == ["2024-05-02"]
    assert not days(other["is_earnings"])
    assert not days(other["next_bar_event"])


def test_high_impact_is_an_option():
    facts = [event("cpi", "2024-03-12T12:30"), event("opec", "2024-04-03T12:00")]
    assert days(channels(facts, options=Macro20(high_impact=("opec",)))["next_bar_event"]) == ["2024-04-02"]


def test_an_event_that_moves_leaves_its_old_bar():
    first = event("cpi", "2024-03-12T12:30", "2024-01-02")
    moved = replace(first, scheduled_at=moment("2024-03-14T12:30"), known_at=moment("2024-03-05T12:00"))
    facts = [moved, first]
    found = channels(facts)
    assert days(found["is_cpi"]) == ["2024-03-14"]
    assert days(found["next_bar_event"]) == ["2024-03-13"]
    assert days(channels(facts, cutoff="2024-03-04T21:00")["is_cpi"]) == ["2024-03-12"], "as it was known then"
    assert on(days_in(found, "cpi"), "2024-03-04") == pytest.approx(8 - 8.5 / 24)
    assert on(days_in(found, "cpi"), "2024-03-05") == pytest.approx(9 - 8.5 / 24)


def days_in(found, kind):
    """Return the days that sine and cosine stand for."""
    phase = np.arctan2(found[f"days_to_{kind}_sin"], found[f"days_to_{kind}_cos"])
    return phase * {"fomc": 45, "cpi": 30}[kind] / np.pi


def test_days_to_the_next_event():
    facts = [
        event("fomc", "2024-03-20T18:00", "2024-02-01"),
        event("fomc", "2024-05-01T18:00", "2024-02-01"),
        event("cpi", "2024-03-12T20:00"),
    ]
    found = channels(facts)
    fomc, cpi = (days_in(found, kind) for kind in ("fomc", "cpi"))
    assert np.isnan(on(fomc, "2024-01-31")), "not announced yet"
    assert on(fomc, "2024-03-19") == pytest.approx(22 / 24, rel=1e-5)
    assert on(fomc, "2024-03-20") == pytest.approx(41 + 22 / 24, rel=1e-5), "the next meeting but one"
    assert on(fomc, "2024-02-01") == pytest.approx(45), "48 days off, like all beyond 45"
    assert np.isnan(on(fomc, "2024-05-01"))
    assert on(cpi, "2024-03-12") == 0, "at the close itself"
    assert on(cpi, "2024-01-10") == pytest.approx(30)


def test_nothing_is_known_before_the_calendar_speaks():
    found = channels([event("cpi", "2024-06-12T12:30", "2024-03-05T12:00")])
    for name in ("is_cpi", "is_fomc", "next_bar_event"):
        assert np.isnan(on(found[name], "2024-03-04"))
        assert on(found[name], "2024-03-05") == 0
    assert np.isnan(channels()["is_cpi"]).all()


MISSES = [0.1, -0.2, 0.3, 0.0, 0.2, -0.1, 0.1, -0.3, 0.4, 0.1]


def monthly(misses, kind="cpi"):
    """Return a release on the 12th of each month from 2023-07 on, each with its consensus a day before."""
    facts = []
    for i, miss in enumerate(misses):
        at = moment(f"{np.datetime64('2023-07') + i}-12T13:00")
        plan = Fact(kind, at, LONG_AGO, event=f"{kind} {i}")
        facts += [
            plan,
            replace(plan, known_at=at - DAY, values={"forecast": 3.0}),
            replace(plan, known_at=at, values={"actual": 3.0 + miss}),
        ]
    return facts


@pytest.mark.parametrize("kind", ["cpi", "nfp"])
def test_a_surprise_is_measured_by_those_before_it(kind):
    """The releases of 2024 are the seventh to the tenth; on 12 March and 12 April the market was open."""
    z = channels(monthly(MISSES, kind))[f"{kind}_surprise_z"]
    assert np.isnan(on(z, "2024-01-12")), "six before it are fewer than 8"
    assert np.isnan(on(z, "2024-02-12")), "seven are"
    assert on(z, "2024-03-12") == pytest.approx(0.4 / np.std(MISSES[:8], ddof=1), rel=1e-6)
    assert on(z, "2024-04-12") == pytest.approx(0.1 / np.std(MISSES[:9], ddof=1), rel=1e-6)
    assert days(z) == ["2024-03-12", "2024-04-12"]
    last_three = channels(monthly(MISSES, kind), options=Macro20(surprises=3, fewest=2))[f"{kind}_surprise_z"]
    assert on(last_three, "2024-03-12") == pytest.approx(0.4 / np.std(MISSES[5:8], ddof=1), rel=1e-6)
    assert not days(channels(monthly(MISSES, kind))["fomc_hawkish_score"])


def test_a_surprise_is_clipped():
    misses = [*MISSES[:8], 40.0, -30.0]
    z = channels(monthly(misses))["cpi_surprise_z"]
    assert (on(z, "2024-03-12"), on(z, "2024-04-12")) == (3, pytest.approx(-30 / np.std(misses[:9], ddof=1)))
    assert on(channels(monthly(misses), options=Macro20(clip=2))["cpi_surprise_z"], "2024-03-12") == 2


def test_without_a_spread_or_a_forecast_a_surprise_is_unknown():
    z = channels(monthly([0.1] * 8 + [0.3]))["cpi_surprise_z"]
    assert np.isnan(on(z, "2024-03-12"))
    assert on(z, "2024-03-13") == 0
    facts = [f for f in monthly(MISSES) if not (f.event == "cpi 8" and "forecast" in f.values)]
    z = channels(facts)["cpi_surprise_z"]
    assert np.isnan(on(z, "2024-03-12"))
    spread = np.std(MISSES[:8], ddof=1)
    assert on(z, "2024-04-12") == pytest.approx(0.1 / spread, rel=1e-6), "what nobody forecast is no surprise"


def test_a_revision_is_no_surprise_and_the_last_consensus_counts():
    facts = monthly(MISSES)
    release = next(f for f in facts if f.event == "cpi 8" and "actual" in f.values)
    at = release.scheduled_at
    facts += [
        replace(release, known_at=at + 10 * DAY, values={"actual": 9.0, "forecast": 1.0}),
        replace(release, known_at=at - np.timedelta64(1, "h"), values={"forecast": 3.2}),
    ]
    z = channels(facts)["cpi_surprise_z"]
    spread = np.std(MISSES[:8], ddof=1)
    assert on(z, "2024-03-12") == pytest.approx(0.2 / spread, rel=1e-6)
    assert days(z) == ["2024-03-12", "2024-04-12"]
    spread = np.std([*MISSES[:8], 0.2], ddof=1)
    assert on(z, "2024-04-12") == pytest.approx(0.1 / spread, rel=1e-6)


def test_a_surprise_falls_on_the_bar_in_which_the_figure_became_known():
    facts = [replace(f, known_at=f.known_at + DAY) if "actual" in f.values else f for f in monthly(MISSES)]
    found = channels(facts)
    assert days(found["is_cpi"])[:3] == ["2024-01-12", "2024-02-12", "2024-03-12"]
    assert days(found["cpi_surprise_z"]) == ["2024-03-13", "2024-04-15"]
    assert on(channels(facts, cutoff="2024-03-13T12:59")["cpi_surprise_z"], "2024-03-13") == 0


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ({"actual": 5.0, "previous": 5.5}, -1.0),
        ({"actual": 5.25, "previous": 5.5}, -0.5),
        ({"actual": 5.5, "previous": 5.5}, 0.0),
        ({"actual": 6.5, "previous": 5.5}, 1.0),
        ({"actual": 5.75, "previous": 5.5}, 0.5),
        ({"actual": 5.75, "previous": 5.5, "score": -0.3}, -0.3),
        ({"actual": 5.5, "score": 7.0}, 1.0),
        ({"score": -2.0}, -1.0),
        ({"actual": 5.5}, np.nan),
    ],
)
def test_a_change_of_the_rate(values, score):
    plan = event("fomc", "2024-03-20T18:00")
    told = channels([plan, replace(plan, known_at=plan.scheduled_at, values=values)])["fomc_hawkish_score"]
    assert on(told, "2024-03-20") == pytest.approx(score, nan_ok=True)
    assert on(told, "2024-03-21") == 0
    assert np.isnan(on(told, "2024-03-19")), "no meeting's outcome was known yet"


def test_a_score_that_comes_later_in_the_bar_counts():
    plan = event("fomc", "2024-03-20T18:00")
    rate = replace(plan, known_at=plan.scheduled_at, values={"actual": 5.5, "previous": 5.25})
    score = replace(plan, known_at=moment("2024-03-20T18:30"), values={"score": -0.2})
    assert on(channels([plan, rate, score])["fomc_hawkish_score"], "2024-03-20") == np.float32(-0.2)


def close_return(symbol, day, span=1):
    bars = LEADERS[symbol]
    i = int(np.searchsorted(bars.times.session, np.datetime64(day)))
    assert bars.times.session[i] == np.datetime64(day)
    return np.log(bars.close[i] / bars.close[i - span])


def test_a_leader_is_news_only_after_its_own_bar():
    """A bar of Bitcoin opens and ends at midnight; the S&P closes at 21:00 UTC, at 18:00 after Thanksgiving."""
    found = channels(times=EVERY_DAY)
    spy = found["spy_log_return"]
    for day in ("2024-11-27", "2024-11-29", "2024-12-02"):
        assert on(spy, day, EVERY_DAY) == np.float32(close_return("SPY", day))
    for day in ("2024-11-28", "2024-11-30", "2024-12-01"):
        assert np.isnan(on(spy, day, EVERY_DAY)), "shut: nothing is carried forward"
    btc = found["btc_log_return"]
    assert on(btc, "2024-11-30", EVERY_DAY) == np.float32(close_return("BTCUSDT", "2024-11-29")), "strictly before"
    closed = found["leaders_closed"]
    sunday = on(closed, "2024-12-01", EVERY_DAY)
    assert [on(closed, "2024-11-27", EVERY_DAY), on(closed, "2024-11-28", EVERY_DAY), sunday] == [0, 0.5, 0.75]


def test_an_hour_sees_a_leader_from_its_close_on():
    hours = calendar("24/7").grid(moment("2024-11-26"), moment("2024-12-03"), "1h")
    spy = channels(times=hours)["spy_log_return"]
    told = hours.time[np.isfinite(spy)].astype("datetime64[h]").astype(str).tolist()
    assert told == ["2024-11-26T21", "2024-11-27T21", "2024-11-29T18", "2024-12-02T21"]


def test_the_day_of_a_market_sees_what_others_did_by_its_close():
    found = channels()
    assert on(found["btc_log_return"], "2024-12-02") == np.float32(close_return("BTCUSDT", "2024-12-01"))
    assert on(found["spy_log_return"], "2024-12-02") == np.float32(close_return("SPY", "2024-12-02"))
    monday = channels(cutoff="2024-12-02T12:00")
    assert on(monday["btc_log_return"], "2024-12-02") == np.float32(close_return("BTCUSDT", "2024-12-01"))
    assert np.isnan(on(monday["spy_log_return"], "2024-12-02"))


def test_the_level_of_the_vix():
    z, vix = channels(times=EVERY_DAY)["vix_level_z"], LEADERS["VIX"]
    i = int(np.searchsorted(vix.times.session, np.datetime64("2024-11-27")))
    last = vix.close[i - 59 : i + 1]
    expected = (last[-1] - last.mean()) / last.std(ddof=1)
    assert on(z, "2024-11-27", EVERY_DAY) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(on(z, "2024-11-28", EVERY_DAY))
    short = {**LEADERS, "VIX": vix[i - 58 :]}
    z = channels(times=EVERY_DAY, leaders=short)["vix_level_z"]
    assert np.isnan(on(z, "2024-11-27", EVERY_DAY)), "59 bars are not 60"
    assert np.isfinite(on(z, "2024-11-29", EVERY_DAY))


def test_a_leader_left_out_is_unknown_and_not_counted():
    options = Macro20(btc=None, vix=None, spy="SPY")
    assert options.build().leaders == ("SPY", "DXY")
    found = channels(times=EVERY_DAY, options=options)
    assert np.isnan(found["btc_log_return"]).all()
    assert np.isnan(found["vix_level_z"]).all()
    assert on(found["leaders_closed"], "2024-11-28", EVERY_DAY) == 0.5
    lost = channels(times=EVERY_DAY, leaders={"DXY": LEADERS["DXY"]}, options=options)
    assert on(lost["leaders_closed"], "2024-11-27", EVERY_DAY) == 0.5
    none = Macro20(btc=None, spy=None, dxy=None, vix=None)
    assert np.isnan(channels(options=none)["leaders_closed"]).all()


def test_prices_that_have_no_logarithm_are_unknown():
    spy = LEADERS["SPY"]
    values = np.where(np.arange(len(spy))[:, None] == 300, -1.0, spy.values)
    found = channels(leaders={**LEADERS, "SPY": Bars("SPY", spy.times, values, spy.columns)})["spy_log_return"]
    days_off = spy.times.session[300:302].astype(str)
    assert np.isnan([on(found, day) for day in days_off]).all()
    assert np.isfinite(on(found, str(spy.times.session[302])))


def test_leaders_over_several_bars():
    options = Leaders(symbols=("SPY", "BRK.B"), bars=5)
    found = channels(times=EVERY_DAY, options=options, leaders={"SPY": LEADERS["SPY"]})
    assert list(found) == ["spy_log_return_5", "brk_b_log_return_5", "closed_share_5"]
    assert on(found["spy_log_return_5"], "2024-11-27", EVERY_DAY) == np.float32(
        close_return("SPY", "2024-11-27", 5)
    )
    assert np.isnan(found["brk_b_log_return_5"]).all()
    assert [on(found["closed_share_5"], f"2024-11-{day}", EVERY_DAY) for day in (27, 28)] == [0.5, 1]
    assert Leaders(symbols=("SPY",), prefix="us_").build().names == ("us_spy_log_return", "us_closed_share")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surprises": 5, "fewest": 6}, "`fewest` \\(6\\) is more than `surprises` \\(5\\)"),
        ({"clip": float("inf")}, "finite"),
    ],
)
def test_options_of_macro20_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Macro20(**options)


def test_a_leader_stands_there_once():
    with pytest.raises(ValueError, match="a symbol stands there twice"):
        Leaders(symbols=("SPY", "SPY"))


MARKETS = {name: SmallMarket.make(n_symbols=1, n=300, market=name, kinds=KINDS) for name in ("24/7", "XNYS")}


@settings(max_examples=40)
@given(
    market=st.sampled_from(list(MARKETS)),
    bar=st.integers(100, 280),
    shift=st.integers(0, 5),
    hours=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_no_row_depends_on_what_is_known_only_later(market, bar, shift, hours, seed):
    """Facts and leaders not known at some moment are changed or removed: rows as of then stay, bit for bit."""
    before = MARKETS[market]
    times = before.bars["S0"].times
    after = before.with_another_future(cutoff_at(times, bar) + np.timedelta64(hours, "h"), seed)
    ends = times.available_at
    known_at = np.append(np.repeat(ends[0], shift), ends[: len(ends) - shift])
    encoders = [Macro20(vix_window=20, fewest=2).build(), Leaders(symbols=("DXY",), prefix="x").build()]
    rows, others = (
        encoded(encoders, known(m.facts, "S0", ends[-1]), m.leaders, times, known_at) for m in (before, after)
    )
    same = known_at <= cutoff_at(times, bar)
    assert same.sum() == bar + 1 + shift
    assert rows[same].tobytes() == others[same].tobytes()


def test_a_bar_that_the_feed_lacks_changes_no_other_row():
    market = SmallMarket.make(n_symbols=1, n=300, market="XNYS", kinds=KINDS)
    bars = market.bars["S0"]
    gap = np.delete(np.arange(len(bars)), [180, 181, 230])
    holed = Bars("S0", bars.times[gap], bars.values[gap], bars.columns)
    cutoff = cutoff_at(bars.times, 250)
    cutter = Cutter("1d", 120, 5, 0, [Macro20(vix_window=20).build()], market.facts, market.leaders)
    whole, part = (cutter.window(b, cutoff, asset_class="equity", market="XNYS") for b in (bars, holed))
    rows = dict(zip(whole.bars.times.time, whole.covariates.values[:120], strict=True))
    shared = [i for i, time in enumerate(part.bars.times.time) if time in rows]
    assert len(shared) == 117
    for i in shared:
        assert part.covariates.values[i].tobytes() == rows[part.bars.times.time[i]].tobytes()
    assert part.covariates[120:].values.tobytes() == whole.covariates[120:].values.tobytes()


def test_the_order_of_facts_plays_no_part():
    facts = MARKETS["XNYS"].facts
    found, other = (channels(part) for part in (facts, facts[::-1]))
    assert all(found[name].tobytes() == other[name].tobytes() for name in found)


def configuration(tmp_path, encoders, universe="BTCUSDT, SPY, DXY, VIX"):
    classes = {"BTCUSDT": "crypto", "DXY": "forex"}
    symbols = ", ".join(
        f"{s}: {{asset_class: {classes.get(s, 'equity')}, forecast: {str(s not in ('DXY', 'VIX')).lower()}}}"
        for s in universe.split(", ")
    )
    text = (
        f"feed: {{type: simulated}}\nuniverse: {{{symbols}}}\nencoders: {encoders}\ncontext: 300\n"
        "forecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    plugins = Plugins()
    plugins.add("builtin", builtin)
    return validate(model(plugins), yamlfile.parse(text, str(tmp_path / "config.yaml"))), plugins


def test_a_run_with_both_encoders(tmp_path):
    """Leaders reach back before the first row, whatever their calendar."""
    config, plugins = configuration(
        tmp_path, "[{type: macro20}, {type: leaders, symbols: [SPY, VIX], prefix: us_}, "
        "{type: leaders, symbols: [SPY], bars: 5}]"
    )  # fmt: skip
    report = run(config, plugins)
    assert not report.failures
    for symbol in ("BTCUSDT", "SPY"):
        covariates = windows_of(config, plugins)[symbol].covariates
        assert covariates.names[20:] == (
            "us_spy_log_return", "us_vix_log_return", "us_closed_share", "spy_log_return_5", "closed_share_5"
        )  # fmt: skip
        column = covariates.names.index
        for name in ("btc_log_return", "spy_log_return", "vix_level_z", "spy_log_return_5"):
            assert not covariates.mask[:7, column(name)].all(), f"{name} is unknown in the first rows of {symbol}"
        assert not covariates.mask[:, column("is_cpi")].any()
        assert covariates.mask[300:, column("vix_level_z")].all()


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ("[{type: macro20}, {type: leaders, symbols: [SPY]}]", "macro20 and leaders both give .* spy_log_return"),
        ("[{type: leaders, symbols: [SPY, spy]}]", "the channel spy_log_return"),
        ("[{type: leaders, symbols: [GLD]}]", "the encoders need GLD: add it to the universe"),
    ],
)
def test_encoders_that_do_not_go_together_are_refused(tmp_path, encoders, message):
    config, _ = configuration(tmp_path, encoders)
    with pytest.raises(ConfigError, match=message):
        build_encoders(config)


@pytest.fixture(scope="module")
def facts():
    feed = CsvFeed(calendar=DATA / "calendar/high_impact_events.csv").build()
    return [fact for fact in feed.facts([], Span(moment("2100-01-01"))) if not isinstance(fact, Finding)]


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the real bars and calendars are not here")
class TestRealCalendar:
    def test_releases_of_a_year(self, facts):
        found = channels(facts)
        assert days(found["is_fomc"]) == [
            "2024-01-31", "2024-03-20", "2024-05-01", "2024-06-12", "2024-07-31", "2024-09-18", "2024-11-07",
            "2024-12-18",
        ]  # fmt: skip
        assert len(days(found["is_cpi"])) == len(days(found["is_nfp"])) == 12
        assert days(found["fomc_hawkish_score"]) == ["2024-09-18", "2024-11-07", "2024-12-18"]
        assert on(found["fomc_hawkish_score"], "2024-09-18") == -1, "half a point"
        assert on(found["fomc_hawkish_score"], "2024-11-07") == -0.5
        assert set(days(found["cpi_surprise_z"])) < set(days(found["is_cpi"]))
        assert 1 < len(days(found["nfp_surprise_z"])) <= 12
        assert on(days_in(found, "cpi"), "2024-11-12") == pytest.approx(16.5 / 24, rel=1e-4)

    def test_a_figure_is_in_no_row_before_its_release(self, facts):
        """13 November 2024, 13:30 UTC."""
        release = moment("2024-11-13T13:30")
        shouting = [
            replace(f, values={**f.values, "actual": 99.0}) if "actual" in f.values and f.known_at >= release else f
            for f in facts
        ]
        found, other = (channels(part) for part in (facts, shouting))
        before = NEW_YORK.session < np.datetime64("2024-11-13")
        assert all(found[name][before].tobytes() == other[name][before].tobytes() for name in found)
        assert on(other["cpi_surprise_z"], "2024-11-13") == 3

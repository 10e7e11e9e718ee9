"""The simulated market: its truth can be recovered from its bars and facts."""

from __future__ import annotations

from datetime import date
from functools import cache, partial
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.builtin.simulated.effects import follow, release_effects
from kronosfw.builtin.simulated.extremes import extremes
from kronosfw.builtin.simulated.feed import SimulatedMarket
from kronosfw.builtin.simulated.randomness import generator, log_volatility
from kronosfw.builtin.simulated.releases import RULES, releases
from kronosfw.builtin.simulated.symbols import SYMBOLS, ReleaseKind
from kronosfw.calendars import calendar
from kronosfw.errors import ConfigError, SymbolError
from kronosfw.types import Fact, Span, Times, moment

ALWAYS = Span(moment("2100-01-01"))
PLAIN = {"common": 0.0, "volatility_of_volatility": 0.0, "tails": 1000.0}
"""Options under which σ is known and bars are independent normals, so that standard errors are simple."""
SIGMA = {rule.kind: rule.sigma for rule in RULES}


@cache
def market(**options: Any) -> SimulatedMarket:
    return SimulatedFeed(**options).build()


def frame(feed: SimulatedMarket, symbol: str, freq: str = "1d", span: Span = ALWAYS) -> pd.DataFrame:
    ((name, bars),) = feed.bars([symbol], freq, span)
    assert name == symbol
    if isinstance(bars, SymbolError):
        raise bars
    return bars


def returns(bars: pd.DataFrame) -> np.ndarray:
    return np.log(bars["close"] / bars["open"]).to_numpy()


def panel(feed: SimulatedMarket, prefix: str, n: int) -> np.ndarray:
    """Log returns from open to close of n synthetic symbols ``[n, T]``."""
    names = [f"{prefix}{i:04d}" for i in range(1, n + 1)]
    return np.array([returns(bars) for _, bars in feed.bars(names, "1d", ALWAYS)])


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of y on x and its standard error."""
    fit = stats.linregress(x, y)
    return fit.slope, fit.stderr


# --- the same numbers, whatever is asked for


@settings(max_examples=30, deadline=None)
@given(
    symbols=st.permutations(["BTCUSDT", "ETHUSDT", "EURUSD", "SPY", "AAPL", "VIX"]).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda n: names[:n])
    ),
    days=st.tuples(st.integers(-30, 2500), st.integers(0, 2500)),
    last=st.none() | st.integers(1, 3000),
    freq=st.sampled_from(["1d", "8h"]),
)
def test_a_bar_depends_on_nothing_that_is_asked_for(
    symbols: list[str], days: tuple[int, int], last: int | None, freq: str
) -> None:
    start = moment("2019-01-01") + np.timedelta64(days[0], "D")
    span = Span(end=start + np.timedelta64(days[1], "D"), start=start, last=last)
    feed = SimulatedFeed(missing=0.1).build()
    found = dict(feed.bars(symbols, freq, span))
    assert list(found) == symbols
    for symbol, bars in found.items():
        whole = frame(market(missing=0.1), symbol, freq)
        time = whole["time"].dt.tz_localize(None)
        expected = whole[(time >= span.start) & (time <= span.end)]
        expected = expected if last is None else expected.tail(last)
        pd.testing.assert_frame_equal(bars, expected.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("symbol", ["ETHUSDT", "AAPL", "VIX"])
def test_a_later_end_leaves_earlier_bars_as_they_are(symbol: str) -> None:
    short = frame(market(end=date(2021, 3, 17)), symbol)
    pd.testing.assert_frame_equal(short, frame(market(), symbol).head(len(short)), check_exact=True)


def test_other_symbols_in_the_configuration_change_nothing() -> None:
    more = SimulatedFeed(count=2, symbols={"XRP": {"asset_class": "crypto"}}).build()
    pd.testing.assert_frame_equal(frame(more, "SOLUSDT"), frame(market(), "SOLUSDT"), check_exact=True)
    assert len(frame(more, "XRP")) == len(frame(more, "CRYPTO0002")) == len(frame(more, "SOLUSDT"))


def test_another_seed_is_another_world() -> None:
    a, b = (returns(frame(market(seed=seed), "BTCUSDT")) for seed in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_seeds_are_the_same_in_every_process() -> None:
    assert generator(7, "noise", "SPY").bit_generator.random_raw() == 14098504409093974334


# --- bars


@pytest.mark.parametrize(("symbol", "freq"), [(s, "1d") for s in SYMBOLS] + [("SOLUSDT", "1h"), ("QQQ", "30min")])
def test_bars_are_coherent(symbol: str, freq: str) -> None:
    bars = frame(market(), symbol, freq)
    assert str(bars["time"].dtype) == "datetime64[us, UTC]"
    assert (bars.dtypes.drop("time") == np.float64).all()
    assert np.isfinite(bars.drop(columns="time")).all(axis=None)
    assert (bars["low"] > 0).all()
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert (bars["volume"] > 0).all()
    assert bars["amount"].between(bars["low"] * bars["volume"], bars["high"] * bars["volume"]).all()
    spread = np.log(bars["high"] / bars["low"])
    assert stats.spearmanr(spread, bars["volume"]).statistic > 0.3


def test_the_market_keeps_its_calendar() -> None:
    for symbol, freq in (("SPY", "1d"), ("SPY", "30min"), ("DXY", "1h"), ("BTCUSDT", "1d")):
        instrument = SYMBOLS[symbol]
        grid = calendar(instrument.market).grid(moment("2019-01-01"), moment("2025-06-30T23:59:59"), freq)
        stamps = frame(market(), symbol, freq)["time"].dt.tz_localize(None).to_numpy()
        assert np.array_equal(stamps, grid.time)
    spy, bitcoin = (set(frame(market(), s)["time"].dt.date) for s in ("SPY", "BTCUSDT"))
    assert date(2023, 11, 23) not in spy  # Thanksgiving
    assert date(2023, 11, 24) in spy
    assert not any(day.weekday() > 4 for day in spy)
    assert {date(2023, 11, 23), date(2023, 11, 25)} <= bitcoin


def test_an_early_close_shortens_the_session() -> None:
    counts = frame(market(), "SPY", "30min")["time"].dt.date.value_counts()
    assert (counts[date(2023, 11, 24)], counts[date(2023, 11, 22)]) == (7, 13)
    truth = market(**PLAIN).truth("SPY", "1d")
    day = np.flatnonzero(truth.times.session == np.datetime64("2023-11-24"))[0]
    assert truth.sigma[day] / truth.sigma[day - 1] == pytest.approx(np.sqrt(210 / 390))


def test_prices_gap_where_the_market_was_shut() -> None:
    feed = market(**PLAIN, releases=(), gap=0.5)
    spy = frame(feed, "SPY")
    jump = np.log(spy["open"] / spy["close"].shift()).to_numpy()[1:]
    times = feed.truth("SPY", "1d").times
    shut = (times.time[1:] - times.available_at[:-1]) / np.timedelta64(1, "D")
    scaled = jump / (0.5 * SYMBOLS["SPY"].daily_volatility * np.sqrt(shut))
    assert scaled.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(scaled)))
    bitcoin = frame(feed, "BTCUSDT")
    np.testing.assert_allclose(bitcoin["open"].iloc[1:], bitcoin["close"].iloc[:-1], rtol=1e-9)


def test_missing_bars_are_dropped_and_nothing_else_changes() -> None:
    whole, some = frame(market(), "SPY"), frame(market(missing=0.2), "SPY")
    n = len(whole)
    assert 1 - len(some) / n == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / n))
    kept = whole[whole["time"].isin(some["time"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, kept, check_exact=True)


@pytest.mark.parametrize(("symbol", "n"), [("BTCUSDT", 24), ("SPY", 6.5), ("DXY", 24)])
def test_volatility_is_per_session_at_every_frequency(symbol: str, n: float) -> None:
    hourly = returns(frame(market(**PLAIN, releases=()), symbol, "1h"))
    rms = np.sqrt(np.mean(hourly**2) * len(hourly) / len(frame(market(), symbol)))
    sigma = SYMBOLS[symbol].daily_volatility
    assert rms / sigma == pytest.approx(1, abs=4 / np.sqrt(2 * len(hourly)) + 0.004)  # early closes
    assert len(hourly) / len(frame(market(), symbol)) == pytest.approx(n, rel=0.1)


def test_highs_and_lows_have_the_distribution_of_a_brownian_bridge() -> None:
    n = 200_000
    change = generator(1, "change").standard_normal(n)
    high, low = extremes(change, np.ones(n), partial(generator, 0))
    for top, end in ((high, change), (-low, -change)):
        assert stats.kstest(np.exp(-2 * top * (top - end)), "uniform").pvalue > 1e-3
    bars, sigma = frame(market(**PLAIN, releases=()), "BTCUSDT"), SYMBOLS["BTCUSDT"].daily_volatility
    top, end = (np.log(bars[name] / bars["open"]) / sigma for name in ("high", "close"))
    assert stats.kstest(np.exp(-2 * top * (top - end)), "uniform").pvalue > 1e-3
    square = (high - low) ** 2 / (4 * np.log(2))  # Parkinson: 1 on average, which takes both together
    assert square.mean() == pytest.approx(1, abs=4 * square.std() / np.sqrt(n))


# --- volatility and shocks


def test_returns_have_heavy_tails_and_clustered_volatility() -> None:
    pooled, clustering = [], []
    for symbol in SYMBOLS:
        r = returns(frame(market(), symbol))
        pooled.append(stats.kurtosis(r, fisher=False))
        clustering.append(pd.Series(np.abs(r)).autocorr(1))
    assert min(pooled) > 3.5
    assert np.mean(clustering) > 4 / np.sqrt(len(SYMBOLS) * 2000)
    calm = returns(frame(market(**PLAIN, releases=()), "BTCUSDT"))
    assert stats.kurtosis(calm, fisher=False) == pytest.approx(3, abs=4 * np.sqrt(24 / len(calm)))


def test_shocks_are_a_student_t() -> None:
    feed = market(common=0.25, releases=(), tails=5.0)
    truth = feed.truth("BTCUSDT", "1h")
    shock = truth.noise / truth.sigma * np.sqrt(5 / 3)
    assert stats.kstest(shock, stats.t(5).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("freq", "bars"), [("1d", 1), ("6h", 4)])
def test_log_volatility_is_an_autoregression(freq: str, bars: int) -> None:
    truth = market(persistence=0.9, volatility_of_volatility=0.4).truth("BTCUSDT", freq)
    h = np.log(truth.sigma / SYMBOLS["BTCUSDT"].daily_volatility * np.sqrt(bars))
    kept = 0.9 ** (1 / bars)
    n, effective = len(h), len(h) * (1 - kept) / (1 + kept)
    assert slope(h[:-1], h[1:])[0] == pytest.approx(kept, abs=4 * np.sqrt((1 - kept**2) / n))
    assert h.std() == pytest.approx(0.4, abs=4 * 0.4 / np.sqrt(2 * effective))
    assert h.mean() == pytest.approx(-(0.4**2), abs=4 * 0.4 / np.sqrt(effective))


def test_volatility_starts_as_it_goes_on() -> None:
    paths = np.array([log_volatility(partial(generator, seed), 3, 0.9, 0.4) for seed in range(2000)])
    np.testing.assert_allclose(paths.std(axis=0), 0.4, atol=4 * 0.4 / np.sqrt(2 * 2000))


def test_the_common_factor_has_its_share() -> None:
    feed = market(**{**PLAIN, "common": 0.3}, releases=(), lead=0.0)
    returned = {s: returns(frame(feed, s)) for s in ("SPY", "AAPL", "VIX", "GLD")}
    for other, expected in (("AAPL", 0.3), ("GLD", 0.3), ("VIX", -0.3)):
        r = np.corrcoef(returned["SPY"], returned[other])[0, 1]
        assert np.arctanh(r) == pytest.approx(np.arctanh(expected), abs=4 / np.sqrt(len(returned["SPY"])))


@pytest.mark.parametrize(("freq", "bars"), [("1d", 1), ("6h", 4)])
@pytest.mark.parametrize("reversion", [0.2, 0.0])
def test_a_level_reverts_where_asked(reversion: float, freq: str, bars: int) -> None:
    instrument = {"asset_class": "crypto", "reversion": reversion}
    level = np.log(frame(SimulatedFeed(symbols={"X": instrument}).build(), "X", freq)["close"] / 100).to_numpy()
    pull, se = slope(level[:-1], np.diff(level))
    assert pull == pytest.approx((1 - reversion) ** (1 / bars) - 1, abs=4 * se)


# --- leaders


@pytest.mark.parametrize(("leader", "followers"), [("BTCUSDT", "CRYPTO"), ("SPY", "EQUITY"), ("DXY", "FOREX")])
def test_leaders_lead_by_the_stated_share(leader: str, followers: str) -> None:
    feed = market(**PLAIN, releases=(), count=20, lead=0.3)
    x = returns(frame(feed, leader)) / SYMBOLS[leader].daily_volatility
    behind = panel(feed, followers, 20)
    y = behind / feed.truth(f"{followers}0001", "1d").sigma
    before, se = slope(np.tile(x[:-1], 20), y[:, 1:].ravel())
    same, _ = slope(np.tile(x, 20), y.ravel())
    assert before == pytest.approx(0.3, abs=4 * se + 0.003)  # sessions cut short
    assert abs(same) < 4 * se
    assert y.std() == pytest.approx(1, abs=4 / np.sqrt(2 * y.size))


def test_an_inverse_follower_goes_the_other_way_and_leaders_follow_no_one() -> None:
    feed = market(**PLAIN, releases=(), lead=0.3)
    x = feed.truth("DXY", "1d")
    euro = feed.truth("EURUSD", "1d")
    np.testing.assert_allclose(euro.lead[1:] / euro.sigma[1:], -0.3 * x.noise[:-1] / x.sigma[:-1])
    assert not x.lead.any()
    assert not feed.truth("GLD", "1d").lead.any()
    assert not SimulatedFeed(leaders={}).build().truth("EURUSD", "1d").lead.any()


def test_a_shock_acts_once_and_only_when_it_is_known() -> None:
    def bars(*hours: int) -> Times:
        time = moment("2024-01-01") + np.array(hours) * np.timedelta64(1, "h")
        return Times(time, time + np.timedelta64(1, "h"), time.astype("datetime64[D]"))

    shock, news = follow(bars(0, 1, 2, 5, 6), bars(0, 2, 3), np.array([1.0, 2.0, 3.0]))
    assert shock.tolist() == [0, 1, 0, 3, 0]
    assert news.tolist() == [False, True, False, True, False]


# --- releases


@cache
def surprises(feed: SimulatedMarket, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Moments and standardised surprises of a kind of release, from the facts alone."""
    found = [f for f in feed.facts([], ALWAYS) if f.kind == kind and "actual" in f.values]
    z = [(f.values["actual"] - f.values["forecast"]) / SIGMA[kind] for f in found]
    return np.array([f.scheduled_at for f in found]), np.array(z)


def event_study(kind: ReleaseKind, prefix: str, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns in units of σ ``[n, T]``, bars with a release ``[N]`` and their surprises ``[N]``."""
    feed = market(**PLAIN, count=40, releases=(kind,), lead=0.0, **options)
    truth = feed.truth(f"{prefix}0001", "1d")
    at, z = surprises(feed, kind)
    bar = np.searchsorted(truth.times.available_at, at, side="right")
    inside = bar < len(truth.times) - 10
    return panel(feed, prefix, 40) / truth.sigma, bar[inside], z[inside]


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.0])
def test_releases_raise_volatility_by_the_stated_factor(factor: float) -> None:
    r, bar, _ = event_study("cpi", "CRYPTO", event_volatility=factor, event_move=0.0, event_drift=0.0)
    on, off = r[:, bar], np.delete(r, bar, axis=1)
    assert np.log(on.std() / off.std()) == pytest.approx(np.log(factor), abs=4 / np.sqrt(2 * on.size))


@pytest.mark.parametrize(
    ("kind", "prefix", "sign"),
    [("cpi", "CRYPTO", -1), ("fomc", "FOREX", 1), ("fomc", "EQUITY", -1), ("gdp", "CRYPTO", 1)],
)
def test_surprises_move_and_drift_as_stated(kind: ReleaseKind, prefix: str, sign: int) -> None:
    r, bar, z = event_study(kind, prefix, event_move=0.6, event_drift=0.9, event_drift_bars=3)
    repeated = np.tile(z, len(r))
    move, se = slope(repeated, r[:, bar].ravel())
    assert move == pytest.approx(0.6 * sign, abs=4 * se)
    for k, expected in ((-1, 0.0), (1, 0.3), (2, 0.3), (3, 0.3), (4, 0.0)):
        step, se = slope(repeated, r[:, bar + k].ravel())
        assert step == pytest.approx(expected * sign, abs=4 * se), k


def test_a_release_while_the_market_is_shut_moves_the_next_open() -> None:
    feed = market()
    truth = feed.truth("SPY", "1d")
    days = truth.times.session.astype(str).tolist()
    at, z = surprises(feed, "pce")
    christmas = at.astype("datetime64[D]").astype(str).tolist().index("2020-12-25")
    monday = days.index("2020-12-28")
    effects = truth.effects
    assert effects.gap_move[monday] == pytest.approx(-0.5 * z[christmas] * truth.sigma[monday])
    assert (effects.gap_volatility[monday], effects.volatility[monday]) == (2.0, 2.0)
    meeting = days.index("2024-01-31")
    assert effects.gap_move[meeting] == 0
    assert (effects.gap_volatility[meeting], effects.volatility[meeting]) == (1.0, 2.0)


def test_a_release_belongs_to_the_bar_that_opens_at_its_moment() -> None:
    times = calendar("24/7").grid(moment("2024-01-01"), moment("2024-01-01T12:00"), "1h")
    at = np.array(["2024-01-01T03:00", "2024-01-01T05:59:59", "2024-01-02T00:00"], "datetime64[us]")
    effects = release_effects(
        times, np.full(13, 0.1), at, np.array([1.0, -2.0, 9.0]), volatility=3.0, move=0.5, drift=0.0, drift_bars=1
    )
    assert dict(enumerate(effects.move)) == {**dict.fromkeys(range(13), 0.0), 3: 0.05, 5: -0.1}
    assert np.flatnonzero(effects.volatility == 3).tolist() == [3, 5]
    assert (effects.gap_volatility == 1).all()


def test_a_release_before_the_open_widens_the_gap() -> None:
    feed = market(**PLAIN, releases=("nfp",), event_volatility=3.0, event_move=0.0, count=40)
    gaps = np.array([feed.truth(f"EQUITY{i:04d}", "1d").gap for i in range(1, 41)])
    times, effects = feed.truth("SPY", "1d").times, feed.truth("SPY", "1d").effects
    night = np.append(False, times.time[1:] - times.available_at[:-1] < np.timedelta64(1, "D"))
    on, off = (gaps[:, night & (effects.gap_volatility == factor)] for factor in (3.0, 1.0))
    assert np.log(on.std() / off.std()) == pytest.approx(np.log(3), abs=4 / np.sqrt(2 * on.size))


def test_the_truth_adds_up_to_the_bars() -> None:
    for symbol, freq in (("AAPL", "1d"), ("ETHUSDT", "4h")):
        bars, truth = frame(market(), symbol, freq), market().truth(symbol, freq)
        inside = truth.noise + truth.lead + truth.effects.move + truth.effects.drift
        np.testing.assert_allclose(returns(bars), inside, atol=1e-12)
        jump = np.log(bars["open"] / bars["close"].shift())[1:]
        np.testing.assert_allclose(jump, truth.gap[1:], atol=1e-12)


def test_nobody_can_guess_a_surprise_beforehand() -> None:
    for rule in RULES:
        found = releases(rule, 3, date(1950, 1, 1), date(2049, 12, 31))
        z = np.array([r.surprise for r in found])
        for known in ([r.forecast for r in found], [r.forecast - r.previous for r in found]):
            assert abs(np.corrcoef(z, known)[0, 1]) < 4 / np.sqrt(len(z))
        assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(z)) + 0.05)  # published rounded
        assert z.mean() == pytest.approx(0, abs=4 / np.sqrt(len(z)))


# --- facts


def test_facts_become_known_in_turn() -> None:
    by_event: dict[str, list[Fact]] = {}
    for fact in market().facts(["AAPL"], ALWAYS):
        by_event.setdefault(fact.event, []).append(fact)
    for facts in by_event.values():
        schedule, consensus, figure = sorted(facts, key=lambda f: f.known_at)
        assert len({(f.kind, f.scheduled_at, f.symbols) for f in facts}) == 1
        assert dict(schedule.values) == {"importance": 3.0}
        assert schedule.scheduled_at - schedule.known_at == np.timedelta64(365, "D")
        assert set(consensus.values) == {"forecast"}
        assert consensus.scheduled_at - consensus.known_at == np.timedelta64(1, "D")
        assert set(figure.values) == {"actual", "forecast", "previous"}
        assert figure.values["forecast"] == consensus.values["forecast"]
        assert figure.known_at == figure.scheduled_at


def test_releases_keep_their_schedule_in_new_york() -> None:
    feed = market()
    events = pd.DataFrame({"kind": f.kind, "at": f.scheduled_at} for f in feed.facts(["AAPL"], ALWAYS))
    local = events["at"].dt.tz_localize("UTC").dt.tz_convert(ZoneInfo("America/New_York"))
    hours = local.dt.strftime("%H:%M").groupby(events["kind"]).unique().map(list).to_dict()
    morning = {kind: ["08:30"] for kind in ("cpi", "nfp", "gdp", "pce")}
    assert hours == {**morning, "fomc": ["14:00"], "earnings": ["16:05"]}
    assert set(events["at"].dt.hour[events["kind"] == "cpi"]) == {12, 13}
    in_2024 = events[local.dt.year == 2024].groupby("kind").size() / 3
    assert in_2024.to_dict() == {"cpi": 12, "nfp": 12, "fomc": 8, "gdp": 4, "pce": 12, "earnings": 4}
    assert not (local.dt.day_of_week > 4).any()
    assert events["at"].max() > pd.Timestamp("2026-06-01")


def test_facts_keep_to_span_and_symbols() -> None:
    feed = market()
    span = Span(start=moment("2024-01-10T13:30"), end=moment("2024-06-12T12:30"))
    found = list(feed.facts(["MSFT", "SPY", "unheard of"], span))
    everything = [f for f in feed.facts(["SPY", "MSFT"], ALWAYS) if span.start <= f.scheduled_at <= span.end]
    assert sorted(map(repr, found)) == sorted(map(repr, everything))
    assert {f.kind for f in found} == set(get_args(ReleaseKind))
    assert {f.scheduled_at for f in found if f.kind == "cpi"} >= {span.start, span.end}
    assert {f.symbols for f in found} == {(), ("MSFT",)}
    assert {f.kind for f in market(releases=("fomc",)).facts(["MSFT"], ALWAYS)} == {"fomc"}


# --- mistakes


def test_an_unknown_symbol_is_told_what_there_is() -> None:
    with pytest.raises(SymbolError, match=r"no 'BTCUSD'; did you mean 'BTCUSDT'.*SPY.*feed.symbols"):
        frame(market(), "BTCUSD")
    with pytest.raises(SymbolError, match="no 'BTCUSD'"):
        market().truth("BTCUSD", "1d")
    found = dict(market().bars(["BTCUSD", "SPY"], "1d", ALWAYS))
    assert isinstance(found["BTCUSD"], SymbolError)
    pd.testing.assert_frame_equal(found["SPY"], frame(market(), "SPY"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": date(2020, 1, 2), "end": date(2020, 1, 1)}, "`end` .* before `start`"),
        ({"leaders": {"crypto": "DOGE"}}, "`leaders` names DOGE"),
        ({"leaders": {"bonds": "SPY"}}, "crypto"),
        ({"tails": 2.0}, "greater than 2"),
        ({"event_move": float("nan")}, "finite"),
        ({"symbols": {"X": {"asset_class": "equity", "sigma": 1}}}, "sigma"),
    ],
)
def test_mistakes_in_the_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimulatedFeed(**options)


def test_a_span_without_bars() -> None:
    empty = frame(market(), "SPY", span=Span(moment("2018-01-01")))
    assert len(empty) == 0
    assert list(empty) == list(frame(market(), "SPY"))
    weekend = SimulatedFeed(start=date(2024, 1, 6), end=date(2024, 1, 7)).build()
    with pytest.raises(ConfigError, match="XNYS has no bars"):
        frame(weekend, "SPY")
    assert len(frame(weekend, "BTCUSDT")) == 2


def test_other_calendars_can_be_simulated() -> None:
    feed = SimulatedFeed(symbols={"NIKKEI": {"asset_class": "equity", "calendar": "XTKS"}}).build()
    bars = frame(feed, "NIKKEI", "1h", Span(end=moment("2024-03-01"), start=moment("2024-02-01")))
    assert set(bars["time"].dt.hour) == {0, 1, 2, 3, 4, 5}

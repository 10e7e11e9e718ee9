"""Bars open and are complete when their market says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronosfw.calendars import calendar
from kronosfw.errors import ConfigError, DataError, SymbolError
from kronosfw.types import moment

HOUR = np.timedelta64(1, "h")
MOMENTS = st.integers(0, 12 * 365 * 24 * 60).map(lambda m: moment("2012-01-01") + np.timedelta64(m, "m"))


def days(times):
    return [str(day) for day in times.session]


def test_thanksgiving_is_skipped_and_the_day_after_closes_early():
    bars = calendar("XNYS").following(moment("2024-11-26T22:00"), 3, "1d")
    assert days(bars) == ["2024-11-27", "2024-11-29", "2024-12-02"]
    assert [str(t) for t in bars.available_at.astype("datetime64[m]")] == [
        "2024-11-27T21:00",
        "2024-11-29T18:00",
        "2024-12-02T21:00",
    ]


def test_daylight_saving_moves_the_session_in_utc():
    bars = calendar("XNYS").grid(moment("2024-03-07"), moment("2024-03-13"), "1d")
    assert [str(t)[11:16] for t in bars.time] == ["14:30", "14:30", "13:30", "13:30"]


def test_crypto_never_stops():
    bars = calendar("24/7").following(moment("2024-12-24T00:00"), 4, "1d")
    assert days(bars) == ["2024-12-24", "2024-12-25", "2024-12-26", "2024-12-27"]
    assert (bars.available_at - bars.time == 24 * HOUR).all()


def test_forex_rests_at_the_weekend():
    bars = calendar("24/5").following(moment("2024-11-29T12:00"), 2, "1d")
    assert days(bars) == ["2024-11-29", "2024-12-02"]


def test_the_bar_under_way_is_the_first_to_come():
    market = calendar("XNYS")
    inside = market.following(moment("2024-11-27T16:00"), 1, "1d")
    assert days(inside) == ["2024-11-27"]
    at_the_close = market.following(moment("2024-11-27T21:00"), 1, "1d")
    assert days(at_the_close) == ["2024-11-29"]


def test_intraday_bars_end_with_the_session():
    bars = calendar("XNYS").grid(moment("2024-11-29"), moment("2024-11-30"), "1h")
    assert [str(t)[11:16] for t in bars.time] == ["14:30", "15:30", "16:30", "17:30"]
    assert str(bars.available_at[-1])[11:16] == "18:00"


def test_a_lunch_break_interrupts_the_session():
    bars = calendar("XSHG").grid(moment("2024-06-18"), moment("2024-06-19"), "5min")
    assert len(bars) == 48
    assert str(bars.available_at[23])[11:16] == "03:30"
    assert str(bars.time[24])[11:16] == "05:00"


def test_stamps_find_their_bar():
    market = calendar("XNYS")
    stamps = np.array(
        [moment(s) for s in ("2024-11-27", "2024-11-28", "2024-11-29T05:00", "2024-11-29T14:30", "2024-11-30")]
    )
    positions, bars = market.match(stamps, "1d")
    found = [None if p < 0 else str(bars.session[p]) for p in positions]
    assert found == ["2024-11-27", None, "2024-11-29", "2024-11-29", None]


@pytest.mark.parametrize("name", ["24/7", "24/5"])
def test_a_market_without_a_local_day_has_no_other_than_utcs(name):
    """Midnight in Tokyo is 15:00 UTC the day before: taken as that day's bar it would know nine hours of future."""
    stamps = np.array([moment("2025-07-08T15:00"), moment("2025-07-08")])
    assert calendar(name).match(stamps, "1d")[0][0] == -1
    assert calendar(name).match(stamps, "1d")[0][1] >= 0


def test_closing_stamps_find_their_bar():
    market = calendar("XNYS")
    closes = np.array([moment(s) for s in ("2024-11-29T15:30", "2024-11-29T18:00", "2024-11-29T18:30")])
    positions, bars = market.match(closes, "1h", "close")
    found = [None if p < 0 else str(bars.time[p])[11:16] for p in positions]
    assert found == ["14:30", "17:30", None], "the last bar of a half day is shorter than an hour"
    daily = np.array([moment("2024-01-02"), moment("2024-01-03")])
    positions, bars = calendar("24/7").match(daily, "1d", "close")
    assert [str(bars.session[p]) for p in positions] == ["2024-01-01", "2024-01-02"]


def test_times_that_lie_too_far_apart_are_refused():
    with pytest.raises(SymbolError, match="times from 1905-01-01 to 2025-01-01 cannot all be those of 1min bars"):
        calendar("24/7").match(np.array([moment("1905-01-01"), moment("2025-01-01")]), "1min")


def test_an_evening_session_belongs_to_the_next_day():
    positions, bars = calendar("CMES").match(np.array([moment("2024-11-19T23:30")]), "1d")
    assert str(bars.session[positions[0]]) == "2024-11-20"


def test_bars_since_the_last_one():
    market = calendar("XNYS")
    last = moment("2024-11-27T14:30")
    assert not len(market.since(last, moment("2024-11-29T17:59"), "1d"))
    assert days(market.since(last, moment("2024-11-29T18:00"), "1d")) == ["2024-11-29"]
    assert days(market.since(last, moment("2024-12-03T00:00"), "1d")) == ["2024-11-29", "2024-12-02"]


@pytest.mark.parametrize("name", ["XNYX", "", "../x"])
def test_an_unknown_calendar_is_an_error(name):
    with pytest.raises(ConfigError, match="there is no trading calendar"):
        calendar(name)


def test_beyond_the_known_holidays_is_an_error():
    with pytest.raises(DataError, match="calendar XSHG knows its holidays only until"):
        calendar("XSHG").following(moment("2150-01-01"), 5, "1d")


@given(
    MOMENTS, st.integers(1, 40), st.sampled_from(["1d", "1h", "15min"]), st.sampled_from(["24/7", "24/5", "XNYS"])
)
def test_the_next_bars_are_those_complete_after_the_cutoff(cutoff, n, freq, name):
    market = calendar(name)
    bars = market.following(cutoff, n, freq)
    assert len(bars) == n
    assert (bars.available_at > cutoff).all()
    before = market.grid(cutoff - 20 * 24 * HOUR, bars.time[0] - np.timedelta64(1, "us"), freq)
    assert (before.available_at <= cutoff).all(), "a bar was left out"
    positions, grid = market.match(bars.time, freq)
    assert np.array_equal(grid.time[positions], bars.time)
    assert (np.diff(positions) == 1).all()

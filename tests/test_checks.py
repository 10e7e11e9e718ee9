"""Faulty data are refused, repaired or accepted, as the configuration says, and reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kronosfw.calendars import calendar
from kronosfw.checks import Extent, Inspection
from kronosfw.config import Checks
from kronosfw.errors import SymbolError
from kronosfw.types import moment

UNTIL = moment("2024-06-30")


def frame(n=100, start="2024-01-01"):
    rng = np.random.default_rng(0)
    close = 100 + rng.normal(0, 1, n).cumsum()
    opens = np.r_[100, close[:-1]]
    return pd.DataFrame(
        {
            "time": pd.date_range(start, periods=n, tz="UTC").as_unit("us"),
            "open": opens,
            "high": np.maximum(opens, close) + 1,
            "low": np.minimum(opens, close) - 1,
            "close": close,
            "volume": 10.0,
        }
    )


def inspect(data, market="24/7", until=UNTIL, freq="1d", **checks):
    inspection = Inspection("X", calendar(market), freq, Checks(**checks))
    return inspection.bars(data, until), {f.check: f for f in inspection.report.findings}


def set_rows(data, rows, column, value):
    data = data.copy()
    data.loc[rows, column] = value
    return data


def test_good_data_pass_untouched():
    data = frame()
    bars, found = inspect(data)
    assert not found
    assert bars.columns == ("open", "high", "low", "close", "volume")
    assert np.array_equal(bars.values, data[list(bars.columns)].to_numpy())


FAULTS = {
    "duplicates": lambda d: pd.concat([d, d.iloc[[50]].assign(close=d["close"][50] + 0.5)]).sort_values("time"),
    "unsorted": lambda d: d.iloc[[0, 2, 1, *range(3, len(d))]],
    "nonfinite": lambda d: set_rows(d, [7, 9], "close", np.nan),
    "nonpositive": lambda d: set_rows(d, [7], "low", -1.0),
    "impossible": lambda d: set_rows(d, [7], "high", 1.0),
    "bad_volume": lambda d: set_rows(d, [7], "volume", np.nan),
    "gaps": lambda d: d.drop(index=[40, 41]),
    "after_cutoff": lambda d: pd.concat([d, d.iloc[[-1]].assign(time=pd.Timestamp("2024-07-02", tz="UTC"))]),
    "mixed_zones": lambda d: _with_offsets(d),
}


def _with_offsets(data):
    data = data.copy()
    data.attrs["offsets"] = ("+00:00", "-05:00")
    return data


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_found_and_may_be_refused(check):
    data = FAULTS[check](frame())
    _, found = inspect(data, **({"nonpositive": "repair"} if check == "nonpositive" else {}))
    assert check in found
    with pytest.raises(SymbolError, match=f"^X: {check.replace('_', ' ')}"):
        inspect(data, **{check: "refuse"})


@pytest.mark.parametrize("check", ["nonfinite", "nonpositive", "impossible", "bad_volume", "gaps"])
def test_an_accepted_fault_changes_nothing(check):
    data = FAULTS[check](frame())
    bars, found = inspect(data, **{check: "accept"})
    assert found[check].action == "accepted"
    np.testing.assert_array_equal(bars.values, data[list(bars.columns)].to_numpy())


def test_repairs_do_what_they_say():
    good, _ = inspect(frame())
    duplicated, _ = inspect(FAULTS["duplicates"](frame()))
    assert duplicated.close[50] == good.close[50] + 0.5, "the last of several rows is kept"
    unsorted, _ = inspect(FAULTS["unsorted"](frame()))
    assert np.array_equal(unsorted.values, good.values)
    holes, found = inspect(FAULTS["nonfinite"](frame()))
    assert len(holes) == 98
    assert found["gaps"].count == 2
    candle, _ = inspect(FAULTS["impossible"](frame()))
    assert candle.column("high")[7] == candle.values[7, :4].max()
    volume, _ = inspect(FAULTS["bad_volume"](frame()))
    assert volume.column("volume")[7] == 0.0


def test_bars_while_the_market_is_shut_are_dropped():
    bars, found = inspect(frame(), market="XNYS", max_repaired=1)
    assert found["off_calendar"].count == len(frame()) - len(bars)
    assert not {"2024-01-06", "2024-01-15"} & {str(day) for day in bars.times.session}
    with pytest.raises(SymbolError, match="off calendar"):
        inspect(frame(), market="XNYS", off_calendar="refuse")


def test_the_bar_under_way_is_not_used():
    bars, found = inspect(frame(), until=moment("2024-04-01T12:00"))
    assert str(bars.times.session[-1]) == "2024-03-31"
    assert found["after_cutoff"].count == len(frame()) - len(bars)


def test_rows_not_yet_complete_cannot_refuse_a_symbol():
    """Faults in rows after the cutoff are not known at the cutoff."""
    data = frame()
    later = data.iloc[[80, 81]].assign(close=-1.0)
    faulty = pd.concat([data, later, later])
    until = moment("2024-03-20")
    bars, _ = inspect(
        faulty, until=until, duplicates="refuse", nonpositive="refuse", unsorted="refuse", max_repaired=0
    )
    assert np.array_equal(bars.values, inspect(data, until=until)[0].values)


def test_rows_not_yet_complete_cannot_excuse_a_symbol():
    data = set_rows(frame(), range(5), "close", np.nan)
    for whole in (data, data[:60]):
        with pytest.raises(SymbolError, match="5 of 60 rows needed repair"):
            inspect(whole, until=moment("2024-03-01"))


def test_rows_without_a_time_count_as_faults():
    data = frame()
    data.loc[range(4), "time"] = pd.NaT
    bars, found = inspect(data)
    assert (found["nonfinite"].count, len(bars)) == (4, 96)
    data.loc[range(8), "time"] = pd.NaT
    with pytest.raises(SymbolError, match="8 of 100 rows needed repair"):
        inspect(data)


def test_an_empty_volume_column_is_no_reason_to_refuse():
    bars, found = inspect(frame().assign(volume=np.nan, amount=np.nan))
    assert found["bad_volume"].count == 100
    assert (bars.column("volume") == 0).all()


def test_labels_and_evening_stamps_may_be_mixed():
    data = frame(40).iloc[:3].copy()
    stamps = ["2024-11-19", "2024-11-19T23:30", "2024-11-21"]
    data["time"] = pd.to_datetime(stamps, utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    bars, _ = inspect(data, market="CMES", until=moment("2024-12-01"))
    assert [str(d) for d in bars.times.session] == ["2024-11-19", "2024-11-20", "2024-11-21"]


def test_too_much_repair_refuses_the_symbol():
    data = set_rows(frame(), range(6), "close", np.inf)
    with pytest.raises(SymbolError, match=r"6 of 100 rows needed repair \(nonfinite 6\)"):
        inspect(data)
    assert len(inspect(data, max_repaired=0.1)[0]) == 94


def test_history_must_be_long_and_fresh():
    inspection = Inspection("X", calendar("24/7"), "1d", Checks(min_history=101))
    bars = inspection.bars(frame(), UNTIL)
    with pytest.raises(SymbolError, match="short history: 100"):
        inspection.history(Extent.of(bars), bars.times.available_at[-1])
    fresh = Inspection("X", calendar("24/7"), "1d", Checks(max_stale=2))
    last = bars.times.available_at[-1]
    fresh.history(Extent.of(bars), last + np.timedelta64(2, "D"))
    assert fresh.report.bars == 100
    with pytest.raises(SymbolError, match="stale: 3"):
        fresh.history(Extent.of(bars), last + np.timedelta64(3, "D"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the feed gave nothing"),
        (frame().drop(columns="close"), "no column close"),
        (frame().assign(close="high"), "not numeric"),
        (frame(start="2025-01-01"), "no bars by 2024-06-30"),
        (frame()[:0], "no bars by"),
    ],
)
def test_frames_that_are_not_bars(data, message):
    with pytest.raises(SymbolError, match=message):
        inspect(data)


def test_all_rows_bad_is_an_error_and_not_a_crash():
    for column in ("open", "time"):
        data = frame()
        data[column] = pd.NaT if column == "time" else np.nan
        if column == "time":
            data["time"] = pd.to_datetime(data["time"]).dt.tz_localize("UTC").astype("datetime64[us, UTC]")
        with pytest.raises(SymbolError):
            inspect(data)

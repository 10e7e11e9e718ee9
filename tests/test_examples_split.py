"""Examples to train with are the windows that the cutter cuts, and no later knowledge is in them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw.builtin.encoders import Macro20
from kronosfw.config import Instrument, Training
from kronosfw.errors import PluginError
from kronosfw.examples import Examples, at_midnight, split
from kronosfw.pipeline import silent
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Bars, Example
from kronosfw.windows import Cutter

CONTEXT, HORIZON = 40, 4


def event_flag():
    path = Path(__file__).parents[1] / "examples" / "kinds" / "encoder.py"
    spec = importlib.util.spec_from_file_location("example_encoder", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EventFlag(event="cpi").build()


class LastReturn:
    """The last return of a leader, of which the future is not known."""

    names, known_ahead, groups, leaders, lookback = ("vix_return",), (False,), ("leaders",), ("VIX",), 2

    def encode(self, facts, leaders, times, known_at):
        rows = np.full((len(times), 1), np.nan, dtype=np.float32)
        if "VIX" in leaders:
            bars = leaders["VIX"]
            moments = np.minimum(times.time, known_at)
            last = np.searchsorted(bars.times.available_at, moments, side="left") - 1
            there = last > 0
            rows[there, 0] = np.log(bars.close[last[there]] / bars.close[last[there] - 1])
        return rows


class Known:
    """How many facts were known: it changes with every moment at which a row is encoded."""

    names, known_ahead, groups, leaders, lookback = ("known",), (True,), ("news",), (), 0

    def encode(self, facts, leaders, times, known_at):
        moments = np.array([f.known_at for f in facts], dtype="datetime64[us]")
        return np.searchsorted(moments, known_at, side="right")[:, None]


class Peeking(LastReturn):
    """Looks at the last fact that it was given, whenever that became known."""

    def encode(self, facts, leaders, times, known_at):
        return np.full((len(times), 1), len(facts), dtype=np.float32)


ENCODERS = {
    "none": list,
    "flag": lambda: [event_flag()],
    "three": lambda: [event_flag(), LastReturn(), Known()],
    "macro20": lambda: [Macro20().build()],
}


def cutter(market: SmallMarket, encoders=(), **changes) -> Cutter:
    shape = {"context": CONTEXT, "horizon": HORIZON, "seed": 7, **changes}
    return Cutter(market.freq, encoders=encoders, facts=market.facts, leaders=market.leaders, **shape)


def cut(market: SmallMarket, encoders=(), **training) -> tuple[Examples, Examples]:
    universe = {s: Instrument(asset_class="crypto", calendar=market.market) for s in market.bars}
    training = Training(**{"validate_from": date(2023, 5, 1), "stride": 3, **training})
    return split(cutter(market, encoders), market.bars, universe, training, silent)


def arrays(example: Example) -> list[bytes]:
    w, t = example.window, example.target
    times = [
        x for times in (w.bars.times, w.future, t.times) for x in (times.time, times.available_at, times.session)
    ]
    covariates = (w.covariates.values, w.covariates.mask) if w.covariates else ()
    return [x.tobytes() for x in (*times, w.bars.values, t.values, *covariates)]


def plain(example: Example) -> tuple:
    w = example.window
    about = w.covariates and (w.covariates.names, w.covariates.known_ahead, w.covariates.groups)
    return w.symbol, w.cutoff, w.freq, w.asset_class, w.seed, w.bars.columns, about, arrays(example)


def without(bars: Bars, *rows: int) -> Bars:
    keep = np.setdiff1d(np.arange(len(bars)), rows)
    return Bars(bars.symbol, bars.times[keep], bars.values[keep], bars.columns)


def with_gaps(market: SmallMarket) -> SmallMarket:
    """Return the market with bars missing here and there."""
    bars = {s: without(b, *range(70 + i, len(b), 37)) for i, (s, b) in enumerate(market.bars.items())}
    return replace(market, bars=bars)


@pytest.mark.parametrize("encoders", ENCODERS)
@pytest.mark.parametrize("place", ["24/7", "24/5", "XNYS"])
def test_examples_are_the_cutters_windows(encoders, place):
    market = with_gaps(SmallMarket.make(n_symbols=2, n=200, market=place))
    built = ENCODERS[encoders]()
    one = cutter(market, built)
    for part in cut(market, built):
        assert len(part) > 5
        for example in part:
            w, bars = example.window, market.bars[example.window.symbol]
            expected = one.window(bars, w.cutoff, asset_class="crypto", market=place)
            first = int(np.searchsorted(bars.times.time, expected.future.time[0]))
            assert plain(example) == plain(Example(expected, bars[first : first + HORIZON]))
            assert len(w.bars) == CONTEXT
            assert np.array_equal(example.target.times.time, w.future.time)


def test_intraday_examples_are_the_cutters_windows():
    market = SmallMarket.make(n_symbols=1, n=500, freq="1h", market="XNYS")
    built = ENCODERS["three"]()
    train, validation = cut(market, built, validate_from=date(2023, 3, 1))
    one = cutter(market, built)
    for example in [*train, *validation]:
        w = example.window
        expected = one.window(market.bars["S0"], w.cutoff, asset_class="crypto", market="XNYS")
        assert plain(example)[:-1] == plain(Example(expected, example.target))[:-1]
        assert arrays(example) == arrays(Example(expected, example.target))


def test_splits_are_purged_and_bounded():
    market = SmallMarket.make(n_symbols=2, n=400)
    border, start, until = date(2023, 7, 1), date(2023, 3, 20), date(2023, 12, 1)
    train, validation = cut(market, validate_from=border, start=start, until=until)
    assert min(e.window.cutoff for e in train) >= at_midnight(start)
    assert max(e.target.times.available_at[-1] for e in train) <= at_midnight(border)
    assert min(e.window.cutoff for e in validation) >= at_midnight(border)
    assert max(e.target.times.available_at[-1] for e in validation) <= at_midnight(until)
    whole = [x for part in cut(market, validate_from=border) for x in part]
    assert len(train) + len(validation) < len(whole)
    between = [
        e for e in cut(market, validate_from=date(2024, 1, 1), stride=1)[0] if e.window.cutoff < at_midnight(border)
    ]
    assert len(between) > len(cut(market, validate_from=border, stride=1)[0])


def test_every_so_many_bars_of_the_calendar_is_an_origin():
    market = SmallMarket.make(n_symbols=2, n=300)
    origins = {s: {e.window.cutoff for e in cut(market, stride=5)[0] if e.window.symbol == s} for s in market.bars}
    assert origins["S0"] == origins["S1"]
    steps = np.diff(sorted(origins["S0"])).astype("timedelta64[D]").astype(int)
    assert set(steps) == {5}
    gap = replace(market, bars={"S0": without(market.bars["S0"], 60)})
    fewer = {e.window.cutoff for e in cut(gap, stride=5)[0]}
    assert fewer < origins["S0"]
    later = replace(market, bars={"S0": market.bars["S0"][:200]})
    assert {e.window.cutoff for e in cut(later, stride=5)[0]} <= origins["S0"]


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_closes_that_no_model_can_use_are_no_origin_and_no_target(value):
    market = SmallMarket.make(n_symbols=1, n=200)
    bars = market.bars["S0"]
    values = bars.values.copy()
    values[100, 3] = value
    spoilt = replace(market, bars={"S0": Bars("S0", bars.times, values, bars.columns)})
    found = {e.window.cutoff for part in cut(spoilt, stride=1) for e in part}
    usual = {e.window.cutoff for part in cut(market, stride=1) for e in part}
    assert usual - found == {cutoff_at(bars.times, i) for i in range(100 - HORIZON, 101)}


def test_too_few_bars_give_no_example():
    market = SmallMarket.make(n_symbols=1, n=CONTEXT + HORIZON - 1)
    assert [len(part) for part in cut(market, stride=1)] == [0, 0]
    market = SmallMarket.make(n_symbols=1, n=CONTEXT + HORIZON)
    assert [len(part) for part in cut(market, [event_flag()], stride=1)] == [1, 0]


def test_examples_are_a_sequence():
    train, _ = cut(SmallMarket.make(n_symbols=3, n=300))
    everything = [plain(e) for e in train]
    assert len(everything) == len(train) == sum(e.examples for e in train.extents())
    assert plain(train[-1]) == everything[-1]
    assert [plain(e) for e in train[5:50:7]] == everything[5:50:7]
    assert [s for s, *_ in everything] == sorted(s for s, *_ in everything)
    with pytest.raises(IndexError):
        train[len(train)]
    with pytest.raises(IndexError):
        train[-len(train) - 1]


def test_bars_are_not_copied():
    market = SmallMarket.make(n_symbols=1, n=200)
    example = cut(market)[0][3]
    for bars in (example.window.bars, example.target):
        assert np.shares_memory(bars.values, market.bars["S0"].values)
        assert not bars.values.flags.writeable


def test_a_symbols_examples_do_not_depend_on_the_others():
    market = SmallMarket.make(n_symbols=3, n=300)
    alone = replace(market, bars={"S1": market.bars["S1"]})
    built = ENCODERS["three"]()
    beside = [plain(e) for e in cut(market, built)[0] if e.window.symbol == "S1"]
    assert [plain(e) for e in cut(alone, built)[0]] == beside


def test_an_encoder_that_looks_ahead_is_named():
    market = SmallMarket.make(n_symbols=1, n=300)
    with pytest.raises(
        PluginError, match=r"encoder Peeking lets later knowledge into earlier rows: vix_return of S0"
    ):
        cut(market, [event_flag(), Peeking()])


def test_the_fingerprint_tells_what_can_be_learned():
    market = SmallMarket.make(n_symbols=1, n=300)
    built = ENCODERS["flag"]()
    train, validation = cut(market, built)
    end = max(e.target.times.available_at[-1] for e in train)
    other, changed = cut(market.with_another_future(end), built)
    assert other.fingerprint() == train.fingerprint()
    assert changed.fingerprint() != validation.fingerprint()
    assert cut(market, built, stride=2)[0].fingerprint() != train.fingerprint()
    facts = [replace(f, scheduled_at=f.scheduled_at + np.timedelta64(2, "D")) for f in market.facts]
    assert cut(replace(market, facts=facts), built)[0].fingerprint() != train.fingerprint()


@cache
def undisturbed(place: str, encoders: str) -> tuple[SmallMarket, list, tuple[Examples, Examples]]:
    market, built = SmallMarket.make(n_symbols=2, n=160, market=place), ENCODERS[encoders]()
    return market, built, cut(market, built)


@settings(max_examples=20)
@given(
    st.sampled_from(["24/7", "XNYS"]),
    st.sampled_from(["three", "macro20"]),
    st.integers(60, 155),
    st.integers(0, 86_399),
    st.integers(0, 1000),
)
def test_the_future_changes_no_example_of_the_past(place, encoders, position, seconds, seed):
    """Change all that became known after a moment: examples whose targets end by then stay, bit for bit."""
    market, built, examples = undisturbed(place, encoders)
    after = cutoff_at(market.bars["S0"].times, position) + np.timedelta64(seconds, "s")
    other = cut(market.with_another_future(after, seed), built)
    for mine, theirs in zip(examples, other, strict=True):
        past = [[plain(e) for e in part if e.target.times.available_at[-1] <= after] for part in (mine, theirs)]
        assert past[0] == past[1]


def test_dates_are_in_order():
    day = date(2024, 1, 1)
    with pytest.raises(ValueError, match="`start` must lie before `validate_from`"):
        Training(validate_from=day, start=day)
    with pytest.raises(ValueError, match="`until` must lie after `validate_from`"):
        Training(validate_from=day, until=day - timedelta(1))

"""Calibration: covers what it says whatever the raw envelope, learns nothing early, is the same however fed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw.calibration import COUNTED, Calibrator, Conformal
from kronosfw.config import Calibration
from kronosfw.lessons import Learned
from kronosfw.types import Forecast, moment

BOUNDS = (1,)
LEVELS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
STEPS = 3


def calibrator(**options) -> Calibrator:
    return Calibrator("raw", Calibration(**{"trust": 10, **options}), BOUNDS)


def forecast(p50=100.0, half=10.0, levels=LEVELS) -> Forecast:
    spread = half * np.array([(q - 0.5) / 0.4 for q in levels])
    times = moment("2024-01-01") + np.arange(STEPS) * np.timedelta64(1, "D")
    quantiles = np.tile(p50 + spread, (STEPS, 1))[:, None, :]
    return Forecast("A", moment("2024-01-01"), times, levels, quantiles, model="raw")


def outcomes(days, draw, asset_class="crypto", symbols=("A",), first=0) -> pd.DataFrame:
    """Return scored predictions of the forecast above, one outcome for each day, symbol and step."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        (start + timedelta(days=d + step), s, start + timedelta(days=d), step, asset_class, draw(), 90.0, 110.0)
        for d in range(first, first + days)
        for s in symbols
        for step in range(1, STEPS + 1)
    ]
    return pd.DataFrame(rows, columns=list(COUNTED))


def envelope(f: Forecast):
    return f.at((0.1, 0.5, 0.9)).T


@pytest.mark.parametrize("method", ["split", "adaptive"])
@pytest.mark.parametrize(("center", "spread"), [(100, 4), (100, 30), (106, 12)], ids=["wide", "narrow", "biased"])
def test_coverage_is_mended_on_either_side(method, center, spread):
    rng = np.random.default_rng(1)
    past = outcomes(400, lambda: rng.normal(center, spread))
    known = calibrator(method=method).new.advance(past)
    low, middle, high = envelope(known.apply(forecast(), "crypto"))
    fresh = rng.normal(center, spread, 20_000)
    assert (fresh < low[1]).mean() == pytest.approx(0.1, abs=0.035)
    assert (fresh > high[1]).mean() == pytest.approx(0.1, abs=0.035)
    assert (middle == 100).all()


def test_the_adaptive_kind_follows_a_change_faster():
    """Volatility triples: of the next outcomes split calibration misses more."""
    rng = np.random.default_rng(2)
    calm, wild = outcomes(300, lambda: rng.normal(100, 8)), outcomes(60, lambda: rng.normal(100, 24), first=300)
    missed = {}
    for method in ("split", "adaptive"):
        known, count = calibrator(method=method, rate=0.05).new.advance(calm), 0
        for _, day in wild.groupby("as_of"):
            low, _, high = envelope(known.apply(forecast(), "crypto"))
            count += int(((day["realised"] < low[1]) | (day["realised"] > high[1])).sum())
            known = known.advance(day)
        missed[method] = count / len(wild)
    assert missed["adaptive"] < missed["split"] - 0.05


def test_without_outcomes_nothing_is_moved():
    raw = forecast()
    found = calibrator().new.apply(raw, "crypto")
    assert found.quantiles.tobytes() == raw.quantiles.tobytes()
    assert found.steps[0]["calibration"] == {"low": 0.0, "high": 0.0, "n": 0}


def test_few_outcomes_move_little():
    """As many as are asked for move half as far as their quantile says."""
    moved = [
        calibrator(trust=trust)
        .new.advance(outcomes(100, lambda: 130.0))
        .apply(forecast(), "forex")
        .steps[0]["calibration"]
        for trust in (0, 100, 900)
    ]
    assert [m["high"] for m in moved] == pytest.approx([1.0, 0.5, 0.1])
    assert {m["n"] for m in moved} == {0}


@pytest.mark.parametrize("method", ["split", "adaptive"])
def test_many_symbols_that_move_together_are_no_many_moments(method):
    """A right envelope stays right: a day of 200 symbols with a common factor is one outcome of that, not 200."""
    rng = np.random.default_rng(6)
    days, symbols = 300, 200
    common, own = rng.normal(size=(days, 1)), rng.normal(size=(days, symbols))
    realised = 100 + (np.sqrt(0.4) * common + np.sqrt(0.6) * own) * 10 / 1.2816
    start = pd.Timestamp("2024-01-01", tz="UTC")
    known, inside = calibrator(method=method).new, []
    for day, came in enumerate(realised):
        low, _, high = envelope(known.apply(forecast(), "crypto"))
        inside.append(((low[0] <= came) & (came <= high[0])).mean())
        at = start + pd.Timedelta(days=day)
        rows = [(at, f"S{i:03d}", at, 1, "crypto", y, 90.0, 110.0) for i, y in enumerate(came)]
        known = known.advance(pd.DataFrame(rows, columns=list(COUNTED)))
    assert np.mean(inside[30:]) == pytest.approx(0.8, abs=0.03)
    assert max(len(moment) for moment in known.scores["crypto|1|low"]) <= 8, "what is kept is small"


def test_a_class_goes_its_own_way_once_it_has_outcomes():
    rng = np.random.default_rng(3)
    crypto = outcomes(300, lambda: rng.normal(100, 25))
    equity = outcomes(300, lambda: rng.normal(100, 4), "equity", ("B",))
    known = calibrator(trust=30).new.advance(pd.concat([crypto, equity]))
    moved = {c: known.apply(forecast(), c).steps[0]["calibration"]["high"] for c in ("crypto", "equity", "forex")}
    assert moved["equity"] < 0 < moved["forex"] < moved["crypto"]


@settings(max_examples=30)
@given(st.floats(-0.9, 3), st.floats(-0.9, 3), st.floats(-9, 9))
def test_quantiles_never_cross_and_p50_stays(low, high, shift):
    scores = {f"*|{b}|{s}": [[v]] * 20 for b in ("1", "2+") for s, v in (("low", low), ("high", high))}
    known = Conformal(Calibration(trust=0), BOUNDS, scores, {})
    raw = forecast(p50=100 + shift)
    found = known.apply(raw, "crypto")
    assert (np.diff(found.quantiles[:, 0], axis=-1) >= 0).all()
    assert (found.at((0.5,)) == raw.at((0.5,))).all()
    if low > -0.4 and high > -0.4:
        assert found.at((0.9,)) == pytest.approx(raw.at((0.9,)) + 20 * high)
        assert found.at((0.1,)) == pytest.approx(raw.at((0.1,)) - 20 * low)


def test_an_envelope_without_width_is_left_alone():
    raw = forecast(half=0.0)
    past = outcomes(60, lambda: 120.0)
    known = calibrator().new.advance(past).advance(past.assign(p10=100.0, p90=100.0))
    assert known.apply(raw, "crypto").quantiles.tobytes() == raw.quantiles.tobytes()


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 40), method=st.sampled_from(["split", "adaptive"]))
def test_the_same_whether_fed_at_once_or_bit_by_bit_and_in_any_order(seed, cut, method):
    rng = np.random.default_rng(seed)
    past = pd.concat(
        [outcomes(30, lambda: rng.normal(100, 15), c, (s,)) for c, s in (("crypto", "A"), ("equity", "B"))]
    )
    whole = calibrator(method=method).new.advance(past.sample(frac=1, random_state=seed))
    moments = sorted(past["realised_at"].unique())
    border = moments[min(cut, len(moments) - 1)]
    first, rest = past[past["realised_at"] < border], past[past["realised_at"] >= border]
    parts = calibrator(method=method).new.advance(first).advance(rest)
    assert parts.state == whole.state
    assert parts.until == whole.until
    again = Conformal.restored(whole.options, BOUNDS, whole.until, whole.state)
    assert (
        again.apply(forecast(), "crypto").quantiles.tobytes()
        == whole.apply(forecast(), "crypto").quantiles.tobytes()
    )


class Told:
    """Lessons made up for the occasion."""

    def __init__(self, past, kept=None):
        self.frame, self.kept, self.asked = past, kept, []

    def past(self, models, since=None):
        self.asked.append(since)
        assert models == ["raw"]
        return self.frame if since is None else self.frame[self.frame["realised_at"] > since]

    def learned(self, model, options):
        return self.kept


def test_only_what_has_come_since_is_learned():
    rng = np.random.default_rng(5)
    past = outcomes(40, lambda: rng.normal(100, 15))
    mine = calibrator()
    whole, learned = mine.learn(Told(past))
    assert isinstance(learned, Learned)
    assert not learned.kept
    early, then = mine.learn(Told(past[past["realised_at"] < datetime(2024, 1, 20, tzinfo=UTC)]))
    lessons = Told(past, (then.until, then.state))
    late, after = mine.learn(lessons)
    assert lessons.asked == [then.until]
    assert late.state == whole.state
    assert early.state != whole.state
    _, same = mine.learn(Told(past, (after.until, after.state)))
    assert same.kept
    assert mine.learn(Told(past[:0])) == (mine.new, None) or mine.learn(Told(past[:0]))[1] is None


def test_other_options_are_another_calibration():
    assert calibrator().key != calibrator(rate=0.5).key
    assert calibrator().key != replace(calibrator(), bounds=(1, 5)).key
    assert calibrator().name == "raw_calibrated"

"""The built-in ensemblers that learn: greedy and online."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from kronosfw.builtin.ensemblers import Greedy, Online
from kronosfw.builtin.ensemblers.greedy import selected
from kronosfw.builtin.ensemblers.online import aggregated
from kronosfw.metrics import pinball
from kronosfw.past import scored
from kronosfw.testing import EnsemblerContract

from .windows_for_tests import walk, window

LEVELS = (0.1, 0.5, 0.9)
LATE = np.datetime64("2040-01-01", "us")
START = np.datetime64("2022-01-01", "us")
DAY = np.timedelta64(1, "D")
WINDOW = window(walk(30), horizon=7)
every = pytest.mark.parametrize("options", [Greedy(), Online()], ids=lambda o: o.type)


class TestGreedy(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return Greedy(least=100)


class TestOnline(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return Online()


def past(days, widths, *, classes=("equity",), steps=2, seed=0) -> pd.DataFrame:
    """Return scored predictions of normal distributions, so many times too wide; a mapping says so by class."""
    rng = np.random.default_rng(seed)
    day, c, step = (a.ravel() for a in np.indices((days, len(classes), steps)))
    kind = np.array(classes, dtype=object)[c]
    spread = np.sqrt(step + 1.0)
    as_of = START + day * DAY
    realised_at = as_of + (step + 1) * DAY
    common = {
        "symbol": kind,
        "as_of": pd.to_datetime(as_of, utc=True),
        "step": step + 1,
        "asset_class": kind,
        "last_close": 100.0,
        "quantiles": None,
        "event_context": None,
        "realised": 100 + spread * rng.normal(size=len(day)),
        "realised_at": pd.to_datetime(realised_at, utc=True),
        "event_active": None,
        "regime": "normal",
    }
    frames = []
    for name, width in widths.items():
        wide = np.array([width[k] if isinstance(width, dict) else width for k in kind])
        prices = {p: 100 + spread * wide * z for p, z in (("p10", -1.2816), ("p50", 0.0), ("p90", 1.2816))}
        frames.append(pd.DataFrame({**common, "model_name": name, **prices}))
    return pd.concat(frames, ignore_index=True)


def members(names):
    for i, name in enumerate(names):
        spread = (i + 1) * np.array([-1.28, 0, 1.28])
        yield replace(WINDOW.forecast(LEVELS, np.tile(100 + spread, (7, 1))), model=name)


def combine(ensembler, names, asset_class="equity"):
    return ensembler.combine(replace(WINDOW, asset_class=asset_class), list(members(names)), LEVELS)


def weights(forecast, step=0):
    return forecast.contexts()[step]["weights"]


@every
def test_the_weight_goes_to_whoever_is_right_in_each_class(options):
    honest = {"crypto": 1.0, "equity": 3.0}, {"crypto": 3.0, "equity": 1.0}
    ensembler = options.build()
    ensembler.fit(past(300, {"a": honest[0], "b": honest[1]}, classes=("crypto", "equity")), LATE)
    assert weights(combine(ensembler, "ab", "crypto"))["a"] > 0.75
    assert weights(combine(ensembler, "ab", "equity"))["b"] > 0.75


@every
def test_members_alike_share_alike(options):
    ensembler = options.build()
    ensembler.fit(past(300, {"a": 1.0, "b": 1.0, "c": 1.0}), LATE)
    assert weights(combine(ensembler, "abc")) == pytest.approx(dict.fromkeys("abc", 1 / 3))


@every
def test_missing_and_unknown_members(options):
    ensembler = options.build()
    ensembler.fit(past(300, {"a": 1.0, "b": 2.0, "c": 3.0}), LATE)
    whole, part = weights(combine(ensembler, "abc")), weights(combine(ensembler, "bc"))
    assert sum(part.values()) == pytest.approx(1)
    if options.type == "greedy":
        assert part["b"] == pytest.approx(whole["b"] / (whole["b"] + whole["c"]))
    assert weights(combine(ensembler, "abx"))["x"] == 0
    assert weights(combine(ensembler, "xy")) == {"x": 0.5, "y": 0.5}


@every
def test_a_member_missing_in_part_of_the_past_is_weighed_by_the_rest(options):
    table = past(300, {"a": 1.0, "b": 3.0})
    early = table["as_of"] < pd.Timestamp("2022-06-01", tz="UTC")
    ensembler = options.build()
    ensembler.fit(table[~(early & (table["model_name"] == "a"))], LATE)
    assert weights(combine(ensembler, "ab"))["a"] > 0.7


@every
def test_the_future_and_the_order_of_rows_change_nothing(options):
    table = past(120, {"a": 1.0, "b": 2.0, "c": 0.5})
    cutoff = START + 100 * DAY
    later = table["realised_at"] > pd.Timestamp(cutoff, tz="UTC")
    changed = table.assign(realised=np.where(later, 500.0, table["realised"]))
    served = []
    for rows in (table, changed, table[~later], changed.sample(frac=1, random_state=0)):
        ensembler = options.build()
        ensembler.fit(rows, cutoff)
        served.append(combine(ensembler, "abc"))
    assert len({forecast.quantiles.tobytes() for forecast in served}) == 1
    assert all(forecast.event_context == served[0].event_context for forecast in served)


@every
def test_it_says_what_it_has_learned(options):
    ensembler = options.build()
    assert ensembler.summary == ()
    ensembler.fit(past(300, {"a": 1.0, "b": 1.0}, steps=1), LATE)
    place = {"greedy": ("equity", "all classes"), "online": ("equity, steps 1",)}[options.type]
    assert ensembler.summary == tuple(f"{name}: a 0.50, b 0.50" for name in place)


@every
def test_with_nothing_known_weights_are_equal_and_it_is_said_why(options):
    ensembler = options.build()
    for rows in (0, 3):
        ensembler.fit(past(rows, {"a": 1.0, "b": 2.0}), LATE)
        told = combine(ensembler, "ab", "crypto").contexts()[0]
        assert told["weights"] == {"a": 0.5, "b": 0.5}
        assert told["note"].startswith("equal weights: ")
        assert "crypto" in told["note"]


def test_greedy_takes_all_classes_together_where_one_has_few():
    ensembler = Greedy(least=250).build()
    table = pd.concat([past(200, {"a": 1.0, "b": 3.0}), past(20, {"a": 3.0, "b": 1.0}, classes=("crypto",))])
    ensembler.fit(table, LATE)
    crypto = combine(ensembler, "ab", "crypto")
    assert weights(crypto)["a"] > 0.7
    assert "note" not in crypto.event_context


def test_greedy_comes_as_close_as_its_shares_allow():
    """The best mix of a half and two times the true width is one to two."""
    known = scored(past(2000, {"narrow": 0.5, "wide": 2.0}, steps=1), "ensemble", LATE)
    assert selected(known, 40)[1] == pytest.approx(1 / 3, abs=0.06)


def slowly_selected(known, rounds):
    """Forward selection with replacement, every mean computed anew from the members that are there."""
    quantiles, outcome = known.scaled
    there = np.isfinite(quantiles[..., 0])

    def loss_of(shares):
        weights = shares * there / (shares * there).sum(axis=1, keepdims=True)
        combined = np.einsum("nk,nkq->nq", weights, np.nan_to_num(quantiles))
        return pinball(outcome, combined, known.levels).mean()

    shares = np.ones(len(known.members))
    path = [shares]
    for _ in range(rounds):
        shares = min((shares + one for one in np.eye(len(shares))), key=loss_of)
        path.append(shares)
    best = min(path, key=loss_of)
    return best / best.sum()


def test_greedy_selects_by_the_mean_of_those_that_are_there():
    table = past(60, {"a": 0.5, "b": 1.6, "c": 3.0})
    gone = (table["model_name"] == "b") & (table["as_of"] > pd.Timestamp("2022-01-20", tz="UTC"))
    known = scored(table[~gone], "ensemble", LATE)
    assert selected(known, 12) == pytest.approx(slowly_selected(known, 12))


def loss(known, shares):
    quantiles, outcome = known.scaled
    return pinball(outcome, np.einsum("nkq,kq->nq", quantiles, shares), known.levels).mean()


def test_greedy_is_never_worse_on_the_past_than_equal_weights():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        table = past(40, dict(zip("abcd", rng.uniform(0.3, 3, 4), strict=True)), seed=seed)
        known = scored(table, "ensemble", LATE)
        learned = np.tile(selected(known, 25)[:, None], 3)
        assert loss(known, learned) <= loss(known, np.full((4, 3), 0.25))


def test_online_weights_differ_by_level_and_bucket():
    table = past(400, {"low": 1.0, "high": 1.0}, steps=7)
    # Above the median one of them is right, below it the other.
    for name, column in (("low", "p90"), ("high", "p10")):
        mine = table["model_name"] == name
        table.loc[mine, column] += 3 * (table.loc[mine, column] - 100)
    ensembler = Online(buckets=(1, 5)).build()
    ensembler.fit(table, LATE)
    forecast = combine(ensembler, ("low", "high"))
    assert [step["weights"] for step in forecast.steps[1:5]] == [forecast.steps[1]["weights"]] * 4
    shares = ensembler._weights["equity", "1"]
    assert ensembler._members == ("high", "low")
    assert shares[1, 0] > 0.8
    assert shares[0, 2] > 0.8
    assert shares[:, 1] == pytest.approx(0.5)
    assert forecast.steps[0]["weights"]["low"] == pytest.approx(shares[1].mean())


def test_online_levels_between_those_learned_have_weights_between():
    ensembler = Online().build()
    ensembler.fit(past(100, {"a": 1.0, "b": 3.0}), LATE)
    levels = (0.1, 0.3, 0.5, 0.9)
    wide = [
        replace(WINDOW.forecast(levels, np.full((7, 4), price)), model=name)
        for name, price in zip("ab", (90, 110), strict=True)
    ]
    served = ensembler.combine(replace(WINDOW, asset_class="equity"), wide, levels).quantiles[0, 0]
    shares = ensembler._weights["equity", "1"][0]
    expected = 110 - 20 * np.interp(levels, LEVELS, shares)
    assert served == pytest.approx(np.sort(expected))


def slow(known, group, groups):
    """Bernstein Online Aggregation row by row, as the paper has it."""
    quantiles, outcome = known.scaled
    n, k, q = quantiles.shape
    history = [np.full((groups, k, q), 1 / k)]
    moments = sorted(set(known.realised_at))
    regret, spread, variance = np.zeros((3, groups, k, q))
    for moment in moments:
        gains = [[] for _ in range(groups)]
        for i in range(n):
            if known.realised_at[i] != moment:
                continue
            seen = sum(m <= known.as_of[i] for m in moments)
            w = history[seen][group[i]] * np.isfinite(quantiles[i])
            w = w / w.sum(axis=0)
            combined = np.nansum(w * quantiles[i], axis=0)
            slope = (outcome[i] < combined) - np.array(known.levels)
            gains[group[i]].append(np.nan_to_num(slope * (combined - quantiles[i])))
        now = history[-1].copy()
        for g in range(groups):
            if not gains[g]:
                continue
            r = np.mean(gains[g], axis=0)
            spread[g] = np.maximum(spread[g], abs(r))
            variance[g] += r**2
            rate = np.where(
                variance[g] > 0,
                np.minimum(
                    0.5 / np.maximum(spread[g], 1e-300), np.sqrt(np.log(k) / np.maximum(variance[g], 1e-300))
                ),
                0,
            )
            regret[g] += (r - rate * r**2) / 2
            now[g] = np.exp(rate * regret[g]) / np.exp(rate * regret[g]).sum(axis=0)
        history.append(now)
    return history[-1]


def test_online_replays_what_it_would_have_done_day_by_day():
    table = past(30, {"a": 1.0, "b": 2.0, "c": 0.4}, classes=("crypto", "equity"), steps=3)
    gone = (table["model_name"] == "c") & (table["as_of"] < pd.Timestamp("2022-01-15", tz="UTC"))
    known = scored(table[~gone], "ensemble", LATE)
    group = np.where(known.asset_class == "crypto", 0, 1) * 2 + (known.step > 1)
    assert aggregated(known, group, 4) == pytest.approx(slow(known, group, 4), rel=1e-9)


def test_online_is_soon_as_good_as_the_best_member():
    """Its regret grows with the square root of time: what it loses to the best is a small share after a year."""
    table = past(365, {"a": 1.0, "b": 2.5, "c": 0.3, "d": 4.0}, steps=1)
    known = scored(table, "ensemble", LATE)
    final = aggregated(known, np.zeros(len(known), dtype=int), 1)[0]
    best = min(loss(known, np.tile(np.eye(4)[:, [i]], 3)) for i in range(4))
    assert loss(known, final) < 1.01 * best
    assert loss(known, np.full((4, 3), 0.25)) > 1.03 * best


@pytest.mark.parametrize(
    "wrong", [{"buckets": (5, 1)}, {"levels": (0.9, 0.1)}, {"levels": (0.5, 0.5)}, {"buckets": ()}]
)
def test_online_options_must_increase(wrong):
    with pytest.raises(ValidationError):
        Online(**wrong)

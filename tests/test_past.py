"""Scored predictions as arrays."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronosfw.past import POOLED, SPREAD, counted, enough, scored, too_few

LATE = np.datetime64("2040-01-01", "us")
DAY = pd.Timedelta(days=1)


def frame(days=4, symbols=("B", "A"), steps=2, models=("har", "drift", "ensemble"), seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for d in range(days):
        as_of = pd.Timestamp("2024-03-01", tz="UTC") + d * DAY
        for symbol in symbols:
            last = 50.0 + d
            for step in range(1, steps + 1):
                outcome = {"realised": last * (1 + 0.01 * rng.normal()), "realised_at": as_of + step * DAY}
                for model in models:
                    low, mid, high = np.sort(last * (1 + 0.02 * rng.normal(size=3)))
                    rows.append(
                        {
                            "symbol": symbol,
                            "as_of": as_of,
                            "model_name": model,
                            "step": step,
                            "asset_class": {"A": "equity"}.get(symbol, "crypto"),
                            "p10": low,
                            "p50": mid,
                            "p90": high,
                            "quantiles": {"close": {"0.25": (low + mid) / 2}},
                            "last_close": last,
                            "event_context": {"note": f"{symbol}{d}{step}"} if model == "ensemble" else None,
                            "regime": "low",
                            "event_active": [None, True, False][d % 3],
                            **outcome,
                        }
                    )
    table = pd.DataFrame(rows)
    return table.astype(
        {"as_of": "datetime64[us, UTC]", "realised_at": "datetime64[us, UTC]", "event_active": "boolean"}
    )


def test_rows_members_and_levels_are_where_they_belong():
    table = frame()
    past = scored(table, "ensemble", LATE, (0.1, 0.25, 0.5, 0.9))
    assert past.members == ("drift", "har")
    assert past.quantiles.shape == (16, 2, 4)
    assert list(zip(past.as_of, past.symbol, past.step, strict=True)) == sorted(
        zip(past.as_of, past.symbol, past.step, strict=True)
    )
    told = {(r.as_of.to_datetime64(), r.symbol, r.step, r.model_name): r for r in table.itertuples()}
    for n in range(len(past)):
        key = past.as_of[n], past.symbol[n], past.step[n]
        for k, member in enumerate(past.members):
            row = told[(*key, member)]
            prices = np.array([row.p10, row.quantiles["close"]["0.25"], row.p50, row.p90])
            assert past.quantiles[n, k] == pytest.approx(prices / row.last_close - 1)
        own = told[(*key, "ensemble")]
        assert past.context[n] == own.event_context
        assert past.outcome[n] == pytest.approx(own.realised / own.last_close - 1)
        assert past.realised_at[n] == own.realised_at.to_datetime64()
        assert (past.asset_class[n], past.regime[n]) == (own.asset_class, "low")
        widths = [told[(*key, m)].p90 - told[(*key, m)].p10 for m in past.members]
        assert past.scale[n] == pytest.approx(np.mean(widths) / own.last_close / SPREAD)
    active = {np.nan_to_num(value, nan=-1) for value in past.event_active}
    assert active == {-1, 0, 1}


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(random):
    table = frame()
    order = list(range(len(table)))
    random.shuffle(order)
    one, other = scored(table, "ensemble", LATE), scored(table.iloc[order], "ensemble", LATE)
    assert one.quantiles.tobytes() == other.quantiles.tobytes()
    assert one.scale.tobytes() == other.scale.tobytes()
    assert one.context.tolist() == other.context.tolist()


def test_what_is_missing_is_nan():
    table = frame()
    gone = (table["model_name"] == "har") & (table["symbol"] == "A")
    past = scored(table[~gone], "ensemble", LATE, (0.1, 0.75))
    at_a = past.symbol == "A"
    assert np.isnan(past.quantiles[at_a, 1]).all()
    assert np.isfinite(past.quantiles[~at_a, 1, 0]).all()
    assert np.isnan(past.quantiles[..., 1]).all(), "the level 0.75 is not in the table"
    assert np.isfinite(past.scale).all()


def test_what_came_after_the_cutoff_is_left_out():
    table = frame()
    cutoff = np.datetime64("2024-03-03", "us")
    past = scored(table, "ensemble", cutoff)
    assert past.realised_at.max() == cutoff
    assert len(past) == 6
    known = table[table["realised_at"] <= pd.Timestamp(cutoff, tz="UTC")]
    assert scored(known, "ensemble", LATE).quantiles.tobytes() == past.quantiles.tobytes()


def test_rows_that_teach_nothing_are_left_out():
    table = frame(models=("har", "ensemble"))
    flat = table.assign(p10=table["p50"], p90=table["p50"])
    assert len(scored(flat, "ensemble", LATE)) == 0
    assert len(scored(table[table["model_name"] == "ensemble"], "ensemble", LATE)) == 0
    assert len(scored(table[:0], "ensemble", LATE)) == 0
    strangers = scored(table, "another", LATE)
    assert strangers.members == ("ensemble", "har")
    assert set(strangers.context) == {None}


def test_negative_prices_have_returns_in_the_right_direction():
    table = frame(models=("har",))
    columns = ["p10", "p50", "p90", "last_close", "realised"]
    shifted = table.assign(**{name: table[name] - 200 for name in columns})
    past = scored(shifted, "ensemble", LATE)
    assert (np.diff(past.quantiles, axis=2) >= 0).all()
    up = table["realised"] > table["last_close"]
    assert (past.outcome > 0).sum() == up.sum()


def test_groups_that_are_large_enough():
    classes = np.array(["crypto"] * 5 + ["equity"] * 2)
    assert set(enough(classes, 5)) == {"crypto", POOLED}
    assert enough(classes, 5)["crypto"].sum() == 5
    assert set(enough(classes, 8)) == set()
    assert counted(classes) == {"crypto": 5, "equity": 2, POOLED: 7}
    note = too_few("equity", counted(classes), 8)
    assert note == "equal weights: 2 scored predictions of equity and 7 in all are known, learning takes 8"


def test_many_rows_take_little_time():
    table = pd.concat([frame(days=50)] * 1, ignore_index=True)
    many = pd.concat([table.assign(symbol=table["symbol"] + str(i)) for i in range(170)], ignore_index=True)
    assert len(many) > 100_000
    start = time.perf_counter()
    assert len(scored(many, "ensemble", LATE)) == len(many) // 3
    assert time.perf_counter() - start < 5

"""The published weights on real candles; for whoever has the hub and the data: pytest -m network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kronosfw_kronos_event.kronos.candles import candles, stamps
from kronosfw_kronos_event.kronos.draws import Filter
from kronosfw_kronos_event.kronos.generation import Options, Series
from kronosfw_kronos_event.kronos.hub import PUBLISHED
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.sampler import Sampler
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer

BARS = Path(__file__).parents[3] / "../shared/data/bars_5min/XSHG_600977.csv"
MODEL = "NeoQuasar/Kronos-small"
HORIZON = 30
PRICES = ["open", "high", "low", "close"]


@pytest.mark.network
@pytest.mark.data
@pytest.mark.skipif(not BARS.exists(), reason="the real bars are not there")
@pytest.mark.parametrize(("context", "expected"), [(512, 0.008979), (256, 0.003741)])
def test_greedy_forecasts_err_as_published(context: int, expected: float) -> None:
    """The mean squared error over four windows is that of the authors' own regression test."""
    frame = pd.read_csv(BARS, parse_dates=["timestamps"])
    tokenizer = KronosTokenizer.from_pretrained(PUBLISHED[MODEL].tokenizer)
    model = Kronos.from_pretrained(MODEL)
    greedy = Options(paths=2, method="independent", filter=Filter(top_k=1), max_context=512, sliding="exact")
    starts = frame.iloc[context : len(frame) - HORIZON].sample(4, random_state=123).sort_index().index
    series, targets = [], []
    for start in starts:
        part = frame.iloc[start - context : start]
        known = candles(part[PRICES].to_numpy(), part["volume"].to_numpy(), part["amount"].to_numpy())
        times = frame["timestamps"].iloc[start - context : start + HORIZON].to_numpy()
        series.append(Series(known, stamps(times), seed=0))
        targets.append(frame[PRICES].iloc[start : start + HORIZON].to_numpy())
    drawn = Sampler(tokenizer, model, greedy).sample(series)
    errors = [paths.candles[0, :, :4] - target for paths, target in zip(drawn, targets, strict=True)]
    assert np.square(errors).mean() == pytest.approx(expected, rel=1e-3)

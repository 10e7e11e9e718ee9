"""The published implementation's figures, on a tiny tokenizer and model in the published format."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from kronosfw_kronos_event.kronos.candles import COLUMNS, Floats, Scale, stamps
from kronosfw_kronos_event.kronos.draws import Filter
from kronosfw_kronos_event.kronos.generation import Options, Series, Sliding
from kronosfw_kronos_event.kronos.model import Kronos, cross_entropies
from kronosfw_kronos_event.kronos.sampler import Sampler
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from numpy.typing import NDArray
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
ARRAYS = np.load(GOLDEN / "golden.npz")


@pytest.fixture(scope="module")
def tokenizer() -> KronosTokenizer:
    return KronosTokenizer.from_pretrained(GOLDEN / "tokenizer")


@pytest.fixture(scope="module")
def model() -> Kronos:
    return Kronos.from_pretrained(GOLDEN / "model")


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def given(name: str) -> Tensor:
    """Return an array as a batch of one."""
    array = torch.from_numpy(ARRAYS[name])[None]
    return array if array.is_floating_point() else array.long()


def agree(found: Tensor | Floats, name: str, atol: float = 1e-6) -> None:
    expected = ARRAYS[name]
    np.testing.assert_allclose(np.asarray(found).reshape(expected.shape), expected, rtol=1e-4, atol=atol)


@cache
def column_of(name: str, *columns: str) -> NDArray[np.object_]:
    with (GOLDEN / name).open(newline="") as lines:
        return np.array([[row[column] for column in columns] for row in csv.DictReader(lines)], dtype=object)


def market() -> Series:
    times = np.concatenate(
        [column_of("context.csv", "timestamps"), column_of("future_timestamps.csv", "timestamps")]
    )
    return Series(column_of("context.csv", *COLUMNS).astype(float), stamps(times[:, 0].astype("datetime64[us]")), 0)


def test_the_context_as_the_model_sees_it() -> None:
    series = market()
    scale = Scale.of(series.candles)
    agree(scale.mean, "mean")
    agree(scale.std, "std")
    # The published code subtracts in float32, which costs it digits where prices differ little.
    agree(scale.normalise(series.candles), "context", atol=5e-5)
    bars = len(series.candles)
    np.testing.assert_array_equal(series.stamps[:bars], ARRAYS["stamp_context"])
    np.testing.assert_array_equal(series.stamps[bars:], ARRAYS["stamp_future"])


def test_tokenizer(tokenizer: KronosTokenizer) -> None:
    s1, s2 = tokenizer.encode(given("context"))
    np.testing.assert_array_equal(s1[0], ARRAYS["s1"])
    np.testing.assert_array_equal(s2[0], ARRAYS["s2"])
    agree(tokenizer.decode(s1, s2), "decoded")
    coarse, full, _ = tokenizer(given("context"))
    agree(coarse, "recon_coarse")
    agree(full, "recon")


def test_loss_of_the_quantiser(tokenizer: KronosTokenizer) -> None:
    tokenizer.train()
    agree(tokenizer(given("context"))[2], "bsq_loss")
    tokenizer.eval()


def test_model_as_it_generates(model: Kronos) -> None:
    hidden = model.hidden(given("s1"), given("s2"), given("stamp_context"))
    agree(hidden, "hidden")
    logits = model.s1_logits(hidden)
    agree(logits, "s1_logits")
    s1 = logits[:, -1:].argmax(-1)
    np.testing.assert_array_equal(s1[0], ARRAYS["s1_argmax_last"])
    agree(model.s2_logits(hidden[:, -1:], s1, hidden), "s2_logits_last")


@pytest.mark.parametrize("training", [False, True])
def test_model_as_it_is_trained(model: Kronos, training: bool) -> None:
    s1, s2 = given("s1"), given("s2")
    s1_logits, s2_logits = model.train(training)(s1[:, :-1], s2[:, :-1], given("stamp_context")[:, :-1], s1[:, 1:])
    model.eval()
    agree(s1_logits, "teacher_s1_logits")
    agree(s2_logits, "teacher_s2_logits")
    first, second = cross_entropies(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    agree(torch.stack([(first + second) / 2, first, second]), "teacher_loss")


@pytest.mark.parametrize("method", ["independent", "rqmc"])
@pytest.mark.parametrize(
    ("max_context", "sliding", "name"),
    [(512, "shorten", "greedy_forecast"), (64, "exact", "greedy_forecast_max_context_64")],
)
def test_greedy_forecast(
    tokenizer: KronosTokenizer,
    model: Kronos,
    max_context: int,
    sliding: Sliding,
    name: str,
    method: Literal["independent", "rqmc"],
) -> None:
    options = Options(2, method, Filter(top_k=1), max_context, sliding)
    paths = Sampler(tokenizer, model, options).sample([market()])[0]
    for path in paths.candles:
        agree(path, name)

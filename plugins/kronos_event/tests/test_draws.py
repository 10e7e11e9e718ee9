"""Draws: what is left of a distribution, how a uniform becomes a token, and that each path is an exact draw."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kronosfw_kronos_event.kronos.candles import Scale
from kronosfw_kronos_event.kronos.draws import Filter, Method, invert, uniforms
from kronosfw_kronos_event.kronos.engine import Engine
from kronosfw_kronos_event.kronos.generation import Generation, Options
from kronosfw_kronos_event.kronos.model import KronosConfig
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch import Tensor

from .literal import probabilities
from .made import pair, series

methods = pytest.mark.parametrize("method", ["independent", "rqmc"])
logits = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=st.floats(-12, 12, width=32))


@given(logits, st.floats(0.2, 4), st.integers(0, 45), st.floats(0.01, 1))
def test_filter(x: NDArray[np.float32], temperature: float, top_k: int, top_p: float) -> None:
    # Ties and sums that fall on top_p may go either way.
    x = x + np.random.default_rng(0).permutation(x.shape[-1]).astype(np.float32) * 1e-3
    rule = Filter(temperature, top_k, top_p)
    margins: list[float] = []
    expected = probabilities(torch.from_numpy(x), rule, margins)
    weights = rule(torch.from_numpy(x)).double()
    if min(margins, default=1.0) > 1e-5:
        np.testing.assert_allclose(weights / weights.sum(-1, keepdim=True), expected, atol=1e-5)


def test_top_k_and_top_p_are_both_honoured() -> None:
    x = torch.log(torch.tensor([0.1, 0.4, 0.3, 0.2]))
    assert Filter(top_k=3)(x).nonzero().flatten().tolist() == [1, 2, 3]
    assert Filter(top_p=0.85)(x).nonzero().flatten().tolist() == [1, 2, 3]
    # Of the three likeliest the first two are 78 %.
    assert Filter(top_k=3, top_p=0.75)(x).nonzero().flatten().tolist() == [1, 2]
    assert Filter(top_k=2, top_p=0.85)(x).nonzero().flatten().tolist() == [1, 2]


@given(logits, st.floats(0, 1, exclude_max=True, width=32))
def test_greedy_takes_the_likeliest_whatever_is_drawn(x: NDArray[np.float32], uniform: float) -> None:
    rows = torch.from_numpy(x)
    at = invert(Filter(top_k=1)(rows), torch.full(rows.shape[:1], uniform))
    assert torch.equal(rows.gather(-1, at[:, None])[:, 0], rows.amax(-1))


weights = arrays(
    np.float32, st.integers(1, 30), elements=st.one_of(st.just(0.0), st.floats(2.0**-100, 1, width=32))
).filter(np.any)
shares = st.lists(st.one_of(st.floats(0, 1, exclude_max=True, width=32), st.just(1 - 2.0**-24)), min_size=1)


@given(weights, shares)
def test_inversion(row: NDArray[np.float32], drawn: list[float]) -> None:
    uniform = np.array(drawn, np.float32)
    own = invert(torch.from_numpy(row).expand(len(drawn), -1), torch.from_numpy(uniform)).numpy()
    shared = invert(torch.from_numpy(row)[None], torch.from_numpy(uniform)).numpy()
    edges = row.astype(float).cumsum()
    np.testing.assert_array_equal(own, np.searchsorted(edges, uniform * edges[-1], side="right"))
    np.testing.assert_array_equal(shared, own)
    assert (row[own] > 0).all()


def test_inversion_ends_before_weights_of_zero() -> None:
    row = torch.tensor([[0.0, 0.1, 0.0, 0.7, 0.0, 0.0]])
    assert invert(row, torch.tensor([0.0, 0.124, 0.126, 1 - 2.0**-24, 1.0])).tolist() == [1, 1, 3, 3, 3]


@methods
def test_uniforms_belong_to_their_series(method: Method) -> None:
    together = uniforms([5, 2**63, 7], 40, 33, method)
    assert together.shape == (2, 40, 3, 33)
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() < 1
    np.testing.assert_array_equal(together[:, :, [2]], uniforms([7], 40, 33, method))
    np.testing.assert_array_equal(together[:, :9], uniforms([5, 2**63, 7], 9, 33, method))
    assert len(np.unique(together)) > 0.99 * together.size


@pytest.mark.parametrize("paths", [1, 2, 30, 64])
def test_rqmc_puts_one_uniform_in_each_stratum(paths: int) -> None:
    drawn = uniforms(range(20), 12, paths, "rqmc")
    strata = np.sort(np.floor(drawn.astype(float) * paths), axis=-1)
    np.testing.assert_array_equal(strata, np.broadcast_to(np.arange(paths), strata.shape))


def test_near_ranks_get_uniforms_that_are_far_apart() -> None:
    s1, _ = uniforms(range(20), 12, 32, "rqmc")
    # How many of the uniforms of each quarter of the ranks fall into each quarter: about 2 of 32.
    quarters = (s1.reshape(-1, 4, 8, 1) * 4).astype(int) == np.arange(4)
    counts = quarters.sum(axis=2)
    assert counts.min() >= 1
    assert counts.max() <= 3


@methods
def test_uniforms_are_uniform_at_every_rank(method: Method) -> None:
    drawn = uniforms(range(4000), 2, 5, method)
    for of_one_rank in drawn.transpose(0, 1, 3, 2).reshape(-1, 4000):
        assert chisquare(np.bincount((of_one_rank * 20).astype(int), minlength=20)).pvalue > 1e-4


TINY = KronosConfig(s1_bits=3, s2_bits=3, n_layers=1, d_model=16, n_heads=2, ff_dim=24)
SEEDS, BARS = 4000, 8


@pytest.fixture(scope="module")
def engine() -> Engine:
    tokenizer, model = pair(TINY, seed=4)
    # Chances that differ more, and s2 that listens more to s1.
    cross = model.dep_layer.cross_attn
    for layer, factor in ((model.head.proj_s1, 2), (model.head.proj_s2, 2), (cross.q_proj, 6), (cross.out_proj, 6)):
        layer.weight.data *= factor
    return Engine(tokenizer, model)


@pytest.fixture(scope="module")
def drawn(engine: Engine) -> dict[Method, Tensor]:
    """Tokens ``[2, seeds, n, 2 steps]`` of one context under many seeds."""
    many = [replace(series(BARS, 2), seed=seed) for seed in range(SEEDS)]
    tokens = {}
    with torch.inference_mode():
        for method in get_args(Method):
            run = Generation(engine, Options(paths=4, method=method), many)
            run.run()
            tokens[method] = run.tokens
    return tokens


@pytest.fixture(scope="module")
def exact(engine: Engine) -> tuple[Tensor, Tensor]:
    """The model's chances of each pair at step 1, and of s1 at step 1 with s1 at step 2, ``[8, 8]`` each."""
    one = series(BARS, 2)
    z = torch.from_numpy(Scale.of(one.candles).normalise(one.candles)).float()
    with torch.inference_mode():
        s1, s2 = (ids.expand(64, -1) for ids in engine.tokenizer.encode(z[None]))
        stamps = torch.from_numpy(one.stamps).expand(64, -1, -1)
        first, second = torch.arange(64)[:, None] // 8, torch.arange(64)[:, None] % 8
        hidden = engine.model.hidden(s1, s2, stamps[:, :BARS])
        p1 = engine.model.s1_logits(hidden[0, -1]).double().softmax(-1)
        p2 = engine.model.s2_logits(hidden[:, -1:], first, hidden).double().softmax(-1).view(8, 8, 8)[:, 0]
        pairs = p1[:, None] * p2
        s1, s2 = torch.cat([s1, first], dim=1), torch.cat([s2, second], dim=1)
        hidden = engine.model.hidden(s1, s2, stamps[:, : BARS + 1])
        then = engine.model.s1_logits(hidden[:, -1]).double().softmax(-1).view(8, 8, 8)
    return pairs, (pairs[..., None] * then).sum(1)


def p_value(first: Tensor, second: Tensor, chances: Tensor) -> float:
    """Test counts of pairs against their chances; cells that are rarely expected are put together."""
    counts = np.bincount(first * 8 + second, minlength=64)
    expected = (chances / chances.sum()).flatten().numpy() * len(first)
    rare = expected < 8
    return float(chisquare(*(np.append(a[~rare], a[rare].sum()) for a in (counts, expected))).pvalue)


@methods
@pytest.mark.parametrize("path", [0, 3])
def test_each_path_is_an_exact_draw(
    drawn: dict[Method, Tensor], exact: tuple[Tensor, Tensor], method: Method, path: int
) -> None:
    s1, s2 = drawn[method][:, :, path]
    pairs, s1_twice = exact
    assert p_value(s1[:, 0], s2[:, 0], pairs) > 1e-4
    assert p_value(s1[:, 0], s1[:, 1], s1_twice) > 1e-4


def test_a_bias_would_be_seen(drawn: dict[Method, Tensor], exact: tuple[Tensor, Tensor]) -> None:
    s1, s2 = drawn["rqmc"][:, :, 0]
    pairs, s1_twice = exact
    warmer = pairs**0.9
    without_s1 = pairs.sum(1, keepdim=True) * pairs.sum(0)
    for wrong in (warmer, without_s1):
        assert p_value(s1[:, 0], s2[:, 0], wrong) < 1e-5
    without_memory = s1_twice.sum(1, keepdim=True) * s1_twice.sum(0)
    assert p_value(s1[:, 0], s1[:, 1], without_memory) < 1e-5

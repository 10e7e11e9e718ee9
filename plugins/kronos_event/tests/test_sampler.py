"""The fast sampler against the literal one, and what its paths must not depend on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch
from kronosfw_kronos_event.kronos.candles import EPSILON
from kronosfw_kronos_event.kronos.draws import Filter, Method
from kronosfw_kronos_event.kronos.engine import Engine, Tape
from kronosfw_kronos_event.kronos.generation import Generation, Options, Series
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.sampler import Paths, Sampler
from kronosfw_kronos_event.kronos.stack import Place
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from torch import Tensor

from .literal import literal
from .made import MODEL, TOKENIZER, pair, series

Pair = tuple[KronosTokenizer, Kronos]
methods = pytest.mark.parametrize("method", ["independent", "rqmc"])
OTHER = KronosConfig(s1_bits=3, s2_bits=6, n_layers=3, d_model=48, n_heads=6, ff_dim=40)
RAGGED = [series(9, 12, 5), series(30, 4, 1), series(1, 7, 2), series(30, 12, 3), series(17, 1, 4)]


@pytest.fixture(scope="module")
def made() -> Pair:
    return pair()


def same(one: Series, found: Paths, expected: Paths) -> None:
    """Compare the paths of a series, with room for rounding in what the model sees."""
    room = 1e-4 * (one.candles.std(axis=0) + EPSILON)
    assert (np.abs(found.candles - expected.candles) <= room).all()
    assert (np.abs(found.start - expected.start) <= room).all()


def same_as_literal(made: Pair, many: list[Series], options: Options, rotary: bool = False) -> None:
    sampler = Sampler(*made, options, rotary)
    for one, found in zip(many, sampler.sample(many), strict=True):
        expected, margin = literal(*made, one, options, rotary)
        assert margin > 1e-6, "a draw sits on an edge: choose another seed"
        same(one, found, expected)


@methods
@pytest.mark.parametrize("config", [MODEL, OTHER])
def test_paths_of_a_ragged_batch(config: KronosConfig, method: Method) -> None:
    same_as_literal(pair(config), RAGGED, Options(paths=5, method=method))


@methods
@pytest.mark.parametrize(
    "rule",
    [Filter(temperature=0.6), Filter(1.5, top_k=7), Filter(top_p=0.8), Filter(1.2, top_k=9, top_p=0.8)],
    ids=["temperature", "top_k", "top_p", "all"],
)
def test_filters(made: Pair, rule: Filter, method: Method) -> None:
    same_as_literal(made, [series(20, 8, 2), series(13, 6, 3)], Options(paths=4, method=method, filter=rule))


@methods
@pytest.mark.parametrize("rotary", [False, True])
def test_sliding_by_one_bar(made: Pair, method: Method, rotary: bool) -> None:
    options = Options(paths=4, method=method, max_context=16, sliding="exact")
    shapes = (16, 10), (40, 15), (12, 10), (8, 8), (5, 4), (12, 4), (12, 5)
    same_as_literal(made, [series(*shape) for shape in shapes], options, rotary)


@methods
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_sliding_by_several_bars(made: Pair, method: Method, chunk: int) -> None:
    options = Options(paths=4, method=method, max_context=16, sliding="chunked", chunk=chunk)
    same_as_literal(made, [series(16, 10), series(40, 15), series(12, 10), series(5, 4)], options)


@methods
def test_a_context_that_is_too_long_is_shortened(made: Pair, method: Method) -> None:
    options = Options(paths=4, method=method, max_context=16)
    many = [series(40, 15), series(40, 4), series(13, 4), series(12, 4), series(3, 15), series(16, 1)]
    same_as_literal(made, many, options)


def test_a_horizon_beyond_the_model_is_refused(made: Pair) -> None:
    with pytest.raises(ValueError, match="with 16 positions the model draws 1 to 15"):
        Sampler(*made, Options(max_context=16)).sample([series(10, 16)])


def test_tokenizer_and_model_must_belong_together(made: Pair) -> None:
    with pytest.raises(ValueError, match=r"\(5, 3\) bits, the model takes \(3, 6\)"):
        Sampler(made[0], pair(OTHER)[1])


class Watched(Engine):
    """Keeps the logits of every step."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.s1_seen: list[Tensor] = []
        self.s2_seen: list[Tensor] = []

    def s1_logits(self, state: Tensor, target: Tensor | None) -> Tensor:
        self.s1_seen.append(super().s1_logits(state, target))
        return self.s1_seen[-1]

    def s2_logits(self, state: Tensor, s1: Tensor, tape: Tape, place: Place) -> Tensor:
        self.s2_seen.append(super().s2_logits(state, s1, tape, place))
        return self.s2_seen[-1]


@methods
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("config", [MODEL, OTHER])
@torch.inference_mode()
def test_logits_of_every_step_are_those_of_a_recomputation(
    config: KronosConfig, rotary: bool, method: Method
) -> None:
    engine = Watched(*pair(config), rotary=rotary)
    model = engine.model
    run = Generation(engine, Options(paths=5, method=method), RAGGED)
    run.run()
    for at, one in enumerate(RAGGED):
        bars = len(one.candles)
        stamps = torch.from_numpy(one.stamps).expand(5, -1, -1)
        s1, s2 = (
            torch.cat([context[at, :bars].expand(5, -1), drawn[at]], dim=1)
            for context, drawn in zip((run.s1, run.s2), run.tokens, strict=True)
        )
        for step in range(one.steps):
            now = slice(bars + step)
            hidden = model.hidden(s1[:, now], s2[:, now], stamps[:, now])
            next_s1 = s1[:, bars + step, None]
            expected = model.s2_logits(hidden[:, -1:], next_s1, hidden, rotary)[:, 0]
            if rotary:
                trained = model(s1[:, now], s2[:, now], stamps[:, now], s1[:, 1 : bars + step + 1])[1][:, -1]
                torch.testing.assert_close(expected, trained, rtol=0, atol=2e-5)
            found = engine.s1_seen[step][at].expand(5, -1), engine.s2_seen[step][at]
            torch.testing.assert_close(found[0], model.s1_logits(hidden[:, -1]), rtol=0, atol=2e-5)
            torch.testing.assert_close(found[1], expected, rtol=0, atol=2e-5)


class Stepwise(Generation):
    """Does the steps as a graph replays them, by a slot that is a tensor."""

    def _replay(self) -> int:
        for slot in range(self.steps - 1):
            self._step(torch.tensor([slot]))
        return self.steps


@methods
@pytest.mark.parametrize("rotary", [False, True])
@torch.inference_mode()
def test_a_step_that_can_be_captured_draws_the_same(made: Pair, method: Method, rotary: bool) -> None:
    engine = Engine(*made, rotary=rotary)
    arguments = engine, Options(paths=5, method=method), RAGGED
    expected, stepwise = Generation(*arguments), Stepwise(*arguments)
    for found, wanted in zip(stepwise.run(), expected.run(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert torch.equal(stepwise.tokens, expected.tokens)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@methods
@pytest.mark.parametrize("sliding", ["shorten", "exact"])
def test_a_gpu_draws_the_same(method: Method, sliding: str) -> None:
    options = Options(paths=5, method=method, max_context=36, sliding=sliding)  # type: ignore[arg-type]
    expected = Sampler(*pair(), options).sample(RAGGED)
    tokenizer, model = pair()
    on_gpu = Sampler(tokenizer.cuda(), model.cuda(), options)
    for one, found, wanted in zip(RAGGED, on_gpu.sample(RAGGED), expected, strict=True):
        same(one, found, wanted)


@methods
def test_one_series_is_drawn_as_among_many(made: Pair, method: Method) -> None:
    many = [series(10 + seed % 5, 3 + seed % 7, seed) for seed in range(64)]
    sampler = Sampler(*made, Options(paths=3, method=method))
    together = sampler.sample(many)
    for one, found in zip(many, together, strict=True):
        same(one, found, sampler.sample([one])[0])
    for one, found, expected in zip(many, sampler.sample(many[::-1])[::-1], together, strict=True):
        same(one, found, expected)


@pytest.mark.parametrize("sliding", ["shorten", "exact", "chunked"])
@methods
def test_batches_and_their_memory_change_nothing(made: Pair, method: Method, sliding: str) -> None:
    many = [series(bars, steps, bars + steps) for bars in (5, 11, 12, 13, 30) for steps in (3, 4, 5, 9)]
    options = Options(paths=3, method=method, max_context=16, sliding=sliding, chunk=4)  # type: ignore[arg-type]
    together = Sampler(*made, options).sample(many)
    small = Sampler(*made, options)
    for memory in (1, 3 * small.bytes_for(12, 5)):
        split = Sampler(*made, replace(options, memory=memory))
        for one, found, expected in zip(many, split.sample(many), together, strict=True):
            same(one, found, expected)


def test_memory_bounds_what_runs_together(made: Pair) -> None:
    sampler = Sampler(*made)
    each = sampler.bytes_for(20, 6)
    many = [series(20, 6, seed) for seed in range(10)]
    for room, sizes in ((1, [1] * 10), (each * 4, [4, 4, 2]), (each * 10, [10])):
        tight = Sampler(*made, Options(memory=room))
        assert [len(batch) for batch in tight._batches(many)] == sizes


@methods
def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(made: Pair, method: Method) -> None:
    sampler = Sampler(*made, Options(paths=6, method=method))
    longer = series(20, 10)
    shorter = replace(longer, stamps=longer.stamps[:24])
    found, whole = sampler.sample([shorter])[0], sampler.sample([longer])[0]
    same(longer, found, Paths(whole.candles[:, :4], whole.start))


@methods
def test_threads_share_a_sampler(made: Pair, method: Method) -> None:
    sampler = Sampler(*made, Options(paths=4, method=method))
    many = [[series(10 + i, 5, i), series(12, 9, i)] for i in range(16)]
    alone = [sampler.sample(each) for each in many]
    barrier = Barrier(16)

    def draw(each: list[Series]) -> list[Paths]:
        barrier.wait()
        return sampler.sample(each)

    with ThreadPoolExecutor(16) as threads:
        for found, expected in zip(threads.map(draw, many), alone, strict=True):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one.candles, other.candles)
                np.testing.assert_array_equal(one.start, other.start)


@methods
def test_global_random_numbers_are_neither_read_nor_changed(made: Pair, method: Method) -> None:
    def state() -> tuple[object, ...]:
        _, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), keys.tolist(), rest, random.getstate()

    sampler = Sampler(*made, Options(paths=4, method=method))
    before = state()
    first = sampler.sample(RAGGED)
    assert state() == before
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = sampler.sample(RAGGED)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.candles, other.candles)


def test_other_seeds_draw_other_paths(made: Pair) -> None:
    one = series(20, 5)
    first, second = Sampler(*made).sample([one, replace(one, seed=1)])
    np.testing.assert_array_equal(first.start, second.start)
    assert not np.isclose(first.candles, second.candles).any(axis=(1, 2)).all()


def test_training_mode_is_refused() -> None:
    for at in range(2):
        parts = pair()
        parts[at].train()
        with pytest.raises(ValueError, match=r"call eval\(\) first"):
            Sampler(*parts)


def test_dropout_has_no_effect(made: Pair) -> None:
    rates = {"ffn_dropout_p": 0.5, "attn_dropout_p": 0.5, "resid_dropout_p": 0.5}
    dropping = pair(replace(MODEL, **rates, token_dropout_p=0.5), tokenizer=replace(TOKENIZER, **rates))
    for found, expected in zip(Sampler(*dropping).sample(RAGGED), Sampler(*made).sample(RAGGED), strict=True):
        np.testing.assert_array_equal(found.candles, expected.candles)


@pytest.mark.parametrize(
    ("candles", "stamps", "said"),
    [
        (np.ones((9, 5)), np.ones((10, 5), int), "are wanted"),
        (np.ones((9, 6)), np.ones((9, 5), int), "are wanted"),
        (np.ones((0, 6)), np.ones((3, 5), int), "are wanted"),
        (np.full((9, 6), np.nan), np.ones((10, 5), int), "finite"),
        (np.ones((9, 6)), np.full((10, 5), 99), "each below 60, 24, 7, 32, 13"),
    ],
)
def test_impossible_series_are_refused(candles, stamps, said):
    with pytest.raises(ValueError, match=said):
        Series(candles, stamps, 0)


@pytest.mark.parametrize("bad", [{"paths": 0}, {"method": "sobol"}, {"sliding": "drop"}])
def test_impossible_options_are_refused(bad):
    with pytest.raises(ValueError, match="cannot be"):
        Options(**bad)

"""Event conditioning: where it is open, that it is the base model elsewhere, and that all forms of it agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from kronosfw_kronos_event.kronos.draws import Method
from kronosfw_kronos_event.kronos.engine import Engine
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding, candle_values
from kronosfw_kronos_event.kronos.generation import Generation, Options, Series, Sliding
from kronosfw_kronos_event.kronos.sampler import Paths, Sampler
from torch import Tensor

from .literal import literal
from .made import ALL_LINEARS, CHANNELS, adaptable, adapter, pair, series, told
from .test_sampler import RAGGED, same

methods = pytest.mark.parametrize("method", ["independent", "rqmc"])
GATED = replace(CHANNELS, gate=2)
KINDS = [
    pytest.param(("q_proj", "v_proj"), CHANNELS, False, id="q and v"),
    pytest.param(("q_proj", "v_proj"), GATED, True, id="q and v, gated, output"),
    pytest.param(ALL_LINEARS, CHANNELS, True, id="all, output"),
    pytest.param(ALL_LINEARS, GATED, False, id="all, gated"),
    pytest.param(("k_proj", "w3"), GATED, True, id="k and w3, gated, output"),
]


def rows(marks: str, announces: str) -> np.ndarray:
    """Return channels with a mark and an announcement where the texts have an x; the rest is never 0."""
    events = np.full((len(marks), len(CHANNELS.names)), 0.7, np.float32)
    for name, text in (("is_cpi", marks), ("next_event", announces)):
        events[:, CHANNELS.names.index(name)] = [letter == "x" for letter in text]
    return events


def tokens(length: int = 12, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(length)
    ids = (rng.integers(0, 2**bits, (batch, length)) for bits in (5, 3))
    stamps = rng.integers(0, (60, 24, 7, 32, 13), (batch, length, 5))
    s1, s2, stamps = (torch.from_numpy(array) for array in (*ids, stamps))
    return s1, s2, stamps


def random_events(channels: Channels, length: int = 12, batch: int = 3, seed: int = 0) -> Tensor:
    many = [told(series(length, 1, seed + i), channels).events[:length] for i in range(batch)]
    return torch.from_numpy(np.stack(many))


class TestGate:
    @pytest.mark.parametrize(
        ("marks", "announces", "gate", "expected"),
        [
            ("......", "......", None, "111111"),
            ("......", "......", 0, "000000"),
            ("...x..", "..x...", 0, "001100"),
            ("...x..", "..x...", 1, "001110"),
            ("...x..", "......", 2, "000111"),
            ("...x..", "......", 9, "000111"),
            ("x.....", "......", 1, "110000"),
            (".....x", "....x.", 3, "000011"),
            ("x....x", "....x.", 2, "111011"),
            (".x.x..", "......", 1, "011110"),
            ("......", ".....x", 3, "000001"),
            ("x", ".", 5, "1"),
        ],
    )
    def test_it_is_open_from_the_bar_before_an_event_until_so_many_after(self, marks, announces, gate, expected):
        channels = replace(CHANNELS, gate=gate)
        found = channels.open(rows(marks, announces))
        assert found.dtype == np.float32
        assert "".join(f"{value:.0f}" for value in found) == expected

    def test_any_value_but_0_marks_an_event(self):
        events = np.zeros((5, 4), np.float32)
        events[2, 0] = -0.25
        assert replace(CHANNELS, gate=0).open(events).tolist() == [0, 0, 1, 0, 0]

    def test_without_marks_it_is_shut(self):
        assert not Channels(("a",), (True,), gate=3).open(np.ones((4, 1), np.float32)).any()

    @given(
        shape=array_shapes(min_dims=1, max_dims=2, max_side=8),
        gate=st.one_of(st.none(), st.integers(0, 10)),
        data=st.data(),
    )
    def test_no_later_row_opens_it(self, shape, gate, data):
        channels = replace(CHANNELS, gate=gate)
        values = st.sampled_from([0.0, 1.0, -0.5])
        one, other = (data.draw(arrays(np.float32, (*shape, 4), elements=values)) for _ in range(2))
        t = data.draw(st.integers(0, shape[-1] - 1))
        other[..., : t + 1, :] = one[..., : t + 1, :]
        np.testing.assert_array_equal(channels.open(one)[..., : t + 1], channels.open(other)[..., : t + 1])

    @given(
        events=arrays(np.float32, (7, 4), elements=st.sampled_from([0.0, 0.0, 0.0, 1.0])),
        gate=st.integers(0, 9),
        first=st.integers(0, 6),
    )
    def test_a_window_is_open_where_a_longer_one_is_but_for_events_before_it(self, events, gate, first):
        channels = replace(CHANNELS, gate=gate)
        whole, part = channels.open(events), channels.open(events[first:])
        assert (part <= whole[first:]).all()
        np.testing.assert_array_equal(part[gate:], whole[first + gate :])

    def test_channels_that_are_not_there_are_refused(self):
        with pytest.raises(ValueError, match="there is no channel is_ppi, next; there are a, b"):
            Channels(("a", "b"), (True, True), marks=("a", "is_ppi"), announces=("next",))
        with pytest.raises(ValueError, match="one entry for each channel"):
            Channels(("a", "b"), (True,))


def tilting(width: int) -> EventEmbedding:
    """Return an embedding whose eight tokens have random values."""
    embedding = EventEmbedding(CHANNELS, width, 8)
    embedding.tilt.values.normal_(generator=torch.Generator().manual_seed(1))
    return embedding


class TestEmbedding:
    def test_it_starts_at_zero_and_learns_at_once(self):
        embedding = tilting(6)
        events = random_events(CHANNELS)
        assert not embedding(events).any()
        assert not embedding.logits(events).any()
        (embedding(events).sum() + embedding.logits(events).sum()).backward()
        for parameter in embedding.parameters():
            assert parameter.grad.abs().sum() > 0

    def test_xavier_starts_with_noise_in_the_input_alone(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            embedding = EventEmbedding(CHANNELS, 832, 8, xavier=True)
        assert embedding.embed.weight.std().item() == pytest.approx((2 / (832 + 4)) ** 0.5, rel=0.05)
        assert not embedding.embed.bias.any()
        assert not embedding.tilt.weight.any()

    @pytest.mark.parametrize("channel", CHANNELS.names)
    def test_the_output_path_sees_two_bars_back_and_what_is_known_ahead(self, channel: str):
        embedding = tilting(6).requires_grad_(False)
        embedding.tilt.weight.normal_(generator=torch.Generator().manual_seed(0))
        events, column = np.ones((1, 12, 4), np.float32), CHANNELS.names.index(channel)
        base = embedding.logits(torch.from_numpy(CHANNELS.inputs(events, 8)))
        for row in (4, 9):
            other = events.copy()
            other[:, row, column] += 1
            moved = (embedding.logits(torch.from_numpy(CHANNELS.inputs(other, 8))) != base).any(-1)[0]
            own = [row] if row >= 8 and CHANNELS.known_ahead[column] else []
            assert moved.nonzero()[:, 0].tolist() == [*own, row + 1, row + 2]

    def test_the_output_path_favours_candles_by_what_they_are(self):
        tokenizer, _ = pair()
        values = candle_values(tokenizer)
        assert values.shape == (2**tokenizer.config.s1_bits, 4)
        embedding = EventEmbedding(CHANNELS, 6, len(values)).requires_grad_(False)
        embedding.tilt.values.copy_(values)
        embedding.tilt.weight[0, 0] = 2.0  # is_cpi one bar before favours a high close
        events = np.zeros((1, 3, 4), np.float32)
        events[0, 0, 0] = 1
        logits = embedding.logits(torch.from_numpy(CHANNELS.inputs(events, 3)))[0]
        assert not logits[[0, 2]].any()
        np.testing.assert_allclose(logits[1], 2 * values[:, 0])


class TestNoEvents:
    """Without events there is the base model, bit for bit."""

    def test_the_model_adds_nothing(self):
        _, model = pair()
        s1, s2, stamps = tokens()
        base = model.hidden(s1, s2, stamps)
        assert torch.equal(model.hidden(s1, s2, stamps, None), base)
        assert not torch.equal(model.hidden(s1, s2, stamps, torch.ones_like(base)), base)

    @methods
    def test_an_adapter_sleeps_where_a_series_has_no_events(self, tmp_path: Path, method: Method):
        sampler = Sampler(*pair(), Options(paths=4, method=method))
        trained = adapter(tmp_path, adaptable(pair()[1], ALL_LINEARS, output=True), pair()[1])
        for found, expected in zip(
            sampler.with_adapter(trained).sample(RAGGED), sampler.sample(RAGGED), strict=True
        ):
            same_bits(found, expected)

    def test_events_mean_nothing_to_a_base_model(self):
        sampler = Sampler(*pair(), Options(paths=4))
        for one in RAGGED:
            same_bits(sampler.sample([told(one)])[0], sampler.sample([one])[0])

    def test_all_series_of_a_batch_have_events_or_none(self, tmp_path: Path):
        sampler = Sampler(*pair()).with_adapter(adapter(tmp_path, adaptable(pair()[1]), pair()[1]))
        with pytest.raises(ValueError, match="all series of a batch"):
            sampler.sample([series(9, 3), told(series(9, 3, 1))])


class TestFreshAdapters:
    """What is not trained yet changes nothing, bit for bit."""

    @pytest.mark.parametrize(("targets", "channels", "output"), KINDS)
    def test_in_training_and_in_generation(self, tmp_path: Path, targets, channels, output):
        _, model = pair()
        fresh = adaptable(pair()[1], targets, channels, output=output, trained=False)
        given, events = tokens(), random_events(channels)
        expected = model.hidden(*given)
        assert torch.equal(fresh.hidden(*given, events), expected)
        sampler = Sampler(*pair(), Options(paths=4))
        loaded = sampler.with_adapter(adapter(tmp_path, fresh, model))
        many = [told(one, channels) for one in RAGGED]
        for found, wanted in zip(loaded.sample(many), sampler.sample(RAGGED), strict=True):
            same_bits(found, wanted)


@pytest.fixture(scope="module")
def samplers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sampler, Sampler]:
    base = Sampler(*pair(), Options(paths=3))
    folder = tmp_path_factory.mktemp("adapter")
    trained = adaptable(pair()[1], ALL_LINEARS, GATED, output=True)
    return base, base.with_adapter(adapter(folder, trained, pair()[1]))


class TestShutGate:
    """A window with neither an event nor an announcement is drawn from the base model, bit for bit."""

    @settings(max_examples=15)
    @given(
        values=arrays(np.float32, (14, 4), elements=st.floats(-100, 100, width=32)),
        seed=st.integers(0, 5),
    )
    def test_whatever_the_other_channels_say(self, samplers, values, seed):
        values[:, GATED.columns(["is_cpi", "next_event"])] = 0
        one = series(10, 4, seed)
        base, adapted = (
            sampler.sample([x])[0] for sampler, x in zip(samplers, (one, with_rows(one, values)), strict=True)
        )
        same_bits(adapted, base)

    def test_one_announcement_is_enough_to_open_it(self, samplers):
        one = series(10, 4)
        for row, name in ((9, "next_event"), (10, "is_cpi"), (13, "is_cpi"), (0, "is_cpi")):
            values = np.zeros((14, 4), np.float32)
            values[row, GATED.names.index(name)] = 10
            base, adapted = samplers[0].sample([one])[0], samplers[1].sample([with_rows(one, values)])[0]
            assert not np.array_equal(adapted.candles, base.candles), (row, name)

    def test_in_training_as_well(self):
        _, model = pair()
        trained = adaptable(pair()[1], ALL_LINEARS, GATED)
        events = random_events(GATED)
        events[..., GATED.columns(["is_cpi", "next_event"])] = 0
        events[..., -1] = 0
        assert torch.equal(trained.hidden(*tokens(), events), model.hidden(*tokens()))


class TestTrainedAdapters:
    """The packed engine against the model with peft's adapters in it, everything recomputed."""

    @pytest.mark.parametrize(("targets", "channels", "output"), KINDS)
    @torch.inference_mode()
    def test_teacher_forced_logits(self, tmp_path: Path, targets, channels, output):
        tokenizer, model = pair()
        trained = adaptable(pair()[1], targets, channels, output=output)
        engine = Engine(tokenizer, model).with_adapter(adapter(tmp_path, trained, model))
        given, events = tokens(), random_events(channels)
        states, _ = engine.read(*given, events, 1, 1)
        expected = trained.hidden(*given, events)
        torch.testing.assert_close(states, expected, rtol=0, atol=2e-5)
        assert (expected - model.hidden(*given)).abs().max() > 0.1, "adapters that do nothing prove nothing"
        logits = trained.model.s1_logits(expected[:, :-1])
        if output:
            logits = logits + trained.events.logits(events[:, 1:])
        torch.testing.assert_close(engine.s1_logits(states[:, :-1], events[:, 1:]), logits, rtol=0, atol=5e-5)

    @methods
    @pytest.mark.parametrize(("targets", "channels", "output"), KINDS)
    def test_paths_of_a_ragged_batch(self, tmp_path: Path, targets, channels, output, method: Method):
        many = [told(one, channels) for one in RAGGED]
        options = Options(paths=4, method=method)
        same_as_literal(tmp_path, targets, channels, output, many, options)

    @methods
    @pytest.mark.parametrize("sliding", ["shorten", "exact", "chunked"])
    @pytest.mark.parametrize("rotary", [False, True])
    def test_paths_that_slide(self, tmp_path: Path, sliding: Sliding, rotary: bool, method: Method):
        options = Options(paths=3, method=method, max_context=14, sliding=sliding, chunk=3)
        many = [told(series(*shape), GATED) for shape in ((14, 8), (30, 8), (9, 9), (5, 3))]
        same_as_literal(tmp_path, ALL_LINEARS, GATED, True, many, options, rotary)

    @methods
    def test_without_channels_the_adapters_are_always_open(self, tmp_path: Path, method: Method):
        same_as_literal(tmp_path, ("q_proj", "w2"), None, False, RAGGED[:3], Options(paths=3, method=method))

    @torch.inference_mode()
    def test_a_step_that_can_be_captured_draws_the_same(self, tmp_path: Path):
        made = pair()
        trained = adapter(tmp_path, adaptable(pair()[1], ALL_LINEARS, GATED, output=True), made[1])
        engine = Engine(*made).with_adapter(trained)
        arguments = engine, Options(paths=5), [told(one, GATED) for one in RAGGED]
        expected, stepwise = Generation(*arguments), Stepwise(*arguments)
        for found, wanted in zip(stepwise.run(), expected.run(), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        assert torch.equal(stepwise.tokens, expected.tokens)

    @methods
    def test_one_series_is_drawn_as_among_many(self, tmp_path: Path, method: Method):
        trained = adapter(tmp_path, adaptable(pair()[1], ALL_LINEARS, GATED, output=True), pair()[1])
        sampler = Sampler(*pair(), Options(paths=3, method=method)).with_adapter(trained)
        many = [told(series(8 + seed % 5, 3 + seed % 4, seed), GATED) for seed in range(24)]
        for one, found in zip(many, sampler.sample(many[::-1])[::-1], strict=True):
            same(one, found, sampler.sample([one])[0])


@pytest.mark.parametrize(
    "bad", [np.zeros((12, 5), np.float32), np.full((13, 5), np.nan, np.float32)], ids=["short", "nan"]
)
def test_impossible_events_are_refused(bad):
    with pytest.raises(ValueError, match="must be finite and as many as stamps"):
        replace(series(10, 3), events=bad)


class Stepwise(Generation):
    """Does the steps as a graph replays them, by a slot that is a tensor."""

    def _replay(self) -> int:
        for slot in range(self.steps - 1):
            self._step(torch.tensor([slot]))
        return self.steps


def with_rows(one: Series, values: np.ndarray) -> Series:
    return replace(one, events=GATED.inputs(values, len(one.candles)))


def same_bits(found: Paths, expected: Paths) -> None:
    np.testing.assert_array_equal(found.candles, expected.candles)
    np.testing.assert_array_equal(found.start, expected.start)


def same_as_literal(
    folder: Path,
    targets: tuple[str, ...],
    channels: Channels | None,
    output: bool,
    many: list[Series],
    options: Options,
    rotary: bool = False,
) -> None:
    tokenizer, model = pair()
    trained = adaptable(pair()[1], targets, channels, output=output)
    sampler = Sampler(tokenizer, model, options, rotary).with_adapter(adapter(folder, trained, model))
    for one, found in zip(many, sampler.sample(many), strict=True):
        expected, margin = literal(tokenizer, trained.model, one, options, rotary, trained)
        assert margin > 1e-6, "a draw sits on an edge: choose another seed"
        same(one, found, expected)

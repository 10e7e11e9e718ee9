"""Teaching a base about events: what is learned from what, what stays, and going on after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.lora_options import KronosLora
from kronosfw_kronos_event.lora_trainer import KronosLoraTrainer, Shape
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.sources import source
from kronosfw_kronos_event.training.adapting import Adaptable, AdaptingObjective, LoraOptions
from kronosfw_kronos_event.training.loop import Schedule, fit
from kronosfw_kronos_event.training.samples import Drawing, Samples
from pydantic import ValidationError
from safetensors.numpy import load_file

from kronosfw.testing import TrainerContract
from kronosfw.testing.forecasters import assert_equal
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example, Snapshot

from .lessons import CONTEXT, ENCODERS, GOLDEN, HORIZON, examples, lessons, market, tiny
from .made import ALL_LINEARS, CHANNELS, MODEL, adaptable, pair

LEVELS = (0.1, 0.5, 0.9)
SCHEDULE = Schedule(20, 8, 1e-2, 2, 0.01, 1.0, 1, "float32", 20, 0)


def train(options: KronosLora, out: Path, start: Path | None = None, **shape: Any) -> list[Snapshot]:
    """Train to the end and return the snapshots that have weights."""
    return [s for s in options.build().train(*lessons(**shape), start, out) if s.path is not None]


def forecaster() -> KronosForecaster:
    """Return the forecaster with the weights that are trained here."""
    weights = {name: getattr(tiny(), name) for name in ("model", "tokenizer", "max_context")}
    return KronosEvent(samples=4, **weights).build()


def losses(out: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (out / "logs" / "losses.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def drained(generator: Generator[Any, None, Any]) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def sampled(given: list[Example], out: Path, options: KronosLora | None = None, name: str = "train") -> Samples:
    """Return examples as the trainer learns from them."""
    trainer = KronosLoraTrainer(options or tiny())
    found = source(trainer.options)
    tokenizer = KronosTokenizer.from_pretrained(found.tokenizer)
    return drained(trainer._samples(name, given, Shape.of(given[0], found, trainer.options), tokenizer, out))


def made_up(windows: int, seed: int, context: int = 20, horizon: int = 4) -> Samples:
    """Return random tokens and channels of ``made`` models."""
    rng = np.random.default_rng(seed)
    length = context + horizon
    events = rng.normal(size=(windows, length, 4)).astype(np.float32)
    events[..., [0, 2]] = rng.random((windows, length, 2)) < 0.1
    events[:, context:, 1] = 0
    return Samples(
        tokens=rng.integers(0, (2**5, 2**3), (windows, length, 2)).astype(np.int32),
        stamps=rng.integers(0, (60, 24, 7, 32, 13), (windows, length, 5)),
        events=events,
        prefix=rng.integers(5, context + 1, windows),
        context=context,
    )


def tensors(batch: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


class TestContract(TrainerContract):
    @pytest.fixture
    def options(self) -> KronosLora:
        return tiny()


class TestContractWithEvents(TrainerContract):
    context = 60

    @pytest.fixture
    def options(self) -> KronosLora:
        return tiny(output=2, gate=3, masking=0.3, group_dropout=0.2, targets=ALL_LINEARS)

    @pytest.fixture
    def examples(self) -> tuple[list[Example], list[Example]]:
        small = SmallMarket.make(n_symbols=2, n=self.context + 120)
        cutoffs = [cutoff_at(small.bars["S0"].times, self.context + 5 * i) for i in range(20)]
        shape: dict[str, Any] = {"context": self.context, "horizon": self.horizon, "encoders": ENCODERS}
        return small.examples(cutoffs[:14], **shape), small.examples(cutoffs[16:], **shape)


class TestWhatIsTrained:
    @pytest.mark.parametrize(
        ("targets", "expected"),
        [(("q_proj", "v_proj"), 319_488 + 17_472), (ALL_LINEARS, 1_468_416 + 17_472)],
        ids=["q and v", "the seven linear layers of each block"],
    )
    def test_number_of_parameters_at_the_size_of_the_published_base(self, targets, expected):
        channels = Channels(ENCODERS[0].names, ENCODERS[0].known_ahead)
        with torch.device("meta"):
            model = Kronos(KronosConfig(10, 10, n_layers=12, d_model=832, n_heads=16, ff_dim=2048))
            made = Adaptable(model, EventEmbedding(channels, 832, 1024), LoraOptions(8, 16, 0.05, targets))
        assert sum(p.numel() for p in made.parameters() if p.requires_grad) == expected
        frozen = sum(p.numel() for p in made.parameters() if not p.requires_grad)
        assert frozen == 102_310_592

    @pytest.mark.parametrize("output", [False, True])
    def test_only_adapters_and_event_embedding_have_gradients(self, output: bool):
        made = adaptable(pair()[1], ALL_LINEARS, output=output).train()
        objective = AdaptingObjective(made)
        objective(**tensors(Drawing(made_up(8, 0), CHANNELS).draw(8, [0])))["loss"].sum().backward()
        learning = {name for name, p in objective.named_parameters() if p.requires_grad}
        with_gradient = {n for n, p in objective.named_parameters() if p.grad is not None and p.grad.any()}
        assert learning == with_gradient
        assert all(".lora_" in name or name.startswith("adaptable.events.") for name in learning)
        assert len(learning) == 2 * 7 * MODEL.n_layers + 2 + output

    def test_everything_else_stays_to_the_last_bit(self, tmp_path: Path):
        made = adaptable(pair()[1], trained=False)
        before = digests(made)
        objective = AdaptingObjective(made.train())
        list(fit(objective, Drawing(made_up(40, 0), CHANNELS), [], SCHEDULE, tmp_path))
        changed = {name for name, digest in digests(made).items() if digest != before[name]}
        assert changed == {name for name, p in made.named_parameters(remove_duplicate=False) if p.requires_grad}
        assert digests(made.model, "lora_") == digests(pair()[1], "lora_")

    def test_the_dropout_of_the_base_stays_off(self):
        rates = {"ffn_dropout_p": 0.5, "attn_dropout_p": 0.5, "resid_dropout_p": 0.5, "token_dropout_p": 0.5}
        made = adaptable(pair(replace(MODEL, **rates))[1])
        batch = tensors(Drawing(made_up(4, 0), CHANNELS).draw(4, [0]))
        objective = AdaptingObjective(made)
        still = objective.eval()(**batch)["loss"]
        live = [objective.train()(**batch)["loss"] for _ in range(2)]
        assert not torch.equal(live[0], live[1]), "the adapters' own dropout is live"
        for name, module in made.named_modules():
            if name.endswith("lora_dropout.default"):
                module.p = 0.0
        assert torch.equal(objective.train()(**batch)["loss"], still)
        assert not made.model.training
        whole = Adaptable(pair(replace(MODEL, **rates))[1], None, None).train()
        assert whole.model.training
        assert all(p.requires_grad for n, p in whole.model.named_parameters() if "time_emb" not in n)

    def test_the_loss_falls_where_events_double_the_volatility(self, tmp_path: Path):
        found = {}
        learned, tested = volatile(400, 0), volatile(100, 1)
        (batch,) = Drawing(tested, CHANNELS).all(100)
        for told in (True, False):
            made = adaptable(pair()[1], output=True, trained=False)
            seen = learned if told else replace(learned, events=np.zeros_like(learned.events))
            held_out = batch if told else {**batch, "events": CHANNELS.inputs(np.zeros_like(tested.events), 20)}
            schedule = replace(SCHEDULE, steps=60, batch=16, learning_rate=3e-2, evaluate_every=60)
            objective = AdaptingObjective(made.train())
            fitted = fit(objective, Drawing(seen, CHANNELS), [held_out], schedule, tmp_path / str(told), "", True)
            found[told] = [record.validation for _, record, _ in fitted if record is not None]
        first, last = found[True]
        assert last["loss"] < first["loss"] - 0.5
        assert last["event"] < first["event"] - 0.5
        assert last["event"] < found[False][-1]["event"] - 0.04, "it is to learn from the channels"


def digests(module: torch.nn.Module, but: str = "nothing") -> dict[str, str]:
    return {
        name.replace("base_layer.", ""): hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        for name, tensor in module.state_dict().items()
        if but not in name
    }


def volatile(windows: int, seed: int, context: int = 10, horizon: int = 10) -> Samples:
    """Return windows in which s1 is a move, twice as large on the bars that channels announce and mark."""
    rng = np.random.default_rng([seed, 5])
    length = context + horizon
    marks = rng.random((windows, length + 1)) < 0.2
    moves = rng.normal(0, 2, (windows, length)) * np.where(marks[:, :-1], 2.0, 1.0)
    s1 = np.clip(np.round(15.5 + moves), 0, 31)
    zeros = np.zeros((windows, length))
    return Samples(
        tokens=np.stack([s1, zeros], axis=-1).astype(np.int32),
        stamps=np.ones((windows, length, 5), np.int64),
        events=np.stack([marks[:, :-1], zeros, marks[:, 1:], zeros], axis=-1).astype(np.float32),
        prefix=np.full(windows, context),
        context=context,
    )


class TestDrawing:
    def test_events_are_drawn_as_much_oftener_as_said(self):
        samples = made_up(50, 0)
        weights = np.where(np.arange(50) < 10, 3.0, 1.0)
        # What is drawn is recognised by its tokens.
        batch = Drawing(samples, CHANNELS, weights=weights).draw(20_000, [1])
        found = (batch["tokens"][:, None, :2] == samples.tokens[None, :10, :2]).all(axis=(2, 3)).any(axis=1)
        assert found.mean() == pytest.approx(30 / 70, abs=0.01)
        even = Drawing(samples, CHANNELS).draw(20_000, [1])
        found = (even["tokens"][:, None, :2] == samples.tokens[None, :10, :2]).all(axis=(2, 3)).any(axis=1)
        assert found.mean() == pytest.approx(0.2, abs=0.01)

    @pytest.mark.parametrize("oversample", [1.0, 3.0])
    def test_the_trainer_says_which_have_one(self, tmp_path: Path, oversample: float, monkeypatch):
        seen: list[Drawing] = []

        def watched(objective: Any, drawing: Drawing, *_: Any, **__: Any) -> Iterator[Any]:
            seen.append(drawing)
            return iter(())

        monkeypatch.setattr("kronosfw_kronos_event.lora_trainer.fit", watched)
        train(tiny(oversample=oversample), tmp_path)
        marks = [i for i, name in enumerate(ENCODERS[0].names) if name.startswith("is_")]
        for weight, example in zip(seen[0].weights, examples(), strict=True):
            event = example.window.covariates.values[-HORIZON:, marks].any()
            assert weight == (oversample if event else 1.0)
        assert (seen[0].weights == oversample).sum() > 0

    def test_masking_hides_releases_and_leaders_from_a_bar_on(self):
        samples = made_up(200, 0)
        unlike = Drawing(samples, CHANNELS).draw(200, [3])
        batch = Drawing(samples, CHANNELS, masking=0.5).draw(200, [3])
        np.testing.assert_array_equal(batch["tokens"], unlike["tokens"])
        np.testing.assert_array_equal(batch["marked"], unlike["marked"])
        np.testing.assert_array_equal(batch["events"][..., [0, 2, 3, 4]], unlike["events"][..., [0, 2, 3, 4]])
        told, hidden = unlike["events"][..., 1], batch["events"][..., 1]
        cut = []
        for prefix, one, other in zip(batch["prefix"], told, hidden, strict=True):
            changed = np.flatnonzero(one != other)
            if len(changed):
                cut.append(changed[0])
                assert changed[0] >= prefix
                np.testing.assert_array_equal(changed, np.arange(changed[0], samples.context))
                assert not other[changed].any()
        assert 0.3 < len(cut) / 200 < 0.55
        assert len(set(cut)) > 5

    def test_group_dropout_hides_whole_groups(self):
        samples = made_up(400, 0)
        groups = "schedule", "surprise", "schedule", "schedule"
        unlike = Drawing(samples, CHANNELS, groups).draw(400, [3])
        batch = Drawing(samples, CHANNELS, groups, dropout=0.3).draw(400, [3])
        np.testing.assert_array_equal(batch["tokens"], unlike["tokens"])
        np.testing.assert_array_equal(batch["marked"], unlike["marked"])
        told, hidden = unlike["events"], batch["events"]
        lost = {}
        for name in set(groups):
            columns = [i for i, group in enumerate(groups) if group == name]
            gone = ~hidden[..., columns].any(axis=(1, 2))
            np.testing.assert_array_equal(hidden[~gone][..., columns], told[~gone][..., columns])
            lost[name] = gone
            assert gone.mean() == pytest.approx(0.3, abs=0.07)
        assert (lost["schedule"] != lost["surprise"]).any()
        assert unlike["marked"][lost["schedule"]].any(), "an event stays one where it is hidden"

    def test_hidden_events_shut_the_gate(self):
        gated = replace(CHANNELS, gate=0)
        groups = "schedule", "surprise", "schedule", "schedule"
        batch = Drawing(made_up(100, 0), gated, groups, dropout=0.5).draw(100, [3])
        np.testing.assert_array_equal(batch["events"], gated.inputs(batch["events"][..., : len(gated.names)], 20))
        assert (batch["events"][..., -1].any(axis=1) != batch["marked"].any(axis=1)).any()

    @settings(max_examples=20)
    @given(st.integers(0, 2**31), st.integers(0, 1000))
    def test_a_batch_follows_from_seed_and_step(self, seed: int, step: int):
        drawing = Drawing(made_up(20, 0), CHANNELS, ("a", "b", "a", "a"), masking=0.5, dropout=0.3)
        one, other = drawing.draw(8, [seed, step]), drawing.draw(8, [seed, step])
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])

    def test_an_evaluation_sees_everything_once(self):
        samples = made_up(21, 0)
        batches = Drawing(samples, CHANNELS, masking=1.0, dropout=0.9).all(8)
        assert [len(batch["tokens"]) for batch in batches] == [7, 7, 7]
        for name, whole in (
            ("tokens", samples.tokens),
            ("events", CHANNELS.inputs(samples.events, samples.context)),
        ):
            np.testing.assert_array_equal(np.concatenate([batch[name] for batch in batches]), whole)


class TestObjective:
    def test_only_bars_after_the_prefix_count(self):
        made = adaptable(pair()[1])
        samples = made_up(6, 0)
        batch = tensors(Drawing(samples, CHANNELS).all(6)[0])
        with torch.no_grad():
            found = AdaptingObjective(made)(**batch)
            s1, s2 = batch["tokens"].long().unbind(-1)
            hidden = made.hidden(s1[:, :-1], s2[:, :-1], batch["stamps"][:, :-1], batch["events"][:, :-1])
            logits = made.model.s1_logits(hidden), made.model.head.proj_s2(made.model.depend(hidden, s1[:, 1:]))
        parts: dict[str, list[float]] = {"s1": [], "s2": [], "event": [], "quiet": []}
        for i in range(6):
            for t in range(int(samples.prefix[i]), 24):
                pair_ = [
                    -logit[i, t - 1].log_softmax(-1)[ids[i, t]].item()
                    for logit, ids in zip(logits, (s1, s2), strict=True)
                ]
                parts["s1"].append(pair_[0])
                parts["s2"].append(pair_[1])
                parts["event" if samples.events[i, t, 0] else "quiet"].append(sum(pair_) / 2)
        parts["loss"] = parts["event"] + parts["quiet"]
        for name, expected in parts.items():
            total, count = found[name].tolist()
            assert count == len(expected)
            assert total == pytest.approx(sum(expected), rel=1e-4)

    def test_the_output_path_is_blind_before_the_cutoff(self):
        flags = replace(CHANNELS, output=1)
        made = adaptable(pair()[1], channels=flags, output=True)
        with torch.no_grad():
            made.events.embed.weight.zero_()
            made.events.tilt.weight[:, : len(flags.names)] = 0  # what the bar before tells
        samples = made_up(4, 0)

        def loss(row: int) -> float:
            events = samples.events.copy()
            events[:, row, 3] += 2
            batch = tensors(Drawing(replace(samples, events=events), flags).all(4)[0])
            with torch.no_grad():
                return float(AdaptingObjective(made)(**batch)["s1"][0])

        still = loss(0)
        assert [loss(row) == still for row in (6, 12, 18)] == [True] * 3
        assert [loss(row) == still for row in (20, 21, 23)] == [False] * 3

    def test_training_and_forecasting_are_told_the_same(self, tmp_path: Path):
        """What a forecast shows the model is what its example shows it."""
        (example, *_) = given_examples = examples(number=1)
        samples = sampled(given_examples, tmp_path, tiny(prefix=(1, 1)))
        given = example.window.covariates
        np.testing.assert_array_equal(samples.events[0], given.values)
        ahead = np.array(given.known_ahead)
        assert not samples.events[:, CONTEXT:, ~ahead].any()
        assert samples.events[:, CONTEXT:, ahead].any()
        assert samples.prefix.tolist() == [CONTEXT] * 2


class TestTokens:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        seen: list[int] = []
        encode = KronosTokenizer.encode

        def spied(self: KronosTokenizer, candles: torch.Tensor) -> Any:
            seen.append(len(candles))
            return encode(self, candles)

        monkeypatch.setattr(KronosTokenizer, "encode", spied)
        return seen

    def test_they_are_made_once(self, tmp_path: Path, calls: list[int]):
        options = tiny(epochs=0.1)
        first = train(options, tmp_path)[-1]
        assert calls == [24, 8]
        assert train(options, tmp_path)[-1].metrics == first.metrics
        assert calls == [24, 8]
        one, other = (sampled(examples(), tmp_path), sampled(examples(), tmp_path / "anew"))
        assert calls == [24, 8, 24]
        np.testing.assert_array_equal(one.tokens, other.tokens)

    @pytest.mark.parametrize("change", ["tokenizer", "prefix", "data", "damage"])
    def test_others_are_made_where_something_is_different(self, tmp_path: Path, calls: list[int], change: str):
        options, given_examples = tiny(), examples()
        expected = sampled(given_examples, tmp_path / "tokens").tokens
        if change == "tokenizer":
            tokenizer = KronosTokenizer.from_pretrained(GOLDEN / "tokenizer")
            with torch.no_grad():
                tokenizer.quant_embed.weight *= -1
            tokenizer.save_pretrained(tmp_path / "other")
            options = tiny(tokenizer=str(tmp_path / "other"))
        elif change == "prefix":
            options = tiny(prefix=(0.2, 0.3))
        elif change == "data":
            given_examples = examples(61)
        else:
            (file,) = (tmp_path / "tokens" / "training").iterdir()
            file.write_bytes(file.read_bytes()[:-9])
        found = sampled(given_examples, tmp_path / "tokens", options).tokens
        assert calls == [24, 24]
        assert np.array_equal(found, expected) == (change == "damage")

    def test_each_window_is_normalised_by_its_prefix_alone(self, tmp_path: Path):
        options = tiny(prefix=(0.3, 0.8))
        samples = sampled(examples(), tmp_path, options)
        assert ((samples.prefix >= 12) & (samples.prefix <= 32)).all()
        assert len(set(samples.prefix.tolist())) > 5
        changed = [replace(e, target=replace(e.target, values=e.target.values * 1.5)) for e in examples()]
        other = sampled(changed, tmp_path, options)
        np.testing.assert_array_equal(other.tokens[:, :CONTEXT], samples.tokens[:, :CONTEXT])
        assert (other.tokens[:, CONTEXT:] != samples.tokens[:, CONTEXT:]).any()
        held_out = sampled(examples(), tmp_path, options, "validation")
        assert (held_out.prefix == CONTEXT).all()


@settings(max_examples=6)
@given(st.integers(70, 110), st.integers(0, 100))
def test_nothing_later_reaches_an_example(tmp_path_factory, last: int, seed: int):
    """Change every bar, fact and leader after t: samples whose target ends by then stay, bit for bit."""
    after = cutoff_at(market().bars["S0"].times, last)
    changed = market().with_another_future(after, seed)
    number = (last - HORIZON - 50) // 3 + 1
    one, other = (
        sampled(examples(50, number, of=each), tmp_path_factory.mktemp("out")) for each in (market(), changed)
    )
    assert len(one) == 2 * number
    for name in ("tokens", "stamps", "events", "prefix"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class TestSnapshots:
    def test_they_forecast(self, tmp_path: Path):
        snapshots = train(tiny(), tmp_path)
        assert [s.step for s in snapshots] == [0, 3, 6]
        base = forecaster()
        windows = [example.window for example in examples(110, 2)]
        expected = base.forecast(windows, LEVELS)
        assert_equal(base.with_checkpoint(snapshots[0].path).forecast(windows, LEVELS), expected)
        trained = base.with_checkpoint(snapshots[-1].path).forecast(windows, LEVELS)
        assert not np.array_equal(trained[0].quantiles, expected[0].quantiles)

    def test_losses_are_kept(self, tmp_path: Path):
        snapshots = train(tiny(evaluate_every=2), tmp_path)
        lines = losses(tmp_path)
        assert [line["step"] for line in lines] == [0, 2, 4, 6]
        assert {line["phase"] for line in lines} == {"model"}
        assert all({"loss", "s1", "s2", "event", "quiet"} == line["validation"].keys() for line in lines)
        assert lines[0]["train"] == {}
        for line, snapshot in zip(lines, snapshots, strict=True):
            assert snapshot.metrics["loss"] == line["validation"]["loss"]
            assert snapshot.total == 6
        assert 0 < snapshots[0].metrics["event_share_train"] < 1
        trainable = 3 * 2 * 2 * (48 + 48) + 20 * 48 + 48
        assert snapshots[0].metrics["trainable"] == trainable

    def test_tensorboard_shows_them(self, tmp_path: Path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        train(tiny(tensorboard=True, evaluate_every=3), tmp_path)
        board = EventAccumulator(str(tmp_path / "logs" / "tensorboard")).Reload()
        names = ("loss", "s1", "s2", "event", "quiet")
        expected = {f"{name}/{part}" for name in names for part in ("train", "validation")}
        assert set(board.Tags()["scalars"]) == expected
        shown = [(point.step, point.value) for point in board.Scalars("loss/validation")]
        kept = [(line["step"], line["validation"]["loss"]) for line in losses(tmp_path)]
        assert [step for step, _ in shown] == [step for step, _ in kept] == [0, 3, 6]
        np.testing.assert_allclose([value for _, value in shown], [value for _, value in kept], rtol=1e-6)

    def test_without_tensorboard_there_is_none(self, tmp_path: Path):
        train(tiny(epochs=0.1), tmp_path)
        assert not (tmp_path / "logs" / "tensorboard").exists()

    def test_the_global_generator_is_left_alone(self, tmp_path: Path):
        state = torch.random.get_rng_state()
        train(tiny(epochs=0.1, initial="xavier"), tmp_path)
        assert torch.equal(torch.random.get_rng_state(), state)

    @pytest.mark.parametrize("change", [{"seed": 1}, {"initial": "xavier"}, {"masking": 1.0}])
    def test_options_are_heeded(self, tmp_path: Path, change: dict[str, Any]):
        one, other = (train(tiny(epochs=1, **each), tmp_path / str(len(each))) for each in ({}, change))
        assert one[-1].metrics["loss"] != other[-1].metrics["loss"]
        assert (one[0].metrics["loss"] != other[0].metrics["loss"]) == ("initial" in change)

    def test_bfloat16_trains_close_to_float32(self, tmp_path: Path):
        one, other = (train(tiny(precision=p), tmp_path / p)[-1] for p in ("float32", "bfloat16"))
        assert one.metrics["loss"] != other.metrics["loss"]
        assert one.metrics["loss"] == pytest.approx(other.metrics["loss"], rel=0.02)


class TestGoingOn:
    def test_from_an_earlier_adapter_with_its_own_numbers(self, tmp_path: Path):
        first = train(tiny(), tmp_path / "first")
        again = tiny(again={"epochs": 1, "learning_rate": 1e-3})
        second = train(again, tmp_path / "second", first[-1].path)
        assert [s.step for s in second] == [0, 3]
        assert second[0].metrics["loss"] == pytest.approx(first[-1].metrics["loss"], rel=1e-6)
        for name in ("adapter_model.safetensors", "events.safetensors"):
            assert (second[0].path / name).read_bytes() == (first[-1].path / name).read_bytes()
            assert (second[-1].path / name).read_bytes() != (first[-1].path / name).read_bytes()
        moved = [
            max(np.abs(one[name] - other[name]).max() for name in one)
            for one, other in (
                [load_file(s.path / "events.safetensors") for s in pair_]
                for pair_ in ((first[0], first[1]), (second[0], second[1]))
            )
        ]
        assert moved[1] < moved[0] / 3, "the learning rate is that of `again`"

    def test_from_what_does_not_fit_is_refused(self, tmp_path: Path):
        first = train(tiny(epochs=0.1), tmp_path / "first")[-1].path
        for options, shape, said in (
            (tiny(rank=3), {}, "has the rank and alpha"),
            (tiny(output=2), {}, "trained with another `output`"),
            (tiny(tune="full"), {}, "say `tune: lora`"),
            (tiny(), {"events": False}, "other event channels"),
        ):
            with pytest.raises(WeightsError, match=said):
                train(options, tmp_path / "second", first, **shape)
        Kronos(KronosConfig(5, 5, 3, 48, 4, 96)).save_pretrained(tmp_path / "model")
        with pytest.raises(WeightsError, match="trained for another model"):
            train(tiny(model=str(tmp_path / "model")), tmp_path / "second", first)

    @pytest.mark.parametrize(
        ("change", "shape"),
        [
            ({"learning_rate": 1e-3}, {}),
            ({"rank": 3}, {}),
            ({"seed": 1}, {}),
            ({"oversample": 2.0}, {}),
            ({"gate": 2}, {}),
            ({}, {"first": 61}),
            ({}, {"events": False}),
            ({}, {"validation": 111}),
        ],
        ids=str,
    )
    def test_another_training_does_not_go_on_from_a_state(self, tmp_path: Path, change, shape):
        train(tiny(epochs=0.1), tmp_path)
        shape = dict(shape)
        held_out = examples(shape.pop("validation", 110), 4, shape.get("events", True))
        trainer = tiny(**{"epochs": 0.1, **change}).build()
        with pytest.raises(ValueError, match="other options, data or schedule: give another folder, or delete it"):
            list(trainer.train(examples(**shape), held_out, None, tmp_path))

    def test_a_training_that_ended_gives_its_snapshot_again(self, tmp_path: Path):
        first = train(tiny(), tmp_path)[-1]
        before = {path.name: path.read_bytes() for path in first.path.iterdir()}
        assert train(tiny(), tmp_path) == [first]
        assert {path.name: path.read_bytes() for path in first.path.iterdir()} == before


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from lessons import lessons, tiny
options = tiny(epochs=float(sys.argv[3]), evaluate_every=int(sys.argv[4]))
list(options.build().train(*lessons(), None, Path(sys.argv[2])))
"""


def start(out: Path, epochs: float, evaluate_every: int, **env: str) -> subprocess.Popen[bytes]:
    """Start a training in a process of its own."""
    arguments = str(Path(__file__).parent), str(out), str(epochs), str(evaluate_every)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], env={**os.environ, **env})


def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    options = tiny(epochs=10, evaluate_every=1)
    train(options, undisturbed)
    process = start(killed, 10, 1)
    state = killed / "training" / "model" / "state.safetensors"
    deadline = time.monotonic() + 300
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed in the middle"
    train(options, killed)
    kept = sorted(path.relative_to(undisturbed) for path in undisturbed.glob("step-*/*.safetensors"))
    assert len(kept) == 2 * 31
    for name in kept:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert losses(killed) == losses(undisturbed)


def test_two_devices_train_one_adapter(tmp_path: Path):
    """Two processes with a share of each batch: one set of files, and losses close to those of one process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"}
    ranks = [start(tmp_path / "two", 2, 3, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]
    train(tiny(evaluate_every=3), tmp_path / "one")
    assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    one, two = (losses(tmp_path / name) for name in ("one", "two"))
    assert [x["step"] for x in one] == [x["step"] for x in two] == [0, 3, 6]
    for alone, together in zip(one, two, strict=True):
        assert together["validation"]["loss"] == pytest.approx(alone["validation"]["loss"], rel=0.02)


def test_the_command_drives_two_devices(tmp_path: Path):
    """Two processes of `kronosfw train`, as `accelerate launch` starts them: one version, told of once."""
    (tmp_path / "train.yaml").write_text(
        f"""
feed: {{type: simulated, start: 2021-01-01, end: 2023-06-30}}
universe: {{SPY: {{asset_class: equity}}, QQQ: {{asset_class: equity}}}}
context: 40
encoders: [{{type: macro20, btc: null, dxy: null, vix: null}}]
forecasters: [{{type: drift}}]
trainer:
  type: kronos_lora
  model: {GOLDEN / "model"}
  tokenizer: {GOLDEN / "tokenizer"}
  max_context: 64
  epochs: 0.2
  batch: 8
  evaluate_every: 3
training: {{validate_from: 2023-01-01}}
checkpoint_root: checkpoints
store: sqlite:///results.db
"""
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"}
    command = [sys.executable, "-m", "kronosfw", "train", str(tmp_path / "train.yaml"), "--json"]
    ranks = [
        subprocess.Popen(
            command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    leader, other = (rank.communicate(timeout=240)[0] for rank in ranks)
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert other == b""
    (version,) = (tmp_path / "checkpoints" / "base" / "versions").iterdir()
    assert json.loads(leader)["version"] == version.name
    assert {"adapter.json", "adapter_model.safetensors", "logs"} <= {path.name for path in version.iterdir()}
    assert not (tmp_path / "checkpoints" / "training" / f"base-{version.name[-12:]}").exists()


def test_a_gate_wants_adapters():
    with pytest.raises(ValidationError, match="`gate` shuts adapters"):
        tiny(tune="full", gate=2)


def test_parts_of_a_batch_weigh_by_what_they_hold(tmp_path: Path):
    """A batch in one part, and in several of which some hold few targets, trains the same but for rounding."""
    samples = made_up(40, 0)
    samples.prefix[::2] = 19
    ends = []
    for parts in (1, 4):
        made = adaptable(pair()[1], trained=False)
        for module in made.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        schedule = replace(SCHEDULE, accumulate=parts)
        folder = tmp_path / str(parts)
        list(fit(AdaptingObjective(made.train()), Drawing(samples, CHANNELS), [], schedule, folder))
        ends.append([p.detach() for p in made.parameters() if p.requires_grad])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


class TestFull:
    def test_all_of_the_model_and_the_tokenizer(self, tmp_path: Path):
        phase = {"steps": 3, "batch": 4, "evaluate_every": 2, "warmup": 1}
        options = tiny(tune="full", tokenizer_training=phase, epochs=1, learning_rate=1e-3)
        *_, last = train(options, tmp_path)
        assert [(line["phase"], line["step"]) for line in losses(tmp_path)] == [
            ("tokenizer", 2),
            ("tokenizer", 3),
            ("model", 0),
            ("model", 3),
        ]
        for part, module in (("model", Kronos), ("tokenizer", KronosTokenizer)):
            one, other = (module.from_pretrained(f / part).state_dict() for f in (GOLDEN, last.path))
            assert any(not torch.equal(one[name], other[name]) for name in one)
        base = KronosEvent(
            model=str(GOLDEN / "model"), tokenizer=str(GOLDEN / "tokenizer"), max_context=64, samples=4
        )
        served = base.build().with_checkpoint(last.path)
        windows = [example.window for example in examples(110, 1)]
        assert all(np.isfinite(forecast.quantiles).all() for forecast in served.forecast(windows, LEVELS))
        with pytest.raises(ValueError, match="trained with event channels"):
            served.forecast([replace(windows[0], covariates=None)], LEVELS)
        again = train(tiny(tune="full", again={"epochs": 1}), tmp_path / "again", last.path)
        assert again[0].metrics["loss"] == pytest.approx(last.metrics["loss"], rel=1e-6)
        with pytest.raises(WeightsError, match="holds a model of its own"):
            train(tiny(), tmp_path / "lora", last.path)

    def test_a_tokenizer_training_of_other_data_does_not_go_on(self, tmp_path: Path):
        phase = {"steps": 2, "batch": 4, "evaluate_every": 1, "warmup": 1}
        options = tiny(tune="full", tokenizer_training=phase, epochs=0.1)
        held_out = examples(110, 4)
        trainer = options.build()
        for snapshot in trainer.train(examples(), held_out, None, tmp_path):
            if snapshot.metrics.get("tokenizer_step") == 2:
                break
        with pytest.raises(ValueError, match="other options, data or schedule"):
            list(trainer.train(examples(61), held_out, None, tmp_path))

    def test_without_events_too(self, tmp_path: Path):
        *_, last = train(tiny(tune="full", epochs=0.5), tmp_path, events=False)
        base = KronosEvent(
            model=str(GOLDEN / "model"), tokenizer=str(GOLDEN / "tokenizer"), max_context=64, samples=4
        )
        served = base.build().with_checkpoint(last.path)
        (window, *_) = [example.window for example in examples(110, 1, events=False)]
        assert np.isfinite(served.forecast([window], LEVELS)[0].quantiles).all()


class TestRefusals:
    def test_nothing_to_learn_from(self, tmp_path: Path):
        for given_examples, said in (((examples(), []), "validate"), (([], examples()), "train")):
            with pytest.raises(ValueError, match=f"there is no example to {said} with"):
                list(tiny().build().train(*given_examples, None, tmp_path))

    def test_a_horizon_that_leaves_too_little(self, tmp_path: Path):
        with pytest.raises(ValueError, match=r"5 steps leave 8 bars of context in each example.* needs 16"):
            train(tiny(max_context=12), tmp_path)

    def test_examples_of_different_shapes(self, tmp_path: Path):
        mixed = [*examples(number=2), *(replace(e, target=e.target[:3]) for e in examples(number=1))]
        with pytest.raises(ValueError, match="examples must have one shape; one has 43 bars, not 45"):
            list(tiny().build().train(mixed, examples(), None, tmp_path))

    def test_a_gate_without_channels_that_open_it(self, tmp_path: Path):
        with pytest.raises(ValueError, match="name `marks` and `announces`"):
            train(tiny(gate=2, marks=()), tmp_path)
        with pytest.raises(ValueError, match="there is no channel is_ppi"):
            train(tiny(marks=("is_ppi",)), tmp_path)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"prefix": (0.8, 0.5)}, "prefix"),
            ({"prefix": (0.0, 0.5)}, "prefix"),
            ({"prefix": (0.5, 1.5)}, "prefix"),
            ({"tokenizer_training": {"steps": 3}}, "tune: full"),
            ({"targets": ()}, "targets"),
            ({"targets": ("proj_s1",)}, "targets"),
            ({"gate": -1}, "gate"),
            ({"rank": 0}, "rank"),
        ],
    )
    def test_impossible_options(self, options: dict[str, Any], said: str):
        with pytest.raises(ValidationError, match=said):
            tiny(**options)

    def test_a_training_that_diverges(self, tmp_path: Path):
        with pytest.raises(ValueError, match="no longer finite: lower the learning rate"):
            train(tiny(learning_rate=1e20, warmup=0, clip=1e20, epochs=5), tmp_path)


def test_what_is_evaluated_is_spread_over_all(tmp_path: Path):
    options = tiny(validate_with=3, epochs=0.1)
    train(options, tmp_path)
    (tokens,) = load_file(tmp_path / "training" / "tokens-validation.safetensors").values()
    held_out = sampled([examples(110, 4)[i] for i in (0, 3, 7)], tmp_path / "other", options, "validation")
    np.testing.assert_array_equal(tokens, held_out.tokens)
    assert asdict(held_out)["context"] == CONTEXT

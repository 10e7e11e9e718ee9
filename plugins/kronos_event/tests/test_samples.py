"""What examples become for a training: tokens made once, windows drawn by weight, channels hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.training.samples import Drawing

from kronosfw.testing.market import cutoff_at

from .lessons import CONTEXT, ENCODERS, GOLDEN, HORIZON, examples, market, sampled, tiny, train
from .made import CHANNELS, made_up


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

"""Teaching a base about events: what is learned from what, what stays, and going on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.lora_options import KronosLora
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.training.adapting import Adaptable, AdaptingObjective, LoraOptions
from kronosfw_kronos_event.training.loop import fit
from kronosfw_kronos_event.training.samples import Drawing, Samples
from pydantic import ValidationError
from safetensors.numpy import load_file

from kronosfw.testing import TrainerContract
from kronosfw.testing.forecasters import assert_equal
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example

from .lessons import CONTEXT, ENCODERS, GOLDEN, examples, losses, sampled, tiny, train
from .made import ALL_LINEARS, CHANNELS, MODEL, SCHEDULE, adaptable, made_up, pair, tensors

LEVELS = (0.1, 0.5, 0.9)


def forecaster() -> KronosForecaster:
    """Return the forecaster with the weights that are trained here."""
    weights = {name: getattr(tiny(), name) for name in ("model", "tokenizer", "max_context")}
    return KronosEvent(samples=4, **weights).build()


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

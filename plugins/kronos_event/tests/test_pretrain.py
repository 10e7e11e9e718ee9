"""Training from scratch: the contract, what is learned from what, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.candles import Scale
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.pretrain_options import KronosPretrain
from kronosfw_kronos_event.pretrainer import load
from kronosfw_kronos_event.training.batches import Stretch, Windows, upside_down
from kronosfw_kronos_event.training.loop import Schedule, fit
from kronosfw_kronos_event.training.objectives import ModelObjective, TokenizerObjective
from pydantic import ValidationError

from kronosfw.testing import TrainerContract
from kronosfw.testing.market import SmallMarket, cutoff_at

GOLDEN = Path(__file__).parent / "golden"
PHASE = {"steps": 4, "batch": 4, "evaluate_every": 2, "warmup": 2}
TINY = {
    "s1_bits": 4,
    "s2_bits": 3,
    "tokenizer": {"d_model": 16, "n_heads": 2, "ff_dim": 16, "blocks": 1},
    "model": {"d_model": 16, "n_heads": 2, "ff_dim": 16, "n_layers": 1, "dropout": 0.1, "token_dropout": 0.1},
    "tokenizer_training": PHASE,
    "model_training": PHASE,
    "window": 32,
    "prefix": (8, 24),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def examples(number: int = 4):
    market = SmallMarket.make(n_symbols=2, n=200)
    times = market.bars["S0"].times
    return market.examples([cutoff_at(times, 100 + 5 * i) for i in range(number)], context=90, horizon=5)


def golden() -> tuple[KronosTokenizer, Kronos]:
    return load(GOLDEN)


def stretch(bars: int = 200, seed: int = 0) -> Stretch:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, bars).cumsum())
    prices = close[:, None] * np.array([0.999, 1.01, 0.99, 1.0])
    volume = rng.lognormal(3, 1, bars)
    stamps = np.column_stack([np.zeros((bars, 2)), np.arange(bars) % 7, np.ones(bars), np.ones(bars)])
    return Stretch(np.column_stack([prices, volume, volume * close]), stamps.astype(np.int64))


class TestKronosPretrain(TrainerContract):
    @pytest.fixture
    def options(self):
        return KronosPretrain(**TINY)


def test_a_snapshot_forecasts(tmp_path):
    *_, last = KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path)
    forecaster = KronosEvent(model=str(last.path), samples=4).build()
    assert isinstance(forecaster, KronosForecaster)
    assert forecaster.max_context == 24
    (forecast,) = forecaster.forecast([examples(1)[0].window.last(28)], (0.1, 0.9))
    assert np.isfinite(forecast.quantiles).all()


def test_losses_are_kept_for_both_phases(tmp_path):
    list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "logs" / "losses.jsonl").read_text().splitlines()]
    assert [(x["phase"], x["step"]) for x in lines] == [
        ("tokenizer", 2),
        ("tokenizer", 4),
        ("model", 2),
        ("model", 4),
    ]
    assert {"loss", "coarse", "full", "quantiser"} <= lines[0]["train"].keys()
    assert {"loss", "s1", "s2"} == lines[-1]["validation"].keys()


def test_training_makes_the_loss_small(tmp_path):
    phase = {**PHASE, "steps": 60, "evaluate_every": 30, "learning_rate": 1e-2, "batch": 16}
    options = KronosPretrain(**{**TINY, "tokenizer_training": phase, "model_training": phase, "mirror": 0})
    list(options.build().train(examples(), examples(), None, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "logs" / "losses.jsonl").read_text().splitlines()]
    for phase_name in ("tokenizer", "model"):
        first, last = (x["validation"]["loss"] for x in lines if x["phase"] == phase_name)
        assert last < first


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_pretrain import train
train(Path(sys.argv[2]), int(sys.argv[3]))
"""


def train(out: Path, steps: int) -> None:
    phase = {"steps": steps, "batch": 4, "evaluate_every": 1, "warmup": 2}
    options = KronosPretrain(**{**TINY, "tokenizer_training": phase, "model_training": phase})
    list(options.build().train(examples(), examples(1), None, out))


def start(out: Path, steps: int, **env: str) -> subprocess.Popen[bytes]:
    """Start a training in a process of its own."""
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(out), str(steps)]
    return subprocess.Popen(command, env={**os.environ, **env})


def test_a_killed_training_ends_with_the_same_weights(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    train(undisturbed, 40)
    for state in ("tokenizer", "model"):
        process = start(killed, 40)
        deadline = time.monotonic() + 60
        while not (killed / "training" / state / "state.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed in the middle"
    train(killed, 40)
    for part in ("model", "tokenizer"):
        name = Path("step-0000040") / part / "model.safetensors"
        assert (undisturbed / name).read_bytes() == (killed / name).read_bytes()

    def losses(folder):
        lines = [json.loads(line) for line in (folder / "logs" / "losses.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    assert losses(killed) == losses(undisturbed)


def test_another_schedule_does_not_go_on_from_a_state(tmp_path):
    list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path))
    longer = KronosPretrain(**{**TINY, "model_training": {**PHASE, "steps": 6}})
    with pytest.raises(ValueError, match="other options, data or schedule"):
        list(longer.build().train(examples(), examples(1), None, tmp_path))


def test_parts_of_a_batch_add_up(tmp_path):
    """Accumulated gradients are those of the whole batch: the tokenizer's loss is a mean over equal parts."""
    weights = []
    for accumulate in (1, 4):
        tokenizer, _ = golden()
        objective = TokenizerObjective(tokenizer.train(), 0.0)
        schedule = Schedule(2, 8, 1e-3, 0, 0.0, 1e9, accumulate, "float32", 2, 0)
        list(fit(objective, Windows([stretch()], 32, (8, 24)), [], schedule, tmp_path / str(accumulate)))
        weights.append(tokenizer.embed.weight.detach().numpy())
    # The entropy of the codes in use is that of each part, so the sum is not the same to the last digit.
    np.testing.assert_allclose(*weights, atol=3e-4)


def test_windows_are_normalised_by_their_prefix_alone():
    windows = Windows([stretch()], 40, (10, 30))
    batch = windows.draw(16, [3])
    assert ((batch["prefix"] >= 10) & (batch["prefix"] <= 30)).all()
    for candles, prefix in zip(batch["candles"], batch["prefix"], strict=True):
        np.testing.assert_allclose(candles[:prefix, :4].mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(candles[:prefix, 3].std(), 1, atol=1e-3)


def test_what_comes_after_the_prefix_does_not_reach_its_normalisation():
    base = stretch(40)
    changed = Stretch(np.concatenate([base.candles[:20], base.candles[20:] * 3]), base.stamps)
    one, other = (Windows([s], 40, (20, 20)).draw(1, [0])["candles"][0] for s in (base, changed))
    np.testing.assert_array_equal(one[:20], other[:20])
    assert (one[20:] != other[20:]).any()


def test_only_bars_after_the_prefix_are_learned():
    tokenizer, model = golden()
    objective = ModelObjective(model, tokenizer).eval()
    batch = Windows([stretch()], 40, (30, 30)).draw(4, [0])
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    with torch.no_grad():
        found = objective(**tensors)
        s1, s2 = tokenizer.encode(tensors["candles"])
        logits = model(s1[:, :-1], s2[:, :-1], tensors["stamps"][:, :-1], s1[:, 1:])
    for name, part, target in zip(("s1", "s2"), logits, (s1, s2), strict=True):
        expected = torch.nn.functional.cross_entropy(part[:, 29:].flatten(0, 1), target[:, 30:].flatten())
        torch.testing.assert_close(found[name], expected)
    torch.testing.assert_close(found["loss"], (found["s1"] + found["s2"]) / 2)


def test_the_losses_are_those_of_the_golden_figures():
    figures = np.load(GOLDEN / "golden.npz")
    tokenizer, model = golden()
    candles = torch.from_numpy(figures["context"]).float()[None]
    stamps = torch.from_numpy(figures["stamp_context"])[None]
    prefix = torch.tensor([1])
    with torch.no_grad():
        found = ModelObjective(model, tokenizer).eval()(candles, stamps, prefix)
        whole = TokenizerObjective(tokenizer.train(), 0.0)(candles, stamps, prefix)
    np.testing.assert_allclose([found["loss"], found["s1"], found["s2"]], figures["teacher_loss"], rtol=1e-4)
    np.testing.assert_allclose(whole["quantiser"], figures["bsq_loss"], rtol=1e-4)
    errors = [((figures[name] - figures["context"]) ** 2).mean() for name in ("recon_coarse", "recon")]
    np.testing.assert_allclose(whole["loss"], (sum(errors) + figures["bsq_loss"]) / 2, rtol=1e-4)


def test_the_tokenizer_stays_as_it_is_while_the_model_learns(tmp_path):
    tokenizer, model = golden()
    before = {k: v.clone() for k, v in tokenizer.state_dict().items()}
    old = model.head.proj_s1.weight.detach().clone()
    schedule = Schedule(2, 4, 1e-3, 0, 0.01, 1.0, 1, "float32", 2, 0)
    list(fit(ModelObjective(model, tokenizer), Windows([stretch()], 32, (8, 24)), [], schedule, tmp_path))
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name])
    assert not torch.equal(model.head.proj_s1.weight, old)


def test_bfloat16_trains_close_to_float32(tmp_path):
    losses = []
    for precision in ("float32", "bfloat16"):
        tokenizer, model = golden()
        schedule = Schedule(3, 4, 1e-3, 0, 0.01, 1.0, 1, precision, 3, 0)
        windows = Windows([stretch()], 32, (8, 24))
        fitted = fit(
            ModelObjective(model, tokenizer), windows, [windows.draw(4, [9])], schedule, tmp_path / precision
        )
        (record,) = (record for _, record, _ in fitted if record is not None)
        losses.append(record.validation["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 1000))
def test_a_batch_follows_from_seed_and_step(seed, step):
    windows = Windows([stretch(), stretch(60, 1)], 32, (8, 24), mirror=0.5, no_volume=0.5)
    one, other = windows.draw(4, [seed, step]), windows.draw(4, [seed, step])
    assert (one["candles"] == other["candles"]).all()
    assert (one["prefix"] == other["prefix"]).all()
    assert np.abs(one["candles"]).max() <= 5


def test_upside_down_changes_the_sign_of_every_return():
    candles = stretch().candles
    turned = upside_down(candles)
    np.testing.assert_allclose(np.diff(np.log(turned[:, 3])), -np.diff(np.log(candles[:, 3])), atol=1e-12)
    assert (turned[:, 1] >= turned[:, [0, 2, 3]].max(axis=1)).all()
    assert turned[0, 3] == pytest.approx(candles[0, 3])


def test_stretches_count_by_the_windows_they_hold():
    short, long = stretch(40, 1), stretch(400, 2)
    short = Stretch(short.candles * 0 + 7.0, short.stamps)
    batch = Windows([short, long], 32, (8, 8)).draw(2000, [0])
    share = np.mean([np.ptp(c) == 0 for c in batch["candles"]])
    assert share == pytest.approx(9 / (9 + 369), abs=0.015)


def test_too_short_a_history_is_refused():
    with pytest.raises(ValueError, match="no stretch of bars is as long as a window, 300 bars"):
        Windows([stretch()], 300, (8, 24))


def test_scale_is_that_of_the_forecaster():
    candles = stretch().candles[:32]
    batch = Windows([Stretch(candles, stretch().stamps[:32])], 32, (20, 20)).draw(1, [0])
    np.testing.assert_allclose(batch["candles"][0], Scale.of(candles[:20]).normalise(candles), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": (24, 8)}, "prefix"),
        ({"prefix": (8, 32)}, "prefix"),
        ({"model": {"d_model": 20, "n_heads": 4}}, "model.d_model"),
        ({"tokenizer": {"d_model": 18, "n_heads": 4}}, "tokenizer.d_model"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        KronosPretrain(**{**TINY, **options})


@pytest.mark.parametrize(
    ("change", "data"),
    [({"fine": 1.0}, 4), ({"window": 30}, 4), ({"model": {**TINY["model"], "n_layers": 2}}, 4), ({}, 3)],
    ids=["loss", "window", "sizes", "data"],
)
def test_another_training_does_not_go_on_from_a_state(tmp_path, change, data):
    list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path))
    with pytest.raises(ValueError, match="give another folder, or delete it"):
        list(KronosPretrain(**{**TINY, **change}).build().train(examples(data), examples(1), None, tmp_path))


def test_a_training_that_ended_gives_its_snapshot_again(tmp_path):
    first = list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path))[-1]
    weights = (first.path / "model" / "model.safetensors").read_bytes()
    found = KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path)
    (again,) = (snapshot for snapshot in found if snapshot.path is not None)
    assert again == first
    assert (again.path / "model" / "model.safetensors").read_bytes() == weights


def test_the_tokenizer_can_be_kept(tmp_path):
    first = list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path / "a"))[-1]
    kept = KronosPretrain(**{**TINY, "tokenizer_training": {"steps": 0}})
    second = list(kept.build().train(examples(), examples(1), first.path, tmp_path / "b"))[-1]
    one, other = (load(snapshot.path)[0].state_dict() for snapshot in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="nothing to validate with"):
        list(KronosPretrain(**TINY).build().train(examples(), [], None, Path("nowhere")))


def test_the_global_generator_is_left_alone(tmp_path):
    state = torch.random.get_rng_state()
    list(KronosPretrain(**TINY).build().train(examples(), examples(1), None, tmp_path))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_two_devices_train_one_model(tmp_path):
    """Two processes with a share of each batch: one set of files, and losses close to those of one process."""
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "1",
    }
    ranks = [start(tmp_path / "two", 6, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]
    train(tmp_path / "one", 6)
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "logs" / "losses.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [(x["phase"], x["step"]) for x in one] == [(x["phase"], x["step"]) for x in two]
    for alone, shared in zip(one, two, strict=True):
        assert shared["validation"]["loss"] == pytest.approx(alone["validation"]["loss"], rel=0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_training_that_diverges_ends_with_the_reason(tmp_path):
    wild = {**PHASE, "learning_rate": 1e9, "steps": 40, "evaluate_every": 20, "warmup": 0, "clip": 1e9}
    with pytest.raises(ValueError, match="no longer finite: lower the learning rate"):
        list(
            KronosPretrain(**{**TINY, "tokenizer_training": wild})
            .build()
            .train(examples(), examples(1), None, tmp_path)
        )

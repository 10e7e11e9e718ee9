"""Fine-tuning: what it leaves, how it goes on, what it refuses, and what serves in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from kronosfw_chronos2.errors import WeightsError
from kronosfw_chronos2.lora_options import Chronos2Lora
from pydantic import ValidationError
from safetensors.torch import load_file

from kronosfw.errors import ConfigError
from kronosfw.testing import TrainerContract
from kronosfw.testing.forecasters import assert_equal
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Example

from .lora_lessons import ENCODERS, HORIZON, LEVELS, base, examples, tiny, train, windows
from .tiny import make_tiny

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"))


class TestContract(TrainerContract):
    @pytest.fixture
    def options(self, model: Path) -> Chronos2Lora:
        return tiny(model)


class TestContractWithEventsAndDropout(TrainerContract):
    context = 60

    @pytest.fixture
    def options(self, tmp_path: Path) -> Chronos2Lora:
        return tiny(make_tiny(tmp_path / "base", dropout_rate=0.1), targets="ohlc", dropout=0.2)

    @pytest.fixture
    def examples(self) -> tuple[list[Example], list[Example]]:
        small = SmallMarket.make(n_symbols=2, n=self.context + 120)
        cutoffs = [cutoff_at(small.bars["S0"].times, self.context + 5 * i) for i in range(20)]
        shape: dict[str, Any] = {"context": self.context, "horizon": self.horizon, "encoders": ENCODERS}
        return small.examples(cutoffs[:14], **shape), small.examples(cutoffs[16:], **shape)


class TestSnapshots:
    def test_they_forecast(self, model: Path, tmp_path: Path):
        snapshots = train(tiny(model), tmp_path)
        assert [(s.step, s.total) for s in snapshots] == [(0, 6), (3, 6), (6, 6)]
        assert "train_loss" not in snapshots[0].metrics
        assert snapshots[-1].metrics["train_loss"] > 0
        forecaster = base(model)
        expected = forecaster.forecast(windows(), LEVELS)
        assert_equal(forecaster.with_checkpoint(snapshots[0].path).forecast(windows(), LEVELS), expected)
        trained = forecaster.with_checkpoint(snapshots[-1].path).forecast(windows(), LEVELS)
        assert not np.array_equal(trained[0].quantiles, expected[0].quantiles)

    def test_what_was_tuned_forecasts_the_same_each_time(self, tmp_path: Path):
        """A model in training mode would drop half of what passes it, another half each time."""
        dropping = make_tiny(tmp_path / "base", dropout_rate=0.5)
        path = train(tiny(dropping, dropout=0.5), tmp_path / "out")[-1].path
        tuned = base(dropping).with_checkpoint(path)
        assert not any(module.training for module in tuned.pipeline.model.modules())
        first = tuned.forecast(windows(), LEVELS)
        assert_equal(tuned.forecast(windows(), LEVELS), first)
        assert_equal(base(dropping).with_checkpoint(path).forecast(windows(), LEVELS), first)

    def test_the_package_loads_them(self, model: Path, tmp_path: Path):
        path = train(tiny(model), tmp_path, events=False)[-1].path
        with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
            package = Chronos2Pipeline.from_pretrained(path)
        ours = base(model).with_checkpoint(path).pipeline.model.state_dict()
        theirs = package.model.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_they_say_what_they_belong_to(self, model: Path, tmp_path: Path):
        path = train(tiny(model), tmp_path)[-1].path
        assert sorted(p.name for p in path.iterdir()) == ["about.json", "adapter_config.json", WEIGHTS]
        told = json.loads((path / "about.json").read_text())
        assert told["type"] == "chronos2_lora"
        assert told["base"].keys() == {"config.json", "model.safetensors"}
        assert set(told["known_ahead"]) <= set(told["channels"])
        assert {"volume", "range"} <= set(told["channels"]) - set(told["known_ahead"])
        assert told["known_ahead"]
        with pytest.raises(WeightsError, match="trained for another base"):
            base(make_tiny(tmp_path / "other", seed=1)).with_checkpoint(path)

    def test_the_loss_falls(self, model: Path, tmp_path: Path):
        first, last = train(tiny(model, steps=30, evaluate_every=30, learning_rate=5e-2), tmp_path)
        assert last.metrics["loss"] < 0.7 * first.metrics["loss"]

    @pytest.mark.parametrize("change", [{"seed": 1}, {"dropout": 0.5}, {"batch": 2}, {"learning_rate": 1e-3}])
    def test_options_are_heeded(self, model: Path, tmp_path: Path, change: dict[str, Any]):
        one, other = (train(tiny(model, steps=1, **each), tmp_path / str(len(each))) for each in ({}, change))
        assert one[0].metrics == other[0].metrics
        assert one[-1].metrics["loss"] != other[-1].metrics["loss"]

    def test_nothing_is_printed_drawn_or_left_elsewhere(
        self, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        before = {p.name: p.read_bytes() for p in model.iterdir()}
        states = random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state().tolist()
        train(tiny(model), tmp_path / "out")
        after = random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state().tolist()
        assert after == states
        assert capfd.readouterr() == ("", "")
        assert not list((tmp_path / "here").iterdir())
        assert {p.name: p.read_bytes() for p in model.iterdir()} == before
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "step-0000000",
            "step-0000003",
            "step-0000006",
            "training",
        ]
        assert [p.name for p in (tmp_path / "out" / "training").iterdir()] == ["state.safetensors"]


class TestGoingOn:
    def test_from_an_earlier_adapter_with_its_own_numbers(self, model: Path, tmp_path: Path):
        first = train(tiny(model), tmp_path / "first")[-1]
        second = train(tiny(model), tmp_path / "second", first.path)
        assert [s.step for s in second] == [0, 3]
        assert second[0].metrics["loss"] == first.metrics["loss"]
        assert (second[0].path / WEIGHTS).read_bytes() == (first.path / WEIGHTS).read_bytes()
        one, other = (load_file(s.path / WEIGHTS) for s in (first, second[-1]))
        moved = max(float((one[name] - other[name]).abs().max()) for name in one)
        assert 0 < moved <= 1.01 * 1e-2 * (1 + 2 / 3 + 1 / 3), "AdamW moves by the learning rate at most"

    def test_one_that_ended_yields_its_last_snapshot_again(self, model: Path, tmp_path: Path):
        last = train(tiny(model), tmp_path)[-1]
        assert train(tiny(model), tmp_path) == [last]

    def test_one_that_was_killed_ends_with_the_same_weights(self, model: Path, tmp_path: Path):
        undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
        many = {"steps": 6, "evaluate_every": 1}
        expected = train(tiny(model, **many), undisturbed)[-1]
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(1)\n"
            "from pathlib import Path; from lora_lessons import tiny, train\n"
            "train(tiny(Path(sys.argv[2]), steps=6, evaluate_every=1), Path(sys.argv[3]))"
        )
        arguments = str(Path(__file__).parent), str(model), str(killed)
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env={**os.environ})
        deadline = time.monotonic() + 120
        while not (killed / "training" / "state.safetensors").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed in the middle"
        snapshots = train(tiny(model, **many), killed)
        assert snapshots[0].step > 0, "it was to go on, not to begin anew"
        assert snapshots[-1].metrics == expected.metrics
        assert (snapshots[-1].path / WEIGHTS).read_bytes() == (expected.path / WEIGHTS).read_bytes()


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"rank": 3}, "r 2, lora_alpha 4.* and wanted is r 3, lora_alpha 4"),
            ({"alpha": 5}, "wanted is r 2, lora_alpha 5"),
            ({"targets": "ohlc"}, "trained to forecast `targets: close`, not `ohlc`"),
        ],
    )
    def test_a_start_with_other_settings(self, model: Path, tmp_path: Path, change: dict[str, Any], said: str):
        start = train(tiny(model, steps=1), tmp_path / "first")[-1].path
        with pytest.raises(WeightsError, match=said):
            train(tiny(model, **change), tmp_path / "second", start)

    def test_a_start_of_another_base(self, model: Path, tmp_path: Path):
        start = train(tiny(model, steps=1), tmp_path / "first")[-1].path
        other = make_tiny(tmp_path / "other", seed=1)
        with pytest.raises(WeightsError, match="trained for another base"):
            train(tiny(other), tmp_path / "second", start)

    def test_a_start_that_learned_from_other_bars(self, model: Path, tmp_path: Path):
        start = train(tiny(model, steps=1), tmp_path / "first")[-1].path
        hourly = [replace(e, window=replace(e.window, freq="1h")) for e in examples(number=1)]
        with pytest.raises(WeightsError, match="trained on bars of 1d, not of 1h"):
            list(tiny(model).build().train(hourly, hourly, start, tmp_path / "second"))

    def test_a_start_without_weights(self, model: Path, tmp_path: Path):
        start = train(tiny(model, steps=1), tmp_path / "first")[-1].path
        (start / WEIGHTS).write_bytes(b"\x80\x04.")
        with pytest.raises(WeightsError, match="cut short or damaged"):
            train(tiny(model), tmp_path / "second", start)
        (start / "about.json").write_text("{}")
        with pytest.raises(WeightsError, match="does not say what the adapter is for"):
            train(tiny(model), tmp_path / "second", start)

    def test_the_folder_of_another_training(self, model: Path, tmp_path: Path):
        train(tiny(model), tmp_path)
        with pytest.raises(ValueError, match="another folder, or delete it"):
            train(tiny(model, seed=1), tmp_path)
        state = tmp_path / "training" / "state.safetensors"
        state.write_bytes(state.read_bytes()[:100])
        with pytest.raises(ValueError, match=r"is damaged .*: delete it to begin anew"):
            train(tiny(model), tmp_path)

    def test_nothing_to_learn_from(self, model: Path, tmp_path: Path):
        for given, said in (((examples(), []), "validate"), (([], examples()), "train")):
            with pytest.raises(ValueError, match=f"there is no example to {said} with"):
                list(tiny(model).build().train(*given, None, tmp_path))

    def test_examples_of_different_horizons(self, model: Path, tmp_path: Path):
        mixed = [*examples(number=2), *(replace(e, target=e.target[:3]) for e in examples(number=1))]
        with pytest.raises(ValueError, match=f"one has 3 steps, not {HORIZON}"):
            list(tiny(model).build().train(mixed, examples(), None, tmp_path))

    def test_a_training_that_diverges(self, model: Path, tmp_path: Path):
        with pytest.raises(ValueError, match="no longer finite: lower the learning rate"):
            train(tiny(model, learning_rate=1e30), tmp_path)

    def test_several_processes(self, model: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ConfigError, match="without accelerate launch"):
            tiny(model).build()

    @pytest.mark.parametrize("options", [{"rank": 0}, {"steps": 0}, {"dropout": 1}, {"again": {"epochs": 1}}])
    def test_impossible_options(self, model: Path, options: dict[str, Any]):
        with pytest.raises(ValidationError):
            tiny(model, **options)


def test_the_base_is_among_the_inputs(model: Path):
    assert tiny(model).inputs().keys() == {"config.json", "model.safetensors"}

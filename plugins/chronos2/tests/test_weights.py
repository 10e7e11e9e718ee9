"""Where weights come from, what is refused, and checkpoints in the place of the base."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from kronosfw_chronos2 import options as options_module
from kronosfw_chronos2 import weights
from kronosfw_chronos2.adapter import About, fingerprints
from kronosfw_chronos2.errors import WeightsError
from kronosfw_chronos2.forecaster import Chronos2Forecaster
from kronosfw_chronos2.hub import fetch
from kronosfw_chronos2.options import Chronos2
from kronosfw_chronos2.rounds import quiet
from kronosfw_chronos2.sources import find
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from kronosfw.errors import ConfigError
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Window

from .tiny import make_tiny

LEVELS = (0.1, 0.5, 0.9)
CLOSED = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter that does something, as peft writes it."""
    where = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(
        r=2, lora_alpha=4, lora_dropout=0.5, target_modules=["self_attention.q", "self_attention.v"]
    )
    with torch.random.fork_rng([]), quiet():
        torch.manual_seed(0)
        tuned = get_peft_model(made(folder).build().pipeline.model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)
        tuned.save_pretrained(where)
    return where


@pytest.fixture
def copied(adapted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(adapted, tmp_path / "copied")


def made(folder: Path | str, **options: Any) -> Chronos2:
    return Chronos2(model=str(folder), threads=1, **options)


def windows() -> list[Window]:
    market = SmallMarket.make(n_symbols=2, n=160)
    return market.windows(cutoff_at(market.bars["S0"].times, 120), context=100, horizon=5)


def numbers(forecaster: Chronos2Forecaster) -> np.ndarray:
    return np.stack([one.quantiles for one in forecaster.forecast(windows(), LEVELS)])


def about(base: Path, targets: str = "close") -> About:
    return About(fingerprints(base), targets, (), (), "1d")


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


class TestCheckpoints:
    def test_an_adapter_and_back(self, folder: Path, adapted: Path) -> None:
        forecaster = made(folder).build()
        before = numbers(forecaster)
        tuned = forecaster.with_checkpoint(adapted)
        assert not np.allclose(numbers(tuned), before, rtol=1e-4)
        assert tuned.with_checkpoint(None) is forecaster
        assert tuned.with_checkpoint(adapted) is tuned
        np.testing.assert_array_equal(numbers(forecaster), before)
        np.testing.assert_array_equal(numbers(made(adapted).build()), numbers(tuned))

    def test_it_is_what_the_package_makes_of_it(self, folder: Path, adapted: Path) -> None:
        from chronos.chronos2 import Chronos2Pipeline

        with quiet():
            expected = Chronos2Pipeline.from_pretrained(str(adapted)).model.state_dict()
        found = made(folder).build().with_checkpoint(adapted).pipeline.model.state_dict()
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-8)

    def test_tuned_weights_do_not_draw(self, folder: Path, adapted: Path) -> None:
        tuned = made(folder).build().with_checkpoint(adapted)
        assert not any(module.training for module in tuned.pipeline.model.modules())
        np.testing.assert_array_equal(numbers(tuned), numbers(tuned))

    def test_what_an_adapter_leaves_alone_is_shared(self, folder: Path, adapted: Path) -> None:
        forecaster = made(folder).build()
        base = forecaster.pipeline.model.state_dict()
        tuned = forecaster.with_checkpoint(adapted).pipeline.model.state_dict()
        own = {name for name in base if base[name].data_ptr() != tuned[name].data_ptr()}
        assert own == {
            name for name in base if name.endswith(("self_attention.q.weight", "self_attention.v.weight"))
        }

    def test_a_whole_model(self, folder: Path, tmp_path: Path) -> None:
        other = make_tiny(tmp_path / "other", seed=1)
        tuned = made(folder).build().with_checkpoint(other)
        np.testing.assert_array_equal(numbers(tuned), numbers(made(other).build()))

    @pytest.mark.parametrize("whole", [True, False])
    def test_the_folder_may_go(self, folder: Path, copied: Path, tmp_path: Path, whole: bool) -> None:
        place = shutil.copytree(folder, tmp_path / "whole") if whole else copied
        tuned = made(folder).build().with_checkpoint(place)
        expected = numbers(tuned)
        for path in place.iterdir():
            path.write_bytes(b"")
            path.unlink()
        np.testing.assert_array_equal(numbers(tuned), expected)

    def test_several_stay_in_memory(self, folder: Path, adapted: Path, copied: Path) -> None:
        factors = load_file(copied / "adapter_model.safetensors")
        save_file({name: 2 * tensor for name, tensor in factors.items()}, copied / "adapter_model.safetensors")
        forecaster = made(folder).build()
        one, other = forecaster.with_checkpoint(adapted), forecaster.with_checkpoint(copied)
        first = numbers(one)
        assert not np.allclose(numbers(other), first, rtol=1e-4)
        np.testing.assert_array_equal(numbers(one), first)


class TestWhoseAdapter:
    def test_one_for_another_base(self, folder: Path, copied: Path, tmp_path: Path) -> None:
        other = make_tiny(tmp_path / "other", seed=1)
        with pytest.raises(WeightsError, match=r"is an adapter for .*: name that one"):
            made(other).build().with_checkpoint(copied)

    def test_fingerprints_outweigh_names(self, folder: Path, copied: Path, tmp_path: Path) -> None:
        moved = shutil.copytree(folder, tmp_path / "moved")
        about(folder).save(copied)
        made(moved).build().with_checkpoint(copied)
        about(make_tiny(tmp_path / "other", seed=1)).save(copied)
        with pytest.raises(WeightsError, match="trained for another base"):
            made(folder).build().with_checkpoint(copied)
        with pytest.raises(WeightsError, match="trained for another base"):
            made(copied).build()

    def test_one_for_other_targets(self, folder: Path, copied: Path) -> None:
        about(folder, "ohlc").save(copied)
        with pytest.raises(WeightsError, match="`targets: ohlc`, not `close`"):
            made(folder).build().with_checkpoint(copied)

    def test_one_on_top_of_another(self, adapted: Path, copied: Path) -> None:
        edit(copied / "adapter_config.json", base_model_name_or_path=str(adapted))
        with pytest.raises(WeightsError, match="which is one itself"):
            made(copied).build()

    def test_peft_is_missing(self, folder: Path, adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "find_spec", lambda name: None)
        with pytest.raises(WeightsError, match=r"pip install 'kronosfw-chronos2\[train\]'"):
            made(folder).build().with_checkpoint(adapted)


class TestRefusals:
    @pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "optimizer.pt", "x.PKL"])
    def test_pickled_files(self, folder: Path, copied: Path, name: str) -> None:
        (copied / name).write_bytes(b"")
        with pytest.raises(WeightsError, match=f"holds {name}, and such files can run code"):
            made(folder).build().with_checkpoint(copied)

    def test_neither_model_nor_adapter(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"neither config\.json with model\.safetensors nor"):
            made(folder).build().with_checkpoint(tmp_path)
        with pytest.raises(WeightsError, match="there is no folder"):
            made(folder).build().with_checkpoint(tmp_path / "gone")

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64])
    def test_damaged_weights(self, folder: Path, copied: Path, tmp_path: Path, content: bytes) -> None:
        base = shutil.copytree(folder, tmp_path / "base")
        (base / "model.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            made(base).build()
        (copied / "adapter_model.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            made(folder).build().with_checkpoint(copied)

    def test_weights_of_which_some_are_missing(self, folder: Path, tmp_path: Path) -> None:
        base = shutil.copytree(folder, tmp_path / "base")
        tensors = load_file(base / "model.safetensors")
        del tensors["output_patch_embedding.output_layer.weight"]
        save_file(tensors, base / "model.safetensors", {"format": "pt"})
        with pytest.raises(WeightsError, match=r"damaged .*output_patch_embedding\.output_layer\.weight"):
            made(base).build()

    @pytest.mark.parametrize(
        "values", [{"architectures": ["ChronosBoltModelForForecasting"]}, {"chronos_config": 1}]
    )
    def test_another_model(self, folder: Path, tmp_path: Path, values: dict[str, Any]) -> None:
        base = shutil.copytree(folder, tmp_path / "base")
        edit(base / "config.json", **values)
        with pytest.raises(WeightsError, match="no Chronos-2 model"):
            made(base).build()

    def test_an_adapter_with_other_shapes(self, folder: Path, copied: Path) -> None:
        edit(copied / "adapter_config.json", r=3)
        with pytest.raises(WeightsError, match="no adapter for this model"):
            made(folder).build().with_checkpoint(copied)

    def test_a_device_that_is_not_there(self, folder: Path) -> None:
        with pytest.raises(WeightsError, match="there is no device 'cuda:77'"):
            made(folder, device="cuda:77").build()

    def test_a_revision_of_a_folder(self, folder: Path) -> None:
        with pytest.raises(WeightsError, match="has no revision 'v1'"):
            made(folder, revision="v1").build()

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="there is no folder"):
            made(tmp_path / "gone").build()

    def test_the_package_is_missing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr(options_module, "find_spec", lambda name: None if name == "chronos" else found(name))
        with pytest.raises(ConfigError, match="pip install kronosfw-chronos2"):
            made(folder).build()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache of the hub's client, which is not told to be offline and which nobody answers."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", CLOSED)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", CLOSED + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    fetch.cache_clear()
    yield tmp_path / "cache"
    fetch.cache_clear()


def put(cache: Path, folder: Path, repo: str = "amazon/chronos-2", commit: str = "c" * 40) -> Path:
    """Put weights into the cache as `main` of a repository."""
    where = cache / f"models--{repo.replace('/', '--')}"
    (where / "refs").mkdir(parents=True)
    (where / "refs" / "main").write_text(commit)
    return shutil.copytree(folder, where / "snapshots" / commit)


class TestHub:
    def test_nobody_answers(self, cache: Path) -> None:
        began = time.monotonic()
        with pytest.raises(
            WeightsError, match=r"amazon/chronos-2 .*HF_HUB_OFFLINE=1, or give a local folder"
        ) as error:
            Chronos2().build()
        assert time.monotonic() - began < 10
        assert "\n" not in str(error.value)

    def test_offline_by_wish(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set; fetch it once"):
            Chronos2().build()

    @pytest.mark.parametrize("offline", [True, False])
    def test_the_cache_will_do(
        self, cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        cached = put(cache, folder)
        assert find("amazon/chronos-2") == cached
        assert find("amazon/chronos-2", "c" * 40) == cached
        np.testing.assert_array_equal(numbers(Chronos2().build()), numbers(made(folder).build()))

    def test_an_adapter_by_hub_id(self, cache: Path, folder: Path, copied: Path) -> None:
        put(cache, folder)
        edit(copied / "adapter_config.json", base_model_name_or_path="amazon/chronos-2")
        put(cache, copied, "someone/adapter")
        forecaster = Chronos2().build()
        expected = numbers(forecaster.with_checkpoint(copied))
        np.testing.assert_array_equal(numbers(made("someone/adapter").build()), expected)

    @pytest.mark.parametrize("name", ["a--b/c", "a../b", "chronos-2"])
    def test_an_id_that_the_hub_does_not_allow(self, cache: Path, name: str) -> None:
        with pytest.raises(WeightsError, match="there is no folder"):
            made(name).build()

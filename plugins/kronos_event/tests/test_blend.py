"""Checkpoints part of the way from one to the next: what they forecast, what moves, and which are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.training.blending import between
from safetensors.torch import load_file, save_file

from kronosfw.testing.forecasters import assert_equal
from kronosfw.types import Forecast

from .lessons import GOLDEN, examples, tiny, train

LEVELS = (0.1, 0.5, 0.9)
ADDED = "adapter_model.safetensors", "events.safetensors"
WINDOWS = [example.window for example in examples(110, 2)]


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and another that was trained from it."""
    return trained(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same of all weights, the tokenizer's too."""
    phase = {"steps": 2, "batch": 4, "evaluate_every": 2, "warmup": 1}
    return trained(tmp_path_factory.mktemp("whole"), tune="full", tokenizer_training=phase)


def trained(out: Path, **options: Any) -> tuple[Path, Path]:
    again = {"again": {"epochs": 1, "learning_rate": 1e-2}}
    asked = tiny(output=1, epochs=1, **again, **options)
    start = train(asked, out / "first")[-1].path
    assert start is not None
    end = train(asked, out / "second", start)[-1].path
    assert end is not None
    return start, end


def mixed(start: Path | None, end: Path, share: float, out: Path, **options: Any) -> Path:
    out.mkdir()
    tiny(**options).build().blend(start, end, share, out)
    return out


def base() -> KronosForecaster:
    weights = {"model": str(GOLDEN / "model"), "tokenizer": str(GOLDEN / "tokenizer"), "max_context": 64}
    return KronosEvent(samples=4, **weights).build()


def forecast(folder: Path | None) -> list[Forecast]:
    return base().with_checkpoint(folder).forecast(WINDOWS, LEVELS)


def differ(one: list[Forecast], other: list[Forecast]) -> bool:
    return any(not np.array_equal(a.quantiles, b.quantiles) for a, b in zip(one, other, strict=True))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return every tensor of a checkpoint, as doubles."""
    return {
        f"{path.relative_to(folder)}: {name}": tensor.double()
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def distance(one: Path, other: Path) -> float:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return float(torch.stack([(a[name] - b[name]).square().sum() for name in a]).sum().sqrt())


@pytest.mark.parametrize("kind", ["lineage", "whole"])
class TestEnds:
    def test_the_ends_are_copies_without_what_lies_beside(self, kind, request, tmp_path: Path):
        start, end = (copied(folder, tmp_path / folder.parent.name) for folder in request.getfixturevalue(kind))
        expected = files(start), files(end)
        for folder in (start, end):
            (folder / "manifest.json").write_text("{}")
            (folder / "logs").mkdir()
        for share, content in zip((0, 1), expected, strict=True):
            assert files(mixed(start, end, share, tmp_path / str(share))) == content
        assert files(mixed(None, end, 1, tmp_path / "from the base")) == expected[1]

    def test_nothing_of_the_way_is_the_base_to_the_last_bit(self, kind, request, tmp_path: Path):
        _, end = request.getfixturevalue(kind)
        expected = forecast(None)
        assert differ(forecast(end), expected)
        assert_equal(forecast(mixed(None, end, 0, tmp_path / "out")), expected)


@pytest.mark.parametrize("kind", ["lineage", "whole"])
class TestBetween:
    def test_weights_move_on_a_straight_line(self, kind, request, tmp_path: Path):
        start, end = request.getfixturevalue(kind)
        one, other = weights(start), weights(end)
        for share in (-0.5, 0.25, 0.5, 0.9, 1.5):
            found = weights(mixed(start, end, share, tmp_path / str(share)))
            assert found.keys() == one.keys()
            for name in found:
                expected = one[name] + share * (other[name] - one[name])
                torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-9)

    def test_distances_grow_with_the_share(self, kind, request, tmp_path: Path):
        start, end = request.getfixturevalue(kind)
        for before in (start, None):
            shares = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
            found = [mixed(before, end, share, tmp_path / f"{before is None}{share}") for share in shares]
            gone = [distance(found[0], folder) for folder in found]
            assert gone == pytest.approx([share * gone[4] for share in shares], rel=1e-5)
            assert gone[4] > 0

    def test_they_forecast_otherwise_than_either_end(self, kind, request, tmp_path: Path):
        start, end = request.getfixturevalue(kind)
        for before in (start, None):
            for share in (0.5, 1.5):
                found = forecast(mixed(before, end, share, tmp_path / f"{before is None}{share}"))
                assert differ(found, forecast(before))
                assert differ(found, forecast(end))

    def test_says_what_it_was_trained_for(self, kind, request, tmp_path: Path):
        start, end = request.getfixturevalue(kind)
        found = mixed(start, end, 0.5, tmp_path / "out")
        for name in ("about.json", "adapter_config.json"):
            if (end / name).exists():
                assert (found / name).read_bytes() == (end / name).read_bytes()
        about, told = (json.loads((folder / "adapter.json").read_text()) for folder in (found, end))
        assert (about == told) == (kind == "lineage"), "a model of its own has its own fingerprint"
        assert {**about, "base": None} == {**told, "base": None}
        assert {path.name for path in found.iterdir()} == {path.name for path in end.iterdir()}


class TestFromTheBase:
    def test_the_second_factor_alone_moves(self, lineage, tmp_path: Path):
        start, _ = lineage
        found, expected = (weights(folder) for folder in (mixed(None, start, 0.5, tmp_path / "out"), start))
        stays = {name for name in found if name.endswith(("lora_A.weight", "tilt.values"))}
        assert len(stays) == 3 * 2 + 1
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, expected[name] * (1 if name in stays else 0.5))

    def test_the_product_of_the_factors_so_grows_with_the_share(self, lineage, tmp_path: Path):
        """What an adapter adds to its layer is B A, and so goes on a straight line too."""
        start, _ = lineage
        prefix = "base_model.model.transformer.0.self_attn.v_proj.lora_"

        def added(folder: Path) -> torch.Tensor:
            tensors = load_file(folder / ADDED[0])
            return tensors[f"{prefix}B.weight"] @ tensors[f"{prefix}A.weight"]

        for share in (0.5, 1.5):
            found = added(mixed(None, start, share, tmp_path / str(share)))
            torch.testing.assert_close(found, share * added(start))
            assert found.any()


class TestMissingParts:
    """What the start lacks and the end has counts as nothing."""

    def test_a_start_without_adapters(self, lineage, tmp_path: Path):
        _, end = lineage
        start = copied(end, tmp_path / "start")
        for name in (ADDED[0], "adapter_config.json"):
            (start / name).unlink()
        change(start / "adapter.json", lora=False)
        found, last = (load_file(folder / ADDED[0]) for folder in (mixed(start, end, 0.5, tmp_path / "out"), end))
        for name in last:
            torch.testing.assert_close(found[name], last[name] * (1 if "lora_A" in name else 0.5))
        events = load_file(tmp_path / "out" / ADDED[1]), load_file(end / ADDED[1])
        assert all(torch.equal(events[0][name], events[1][name]) for name in events[1])

    def test_a_start_without_events(self, lineage, tmp_path: Path):
        _, end = lineage
        start = copied(end, tmp_path / "start")
        (start / ADDED[1]).unlink()
        change(start / "adapter.json", channels=None)
        found, last = (load_file(folder / ADDED[1]) for folder in (mixed(start, end, 0.5, tmp_path / "out"), end))
        for name in last:
            torch.testing.assert_close(found[name], last[name] * (1 if name == "tilt.values" else 0.5))

    def test_a_start_that_is_a_mere_model(self, whole, tmp_path: Path):
        start, end = (copied(folder, tmp_path / folder.parent.name) for folder in whole)
        for name in (ADDED[1], "adapter.json"):
            (start / name).unlink()
        found = mixed(start, end, 0, tmp_path / "0")
        assert files(found) == files(start)
        found, last = (load_file(f / ADDED[1]) for f in (mixed(start, end, 0.5, tmp_path / "half"), end))
        torch.testing.assert_close(found["embed.weight"], last["embed.weight"] / 2)
        assert differ(forecast(tmp_path / "half"), forecast(end))


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without(path: Path, names: str) -> None:
    tensors = load_file(path)
    kept = {name: tensor for name, tensor in tensors.items() if names not in name}
    assert 0 < len(kept) < len(tensors)
    save_file(kept, path)


class TestRefusals:
    @pytest.mark.parametrize("share", [0, 0.5, 1])
    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda f: change(f / "adapter_config.json", r=4), r"has the rank and alpha \[2, 16"),
            (lambda f: change(f / "adapter_config.json", lora_alpha=8), "has the rank and alpha"),
            (lambda f: without(f / ADDED[0], "q_proj"), r"differ in .*q_proj\.lora_A"),
            (lambda f: change(f / "adapter.json", channels={"names": ["is_cpi"]}), "other event channels"),
            (lambda f: change(f / "adapter.json", base={"model": "a", "tokenizer": "b"}), "for another model than"),
            (lambda f: change(f / "adapter.json", base=None), "does not say which base"),
            (lambda f: change(f / "about.json", freq="1h"), "bars are of another length"),
            (lambda f: shutil.copytree(GOLDEN / "model", f / "model"), "it has no model"),
            (lambda f: (f / ADDED[0]).write_bytes(b"\x08" + bytes(7) + b"{}"), "cut short or damaged"),
            (lambda f: (f / ADDED[1]).write_bytes(b"\x80\x04 a pickle"), "a pickle"),
        ],
    )
    def test_a_start_that_is_none(self, lineage, tmp_path: Path, spoil, said: str, share: float):
        start = copied(lineage[0], tmp_path / "start")
        spoil(start)
        with pytest.raises(WeightsError, match=said):
            mixed(start, lineage[1], share, tmp_path / "out")
        assert not files(tmp_path / "out")

    def test_an_end_without_what_the_start_has(self, lineage, tmp_path: Path):
        start, end = lineage
        end = copied(end, tmp_path / "end")
        (end / ADDED[1]).unlink()
        with pytest.raises(WeightsError, match=r"was not trained from .*: it has no events\.safetensors"):
            mixed(start, end, 0.5, tmp_path / "out")

    def test_another_base(self, lineage, tmp_path: Path):
        Kronos(KronosConfig(5, 5, 3, 48, 4, 96)).save_pretrained(tmp_path / "model")
        with pytest.raises(WeightsError, match="was trained for another model than"):
            mixed(None, lineage[1], 0.5, tmp_path / "out", model=str(tmp_path / "model"))

    def test_a_model_of_another_size(self, whole, tmp_path: Path):
        start = copied(whole[0], tmp_path / "start")
        Kronos(KronosConfig(5, 5, 2, 48, 4, 96)).save_pretrained(start / "model")
        for share in (0.5, 1.5):
            with pytest.raises(WeightsError, match="of another size or kind than"):
                mixed(start, whole[1], share, tmp_path / str(share))

    @pytest.mark.parametrize("share", [float("nan"), float("inf")])
    def test_a_share_that_is_none(self, lineage, tmp_path: Path, share: float):
        with pytest.raises(ValueError, match="a finite number"):
            mixed(*lineage, share, tmp_path / "out")


def test_what_did_not_move_stays_to_the_last_bit():
    still = {"x": torch.randn(1000, generator=torch.Generator().manual_seed(0))}
    for share in (0.1, 1 / 3, 0.7, 1.7):
        assert torch.equal(between(still, still, share)["x"], still["x"])


def test_half_precision_stays_so():
    found = between(
        {"x": torch.ones(2, dtype=torch.float16)}, {"x": torch.full((2,), 2, dtype=torch.bfloat16)}, 0.5
    )
    assert found["x"].dtype == torch.bfloat16
    assert found["x"].tolist() == [1.5, 1.5]

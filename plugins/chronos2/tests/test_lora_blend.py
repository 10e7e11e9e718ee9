"""Adapters part of the way from one to the next: what they forecast, what moves, and which are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from kronosfw_chronos2.errors import WeightsError
from safetensors.torch import load_file

from kronosfw.testing.forecasters import assert_equal

from .lora_lessons import LEVELS, base, tiny, train, windows
from .tiny import make_tiny

WEIGHTS = "adapter_model.safetensors"
Lineage = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """A base, a checkpoint, and another that was trained from it."""
    folder = tmp_path_factory.mktemp("lineage")
    model = make_tiny(folder / "base")
    start = train(tiny(model), folder / "first")[-1].path
    assert start is not None
    end = train(tiny(model), folder / "second", start)[-1].path
    assert end is not None
    return model, start, end


def mixed(model: Path, start: Path | None, end: Path, share: float, out: Path) -> Path:
    out.mkdir()
    tiny(model).build().blend(start, end, share, out)
    return out


def added(folder: Path) -> dict[str, torch.Tensor]:
    """Return what an adapter adds to each layer, over its scale."""
    factors = load_file(folder / WEIGHTS)
    return {
        name: factors[name.replace("lora_A", "lora_B")].double() @ factors[name].double()
        for name in factors
        if "lora_A" in name
    }


def test_all_of_the_way_is_the_end(lineage: Lineage, tmp_path: Path):
    model, start, end = lineage
    for origin in (start, None):
        out = mixed(model, origin, end, 1, tmp_path / f"{origin is None}")
        assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in end.iterdir()}


def test_none_of_the_way_is_the_start(lineage: Lineage, tmp_path: Path):
    model, start, end = lineage
    out = mixed(model, start, end, 0, tmp_path / "start")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in start.iterdir()}
    silent = mixed(model, None, end, 0, tmp_path / "base")
    forecaster = base(model)
    expected = forecaster.forecast(windows(), LEVELS)
    assert_equal(forecaster.with_checkpoint(silent).forecast(windows(), LEVELS), expected)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.5])
def test_from_the_base_what_is_added_grows_as_the_share_does(lineage: Lineage, tmp_path: Path, share: float):
    model, _, end = lineage
    whole, part = added(end), added(mixed(model, None, end, share, tmp_path / "part"))
    for name in whole:
        torch.testing.assert_close(part[name], share * whole[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_from_a_start_both_factors_move(lineage: Lineage, tmp_path: Path, share: float):
    model, start, end = lineage
    one, other, part = (
        load_file(folder / WEIGHTS) for folder in (start, end, mixed(model, start, end, share, tmp_path / "part"))
    )
    for name in one:
        expected = (1 - share) * one[name].double() + share * other[name].double()
        torch.testing.assert_close(part[name], expected.float(), rtol=1e-6, atol=1e-9)


def test_what_is_blended_forecasts(lineage: Lineage, tmp_path: Path):
    model, start, end = lineage
    forecaster = base(model)
    found = [
        forecaster.with_checkpoint(mixed(model, start, end, share, tmp_path / f"{share}")).forecast(
            windows(), LEVELS
        )[0]
        for share in (0, 0.5, 1, 1.5)
    ]
    quantiles = [one.quantiles.tobytes() for one in found]
    assert len(set(quantiles)) == 4
    assert all(np.isfinite(one.quantiles).all() for one in found)


def test_a_share_that_is_no_number(lineage: Lineage, tmp_path: Path):
    model, start, end = lineage
    for share in (math.nan, math.inf):
        with pytest.raises(ValueError, match="a share of the way is a finite number"):
            mixed(model, start, end, share, tmp_path / f"{share}")


def test_ends_that_do_not_belong_together(lineage: Lineage, tmp_path: Path):
    model, start, end = lineage
    other = make_tiny(tmp_path / "other", seed=1)
    with pytest.raises(WeightsError, match="trained for another base"):
        mixed(other, start, end, 0.5, tmp_path / "a")
    ranked = train(tiny(model, rank=3), tmp_path / "ranked")[-1].path
    with pytest.raises(WeightsError, match=r"r 3, lora_alpha 4.* and wanted is r 2"):
        mixed(model, ranked, end, 0.5, tmp_path / "b")
    with pytest.raises(WeightsError, match=r"about.json is missing or no JSON object"):
        mixed(model, tmp_path, end, 0.5, tmp_path / "c")

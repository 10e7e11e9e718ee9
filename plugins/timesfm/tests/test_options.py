"""Options, licences, and weights that are not there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import torch
from huggingface_hub import constants
from kronosfw_timesfm import options as module
from kronosfw_timesfm.errors import WeightsError
from kronosfw_timesfm.options import HUB, TimesFm
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from kronosfw.errors import ConfigError

from .made import options25, options30, save25, save30, tiny_geometry


def test_3_0_wants_its_licence_accepted():
    with pytest.raises(ValidationError, match=r"non-commercial use alone.*accept_license: true"):
        TimesFm(version="3.0")
    assert TimesFm(version="3.0", accept_license=True).source == "google/timesfm-3.0-pytorch"
    assert TimesFm().source == "google/timesfm-2.5-200m-pytorch"


def test_the_licence_told_is_that_of_the_weights(tmp_path):
    assert TimesFm().weights_used.terms == "Apache-2.0, trained until undisclosed"
    assert "non-commercial" in TimesFm(version="3.0", accept_license=True).weights_used.licence
    assert "non-commercial" in TimesFm.weights.licence
    own = TimesFm(model=str(tmp_path)).weights_used
    assert (own.licence, own.max_horizon) == ("that of the model in the folder or on the hub", 1024)


def test_a_regression_is_for_2_5():
    with pytest.raises(ValidationError, match=r"`xreg` is for version 2\.5"):
        TimesFm(version="3.0", accept_license=True, xreg=True)


@pytest.mark.parametrize(
    ("missing", "options", "command"),
    [
        ("timesfm", {}, "pip install kronosfw-timesfm$"),
        ("jax", {"xreg": True}, r"pip install 'kronosfw-timesfm\[xreg\]'"),
    ],
)
def test_what_is_not_installed_is_named_with_the_command(monkeypatch, missing, options, command):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == missing else find_spec("json"))
    with pytest.raises(ConfigError, match=f"needs {missing}; run: {command}"):
        TimesFm(**options).build()


def test_options_are_read_without_the_package():
    code = (
        "import sys; from kronosfw_timesfm.plugin import TimesFm; TimesFm(); "
        "print([m for m in ('torch', 'numpy', 'timesfm', 'timesfm3', 'huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_folder_that_is_not_there_or_holds_nothing(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no folder .*nowhere; give one that holds model\.safetensors"):
        options25(tmp_path / "nowhere").build()
    with pytest.raises(WeightsError, match=r"lacks config\.json and model\.safetensors"):
        options30(tmp_path).build()


def test_weights_that_are_damaged_or_of_another_model(tmp_path, capsys):
    folder = save30(tmp_path / "30")
    options30(folder).build()
    assert capsys.readouterr().out == "", "loading prints nothing"
    with pytest.raises(WeightsError, match=r"does not hold weights of TimesFM 2\.5"), tiny_geometry():
        options25(folder).build()
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if "output_head" not in name}, file)
    with pytest.raises(WeightsError, match=r"does not hold weights of TimesFM 3\.0"):
        options30(folder).build()
    file.write_bytes(b"cut short")
    with pytest.raises(WeightsError, match=r"does not hold weights of TimesFM 3\.0"):
        options30(folder).build()


def test_a_device_that_is_not_there(tmp_path):
    with tiny_geometry(), pytest.raises(WeightsError, match="there is no device cuda:99"):
        options25(save25(tmp_path), device="cuda:99").build()


@pytest.mark.parametrize("version", list(HUB))
def test_without_network_there_is_one_clear_error_soon(monkeypatch, version):
    def unreachable(*args, **kwargs):
        raise socket.gaierror("name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    options = TimesFm(version=version, accept_license=True, model="nobody/such-model")
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"nobody/such-model is not in the hub's cache .* cannot be fetched"):
        options.build()
    assert time.monotonic() - started < 10
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        options.build()


def test_weights_in_the_cache_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--some--model"
    save30(repo / "snapshots" / ("a" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    assert TimesFm(version="3.0", accept_license=True, model="some/model").build().max_context == 15_360


def test_threads_are_set(tmp_path):
    before = torch.get_num_threads()
    try:
        options30(save30(tmp_path), threads=2).build()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

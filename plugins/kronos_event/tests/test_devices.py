"""Devices and dtypes by name."""

from __future__ import annotations

import pytest
import torch
from kronosfw_kronos_event.kronos.devices import resolve_device, resolve_dtype
from kronosfw_kronos_event.kronos.errors import WeightsError

CPU = torch.device("cpu")


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU


def test_auto_is_a_device_that_computes() -> None:
    device = resolve_device("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert torch.ones(2, device=device, dtype=resolve_dtype("auto", device)).sum() == 2


@pytest.mark.parametrize("name", ["cuda:99", "cuda:x", "tpu", "", "cpu:", "meta"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(WeightsError, match=f"no device '{name}' here; use 'auto' or one of: cpu"):
        resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda() -> None:
    with pytest.raises(WeightsError, match="no device 'cuda' here"):
        resolve_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda() -> None:
    assert resolve_device("cuda:0") == torch.device("cuda:0")


def test_auto_is_float32_on_the_cpu() -> None:
    assert resolve_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_dtype_by_name(name: str) -> None:
    assert resolve_dtype(name, CPU) == getattr(torch, name)


@pytest.mark.parametrize("name", ["int8", "float64", "bf16", "load"])
def test_an_unknown_dtype(name: str) -> None:
    with pytest.raises(WeightsError, match=f"no dtype '{name}'; use 'auto' or one of: float32"):
        resolve_dtype(name, CPU)

"""Which device to compute on, and in which numbers."""

from __future__ import annotations

import torch

from .errors import WeightsError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device called ``cpu``, ``cuda`` or ``cuda:1``.

    ``auto`` is the first CUDA device, or the CPU where there is none. Raises WeightsError for a device that this
    machine, or this build of torch, does not have.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    present = ["cpu", *["cuda"][:count], *(f"cuda:{i}" for i in range(count))]
    if name not in present:
        raise WeightsError(f"there is no device '{name}' here; use 'auto' or one of: {', '.join(present)}")
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype called ``float32``, ``bfloat16`` or ``float16``.

    ``auto`` is bfloat16 on a CUDA device that computes in it, and float32 elsewhere. Raises WeightsError.
    """
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    if name not in DTYPES:
        raise WeightsError(f"there is no dtype '{name}'; use 'auto' or one of: {', '.join(DTYPES)}")
    return DTYPES[name]

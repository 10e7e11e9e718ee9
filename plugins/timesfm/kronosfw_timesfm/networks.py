"""What both versions of the model have in common, and how their weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from safetensors import SafetensorError, safe_open

from kronosfw.types import Floats

from .errors import WeightsError
from .series import Series
from .sources import WEIGHTS

T = TypeVar("T")
PATCH = 32
"""Values that the model reads as one; a context is padded in front to a multiple of it."""


class Network(Protocol):
    """A loaded model."""

    def room(self, horizon: int) -> int:
        """Return the most values of context beside a horizon; raises ValueError if the horizon is too long."""
        ...

    def deciles(self, batch: Sequence[Series]) -> Floats:
        """Return standardised deciles ``[N, H, 9]`` that increase.

        The series share the horizon, the number of patches, and the numbers of channels.
        """
        ...


def patches(values: int) -> int:
    """Return how many patches hold this many values."""
    return -(-values // PATCH)


def loaded(folder: Path, version: str, load: Callable[[], T]) -> T:
    """Return what ``load`` returns without what it prints; raises WeightsError if the files are of no use."""
    try:
        with redirect_stdout(StringIO()):
            return load()
    except torch.OutOfMemoryError:
        raise WeightsError(
            f"the weights in {folder} do not fit the device's memory; say another `device`"
        ) from None
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder} does not hold weights of TimesFM {version} that can be read "
            f"({type(error).__name__}); fetch them again, or say another `version`"
        ) from None


def check_names(folder: Path, model: torch.nn.Module) -> None:
    """Raise ValueError unless the file of the weights holds the tensors of the model and no others.

    The hub's loader passes over a tensor that is missing, which then keeps its random start.
    """
    with safe_open(folder / WEIGHTS, "pt") as file:
        if set(file.keys()) != set(model.state_dict()):
            raise ValueError("the tensors are not those of the model")


def device_of(name: str) -> torch.device:
    """Return the device that an option names; raises WeightsError if it is not there."""
    count = torch.cuda.device_count()
    device = torch.device(("cuda" if count else "cpu") if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise WeightsError(f"there is no device {name}: torch sees {count} of that kind; say `device: auto`")
    return device

"""Loading and saving models as they are published: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .checkpoint import CONFIG, WEIGHTS, fingerprint, read_tensors, read_values, write_checkpoint
from .configs import parse
from .devices import resolve_device
from .errors import WeightsError
from .hub import locate


class Pretrained(nn.Module):
    """A module made from a config, whose parameters and persistent buffers are those of a checkpoint.

    A subclass takes the config, a dataclass of int, float and bool, as its only argument, and all its buffers
    follow from it.
    """

    config: Any
    config_class: ClassVar[type[Any]]

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        sha256: str | None = None,
    ) -> Self:
        """Return the model of a local folder or hub id, in evaluation mode.

        Parameters are converted to ``dtype``, whatever the file holds. ``sha256`` is the fingerprint that the files
        must have. Raises WeightsError.
        """
        device = resolve_device(device) if isinstance(device, str) else device
        folder = locate(source, revision)
        if sha256 is not None and (found := fingerprint(folder)) != sha256.lower():
            raise WeightsError(
                f"{folder} has the fingerprint {found} instead of {sha256}; are these the right files?"
            )
        model = cls._empty(folder / CONFIG)
        path = folder / WEIGHTS
        tensors = read_tensors(path, model.state_dict())
        buffers = {name: own.clone() for name, own in model.named_buffers() if name in tensors}
        for name, own in buffers.items():
            if not torch.allclose(tensors.pop(name).float(), own.float(), rtol=0.01):
                raise WeightsError(f"{path}: {name} is not what {CONFIG} leads to; these weights need other code")
        for name, tensor in tensors.items():
            # A copy, for what is mapped from the file would change with the file.
            tensors[name] = tensor.to(dtype, copy=True).to(device)
            if not torch.stack(tensors[name].aminmax()).isfinite().all():
                raise WeightsError(
                    f"{path}: {name} has values that are not finite in {dtype}; choose other weights"
                )
        model.load_state_dict(tensors, strict=False, assign=True)
        model.to(device, dtype)
        # Integers and frequencies stay exact: they are neither weights nor computed with.
        model.load_state_dict({name: own.to(device) for name, own in buffers.items()}, strict=False, assign=True)
        return model.eval()

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write the two files, each of them whole or not at all; parameters in ``dtype`` if one is given.

        Raises OSError.
        """
        state = {name: tensor.cpu().contiguous() for name, tensor in self.state_dict().items()}
        if dtype is not None:
            state |= {name: state[name].to(dtype) for name, _ in self.named_parameters()}
        write_checkpoint(Path(folder), asdict(self.config), state)

    @classmethod
    def _empty(cls, path: Path) -> Self:
        """Return the model of a ``config.json``, its buffers made and its parameters unset."""
        values = read_values(path)
        try:
            config = parse(values, cls.config_class)
            with _NoDraws():
                return cls(config)
        except ValueError as error:
            for other in Pretrained.__subclasses__():
                if not issubclass(cls, other) and {field.name for field in fields(other.config_class)} <= set(
                    values
                ):
                    raise WeightsError(
                        f"{path} is the config of a {other.__name__}, not of a {cls.__name__}"
                    ) from None
            raise WeightsError(f"{path} {error}") from None


class _NoDraws(TorchFunctionMode):
    """Leaves out the random numbers that parameters start with: they take longer than all the rest of loading."""

    _DRAWS = ("normal_", "uniform_", "kaiming_uniform_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))

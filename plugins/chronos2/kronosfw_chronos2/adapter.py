"""The folder of an adapter: its weights and settings in peft's format, and beside them what it belongs to.

``adapter_model.safetensors`` and ``adapter_config.json`` are what peft reads; ``about.json`` names the base by the
fingerprints of its files, and what of a window the adapter was shown in training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronosfw.files import write_atomically

from .errors import WeightsError

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Tensor

ABOUT = "about.json"
LORA_CONFIG, LORA_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TYPE = "chronos2_lora"

_SETTINGS = "config.json", LORA_CONFIG, ABOUT
_SCALE = "r", "lora_alpha", "use_rslora"


@dataclass(frozen=True)
class About:
    """What an adapter belongs to."""

    base: Mapping[str, str]
    """Fingerprints of the files of the base by name."""
    targets: str
    """What it was trained to forecast: the option of this name."""
    channels: tuple[str, ...]
    """Covariates that it was shown."""
    known_ahead: tuple[str, ...]
    """Those among them whose future it was shown too."""
    freq: str
    """Length of the bars it learned from."""

    def save(self, folder: Path) -> None:
        """Write ``about.json``; raises OSError."""
        text = json.dumps({"type": TYPE, **asdict(self)}, indent=2)
        write_atomically(folder / ABOUT, lambda file: file.write(f"{text}\n".encode()))

    @classmethod
    def load(cls, folder: Path) -> About:
        """Read ``about.json``; raises WeightsError."""
        values = read_object(folder / ABOUT)
        try:
            if values["type"] != TYPE:
                raise ValueError
            return cls(
                base=dict(values["base"]),
                targets=str(values["targets"]),
                channels=tuple(values["channels"]),
                known_ahead=tuple(values["known_ahead"]),
                freq=str(values["freq"]),
            )
        except (KeyError, TypeError, ValueError):
            raise WeightsError(f"{folder / ABOUT} does not say what the adapter is for; train it anew") from None

    def check(self, folder: Path, base: Mapping[str, str], targets: str, freq: str | None = None) -> None:
        """Raise WeightsError where the adapter in ``folder`` was trained for another base, targets or bars."""
        if self.base != base:
            raise WeightsError(
                f"{folder} was trained for another base: one with {_short(self.base)}, and this has {_short(base)}"
            )
        if self.targets != targets:
            raise WeightsError(f"{folder} was trained to forecast `targets: {self.targets}`, not `{targets}`")
        if freq not in (None, self.freq):
            raise WeightsError(f"{folder} was trained on bars of {self.freq}, not of {freq}")


def fingerprints(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that decides what weights forecast; raises WeightsError."""
    paths = [path for path in sorted(folder.glob("*")) if path.suffix == ".safetensors" or path.name in _SETTINGS]
    if not paths:
        raise WeightsError(f"{folder} holds no weights: there is no safetensors file in it")
    found = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the factors of an adapter by peft's names; raises WeightsError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / LORA_WEIGHTS
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        reason = f"{error}".splitlines()[0]
        raise WeightsError(f"{path} is missing, cut short or damaged ({reason}); copy it again") from None


def save_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the factors of an adapter; raises OSError."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, {"format": "pt"})
    write_atomically(folder / LORA_WEIGHTS, lambda file: file.write(content))


def check_shape(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError where the adapter in ``folder`` has other settings or layers than asked for."""
    own = read_object(folder / LORA_CONFIG)
    had, asked = ({name: values.get(name) for name in _SCALE} for values in (own, config))
    if had != asked:
        raise WeightsError(f"{folder} has {_listed(had)}, and wanted is {_listed(asked)}")
    stored, wanted = ({name: one.shape for name, one in each.items()} for each in (read_tensors(folder), tensors))
    if stored != wanted:
        raise WeightsError(f"{folder} adapts other layers than wanted, or layers of another size")


def save_config(folder: Path, config: LoraConfig, model: str, revision: str | None) -> None:
    """Write ``adapter_config.json``, the same bytes for the same settings; raises OSError.

    ``model`` and ``revision`` say where the package's own loader finds the base.
    """
    values = asdict(config) | {
        "base_model_name_or_path": model,
        "revision": revision,
        "inference_mode": True,
        "auto_mapping": {"base_model_class": "Chronos2Model", "parent_library": "chronos.chronos2.model"},
        "target_modules": sorted(config.target_modules or ()),
    }
    del values["runtime_config"]
    text = json.dumps(values, indent=2, sort_keys=True)
    write_atomically(folder / LORA_CONFIG, lambda file: file.write(f"{text}\n".encode()))


def read_object(path: Path) -> dict[str, Any]:
    """Return what a JSON file says; raises WeightsError."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is missing or no JSON object; copy it again")
    return values


def _short(base: Mapping[str, str]) -> str:
    return _listed({name: digest[:12] for name, digest in base.items()})


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())

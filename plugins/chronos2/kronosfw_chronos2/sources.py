"""Which folder a model's name stands for, and whether it is safe to load."""

from __future__ import annotations

import re
from pathlib import Path

from .adapter import LORA_CONFIG, LORA_WEIGHTS
from .errors import WeightsError
from .options import BaseModelOptions

CONFIG, WEIGHTS = "config.json", "model.safetensors"

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_UNSAFE = {".bin", ".ckpt", ".h5", ".msgpack", ".pickle", ".pkl", ".pt", ".pth"}


def locate(options: BaseModelOptions) -> Path:
    """Return the folder with the weights that the options name, fetched first if need be; raises WeightsError."""
    return find(options.model, options.revision)


def find(model: str, revision: str | None = None) -> Path:
    """Return the folder that a path or else a hub id stands for; raises WeightsError."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise WeightsError(f"{folder} is a local folder and has no revision '{revision}'; leave it out")
        return folder
    if folder.exists() or not _HUB_ID.fullmatch(model):
        raise WeightsError(f"there is no folder {folder}; give one that holds {CONFIG} and {WEIGHTS}, or a hub id")
    from .hub import fetch

    return fetch(model, revision or "main")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a LoRA adapter; raises WeightsError where it holds neither that nor a model.

    Weights are read as safetensors alone: a folder with pickled ones is refused.
    """
    if not folder.is_dir():
        raise WeightsError(f"there is no folder {folder}")
    if unsafe := sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _UNSAFE):
        raise WeightsError(f"{folder} holds {unsafe[0]}, and such files can run code: keep safetensors alone there")
    for names, adapter in (((LORA_CONFIG, LORA_WEIGHTS), True), ((CONFIG, WEIGHTS), False)):
        if all((folder / name).is_file() for name in names):
            return adapter
    raise WeightsError(f"{folder} holds neither {CONFIG} with {WEIGHTS} nor {LORA_CONFIG} with {LORA_WEIGHTS}")

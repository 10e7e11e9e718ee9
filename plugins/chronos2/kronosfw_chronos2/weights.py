"""Weights read with the package's own loader, and adapters merged into them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import torch
from chronos.chronos2 import Chronos2Pipeline
from safetensors import SafetensorError, safe_open
from torch.nn import Parameter
from transformers.utils import logging

from .adapter import ABOUT, LORA_CONFIG, About, fingerprints, read_object
from .errors import WeightsError
from .options import Chronos2
from .sources import CONFIG, WEIGHTS, find, is_adapter, locate

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_BAD_FILES = AssertionError, AttributeError, KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError


def base(options: Chronos2) -> Chronos2Pipeline:
    """Return the model that the options name, in evaluation mode; raises WeightsError."""
    folder = locate(options)
    if not is_adapter(folder):
        return _whole(folder, options)
    said = read_object(folder / LORA_CONFIG)
    below = find(str(said.get("base_model_name_or_path")), said.get("revision"))
    if is_adapter(below):
        raise WeightsError(f"{folder} is an adapter for {below}, which is one itself: name a whole model there")
    if (folder / ABOUT).exists():
        About.load(folder).check(folder, fingerprints(below), options.targets)
    return _merged(_whole(below, options), folder)


def checkpoint(pipeline: Chronos2Pipeline, folder: Path, options: Chronos2) -> Chronos2Pipeline:
    """Return what a checkpoint makes of the base ``pipeline``, or a whole model; raises WeightsError.

    What an adapter does not touch is shared with the base; nothing of the folder is needed afterwards.
    """
    if not is_adapter(folder):
        return _whole(folder, options)
    if (folder / ABOUT).exists():
        About.load(folder).check(folder, fingerprints(locate(options)), options.targets)
    else:
        named = str(read_object(folder / LORA_CONFIG).get("base_model_name_or_path"))
        if named != options.model and Path(named).absolute() != locate(options).absolute():
            raise WeightsError(f"{folder} is an adapter for {named}, and `model` is {options.model}: name that one")
    return _merged(pipeline, folder)


def device(name: str) -> torch.device:
    """Return the device called ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` is the first GPU, or the CPU.

    Raises WeightsError for a device that this machine, or this build of torch, does not have.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    present = ["cpu", *["cuda"][:count], *(f"cuda:{i}" for i in range(count))]
    if name not in present:
        raise WeightsError(f"there is no device '{name}' here; use 'auto' or one of: {', '.join(present)}")
    return torch.device(name)


def _whole(folder: Path, options: Chronos2) -> Chronos2Pipeline:
    config = read_object(folder / CONFIG)
    if config.get("architectures") != ["Chronos2Model"] or "chronos_config" not in config:
        raise WeightsError(f"{folder} holds no Chronos-2 model; give amazon/chronos-2 or a folder with one")
    with _reading(folder, "Chronos-2 model"):
        pipeline = Chronos2Pipeline.from_pretrained(
            folder, dtype=DTYPES[options.dtype], use_safetensors=True, local_files_only=True
        )
        # As loaded the weights are the file itself, mapped: were it cut short later, the process would end.
        with safe_open(folder / WEIGHTS, "pt", backend="pread") as file:
            for name, parameter in pipeline.model.named_parameters():
                parameter.data = file.get_tensor(name).to(parameter.dtype)
    return _serving(pipeline.model.to(device(options.device)))


def _merged(pipeline: Chronos2Pipeline, folder: Path) -> Chronos2Pipeline:
    if find_spec("peft") is None:
        raise WeightsError("a LoRA adapter needs the package peft; run: pip install 'kronosfw-chronos2[train]'")
    from peft import PeftModel

    # New parameters over the same memory: merging gives those it changes memory of their own.
    shared = {id(one): Parameter(one.data, requires_grad=False) for one in pipeline.model.parameters()}
    with _reading(folder, "adapter for this model"):
        tuned = PeftModel.from_pretrained(deepcopy(pipeline.model, shared), str(folder))
        return _serving(tuned.merge_and_unload(safe_merge=True))


def _serving(model: torch.nn.Module) -> Chronos2Pipeline:
    return Chronos2Pipeline(model.eval().requires_grad_(False))


@contextmanager
def _reading(folder: Path, what: str) -> Iterator[None]:
    """Turn what loaders raise over bad files into WeightsError, show no progress, draw from no global generator."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng([]), warnings.catch_warnings():
            # peft 0.21 asks transformers 5 by an old name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    except _BAD_FILES as error:
        reason = next(iter(f"{error}".splitlines()), type(error).__name__)
        raise WeightsError(f"{folder} is damaged or no {what} ({reason}); copy it again") from None
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
